"""The audit: what a contract demands, proven on staged rows, in about one scan.

Every row-level rule, every reference and every total of a table is one column of one aggregate query, made of
pandera's own check functions; keys and each reconciliation are a query more. Samples are fetched only for what
failed, and show key columns only, never personal ones. Engine-independent and without Dagster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir

from classic_cars.contracts.base import Contract, Reconciliation, Reference
from classic_cars.stores.base import Staged

#: From the address of a table to its rows, for references and reconciliations.
Tables = Mapping[str, ibis.Table]

CONTROL_TOTAL = "decimal(38, 4)"


@dataclass(frozen=True)
class Verdict:
    """The outcome of one concern of an audit. ``facts`` holds counts, totals and samples as plain values."""

    concern: str
    passed: bool
    summary: str
    facts: dict[str, Any] = field(default_factory=dict)
    #: A warning is shown and does not block.
    warning: bool = False


@dataclass(frozen=True)
class Measured:
    """The result of the one aggregate query over the staged rows."""

    rows: int
    totals: dict[str, Any]
    broken_rules: dict[str, int]
    broken_references: dict[str, int]


def concerns(contract: Contract) -> dict[str, str]:
    """The checks that a table of this contract has, with their descriptions."""
    checks = {"schema": "Columns and types are those of the contract"}
    if contract.rules:
        checks["values"] = f"Every row keeps the {len(contract.rules)} rules of the contract"
    if contract.key:
        checks["keys"] = f"{', '.join(contract.key)}: no value occurs twice"
    if contract.references:
        checks["references"] = f"Every reference exists: {'; '.join(map(str, contract.references))}"
    if contract.quarantines:
        checks["quarantine"] = f"Few enough rows of {contract.quarantines} had to be set aside"
        parts = [contract.address, contract.quarantine.address, *(["superseded rows"] if contract.latest else [])]
        checks["reconciliation"] = f"{contract.quarantines} = {' + '.join(parts)}"
    elif contract.reconciliations:
        names = ", ".join(each.name for each in contract.reconciliations)
        checks["reconciliation"] = f"Rows and sums agree with the tables behind this one: {names}"
    elif contract.beside:
        checks["files"] = "Every file that landed could be taken in, and has no columns beside the known ones"
        checks["reconciliation"] = f"Every file has the rows that {contract.beside[0].address} says of it"
    elif contract.layer == "source":
        checks["reconciliation"] = "Rows and sums agree with the order system"
    return checks


def orphaned(rows: ibis.Table, reference: Reference, tables: Tables) -> ir.BooleanValue:
    """Condition: the row's reference is set and does not exist. Never NULL."""
    column = rows[reference.column]
    known = tables[reference.to][reference.to_column]
    return column.notnull() & ~column.isin(known).fill_null(False)


def measure(contract: Contract, rows: ibis.Table, tables: Tables) -> Measured:
    """Count rows, sum totals and count the rows that break each rule or reference, in one query."""
    aggregates: dict[str, ir.Scalar] = {"rows": rows.count()}
    aggregates |= {f"total {name}": total(rows) for name, total in contract.totals.items()}
    aggregates |= {f"rule {rule.name}": (~rule.holds(rows)).sum() for rule in contract.rules}
    aggregates |= {f"reference {each}": orphaned(rows, each, tables).sum() for each in contract.references}
    (found,) = rows.aggregate(**aggregates).to_pyarrow().to_pylist()

    def counted(prefix: str) -> dict[str, int]:
        named = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
        return {name: int(value) for name, value in named.items() if value}

    totals = {name.removeprefix("total "): value for name, value in found.items() if name.startswith("total ")}
    return Measured(found["rows"], totals, counted("rule "), counted("reference "))


