"""Which tables, and which of their months, are out of date, by Dagster's own record of versions.

A table is out of date when it was never made, its code version is another, or an input has another data version than
the one that it was made of; as Dagster's web page has it (*Unsynced*). A run of several months has one data version
for all of them. Beyond Dagster's record, a table is out of date when its store does not hold what the record says: it
was restored, rolled back, imported, or is another store; and where its last attempt failed, and an input was made since
it was made itself: the input may be again what it was, but what the attempt said of the table (a failed check, which
stops whatever is downstream) still stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import dagster as dg

from classic_cars.stores.publications import Publications
from classic_cars.tables.events import (
    CODE_VERSION,
    Event,
    asset_key,
    changed_since,
    entries,
    latest_events,
    latest_observations,
    not_held,
    versions_before,
)
from classic_cars.tables.external import DATA_VERSION, WHOLE
from classic_cars.tables.partitions import known_months

#: By table, by month (``YYYY-MM``) or ``WHOLE``.
Parts = dict[str, set[str]]


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
    #: What the store says of the runs that published each table; None when it was not asked.
    published_by: Mapping[str, Publications] | None
    #: The parts of tables that the last run which was to make them, and is over, did not make.
    failed: Mapping[str, Iterable[str]]
    #: The data versions that the months of a table had before a moment; asked where something newer is known of one.
    versions_before: Callable[[Node, int], Mapping[str, str]]


def stale(record: Record) -> Parts:
    """What is out of date by itself, whatever becomes of its inputs."""
    found = {address: stale_parts(record, address) for address, node in record.nodes.items() if not node.external}
    return {address: parts for address, parts in found.items() if parts}


def stale_parts(record: Record, address: str) -> set[str]:
    """The same of one table."""
    node, made = record.nodes[address], record.events[address]
    parts = record.months if node.partitioned else [WHOLE]
    lost = not_held(made, record.published_by.get(address, Publications())) if record.published_by is not None else ()
    return {part for part in parts if part in lost or part not in made or _is_old(record, node, part, made[part])}


def failed_and_stale(record: Record, address: str) -> set[str]:
    """What of a table is out of date, and was not made by the last run that was to make it."""
    failed = record.failed.get(address, ())
    return stale_parts(record, address).intersection(failed) if failed else set()


def of_other_code(record: Record, address: str) -> set[str]:
    """The parts of a table that were made by other code than it has now."""
    return {part for part, event in record.events[address].items() if _is_of_other_code(record.nodes[address], event)}


def _is_of_other_code(node: Node, made: Event) -> bool:
    return node.code_version is not None and made.tags.get(CODE_VERSION) != node.code_version


def _is_old(record: Record, node: Node, part: str, made: Event) -> bool:
    if _is_of_other_code(node, made):
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
    if parent.external and made.read:
        # Not by the order of events: a poll may have observed a change between the reading and the publishing.
        return any(event.tags.get(DATA_VERSION) != made.read for _, event in _read(record, parent, node, part))
    month = part if parent.partitioned and node.partitioned else None
    found = record.events[parent.address]
    return changed_since(parent.address, found, made, month, lambda moment: record.versions_before(parent, moment))


# From Dagster --------------------------------------------------------------------------------------------


def recorded(
    instance: dg.DagsterInstance, graph: Any, published_by: Mapping[str, Publications] | None = None
) -> Record:
    """The record of all tables of an asset graph; as few queries as ``latest_events`` has."""
    nodes = {each.address: each for each in _nodes(graph)}
    tables = {address: node.partitioned for address, node in nodes.items() if not node.external}
    known = entries(instance, map(asset_key, tables))
    from_outside = {a for a in tables if any(nodes[parent].external for parent in nodes[a].parents)}
    events = latest_events(instance, tables, known, from_outside) | {
        address: latest_observations(instance, address, partitioned=node.partitioned)
        for address, node in nodes.items()
        if node.external
    }
    attempts = {key.to_user_string(): entry.last_run_id for key, entry in known.items()}
    failed = _failed(instance, [nodes[address] for address in tables], events, attempts)

    @cache
    def versions(node: Node, moment: int) -> Mapping[str, str]:
        return versions_before(instance, node.address, moment, external=node.external)

    return Record(nodes, known_months(instance), events, published_by, failed, versions)


def _failed(
    instance: dg.DagsterInstance,
    nodes: Sequence[Node],
    events: Mapping[str, Mapping[str, Event]],
    attempts: Mapping[str, str | None],
) -> Parts:
    """The parts of tables that the last run which was to make them (``attempts``), and is over, did not make."""
    made_by = {a: max(found.values(), key=lambda each: each.moment).run_id for a, found in events.items() if found}
    missed = {address: run for address, run in attempts.items() if run and run != made_by.get(address)}
    runs = instance.get_runs(dg.RunsFilter(run_ids=[*{*missed.values()}])) if missed else ()
    under_way = {run.run_id for run in runs if not run.is_finished}
    found: Parts = {}
    for node in nodes:
        if missed.get(node.address) in under_way:
            continue  # may still be made
        if node.partitioned:
            found[node.address] = _planned_since(instance, node, events[node.address])
        elif node.address in missed:
            found[node.address] = {WHOLE}
    return {address: parts for address, parts in found.items() if parts}


def _planned_since(instance: dg.DagsterInstance, node: Node, made: Mapping[str, Event]) -> set[str]:
    """The months that were to be made after they were made last."""
    planned = instance.event_log_storage.get_latest_storage_id_by_partition(
        asset_key(node.address), dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    return {month for month, moment in planned.items() if month not in made or moment > made[month].moment}


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


# What to make next ---------------------------------------------------------------------------------------


def wave(record: Record, old: Mapping[str, Iterable[str]], failed: Mapping[str, Iterable[str]] | None = None) -> Parts:
    """What to make in one go: what is ``old``, and what surely follows; nothing that is made of ``failed`` parts.

    Months follow their months, and tables without months follow what was read anew and has other rows for certain. What
    else a table without months may follow is made first: mostly it is what it was, or differs where nobody looks. So
    are tables without months of which all other months may have to follow. What is made of a table that waits, waits
    with it.
    """
    made: Parts = {}
    blocked = held_up(record, failed or {})
    #: Tables without months that have other rows for certain; tables that wait.
    certain, waiting = set[str](), set[str]()
    for node in record.nodes.values():
        if node.external:
            continue
        parents = [record.nodes[each] for each in node.parents]
        wanted = {*old.get(node.address, ())} | _following(node, parents, made, certain)
        parts = wanted - blocked.get(node.address, set())
        if not node.partitioned and parts and (_is_read_anew(node, parents, old) or _any(parents, certain)):
            certain.add(node.address)
        may_stay = not node.partitioned and node.address not in {*old, *certain} and _any(parents, {*made})
        if may_stay or _any(parents, waiting) or _may_grow(record, node, parts, parents, certain):
            waiting.add(node.address)
        elif parts:
            made[node.address] = parts
    return made


def held_up(record: Record, failed: Mapping[str, Iterable[str]]) -> Parts:
    """The parts of tables that cannot be made where these ``failed``, themselves included."""
    found: Parts = {}
    for node in record.nodes.values():
        parents = [record.nodes[each] for each in node.parents]
        if lost := _lost(record, node, parents, found) | {*failed.get(node.address, ())}:
            found[node.address] = lost
    return found


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
