"""Make what changed: observe what is outside now, then make whatever is out of date, until nothing is.

What is skipped is skipped because it is proven unchanged: what the order system says of its rows, as control totals by
month, is what it said when they were read; every other table was made by this code of these versions of its inputs;
and the store holds what Dagster's history says it does. Of tables with months that are made of others, a step makes the
months that have other inputs (``tables/kept.py``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import reduce

import dagster as dg

from classic_cars import interrupts
from classic_cars.assets import ALL_TABLES
from classic_cars.automation.changes import by_table
from classic_cars.automation.moves import moved_orders
from classic_cars.automation.refusals import refused_months
from classic_cars.automation.requests import run_requests
from classic_cars.automation.staleness import Parts, Record, held_up, recorded, stale, wave
from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER
from classic_cars.errors import SourceError
from classic_cars.months import Months, month_of, partition_key, span
from classic_cars.runs.observing import SOURCE, observe_landing, observe_order_system, remember, unread
from classic_cars.runs.report import RunReport, executed
from classic_cars.runs.selecting import job_of, partitions_among
from classic_cars.serving.incident import settle
from classic_cars.settings import Settings
from classic_cars.sources.order_system import OrderSystem
from classic_cars.stores import published
from classic_cars.tables import live_agreement
from classic_cars.tables.events import asset_key, entries
from classic_cars.tables.external import WHOLE, claims_of
from classic_cars.tables.held import held
from classic_cars.tables.recomputation import disagreement, recomputed_tables
from classic_cars.tables.run_tags import RANGE_END, RANGE_START, STAY, UNCHANGED_MONTHS
from classic_cars.tables.table import Catalog


def make_what_changed(
    settings: Settings,
    defs: dg.Definitions,
    order_system: OrderSystem,
    instance: dg.DagsterInstance,
    tags: Mapping[str, str],
    again: Iterable[str],
    months: Months | None = None,
    unreadable: Mapping[str, SourceError] | None = None,
) -> RunReport:
    """Make every table and month that is out of date; ``again``: addresses that are made in any case.

    ``months``: of tables with months these are made, in any case, and no others. A table that fails keeps its version,
    and so does whatever is made of it; ``unreadable`` tables of the order system fail unread, and so do those of files
    where the landing zone cannot be listed.
    """
    errors = {f"{SOURCE}/{name}": str(error) for name, error in (unreadable or {}).items()}
    watched = _watched(months, errors)
    before = _made_before(instance, watched)
    signs = observe_order_system(instance, order_system, settings, before, unreadable or {}, months)
    claims = claims_of(ALL_TABLES)
    errors |= observe_landing(instance, settings, claims)
    if months is not None:
        months = partitions_among(instance, months)
    record = _record(settings, defs, instance)
    owed = _owed(instance, record, [*again, *unread(instance, claims)], months)
    old = _both(_within(months, record, stale(record)), owed)
    reports: list[RunReport] = []
    failed = {address: _all_parts(record, address) for address in errors}
    tried: list[Parts] = []
    while (parts := wave(record, old, failed)) and parts not in tried:
        moved = moved_orders(settings, order_system, parts)
        refused = refused_months(instance, defs.get_repository_def().asset_graph, record)
        how = {**tags, **_may_stay(parts, owed, record)}
        for request in _requests(parts, record, how, moved, [refused, held_up(record, failed)]):
            report = _executed(defs, instance, request)
            reports.append(report)
            for address, parts_asked in _not_published(report, record).items():
                failed.setdefault(address, set()).update(parts_asked)
            if interrupts.requested():  # every query from here on would be interrupted, too
                return _together(reports, record, {*failed}, errors)
        tried.append(parts)
        record = _record(settings, defs, instance)
        owed = {address: found - parts.get(address, set()) for address, found in owed.items()}
        old = _both(_within(months, record, stale(record)), owed)
    remember(instance, order_system, signs, watched)
    if months is None:  # of these months only, nobody knows of the others
        settle(instance, _up_to_date(record, _both(old, failed)))
    errors |= _still_due(parts, record)
    return _together(reports, record, {*failed}, errors)


def _watched(months: Months | None, errors: Collection[str]) -> list[str]:
    """Tables of the order system that are looked at; when months are named, those are read in any case."""
    return [
        table.name
        for table in READ_ORDER
        if (months is None or table.name not in PARTITIONED) and f"{SOURCE}/{table.name}" not in errors
    ]


def _made_before(instance: dg.DagsterInstance, watched: Iterable[str]) -> list[str]:
    known = entries(instance, [dg.AssetKey([SOURCE, table.name]) for table in READ_ORDER])
    made = {key.path[-1] for key, entry in known.items() if entry.last_materialization_record is not None}
    return [name for name in watched if name in made]


def _owed(instance: dg.DagsterInstance, record: Record, again: Iterable[str], months: Months | None) -> Parts:
    """What is made in any case: what was named, and what was proven wrong."""
    anyway = {address: _all_parts(record, address) for address in again}
    if months is not None:
        anyway = _named(months, record) | {a: parts for a, parts in anyway.items() if not record.nodes[a].partitioned}
    return anyway | _within(months, record, _refuted(instance))


def _not_published(report: RunReport, record: Record) -> Parts:
    """What a run was to make and did not."""
    asked = {*map(partition_key, report.months or ())}
    return {each: asked if record.nodes[each].partitioned else {WHOLE} for each in report.not_published}


def _still_due(parts: Parts, record: Record) -> dict[str, str]:
    """What was made and is out of date all the same; not when the order system has changed again meanwhile."""
    if any(record.nodes[parent].external for address in parts for parent in record.nodes[address].parents):
        return {}
    said = "was made, and is out of date all the same; make it by name: classic-cars run --select {}"
    return {address: said.format(address) for address in parts}


def _record(settings: Settings, defs: dg.Definitions, instance: dg.DagsterInstance) -> Record:
    with published(settings) as store:
        published_by = held(store, [each.contract for each in ALL_TABLES])
        return recorded(instance, defs.get_repository_def().asset_graph, published_by)


def _up_to_date(record: Record, old: Parts) -> list[dg.AssetKey]:
    """The tables that neither are to be made nor wait for one that is."""
    waiting = held_up(record, old)
    return [
        asset_key(address) for address, node in record.nodes.items() if not node.external and address not in waiting
    ]


def _within(months: Months | None, record: Record, parts: Parts) -> Parts:
    """These parts without any other months than these."""
    if months is None:
        return parts
    wanted = {*map(partition_key, months)}
    return {a: found & wanted if record.nodes[a].partitioned else found for a, found in parts.items()}


def _named(months: Months, record: Record) -> Parts:
    """These months of all tables that have months."""
    wanted = {*map(partition_key, months)} & {*record.months}
    return {a: set(wanted) for a, node in record.nodes.items() if node.partitioned and not node.external}


def _both(*some: Parts) -> Parts:
    found: Parts = {}
    for parts in some:
        for address, those in parts.items():
            if those:
                found.setdefault(address, set()).update(those)
    return found


def _may_stay(parts: Parts, owed: Parts, record: Record) -> dict[str, str]:
    """The tag of a run in which months may stay as they are: it has none that is made of others in any case."""
    owing = {address for address, found in parts.items() if found & owed.get(address, set())}
    made = [record.nodes[address] for address in owing if record.nodes[address].partitioned]
    is_read = [any(record.nodes[parent].external for parent in node.parents) for node in made]
    return {UNCHANGED_MONTHS: STAY} if all(is_read) else {}


def _all_parts(record: Record, address: str) -> set[str]:
    return set(record.months) if record.nodes[address].partitioned else {WHOLE}


# What to make ------------------------------------------------------------------------------------------


def _refuted(instance: dg.DagsterInstance) -> Parts:
    """What a nightly proof found different since it was made."""
    found: Parts = {}
    for table in recomputed_tables(Catalog(ALL_TABLES)):
        failed, months = disagreement(instance, asset_key(table.address))
        if failed:
            _add_if_older(found, instance, table.address, months if table.contract.partitioned_by else [WHOLE], failed)
    _, differing = live_agreement.disagreement(instance)
    for name, months in by_table(differing).items():
        _add_if_older(found, instance, f"{SOURCE}/{name}", months, live_agreement.disagreed_at(instance))
    return found


def _add_if_older(
    found: Parts, instance: dg.DagsterInstance, address: str, parts: Iterable[str], failed: float
) -> None:
    """Those of these parts that were not made since ``failed`` (seconds since 1970)."""
    key = asset_key(address)
    for part in parts:
        wanted = dg.AssetRecordsFilter(key, asset_partitions=[part]) if part else key
        records = instance.fetch_materializations(wanted, limit=1).records
        if records and records[0].timestamp < failed:
            found.setdefault(address, set()).add(part)


# Runs ----------------------------------------------------------------------------------------------------


def _requests(
    parts: Parts,
    record: Record,
    tags: Mapping[str, str],
    moved: Collection[tuple[str, str]],
    broken: Iterable[Mapping[str, Iterable[str]]],
) -> list[dg.RunRequest]:
    """As few runs as make these parts; ``broken`` ones, of the same tables, are made by themselves or not at all."""
    by_part: dict[str, list[dg.AssetKey]] = {}
    for address, found in parts.items():
        for part in found:
            by_part.setdefault(part, []).append(asset_key(address))
    requests = [dg.RunRequest(partition_key=part or None, asset_selection=keys) for part, keys in by_part.items()]
    upstream = {
        asset_key(each) for address in parts if record.nodes[address].partitioned for each in _upstream(record, address)
    }
    apart = {part for each in broken for address in parts for part in each.get(address, ()) if part}
    return run_requests(requests, record.months, tags, each_time=upstream, moved=moved, apart=apart)


def _executed(defs: dg.Definitions, instance: dg.DagsterInstance, request: dg.RunRequest) -> RunReport:
    keys = list(request.asset_selection or [])
    first, last = request.tags.get(RANGE_START), request.tags.get(RANGE_END)
    months = Months(month_of(first), month_of(last)) if first and last else None
    return executed(job_of(defs, keys), instance, keys, months, request.tags)


def _together(reports: list[RunReport], record: Record, failed: set[str], errors: Mapping[str, str]) -> RunReport:
    """One report of all runs; without any, of nothing to do. ``errors``: of tables that could not even be tried."""
    tables = [node.address for node in record.nodes.values() if not node.external]
    made = {address for each in reports for address in each.published}
    kept = [each for each in tables if each in failed or (each not in made and failed & _upstream(record, each))]
    return RunReport(
        run_id=next((each.run_id for each in [*(each for each in reports if not each.succeeded), *reports[-1:]]), ""),
        succeeded=not errors and all(each.succeeded for each in reports),
        months=_ends(each.months for each in reports),
        made=_ends(each.made for each in reports),
        published=[address for address in tables if address in made],
        not_published=kept,
        failed_checks=[check for each in reports for check in each.failed_checks],
        errors=reduce(lambda all_, each: all_ | each.errors, reports, dict(errors)),
        rows=sum(each.rows for each in reports),
        events=sum(each.events for each in reports),
        interrupted=interrupts.requested(),
        unchanged=[address for address in tables if address not in made and address not in kept],
    )


def _ends(some: Iterable[Months | None]) -> Months | None:
    """From the first to the last of all."""
    return span(month for each in some if each is not None for month in (each.first, each.last))


def _upstream(record: Record, address: str) -> set[str]:
    found: set[str] = set()
    waiting = [address]
    while waiting:
        for parent in record.nodes[waiting.pop()].parents:
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found