def value_verdict(contract: Contract, rows: ibis.Table, measured: Measured) -> Verdict:
    broken = measured.broken_rules
    by_name = {rule.name: rule for rule in contract.rules}
    facts: dict[str, Any] = {"rows": measured.rows, "rules": len(contract.rules), "rows that break a rule": broken}
    facts |= {f"total {name}": value for name, value in measured.totals.items()}
    for name in broken:
        facts[f"sample {name}"] = sample(contract, rows.filter(~by_name[name].holds(rows)))
    summary = f"{measured.rows:,} rows keep all {len(contract.rules)} rules"
    if broken:
        worst = ", ".join(f"{by_name[name]}: {count:,} rows" for name, count in broken.items())
        summary = f"broken: {worst}"
    return Verdict("values", not broken, summary, facts)


def key_verdict(contract: Contract, staged: Staged) -> Verdict:
    """No key occurs twice among the new rows, nor both among them and the months that stay beside them."""
    key = list(contract.key)
    repeated = duplicates(staged.rows, contract)
    (found,) = repeated.aggregate(keys=repeated.count(), rows=repeated.copies.sum()).to_pyarrow().to_pylist()
    elsewhere = 0
    if staged.others is not None:
        elsewhere = staged.others.semi_join(staged.rows, key).count().to_pyarrow().as_py()
    facts: dict[str, Any] = {
        "key": ", ".join(key),
        "repeated keys": found["keys"],
        "rows with a repeated key": int(found["rows"] or 0),
        "keys that other months have too": elsewhere,
    }
    if found["keys"]:
        facts["sample"] = sample(contract, repeated)
    if elsewhere:
        facts["sample of other months"] = sample(contract, staged.rows.semi_join(staged.others, key))
    passed = not found["keys"] and not elsewhere
    summary = f"{', '.join(key)} is unique"
    if not passed:
        summary = f"{found['keys']:,} keys occur twice, {elsewhere:,} also in months outside {staged.months}"
    return Verdict("keys", passed, summary, facts)


def duplicates(rows: ibis.Table, contract: Contract) -> ibis.Table:
    """The keys that occur more than once, with ``copies``: how often."""
    counted = rows.group_by(list(contract.key)).aggregate(copies=rows.count())
    return counted.filter(counted.copies > 1)


def reference_verdict(
    contract: Contract, rows: ibis.Table, tables: Tables, measured: Measured, dangling: Mapping[str, list[str]]
) -> Verdict:
    """Every reference of the new rows exists; a warning when only those of other months are ``dangling``."""
    broken = measured.broken_references
    facts: dict[str, Any] = {"references": len(contract.references), "rows that refer to nothing": broken}
    for reference in contract.references:
        if str(reference) in broken:
            facts[f"sample {reference}"] = sample(contract, rows.filter(orphaned(rows, reference, tables)))
    if broken:
        summary = "; ".join(f"{count:,} rows without {name}" for name, count in broken.items())
        return Verdict("references", False, summary, facts)
    facts["other months with rows that refer to nothing"] = dict(dangling)
    if dangling:
        parts = "; ".join(f"{name}: {', '.join(months)}" for name, months in dangling.items())
        summary = f"rows of other months refer to what is gone since, materialize them again ({parts})"
        return Verdict("references", False, summary, facts, warning=True)
    return Verdict("references", True, f"all {len(contract.references)} references exist", facts)


def dangling(
    contract: Contract, others: ibis.Table, references: Iterable[Reference], tables: Tables
) -> dict[str, list[str]]:
    """By reference, the months whose published rows refer to nothing any more: a dimension was made anew since.

    ``references``: those to tables that hold all their rows, whatever the month.
    """
    found: dict[str, list[str]] = {}
    month = contract.partitioned_by or ""
    for each in references:
        used = others.select(each.column, month=others[month].truncate("M")).distinct()
        lost = used.filter(orphaned(used, each, tables)).select("month").distinct().order_by("month")
        months = lost.to_pyarrow().column("month").to_pylist()
        if months:
            found[str(each)] = [f"{each:%Y-%m}" for each in months]
    return found


