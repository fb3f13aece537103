"""How a table becomes a Dagster asset: key, deps, partitions, column schema, lineage, checks, retries, metadata.

Written once for all tables. The compute function stages and audits in a transaction; it yields the check results
first and the output last, and only when every blocking check passed, so that Dagster's IO manager publishes nothing
bad. It waits inside the transaction while the IO manager publishes, and leaves it afterwards.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import AssetExecutionContext

from classic_cars import checks, interrupts
from classic_cars.checks.base import CheckOutcome, Limits
from classic_cars.contracts.measures import OWNER
from classic_cars.errors import PartitionsError
from classic_cars.months import Months
from classic_cars.stores.base import Provenance
from classic_cars.tables import alone, failures
from classic_cars.tables.data_versions import content_of
from classic_cars.tables.events import asset_key
from classic_cars.tables.external import external_key, observations
from classic_cars.tables.materialize import from_tables, published
from classic_cars.tables.metadata import (
    HOW_MADE,
    check_metadata,
    column_schema,
    description,
    is_personal,
    materialization_metadata,
)
from classic_cars.tables.outside import from_outside
from classic_cars.tables.partitions import MONTHLY, months_of
from classic_cars.tables.plan import Plan, plan_of
from classic_cars.tables.run_tags import accepted_shrinks
from classic_cars.tables.step import Outcome, Step, Unchanged
from classic_cars.tables.table import Catalog, Table

progress = logging.getLogger("classic_cars.progress")

#: Who is notified when a table of the layer needs somebody.
OWNERS = {
    "source": "team:data-engineering",
    "staging": "team:data-engineering",
    "warehouse": "team:data-engineering",
    "analytics": OWNER,
}
#: The nightly run rebuilds the answers even when nothing was sold: an older one means that nothing runs.
READ_BY_ANALYSTS = "analytics"
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26), warn_window=timedelta(hours=25))


@dataclass(frozen=True)
class Runtime:
    """What the steps of all tables share."""

    limits: Limits
    #: Pool that limits the runs at work at once.
    pool: str | None
    #: Kind of store, for people.
    kind: str
    #: Folder for what is needed while a step works.
    scratch: Path
    #: Folder for the quarantined rows of refused versions.
    refused: Path


def build_asset(
    table: Table, catalog: Catalog, runtime: Runtime, condition: dg.AutomationCondition | None = None
) -> dg.AssetsDefinition:
    """The Dagster asset of one table. ``condition``: when it is made by itself."""

    @dg.multi_asset(**_definition(table, catalog, runtime, condition))
    def materialize(context: AssetExecutionContext) -> Iterator[Any]:
        if context.selected_asset_keys:
            yield from _materialized(context, table, catalog, runtime)
        else:
            yield from _checked(context, table, catalog, runtime)

    return materialize


def _definition(
    table: Table, catalog: Catalog, runtime: Runtime, condition: dg.AutomationCondition | None
) -> dict[str, Any]:
    """What Dagster knows of a table before anything is made.

    A "multi-asset" of one table, because only of those can checks be executed by themselves.
    """
    contract, origin, outside = table.contract, table.arrives_from, external_key(table)
    inputs = [each.address for each in catalog.inputs(table).values()]
    needed = dict.fromkeys([*inputs, *catalog.needed_for_audit(table)])
    shown = dg.AssetOut(
        key=asset_key(table.address),
        description=description(contract),
        group_name=contract.layer,
        kinds={runtime.kind, "pandera"} | ({"ibis"} if table.is_lazy else {"python"}),
        owners=[OWNERS[contract.layer]],
        freshness_policy=FRESH if contract.layer == READ_BY_ANALYSTS else None,
        tags={"layer": contract.layer, **({"personal_data": ""} if is_personal(contract) else {})},
        metadata={"dagster/column_schema": column_schema(contract), "contract version": contract.version},
        code_version=catalog.code_version(table),
        automation_condition=condition,
        is_required=False,
    )
    return {
        "name": "__".join(asset_key(table.address).path),
        "outs": {"result": shown},
        "deps": [*map(asset_key, needed), *([outside] if outside else [])],
        "can_subset": origin is None,  # what arrives from outside is checked against it while it is read
        "check_specs": [
            dg.AssetCheckSpec(name, asset=asset_key(table.address), description=text, blocking=True)
            for name, text in checks.descriptions(contract, catalog.origins(table)).items()
        ],
        "partitions_def": MONTHLY if contract.partitioned_by else None,
        "backfill_policy": dg.BackfillPolicy.single_run() if contract.partitioned_by else None,
        "required_resource_keys": {"io_manager", *([origin.system] if origin else [])},
        "pool": runtime.pool,
        "op_tags": {"dagster/priority": str(origin.priority if origin else 0)},
    }


def _materialized(context: AssetExecutionContext, table: Table, catalog: Catalog, runtime: Runtime) -> Iterator[Any]:
    """One step: stage and audit, then the verdicts, and the staged version if nothing speaks against it."""
    must_go_on()
    started = time.perf_counter()
    months = _months(context, table) if table.contract.partitioned_by else None
    with _step(context, table, catalog, runtime, months) as step:
        try:
            store, keys = context.resources.io_manager.store, context.partition_keys if months else ()
            plan = plan_of(step, store, context.instance, keys, context.run.tags)
            outcome = _outcome(step, plan, context)
            metadata = materialization_metadata(step, outcome, started)
            _say_content(context, outcome, plan)
            _say_what_was_read(context, step, outcome)
        except Exception as error:
            must_go_on()
            failures.report(table.address, error, context.retry_number)
        if outcome.publishable:
            yield from _verdicts(context, step, outcome, plan)
            said = f"{plan.of_rows(outcome.rows)} in {time.perf_counter() - started:.1f} s"
            progress.info("%s: %s", table.address, said, extra=_name_of(context, table))
            yield dg.Output(outcome.staged, metadata=metadata)
            # Here Dagster's IO manager has published.
            yield from _co_published(outcome, metadata)
            return
    # Discarded before anybody is notified.
    yield from (_check_result(each) for each in outcome.verdicts)
    _say_what_failed(context, table, outcome)


def _months(context: AssetExecutionContext, table: Table) -> Months:
    """The months that are to be made."""
    named = context.has_partition_key or context.has_partition_key_range
    try:
        return months_of(table.address, context.partition_key_range if named else None)
    except PartitionsError as error:
        failures.report(table.address, error, context.retry_number)


def _checked(context: AssetExecutionContext, table: Table, catalog: Catalog, runtime: Runtime) -> Iterator[Any]:
    """The verdicts of some checks on the published version, all months of it; nothing is made."""
    key, wanted = asset_key(table.address), {each.name for each in context.selected_asset_check_keys}
    with _step(context, table, catalog, runtime, None) as step:
        if refused := alone.of_refused(context.instance, key, wanted):
            yield from refused
            return
        read = {*(each.address for each in catalog.inputs(table).values()), *catalog.needed_for_audit(table)}
        newer = alone.newer_inputs(context.instance, key, map(asset_key, read))
        try:
            verdicts = checks.evaluated(published(step), wanted)
        except Exception as error:
            must_go_on()
            failures.report(table.address, error, context.retry_number)
    yield from map(_check_result, alone.judged(verdicts, newer))


@contextmanager
def _step(
    context: AssetExecutionContext, table: Table, catalog: Catalog, runtime: Runtime, months: Months | None
) -> Iterator[Step]:
    """A step in a transaction of its own."""
    provenance = Provenance(context.run.run_id, table.address, catalog.code_version(table))
    # What arrives from outside is fetched by this process; all else is computed by the engine that the settings name.
    local = table.arrives_from is not None
    with context.resources.io_manager.store.begin(provenance, local=local) as tx:
        yield Step(
            catalog=catalog,
            table=table,
            tx=tx,
            run_id=context.run.run_id,
            months=months,
            limits=runtime.limits,
            shrink_accepted=table.address in accepted_shrinks(context.run.tags),
            scratch=runtime.scratch,
            refused=runtime.refused,
        )


def must_go_on() -> None:
    """Raises ``KeyboardInterrupt``, which ends the run, when the process was told to stop.

    Dagster raises it by itself, except in the middle of a query: there the query's error hides the signal.
    """
    if interrupts.requested():
        raise KeyboardInterrupt


def _made(step: Step, context: AssetExecutionContext) -> Outcome:
    """The new version, staged and audited."""
    origin = step.table.arrives_from
    if origin is None:
        return from_tables(step)
    return from_outside(step, getattr(context.resources, origin.system))


def _outcome(step: Step, plan: Plan, context: AssetExecutionContext) -> Outcome:
    if plan.all_stay:
        return Outcome([], Unchanged(step.contract))
    return _made(replace(step, months=plan.stay.rest), context)


def _verdicts(context: dg.AssetExecutionContext, step: Step, outcome: Outcome, plan: Plan) -> Iterator[Any]:
    """Those on what was made, and on what stays; of all other checks, where nothing was made, that they still pass."""
    verdicts = plan.verdicts(outcome.verdicts)
    yield from map(_check_result, verdicts)
    if plan.all_stay:
        names = checks.descriptions(step.contract, step.catalog.origins(step.table)).keys()
        rest = sorted(names - {each.check for each in verdicts})
        yield from alone.repeated(context.instance, context.asset_key, rest)


def _say_content(context: dg.AssetExecutionContext, outcome: Outcome, plan: Plan) -> None:
    """The data version of what was made, and each partition's own row count where one run makes several."""
    if outcome.staged is None:
        return
    content = content_of(outcome.profile)
    context.set_data_version(context.asset_key, dg.DataVersion(plan.version(content, context.run.run_id)))
    for month in plan.months:
        said = plan.said(month, content, outcome.verdicts, outcome.read.get(month, ""))
        context.add_asset_metadata(said, asset_key=context.asset_key, partition_key=month)


