"""When tables are read and made: automation conditions. :mod:`condition_sensor` asks for what they say.

Tables of ``source`` are read when an observation says that what they are read from changed. All others are rebuilt
when one of their inputs was, for the months that changed, but never past a failed blocking check. A small shop's change
is one run, from reading to answers; a large one's tables are read first, and what follows is made of what came out.
The conditions are Dagster's own where they do; each of ours has a test that shows why Dagster's does not.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg
from dagster import AutomationCondition as When

from classic_cars.automation.history import are_made, rows_of_months
from classic_cars.automation.refusals import (
    Attempt,
    given_up,
    held_back,
    refused_months,
    refused_tables,
    rested,
)
from classic_cars.automation.staleness import Record, of_other_code, recorded, stale_parts
from classic_cars.tables.events import asset_key, made_months
from classic_cars.tables.external import WHOLE
from classic_cars.tables.partitions import known_months
from classic_cars.tables.recomputation import disagreement, is_recomputed
from classic_cars.tables.table import Catalog, Table

SOURCE = "source"
#: A shop with fewer order lines is made wholly in less time than a run takes to start, about three seconds.
FEW_LINES = 250_000
LINES = dg.AssetKey([SOURCE, "orderdetails"])


class RequestedNow(dg.AutomationCondition):
    """True for what this tick already asks for: it is made first, in the same run.

    Dagster's own ``will_be_requested`` leaves out inputs that have months when the table has none, and the reverse.
    """

    @property
    def name(self) -> str:
        return "requested by this tick"

    def evaluate(self, context: Any) -> dg.AutomationResult:
        requested = context.request_subsets_by_key.get(context.key) or context.get_empty_subset()
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(requested))


class OutOfDate(dg.AutomationCondition):
    """True for what is missing, was made by other code, or of inputs that have other data versions now.

    Dagster's own ``newly_updated``, ``data_version_changed`` and ``code_version_changed`` see that something happened,
    not whether the table was made since, or whether the input came out as it was.
    """

    @property
    def name(self) -> str:
        return "stale (data or code version of an input differs)"

    def evaluate(self, context: Any) -> dg.AutomationResult:
        if context.candidate_subset.is_empty:  # the record is worth its queries only where something happened
            return dg.AutomationResult(context, context.get_empty_subset())
        record = _record(context.asset_graph_view, context.asset_graph)
        parts = stale_parts(record, context.key.to_user_string())
        if not parts:
            return dg.AutomationResult(context, context.get_empty_subset())
        table = context.asset_graph.get(context.key)
        if not table.is_partitioned:
            return dg.AutomationResult(context, context.candidate_subset)
        return _those(context, parts)


def _those(context: Any, months: set[str]) -> dg.AutomationResult:
    """True for those of the candidates that are of these months."""
    known = context.asset_graph_view.get_subset_from_partition_keys(context.key, context.partitions_def, months)
    return dg.AutomationResult(context, context.candidate_subset.compute_intersection(known))


#: The record of each tick.
_records: WeakKeyDictionary[Any, Record] = WeakKeyDictionary()


def _record(view: Any, graph: Any) -> Record:
    if view not in _records:
        _records[view] = recorded(view.instance, graph)
    return _records[view]


class SmallOrNothingRead(dg.AutomationCondition):
    """True in a small shop; in a large one only at ticks that do not ask for anything to be read.

    What is made of what a large shop reads depends on what came out, and may be of more months than were read.
    """

    @property
    def name(self) -> str:
        return "the shop is small, or nothing is read now"

    def evaluate(self, context: Any) -> dg.AutomationResult:
        requested = [key for key, subset in context.request_subsets_by_key.items() if not subset.is_empty]
        reads = not context.candidate_subset.is_empty and any(map(is_read, requested))
        joins = not reads or is_small(context.asset_graph_view.instance)
        return dg.AutomationResult(context, context.candidate_subset if joins else context.get_empty_subset())


def is_small(instance: dg.DagsterInstance) -> bool:
    """Whether a run of all of the shop's sales takes no longer than another run."""
    return rows_of_months(instance, LINES) < FEW_LINES


def is_read(key: Any) -> bool:
    return isinstance(key, dg.AssetKey) and key.path[0] == SOURCE


