"""The numbers of the reports: a few questions, each answered for all months at once. Amounts in USD."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import ibis

from classic_cars.contracts.base import Contract
from classic_cars.contracts.measures import MEASURES, Measure
from classic_cars.contracts.warehouse import FactOrders
from classic_cars.months import month_of, next_month, previous_month
from classic_cars.serving.metrics import ask, expression
from classic_cars.stores.base import Reading

#: What stands on top, in this order.
HEADLINES = (
    *("netSales", "orders", "units", "averageOrderValue", "grossProfit", "margin"),
    *("payments", "onTimeShipmentShare", "averageRating"),
)
#: Of each group.
SHOWN = ("netSales", "orders", "units", "margin")
TITLES = {
    "netSales": "Net sales",
    "orders": "Orders",
    "units": "Units",
    "averageOrderValue": "Average order",
    "grossProfit": "Gross profit",
    "margin": "Margin",
    "payments": "Payments received",
    "onTimeShipmentShare": "Shipped on time",
    "averageRating": "Average rating",
}
#: Customers that a report names.
TOP_CUSTOMERS = 10

Month = date
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """Against another month: the relative change, or of shares the difference. None where there is nothing before."""

    value: Decimal | None
    points: bool = False


@dataclass(frozen=True)
class Headline:
    measure: Measure
    value: Any
    than_before: Change
    than_last_year: Change

    @property
    def title(self) -> str:
        return TITLES[self.measure.name]


@dataclass(frozen=True)
class Group:
    """One product line, country or customer; ``share`` of the month's net sales."""

    name: str
    row: Row
    share: Decimal | None
    than_before: Change | None = None


@dataclass(frozen=True)
class Report:
    """What the page of a month shows. ``until``: the latest order's day, where the month may not be over."""

    month: Month
    until: date | None
    headlines: tuple[Headline, ...]
    trend: tuple[tuple[Month, Decimal | None], ...]
    product_lines: tuple[Group, ...]
    countries: tuple[Group, ...]
    customers: tuple[Group, ...]

    @property
    def net_sales(self) -> Decimal:
        return self.headlines[0].value


@dataclass(frozen=True)
class Answers:
    """By month, and where it is cut by something else too, by name within the month."""

    totals: Mapping[Month, Row]
    product_lines: Mapping[Month, Mapping[str, Row]]
    countries: Mapping[Month, Mapping[str, Row]]
    customers: Mapping[Month, Mapping[str, Row]]
    newest: date | None

    @property
    def months(self) -> list[Month]:
        """Those with orders."""
        return sorted(month for month, row in self.totals.items() if row["orders"])


def answers(tables: Reading, today: date) -> Answers:
    """``today``: orders that are dated after it say nothing of which month is over. Raises ``StoreError``."""
    days = tables.read(Contract.of(FactOrders)).orderDate
    return Answers(
        totals={_month(row): row for row in _rows(tables, HEADLINES, []) if row["month"] is not None},
        product_lines=_by(_rows(tables, SHOWN, ["productLine"]), "productLine"),
        countries=_by(_rows(tables, SHOWN, ["country"]), "country"),
        customers=_by(_rows(tables, ("netSales", "orders"), ["customer", "country"], TOP_CUSTOMERS), "customerName"),
        newest=days.max(where=days <= today).to_pyarrow().as_py(),
    )


def _rows(tables: Reading, measures: Iterable[str], by: list[str], top: int | None = None) -> list[dict[str, Any]]:
    """``top``: only so many rows of each month, those with the most of the first measure."""
    measures = list(measures)
    found = expression(ask(measures, by=["month", *by]), tables.read)
    if top is not None:
        order = [ibis.desc(measures[0]), *(name for name in found.columns if name not in measures)]
        place = ibis.row_number().over(group_by="month", order_by=order)
        found = found.mutate(_place=place)
        found = found.filter(found["_place"] < top).order_by("month", "_place").drop("_place")
    return found.to_pyarrow().to_pylist()


def _month(row: Row) -> Month:
    return month_of(row["month"])


def _by(rows: Iterable[dict[str, Any]], name: str) -> dict[Month, dict[str, Row]]:
    found: dict[Month, dict[str, Row]] = {}
    for row in rows:
        if row["month"] is not None:
            key = row[name] if name != "customerName" else str(row["customer"])
            found.setdefault(_month(row), {})[key] = row
    return found


def report_of(month: Month, found: Answers) -> Report:
    """``month``: one of the answers' own."""
    now, before, last_year = (found.totals.get(each, {}) for each in (month, previous_month(month), back(month, 12)))
    latest = found.newest is not None and month <= found.newest < next_month(month) - timedelta(days=1)
    return Report(
        month=month,
        until=found.newest if latest else None,
        headlines=tuple(
            Headline(MEASURES[name], now[name], _change(name, now, before), _change(name, now, last_year))
            for name in HEADLINES
        ),
        trend=tuple(
            (each, found.totals.get(each, {}).get("netSales")) for each in (back(month, n) for n in range(12, -1, -1))
        ),
        product_lines=_groups(month, found.product_lines, now),
        countries=_groups(month, found.countries, now),
        customers=_groups(month, found.customers, now, "customerName", compared=False),
    )


def _groups(
    month: Month, found: Mapping[Month, Mapping[str, Row]], total: Row, name: str = "", *, compared: bool = True
) -> tuple[Group, ...]:
    """Most net sales first."""
    before = found.get(previous_month(month), {})
    groups = [
        Group(
            row[name] if name else key,
            row,
            _divided(row["netSales"], total["netSales"]),
            _change("netSales", row, before.get(key, {})) if compared else None,
        )
        for key, row in found.get(month, {}).items()
    ]
    return tuple(sorted(groups, key=lambda each: (-each.row["netSales"], each.name)))


def _change(name: str, now: Row, before: Row) -> Change:
    points = MEASURES[name].unit.name == "share"
    new, old = now.get(name), before.get(name)
    if new is None or old is None:
        return Change(None, points)
    difference = Decimal(new) - Decimal(old)
    return Change(difference if points else _divided(difference, abs(Decimal(old))), points)


def _divided(part: Any, whole: Any) -> Decimal | None:
    """As finely as Python divides, which is more than is written; None where ``whole`` is 0."""
    return Decimal(part) / Decimal(whole) if whole else None


def back(month: Month, months: int) -> Month:
    """The month so many months before."""
    year, index = divmod(month.year * 12 + month.month - 1 - months, 12)
    return date(year, index + 1, 1)
