"""Write and audit one table: from the function's result to a staged version with its verdicts.

Nothing is published here, and nothing is known of Dagster: the caller publishes when every blocking verdict
passed, and discards otherwise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import polars as pl
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.checks import Audit, Verdict, evaluated, not_examined
from classic_cars.checks.base import Before, Limits
from classic_cars.checks.source import Arrived
from classic_cars.contracts.base import RESCUED, Contract, differing_columns
from classic_cars.contracts.origins import FLAG, REJECT, REPAIR
from classic_cars.contracts.source import OrderSystemTable
from classic_cars.months import Months
from classic_cars.sources.digests import differing_columns as columns_that_differ
from classic_cars.sources.digests import held_totals
from classic_cars.sources.errors import without_values
from classic_cars.sources.order_system import OrderSystem
from classic_cars.stores.base import Staged, Store
from classic_cars.tables import quarantine
from classic_cars.tables.table import Catalog, Table

progress = logging.getLogger("classic_cars.progress")

#: Times rows that refer to rejected rows are themselves rejected (a line of an order of a customer).
REFERENCE_PASSES = 10
#: Orders that left a month, that are looked for elsewhere.
LOOKED_FOR = 10_000


@dataclass(frozen=True)
class Step:
    """Everything that making one version of one table needs."""

    catalog: Catalog
    table: Table
    store: Store
    run_id: str
    months: Months | None = None
    limits: Limits = field(default_factory=Limits)
    shrink_accepted: bool = False
    #: A folder for what is needed while the step works; the system's own when None.
    scratch: Path | None = None

    @property
    def contract(self) -> Contract:
        return self.table.contract

    def read(self, contract: Contract) -> ibis.Table:
        """Another table's published rows; of this step's months when both are partitioned."""
        months = self.months if contract.partitioned_by and self.contract.partitioned_by else None
        return self.store.read(contract, months)

    def others(self) -> dict[str, ibis.Table]:
        """The tables that the proof of this one reads."""
        return {address: self.read(each) for address, each in self.catalog.audited_against(self.table).items()}

    def audit(self, staged: Staged, tables: Mapping[str, ibis.Table], **more: Any) -> Audit:
        """What the checks look at, of one staged version."""
        references = self.contract.references
        return Audit(
            contract=self.contract,
            staged=staged,
            tables={**tables, self.contract.address: staged.rows},
            origins=self.catalog.origins(self.table),
            address_of=lambda name: self.catalog.resolve_contract(self.table, name).address,
            receive=self.store.receive,
            limits=self.limits,
            whole_references=[each for each in references if not self.catalog[each.to].contract.partitioned_by],
            shrink_accepted=self.shrink_accepted,
            **more,
        )


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
        return _refused(step, [f"values do not fit the contract's types: {without_values(str(error))}"])
    problems = differing_columns(step.contract, rows.schema())
    if problems:
        return _refused(step, problems)
    if step.contract.quarantines:
        return _with_quarantine(step, rows)
    staged = step.store.stage(step.contract, rows, step.months)
    return _outcome(step.audit(staged, step.others()))


def _outcome(audit: Audit) -> Outcome:
    return Outcome(evaluated(audit), audit.staged, audit.measured.rows, audit.measured.totals)


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
    arrived = Arrived(
        found,
        expected,
        partial(columns_that_differ, order_system, staged.rows, table, months),
        order_system.redacted,
        rescued=staged.rows[RESCUED].count().to_pyarrow().as_py(),
        drift=drift,
    )
    audit = step.audit(staged, {}, arrived=arrived, before=_with_moved(step, before, staged, order_system))
    cents = [each.cents for each in found.values() if each.cents is not None]
    totals = {"cents": sum(cents)} if cents else {}
    return Outcome(evaluated(audit), staged, sum(each.rows for each in found.values()), totals)


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
    """Asked before anything is staged: in a step that staged a table, reading it shows the staged rows."""
    contract = step.contract
    if not step.store.exists(contract):
        return _Published()
    rows = step.store.read(contract, step.months)
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
    if cleaned is None or not step.store.exists(cleaned):
        return None
    return _by_month(cleaned, step.store.read(cleaned, step.months))


def _with_moved(step: Step, before: _Published, staged: Staged, order_system: OrderSystem) -> Before:
    """The same, and which of its orders are now in months that this step does not read."""
    if before.orders is None or step.months is None:
        return Before(before.rows)
    known = step.store.receive(before.orders)
    gone = known.anti_join(staged.rows, "orderNumber").limit(LOOKED_FOR).to_pyarrow().to_pylist()
    homes = order_system.homes_of([each["orderNumber"] for each in gone if each["orderNumber"] is not None])
    moved: dict[str, dict[str, int]] = {}
    for each in gone:
        home = homes.get(each["orderNumber"])
        if home is not None and home not in step.months:
            month = moved.setdefault(f"{each['month']:%Y-%m}", {})
            month[f"{home:%Y-%m}"] = month.get(f"{home:%Y-%m}", 0) + 1
    return Before(before.rows, moved)


def _staged(step: Step, arriving: pa.RecordBatchReader) -> Staged:
    """Stage the order system's rows. An engine that consumes a stream hides its error: here it is raised."""
    failures: list[Exception] = []
    try:
        rows = step.store.receive(_counted(arriving, step.contract.address, failures))
        return step.store.stage(step.contract, rows, step.months)
    except Exception:
        if failures:
            raise failures[0] from None
        raise


# With quarantine -----------------------------------------------------------------------------------------


def _with_quarantine(step: Step, candidates: ibis.Table) -> Outcome:
    """Stage the good rows and quarantine the others, in the same step; audit both."""
    contract, tables = step.contract, step.others()
    severity = {rule.name: rule.severity for rule in contract.rules}
    sieved = quarantine.untouched(candidates)
    audit = step.audit(step.store.stage(contract, sieved.kept, step.months), tables)
    broken = {severity[name] for name in audit.measured.broken_rules}
    if audit.measured.repaired or broken & {REJECT, REPAIR} or _has_misspelled(contract, audit.rows):
        candidates = quarantine.repaired(contract, candidates)
        sieved = quarantine.by_rules(contract, candidates)
        audit = step.audit(step.store.stage(contract, sieved.kept, step.months), tables)
    if contract.key and audit.repeated_keys[0]:
        sieved = quarantine.by_key(contract, sieved)
        audit = step.audit(step.store.stage(contract, sieved.kept, step.months), tables)
    for _ in range(REFERENCE_PASSES):
        rejecting = {str(each) for each in contract.references if each.otherwise != FLAG}
        if not rejecting & set(audit.measured.broken_references):
            break
        sieved = quarantine.by_references(contract, sieved, tables)
        audit = step.audit(step.store.stage(contract, sieved.kept, step.months), tables)
    aside = step.store.stage(
        contract.quarantine, quarantine.quarantined(contract, sieved.aside, step.run_id), step.months
    )
    audit.rejected = aside.rows
    if contract.latest is not None:
        audit.superseded = quarantine.superseded(contract, contract.latest, candidates, audit.rows, aside.rows)
    return _outcome(audit)


def _has_misspelled(contract: Contract, rows: ibis.Table) -> bool:
    wrong = [
        quarantine.misspelled(rows[name], spellings)
        for name in contract.types.names
        if (spellings := contract.spellings(name))
    ]
    return bool(wrong) and rows.filter(ibis.or_(*wrong)).count().to_pyarrow().as_py() > 0


# What a function returns ---------------------------------------------------------------------------------


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
