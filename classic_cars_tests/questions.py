"""Metric questions answered in pandas and plain Python: the other side of the property test.

Nothing of ``contracts.measures``, ``contracts.cuts`` or ``serving.metrics`` is used here. Facts are joined with pandas
into one row each that knows all names, and everything is counted from lists of those rows with Python's own decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pandas as pd

Row = dict[str, Any]

# Measures ------------------------------------------------------------------------------------------------


def _sum(values: Iterable[Any]) -> Decimal:
    return sum(values, Decimal(0))


def _sold(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["status"] != "Cancelled"]


def _orders(rows: list[Row]) -> int:
    return len({row["orderNumber"] for row in rows})


def _costed(rows: list[Row]) -> list[Row]:
    return [row for row in _sold(rows) if row["buyPrice"] is not None]


def _listed(rows: list[Row]) -> list[Row]:
    return [row for row in _sold(rows) if row["MSRP"] is not None]


def _dated(rows: list[Row]) -> list[Row]:
    known = [row for row in rows if row["shippedDate"] is not None and row["requiredDate"] is not None]
    return [row for row in known if row["status"] != "Cancelled"]


def _times(rows: list[Row], column: str) -> Decimal:
    return _sum(row["quantityOrdered"] * row[column] for row in rows)


ORDERS: dict[str, Callable[[list[Row]], Any]] = {
    "orders": _orders,
    "units": lambda rows: sum(row["quantityOrdered"] for row in rows),
    "lines": len,
    "bookedAmount": lambda rows: _times(rows, "priceEach"),
    "netSales": lambda rows: _times(_sold(rows), "priceEach"),
    "grossProfit": lambda rows: _times(_costed(rows), "priceEach") - _times(_costed(rows), "buyPrice"),
    "soldOrders": lambda rows: _orders(_sold(rows)),
    "shippedOrders": lambda rows: _orders(_dated(rows)),
    "onTimeOrders": lambda rows: _orders([row for row in _dated(rows) if row["shippedDate"] <= row["requiredDate"]]),
    "costedSales": lambda rows: _times(_costed(rows), "priceEach"),
    "listAmount": lambda rows: _times(_listed(rows), "MSRP"),
    "discountAmount": lambda rows: _times(_listed(rows), "MSRP") - _times(_listed(rows), "priceEach"),
}
PAYMENTS: dict[str, Callable[[list[Row]], Any]] = {"payments": lambda rows: _sum(row["amount"] for row in rows)}
RATINGS: dict[str, Callable[[list[Row]], Any]] = {
    "ratings": len,
    "stars": lambda rows: sum(row["productRating"] for row in rows),
}
#: Divided, and rounded to so many decimals.
RATIOS = {
    "margin": ("grossProfit", "costedSales", 8),
    "averageOrderValue": ("netSales", "soldOrders", 2),
    "linesPerOrder": ("lines", "orders", 2),
    "discount": ("discountAmount", "listAmount", 8),
    "onTimeShipmentShare": ("onTimeOrders", "shippedOrders", 8),
    "averageRating": ("stars", "ratings", 2),
}
#: Whose rows add up to a total: of orders only when no product cuts them.
ADDITIVE = ("units", "lines", "bookedAmount", "netSales", "grossProfit", "costedSales", "listAmount", "discountAmount")
ADDITIVE += ("payments", "ratings", "stars")
OF_WHOLE_ORDERS = ("orders", "soldOrders", "shippedOrders", "onTimeOrders")
SHARES = ("margin", "discount", "onTimeShipmentShare")
BALANCE = "balance"
OF_FACT = {"orders": ORDERS, "payments": PAYMENTS, "ratings": RATINGS}

TIME = ("date", "month", "quarter", "year")
CUSTOMERS, PRODUCTS = ("country", "state", "city", "customer"), ("productLine", "product", "vendor")
#: What each fact can be cut by, and the columns that a dimension has in an answer.
CUTS = {
    "orders": (*TIME, *CUSTOMERS, *PRODUCTS, "territory", "office", "salesRep", "status"),
    "payments": (*TIME, *CUSTOMERS),
    "ratings": (*TIME, *CUSTOMERS, *PRODUCTS),
}
COLUMNS = {
    "state": ("country", "state"),
    "city": ("country", "state", "city"),
    "customer": ("customer", "customerName"),
    "product": ("product", "productName"),
    "office": ("office", "officeCity"),
}


def facts_of(measure: str) -> set[str]:
    if measure == BALANCE:
        return {"orders", "payments"}
    named = RATIOS[measure][:1] if measure in RATIOS else (measure,)
    return {fact for fact, known in OF_FACT.items() for name in named if name in known}


def cuts_of(measures: Iterable[str]) -> list[str]:
    facts = {fact for each in measures for fact in facts_of(each)}
    return [name for name in CUTS["orders"] if all(name in CUTS[fact] for fact in facts)]


# Rows that know all names --------------------------------------------------------------------------------


def joined(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[Row]]:
    """The rows of each fact, with everything that they can be cut by and their ``day``."""
    homes = tables["dim_customers"].merge(tables["dim_locations"], on="locationKey", validate="m:1")
    homes = homes[["customerNumber", "customerName", "country", "state", "city"]]
    products = tables["dim_products"][["productCode", "productName", "productLine", "productVendor"]]
    staff = tables["dim_employees"].rename(columns={"employeeNumber": "salesRepEmployeeNumber"})
    staff = staff[["salesRepEmployeeNumber", "officeCode", "officeCity", "officeTerritory"]]
    orders = tables["fact_orders"].merge(homes, on="customerNumber", validate="m:1")
    orders = orders.merge(products, on="productCode", validate="m:1")
    orders = orders.merge(staff, on="salesRepEmployeeNumber", how="left", validate="m:1")
    payments = tables["fact_payments"].merge(homes, on="customerNumber", validate="m:1")
    ratings = tables["fact_ratings"].merge(homes, on="customerNumber", validate="m:1")
    ratings = ratings.merge(products, on="productCode", validate="m:1")
    days = {"orders": "orderDate", "payments": "paymentDate", "ratings": "ratedAt"}
    frames = {"orders": orders, "payments": payments, "ratings": ratings}
    return {name: [_named(row, days[name]) for row in frame.to_dict("records")] for name, frame in frames.items()}


def _named(row: Row, day: str) -> Row:
    row = {name: None if pd.isna(value) else value for name, value in row.items()}
    renamed = {
        "customer": "customerNumber",
        "product": "productCode",
        "vendor": "productVendor",
        "territory": "officeTerritory",
        "office": "officeCode",
        "salesRep": "salesRepEmployeeNumber",
    }
    row |= {name: row[source] for name, source in renamed.items() if source in row}
    moment = row[day]
    row["day"] = moment.date() if isinstance(moment, datetime) else moment
    return row


# Time ----------------------------------------------------------------------------------------------------


def time_value(name: str, day: date | None) -> Any:
    if day is None:
        return None
    quarter = pd.Timestamp(day).quarter
    return {"date": day, "month": f"{day:%Y-%m}", "quarter": f"{day:%Y}-Q{quarter}", "year": day.year}[name]


@dataclass(frozen=True)
class Window:
    """Days ``first`` to ``last``, shown so much later, within ``shown``."""

    first: date
    last: date
    months: int = 0
    days: int = 0
    shown: tuple[date, date] | None = None

    def later(self, day: date | None) -> date | None:
        if day is None or self.shown is None:
            return day
        return (pd.Timestamp(day) + pd.DateOffset(months=self.months, days=self.days)).date()

    def moved(self, day: date | None) -> date | None:
        later = self.later(day)
        if later is None or self.shown is None:
            return later
        return min(max(later, self.shown[0]), self.shown[1])


def window_before(first: date, last: date, compare: str) -> Window:
    start, end = pd.Timestamp(first), pd.Timestamp(last)
    whole = start.is_month_start and end.is_month_end
    if compare == "before" and not whole:
        days = (last - first).days + 1
        back = pd.Timedelta(days=days)
        return Window((start - back).date(), (end - back).date(), days=days, shown=(first, last))
    months = 12 if compare == "year" else (end.year - start.year) * 12 + end.month - start.month + 1
    back_end = end - pd.DateOffset(months=months)
    if whole:
        back_end = back_end + pd.offsets.MonthEnd(0)
    return Window((start - pd.DateOffset(months=months)).date(), back_end.date(), months=months, shown=(first, last))


# Answers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A question in the words of the command line, with its filters also as functions of a value."""

    measures: tuple[str, ...]
    by: tuple[str, ...] = ()
    where: tuple[tuple[str, str, Callable[[Any], bool]], ...] = ()
    period: tuple[str, date, date] | None = None
    compare: str | None = None
    top: int | None = None
    share: bool = False

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys(column for name in self.by for column in COLUMNS.get(name, (name,))))