class FirstTick(dg.AutomationCondition):
    """True when a table is asked for the first time: what happened before, no other condition saw."""

    @property
    def name(self) -> str:
        return "first evaluation"

    def evaluate(self, context: Any) -> dg.AutomationResult:
        is_first = context.previous_temporal_context is None
        return dg.AutomationResult(context, context.candidate_subset if is_first else context.get_empty_subset())


class RecomputedDifferently(dg.AutomationCondition):
    """True for what a nightly recomputation found different since the last tick: its months, or a table without.

    Dagster's own ``check_failed`` is true of a whole table, and until the next night.
    """

    @property
    def name(self) -> str:
        return "recomputation disagreed"

    def evaluate(self, context: Any) -> dg.AutomationResult:
        failed, months = disagreement(context.asset_graph_view.instance, context.key)
        before = context.previous_temporal_context
        if before is None or failed <= before.effective_dt.timestamp():
            return dg.AutomationResult(context, context.get_empty_subset())
        if not context.asset_graph.get(context.key).is_partitioned:
            return dg.AutomationResult(context, context.candidate_subset)
        return _those(context, {*months} & {*known_months(context.asset_graph_view.instance)})


class FailedAndRested(dg.AutomationCondition):
    """True for what the last run that was to make it did not make: it failed, or was stopped, some time ago.

    Dagster's own ``execution_failed`` is true at every tick, and never of a run that was stopped.
    """

    @property
    def name(self) -> str:
        return "failed or stopped, and has rested"

    def evaluate(self, context: Any) -> dg.AutomationResult:
        if context.candidate_subset.is_empty:
            return dg.AutomationResult(context, context.get_empty_subset())
        view, address = context.asset_graph_view, context.key.to_user_string()
        record = _record(view, context.asset_graph)
        parts = {*record.failed.get(address, ())}
        parts &= stale_parts(record, address) | _disproved(view.instance, context.key) if parts else set()
        if parts and is_read(context.key):  # what is out of date by what it is read from, that one's sensor asks for
            parts &= of_other_code(record, address)
        if not parts:  # nearly always: what was refused is worth its queries only then
            return dg.AutomationResult(context, context.get_empty_subset())
        tables, months = _refused(context)
        # What a check refused has nothing to gain from being made of the same again.
        parts -= given_up(record, address, months.get(address, {}))
        if WHOLE in parts and context.key in tables:
            parts = set()
        parts = rested(view.instance, record, address, parts, time.time()) & {WHOLE, *known_months(view.instance)}
        if not parts or WHOLE in parts:
            return dg.AutomationResult(context, context.candidate_subset if parts else context.get_empty_subset())
        return _those(context, parts)


def _disproved(instance: dg.DagsterInstance, key: dg.AssetKey) -> set[str]:
    """The months that a nightly recomputation found different since they were made."""
    failed, months = disagreement(instance, key)
    made = made_months(instance, key.to_user_string()) if months else {}
    return {month for month in months if month in made and made[month].timestamp < failed}


class InputsPublishedAndPassed(dg.AutomationCondition):
    """True when every input was published, and no blocking check refused the latest version of anything upstream.

    Nor of what waits to be made again because its run failed: with it, what is made of it waits. A warning refuses
    nothing; Dagster's own ``all_deps_blocking_checks_passed`` does not tell them apart, and sees
    direct inputs only: a fact would go on with new order lines while their orders, further up, cannot be read.
    """

    @property
    def name(self) -> str:
        return "inputs published and upstream blocking checks passed"

    def evaluate(self, context: Any) -> dg.AutomationResult:
        if context.candidate_subset.is_empty:  # as above
            return dg.AutomationResult(context, context.get_empty_subset())
        view, graph = context.asset_graph_view, context.asset_graph
        asked = {key: subset for key, subset in context.request_subsets_by_key.items() if not subset.is_empty}
        inputs = set(graph.get(context.key).parent_keys) - asked.keys()
        above = upstream(graph, context.key, asked.keys())
        tables, months = _refused(context)
        if not are_made(view.instance, inputs) or above & tables:
            return dg.AutomationResult(context, context.get_empty_subset())
        address, record = context.key.to_user_string(), _record(view, graph)
        names = [key.to_user_string() for key in upstream(graph, context.key) & graph.materializable_asset_keys]
        lost, waiting = held_back(record, names, months, lambda name: _asked_parts(asked, record, name))
        if not graph.get(context.key).is_partitioned or WHOLE in waiting:
            return dg.AutomationResult(context, context.get_empty_subset() if waiting else context.candidate_subset)
        lost |= waiting
        # A month that was refused with others is not asked for by itself because its run read it anew.
        if not upstream(graph, context.key) & asked.keys():
            lost |= given_up(record, address, months.get(address, {}))
        known = {*known_months(view.instance)}
        blocked = view.get_subset_from_partition_keys(context.key, context.partitions_def, lost & known)
        return dg.AutomationResult(context, context.candidate_subset.compute_difference(blocked))


