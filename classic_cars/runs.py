"""Plan and execute one run in this process, on the same Dagster instance as the web page's.

What is run, for which months, and what came of it. How it is shown is the command line's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg

from classic_cars import interrupts
from classic_cars.contracts.order_system import PARTITIONED, UNDATED
from classic_cars.contracts.source import CONTRACTS
from classic_cars.definitions import EVERYTHING, build_defs
from classic_cars.errors import SettingsError
from classic_cars.instance import open_instance
from classic_cars.months import Months, partition_key
from classic_cars.settings import Settings
from classic_cars.sources.order_system import OrderSystem, open_order_system
from classic_cars.stores import open_store
from classic_cars.stores.base import Store
from classic_cars.tables.partitions import add_months, existing, known_months
from classic_cars.tables.recomputation import made_with
from classic_cars.tables.run_tags import ACCEPT_SHRINK, range_tags

#: What Dagster raises in a step when its process is told to end.
INTERRUPTIONS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


@dataclass(frozen=True)
class FailedCheck:
    """A check that did not pass; ``blocking`` ones kept their table from being published."""

    table: str
    check: str
    summary: str
    blocking: bool


@dataclass(frozen=True)
class RunReport:
    """What came of a run."""

    run_id: str
    succeeded: bool
    months: Months | None
    published: list[str] = field(default_factory=list)
    not_published: list[str] = field(default_factory=list)
    failed_checks: list[FailedCheck] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    events: int = 0
    interrupted: bool = False


def select_tables(defs: dg.Definitions, patterns: Sequence[str]) -> list[dg.AssetKey]:
    """The asset keys that the patterns name: ``warehouse/*``, ``fact_orders``, ``source/order*+`` with all that
    is made from them, ``+fact_orders`` with all that it is made from, or Dagster's own selection syntax.

    Raises ``SettingsError`` when a pattern names nothing.
    """
    graph = defs.get_repository_def().asset_graph
    chosen: set[dg.AssetKey] = set()
    for pattern in patterns or ["*"]:
        if any(sign in pattern for sign in ':"() '):
            query = pattern
        else:
            name = pattern.strip("+")
            before, after = pattern[: pattern.index(name)], pattern[pattern.index(name) + len(name) :]
            query = f'{before}key:"{name if "/" in name or name == "*" else "*/" + name}"{after}'
        try:
            named = dg.AssetSelection.from_string(query).resolve(graph)
        except Exception as error:
            raise SettingsError(f"--select {pattern}: cannot be read ({str(error).splitlines()[0]})") from None
        # Others, such as quarantines, are published with the table that they belong to.
        found = set(named) & graph.materializable_asset_keys
        if not found:
            raise SettingsError(
                f"--select {pattern}: {_nothing_to_make(named, graph)}; there are "
                + ", ".join(sorted(key.to_user_string() for key in graph.materializable_asset_keys))
            )
        chosen |= found
    return sorted(chosen)


def _nothing_to_make(named: Iterable[dg.AssetKey], graph: Any) -> str:
    if not named:
        return "no table is called so"
    owners = {parent.to_user_string() for key in named for parent in graph.get(key).parent_keys}
    return f"is made with {', '.join(sorted(owners)) or 'nothing here'}"


def months_that_exist(order_system: OrderSystem, store: Store, *, reads: bool) -> list[date]:
    """The months that the store has, and the order system if it is to be read; the one of undated rows if none."""
    kept = {month for name in PARTITIONED for month in store.months(CONTRACTS[name])}
    return sorted({*kept, *(order_system.months() if reads else [])}) or [UNDATED]


