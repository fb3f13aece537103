"""The sensor that notices files at the landing place and asks for a run that takes them in.

It looks, decides (:mod:`classic_cars.automation.landing_changes`) and asks for the landed tables only. What is made
from them follows by itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import dagster as dg

from classic_cars.automation import landing_changes
from classic_cars.automation.landing_changes import Watch
from classic_cars.automation.requests import FOLLOWS, READS, UNFINISHED, outcomes, under_way
from classic_cars.automation.watching import clock, look_failed
from classic_cars.errors import SourceError
from classic_cars.sources.landing import Landing
from classic_cars.tables.landed import UNREAD

SENSOR = "landed_files"
TICK_SECONDS = 9


def landing_sensor(landing: Landing, job_name: str, tables: Sequence[dg.AssetKey]) -> dg.SensorDefinition:
    """Asks for runs of ``job_name`` for ``tables`` when complete files lie there that did not before."""

    @dg.sensor(
        name=SENSOR,
        job_name=job_name,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Lists the landing place and has new files taken in; those still being written are left alone.",
    )
    def landed_files(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        watch, key, reason = tick(Watch.load(context.cursor, time.time()), landing, context.instance, tables)
        requests = [dg.RunRequest(run_key=key, asset_selection=list(tables), tags={READS: SENSOR})] if key else []
        return dg.SensorResult(
            run_requests=requests, skip_reason=None if key else dg.SkipReason(reason), cursor=watch.dump()
        )

    return landed_files


def tick(
    watch: Watch, landing: Landing, instance: dg.DagsterInstance, tables: Sequence[dg.AssetKey]
) -> tuple[Watch, str | None, str]:
    """One tick: the new watch, the key of the run to ask for, and in words why there is none."""
    if watch.asked:
        status = outcomes(instance, [watch.asked]).get(watch.asked)
        if status in UNFINISHED:
            return watch, None, "waits for the run that it asked for"
        again = status != dg.DagsterRunStatus.SUCCESS or any(unread_files(instance, each) for each in tables)
        watch = landing_changes.ended(watch, time.time(), again=again)
    if waiting := under_way(instance, FOLLOWS):
        return watch, None, f"waits for run {waiting}, which makes what follows"
    started = time.time()
    if started < watch.not_before:
        return watch, None, f"{_trouble(watch)}looks again at {clock(watch.not_before)}"
    try:
        listing = landing.list(started)
    except SourceError as error:
        watch = look_failed(watch, time.time())
        return watch, None, f"{_trouble(watch)}{error}; looks again at {clock(watch.not_before)}"
    now = time.time()
    watch, key = landing_changes.looked(watch, listing.files, now - started, now)
    waiting = f"; {listing.unsettled:,} are still being written" if listing.unsettled else ""
    return watch, key, f"no new file among {len(listing.files):,}{waiting}"


def _trouble(watch: Watch) -> str:
    if watch.failing_since:
        return f"the landing place cannot be reached since {clock(watch.failing_since)}: "
    if watch.failed_requests:
        return f"{watch.failed_requests} runs in a row failed, or could not read a file; "
    return ""


def unread_files(instance: dg.DagsterInstance, table: dg.AssetKey) -> int:
    """New files of the table that the last run which ingested files could not read."""
    event = instance.get_latest_materialization_event(table)
    made = event.asset_materialization if event else None
    found = made.metadata.get(f"total {UNREAD}") if made else None
    return int(str(found.value)) if found is not None else 0
