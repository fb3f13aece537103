"""Write and audit one table: from the function's result to a staged version with its verdicts.

Nothing is published here, and nothing is known of Dagster: the caller publishes when every blocking verdict
passed, and discards otherwise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import polars as pl
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.contracts.base import RESCUED, Contract
from classic_cars.contracts.source import OrderSystemTable
from classic_cars.errors import SourceError, SourceMoved
from classic_cars.sources.errors import without_values
from classic_cars.sources.order_system import ControlTotals, OrderSystem, SchemaDrift
from classic_cars.stores.base import Months, Staged, Store
from classic_cars.tables import audit, quarantine
from classic_cars.tables.audit import Measured, Tables, Verdict
from classic_cars.tables.table import Catalog, Table, column_differences, parameters

progress = logging.getLogger("classic_cars.progress")

#: Times a moving order system is read before giving up.
READ_ATTEMPTS = 3
#: Times rows that refer to rows set aside are themselves set aside (a manager's manager's manager).
REFERENCE_PASSES = 10


@dataclass(frozen=True)
class Step:
    """Everything that making one version of one table needs."""

    catalog: Catalog
    table: Table
    store: Store
    run_id: str
    months: Months | None = None
    quarantine_max_share: float = 0.01
    #: A folder for what is needed while the step works; the system's own when None.
    scratch: Path | None = None

    @property
    def contract(self) -> Contract:
        return self.table.contract

    def read(self, address: str) -> ibis.Table:
        """Another table's published rows; of this step's months when both are partitioned."""
        contract = self.catalog[address].contract
        return self.store.read(contract, self.months if contract.partitioned_by else None)

    def others(self) -> dict[str, ibis.Table]:
        """The tables that the contract refers to or is reconciled with."""
        return {address: self.read(address) for address in self.catalog.audited_against(self.table)}


@dataclass(frozen=True)
class Outcome:
    """A staged version and its verdicts; ``staged`` is None when nothing could be written."""

    verdicts: list[Verdict]
    staged: Staged | None = None
    rows: int = 0
    totals: dict[str, Any] = field(default_factory=dict)

    @property
    def publishable(self) -> bool:
        return self.staged is not None and all(each.passed or each.warning for each in self.verdicts)


def from_tables(step: Step, inputs: Mapping[str, Any]) -> Outcome:
    """Stage and audit a table that is made from other tables."""
    try:
        rows = _as_expression(step, step.table.function(**inputs))
    except pa.ArrowException as error:
        # The message quotes values; the column is what helps.
        return _refused(step.contract, [f"values do not fit the contract's types: {without_values(str(error))}"])
    problems = column_differences(step.contract, rows.schema())
    if problems:
        return _refused(step.contract, problems)
    if step.contract.quarantines:
        return _with_quarantine(step, rows)
    staged = step.store.stage(step.contract, rows, step.months)
    return _audited(step, staged, {**step.others(), step.contract.address: staged.rows})


def from_order_system(step: Step, order_system: OrderSystem) -> Outcome:
    """Read a table of the order system, stage it, and prove rows and cents against the order system itself.

    While the shop keeps selling, its totals move under our hands: the version read must agree with the totals
    just before or just after the read. Raises ``SourceMoved`` when it never did.
    """
    table = _arrives_from(step)
    months = list(step.months) if step.months else None
    drift = order_system.drift(table)
    for _ in range(READ_ATTEMPTS):
        before = order_system.control_totals(table, months)
        staged = _read(step, order_system, months)
        found, rescued = _control_totals(staged.rows, before)
        after = before if found == before else order_system.control_totals(table, months)
        if found in (before, after) or before == after:
            verdicts = [
                _drift_verdict(step.contract, drift),
                *([_values(step.contract, staged)] if step.contract.rules else []),
                _source_verdict(found, after, rescued, order_system.redacted),
            ]
            return Outcome(verdicts, staged, found.rows, {"cents": found.cents} if found.cents is not None else {})
        progress.info("%s: the order system changed while it was read; reading again", step.contract.address)
        step.store.discard()
    raise SourceMoved(
        f"{step.contract.address}: the order system changed during each of {READ_ATTEMPTS} reads; run again when it "
        "is quieter, or read fewer months at once"
    )


def _arrives_from(step: Step) -> sa.Table:
    origin = step.table.arrives_from
    if not isinstance(origin, OrderSystemTable):
        raise TypeError(f"{step.contract.address}: arrives from {origin}, not from the order system")
    return origin.table


def _read(step: Step, order_system: OrderSystem, months: list[date] | None) -> Staged:
    """Stage the order system's rows; as text when the first try met a value that cannot be read as declared."""
    table = _arrives_from(step)
    for _ in range(2):
        tried_as_text = order_system.must_read_as_text(table)
        try:
            batches = _counted(order_system.read(table, months, step.table.function), step.contract.address)
            rows = step.store.receive(batches)
            if step.months is not None:
                # An order may have come in for a month that was not asked for since the read was planned.
                rows = rows.filter(step.months.hold(rows[step.contract.partitioned_by or ""]))
            return step.store.stage(step.contract, rows, step.months)
        except Exception:
            step.store.discard()
            failure = order_system.failure(table)
            if failure is None:
                raise
            if tried_as_text or not order_system.must_read_as_text(table):
                raise failure from None
            progress.info(
                "%s: holds values that are not of their column's type; reading as text", step.contract.address
            )
    raise SourceError(f"{step.contract.address}: cannot be read")


