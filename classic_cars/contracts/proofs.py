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

from classic_cars.contracts.vocabulary import extended

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
    lines = _lines(source_orderdetails, quarantine_orderdetails, _products(source_products, quarantine_products))
    named = _per_order(lines, source_orders, quarantine_orders)
    return _summed(
        named.mutate(customerNumber=named.customer, status=named.said.fill_null(NO_NAME).lower()),
        ["customerNumber", "status"],
    )


def sales_by_customer(
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    source_orders: ibis.Table,
    quarantine_orders: ibis.Table,
    source_products: ibis.Table,
    quarantine_products: ibis.Table,
) -> ibis.Table:
    """Control totals by month and customer; NULL is the customer of lines whose order is not there."""
    lines = _lines(source_orderdetails, quarantine_orderdetails, _products(source_products, quarantine_products))
    named = _per_order(lines, source_orders, quarantine_orders)
    return _summed(named.mutate(customerNumber=named.customer), ["orderMonth", "customerNumber"])


def sales_by_product(
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    source_orders: ibis.Table,
    quarantine_orders: ibis.Table,
) -> ibis.Table:
    """Control totals by month and product: what a unit costs is looked up by whoever needs it, as it is then."""
    # Orders are not counted here: sums per order and product would be as many as there are lines.
    lines = _with_order(_lines(source_orderdetails, quarantine_orderdetails), source_orders, quarantine_orders)
    found = lines.group_by("orderMonth", productCode=lines.code).aggregate(
        lines=lines.lines.sum(),
        units=lines.units.sum(),
        bookedAmount=lines.booked.sum(),
        netSales=lines.booked.sum(where=lines.sold),
        unitsSold=lines.units.sum(where=lines.sold & lines.booked.notnull()),
    )
    return found.filter(found.lines > 0)


def by_month_and_customer(control_sales_by_customer: ibis.Table) -> ibis.Table:
    return control_sales_by_customer


def by_month_and_product(
    control_sales_by_product: ibis.Table, source_products: ibis.Table, quarantine_products: ibis.Table
) -> ibis.Table:
    return _with_profit(control_sales_by_product, source_products, quarantine_products)


def by_country(
    control_sales_by_customer: ibis.Table, source_customers: ibis.Table, quarantine_customers: ibis.Table
) -> ibis.Table:
    homes = _one_per_key(source_customers, quarantine_customers, "customerNumber", "country")
    named = control_sales_by_customer.left_join(homes, control_sales_by_customer.customerNumber == homes.member)
    return _added_up(named.mutate(country=named.country.fill_null(NO_NAME)), "country")


def by_month(control_sales_by_customer: ibis.Table) -> ibis.Table:
    return _added_up(control_sales_by_customer, "orderMonth")


def by_product_line(
    control_sales_by_product: ibis.Table,
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    source_products: ibis.Table,
    quarantine_products: ibis.Table,
) -> ibis.Table:
    summed = _with_profit(control_sales_by_product, source_products, quarantine_products)
    summed = summed.group_by("productLine").aggregate(
        **{name: summed[name].sum() for name in ("units", "bookedAmount", "netSales", "grossProfit")}
    )
    # Orders of a line are no sum over its products: they are counted by themselves.
    lines = _lines(source_orderdetails, quarantine_orderdetails)
    numbered = _numbered_lines(source_products, quarantine_products)
    lines = lines.left_join(numbered.select("code", "number"), "code")
    there = lines.group_by("orderNumber", number=lines.number.fill_null(0)).aggregate(lines=lines.lines.sum())
    there = there.filter(there.lines > 0)
    counted = there.group_by("number").aggregate(orders=there.count())
    named = counted.left_join(numbered.select("number", "productLine").distinct(), "number")
    named = named.group_by(productLine=named.productLine.fill_null(NO_NAME)).aggregate(orders=named.orders.sum())
    return named.left_join(summed, "productLine").drop("productLine_right")


def in_all(
    source_orderdetails: ibis.Table,
    quarantine_orderdetails: ibis.Table,
    control_sales_by_product: ibis.Table,
    source_products: ibis.Table,
    quarantine_products: ibis.Table,
) -> ibis.Table:
    """Of all months, one row: what source says now, whatever it was when control totals were made of it."""
    lines = _lines(source_orderdetails, quarantine_orderdetails)
    summed = _with_profit(control_sales_by_product, source_products, quarantine_products)
    booked = lines.aggregate(units=lines.units.sum().fill_null(0), bookedAmount=lines.booked.sum().fill_null(0))
    profit = summed.aggregate(grossProfit=summed.grossProfit.sum().fill_null(0))
    return booked.cross_join(profit).mutate(sales=ibis.literal("of all months"))


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


def _lines(source: ibis.Table, quarantined: ibis.Table, products: ibis.Table | None = None) -> ibis.Table:
    """Each line of the order system, and each that is quarantined with all measures negative: together, what counts.

    With ``products`` also each line's profit.
    """
    sides = []
    for rows, is_counted in ((source, True), (quarantined, False)):
        rows = rows.mutate(code=_text(rows.productCode))
        booked = extended(rows.quantityOrdered, rows.priceEach)
        measures: dict[str, Any] = {
            "lines": ibis.literal(1, "int64"),
            "units": rows.quantityOrdered.cast("int64"),
            "booked": booked,
        }
        if products is not None:
            rows = rows.left_join(products, "code")
            # Of a line whose cost is not known neither the sale nor the cost counts.
            measures["profit"] = booked - extended(rows.quantityOrdered, rows.cost)
        signed = {name: value if is_counted else -value for name, value in measures.items()}
        sides.append(rows.select("orderMonth", "orderNumber", "code", **signed))
    return ibis.union(*sides)


