"""The sensor of landed files: one run for what is new, none while one is under way, and patience with failures."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
from classic_cars.automation.landing_changes import Watch, digest

from classic_cars.automation import landing_changes
from classic_cars.automation.landing_sensor import RATINGS, landing_sensor, tick
from classic_cars.automation.watching import DOWN_SECONDS, RETRY_SECONDS, SHARE, look_failed
from classic_cars.definitions import EVERYTHING, build_defs
from classic_cars.settings import Settings
from classic_cars.sources.landing import LandedFile, Landing
from classic_cars.tables.landed import UNREAD
from classic_cars_tests.landed import drop

NEW = Watch(began=1000.0)


def file(name: str = "a.csv", size: int = 1, version: str = "1") -> LandedFile:
    return LandedFile(name, size, version, datetime(2003, 8, 1), name)


def looked(watch: Watch, files: list[LandedFile]) -> tuple[Watch, str | None]:
    return landing_changes.looked(watch, files, seconds=0.0, now=2000.0)


def test_new_files_are_one_run():
    watch, key = looked(NEW, [file("a.csv"), file("b.csv")])
    assert key == "landed_files-v1-1000-0"
    assert watch.asked == key
    again, none = looked(replace(watch, asked=""), [file("b.csv"), file("a.csv")])
    assert none is None
    assert again.requests == 1


@pytest.mark.parametrize("changed", [file("b.csv"), file(size=2), file(version="2")])
def test_another_name_size_or_version_is_new(changed: LandedFile):
    watch, _ = looked(NEW, [file()])
    assert looked(watch, [changed])[1] == "landed_files-v1-1000-1"


def test_an_empty_place_is_asked_for_once_so_that_the_table_exists():
    watch, key = looked(NEW, [])
    assert key == "landed_files-v1-1000-0"
    assert looked(watch, [])[1] is None


def test_a_run_that_failed_is_asked_for_again_each_time_later():
    watch, waits = NEW, []
    for number in range(6):
        watch, key = looked(watch, [file()])
        assert key == f"landed_files-v1-1000-{number}"
        watch = landing_changes.ended(watch, 5000.0, again=True)
        waits.append(watch.not_before - 5000.0)
    assert waits == [60, 300, 900, 3600, 3600, 3600]
    assert RETRY_SECONDS[-1] == 3600
    watch, _ = looked(watch, [file()])
    assert landing_changes.ended(watch, 5000.0, again=False).failed_requests == 0


def test_a_place_that_cannot_be_reached_is_looked_at_ever_more_rarely():
    watch, waits = NEW, []
    for now in (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0):
        watch = look_failed(watch, now)
        waits.append(watch.not_before - now)
    assert waits == [*DOWN_SECONDS, DOWN_SECONDS[-1]]
    assert watch.failing_since == 100.0
    assert looked(watch, [])[0].failing_since == 0


def test_a_place_that_is_slow_to_list_is_looked_at_rarely():
    watch, _ = landing_changes.looked(NEW, [file()], seconds=2.0, now=100.0)
    assert watch.not_before == 100.0 + 2.0 / SHARE - 2.0


def test_the_cursor_is_small_and_comes_back():
    watch, _ = looked(NEW, [file(f"{number}.csv") for number in range(5000)])
    assert len(watch.dump()) < 500
    assert Watch.load(watch.dump(), 0) == watch


@pytest.mark.parametrize("cursor", [None, "", "nonsense", "[]", '{"version": 0}', '{"version": 1, "other": 2}'])
def test_a_cursor_of_another_form_begins_anew(cursor: str | None):
    assert Watch.load(cursor, 7.0) == Watch(7.0)


def test_the_digest_does_not_depend_on_the_order():
    assert digest([file("a"), file("b")]) == digest([file("b"), file("a")])


# With Dagster ------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def evaluated(settings: Settings, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance, cursor=cursor)
    result = landing_sensor(Landing(settings.landing_location), EVERYTHING)(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_the_sensor_asks_for_the_ratings_only_and_waits_for_the_run(settings: Settings):
    drop(settings, "a.jsonl", "{}")
    drop(settings, "growing.jsonl", "{}", seconds_ago=1)
    with dg.instance_for_test() as instance:
        result = evaluated(settings, instance)
        (request,) = result.run_requests or []
        assert request.asset_selection == [dg.AssetKey(["source", "ratings"])]
        run = dg.DagsterRun(job_name="x", status=dg.DagsterRunStatus.STARTED, tags={"dagster/run_key": request.run_key})
        instance.add_run(run)
        waiting = evaluated(settings, instance, result.cursor)
        assert "waits" in str(waiting.skip_reason)
        instance.delete_run(run.run_id)
        instance.add_run(run.with_status(dg.DagsterRunStatus.SUCCESS))
        done = evaluated(settings, instance, waiting.cursor)
        assert "no new file among 1; 1 are still being written" in str(done.skip_reason)


def test_a_failed_run_is_asked_for_again_after_a_while(settings: Settings):
    drop(settings, "a.jsonl", "{}")
    landing = Landing(settings.landing_location)
    with dg.instance_for_test() as instance:
        watch, key, _ = tick(Watch(0.0), landing, instance)
        instance.add_run(
            dg.DagsterRun(job_name="x", status=dg.DagsterRunStatus.FAILURE, tags={"dagster/run_key": str(key)})
        )
        watch, none, reason = tick(watch, landing, instance)
        assert none is None
        assert reason.startswith("1 runs in a row failed, or could not read a file; looks again at")
        _, again, _ = tick(replace(watch, not_before=0.0), landing, instance)
        assert again not in (None, key)


@pytest.mark.parametrize(
    ("status", "unread", "again"),
    [
        (dg.DagsterRunStatus.SUCCESS, 0, False),
        (dg.DagsterRunStatus.SUCCESS, 1, True),
        (dg.DagsterRunStatus.CANCELED, 0, True),
    ],
)
def test_files_that_were_not_taken_in_are_asked_for_again(
    settings: Settings, status: dg.DagsterRunStatus, unread: int, again: bool
):
    drop(settings, "a.jsonl", "{}")
    landing = Landing(settings.landing_location)
    with dg.instance_for_test() as instance:
        watch, key, _ = tick(Watch(0.0), landing, instance)
        instance.add_run(dg.DagsterRun(job_name="x", status=status, tags={"dagster/run_key": str(key)}))
        instance.report_runless_asset_event(dg.AssetMaterialization(RATINGS, metadata={f"total {UNREAD}": unread}))
        watch, _, reason = tick(watch, landing, instance)
        assert ("could not read a file; looks again at" in reason) is again
        _, key, _ = tick(replace(watch, not_before=0.0), landing, instance)
        assert (key is not None) is again


def test_a_place_that_cannot_be_reached_is_a_reason_to_skip(settings: Settings):
    place = settings.home / "landing"
    place.touch()
    with dg.instance_for_test() as instance:
        result = evaluated(settings, instance)
    assert "the landing place cannot be reached since" in str(result.skip_reason)
    assert "is a file, expected a folder" in str(result.skip_reason)
    assert Watch.load(result.cursor, 0).failures == 1


def test_the_platform_has_the_sensor_and_it_runs(settings: Settings):
    sensor = build_defs(settings).get_sensor_def("landed_files")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 9