def _control_totals(rows: ibis.Table, like: ControlTotals) -> tuple[ControlTotals, int]:
    """The staged rows' own totals, as the order system counts them, and how many rows hold rescued values."""
    aggregates = {"rows": rows.count(), "rescued": rows[RESCUED].count()}
    if like.cents is not None:
        money = rows.amount if "amount" in rows.columns else rows.quantityOrdered * rows.priceEach
        aggregates["amount"] = money.sum()
    (found,) = rows.aggregate(**aggregates).to_pyarrow().to_pylist()
    cents = None if like.cents is None else round((found["amount"] or 0) * 100)
    return ControlTotals(found["rows"], cents), found["rescued"]


def _source_verdict(found: ControlTotals, expected: ControlTotals, rescued: int, origin: str) -> Verdict:
    """Rows must agree always; cents too, unless there are values that are no numbers here and perhaps there."""
    comparable = found.cents == expected.cents or rescued > 0
    passed = found.rows == expected.rows and comparable
    facts: dict[str, Any] = {
        "rows": found.rows,
        "rows in the order system": expected.rows,
        "rows with rescued values": rescued,
    }
    summary = f"{found.rows:,} rows, as in {origin}"
    if found.cents is not None and expected.cents is not None:
        facts["amount"], facts["amount in the order system"] = found.cents / 100, expected.cents / 100
        facts = {name: f"{value:.2f}" if name.startswith("amount") else value for name, value in facts.items()}
        if found.cents != expected.cents and rescued:
            summary += f"; amounts cannot be compared: {rescued:,} rows hold values that did not fit"
    if not passed:
        summary = f"found {facts}, expected the order system's"
    return Verdict("reconciliation", passed, summary, facts)


def _drift_verdict(contract: Contract, drift: SchemaDrift) -> Verdict:
    """New or retyped columns do no harm to the columns that are read: a warning."""
    columns = len(contract.types)
    if not drift:
        return Verdict("schema", True, f"all {columns} columns are as in the contract", {"columns": columns})
    parts = [f"new columns that are not read: {', '.join(drift.added)}"] if drift.added else []
    parts += [f"other types than declared: {', '.join(drift.retyped)}"] if drift.retyped else []
    facts = {"columns": columns, "added": list(drift.added), "retyped": list(drift.retyped)}
    return Verdict("schema", False, f"the order system's table changed: {'; '.join(parts)}", facts, warning=True)


