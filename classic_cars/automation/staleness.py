"""Which tables, and which of their months, are out of date, by Dagster's own record of versions.

A table is out of date when it was never made, its code version is another, or an input has another data version than
the one that it was made of; as Dagster's web page has it (*Unsynced*). A run of several months has one data version
for all of them. Beyond Dagster's record, a table is out of date when its store does not hold what the record says: it
was restored, rolled back, imported, or is another store; and where its last attempt failed, and an input was made since
it was made itself: the input may be again what it was, but what the attempt said of the table (a failed check, which
stops whatever is downstream) still stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from classic_cars.tables.external import DATA_VERSION, WHOLE
from classic_cars.tables.partitions import known_months
from classic_cars.tables.run_tags import RANGE_END, RANGE_START

CODE_VERSION, INPUT_VERSION = "dagster/code_version", "dagster/input_data_version/"

#: By table, by month (``YYYY-MM``) or ``WHOLE``.
Parts = dict[str, set[str]]


@dataclass(frozen=True)
class Event:
    """The latest materialization or observation of a part; ``moment`` only grows."""

    moment: int
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Node:
    """A table, or what it is read from outside; ``parents`` are addresses."""

    address: str
    parents: tuple[str, ...]
    partitioned: bool
    code_version: str | None = None
    external: bool = False


@dataclass(frozen=True)
class Record:
    """What Dagster's history, and the store, say of all tables. ``nodes``: parents before their children."""

    nodes: Mapping[str, Node]
    months: list[str]
    events: Mapping[str, Mapping[str, Event]]
    #: The runs that made each table last, by the history and by the store; None when the store was not asked.
    runs: Mapping[str, str]
    published_by: Mapping[str, str] | None
    #: The parts of tables that the last run which was to make them did not make.
    failed: Mapping[str, Iterable[str]]
    #: The data version that a part of a table had at a moment; asked where something newer is known of it.
    version_at: Callable[[Node, str, int], str | None]


def stale(record: Record) -> Parts:
    """What is out of date by itself, whatever becomes of its inputs."""
    found = {address: stale_parts(record, address) for address, node in record.nodes.items() if not node.external}
    return {address: parts for address, parts in found.items() if parts}


def stale_parts(record: Record, address: str) -> set[str]:
    """The same of one table."""
    node, made = record.nodes[address], record.events[address]
    if record.published_by is not None and record.runs[address] != record.published_by.get(address):
        made = {}
    parts = record.months if node.partitioned else [WHOLE]
    return {part for part in parts if part not in made or _is_old(record, node, part, made[part])}


def _is_old(record: Record, node: Node, part: str, made: Event) -> bool:
    if node.code_version is not None and made.tags.get(CODE_VERSION) != node.code_version:
        return True
    parents = [record.nodes[parent] for parent in node.parents]
    if any(_has_changed(record, parent, node, part, made) for parent in parents):
        return True
    failed = part in record.failed.get(node.address, ())
    return failed and any(_is_newer(record, parent, node, part, made) for parent in parents)


def _is_newer(record: Record, parent: Node, node: Node, part: str, made: Event) -> bool:
    """Whether the input was made since, with whatever data version."""
    return any(event.moment > made.moment for _, event in _read(record, parent, node, part))


def _read(record: Record, parent: Node, node: Node, part: str) -> list[tuple[str, Event]]:
    """The parts of an input that this part is made of."""
    found = record.events[parent.address]
    if parent.partitioned and node.partitioned:
        return [(part, found[part])] if part in found else []
    return list(found.items())


def _has_changed(record: Record, parent: Node, node: Node, part: str, made: Event) -> bool:
    """Whether the input has changed since this part was made of it."""
    if parent.partitioned:
        newer = [(each, event) for each, event in _read(record, parent, node, part) if event.moment > made.moment]
        return any(
            DATA_VERSION not in event.tags or event.tags[DATA_VERSION] != record.version_at(parent, each, made.moment)
            for each, event in newer
        )
    for _, event in _read(record, parent, node, part):
        if DATA_VERSION not in event.tags:
            return event.moment > made.moment
        return made.tags.get(f"{INPUT_VERSION}{parent.address}") != event.tags[DATA_VERSION]
    return False


