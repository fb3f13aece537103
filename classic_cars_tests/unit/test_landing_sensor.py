"""The sensor of landed files: one observation for what is new, and backoff with failures."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from classic_cars.automation import landing_sensor as sensor
from classic_cars.automation.watching import (
    DOWN_SECONDS,
    RETRY_SECONDS,
    SHARE,
    PollState,
    answered,
    failing,
    poll_failed,
)
from classic_cars.definitions import build_defs
from classic_cars.errors import SourceUnreachable
from classic_cars.settings import Settings
from classic_cars.sources.landing import LandedFile, Landing
from classic_cars.tables.external import DATA_VERSION, digest_of
from classic_cars.tables.landed import UNREAD
from classic_cars_tests.landed import drop

RATINGS = dg.AssetKey(["source", "ratings"])
NOW = 2_000_000_000.0


def file(name: str = "a.csv", size: int = 1, version: str = "1") -> LandedFile:
    return LandedFile(name, size, version, datetime(2003, 8, 1), name)


@pytest.mark.parametrize("changed", [file("b.csv"), file(size=2), file(version="2")])
def test_another_name_size_or_version_is_another_data_version(changed: LandedFile):
    assert digest_of([file()]) != digest_of([changed])


def test_the_digest_does_not_depend_on_the_order():
    assert digest_of([file("a"), file("b")]) == digest_of([file("b"), file("a")])


def test_a_clock_that_was_put_back_is_waited_for_by_nobody():
    tomorrow = answered(PollState().at(NOW + 86_400), 5.0, NOW + 86_400)
    assert tomorrow.at(NOW + 86_395) == replace(tomorrow, seen=NOW + 86_395)  # as clocks are put right all the time
    assert tomorrow.at(NOW) == PollState(seen=NOW)
    down = poll_failed(tomorrow, NOW + 86_400, "landing zone", SourceUnreachable("s3://ratings: no answer"))
    assert PollState.load(down.dump()).at(NOW) == PollState(seen=NOW)


def test_a_place_that_cannot_be_reached_says_so_and_is_polled_ever_more_rarely():
    watch, waits = PollState(), []
    for now in (100.0, 200.0, 300.0):
        watch = poll_failed(watch, now, "landing zone", SourceUnreachable("s3://ratings: no answer"))
        waits.append(watch.not_before - now)
    assert waits == [*DOWN_SECONDS, DOWN_SECONDS[-1]]
    assert watch.failing_since == 100.0
    assert failing(watch) == (
        "landing zone: unreachable, since 1970-01-01 00:01:40 UTC: s3://ratings: no answer; "
        "polls again at 1970-01-01 00:05:20 UTC"
    )
    after = answered(watch, 0.0, 800.0)
    assert (after.failing_since, after.trouble, after.cause, failing(after)) == (0, "", "", "")


def test_a_place_that_is_slow_to_list_is_polled_rarely():
    assert answered(PollState(), 2.0, 100.0).paid_off == 98.0 + 2.0 / SHARE


def test_the_cursor_comes_back():
    watch = poll_failed(PollState(retries=2, retry_at=5.0), 7.0, "landing zone", SourceUnreachable("no answer"))
    assert PollState.load(watch.dump()) == watch


@pytest.mark.parametrize("cursor", [None, "", "nonsense", "[]", '{"version": 0}', '{"version": 3, "other": 2}'])
def test_a_cursor_of_another_form_begins_anew(cursor: str | None):
    assert PollState.load(cursor) == PollState()


# With Dagster ------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [NOW]
    monkeypatch.setattr("classic_cars.automation.landing_sensor.time.time", lambda: moment[0])
    return moment


class Zone:
    """A landing zone that is polled."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, *tables: str) -> None:
        self.landing, self.instance, self.tables = (
            Landing(settings.landing_location),
            instance,
            dict.fromkeys(tables or ("ratings",), lambda name: True),
        )
        self.watch, self.said = PollState(), ""

    def poll(self) -> list[str]:
        """The assets that were observed."""
        self.watch = replace(self.watch, not_before=0.0)
        self.watch, observations, self.said = sensor.tick(self.watch, self.landing, self.tables, self.instance)
        for each in observations:
            self.instance.report_runless_asset_event(each)
        return [each.asset_key.to_user_string() for each in observations]

    def read(self, unread: int = 0) -> None:
        self.instance.report_runless_asset_event(dg.AssetMaterialization(RATINGS, metadata={f"total {UNREAD}": unread}))


