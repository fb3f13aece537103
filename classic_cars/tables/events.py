"""What Dagster's history says of the parts of a table: when, and by which run, each was made or observed last."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

# The history of a check is asked for by the state of its executions, which has no public name.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from classic_cars.stores.publications import Publications
from classic_cars.tables.external import DATA_VERSION, WHOLE

CODE_VERSION, INPUT_VERSION = "dagster/code_version", "dagster/input_data_version/"
#: States of a check's executions.
PASSED, FAILED = {AssetCheckExecutionRecordStatus.SUCCEEDED}, {AssetCheckExecutionRecordStatus.FAILED}

#: Metadata of each month that was made: a digest of its rows, and one of what it was made of.
DIGEST, INPUTS = "digest of rows", "digest of inputs"
#: Metadata of what was read from outside: the data version that it had there.
READ = "data version read"
#: Metadata of a materialization of which some months stayed as they were: the runs that made those (as JSON).
STAYED = "months that stayed"
#: Metadata of each month: the checks that warned when it was made.
WARNINGS = "warnings"
#: Dagster's own metadata.
PARTITION_ROWS = "dagster/partition_row_count"


#: Executions of a check among which the last one that came to a verdict is looked for.
LOOKED_AT = 100


@dataclass(frozen=True)
class Event:
    """The latest materialization or observation of a part, and the run that it is of; ``moment`` only grows.

    ``stayed``: the run that made its rows, where this one left them as they were. ``until``: the moment of the last of
    the events that its step wrote one after the other, so that nothing else happened between the two. ``read``: of what
    was read from outside, the data version that it had there; empty where the event does not say.
    """

    moment: int
    tags: Mapping[str, str]
    run_id: str = ""
    stayed: str = ""
    until: int = 0
    read: str = ""

    @property
    def rows_of(self) -> str:
        """The run that made its rows."""
        return self.stayed or self.run_id


@dataclass(frozen=True)
class Made:
    """The latest materialization of a month, whole; ``digest`` and ``inputs`` are empty where it says nothing."""

    event: Event
    #: Seconds since 1970.
    timestamp: float
    rows: int
    digest: str
    inputs: str
    #: Names of the checks that warned when it was made, maybe of a month that was made with it.
    warnings: frozenset[str] = frozenset()


def asset_key(address: str) -> dg.AssetKey:
    return dg.AssetKey(address.split("/"))


def entries(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> dict[dg.AssetKey, Any]:
    """What Dagster keeps of each table that was made, or was to be made; one query for all."""
    return {each.asset_entry.asset_key: each.asset_entry for each in instance.get_asset_records(list(keys))}


def last_verdict(instance: dg.DagsterInstance, check: dg.AssetCheckKey, saying: str) -> Any:
    """The latest execution of a check that says something under this name in its metadata; None without any.

    One that is about to begin, was broken off, or could not read the store, says nothing, and takes back nothing.
    """
    history = instance.event_log_storage.get_asset_check_execution_history
    for limit in (1, LOOKED_AT):  # nearly always the last one
        for record in history(check, limit, status=PASSED | FAILED):
            if isinstance(record.evaluation, dg.AssetCheckEvaluation) and saying in record.evaluation.metadata:
                return record
    return None


def latest_events(
    instance: dg.DagsterInstance,
    partitioned: Mapping[str, bool],
    known: Mapping[dg.AssetKey, Any] | None = None,
    from_outside: Collection[str] = (),
) -> dict[str, Mapping[str, Event]]:
    """The latest materializations of these tables, by month (``YYYY-MM``) or ``WHOLE``.

    ``partitioned``: by address, whether it has months; ``known``: their ``entries``; ``from_outside``: those whose
    events say what was read. Two queries for all, a few for each that has months.
    """
    keys = [asset_key(address) for address, has_months in partitioned.items() if not has_months]
    records = _latest_records(instance, entries(instance, keys) if known is None else known, keys)
    found: dict[str, Mapping[str, Event]] = {}
    for address, has_months in partitioned.items():
        if not has_months:
            found[address] = _whole(records.get(asset_key(address)))
        elif address in from_outside:  # each month was read by itself
            found[address] = {month: made.event for month, made in made_months(instance, address).items()}
        else:
            found[address] = latest_months(instance, address)
    return found


def _latest_records(
    instance: dg.DagsterInstance, known: Mapping[dg.AssetKey, Any], keys: Iterable[dg.AssetKey]
) -> dict[dg.AssetKey, dg.EventLogRecord]:
    """The last materialization of each. What an entry has of it outlives the run, whose number SQLite gives another."""
    kept = {key: last for key in keys if key in known and (last := known[key].last_materialization_record) is not None}
    wanted = dg.EventRecordsFilter(
        dg.DagsterEventType.ASSET_MATERIALIZATION, storage_ids=[each.storage_id for each in kept.values()]
    )
    storage = instance.event_log_storage
    there = {(each.asset_key, each.run_id): each for each in storage.get_event_records(wanted)} if kept else {}
    found = {key: there.get((key, last.run_id)) for key, last in kept.items()}
    for key in [key for key, record in found.items() if record is None]:
        found[key] = next(iter(instance.fetch_materializations(key, limit=1).records), None)
    return {key: record for key, record in found.items() if record is not None}


def _whole(record: dg.EventLogRecord | None) -> dict[str, Event]:
    return {WHOLE: _event(record, WHOLE)} if record is not None else {}


def latest_months(instance: dg.DagsterInstance, address: str) -> Mapping[str, Event]:
    """The same of one table's months, without what was read; fetched once while none is made."""
    storage, key, kind = instance.event_log_storage, asset_key(address), dg.DagsterEventType.ASSET_MATERIALIZATION
    moments = storage.get_latest_storage_id_by_partition(key, kind)
    seen, state = _latest.setdefault(instance, {}), (moments, _newest(instance, key, moments))
    if (before := seen.get(address)) is None or before[0] != state:
        tags = storage.get_latest_tags_by_partition(key, kind, [DATA_VERSION]) if moments else {}
        told = _one_of_each_step(moments, {month: each.get(DATA_VERSION, "") for month, each in tags.items()})
        found = {each.storage_id: each for each in _materializations(instance, key, {*told.values()})}
        events = {m: replace(_event(found[each], m), read="") for m, each in told.items() if each in found}
        seen[address] = (
            state,
            {
                month: replace(events[month], moment=moment) if month in events else Event(moment, {}, until=moment)
                for month, moment in moments.items()
            },
        )
    return seen[address][1]


