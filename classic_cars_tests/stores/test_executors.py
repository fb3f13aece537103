"""Steps of one run in processes of their own: on a lake, where several may write at once."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from classic_cars.definitions import FULL_REFRESH, build_defs
from classic_cars.errors import SettingsError
from classic_cars.instance import open_instance
from classic_cars.processes import living
from classic_cars.settings import Settings, load_settings
from classic_cars.stores import open_store
from classic_cars_shop import api as simulator

PROJECT = Path(__file__).parents[2]
CHOSEN = ["source/offices", "staging/offices"]


def full_refresh() -> dg.JobDefinition:
    """The job, as every step's process makes it again from the environment."""
    return build_defs().resolve_job_def(FULL_REFRESH)


def in_several_processes(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("CLASSIC_CARS_HOME", str(home))
    monkeypatch.setenv("CLASSIC_CARS_STORE", "iceberg")
    monkeypatch.setenv("CLASSIC_CARS_EXECUTOR", "multiprocess")
    # A step's process finds the instance by this.
    monkeypatch.setenv("DAGSTER_HOME", str(PROJECT))


def published(settings: Settings) -> dict[str, int]:
    store = open_store(settings, read_only=True)
    try:
        return store.row_counts()
    finally:
        store.end_run()


@pytest.mark.exhaustive
def test_steps_in_processes_of_their_own_publish_the_same_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = Settings(home=tmp_path, store="iceberg", executor="multiprocess")
    simulator.create(settings.order_system_url, until=date(2003, 1, 31))
    in_several_processes(monkeypatch, tmp_path)
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
    counts = published(settings)
    assert counts["staging/offices"] == counts["source/offices"] == 7


#: A run whose process is killed as soon as one of its steps has one.
KILLED = """
import os, threading, time
import dagster as dg, psutil
from classic_cars.instance import open_instance
from classic_cars.settings import load_settings
from classic_cars_tests.stores.test_executors import CHOSEN, full_refresh
def kill():
    while not (steps := [each.pid for each in psutil.Process().children() if "spawn_main" in str(each.cmdline())]):
        time.sleep(0.01)
    time.sleep(0.1)  # it has been told what to do
    print(steps[0], flush=True)
    os.kill(os.getpid(), 9)
if __name__ == "__main__":
    with open_instance(load_settings()) as instance:
        threading.Thread(target=kill).start()
        keys = [dg.AssetKey(each.split("/")) for each in CHOSEN]
        dg.execute_job(dg.reconstructable(full_refresh), instance=instance, asset_selection=keys)
"""


@pytest.mark.exhaustive
def test_the_process_of_a_step_ends_with_that_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It would publish its table, and say so to nobody."""
    settings = Settings(home=tmp_path, store="iceberg", executor="multiprocess")
    simulator.create(settings.order_system_url, until=date(2003, 1, 31))
    in_several_processes(monkeypatch, tmp_path)
    (program := tmp_path / "killed.py").write_text(KILLED)
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True, cwd=PROJECT) as killed:
        assert killed.stdout is not None
        pid, since = int(killed.stdout.readline()), time.time()
    assert killed.returncode == -9
    deadline = time.monotonic() + 30
    while living(pid, since) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert published(settings) == {}


def test_a_duckdb_file_takes_one_writing_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLASSIC_CARS_EXECUTOR", "multiprocess")
    with pytest.raises(SettingsError, match="CLASSIC_CARS_STORE=iceberg"):
        load_settings()


@pytest.mark.parametrize(("store", "pools"), [("duckdb", {"classic_cars_store"}), ("iceberg", set())])
def test_runs_queue_for_a_duckdb_file_only(tmp_path: Path, store: str, pools: set[str]):
    graph = build_defs(Settings(home=tmp_path, store=store)).get_repository_def().asset_graph  # type: ignore[arg-type]
    assert {pool for key in graph.get_all_asset_keys() for pool in graph.get(key).pools or ()} == pools