def _asked_parts(asked: Mapping[Any, Any], record: Record, address: str) -> set[str]:
    subset = asked.get(asset_key(address))
    if subset is None:
        return set()
    return set(subset.expensively_compute_partition_keys()) if record.nodes[address].partitioned else {WHOLE}


def upstream(graph: Any, key: dg.AssetKey, requested: Collection[dg.AssetKey] = ()) -> set[dg.AssetKey]:
    """All tables upstream, except of what this tick asks for: its own condition was asked."""
    found: set[dg.AssetKey] = set()
    parents = set(graph.get(key).parent_keys)
    while new := parents - found - {*requested}:
        found |= new
        parents = {parent for each in new for parent in graph.get(each).parent_keys}
    return found


#: The tables and the months that are refused, at each tick.
_refusals: WeakKeyDictionary[Any, tuple[set[dg.AssetKey], Mapping[str, Mapping[str, Attempt]]]] = WeakKeyDictionary()


def _refused(context: Any) -> tuple[set[dg.AssetKey], Mapping[str, Mapping[str, Attempt]]]:
    view, graph = context.asset_graph_view, context.asset_graph
    if view not in _refusals:
        months = refused_months(view.instance, graph, _record(view, graph))
        _refusals[view] = refused_tables(view.instance, graph), months
    return _refusals[view]


def condition_of(table: Table, catalog: Catalog) -> dg.AutomationCondition:
    """When a table is read or rebuilt."""
    return _read_what_changed() if table.arrives_from is not None else _follow_inputs(table, catalog)


def _read_what_changed() -> dg.AutomationCondition:
    """What it is read from has another data version, or the table another code version; one read at a time.

    What was asked for counts as handled, whatever became of it: a failed read is observed again, see ``changes``, but
    for one of what has not changed, for its code.
    """
    observed: Any = When.any_deps_updated().replace("newly_updated", When.data_version_changed())
    changed = observed | When.code_version_changed() | FirstTick()
    # What was observed since the last tick counts although that tick asked for the same month: ``since`` forgets it.
    wanted: Any = observed | changed.since(When.newly_requested()) | FailedAndRested()
    return (wanted & ~When.in_progress() & OutOfDate()).with_label("source data or code changed")


def _follow_inputs(table: Table, catalog: Catalog) -> dg.AutomationCondition:
    """An input or the code changed, or the last run failed, and nothing that it needs is missing, refused or under way.

    A table with months is made for those that its inputs have, each when that month changed, or a whole table did.
    """
    # Which rows staging rejects depends on the tables that they refer to; other audits change no row.
    audited = [] if table.contract.quarantines else catalog.needed_for_audit(table)
    unread = [asset_key(address) for address in audited]
    read = dg.AssetSelection.all() - dg.AssetSelection.assets(*unread)
    inputs_requested: Any = When.any_deps_match(RequestedNow()).allow(read)
    changed = When.newly_missing() | When.any_deps_updated().allow(read) | When.code_version_changed() | FirstTick()
    # That it was made by a run of another's is no end of it: an input may have been updated since, at the same tick.
    handled = When.newly_requested()
    ready = SmallOrNothingRead() & ~When.any_deps_in_progress() & ~When.in_progress() & InputsPublishedAndPassed()
    if table.contract.partitioned_by is not None:
        missing: Any = When.missing()
        ready = ~When.any_deps_match(missing & ~RequestedNow()) & ready
    # What its inputs are asked for again is no matter of ``since``: it forgets what it sees with ``handled``.
    due: Any = (changed.since(handled) & OutOfDate()) | inputs_requested | FailedAndRested()
    if is_recomputed(table, catalog):
        due = due | RecomputedDifferently().since(handled)
    return (due & ready).with_label("inputs changed and passed their checks")
