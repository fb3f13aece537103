"""What goes with old runs, and what stays though it is old."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from classic_cars.automation.maintenance import delete_runs
from classic_cars.instance import open_instance
from classic_cars.instance.retention import delete_observations
from classic_cars.settings import Settings

MONTHS = dg.DynamicPartitionsDefinition(name="months")
OUTSIDE = dg.AssetKey(["order_system", "orders"])
LATER = datetime.now(UTC) + timedelta(days=1)


@dg.asset
def table() -> int:
    print("made")
    return 1


@dg.asset_check(asset=table)
def holds(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=not context.run.tags.get("fails"))


def run(instance: dg.DagsterInstance, **tags: str) -> str:
    return dg.materialize([table, holds], instance=instance, tags=tags).run_id


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def files_of(settings: Settings, run_id: str) -> list[str]:
    return [str(each.relative_to(settings.home)) for each in settings.home.rglob(f"*{run_id}*")]


def test_a_run_that_is_deleted_leaves_no_file_and_no_check_but_the_latest_of_each_outcome(settings: Settings) -> None:
    with open_instance(settings) as instance:
        failed, *passed = run(instance, fails="yes"), run(instance), run(instance), run(instance)
        assert all(files_of(settings, each) for each in (failed, *passed))
        assert delete_runs(instance, LATER) == 3
        assert [bool(files_of(settings, each)) for each in (failed, *passed)] == [False, False, False, True]
        found = instance.event_log_storage.get_asset_check_execution_history(holds.check_key, limit=9)
        assert [each.run_id for each in found] == [passed[-1], failed]
        assert len(instance.all_logs(passed[-1])) > 5
        # What is asked of a run that is gone is answered, and what follows is kept.
        assert list(instance.all_logs(failed)) == []
        assert instance.get_latest_materialization_event(table.key).run_id == passed[-1]
        run(instance)


def test_of_old_observations_the_latest_of_each_month_stays(settings: Settings) -> None:
    def observe(month: str | None, version: str) -> None:
        said = dg.AssetObservation(OUTSIDE, partition=month, tags={"dagster/data_version": version})
        instance.report_runless_asset_event(said)

    with open_instance(settings) as instance:
        for month in ("2004-01", "2004-02", None):
            observe(month, "1")
        observe("2004-01", "2")
        limit = datetime.now(UTC)
        observe("2004-02", "2")
        observe("2004-02", "3")
        assert delete_observations(instance, limit) == 2
        records = instance.fetch_observations(OUTSIDE, limit=99).records
        versions = [(each.partition_key, each.asset_observation.tags["dagster/data_version"]) for each in records]
        assert versions == [("2004-02", "3"), ("2004-02", "2"), ("2004-01", "2"), (None, "1")]
        latest = instance.event_log_storage.get_latest_tags_by_partition(
            OUTSIDE, dg.DagsterEventType.ASSET_OBSERVATION, ["dagster/data_version"]
        )
        assert {month: tags["dagster/data_version"] for month, tags in latest.items()} == {
            "2004-01": "2",
            "2004-02": "3",
        }
        assert delete_observations(instance, limit) == 0
