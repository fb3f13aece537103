"""Write and audit one table: from the function's result to a staged version with its verdicts.

All of it happens in one transaction of the store, which the caller begins. Nothing is published here, and nothing is
known of Dagster: the caller publishes the staged version when every blocking verdict passed, and leaves otherwise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import ibis
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.checks import Audit, evaluated, not_examined
from classic_cars.checks.base import BaseVersion
from classic_cars.checks.source import SourceRead
from classic_cars.contracts.base import RESCUED, Contract
from classic_cars.contracts.differences import schema_differences
from classic_cars.contracts.origins import FLAG, REJECT, REPAIR
from classic_cars.contracts.source import OrderSystemTable
from classic_cars.sources.digests import differing_columns, held_totals
from classic_cars.sources.errors import without_values
from classic_cars.sources.order_system import OrderSystem
from classic_cars.stores.base import Staged
from classic_cars.tables import quarantine, refused
from classic_cars.tables.external import versions_of
from classic_cars.tables.kinds import as_expression
from classic_cars.tables.step import Outcome, Step

progress = logging.getLogger("classic_cars.progress")

#: Times rows that refer to rejected rows are themselves rejected (a line of an order of a customer).
REFERENCE_PASSES = 10
#: Orders that left a month, that are looked for elsewhere at once.
LOOKED_FOR = 10_000


def from_tables(step: Step) -> Outcome:
    """Stage and audit a table that is made from other tables."""
    try:
        rows = as_expression(step.contract, step.tx.receive, step.table.function(**step.inputs()))
    except pa.ArrowException as error:
        # The message quotes values; the column is what helps.
        return _refused(step, [f"values do not fit the contract's types: {without_values(str(error))}"])
    problems = schema_differences(step.contract, rows.schema())
    if problems:
        return _refused(step, problems)
    if step.contract.quarantines:
        return _with_quarantine(step, rows)
    staged, tables, counts = step.tx.stage(step.contract, rows, step.months), step.others(), {}
    for each in step.contract.controls:
        kept = step.tx.stage(each.contract, step.control_totals(step.table, each), step.months)
        tables[each.contract.address] = kept.rows
        counts[each.contract.address] = _rows(kept.rows) + _rows(kept.others)
    return Outcome.of(step.audit(staged, tables), counts)


def published(step: Step) -> Audit:
    """What checks look at, of the published version, or of this step's months of it. Raises ``TableMissing``.

    Control totals are those of what is in source now, and not those that were kept.
    """
    contract = step.contract
    rows = step.tx.read(contract, step.months)
    others, controls = step.others(), step.catalog.control_totals
    for address in {*others, *(each.contract.address for each in contract.controls)} & controls.keys():
        others[address] = step.control_totals(*controls[address])
    audit = step.audit(Staged(contract, None, rows, None, ""), others)
    if contract.quarantines:
        audit.rejected = step.tx.read(contract.quarantine, step.months)
        if contract.latest is not None:
            candidates = as_expression(contract, step.tx.receive, step.table.function(**step.inputs()))
            audit.superseded = quarantine.superseded(contract, contract.latest, candidates, rows, audit.rejected)
    return audit


def _refused(step: Step, problems: list[str]) -> Outcome:
    """Nothing can be staged: the rows do not have the contract's columns."""
    return Outcome(not_examined(step.contract, step.catalog.origins(step.table), problems))


# From the order system -----------------------------------------------------------------------------------