def latest_observations(instance: dg.DagsterInstance, address: str, *, partitioned: bool) -> dict[str, Event]:
    """What was observed last of a table outside, by month or ``WHOLE``."""
    storage, key, kind = instance.event_log_storage, asset_key(address), dg.DagsterEventType.ASSET_OBSERVATION
    if not partitioned:
        records = instance.fetch_observations(key, limit=1).records
        return {WHOLE: _event(records[0], WHOLE, external=True)} if records else {}
    moments = storage.get_latest_storage_id_by_partition(key, kind)
    versions = storage.get_latest_tags_by_partition(key, kind, [DATA_VERSION]) if moments else {}
    return {month: Event(moment, versions.get(month, {})) for month, moment in moments.items()}


def made_months(instance: dg.DagsterInstance, address: str) -> Mapping[str, Made]:
    """By month, all that the latest materializations say; fetched once while none is made."""
    storage, key = instance.event_log_storage, asset_key(address)
    moments = storage.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION)
    seen, state = _made.setdefault(instance, {}), (moments, _newest(instance, key, moments))
    if (before := seen.get(address)) is None or before[0] != state:
        month_of = {moment: month for month, moment in moments.items()}
        records = _materializations(instance, key, month_of)
        found = {month_of[each.storage_id]: each for each in records}
        seen[address] = state, {month: _month(each, month) for month, each in found.items()}
    return seen[address][1]


