"""Steps of one run in processes of their own: on a lake, where several may write at once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from classic_cars.definitions import FULL_REFRESH, build_defs
from classic_cars.errors import SettingsError
from classic_cars.instance import open_instance
from classic_cars.settings import Settings, load_settings
from classic_cars.stores import open_store
from classic_cars_shop import api as simulator

CHOSEN = ["source/offices", "staging/offices"]


def full_refresh() -> dg.JobDefinition:
    """The job, as every step's process makes it again from the environment."""
    return build_defs().resolve_job_def(FULL_REFRESH)


@pytest.mark.exhaustive
def test_steps_in_processes_of_their_own_publish_the_same_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = Settings(home=tmp_path, store="iceberg", executor="multiprocess")
    simulator.create(settings.order_system_url, until=date(2003, 1, 31))
    monkeypatch.setenv("CLASSIC_CARS_HOME", str(tmp_path))
    monkeypatch.setenv("CLASSIC_CARS_STORE", "iceberg")
    monkeypatch.setenv("CLASSIC_CARS_EXECUTOR", "multiprocess")
    # A step's process finds the instance by this.
    monkeypatch.setenv("DAGSTER_HOME", str(Path(__file__).parents[2]))
    with (
        open_instance(settings) as instance,
        dg.execute_job(
            dg.reconstructable(full_refresh),
            instance=instance,
            asset_selection=[dg.AssetKey(each.split("/")) for each in CHOSEN],
        ) as result,
    ):
        assert result.success
        started = {each.step_key for each in result.all_events if each.event_type_value == "STEP_WORKER_STARTING"}
    assert len(started) == len(CHOSEN)
    store = open_store(settings, read_only=True)
    counts = store.row_counts()
    store.end_run()
    assert counts["staging/offices"] == counts["source/offices"] == 7


def test_a_duckdb_file_takes_one_writing_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLASSIC_CARS_EXECUTOR", "multiprocess")
    with pytest.raises(SettingsError, match="CLASSIC_CARS_STORE=iceberg"):
        load_settings()


@pytest.mark.parametrize(("store", "pools"), [("duckdb", {"classic_cars_store"}), ("iceberg", set())])
def test_runs_queue_for_a_duckdb_file_only(tmp_path: Path, store: str, pools: set[str]):
    graph = build_defs(Settings(home=tmp_path, store=store)).get_repository_def().asset_graph  # type: ignore[arg-type]
    assert {pool for key in graph.get_all_asset_keys() for pool in graph.get(key).pools or ()} == pools
