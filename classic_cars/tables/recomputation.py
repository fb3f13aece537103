"""The nightly check of what is not made wholly each time: recomputed from all its inputs, and compared value by value.

A table whose contract says how it is ``recomputed`` has this check beside those of its making, and so has one that is
made of such tables: by its own function, of these recomputed. Any other table of months is compared with the rows that
its contract expects, where that says it of every column. The check reads what is published, whatever made it, and so
notices what no step can: a month that was never rebuilt, a stored row that was changed. Control totals are compared
with the table that they are kept with. The months that it names are rebuilt, see ``automation/follow.py``.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import dagster as dg
import ibis

from classic_cars.checks.base import plain
from classic_cars.checks.columns import Columns, profiles
from classic_cars.checks.profiles import differing as wrong_months
from classic_cars.checks.profiles import proven_columns
from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.stores.base import Provenance, Transaction
from classic_cars.tables.events import (
    Event,
    asset_key,
    changed_since,
    last_verdict,
    latest_events,
    latest_months,
    versions_before,
)
from classic_cars.tables.kinds import as_expression, as_kind
from classic_cars.tables.live_agreement import CHECK
from classic_cars.tables.materialize import published
from classic_cars.tables.step import Step
from classic_cars.tables.table import Catalog, Table, parameters
from classic_cars.wording import counted

NAME = "agrees_with_recomputation"
#: Metadata of the check: values that differ, and the months (``YYYY-MM``) that they are in.
DIFFERENCES, MONTHS = "first differences", "months that differ"
#: Differences that a failed check shows.
SHOWN = 10
EXPECTED, FOUND = "expected ", "found "


def recomputation_key(table: Table) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(asset_key(table.address), NAME)


def recomputed_tables(catalog: Catalog) -> list[Table]:
    return [each for each in catalog if is_recomputed(each, catalog)]


def is_recomputed(table: Table, catalog: Catalog) -> bool:
    return _by_partial_aggregates(table, catalog) or is_expected(table, catalog)


def _by_partial_aggregates(table: Table, catalog: Catalog) -> bool:
    return table.contract.recomputed is not None or any(
        each.contract.recomputed is not None for each in catalog.inputs(table).values()
    )


def is_expected(table: Table, catalog: Catalog) -> bool:
    """Whether it is a table of months, made of others, and its contract says what each column of each row must be."""
    contract, origins = table.contract, catalog.origins(table)
    if not contract.partitioned_by or table.arrives_from is not None or origins.grain is None:
        return False
    return {*proven_columns(contract, origins)} == {*contract.types.names}


def made_with(keys: Iterable[dg.AssetCheckKey]) -> set[dg.AssetCheckKey]:
    """The checks that are part of making a table: all but those that have a schedule of their own."""
    return {key for key in keys if key != CHECK and key.name != NAME}


def differing(contract: Contract, found: ibis.Table, expected: ibis.Table) -> ibis.Table:
    """The groups that differ in any value: the key, whether each side has the group, and each measure of both."""
    measures = [name for name in contract.types.names if name not in contract.key]
    sides = [
        side.select(
            *contract.key,
            **{name: side[name].cast(contract.types[name]) for name in measures},
            side=ibis.literal(label),
        )
        for label, side in ((FOUND, found), (EXPECTED, expected))
    ]
    both = ibis.union(*sides)
    # A key twice on one side is a difference too: its rows are counted.
    compared = both.group_by(list(contract.key)).aggregate(
        **{f"{label}rows": (both.side == label).sum() for label in (FOUND, EXPECTED)},
        **{
            f"{label}{name}": both[name].max(where=both.side == label)
            for name in measures
            for label in (FOUND, EXPECTED)
        },
    )
    unequal = [~compared[f"{FOUND}{name}"].identical_to(compared[f"{EXPECTED}{name}"]) for name in ("rows", *measures)]
    return compared.filter(ibis.or_(*unequal))


#: A table's contract, its rows, and those that it should have.
Side = tuple[Contract, ibis.Table, ibis.Table]


def evaluate(*sides: Side) -> dg.AssetCheckResult:
    """The check's result: each value that differs, with its table, group and column. The first side names it."""
    differences: list[dict[str, Any]] = []
    months: set[str] = set()
    differing_groups = 0
    for contract, found, expected in sides:
        rows = differing(contract, found, expected).order_by(list(contract.key)).to_pyarrow().to_pylist()
        differences += [each for row in rows[:SHOWN] for each in _named(contract, row)]
        months |= {f"{row[contract.partitioned_by]:%Y-%m}" for row in rows} if contract.partitioned_by else set()
        differing_groups += len(rows)
    said = f"{sides[0][0].address}: all values equal those recomputed from all of their inputs"
    if differences:
        groups, first = counted(differing_groups, "group"), differences[0]
        said = f"{first['table']}: {groups} differing from the recomputation, first {_said(first)}"
        said += "; rebuilt automatically, or by `classic-cars run`"
    return dg.AssetCheckResult(
        passed=not differences,
        description=said,
        metadata={
            "groups that differ": differing_groups,
            DIFFERENCES: dg.MetadataValue.json(differences[:SHOWN]),
            MONTHS: dg.MetadataValue.json(sorted(months)),
        },
    )