def _say_what_was_read(context: dg.AssetExecutionContext, step: Step, outcome: Outcome) -> None:
    """The data versions of what was read from outside, unless they were observed: what was made is made of them.

    A poll may have seen it as it was before; without this, the table would be out of sync with what it was read from.
    """
    key = external_key(step.table)
    if key is None or outcome.staged is None:
        return
    partitioned = step.contract.partitioned_by is not None
    for each in observations(context.instance, key, outcome.read, partitioned=partitioned):
        context.log_event(each)
    # Dagster notes the versions of a step's inputs when it begins.
    context.get_step_execution_context().fetch_external_input_asset_version_info()


def _co_published(outcome: Outcome, metadata: Mapping[str, Any]) -> Iterator[dg.AssetMaterialization]:
    """That the tables which were published with this one are materialized too, see ``tables/co_published.py``.

    ``metadata``: of this one's materialization; how it was made holds for them, too.
    """
    made = {name: metadata[name] for name in HOW_MADE if name in metadata}
    for address, rows in outcome.co_published.items():
        yield dg.AssetMaterialization(asset_key(address), metadata={"dagster/row_count": rows, **made})


def _check_result(verdict: CheckOutcome) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=verdict.check,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN if verdict.warning else dg.AssetCheckSeverity.ERROR,
        description=verdict.summary,
        metadata=check_metadata(verdict.facts),
    )


def _name_of(context: AssetExecutionContext, table: Table) -> dict[str, str]:
    """For whoever counts the steps that ended."""
    return {"step": f"{context.run.run_id} {table.address}"}


def _say_what_failed(context: AssetExecutionContext, table: Table, outcome: Outcome) -> None:
    for each in outcome.verdicts:
        if not each.passed and not each.warning:
            said = (table.address, each.check, each.summary)
            progress.error("%s: check %s failed: %s", *said, extra=_name_of(context, table))
