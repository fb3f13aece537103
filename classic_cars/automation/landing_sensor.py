"""The sensor that polls the landing zone and observes what lies there, as one digest for each landed table.

It asks for no runs: :mod:`classic_cars.automation.follow` does. Which files are new, the run finds out from its ledger.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import dagster as dg

from classic_cars.automation.changes import AGAIN
from classic_cars.automation.history import under_way, unread
from classic_cars.automation.watching import (
    PollState,
    affordable_at,
    answered,
    awaiting,
    clock,
    failing,
    is_due,
    poll_failed,
    requeued,
)
from classic_cars.errors import SourceError
from classic_cars.sources.landing import LandedFile, Landing
from classic_cars.tables.external import DATA_VERSION, WHOLE, Claims, digest_of, observed
from classic_cars.tables.landed import UNREAD
from classic_cars.wording import counted

SENSOR = "landed_files"
SYSTEM = "landing"
TICK_SECONDS = 9


def landing_sensor(tables: Mapping[str, Claims], status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Observes ``landing/<table>`` when complete files lie there that did not before; ``tables``: whose is a file."""

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=status,
        required_resource_keys={SYSTEM},
        description="Lists the landing zone and observes new files; those still being written are left alone.",
    )
    def landed_files(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        watch, observations, reason = tick(
            PollState.load(context.cursor), getattr(context.resources, SYSTEM), tables, context.instance
        )
        return dg.SensorResult(asset_events=observations, skip_reason=dg.SkipReason(reason), cursor=watch.dump())

    return landed_files


def tick(
    watch: PollState, landing: Landing, tables: Mapping[str, Claims], instance: dg.DagsterInstance
) -> tuple[PollState, list[dg.AssetObservation], str]:
    """One tick: the new cursor, what to observe, and in words why nothing."""
    started = time.time()
    watch = watch.at(started)
    if started < (due := max(watch.not_before, affordable_at(watch))):
        return watch, [], failing(watch) or f"{_trouble(watch)}polls again at {clock(due)}"
    try:
        listing = landing.list(started)
    except SourceError as error:
        watch = poll_failed(watch, time.time(), "landing zone", error)
        return watch, [], failing(watch)
    now = time.time()
    pending = {*unread(instance, SYSTEM, list(tables)), *(table for table in tables if unread_files(instance, table))}
    watch = awaiting(answered(watch, now - started, now), now, pending=bool(pending))
    again: set[str] = set()
    if is_due(watch, now) and not under_way(instance):
        watch, again = requeued(watch, now), pending
    observations = [
        dg.AssetObservation(_key(table), tags={DATA_VERSION: version})
        for table, claims in tables.items()
        if (version := _new_version(instance, table, listing.of(claims).files, now, again=table in again))
    ]
    waiting = f"; {listing.unsettled:,} still being written" if listing.unsettled else ""
    said = counted(len(listing.files), "file") if observations else f"no new file among {len(listing.files):,}"
    return watch, observations, f"{_trouble(watch)}{said}{waiting}"


def _new_version(
    instance: dg.DagsterInstance, table: str, files: Iterable[LandedFile], now: float, *, again: bool
) -> str:
    """The data version to observe; empty when it is the one that was observed last, unless it is read ``again``.

    The first poll observes in any case: a table without rows is an answer too, and other tables need it.
    """
    known = observed(instance, _key(table), partitioned=False).get(WHOLE, "").partition(AGAIN)[0]
    seen = digest_of(files)
    if seen != known:
        return seen
    return f"{seen}{AGAIN}{now:.0f}" if again else ""


def _key(table: str) -> dg.AssetKey:
    return dg.AssetKey([SYSTEM, table])


def _trouble(watch: PollState) -> str:
    if watch.retries:
        times = counted(watch.retries, "time")
        return f"asked again {times} for files that were not read, next at {clock(watch.retry_at)}; "
    return ""


def unread_files(instance: dg.DagsterInstance, table: str) -> int:
    """New files that the last run which loaded files could not read."""
    event = instance.get_latest_materialization_event(dg.AssetKey(["source", table]))
    made = event.asset_materialization if event else None
    found = made.metadata.get(f"total {UNREAD}") if made else None
    return int(str(found.value)) if found is not None else 0
