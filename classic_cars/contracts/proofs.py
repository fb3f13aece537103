"""The other way to the numbers: from ``source`` straight to each metric, sharing nothing with the assets.

Nothing of ``assets`` or ``contracts.metrics`` is used here, on purpose: no function, no constant, no join. Each proof
starts from the order system's rows as they were read, takes off what is quarantined, sums per order first and looks
names up afterwards, in tables that have one row per key whatever the source holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

ASSUMES = (
    "a line counts unless it is quarantined; texts count without surrounding white space; status 'cancelled', in any "
    "spelling of capitals, is no sale; a buy price below zero is none, and a line without one makes no profit"
)

NO_NAME, NO_NUMBER = "Unknown", -1
NOT_SOLD = "cancelled"


def metrics(rows: ibis.Table, definitions: Sequence[Any], by: Sequence[str]) -> ibis.Table:
    """The metrics as they are defined, of ``rows`` by ``by``: the side that is to be proven."""
    return rows.group_by(list(by)).aggregate(**{each.name: each.of(rows) for each in definitions})


def metrics_by_customer_and_status(fact_orders: ibis.Table, definitions: Sequence[Any]) -> ibis.Table:
    found = metrics(fact_orders, definitions, ["customerNumber", "status"])
    return found.mutate(status=found.status.lower())


def by_customer_and_status(
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    source_orders: ibis.Table,
    quarantine_orders: ibis.Table,
    source_products: ibis.Table,
    quarantine_products: ibis.Table,
) -> ibis.Table:
    lines = _counted_lines(source_orderdetails, quarantine_orderdetails, source_products, quarantine_products)
    named = _per_order(lines, source_orders, quarantine_orders)
    return _summed(
        named.mutate(customerNumber=named.customer, status=named.said.fill_null(NO_NAME).lower()),
        ["customerNumber", "status"],
    )


def by_country(
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    source_orders: ibis.Table,
    quarantine_orders: ibis.Table,
    source_products: ibis.Table,
    quarantine_products: ibis.Table,
    source_customers: ibis.Table,
    quarantine_customers: ibis.Table,
) -> ibis.Table:
    lines = _counted_lines(source_orderdetails, quarantine_orderdetails, source_products, quarantine_products)
    homes = _one_per_key(source_customers, quarantine_customers, "customerNumber", "country")
    named = _per_order(lines, source_orders, quarantine_orders)
    named = named.left_join(homes, named.customer == homes.member)
    return _summed(named.mutate(country=named.country.fill_null(NO_NAME)), ["country"])


def by_month(
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    source_orders: ibis.Table,
    quarantine_orders: ibis.Table,
    source_products: ibis.Table,
    quarantine_products: ibis.Table,
) -> ibis.Table:
    lines = _counted_lines(source_orderdetails, quarantine_orderdetails, source_products, quarantine_products)
    return _summed(_with_month(_per_order(lines, source_orders, quarantine_orders)), ["orderMonth"])


def by_month_and_customer(
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    source_orders: ibis.Table,
    quarantine_orders: ibis.Table,
    source_products: ibis.Table,
    quarantine_products: ibis.Table,
) -> ibis.Table:
    lines = _counted_lines(source_orderdetails, quarantine_orderdetails, source_products, quarantine_products)
    named = _with_month(_per_order(lines, source_orders, quarantine_orders))
    return _summed(named.mutate(customerNumber=named.customer), ["orderMonth", "customerNumber"])


def by_month_and_product(
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    source_orders: ibis.Table,
    quarantine_orders: ibis.Table,
    source_products: ibis.Table,
    quarantine_products: ibis.Table,
) -> ibis.Table:
    lines = _counted_lines(source_orderdetails, quarantine_orderdetails, source_products, quarantine_products)
    # Orders are not counted here: sums per order and product would be as many as there are lines.
    named = _with_order(lines.mutate(lines=lines.sign), source_orders, quarantine_orders)
    return _summed(_with_month(named), ["orderMonth", "productCode"], there="lines")


def by_product_line(
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    source_orders: ibis.Table,
    quarantine_orders: ibis.Table,
    source_products: ibis.Table,
    quarantine_products: ibis.Table,
) -> ibis.Table:
    lines = _counted_lines(source_orderdetails, quarantine_orderdetails, source_products, quarantine_products)
    return _summed(_per_order(lines, source_orders, quarantine_orders, "productLine"), ["productLine"])


def payments_of(payments: ibis.Table) -> ibis.Table:
    """Payments and their sum per customer."""
    return payments.group_by("customerNumber").aggregate(payments=payments.count(), amount=payments.amount.sum())


def paid_by_customer(source_payments: ibis.Table, quarantine_payments: ibis.Table) -> ibis.Table:
    sides = [
        rows.select("customerNumber", "amount", sign=ibis.literal(sign, "int64"))
        for rows, sign in ((source_payments, 1), (quarantine_payments, -1))
    ]
    both = ibis.union(*sides)
    found = both.group_by("customerNumber").aggregate(payments=both.sign.sum(), amount=(both.amount * both.sign).sum())
    return found.filter(found.payments > 0)


# How -------------------------------------------------------------------------------------------------------


def _text(value: ir.StringValue) -> ir.StringValue:
    return value.strip().nullif("")


def _counted_lines(
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    source_products: ibis.Table,
    quarantine_products: ibis.Table,
) -> ibis.Table:
    """Each line of the order system as +1, each that is quarantined as -1; with its line and its buy price."""
    sides = [
        rows.select(
            "orderNumber",
            "quantityOrdered",
            "priceEach",
            code=_text(rows.productCode),
            sign=ibis.literal(sign, "int64"),
        )
        for rows, sign in ((source_orderdetails, 1), (quarantine_orderdetails, -1))
    ]
    lines = ibis.union(*sides)
    products = _one_per_key(source_products, quarantine_products, "productCode", "productLine", "buyPrice")
    named = lines.left_join(products, lines.code == products.member)
    cost = ibis.ifelse(named.buyPrice >= 0, named.buyPrice, None)
    units = named.quantityOrdered * named.sign
    return named.select(
        "orderNumber",
        "sign",
        units=units,
        booked=units * named.priceEach,
        # Of a line whose cost is not known neither the sale nor the cost counts.
        profit=units * (named.priceEach - cost),
        productCode="code",
        productLine=_text(named.productLine).fill_null(NO_NAME),
    )


def _per_order(lines: ibis.Table, source_orders: ibis.Table, quarantine_orders: ibis.Table, *by: str) -> ibis.Table:
    """The lines summed up per order (and ``by``), with the order's customer, status and day."""
    summed = lines.group_by(["orderNumber", *by]).aggregate(
        lines=lines.sign.sum(), units=lines.units.sum(), booked=lines.booked.sum(), profit=lines.profit.sum()
    )
    return _with_order(summed, source_orders, quarantine_orders)


