"""Published + quarantined = source, rows and cents, month by month: what is quarantined is a headline, not a loss."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import ibis

from classic_cars.checks.base import Audit, Verdict
from classic_cars.checks.reconciliation import reconcile
from classic_cars.contracts.base import Contract, Reconciliation
from classic_cars.contracts.origins import Origins


class Completeness:
    """Facts with money hold all of it, or quarantine holds the rest; a warning while it holds any."""

    name = "completeness"

    def applies(self, contract: Contract, origins: Origins) -> bool:  # noqa: ARG002
        return contract.complete is not None

    def describe(self, contract: Contract, origins: Origins) -> str:  # noqa: ARG002
        subject = contract.complete.subject if contract.complete else ""
        return f"{contract.address} + quarantine/{subject} = source/{subject}: rows and cents, month by month"

    def evaluate(self, audit: Audit) -> Verdict:
        complete = audit.contract.complete
        if complete is None:
            raise ValueError(f"{audit.contract.address}: nothing to be complete of")
        source, rejected = (audit.tables[f"{layer}/{complete.subject}"] for layer in ("source", "quarantine"))
        published = _measured(audit.rows, complete.published)
        aside, there = _measured(rejected, complete.raw), _measured(source, complete.raw)
        both = Reconciliation("by month", ("month",), lambda: published, lambda: there)
        sides = ibis.union(published, aside)
        together = sides.group_by("month").aggregate(rows=sides.rows.sum(), amount=sides.amount.sum())
        passed, found = reconcile(both, together, there)
        rows, amount, months = _total(aside)
        kept, kept_amount, _ = _total(published)
        facts: dict[str, Any] = {
            "rows published": kept,
            "rows quarantined": rows,
            "rows in source": int(found["totals"]["expected rows"]),
            "amount published": kept_amount,
            "amount quarantined": amount,
            "amount in source": found["totals"]["expected amount"],
            # Floats beside the exact sums, because Dagster draws only numbers.
            "amount published, plotted": float(kept_amount),
            "amount quarantined, plotted": float(amount),
            "by month": found,
        }
        said = f"published {kept:,} rows, {kept_amount:,.2f}; quarantined {rows:,} rows, {amount:,.2f}"
        if not passed:
            summary = f"rows or money are in neither ({found['groups that differ']} months differ): {said}"
            return Verdict(self.name, False, summary, facts)
        if rows:
            return Verdict(self.name, False, f"{said} (of {months})", facts, warning=True)
        return Verdict(self.name, True, f"{said}; that is all of source", facts)


def _measured(rows: ibis.Table, measures: Any) -> ibis.Table:
    """Rows and money by month, in one query."""
    day, amount = measures(rows)
    dated = rows.select(month=ibis.date(day.year(), day.month(), 1), amount=amount.cast("decimal(38, 2)"))
    return dated.group_by("month").aggregate(rows=dated.count(), amount=dated.amount.sum().fill_null(0))


def _total(by_month: ibis.Table) -> tuple[int, Decimal, str]:
    """Rows and money in all, and the first months that have some."""
    found = by_month.order_by("month").to_pyarrow().to_pylist()
    months = ", ".join(f"{each['month']:%Y-%m}" if each["month"] else "no date" for each in found[:6])
    return (
        sum(each["rows"] for each in found),
        sum((each["amount"] or Decimal(0) for each in found), Decimal(0)),
        months + (", ..." if len(found) > 6 else ""),
    )