def _products(source: ibis.Table, quarantined: ibis.Table) -> ibis.Table:
    """Products that count, with their line and what a unit costs, if that is known; one row per ``code``."""
    found = _one_per_key(source, quarantined, "productCode", "productLine", "buyPrice")
    return found.select("productLine", code=found.member, cost=ibis.ifelse(found.buyPrice >= 0, found.buyPrice, None))


def _numbered_lines(source: ibis.Table, quarantined: ibis.Table) -> ibis.Table:
    """Products with their line and its number, which is told apart in half the time; 0 is the line of no name."""
    products = _products(source, quarantined)
    named = products.select("code", productLine=products.productLine.fill_null(NO_NAME))
    rank = ibis.dense_rank().over(order_by=named.productLine).cast("int64")
    return named.mutate(number=ibis.ifelse(named.productLine == NO_NAME, 0, rank + 1))


def _per_order(lines: ibis.Table, source_orders: ibis.Table, quarantine_orders: ibis.Table) -> ibis.Table:
    """The lines summed up per order, with the order's customer and status."""
    summed = lines.group_by("orderMonth", "orderNumber").aggregate(
        **{name: lines[name].sum() for name in ("lines", "units", "booked", "profit")}
    )
    return _with_order(summed, source_orders, quarantine_orders)


def _with_order(lines: ibis.Table, source_orders: ibis.Table, quarantine_orders: ibis.Table) -> ibis.Table:
    """Lines, or sums of them, with their order's customer and status."""
    orders = _one_per_key(source_orders, quarantine_orders, "orderNumber", "customerNumber", "status")
    orders = orders.select(
        number="member",
        customer=orders.customerNumber.fill_null(NO_NUMBER),
        said="status",
        sold=(orders.status.lower() != NOT_SOLD).fill_null(True),
    )
    named = lines.left_join(orders, lines.orderNumber == orders.number)
    return named.mutate(sold=named.sold.fill_null(True))


def _one_per_key(source: ibis.Table, quarantined: ibis.Table, key: str, *columns: str) -> ibis.Table:
    """The members of a table that are not quarantined, one row per key (as ``member``)."""

    def keyed(rows: ibis.Table, sign: int) -> ibis.Table:
        texts = {name: _text(rows[name]) if rows[name].type().is_string() else rows[name] for name in (key, *columns)}
        return rows.select(**texts, sign=ibis.literal(sign, "int64")).rename(member=key)

    counted, uncounted = keyed(source, 1), keyed(quarantined, -1)
    # A row and its quarantined copy cancel out: what is left are the values of rows that count.
    both = ibis.union(counted.semi_join(uncounted, "member"), uncounted)
    left = both.group_by(["member", *columns]).aggregate(rows=both.sign.sum())
    left = left.filter(left.rows > 0)
    members = ibis.union(counted.anti_join(uncounted, "member").drop("sign"), left.drop("rows"))
    return members.group_by("member").aggregate(**{name: members[name].min() for name in columns})


def _summed(per_order: ibis.Table, by: list[str]) -> ibis.Table:
    """Measures of each group that has orders with lines that count."""
    found = per_order.group_by(by).aggregate(
        lines=per_order.lines.sum(),
        orders=(per_order.lines > 0).sum(),
        soldOrders=((per_order.lines > 0) & per_order.sold).sum(),
        units=per_order.units.sum(),
        bookedAmount=per_order.booked.sum(),
        netSales=per_order.booked.sum(where=per_order.sold),
        grossProfit=per_order.profit.sum(where=per_order.sold),
    )
    return found.filter(found.orders > 0)


def _added_up(control: ibis.Table, by: str) -> ibis.Table:
    measures = ("lines", "orders", "soldOrders", "units", "bookedAmount", "netSales", "grossProfit")
    return control.group_by(by).aggregate(**{name: control[name].sum() for name in measures})


def _with_profit(control: ibis.Table, source_products: ibis.Table, quarantine_products: ibis.Table) -> ibis.Table:
    """Control totals by product, with the name of its line, and the profit at what a unit costs now."""
    products = _products(source_products, quarantine_products)
    named = control.left_join(products, control.productCode == products.code)
    return named.select(
        *control.columns,
        productLine=named.productLine.fill_null(NO_NAME),
        # Of a product whose cost is not known neither the sales nor the cost count.
        grossProfit=ibis.ifelse(named.cost.notnull(), named.netSales - named.unitsSold * named.cost, None),
    )


# The calendar ----------------------------------------------------------------------------------------------


def day_number(day: ir.DateValue) -> ir.IntegerValue:
    """Days since 2000-01-01: reconciliations compare numbers."""
    return day.delta(ibis.date(2000, 1, 1), unit="day")


def calendar_span(dim_dates: ibis.Table) -> ibis.Table:
    return dim_dates.aggregate(
        rows=dim_dates.count(), first=day_number(dim_dates.date.min()), last=day_number(dim_dates.date.max())
    ).mutate(calendar=ibis.literal("all days"))


def facts_span(orders: ibis.Table, payments: ibis.Table) -> ibis.Table:
    days = ibis.union(
        orders.select(day="orderDate"),
        orders.select(day="requiredDate"),
        orders.select(day="shippedDate"),
        payments.select(day="paymentDate"),
    )
    span = days.aggregate(first=day_number(days.day.min()), last=day_number(days.day.max()))
    return span.mutate(rows=(span.last - span.first + 1).fill_null(0), calendar=ibis.literal("all days"))