def answered(asked: Asked, rows: Mapping[str, list[Row]], calendar: Sequence[date]) -> list[Row]:
    """The answer's rows, in order."""
    everything = Window(date.min, date.max)
    now = Window(*asked.period[1:]) if asked.period else everything
    found = _measured(asked, rows, calendar, now, bounded=asked.period is not None)
    before: dict[tuple, Row] = {}
    if asked.compare and asked.period:
        window = window_before(*asked.period[1:], asked.compare)
        before = _measured(asked, rows, calendar, window, bounded=True)
    groups = list(dict.fromkeys([*found, *before]))
    totals = {
        name: sum((found.get(group) or _nothing(asked))[name] or 0 for group in groups) for name in asked.measures
    }
    answer = [_row(asked, group, found.get(group), before.get(group), totals) for group in groups]
    answer.sort(key=lambda row: [_sorting(row[name]) for name in asked.keys])
    if asked.top is not None:
        first = asked.measures[0]
        answer.sort(key=lambda row: (row[first] is None, -(row[first] or 0)))
        answer = answer[: asked.top]
    return answer


def _sorting(value: Any) -> tuple:
    return (value is None, value if value is not None else 0)


def may_have_shares(measures: Iterable[str], by: Iterable[str]) -> bool:
    known = {*ADDITIVE, *(OF_WHOLE_ORDERS if not {*by} & {*PRODUCTS} else ())}
    return {*measures} <= known


