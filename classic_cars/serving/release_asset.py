"""Releases on Dagster's web page: an asset downstream of every released table, and the check that its tables agree.

A release is made at the end of every run that published something, whatever the run was to make, while the run still
has the store. It is no step: one of those is skipped when any table upstream of it fails, related or not.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import dagster as dg

from classic_cars.contracts.base import RELEASED, Contract
from classic_cars.errors import ClassicCarsError, StoreError
from classic_cars.serving.completeness import balances
from classic_cars.serving.consistency import contradictions
from classic_cars.serving.release_making import Outcome, make_release
from classic_cars.stores.base import Store
from classic_cars.stores.publications import Publications
from classic_cars.tables.events import asset_key, latest_events, not_held
from classic_cars.tables.live_agreement import Reader, last_agreement
from classic_cars.wording import counted

KEY = dg.AssetKey(["serving", "release"])
CHECK = dg.AssetCheckKey(KEY, "tables_agree")
#: Tables, and months of each, that a message names.
NAMED = 4
AGREE = "The released tables agree with each other and with source: rows and cents, in total and group by group"


def release_spec(contracts: Iterable[Contract]) -> dg.AssetSpec:
    """The asset: what analysts read."""
    return dg.AssetSpec(
        key=KEY,
        deps=[asset_key(each.address) for each in contracts if each.layer in RELEASED],
        description="The numbered set of table versions that analysts read. A new one is made at the end of each run "
        "that published something, when all tables agree; until then the release before stays.",
        group_name=KEY.path[0],
        tags={"layer": KEY.path[0]},
    )


def release_check(reader: Reader) -> Any:
    """Whether a release could be made of what is published now; can be executed at any time."""

    @dg.asset_check(asset=KEY, name=CHECK.name, description=AGREE)
    def tables_agree() -> dg.AssetCheckResult:
        try:
            with reader() as store:
                reasons = [*contradictions(store), *(each.line() for each in balances(store) if not each.balanced)]
        except StoreError as error:
            reasons = [str(error)]
        return dg.AssetCheckResult(
            passed=not reasons, severity=dg.AssetCheckSeverity.WARN, description="; ".join(reasons) or "all agree"
        )

    return tables_agree


def release_after_run(
    store: Store,
    contracts: Iterable[Contract],
    published: Iterable[str],
    instance: dg.DagsterInstance,
    run_id: str,
) -> Outcome:
    """Make a release if one can be made, and record what came of it. Never raises: what was published stays.

    ``published``: addresses of what the run published; without any of the released layers there is nothing to release.
    """
    if not any(address.startswith(tuple(f"{layer}/" for layer in RELEASED)) for address in published):
        return Outcome(None)
    return record_release(store, contracts, instance, run_id)


def record_release(store: Store, contracts: Iterable[Contract], instance: dg.DagsterInstance, run_id: str) -> Outcome:
    """The same, whatever was published."""
    started = time.perf_counter()
    try:
        outcome = _unlike_history(store, contracts := list(contracts), instance) or make_release(
            store, contracts, run_id, last_agreement(instance)
        )
    except ClassicCarsError as error:
        outcome = _failed(store, str(error))
    except Exception as error:
        # Its text may hold values.
        outcome = _failed(store, f"unexpected {type(error).__name__} while the release was made")
    if outcome.reasons and multiprocessing.parent_process() is not None:
        return outcome  # a process of one step among several: the others are under way
    if outcome.missing and outcome.release is None:
        return outcome  # of a platform that is being filled for the first time there is no verdict yet
    if outcome.release is not None and outcome.is_new:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(KEY, metadata=_metadata(outcome, time.perf_counter() - started))
        )
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=KEY,
            check_name=CHECK.name,
            passed=not outcome.reasons,
            metadata={},
            # What keeps tables apart has an incident of its own, or is under way; what could not be written has none.
            severity=dg.AssetCheckSeverity.ERROR if outcome.failed else dg.AssetCheckSeverity.WARN,
            description=_said(outcome),
        )
    )
    return outcome


def failed_release(instance: dg.DagsterInstance, run_id: str) -> str:
    """What broke while a release of what this run published was made; empty when nothing did."""
    run = instance.get_run_record_by_id(run_id)
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK]).get(CHECK)
    event = record.event if record is not None else None
    if run is None or record is None or event is None or event.timestamp < (run.start_time or 0):
        return ""
    evaluation = record.evaluation
    if not isinstance(evaluation, dg.AssetCheckEvaluation):
        return ""
    broke = not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
    return evaluation.description or "" if broke else ""


def _unlike_history(store: Store, contracts: Iterable[Contract], instance: dg.DagsterInstance) -> Outcome | None:
    """No release, when the store holds other rows than the history says; None when it holds what it should.

    A backup was restored, say: what was made since of other rows than these would be released beside them.
    """
    held, unlike, runs = store.published_by(), dict[str, set[str]](), set[str]()
    tables = {each.address: each.partitioned_by is not None for each in contracts}
    for address, events in latest_events(instance, tables).items():
        own = held.get(address, Publications())
        if parts := not_held(events, own):
            unlike[address] = parts
            runs |= {own.run_of(part) for part in parts}
    if not unlike:
        return None
    named = "; ".join(f"{address}{_months(parts)}" for address, parts in list(unlike.items())[:NAMED])
    more = f" and {len(unlike) - NAMED} more" if len(unlike) > NAMED else ""
    reason = (
        f"the store does not hold what the runs of this history published (it was restored, replaced, or a run was "
        f"killed): {named}{more}; `classic-cars run` makes it again"
    )
    is_under_way = any(run and not run.is_finished for run in map(instance.get_run_by_id, filter(None, runs)))
    return replace(_failed(store, reason), failed=not is_under_way)


def _months(parts: set[str]) -> str:
    months = sorted(filter(None, parts))
    return f" ({', '.join(months[:NAMED])}{', ...' if len(months) > NAMED else ''})" if months else ""


def _failed(store: Store, reason: str) -> Outcome:
    """Readers are told, if that can be written at all."""
    with suppress(Exception):
        store.shelf.note(reason)
    return Outcome(None, reasons=(reason,), failed=True)


def _said(outcome: Outcome) -> str:
    now = outcome.release
    if outcome.reasons:
        stays = f"; release {now.number} stays the current one" if now is not None else ""
        return f"no release was made: {'; '.join(outcome.reasons)}{stays}"
    return f"release {now.number}: {now.order_lines.line()}" if now is not None else "nothing was published"


def _metadata(outcome: Outcome, seconds: float) -> dict[str, Any]:
    release = outcome.release
    if release is None:
        return {}
    lines = release.order_lines
    return {
        "release": release.number,
        "made by run": release.run_id,
        "tables": len(release.tables),
        "rows": sum(each.rows for each in release.tables.values()),
        "order lines compared with source": lines.source.rows,
        "amount compared with source": float(lines.source.amount),
        "amount compared with source, exact": f"{lines.source.amount:,.2f}",
        "order lines quarantined": lines.quarantined.rows,
        "proof": dg.MetadataValue.md("\n".join(f"- {each.line()}" for each in release.balances)),
        "seconds": round(seconds, 3),
        "summary": f"{counted(len(release.tables), 'table')} that agree with source to the cent",
    }