def test_new_files_are_observed_once(settings: Settings, clock: list[float]):
    with dg.DagsterInstance.ephemeral() as instance:
        zone = Zone(settings, instance)
        assert zone.poll() == ["landing/ratings"]  # nothing lies there: that is an answer too
        assert zone.poll() == []
        drop(settings, "a.jsonl", "{}")
        assert zone.poll() == ["landing/ratings"]
        assert zone.poll() == []
        assert "no new file among 1" in zone.said


def test_files_are_observed_though_the_clock_was_put_back(settings: Settings, clock: list[float]):
    with dg.DagsterInstance.ephemeral() as instance:
        zone = Zone(settings, instance)
        zone.watch = replace(answered(PollState(), 60.0, clock[0] + 86_400), seen=clock[0] + 86_400)
        assert zone.poll() == ["landing/ratings"]


def test_files_that_are_still_being_written_are_left_alone(settings: Settings):
    drop(settings, "a.jsonl", "{}")
    drop(settings, "growing.jsonl", "{}", seconds_ago=1)
    with dg.DagsterInstance.ephemeral() as instance:
        zone = Zone(settings, instance)
        zone.poll()
        assert zone.said == "1 file; 1 still being written"


def test_each_landed_table_has_an_asset_of_its_own(settings: Settings):
    with dg.DagsterInstance.ephemeral() as instance:
        assert Zone(settings, instance, "ratings", "returns").poll() == ["landing/ratings", "landing/returns"]


@pytest.mark.parametrize("unread", [None, 1])
def test_what_was_not_read_is_observed_again_ever_later(settings: Settings, clock: list[float], unread: int | None):
    with dg.DagsterInstance.ephemeral() as instance:
        zone = Zone(settings, instance)
        zone.poll()
        zone.poll()
        for wait in [*RETRY_SECONDS, RETRY_SECONDS[-1]]:
            if unread is not None:
                zone.read(unread)
            clock[0] += wait - 1
            assert zone.poll() == []
            clock[0] += 1
            assert zone.poll() == ["landing/ratings"]
        assert "asked again 5 times for files that were not read" in zone.said
        zone.read()
        clock[0] += 10_000
        assert zone.poll() == []
        assert zone.watch.retries == 0


def test_files_that_are_read_again_have_a_fresh_data_version(settings: Settings, clock: list[float]):
    with dg.DagsterInstance.ephemeral() as instance:
        zone = Zone(settings, instance)
        zone.poll()
        zone.poll()
        clock[0] += 60
        zone.poll()
        records = instance.fetch_observations(dg.AssetKey(["landing", "ratings"]), limit=5).records
        found = [each.asset_observation.tags[DATA_VERSION] for each in records if each.asset_observation]
        assert len(set(found)) == 2
        assert found[0].startswith(found[1])


def test_nothing_is_asked_for_again_while_a_run_is_under_way(settings: Settings, clock: list[float]):
    with dg.DagsterInstance.ephemeral() as instance:
        zone = Zone(settings, instance)
        zone.poll()
        zone.poll()
        instance.add_run(dg.DagsterRun(job_name="x", status=dg.DagsterRunStatus.STARTED))
        clock[0] += 61
        assert zone.poll() == []


def test_a_place_that_cannot_be_reached_is_a_reason_to_skip(settings: Settings):
    place = settings.home / "landing"
    place.touch()
    with dg.DagsterInstance.ephemeral() as instance:
        zone = Zone(settings, instance)
        assert zone.poll() == []
    assert zone.said.startswith("landing zone: ")
    assert "is a file, expected a folder" in zone.said
    assert zone.watch.failures == 1


def test_the_platform_has_the_sensor(settings: Settings):
    assert build_defs(settings).get_sensor_def("landed_files").minimum_interval_seconds == 9