def _row(asked: Asked, group: tuple, now: Row | None, before: Row | None, totals: Row) -> Row:
    row: Row = dict(zip(asked.keys, group, strict=True))
    for name in asked.measures:
        new, old = [(side or _nothing(asked))[name] for side in (now, before)]
        row[name] = new
        if asked.share:
            row[f"{name}Share"] = _divided(Decimal(new), Decimal(totals[name]), 8) if totals[name] > 0 else None
        if asked.compare:
            row[f"{name}Before"] = old
            row[f"{name}Change"] = None if new is None or old is None else new - old
            if name not in SHARES:
                row[f"{name}Growth"] = (
                    None if new is None or not old else _divided(Decimal(new) - Decimal(old), abs(Decimal(old)), 8)
                )
    return row


def _nothing(asked: Asked) -> Row:
    return {name: None if name in RATIOS else 0 for name in asked.measures}


def _divided(part: Decimal, whole: Decimal, decimals: int) -> Decimal | None:
    if not whole:
        return None
    return (part / whole * 10**decimals + Decimal("0.5")).to_integral_value(ROUND_FLOOR).scaleb(-decimals)


def _measured(
    asked: Asked, rows: Mapping[str, list[Row]], calendar: Sequence[date], window: Window, *, bounded: bool
) -> dict[tuple, Row]:
    """By group, all measures of one window."""
    found: dict[tuple, Row] = {} if asked.keys else {(): {}}
    groups: dict[str, dict[tuple, list[Row]]] = {}
    for name in asked.measures:
        for fact in facts_of(name) if name != BALANCE else ():
            groups.setdefault(fact, _grouped(asked, rows[fact], window, bounded=bounded))
    balance = _balances(asked, rows, calendar, window, bounded=bounded) if BALANCE in asked.measures else {}
    for group in [*found, *balance, *(group for known in groups.values() for group in known)]:
        found[group] = {}
        for name in asked.measures:
            if name == BALANCE:
                found[group][name] = balance.get(group, Decimal(0))
            else:
                (fact,) = facts_of(name)
                found[group][name] = _value(name, OF_FACT[fact], groups[fact].get(group, []))
    return found