def compare(actual: ibis.Table, expected: ibis.Table, by: tuple[str, ...]) -> ibis.Table:
    """One row per group: each measure of both sides, as ``actual <measure>`` and ``expected <measure>``.

    Groups that only one side has are there too, with NULL for the other; NULL is a group like any other.
    """
    measures = [name for name in actual.columns if name not in by]
    sides = [
        side.select(
            *by,
            ibis.literal(label).name("side"),
            **{name: side[name].cast(CONTROL_TOTAL) for name in measures},
        )
        for label, side in (("actual", actual), ("expected", expected))
    ]
    both = ibis.union(*sides)
    return both.group_by(list(by)).aggregate(
        **{
            f"{label} {name}": both[name].sum(where=both.side == label)
            for name in measures
            for label in ("actual", "expected")
        }
    )


def reconcile(reconciliation: Reconciliation, actual: ibis.Table, expected: ibis.Table) -> tuple[bool, dict[str, Any]]:
    """Whether both sides agree in every group, and the facts: groups, differences and the first few of them."""
    by = reconciliation.by
    compared = compare(actual, expected, by)
    groups = compared.to_pyarrow()  # control totals: one row per month, country or product line
    measures = [name for name in groups.column_names if name.startswith(("actual ", "expected "))]
    wrong = [row for row in groups.to_pylist() if not _agrees(row)]
    facts = {
        "groups": groups.num_rows,
        "groups that differ": len(wrong),
        "totals": {name: _total(groups, name) for name in measures},
    }
    if wrong:
        facts["first differences"] = [_plain_row(row) for row in wrong[:5]]
    return not wrong, facts


def _agrees(row: dict[str, Any]) -> bool:
    names = [name.removeprefix("actual ") for name in row if name.startswith("actual ")]
    return all((row[f"actual {name}"] or 0) == (row[f"expected {name}"] or 0) for name in names)


def _total(groups: Any, name: str) -> Any:
    return sum((value for value in groups.column(name).to_pylist() if value is not None), Decimal(0))


def reconciliation_verdict(outcomes: Mapping[str, tuple[bool, dict[str, Any]]]) -> Verdict:
    """One verdict over all reconciliations of a table, by name."""
    failed = [name for name, (passed, _) in outcomes.items() if not passed]
    summary = f"agrees {', '.join(outcomes)}, to the cent"
    if failed:
        summary = "does not agree " + ", ".join(
            f"{name} ({outcomes[name][1]['groups that differ']} of {outcomes[name][1]['groups']} groups differ)"
            for name in failed
        )
    return Verdict("reconciliation", not failed, summary, {name: facts for name, (_, facts) in outcomes.items()})


def conserved(contract: Contract, origin: ibis.Table, *parts: ibis.Table) -> Reconciliation:
    """Source rows = staging rows + quarantined rows (+ superseded ones), and so are their sums; per month if any."""
    by = (contract.partitioned_by,) if contract.partitioned_by else ("table",)

    def measures(rows: ibis.Table) -> ibis.Table:
        rows = rows if contract.partitioned_by else rows.mutate(table=ibis.literal(contract.name))
        totals = {name: total(rows).cast(CONTROL_TOTAL) for name, total in contract.totals.items()}
        return rows.group_by(list(by)).aggregate(rows=rows.count(), **totals)

    def added_up() -> ibis.Table:
        sides = ibis.union(*map(measures, parts))
        names = [name for name in sides.columns if name not in by]
        return sides.group_by(list(by)).aggregate(**{name: sides[name].sum() for name in names})

    name = "by month" if contract.partitioned_by else "in all"
    return Reconciliation(name, by=by, actual=added_up, expected=lambda: measures(origin))


def sample(contract: Contract, rows: ibis.Table, at_most: int = 5) -> list[dict[str, Any]]:
    """The keys of a few of the rows, as plain values; nothing personal."""
    columns = [name for name in contract.sample_columns if name in rows.columns]
    if not columns:
        return []
    found = rows.select(*columns).order_by(columns).limit(at_most).to_pyarrow().to_pylist()
    return [_plain_row(row) for row in found]


def plain(value: Any) -> Any:
    """A value as JSON can hold it, exactly: decimals and dates become text."""
    if isinstance(value, Decimal):
        return str(value.quantize(Decimal("0.01"))) if value == round(value, 2) else str(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return value


def _plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in row.items()}
