"""A store that somebody else holds: who it is, says the story of the run and the status, long after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.automation.alerts.observe import failed_runs
from classic_cars.definitions import build_defs
from classic_cars.instance import open_instance
from classic_cars.runs import execute_what_changed
from classic_cars.runs.selecting import job_of
from classic_cars.serving.status import TableStatus, table_statuses
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores import published as published_tables
from classic_cars.tables import failures
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.end_to_end.test_reliability_concurrency import held_open
from classic_cars_tests.platform import run

OFFICES = next(each.contract for each in ALL_TABLES if each.address == "source/offices")


@pytest.fixture
def impatient(made: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(failures, "RETRY", dg.RetryPolicy(max_retries=1, delay=0))
    return made.model_copy(update={"store_wait": 0.2})


@pytest.fixture
def instance(impatient: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(impatient) as opened:
        yield opened


def told(settings: Settings, run_id: str) -> tuple[str, str]:
    """The story of the run, and the status, however its lines were broken."""
    story = classic_cars(settings.home, "incident", run_id[:8])
    status = classic_cars(settings.home, "status")
    assert (story.returncode, status.returncode) == (0, 0)
    return story.stdout, " ".join(status.stdout.split())


@pytest.mark.exhaustive
def test_a_process_that_keeps_the_store_open_is_named(impatient: Settings, instance: dg.DagsterInstance) -> None:
    with held_open(impatient.store_path) as pid:
        failed = run(impatient, instance=instance, select=["source/offices"], months=("2003-01", "2003-01"))
        assert not failed.success
    story, status = told(impatient, failed.result.run_id)
    assert f"PID {pid}" in story
    assert "web page" not in story
    assert "failed: " in status
    assert f"PID {pid}" in status


@pytest.mark.exhaustive
def test_a_run_that_holds_the_store_is_named(impatient: Settings, instance: dg.DagsterInstance) -> None:
    first = open_store(impatient)
    first.begin_run("run of a test")
    try:
        failed = run(impatient, instance=instance, select=["source/offices"])
    finally:
        first.end_run()
    story, status = told(impatient, failed.result.run_id)
    for text in (story, status):
        assert f"pid {os.getpid()}, run of a test" in text


def of_offices(settings: Settings, instance: dg.DagsterInstance) -> TableStatus:
    with published_tables(settings) as store:
        return table_statuses([OFFICES], store, instance)[0]


@pytest.mark.exhaustive
@pytest.mark.parametrize("ended", ["held up", "killed"])
def test_a_run_that_never_came_to_a_table_is_forgotten_once_the_table_is_found_up_to_date(
    impatient: Settings, instance: dg.DagsterInstance, ended: str
) -> None:
    """And takes back no verdict."""
    key, before = dg.AssetKey(["source", "offices"]), of_offices(impatient, instance)
    assert before.passed
    if ended == "killed":
        job = job_of(build_defs(impatient), [key])
        instance.report_run_failed(instance.create_run_for_job(job))
    else:
        holder = open_store(impatient)
        holder.begin_run("run of a test")
        assert not run(impatient, instance=instance, select=["source/offices"]).success
        holder.end_run()
    found = of_offices(impatient, instance)
    assert replace(found, failure="") == before
    assert found.failure
    assert [each.key for each in failed_runs(instance, {key: ()}, []).incidents] == ["run:source/offices"]

    report = execute_what_changed(impatient)
    assert (report.succeeded, report.published) == (True, [])
    assert of_offices(impatient, instance) == before
    assert failed_runs(instance, {key: ()}, []).incidents == []
    instance.report_run_failed(instance.create_run_for_job(job_of(build_defs(impatient), [key])))
    assert of_offices(impatient, instance).failure