def _value(name: str, known: Mapping[str, Callable[[list[Row]], Any]], rows: list[Row]) -> Any:
    if name not in RATIOS:
        return known[name](rows)
    part, whole, decimals = RATIOS[name]
    return _divided(Decimal(known[part](rows)), Decimal(known[whole](rows)), decimals)


def _kept(asked: Asked, row: Row, window: Window) -> bool:
    for name, _, holds in asked.where:
        value = time_value(name, window.moved(row["day"])) if name in TIME else row[name]
        if not holds(value):
            return False
    return True


def _grouped(asked: Asked, rows: list[Row], window: Window, *, bounded: bool) -> dict[tuple, list[Row]]:
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        if bounded and (row["day"] is None or not window.first <= row["day"] <= window.last):
            continue
        if _kept(asked, row, window):
            day = window.moved(row["day"])
            group = tuple(time_value(name, day) if name in TIME else row[name] for name in asked.keys)
            found.setdefault(group, []).append(row)
    return found


def _balances(
    asked: Asked, rows: Mapping[str, list[Row]], calendar: Sequence[date], window: Window, *, bounded: bool
) -> dict[tuple, Decimal]:
    """By group, what was sold less what was paid until the end of each unit of time that is asked for."""
    others = [name for name in asked.keys if name not in TIME]
    flows: dict[tuple, list[tuple[date | None, Decimal]]] = {}
    for fact, sign in (("orders", 1), ("payments", -1)):
        for row in rows[fact]:
            counts = not bounded or row["day"] is None or row["day"] <= window.last
            if counts and _kept(asked, row, window):
                amount = row["amount"] if fact == "payments" else ORDERS["netSales"]([row])
                group = tuple(row[name] for name in others)
                flows.setdefault(group, []).append((window.later(row["day"]), sign * amount))
    times = [name for name in asked.keys if name in TIME]
    if not times:
        return {group: _sum(amount for _, amount in each) for group, each in flows.items()} or (
            {} if others else {(): Decimal(0)}
        )
    finest = min(times, key=TIME.index)
    known = [row["day"] for fact in ("orders", "payments") for row in rows[fact] if row["day"] is not None]
    if bounded:
        shown = window.shown or (window.first, window.last)
        days = {day for day in calendar if shown[0] <= day <= shown[1]}
    else:
        first, last = (time_value(finest, edge(known)) for edge in (min, max))
        days = {day for day in calendar if first <= time_value(finest, day) <= last}
    # The last day of each unit stands for it.
    ends = {time_value(finest, day): day for day in sorted(days)}
    found = {}
    for group, each in flows.items():
        starts = [None if day is None else time_value(finest, day) for day, _ in each]
        for unit, day in ends.items():
            counted = [
                amount for (_, amount), start in zip(each, starts, strict=True) if start is None or start <= unit
            ]
            if counted:
                moments = [time_value(name, day) for name in asked.keys if name in TIME]
                values = iter(moments), iter(group)
                found[tuple(next(values[0] if name in TIME else values[1]) for name in asked.keys)] = _sum(counted)
    return found