# From Dagster --------------------------------------------------------------------------------------------


def recorded(instance: dg.DagsterInstance, graph: Any, published_by: Mapping[str, str] | None = None) -> Record:
    """The record of all tables of an asset graph; a few queries for each."""
    nodes = {each.address: each for each in _nodes(graph)}
    events, runs = {}, {}
    for node in nodes.values():
        newest = _newest(instance, node)
        runs[node.address] = newest.run_id if newest is not None else ""
        events[node.address] = _events(instance, node, newest)
    failed = _failed(instance, nodes.values(), runs)
    return Record(nodes, known_months(instance), events, runs, published_by, failed, partial(_version_at, instance))


def _failed(instance: dg.DagsterInstance, nodes: Iterable[Node], made_by: Mapping[str, str]) -> Parts:
    """The parts of tables that the last run which was to make them, and is over, did not make."""
    known = {node.address: node for node in nodes if not node.external}
    records = instance.get_asset_records([_key(address) for address in known])
    attempts = {each.asset_entry.asset_key.to_user_string(): each.asset_entry.last_run_id for each in records}
    missed = {address: run for address, run in attempts.items() if run and run != made_by[address]}
    if not missed:
        return {}
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=list(set(missed.values()))))}
    months = known_months(instance)
    found: Parts = {}
    for address, run_id in missed.items():
        run = runs.get(run_id)  # None: it was deleted, so nobody knows what it was to make
        if run is None or run.is_finished:
            found[address] = _asked_of(run, months) if known[address].partitioned else {WHOLE}
    return found


def _asked_of(run: dg.DagsterRun | None, months: list[str]) -> set[str]:
    """The months that a run was to make."""
    tags = run.tags if run is not None else {}
    if (first := tags.get(RANGE_START)) in months and (last := tags.get(RANGE_END)) in months:
        return set(months[months.index(str(first)) : months.index(str(last)) + 1])
    one = tags.get("dagster/partition")
    return {one} if one in months else set(months)


def _version_at(instance: dg.DagsterInstance, node: Node, month: str, moment: int) -> str | None:
    fetch = instance.fetch_observations if node.external else instance.fetch_materializations
    wanted = dg.AssetRecordsFilter(_key(node.address), asset_partitions=[month], before_storage_id=moment)
    for record in fetch(wanted, limit=1).records:
        return _tags(record, node).get(DATA_VERSION)
    return None


def _nodes(graph: Any) -> Iterator[Node]:
    """Tables with a step of their own and what they read from outside; not those that are published with another."""
    made = graph.materializable_asset_keys
    read = {parent for key in made for parent in graph.get(key).parent_keys} - made
    for key in graph.toposorted_asset_keys:
        if key in made or key in read:
            node = graph.get(key)
            yield Node(
                key.to_user_string(),
                tuple(sorted(parent.to_user_string() for parent in node.parent_keys)) if key in made else (),
                node.is_partitioned,
                node.code_version,
                external=key not in made,
            )


def _newest(instance: dg.DagsterInstance, node: Node) -> dg.EventLogRecord | None:
    fetch = instance.fetch_observations if node.external else instance.fetch_materializations
    records = fetch(_key(node.address), limit=1).records
    return records[0] if records else None


