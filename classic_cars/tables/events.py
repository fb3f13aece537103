"""What Dagster's history says of the parts of a table: when, and by which run, each was made or observed last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from classic_cars.stores.publications import Publications
from classic_cars.tables.external import DATA_VERSION, WHOLE


@dataclass(frozen=True)
class Event:
    """The latest materialization or observation of a part, and the run that it is of; ``moment`` only grows."""

    moment: int
    tags: Mapping[str, str]
    run_id: str = ""


def key_of(address: str) -> dg.AssetKey:
    return dg.AssetKey(address.split("/"))


def latest_events(
    instance: dg.DagsterInstance, address: str, *, partitioned: bool, external: bool = False
) -> dict[str, Event]:
    """By month (``YYYY-MM``) or ``WHOLE``; a few queries, however many months there are."""
    newest = latest_event(instance, address, external=external)
    if newest is None:
        return {}
    if not partitioned:
        return {WHOLE: Event(newest.storage_id, _tags(newest, external=external), newest.run_id)}
    kind = dg.DagsterEventType.ASSET_OBSERVATION if external else dg.DagsterEventType.ASSET_MATERIALIZATION
    storage, key = instance.event_log_storage, key_of(address)
    moments = storage.get_latest_storage_id_by_partition(key, kind)
    versions = storage.get_latest_tags_by_partition(key, kind, [DATA_VERSION])
    if external:
        return {month: Event(moment, versions.get(month, {})) for month, moment in moments.items()}
    told = _one_of_each_step(moments, {month: tags.get(DATA_VERSION, "") for month, tags in versions.items()})
    wanted = dg.AssetRecordsFilter(key, storage_ids=list({*told.values()}))
    records = instance.fetch_materializations(wanted, limit=len({*told.values()})).records
    found = {each.storage_id: (_tags(each, external=False), each.run_id) for each in records}
    return {month: Event(moment, *found.get(told[month], ({}, ""))) for month, moment in moments.items()}


def latest_event(instance: dg.DagsterInstance, address: str, *, external: bool = False) -> dg.EventLogRecord | None:
    """The latest of all parts."""
    fetch = instance.fetch_observations if external else instance.fetch_materializations
    records = fetch(key_of(address), limit=1).records
    return records[0] if records else None


def not_held(events: Mapping[str, Event], held: Publications) -> set[str]:
    """The parts of which a store does not hold what the history says: it has the rows of another run, or none."""
    return {part for part, made in events.items() if held.run_of(part) != made.run_id}


def version_at(
    instance: dg.DagsterInstance, address: str, month: str, moment: int, *, external: bool = False
) -> str | None:
    """The data version that a month had before a moment."""
    fetch = instance.fetch_observations if external else instance.fetch_materializations
    wanted = dg.AssetRecordsFilter(key_of(address), asset_partitions=[month], before_storage_id=moment)
    for record in fetch(wanted, limit=1).records:
        return _tags(record, external=external).get(DATA_VERSION)
    return None


def _one_of_each_step(moments: Mapping[str, int], versions: Mapping[str, str]) -> dict[str, int]:
    """By month, the moment of one event that tells for it: of the months that a step made together, the last one's.

    They follow each other, with one data version; where something came between, each side has one of its own.
    """
    told: dict[str, int] = {}
    group: list[str] = []
    for month in sorted(moments, key=lambda each: moments[each]):
        last = group[-1] if group else month
        if versions.get(last) != versions.get(month) or moments[month] > moments[last] + 1:
            group = []
        group.append(month)
        told |= dict.fromkeys(group, moments[month])
    return told


def _tags(record: dg.EventLogRecord, *, external: bool) -> dict[str, str]:
    event = record.asset_observation if external else record.asset_materialization
    return dict((event and event.tags) or {})