def compared(step: Step, instance: dg.DagsterInstance) -> dg.AssetCheckResult:
    """The result for a table of which the contract says what is expected.

    Months of which an input has changed since are out of date, and known to be: they have their turn.
    """
    audit, made = published(step), latest_months(instance, step.contract.address)
    wrong = {month for months in wrong_months(*profiles(audit)).values() for month in months}
    late = _out_of_date(step, instance, made)
    found, looked_at = sorted(wrong - late), sorted(made.keys() - late)
    said = f"{step.contract.address}: all values of {counted(len(looked_at), 'month')} equal those expected of all of"
    said += f" its inputs{f'; {len(late)} not compared: an input has changed since' if late else ''}"
    if found:
        said = f"{Columns().evaluate(audit).summary}; rebuilt automatically, or by `classic-cars run`"
    return dg.AssetCheckResult(
        passed=not found,
        description=said,
        metadata={
            "months compared": len(looked_at),
            "months out of date": len(late),
            MONTHS: dg.MetadataValue.json(found),
        },
    )


def _out_of_date(step: Step, instance: dg.DagsterInstance, made: Mapping[str, Event]) -> set[str]:
    late = set[str]()
    inputs = {e.address: e.contract.partitioned_by is not None for e in step.catalog.inputs(step.table).values()}
    for address, found in latest_events(instance, inputs).items():
        before = cache(partial(versions_before, instance, address))
        late |= {month for month, event in made.items() if changed_since(address, found, event, month, before)}
    return late


def _named(contract: Contract, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    measures: Sequence[str] = [name for name in contract.types.names if name not in contract.key]
    columns = ["rows"] if row[f"{FOUND}rows"] != row[f"{EXPECTED}rows"] else measures
    return [
        {
            "table": contract.address,
            "group": {name: plain(row[name]) for name in contract.key},
            "column": name,
            "expected": plain(row[f"{EXPECTED}{name}"]),
            "found": plain(row[f"{FOUND}{name}"]),
        }
        for name in columns
        if row[f"{FOUND}{name}"] != row[f"{EXPECTED}{name}"]
    ]


def _said(difference: Mapping[str, Any]) -> str:
    group = ", ".join(f"{name} {value}" for name, value in difference["group"].items())
    return f"{difference['column']} of {group}: expected {difference['expected']}, found {difference['found']}"


def recomputation_check(table: Table, catalog: Catalog, pool: str | None) -> dg.AssetChecksDefinition:
    """The check of one table. It takes part in no run that makes tables, and waits for those to end."""
    contract, key = table.contract, recomputation_key(table)

    @dg.asset_check(
        asset=key.asset_key,
        name=NAME,
        # Through it the check holds the runs' lock: halfway through one, tables do not belong together.
        required_resource_keys={"io_manager"},
        pool=pool,
        description="Every value equals the one recomputed from all of its inputs, as they are now. "
        "Months that differ are rebuilt.",
    )
    def agrees_with_recomputation(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        provenance = Provenance(context.run.run_id, table.address, catalog.code_version(table))
        try:
            with context.resources.io_manager.store.begin(provenance) as tx:
                step = Step(catalog, table, tx, context.run.run_id)
                if not _by_partial_aggregates(table, catalog):
                    return compared(step, context.instance)
                return evaluate(
                    (contract, tx.read(contract), _expected(table, catalog, tx)),
                    *(
                        (each.contract, tx.read(each.contract), step.control_totals(table, each))
                        for each in contract.controls
                    ),
                )
        except StoreError as error:
            return dg.AssetCheckResult(passed=False, description=str(error))

    return agrees_with_recomputation


def disagreement(instance: dg.DagsterInstance, table: dg.AssetKey) -> tuple[float, list[str]]:
    """When the table was compared last and differed (0 if it agreed, or was never compared), and in which months."""
    record = last_verdict(instance, dg.AssetCheckKey(table, NAME), MONTHS)
    if record is None or record.event is None or record.evaluation.passed:
        return 0, []
    return record.event.timestamp, list(record.evaluation.metadata[MONTHS].value)


def _expected(table: Table, catalog: Catalog, tx: Transaction) -> ibis.Table:
    recomputed = table.contract.recomputed
    if recomputed is not None:
        return recomputed(*[tx.read(catalog.resolve(table, name).contract) for name in parameters(recomputed)])
    inputs = {
        name: tx.read(each.contract) if each.contract.recomputed is None else _expected(each, catalog, tx)
        for name, each in catalog.inputs(table).items()
    }
    kinds = table.inputs
    made = table.function(**{name: as_kind(rows, kinds[name]) for name, rows in inputs.items()})
    return as_expression(table.contract, tx.receive, made)