def from_order_system(step: Step, order_system: OrderSystem) -> Outcome:
    """Read a table of the order system, stage it, and prove it against the order system itself, value by value.

    Rows and control totals are of one snapshot: they agree however busy the shop is.
    """
    table = _arrives_from(step)
    months = list(step.months) if step.months else None
    drift = order_system.drift(table)
    before = _published_before(step)
    with order_system.snapshot(step.scratch) as snapshot:
        staged = _staged(step, snapshot.read(table, months, step.table.function))
        expected = snapshot.control_totals(table, months)
    found = held_totals(staged.rows, table, order_system.url)
    arrived = SourceRead(
        found,
        expected,
        partial(differing_columns, order_system, staged.rows, table, months),
        order_system.redacted,
        rescued=staged.rows[RESCUED].count().to_pyarrow().as_py(),
        drift=drift,
    )
    audit = step.audit(staged, {}, arrived=arrived, before=_with_moved(step, before, staged, order_system))
    cents = [each.cents for each in found.values() if each.cents is not None]
    totals = {"cents": sum(cents)} if cents else {}
    read = versions_of(expected, months)
    rows = sum(each.rows for each in found.values())
    return Outcome(evaluated(audit), staged, audit.profile, rows, totals, read=read)


def _arrives_from(step: Step) -> sa.Table:
    origin = step.table.arrives_from
    if not isinstance(origin, OrderSystemTable):
        raise TypeError(f"{step.contract.address}: arrives from {origin}, not from the order system")
    return origin.table


@dataclass(frozen=True)
class _Published:
    """What the published version has, in the months of this step: rows by month, and orders by month."""

    rows: dict[str, int] = field(default_factory=dict)
    orders: pa.Table | None = None


def _published_before(step: Step) -> _Published:
    """Asked before anything is staged: what this transaction staged cannot be read as published."""
    contract = step.contract
    if not step.tx.exists(contract):
        return _Published()
    rows = step.tx.read(contract, step.months)
    counted, accepted = _by_month(contract, rows), _accepted(step)
    if accepted is not None:
        # Rows that staging never accepted are not missed.
        counted = {month: min(rows, accepted.get(month, 0)) for month, rows in counted.items()}
    if not contract.partitioned_by:
        return _Published(counted)
    month = rows[contract.partitioned_by].truncate("M").name("month")
    return _Published(counted, rows.select("orderNumber", month).distinct().to_pyarrow())


def _by_month(contract: Contract, rows: ibis.Table) -> dict[str, int]:
    if not contract.partitioned_by:
        return {"": rows.count().to_pyarrow().as_py()}
    month = rows[contract.partitioned_by].truncate("M").name("month")
    counted = rows.group_by(month).aggregate(rows=rows.count()).to_pyarrow().to_pylist()
    return {f"{each['month']:%Y-%m}": each["rows"] for each in counted}


def _accepted(step: Step) -> dict[str, int] | None:
    """Rows of the published version of the staging table that cleans this one, by month; None without one."""
    cleaned = step.catalog.cleaned_by(step.table)
    if cleaned is None or not step.tx.exists(cleaned):
        return None
    return _by_month(cleaned, step.tx.read(cleaned, step.months))


def _with_moved(step: Step, before: _Published, staged: Staged, order_system: OrderSystem) -> BaseVersion:
    """The same, and which of its orders are now in months that this step does not read."""
    if before.orders is None or step.months is None:
        return BaseVersion(before.rows)
    known = step.tx.receive(before.orders)
    missing = known.anti_join(staged.rows, "orderNumber")
    if staged.others is not None:  # whoever was read in his new month before is not lost
        missing = missing.anti_join(staged.others, "orderNumber")
    moved: dict[str, dict[str, int]] = {}
    for batch in missing.filter(missing.orderNumber.notnull()).to_pyarrow().to_batches(LOOKED_FOR):
        gone = batch.to_pylist()
        homes = order_system.homes_of([each["orderNumber"] for each in gone])
        for each in gone:
            home = homes.get(each["orderNumber"])
            if home is not None and home not in step.months:
                month = moved.setdefault(f"{each['month']:%Y-%m}", {})
                month[f"{home:%Y-%m}"] = month.get(f"{home:%Y-%m}", 0) + 1
    return BaseVersion(before.rows, moved)