def _with_order(lines: ibis.Table, source_orders: ibis.Table, quarantine_orders: ibis.Table) -> ibis.Table:
    """Lines, or sums of them, with their order's customer, status and day."""
    orders = _one_per_key(source_orders, quarantine_orders, "orderNumber", "customerNumber", "status", "orderDate")
    orders = orders.select(
        number="member",
        customer=orders.customerNumber.fill_null(NO_NUMBER),
        said="status",
        day="orderDate",
    )
    return lines.left_join(orders, lines.orderNumber == orders.number)


def _with_month(per_order: ibis.Table) -> ibis.Table:
    return per_order.mutate(orderMonth=ibis.date(per_order.day.year(), per_order.day.month(), 1))


def _one_per_key(source: ibis.Table, quarantined: ibis.Table, key: str, *columns: str) -> ibis.Table:
    """The members of a table that are not quarantined, one row per key (as ``member``)."""

    def keyed(rows: ibis.Table, sign: int) -> ibis.Table:
        value = rows[key]
        value = _text(value) if value.type().is_string() else value
        texts = {name: _text(rows[name]) if rows[name].type().is_string() else rows[name] for name in columns}
        return rows.select(**texts, member=value, sign=ibis.literal(sign, "int64"))

    both = ibis.union(keyed(source, 1), keyed(quarantined, -1))
    # A row and its quarantined copy cancel out: what is left are the values of rows that count.
    left = both.group_by(["member", *columns]).aggregate(rows=both.sign.sum())
    left = left.filter(left.rows > 0)
    return left.group_by("member").aggregate(**{name: left[name].min() for name in columns})


def _summed(per_order: ibis.Table, by: list[str], *, there: str = "orders") -> ibis.Table:
    """Measures of each group of which orders (or lines, which may be one another's quarantined copies) are there."""
    sold = (per_order.said.lower() != NOT_SOLD).fill_null(True)
    found = per_order.group_by(by).aggregate(
        lines=per_order.lines.sum(),
        orders=(per_order.lines > 0).sum(),
        units=per_order.units.sum(),
        bookedAmount=per_order.booked.sum(),
        netSales=per_order.booked.sum(where=sold),
        grossProfit=per_order.profit.sum(where=sold),
    )
    return found.filter(found[there] > 0)


# The calendar ----------------------------------------------------------------------------------------------


def _day_number(day: ir.DateValue) -> ir.IntegerValue:
    """Days since 2000-01-01: reconciliations compare numbers."""
    return day.delta(ibis.date(2000, 1, 1), unit="day")


def calendar_span(dim_dates: ibis.Table) -> ibis.Table:
    return dim_dates.aggregate(
        rows=dim_dates.count(), first=_day_number(dim_dates.date.min()), last=_day_number(dim_dates.date.max())
    ).mutate(calendar=ibis.literal("all days"))


def facts_span(orders: ibis.Table, payments: ibis.Table) -> ibis.Table:
    days = ibis.union(
        orders.select(day="orderDate"),
        orders.select(day="requiredDate"),
        orders.select(day="shippedDate"),
        payments.select(day="paymentDate"),
    )
    span = days.aggregate(first=_day_number(days.day.min()), last=_day_number(days.day.max()))
    return span.mutate(rows=(span.last - span.first + 1).fill_null(0), calendar=ibis.literal("all days"))
