"""Published + quarantined = source, rows and cents, month by month: what is quarantined is a headline, not a loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import ibis

from classic_cars.checks.base import Audit, CheckOutcome
from classic_cars.checks.compared import Compared, Group
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import Origins
from classic_cars.wording import counted

#: Rows and money.
Sums = tuple[int, Decimal]

SIDES = ("published", "quarantined", "source")
NO_DATE = "no date"
#: Months that a check names.
NAMED = 6


class Completeness:
    """Facts with money hold all of it, or quarantine holds the rest; a warning while it holds any."""

    name = "completeness"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return contract.complete is not None

    def describe(self, contract: Contract, origins: Origins) -> str:
        subject = contract.complete.subject if contract.complete else ""
        return f"{contract.address} + quarantine/{subject} = source/{subject}: rows and cents, month by month"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        complete = audit.contract.complete
        if complete is None:
            raise ValueError(f"{audit.contract.address}: nothing to be complete of")
        source, rejected = (audit.tables[f"{layer}/{complete.subject}"] for layer in ("source", "quarantine"))
        found = _by_month(
            published=_measured(audit.rows, complete.published),
            quarantined=_measured(rejected, complete.raw),
            source=_measured(source, complete.raw),
        )
        wrong = [month for month, sums in found.items() if not _balanced(sums)]
        incomplete = [month for month, sums in found.items() if sums["quarantined"][0]]
        total = {side: _total(sums[side] for sums in found.values()) for side in SIDES}
        facts: dict[str, Any] = {}
        for side, (rows, amount) in total.items():
            facts |= {f"rows {side}": rows, f"amount {side}": amount}
        facts |= _compared(found).facts("by month")
        (kept, kept_amount), (rows, amount) = total["published"], total["quarantined"]
        unknown = _unknown(rejected, complete.raw) if rows else 0
        facts["rows of unknown amount"] = unknown
        said = (
            f"published {counted(kept, 'row')}, {kept_amount:,.2f}; quarantined {counted(rows, 'row')}, {amount:,.2f}"
        )
        said += f", and {unknown:,} of unknown amount" if unknown else ""
        if wrong:
            summary = f"rows or money are in neither, or in both ({', '.join(wrong[:NAMED])}): {said}"
            return CheckOutcome(self.name, False, summary, facts)
        if rows:
            return CheckOutcome(self.name, False, f"{said} (of {', '.join(incomplete[:NAMED])})", facts, warning=True)
        return CheckOutcome(self.name, True, f"{said}; that is all of source", facts)


def _compared(found: Mapping[str, dict[str, Sums]]) -> Compared:
    """What is published or quarantined, against the source, month by month."""
    groups = []
    for month, sums in found.items():
        (rows, amount), source = _total([sums["published"], sums["quarantined"]]), sums["source"]
        by = {"month": month, "of it quarantined": sums["quarantined"][1]}
        groups.append(Group(by, {"rows": (source[0], rows), "amount": (source[1], amount)}))
    return Compared.of(groups)


def _measured(rows: ibis.Table, measures: Any) -> ibis.Table:
    """Rows and money by month, in one query."""
    day, amount = measures(rows)
    dated = rows.select(month=ibis.date(day.year(), day.month(), 1), amount=amount.cast("decimal(38, 2)"))
    return dated.group_by("month").aggregate(rows=dated.count(), amount=dated.amount.sum().fill_null(0))


def _by_month(**sides: ibis.Table) -> dict[str, dict[str, Sums]]:
    """Rows and money of each side by month, in one query; a month's rows are few."""
    labelled = [side.mutate(side=ibis.literal(name)) for name, side in sides.items()]
    found: dict[str, dict[str, Sums]] = {}
    for each in ibis.union(*labelled).order_by("month").to_pyarrow().to_pylist():
        month = f"{each['month']:%Y-%m}" if each["month"] else NO_DATE
        sums = found.setdefault(month, dict.fromkeys(SIDES, (0, Decimal(0))))
        sums[each["side"]] = each["rows"], each["amount"]
    return found


def _unknown(rows: ibis.Table, measures: Any) -> int:
    """Rows whose money could not be read."""
    _, amount = measures(rows)
    return int(rows.aggregate(unknown=amount.isnull().sum()).to_pyarrow().to_pylist()[0]["unknown"] or 0)


def _balanced(sums: dict[str, Sums]) -> bool:
    return _total([sums["published"], sums["quarantined"]]) == sums["source"]


def _total(sums: Iterable[Sums]) -> Sums:
    rows, amount = 0, Decimal(0)
    for each in sums:
        rows, amount = rows + each[0], amount + each[1]
    return rows, amount