def execute(
    settings: Settings,
    patterns: Sequence[str] = (),
    months: Months | None = None,
    *,
    ephemeral: bool = False,
    accept_shrink: Sequence[str] = (),
) -> RunReport:
    """Run the tables that ``patterns`` name (default: all) for ``months`` (default: all that there are).

    ``accept_shrink``: tables of the order system that may have far fewer rows than before, by address or name.
    Raises ``ClassicCarsError`` when the run cannot start; a run that fails is a report that says so.
    """
    defs = build_defs(settings)
    keys = select_tables(defs, patterns)
    shrinking = shrinking_tables(accept_shrink, keys)
    graph = defs.get_repository_def().asset_graph
    order_system = open_order_system(settings.order_system_url, settings.connect_timeout)
    reads = any(key.path[0] == "source" for key in keys)
    if reads:
        order_system.probe()
    tags = {ACCEPT_SHRINK: ",".join(shrinking)} if shrinking else {}
    if any(graph.get(key).is_partitioned for key in keys):
        with _published(settings) as store:
            there = months_that_exist(order_system, store, reads=months is None or reads)
    else:
        months, there = None, []
    with interrupts.listening(), open_instance(settings, ephemeral=ephemeral) as instance:
        if there:
            add_months(instance, map(partition_key, there))
            months = partitions_among(instance, months or Months(there[0], there[-1]))
            tags |= range_tags(months.first, months.last)
        result = job_of(defs, keys).execute_in_process(
            instance=instance,
            tags=tags,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    return _report(result, keys, months)


def job_of(defs: dg.Definitions, keys: Iterable[dg.AssetKey]) -> dg.JobDefinition:
    """The job that makes these tables and audits them; nightly checks have schedules of their own."""
    chosen = set(keys)
    checks = made_with(defs.get_repository_def().asset_graph.get_check_keys_for_assets(chosen))
    return defs.resolve_job_def(EVERYTHING).get_subset(asset_selection=chosen, asset_check_selection=checks)


def shrinking_tables(names: Sequence[str], keys: Sequence[dg.AssetKey]) -> list[str]:
    """The addresses of the tables that ``--accept-shrink`` names (``orders`` or ``source/orders``), each once.

    Raises ``SettingsError`` when the order system has no such table, or the run of ``keys`` does not read it: a
    permission that nothing uses is a mistake.
    """
    known = {contract.address for contract in CONTRACTS.values()}
    read = {key.to_user_string() for key in keys}
    chosen: dict[str, None] = {}
    for name in names:
        address = name if "/" in name else f"source/{name}"
        if address not in known:
            listed = ", ".join(sorted(known))
            raise SettingsError(f"--accept-shrink {name}: no table of the order system; there are {listed}")
        if address not in read:
            raise SettingsError(f"--accept-shrink {name}: this run does not read {address}; see --select")
        chosen[address] = None
    return list(chosen)


def partitions_among(instance: dg.DagsterInstance, months: Months) -> Months:
    """From the first to the last of ``months`` that there is. Raises ``SettingsError`` when there is none."""
    found = existing(instance, months)
    if found is None:
        known = known_months(instance)
        raise SettingsError(
            f"--months {months}: there are no orders in it; there are months from {known[0]} to {known[-1]}"
        )
    return found


@contextmanager
def _published(settings: Settings) -> Iterator[Store]:
    store = open_store(settings, read_only=True)
    try:
        yield store
    finally:
        store.release()


def _report(result: dg.ExecuteInProcessResult, keys: Sequence[dg.AssetKey], months: Months | None) -> RunReport:
    published: set[str] = set()
    failed_checks: list[FailedCheck] = []
    errors: dict[str, str] = {}
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key is not None:
            published.add(event.asset_key.to_user_string())
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                failed_checks.append(
                    FailedCheck(
                        check.asset_key.to_user_string(),
                        check.check_name,
                        check.description or "",
                        check.severity == dg.AssetCheckSeverity.ERROR,
                    )
                )
        elif event.is_step_failure and event.step_failure_data.error is not None:
            if event.step_failure_data.error.cls_name == "DagsterAssetCheckFailedError":
                continue  # reported as a check, once
            errors[str(event.step_key).replace("__", "/")] = _message(event.step_failure_data)
        elif event.is_resource_init_failure and event.engine_event_data.error is not None:
            # Before the first step: the store is held by another run, or cannot be written.
            errors["store"] = _innermost(event.engine_event_data.error)
    wanted = [key.to_user_string() for key in keys]
    return RunReport(
        run_id=result.run_id,
        succeeded=result.success,
        months=months,
        published=[name for name in wanted if name in published],
        not_published=[name for name in wanted if name not in published],
        failed_checks=failed_checks,
        errors=errors,
        events=len(result.all_events),
        interrupted=interrupts.requested(),
    )


def _message(failure: Any) -> str:
    """What went wrong in a step, in one paragraph."""
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return failure.user_failure_data.description
    return _innermost(failure.error)


def _innermost(error: Any) -> str:
    """The message of the cause of all causes."""
    while error.cause is not None:
        error = error.cause
    if error.cls_name in INTERRUPTIONS:
        return "interrupted"
    text = error.message.strip()
    return text.partition(": ")[2] if text.startswith(("classic_cars.", "dagster.")) else text
