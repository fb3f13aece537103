"""What a blocking check refused: tables, and months of tables. Nothing is made of them before they were made again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import dagster as dg

from classic_cars.automation.staleness import Record, failed_and_stale
from classic_cars.automation.watching import CLOCK_STEP_SECONDS
from classic_cars.tables.events import FAILED, Event, asset_key
from classic_cars.tables.external import WHOLE
from classic_cars.tables.run_tags import RANGE_END, RANGE_START


class Attempt(NamedTuple):
    """When a month was to be made, as moments of events are told, and by which run; with which others, if it matters.

    ``first`` and ``last``: months that the run was of; empty for one that was of this month alone.
    """

    moment: int
    run_id: str
    first: str = ""
    last: str = ""


#: Seconds between two runs that are to make the same.
SHORTEST_REST, LONGEST_REST = 60.0, 3600.0
#: Refusals of a check among which that of a month's last run is looked for.
LOOK_BACK = 200


def refused_tables(instance: dg.DagsterInstance, graph: Any) -> set[dg.AssetKey]:
    """Tables of which a blocking check failed when they were last made, or since."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(graph.asset_check_keys))
    return {check.asset_key for check, record in records.items() if _is_refusal(record)}


def refused_months(
    instance: dg.DagsterInstance, graph: Any, record: Record, check: str = ""
) -> dict[str, dict[str, Attempt]]:
    """By address, the months whose last run a blocking check refused: a run of others may have passed since.

    ``check``: only those of checks of this name. A run that was stopped refuses nothing.
    """
    found: dict[str, dict[str, Attempt]] = {}
    for address, months in record.failed.items():
        if record.nodes[address].partitioned:
            key = asset_key(address)
            checks = graph.get_check_keys_for_assets({key})
            runs = _refused_runs(instance, [each for each in checks if check in ("", each.name)])
            attempts = {month: attempt for month in months if runs and (attempt := last_attempt(instance, key, month))}
            if refused := {month: each for month, each in attempts.items() if each.run_id in runs}:
                found[address] = refused
    ids = {attempt.run_id for months in found.values() for attempt in months.values()}
    of = {run.run_id: run.tags for run in instance.get_runs(dg.RunsFilter(run_ids=[*ids]))} if ids else {}
    return {
        address: {
            month: each._replace(
                first=of.get(each.run_id, {}).get(RANGE_START, ""), last=of.get(each.run_id, {}).get(RANGE_END, "")
            )
            for month, each in months.items()
        }
        for address, months in found.items()
    }


def rested(instance: dg.DagsterInstance, record: Record, address: str, parts: Iterable[str], now: float) -> set[str]:
    """Those of these parts of which the last run that was to make them, and did not, ended long enough ago.

    As long as they have failed by then: from a minute on, an hour at most. A run that was deleted rests no more.
    """
    key, tried, found = asset_key(address), dict[str, set[str]](), set[str]()
    for part in parts:
        if attempt := last_attempt(instance, key, part):
            tried.setdefault(attempt.run_id, set()).add(part)
        else:
            found.add(part)
    runs = instance.get_run_records(dg.RunsFilter(run_ids=[*tried])) if tried else ()
    ends = {each.dagster_run.run_id: each.end_time or 0 for each in runs}
    for run, failed in tried.items():
        # The runs of one of them stand for those of all that the run was to make.
        ended, part = ends.get(run, 0), max(failed)
        failing = ended - _first_attempt(instance, key, part, record.events[address].get(part))
        # One that ended in time to come, before the clock was put back, has rested.
        if not -CLOCK_STEP_SECONDS < now - ended < min(max(failing, SHORTEST_REST), LONGEST_REST):
            found |= failed
    return found


def _first_attempt(instance: dg.DagsterInstance, key: dg.AssetKey, part: str, made: Event | None) -> float:
    """When it was first to be made again since it was made, in seconds since 1970."""
    since = dg.EventRecordsFilter(
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        key,
        asset_partitions=[part] if part else None,
        after_cursor=made.moment if made else None,
    )
    first = instance.event_log_storage.get_event_records(since, limit=1, ascending=True)
    return first[0].timestamp if first else 0


def held_back(
    record: Record,
    addresses: Iterable[str],
    refused: Mapping[str, Mapping[str, Attempt]],
    asked: Callable[[str], set[str]],
) -> tuple[set[str], set[str]]:
    """Of these tables, the months that are refused, and the parts that are to be made again before what follows is.

    A month that passed since, of a table that was refused for another one, says nothing of that other one. ``asked``:
    the parts of a table that are made now.
    """
    lost, waiting, stays = set[str](), set[str](), set[str]()
    for address in addresses:
        months, failed = refused.get(address, {}), failed_and_stale(record, address)
        now = asked(address) if months or failed else set()
        lost |= months.keys() - now
        waiting |= failed - now
        stays |= given_up(record, address, months, now)
    return lost, waiting - stays


def given_up(record: Record, address: str, refused: Mapping[str, Attempt], asked: Collection[str] = ()) -> set[str]:
    """Those of a table's refused months that are not made before something changes; ``asked``: those to be made now."""
    mended = {refused[month].run_id for month in asked if month in refused}
    return {
        month
        for month, attempt in refused.items()
        if attempt.run_id not in mended and would_be_refused_again(record, address, month, attempt)
    }


def would_be_refused_again(record: Record, address: str, month: str, attempt: Attempt) -> bool:
    """Whether none of the months of the attempt was made since, nor what they are made of, but by its own run.

    The check was of all of them: which one it refused them for is not known.
    """
    node, made = record.nodes[address], record.events[address]
    months = {month, *(each for each in record.months if attempt.first <= each <= attempt.last)}
    events = [made.get(each) for each in months]
    events += [record.events[parent].get(part) for parent in node.parents for part in (*months, WHOLE)]
    return all(each is None or each.moment < attempt.moment or each.run_id == attempt.run_id for each in events)


def _refused_runs(instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey]) -> set[str]:
    storage = instance.event_log_storage
    records = [
        each for check in checks for each in storage.get_asset_check_execution_history(check, LOOK_BACK, status=FAILED)
    ]
    return {each.run_id for each in records if _is_refusal(each)}


def last_attempt(instance: dg.DagsterInstance, key: dg.AssetKey, month: str) -> Attempt | None:
    """The last one to make a month, or ``WHOLE``."""
    planned = instance.event_log_storage.get_latest_planned_materialization_info(key, month or None)
    return Attempt(planned.storage_id, planned.run_id) if planned is not None else None


def _is_refusal(record: Any) -> bool:
    evaluation = record.event and record.event.dagster_event and record.event.dagster_event.event_specific_data
    if not isinstance(evaluation, dg.AssetCheckEvaluation):
        return False  # planned, under way, or its step never got so far: then the table was not published
    return not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR and bool(evaluation.blocking)