def _events(instance: dg.DagsterInstance, node: Node, newest: dg.EventLogRecord | None) -> dict[str, Event]:
    if newest is None:
        return {}
    if not node.partitioned:
        return {WHOLE: Event(newest.storage_id, _tags(newest, node))}
    kind = dg.DagsterEventType.ASSET_OBSERVATION if node.external else dg.DagsterEventType.ASSET_MATERIALIZATION
    storage, key = instance.event_log_storage, _key(node.address)
    moments = storage.get_latest_storage_id_by_partition(key, kind)
    versions = storage.get_latest_tags_by_partition(key, kind, [DATA_VERSION])
    if node.external:
        return {month: Event(moment, versions.get(month, {})) for month, moment in moments.items()}
    told = _one_of_each_step(moments, {month: tags.get(DATA_VERSION, "") for month, tags in versions.items()})
    wanted = dg.AssetRecordsFilter(key, storage_ids=list({*told.values()}))
    records = instance.fetch_materializations(wanted, limit=len({*told.values()})).records
    tags = {each.storage_id: _tags(each, node) for each in records}
    return {month: Event(moment, tags.get(told[month], {})) for month, moment in moments.items()}


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


def _tags(record: dg.EventLogRecord, node: Node) -> dict[str, str]:
    event = record.asset_observation if node.external else record.asset_materialization
    return dict((event and event.tags) or {})


def _key(address: str) -> dg.AssetKey:
    return dg.AssetKey(address.split("/"))


# What to make next ---------------------------------------------------------------------------------------


def wave(record: Record, old: Mapping[str, Iterable[str]], failed: Mapping[str, Iterable[str]] | None = None) -> Parts:
    """What to make in one go: what is ``old``, and what surely follows; nothing that is made of ``failed`` parts.

    Months follow their months, and tables without months follow what was read anew and has other rows for certain. What
    else a table without months may follow is made first: mostly it is what it was, or differs where nobody looks. So
    are tables without months of which all other months may have to follow. What is made of a table that waits, waits
    with it.
    """
    made: Parts = {}
    blocked: Parts = {}
    #: Tables without months that have other rows for certain; tables that wait.
    certain, waiting = set[str](), set[str]()
    for node in record.nodes.values():
        if node.external:
            continue
        parents = [record.nodes[each] for each in node.parents]
        lost = blocked[node.address] = _lost(record, node, parents, blocked) | {*(failed or {}).get(node.address, ())}
        parts = ({*old.get(node.address, ())} | _following(node, parents, made, certain)) - lost
        if not node.partitioned and parts and (_is_read_anew(node, parents, old) or _any(parents, certain)):
            certain.add(node.address)
        may_stay = not node.partitioned and node.address not in {*old, *certain} and _any(parents, {*made})
        if may_stay or _any(parents, waiting) or _may_grow(record, node, parts, parents, certain):
            waiting.add(node.address)
        elif parts:
            made[node.address] = parts
    return made


def _lost(record: Record, node: Node, parents: list[Node], blocked: Parts) -> set[str]:
    """The parts of a table that cannot be made: what is made of all months is, as long as one of them can be."""
    everything = {*record.months} if node.partitioned else {WHOLE}
    lost = set[str]()
    for parent in parents:
        missing = blocked.get(parent.address, set())
        if node.partitioned and parent.partitioned:
            lost |= missing
        elif missing and missing >= ({*record.months} if parent.partitioned else {WHOLE}):
            lost |= everything
    return lost


def _is_read_anew(node: Node, parents: list[Node], old: Mapping[str, Iterable[str]]) -> bool:
    return node.address in old and any(parent.external for parent in parents)


def _following(node: Node, parents: list[Node], made: Parts, certain: set[str]) -> set[str]:
    """The parts of a table that surely follow from what is made of its inputs."""
    if not node.partitioned:
        return {WHOLE} if _any(parents, certain) else set()
    return {month for each in parents if each.partitioned for month in made.get(each.address, ())}


def _may_grow(record: Record, node: Node, parts: set[str], parents: list[Node], certain: set[str]) -> bool:
    """Whether there are more months to make once it is known what rows the inputs without months have now."""
    return node.partitioned and parts != set(record.months) and _any(parents, certain)


def _any(nodes: Iterable[Node], addresses: Collection[str]) -> bool:
    return any(each.address in addresses for each in nodes)