def _materializations(
    instance: dg.DagsterInstance, key: dg.AssetKey, moments: Collection[int]
) -> Sequence[dg.EventLogRecord]:
    if not moments:
        return []
    wanted = dg.AssetRecordsFilter(key, storage_ids=list(moments))
    return instance.fetch_materializations(wanted, limit=len(moments)).records


def _newest(instance: dg.DagsterInstance, key: dg.AssetKey, moments: Mapping[str, int]) -> str:
    """The run of the last of them: where it was deleted, another may have its numbers."""
    newest = _materializations(instance, key, [max(moments.values())]) if moments else []
    return newest[0].run_id if newest else ""


#: The moments of all months, and the run of the last one.
_State = tuple[Mapping[str, int], str]
#: By instance and address, what was fetched, and of which state.
_latest: WeakKeyDictionary[dg.DagsterInstance, dict[str, tuple[_State, Mapping[str, Event]]]] = WeakKeyDictionary()
_made: WeakKeyDictionary[dg.DagsterInstance, dict[str, tuple[_State, Mapping[str, Made]]]] = WeakKeyDictionary()


def _month(record: dg.EventLogRecord, month: str) -> Made:
    metadata = record.asset_materialization.metadata if record.asset_materialization else {}

    def said(name: str) -> Any:
        return getattr(metadata.get(name), "value", None)

    return Made(
        event=_event(record, month),
        timestamp=record.timestamp,
        rows=int(said(PARTITION_ROWS) or 0),
        digest=str(said(DIGEST) or ""),
        inputs=str(said(INPUTS) or ""),
        warnings=frozenset(filter(None, str(said(WARNINGS) or "").split(", "))),
    )


def _event(record: dg.EventLogRecord, part: str, *, external: bool = False) -> Event:
    found = record.asset_observation if external else record.asset_materialization
    return Event(
        record.storage_id,
        dict((found and found.tags) or {}),
        record.run_id,
        stayed(found.metadata, part) if found is not None else "",
        until=record.storage_id,
        read=str(getattr(found.metadata.get(READ), "value", "")) if found is not None else "",
    )


def stayed(metadata: Mapping[str, dg.MetadataValue], part: str) -> str:
    """The run that made the rows of a month, where a materialization with this metadata left them as they were."""
    said = metadata.get(STAYED)
    return Publications.parse(str(said.value)).run_of(part) if said is not None else ""


def not_held(events: Mapping[str, Event], held: Publications) -> set[str]:
    """The parts of which a store does not hold what the history says: it has the rows of another run, or none."""
    return {part for part, made in events.items() if held.run_of(part) != made.rows_of}


def versions_before(
    instance: dg.DagsterInstance, address: str, moment: int, *, external: bool = False
) -> Mapping[str, str]:
    """By month, the data version that it had before a moment; without months that had none."""
    kind = dg.DagsterEventType.ASSET_OBSERVATION if external else dg.DagsterEventType.ASSET_MATERIALIZATION
    found = instance.event_log_storage.get_latest_tags_by_partition(
        asset_key(address), kind, [DATA_VERSION], before_cursor=moment
    )
    return {month: tags[DATA_VERSION] for month, tags in found.items()}


def changed_since(
    address: str,
    found: Mapping[str, Event],
    made: Event,
    month: str | None,
    before: Callable[[int], Mapping[str, str]],
) -> bool:
    """Whether an input has another data version than when a part of a table was ``made`` of it.

    ``found``: the input's latest events, of which ``month`` (None: all of them) are read; ``before``: the versions that
    its months had before a moment.
    """
    if WHOLE in found:
        version = found[WHOLE].tags.get(DATA_VERSION)
        if version is None:
            return found[WHOLE].moment > made.moment
        return made.tags.get(f"{INPUT_VERSION}{address}") != version
    read = found if month is None else {month: found[month]} if month in found else {}
    newer = {each: event.tags.get(DATA_VERSION) for each, event in read.items() if event.moment > made.moment}
    return any(version is None or version != before(made.until).get(each) for each, version in newer.items())


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
