"""What Dagster's history says: which runs are under way, what was observed outside, and what was not read since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from classic_cars.tables.events import PARTITION_ROWS
from classic_cars.tables.external import WHOLE

#: Tag of runs that follow a change; the value is the sensor's name.
FOLLOWS = "classic_cars/follows"

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def under_way(instance: dg.DagsterInstance, *tags: str) -> str:
    """The id of a run under way that has one of these tags, or of any without; empty when there is none."""
    runs = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    return next((run.run_id for run in runs if not tags or not run.tags.keys().isdisjoint(tags)), "")


def latest(
    instance: dg.DagsterInstance, key: dg.AssetKey, kind: dg.DagsterEventType, *, partitioned: bool
) -> Mapping[str, int]:
    """When a table was last materialized (or observed), by month or under ``WHOLE``; as numbers that only grow."""
    if partitioned:
        return instance.event_log_storage.get_latest_storage_id_by_partition(key, kind)
    was_observed = kind == dg.DagsterEventType.ASSET_OBSERVATION
    records = (instance.fetch_observations if was_observed else instance.fetch_materializations)(key, limit=1).records
    return {WHOLE: records[0].storage_id} if records else {}


def behind(own: Mapping[str, int], made: Mapping[str, int], *, partitioned: bool) -> set[str]:
    """The parts of a table that are missing, or older than an input that was ``made``: months, or ``WHOLE``."""
    if not partitioned:
        return {WHOLE} if max(made.values(), default=-1) > own.get(WHOLE, -1) else set()
    months = dict.fromkeys(own, made[WHOLE]) if WHOLE in made else made
    return {month for month, moment in months.items() if moment > own.get(month, -1)}


def unread(
    instance: dg.DagsterInstance, system: str, tables: Iterable[str], partitioned: frozenset[str] = frozenset()
) -> dict[str, list[str]]:
    """Tables of a system outside, and their months, that were observed and not read since."""
    pending = {}
    for table in tables:
        has_months = table in partitioned
        seen = latest(
            instance, dg.AssetKey([system, table]), dg.DagsterEventType.ASSET_OBSERVATION, partitioned=has_months
        )
        read = latest(
            instance, dg.AssetKey(["source", table]), dg.DagsterEventType.ASSET_MATERIALIZATION, partitioned=has_months
        )
        if parts := behind(read, seen, partitioned=has_months):
            pending[table] = sorted(parts)
    return pending


def rows_of_months(instance: dg.DagsterInstance, key: dg.AssetKey) -> int:
    """The rows of all months of a table that is made month by month, as far as Dagster's history has them."""
    made = instance.event_log_storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
    wanted = dg.AssetRecordsFilter(key, storage_ids=list(made.values()))
    records = instance.fetch_materializations(wanted, limit=len(made)).records if made else []
    counts = [each.asset_materialization.metadata.get(PARTITION_ROWS) for each in records if each.asset_materialization]
    return sum(int(str(count.value)) for count in counts if count is not None)


def are_made(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> bool:
    """Whether each of these tables was made at least once."""
    wanted = list(keys)
    events = instance.get_latest_materialization_events(wanted)  # without those that never were
    return all(events.get(key) is not None for key in wanted)
