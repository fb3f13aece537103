"""Checks of what was read from the order system: it agrees with the order system, lost no month, and did not shrink."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from classic_cars.checks.base import Audit, BaseVersion, CheckOutcome
from classic_cars.checks.compared import Compared, Group
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import Origins
from classic_cars.contracts.source import CONTRACTS
from classic_cars.months import UNDATED, partition_key
from classic_cars.wording import counted

#: The home of rows without a usable order date.
NO_DATE = partition_key(UNDATED)
#: Months, and columns, that a failed check names.
NAMED = 12


@dataclass(frozen=True)
class SourceRead:
    """What is known of rows that were read from the order system.

    ``found`` and ``expected``: control totals (rows, cents, digest) by month, of the staged rows and of the order
    system itself; ``differing_columns``: asked only when they differ. ``drift``: of the table's columns.
    """

    found: Mapping[str, Any]
    expected: Mapping[str, Any]
    differing_columns: Callable[[], list[str]]
    place: str
    rescued: int = 0
    drift: Any = None


def is_read(contract: Contract) -> bool:
    """Whether the table is one of the order system's."""
    return contract.layer == "source" and contract.name in CONTRACTS


class OrderSystemAgrees:
    """Rows, cents and every value agree with what the order system itself says, month by month."""

    name = "reconciliation"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return is_read(contract)

    def describe(self, contract: Contract, origins: Origins) -> str:
        return (
            "Rows, sums and a digest of all columns but pictures, as the order system itself computes them, agree; "
            "values that did not fit their column count as what they were"
        )

    def evaluate(self, audit: Audit) -> CheckOutcome:
        arrived: SourceRead = audit.arrived
        found, expected = arrived.found, arrived.expected
        months = sorted({*found, *expected})
        wrong = [month for month in months if found.get(month) != expected.get(month)]
        facts: dict[str, Any] = {
            "rows": _sum(found, "rows"),
            "rows in the order system": _sum(expected, "rows"),
            "rows with rescued values": arrived.rescued,
        }
        if any(each.cents is not None for each in [*found.values(), *expected.values()]):
            facts["amount"] = _amount(found)
            facts["amount in the order system"] = _amount(expected)
        groups = [
            Group({"month": month or "all"}, _measures(expected.get(month), found.get(month))) for month in months
        ]
        facts |= Compared.of(groups).facts("by month")
        facts["groups that differ"] = len(wrong)  # in any column: more than rows and money say
        if not wrong:
            return CheckOutcome(
                self.name, True, f"{counted(facts['rows'], 'row')}, value by value as in {arrived.place}", facts
            )
        columns = arrived.differing_columns()
        facts["first months that differ"] = wrong[:NAMED]
        facts["columns that differ"] = columns[:NAMED]
        where = f" in {', '.join(wrong[:NAMED])}" if any(wrong) else ""
        totals = ("rows", "rows in the order system", "amount", "amount in the order system")
        numbers = ", ".join(f"{name}: {facts[name]:,}" for name in totals if name in facts)
        summary = (
            f"differs from {arrived.place}{where}, columns {', '.join(columns[:NAMED]) or 'none alone'} ({numbers})"
        )
        return CheckOutcome(self.name, False, summary, facts)


def _measures(expected: Any, found: Any) -> dict[str, tuple[int | Decimal, int | Decimal]]:
    """Rows, and money if any, as the order system has them and as they were read."""
    sides = expected, found
    pairs: dict[str, Any] = {"rows": tuple(each.rows if each else 0 for each in sides)}
    if any(each is not None and each.cents is not None for each in sides):
        pairs["amount"] = tuple(Decimal((each.cents or 0) if each else 0) / 100 for each in sides)
    return pairs


def _amount(totals: Mapping[str, Any]) -> Decimal:
    return Decimal(_sum(totals, "cents")) / 100


def _sum(totals: Mapping[str, Any], name: str) -> int:
    return sum(getattr(each, name) or 0 for each in totals.values())


class Volume:
    """No table and no month lost more rows than a shop loses: a truncated table is no truth about a shop."""

    name = "volume"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return is_read(contract)

    def describe(self, contract: Contract, origins: Origins) -> str:
        return "No month, or table without months, lost too many of the rows that its published version has"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        limits = audit.limits
        before = audit.before or BaseVersion({})
        now = {part: each.rows for part, each in audit.arrived.found.items()}
        # A table that is empty now is never the shop's everyday; one small month, read alone, may be.
        emptied = not now and ("" in before.rows or sum(before.rows.values()) >= limits.shrink_rows)
        shrunk = {
            part: (rows, now.get(part, 0))
            for part, rows in before.rows.items()
            if rows - now.get(part, 0) > limits.shrink * rows
            and (rows - now.get(part, 0) >= limits.shrink_rows or emptied)
        }
        facts: dict[str, Any] = {"rows before": sum(before.rows.values()), "rows": sum(now.values())}
        if not shrunk:
            return CheckOutcome(
                self.name, True, f"{counted(facts['rows'], 'row')}, {facts['rows before']:,} before", facts
            )
        facts["shrunk"] = {part or "all rows": list(pair) for part, pair in list(shrunk.items())[:NAMED]}
        named = ", ".join(
            f"{part or 'the table'}: {counted(old, 'row')} before, {new:,} now"
            for part, (old, new) in list(shrunk.items())[:NAMED]
        )
        summary = f"shrank by more than {limits.shrink:.0%} ({named})"
        homeless = now.get(NO_DATE, 0) - before.rows.get(NO_DATE, 0)
        if homeless > 0 and NO_DATE not in shrunk:
            summary += f"; {counted(homeless, 'row')} more without a usable order date (expected: a day, no time)"
        if audit.shrink_accepted:
            return CheckOutcome(self.name, True, f"{summary}; accepted for this run", facts)
        summary += f"; if that is right: classic-cars run --accept-shrink {audit.contract.address}"
        return CheckOutcome(self.name, False, summary, facts)


class Moved:
    """No order left the months of this run for a month that is not read: it would be in none."""

    name = "moved"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return is_read(contract) and contract.partitioned_by is not None

    def describe(self, contract: Contract, origins: Origins) -> str:
        return "No order moved from a month that is read to one that is not"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        moved = (audit.before or BaseVersion({})).moved
        orders = sum(count for homes in moved.values() for count in homes.values())
        facts: dict[str, Any] = {"orders moved": orders}
        if not orders:
            return CheckOutcome(self.name, True, "no order moved to a month that is not read", facts)
        facts["moved"] = {month: dict(homes) for month, homes in moved.items()}
        said = ", ".join(
            f"{counted(count, 'order')} of {month} now in {home}"
            for month, homes in moved.items()
            for home, count in homes.items()
        )
        months = sorted({*moved, *(home for homes in moved.values() for home in homes)})
        summary = f"{said}; run both months: classic-cars run --months {months[0]}..{months[-1]}"
        return CheckOutcome(self.name, False, summary, facts)