def _staged(step: Step, arriving: pa.RecordBatchReader) -> Staged:
    """Stage the order system's rows. An engine that consumes a stream hides its error: here it is raised."""
    failures: list[Exception] = []
    try:
        rows = step.tx.receive(_counted(arriving, step.contract.address, failures))
        return step.tx.stage(step.contract, rows, step.months)
    except Exception:
        if failures:
            raise failures[0] from None
        raise


# With quarantine -----------------------------------------------------------------------------------------


def _with_quarantine(step: Step, candidates: ibis.Table) -> Outcome:
    """Stage the good rows and quarantine the others, in the same step; audit both."""
    contract, tables = step.contract, step.others()
    severity = {rule.name: rule.severity for rule in contract.rules}
    screened = quarantine.untouched(candidates)
    audit = step.audit(step.tx.stage(contract, screened.accepted, step.months), tables)
    broken = {severity[name] for name in audit.measured.broken_rules}
    if audit.measured.repaired or broken & {REJECT, REPAIR} or _has_misspelled(contract, audit.rows):
        candidates = quarantine.repaired(contract, candidates)
        screened = quarantine.by_rules(contract, candidates)
        audit = step.audit(step.tx.stage(contract, screened.accepted, step.months), tables)
    if contract.latest is not None:  # before the latest of each key is chosen: an earlier one refers to the same
        screened, audit = _by_references(step, screened, audit, tables)
    if contract.key and audit.repeated_keys[0]:
        screened = quarantine.by_key(contract, screened)
        audit = step.audit(step.tx.stage(contract, screened.accepted, step.months), tables)
    screened, audit = _by_references(step, screened, audit, tables)
    rejected = step.tx.stage(
        contract.quarantine, quarantine.quarantined(contract, screened.rejected, step.run_id), step.months
    )
    audit.rejected, audit.rejected_elsewhere = rejected.rows, rejected.others
    if contract.latest is not None:
        audit.superseded = quarantine.superseded(contract, contract.latest, candidates, audit.rows, rejected.rows)
    outcome = Outcome.of(audit, {contract.quarantine.address: audit.rejected_count + _rows(rejected.others)})
    return refused.located(outcome, audit, step.refused, step.run_id)


def _by_references(
    step: Step, screened: quarantine.Screened, audit: Audit, tables: dict[str, ibis.Table]
) -> tuple[quarantine.Screened, Audit]:
    """Reject rows that cannot be counted without what they refer to, until none is left."""
    contract = step.contract
    rejecting = {str(each) for each in contract.references if each.otherwise != FLAG}
    for _ in range(REFERENCE_PASSES):
        if not rejecting & set(audit.measured.broken_references):
            break
        screened = quarantine.by_references(contract, screened, tables)
        audit = step.audit(step.tx.stage(contract, screened.accepted, step.months), tables)
    return screened, audit


def _rows(table: ibis.Table | None) -> int:
    return 0 if table is None else int(table.count().to_pyarrow().as_py())


def _has_misspelled(contract: Contract, rows: ibis.Table) -> bool:
    wrong = [
        quarantine.misspelled(rows[name], spellings)
        for name in contract.types.names
        if (spellings := contract.spellings(name))
    ]
    return bool(wrong) and rows.filter(ibis.or_(*wrong)).count().to_pyarrow().as_py() > 0


def _counted(batches: pa.RecordBatchReader, address: str, failures: list[Exception]) -> pa.RecordBatchReader:
    """The same batches; says every few seconds how many rows went by, and notes how the stream failed."""

    def passing() -> Iterator[pa.RecordBatch]:
        rows, said = 0, time.monotonic()
        try:
            for batch in batches:
                rows += batch.num_rows
                if time.monotonic() - said > 2:
                    said = time.monotonic()
                    progress.info("%s: %s rows read", address, f"{rows:,}")
                yield batch
        except Exception as error:
            failures.append(error)
            raise

    return pa.RecordBatchReader.from_batches(batches.schema, passing())