def _values(contract: Contract, staged: Staged) -> Verdict:
    return audit.value_verdict(contract, staged.rows, audit.measure(contract, staged.rows, {}))


def _refused(contract: Contract, problems: list[str]) -> Outcome:
    """Nothing can be staged: the rows do not have the contract's columns."""
    schema = Verdict("schema", False, "; ".join(problems), {"differences": problems})
    skipped = [
        Verdict(name, False, "not examined: the columns are not those of the contract")
        for name in audit.concerns(contract)
        if name != "schema"
    ]
    return Outcome([schema, *skipped])


def _with_quarantine(step: Step, candidates: ibis.Table) -> Outcome:
    """Stage the good rows and set the others aside, in the same step; audit the good ones."""
    contract, tables = step.contract, step.others()
    sieved = quarantine.untouched(candidates)
    staged, measured, keys = _stage_and_measure(step, sieved.kept, tables)
    if measured.broken_rules or candidates[RESCUED].count().to_pyarrow().as_py():
        sieved = quarantine.by_rules(contract, candidates)
        staged, measured, keys = _stage_and_measure(step, sieved.kept, tables)
    if keys is not None and not keys.passed:
        sieved = quarantine.by_key(contract, sieved)
        staged, measured, keys = _stage_and_measure(step, sieved.kept, tables)
    for _ in range(REFERENCE_PASSES):
        if not measured.broken_references:
            break
        sieved = quarantine.by_references(contract, sieved, tables)
        staged, measured, keys = _stage_and_measure(step, sieved.kept, tables)
    aside = step.store.stage(
        contract.quarantine, quarantine.quarantined(contract, sieved.aside, step.run_id), step.months
    )
    origin = tables[contract.quarantines or ""]
    parts = [staged.rows, aside.rows]
    if contract.latest is not None:
        parts.append(quarantine.superseded(contract, contract.latest, candidates, staged.rows, aside.rows))
    conserved = audit.conserved(contract, origin, *parts)
    outcomes = {conserved.name: audit.reconcile(conserved, conserved.actual(), conserved.expected())}
    verdicts = [
        *_verdicts(step, staged, {**tables, contract.address: staged.rows}, measured, keys),
        _quarantine_verdict(step, measured.rows, aside),
        audit.reconciliation_verdict(outcomes),
    ]
    return Outcome(verdicts, staged, measured.rows, measured.totals)


def _stage_and_measure(step: Step, rows: ibis.Table, tables: Tables) -> tuple[Staged, Measured, Verdict | None]:
    staged = step.store.stage(step.contract, rows, step.months)
    measured = audit.measure(step.contract, staged.rows, {**tables, step.contract.address: staged.rows})
    return staged, measured, audit.key_verdict(step.contract, staged) if step.contract.key else None


def _quarantine_verdict(step: Step, kept: int, aside: Staged) -> Verdict:
    """Blocks when more than the allowed share of rows had to be set aside."""
    by_reason = aside.rows.group_by("_reason").aggregate(rows=aside.rows.count())
    reasons = by_reason.order_by(ibis.desc("rows"), "_reason").limit(20).to_pyarrow().to_pylist()
    count = aside.rows.count().to_pyarrow().as_py()
    share = count / (kept + count) if kept + count else 0.0
    own = step.contract.quarantine_max_share
    allowed = step.quarantine_max_share if own is None else own
    facts: dict[str, Any] = {
        "rows kept": kept,
        "rows set aside": count,
        "share set aside": round(share, 6),
        "share allowed": allowed,
    }
    if count:
        facts["reasons"] = {row["_reason"]: row["rows"] for row in reasons}
        facts["sample"] = audit.sample(step.contract, aside.rows)
    passed = share <= allowed
    summary = "no row had to be set aside"
    if count:
        summary = f"{count:,} of {kept + count:,} rows set aside in {aside.contract.address} ({share:.2%})"
    if not passed:
        summary += f", more than the allowed {allowed:.2%} (CLASSIC_CARS_QUARANTINE_MAX_SHARE)"
    return Verdict("quarantine", passed, summary, facts)


