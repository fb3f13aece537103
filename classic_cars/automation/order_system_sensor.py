"""The sensor that notices what changed in the order system, new rows and edits of old ones alike.

It looks (:mod:`classic_cars.sources.fingerprints`), decides (:mod:`classic_cars.automation.changes`) and asks for
runs of exactly the source tables and months concerned. What is made from them follows by itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import dagster as dg

from classic_cars.automation import changes
from classic_cars.automation.changes import Part, Watch
from classic_cars.automation.requests import FOLLOWS, READS, UNFINISHED, outcomes, under_way
from classic_cars.automation.watching import clock, look_failed
from classic_cars.errors import SourceError
from classic_cars.months import month_of
from classic_cars.sources.order_system import OrderSystem
from classic_cars.tables.live_agreement import disagreement
from classic_cars.tables.run_tags import range_tags

SENSOR = "order_system_changes"
#: Less than the five seconds of Dagster's own round, so that every round counts.
TICK_SECONDS = 4
#: Tag of a run: what it was asked for, in words.
CHANGED = "classic_cars/changed"


def order_system_sensor(order_system: OrderSystem, job_name: str) -> dg.SensorDefinition:
    """Asks for runs of ``job_name`` for the source tables and months that changed."""

    @dg.sensor(
        name=SENSOR,
        job_name=job_name,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reads from the order system what changed there: new orders, edits of old ones, deletions. "
        "At most one aggregate query a table and tick, and at most a twentieth of the time.",
    )
    def order_system_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        watch = Watch.load(context.cursor, time.time())
        watch, asked, reason = tick(watch, order_system, context.instance)
        return dg.SensorResult(
            run_requests=[run_request(part) for part in asked],
            skip_reason=None if asked else dg.SkipReason(reason),
            cursor=watch.dump(),
        )

    return order_system_changes


def tick(watch: Watch, order_system: OrderSystem, instance: dg.DagsterInstance) -> tuple[Watch, Sequence[Part], str]:
    """One tick: the new watch, the runs to ask for, and in words why there are none."""
    if watch.asked:
        found = outcomes(instance, [part.run_key for part in watch.asked])
        if any(status in UNFINISHED for status in found.values()):
            return watch, [], "waits for the runs that it asked for"
        failed = [key for key, status in found.items() if status != dg.DagsterRunStatus.SUCCESS]
        watch = changes.settled(watch, failed, time.time())
    watch = changes.put_back(watch, time.time())
    reconciled, again = disagreement(instance)
    if reconciled > watch.reconciled:
        watch = changes.forgotten(watch, again, reconciled)
    if waiting := under_way(instance, FOLLOWS):
        return watch, [], f"waits for run {waiting}, which makes what follows"
    started = time.time()
    if started < watch.not_before:
        return watch, [], f"{_trouble(watch)}looks again at {clock(watch.not_before)}"
    try:
        found_now = order_system.fingerprints()
    except SourceError as error:
        watch = look_failed(watch, time.time())
        return watch, [], f"{_trouble(watch)}{error}; looks again at {clock(watch.not_before)}"
    now = time.time()
    watch, asked, reason = changes.looked(watch, found_now, now - started, now)
    return watch, asked, f"{_trouble(watch)}{reason}"


def run_request(part: Part) -> dg.RunRequest:
    """The run for one part of what changed."""
    months = range_tags(month_of(part.first), month_of(part.last)) if part.first else {}
    return dg.RunRequest(
        run_key=part.run_key,
        asset_selection=[dg.AssetKey(["source", table]) for table in sorted(part.changes)],
        tags={READS: SENSOR, CHANGED: str(part), **months},
    )


def _trouble(watch: Watch) -> str:
    if watch.failing_since:
        return f"the order system does not answer since {clock(watch.failing_since)}: "
    if watch.failed:
        parts = ", ".join(map(str, watch.failed))
        return f"what failed ({parts}) is asked for again at {clock(watch.retry_at)}; "
    return ""