def _audited(step: Step, staged: Staged, tables: Tables) -> Outcome:
    contract = step.contract
    measured = audit.measure(contract, staged.rows, tables)
    keys = audit.key_verdict(contract, staged) if contract.key else None
    verdicts = _verdicts(step, staged, tables, measured, keys)
    if contract.reconciliations:
        outcomes = {each.name: _reconciled(step, each, staged, tables) for each in contract.reconciliations}
        verdicts.append(audit.reconciliation_verdict(outcomes))
    return Outcome(verdicts, staged, measured.rows, measured.totals)


def _verdicts(step: Step, staged: Staged, tables: Tables, measured: Measured, keys: Verdict | None) -> list[Verdict]:
    """The verdicts on everything that the contract says of single rows, keys and references."""
    contract = step.contract
    columns = len(contract.types)
    verdicts = [Verdict("schema", True, f"all {columns} columns are as in the contract", {"columns": columns})]
    if contract.rules:
        verdicts.append(audit.value_verdict(contract, staged.rows, measured))
    if keys is not None:
        verdicts.append(keys)
    if contract.references:
        dangling = _dangling(step, staged, tables)
        verdicts.append(audit.reference_verdict(contract, staged.rows, tables, measured, dangling))
    return verdicts


def _dangling(step: Step, staged: Staged, tables: Tables) -> dict[str, list[str]]:
    """The months beside those of this step whose rows lost what they refer to."""
    if staged.others is None:
        return {}
    whole = [each for each in step.contract.references if not step.catalog[each.to].contract.partitioned_by]
    return audit.dangling(step.contract, staged.others, whole, tables)


def _reconciled(
    step: Step, reconciliation: audit.Reconciliation, staged: Staged, tables: Tables
) -> tuple[bool, dict[str, Any]]:
    def rows(name: str) -> ibis.Table:
        return tables[step.catalog.resolve(step.table, name).address]

    actual = reconciliation.actual(staged.rows, *map(rows, parameters(reconciliation.actual)[1:]))
    expected = reconciliation.expected(*map(rows, parameters(reconciliation.expected)))
    return audit.reconcile(reconciliation, actual, expected)


def _as_expression(step: Step, rows: Any) -> ibis.Table:
    """The function's result as a lazy table, whatever kind of table it returned."""
    if isinstance(rows, ibis.Table):
        return rows
    if isinstance(rows, pl.DataFrame):
        rows = rows.to_arrow()
    if isinstance(rows, pd.DataFrame):
        rows = _from_pandas(step.contract, rows)
    if isinstance(rows, pa.Table):
        return step.store.receive(rows)
    raise TypeError(
        f"{step.contract.address}: its function returned {type(rows).__name__}, expected an ibis, pandas, polars or "
        "pyarrow table"
    )


def _from_pandas(contract: Contract, frame: pd.DataFrame) -> pa.Table:
    """Columns of the contract's types where pandas' own are vaguer (``object``), as they are elsewhere."""
    known = contract.types.to_pyarrow()
    fields = []
    for name in frame.columns:
        index = known.get_field_index(str(name))
        inferred = pa.Array.from_pandas(frame[name]).type
        fields.append(pa.field(str(name), known.field(index).type if index >= 0 else inferred))
    return pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False)


def _counted(batches: pa.RecordBatchReader, address: str) -> pa.RecordBatchReader:
    """The same batches; says every few seconds how many rows went by."""

    def passing() -> Iterator[pa.RecordBatch]:
        rows, said = 0, time.monotonic()
        for batch in batches:
            rows += batch.num_rows
            if time.monotonic() - said > 2:
                said = time.monotonic()
                progress.info("%s: %s rows read", address, f"{rows:,}")
            yield batch

    return pa.RecordBatchReader.from_batches(batches.schema, passing())
