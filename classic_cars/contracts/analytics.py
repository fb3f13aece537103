"""Contracts of the ``analytics`` layer: the small answer tables that dashboards read.

Each is reconciled with ``fact_orders`` and staging along a path that sums per customer, product or month
first and uses no dimension of the star schema.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import pandera.ibis as pa

from classic_cars.contracts.base import Contract, Reconciliation, facts, is_clean
from classic_cars.contracts.metrics import CANCELLED, METRICS

COUNTS = ("orders", "units")
MEASURES = ("units", "bookedAmount", "netSales")
TOTALS = {
    "units": lambda answer: answer.units.sum(),
    "bookedAmount": lambda answer: answer.bookedAmount.sum(),
    "netSales": lambda answer: answer.netSales.sum(),
}


def _measures(table: ibis.Table, key: str) -> ibis.Table:
    """The additive measures of an answer table: its own columns, per key."""
    return table.group_by(key).aggregate(**{name: table[name].sum() for name in MEASURES})


def _raw_measures(fact_orders: ibis.Table, key: str) -> ibis.Table:
    """The same measures straight from quantities and prices, without ``orderAmount`` and the metrics."""
    amount = fact_orders.quantityOrdered * fact_orders.priceEach
    kept = ibis.ifelse(fact_orders.status == CANCELLED, 0, fact_orders.quantityOrdered) * fact_orders.priceEach
    return fact_orders.group_by(key).aggregate(
        units=fact_orders.quantityOrdered.sum(), bookedAmount=amount.sum(), netSales=kept.sum()
    )


def _by_product_line(fact_orders: ibis.Table, products: ibis.Table) -> ibis.Table:
    names = products.select("productCode", "productLine")
    return _measures(_raw_measures(fact_orders, "productCode").left_join(names, "productCode"), "productLine")


def _by_country(fact_orders: ibis.Table, customers: ibis.Table) -> ibis.Table:
    names = customers.select("customerNumber", "country")
    return _measures(_raw_measures(fact_orders, "customerNumber").left_join(names, "customerNumber"), "country")


def _by_month(fact_orders: ibis.Table) -> ibis.Table:
    return _raw_measures(fact_orders.mutate(orderMonth=fact_orders.orderDate.truncate("M")), "orderMonth")


def _agrees(by: str, expected: Callable[..., ibis.Table]) -> Reconciliation:
    return Reconciliation(f"by {by}", by=(by,), actual=lambda answer: _measures(answer, by), expected=expected)


def _answer(name: str, description: str, by: str, column: pa.Column, expected: Callable, **more: Any) -> Contract:
    """The contract of an answer table: one column that says of what, and every metric of it."""
    measures = {
        metric.name: pa.Column(
            dt.Int64() if metric.name in COUNTS else dt.Decimal(18, 2),
            checks=None if metric.name == "grossProfit" else pa.Check.ge(0),
            description=metric.description,
        )
        for metric in METRICS
    }
    return Contract.of(
        pa.DataFrameSchema(
            {by: column, **measures},
            checks=pa.Check(
                lambda data: data.table.netSales <= data.table.bookedAmount,
                name="net_within_booked",
                description="net sales do not exceed the booked amount",
            ),
            name=f"analytics/{name}",
            description=description,
            unique=[by],
            strict=True,
            metadata=facts(reconciliations=[_agrees(by, expected)], totals=TOTALS, **more),
        )
    )


SALES_BY_PRODUCT_LINE = _answer(
    "sales_by_product_line",
    "Which product lines are more successful? One row per product line with sales.",
    "productLine",
    pa.Column(dt.String(), checks=pa.Check(is_clean, name="clean_text"), description="Product line"),
    _by_product_line,
)

SALES_BY_COUNTRY = _answer(
    "sales_by_country",
    "How are sales distributed across countries? One row per customers' country with sales.",
    "country",
    pa.Column(dt.String(), checks=pa.Check(is_clean, name="clean_text"), description="Country of the customer"),
    _by_country,
)

SALES_BY_MONTH = _answer(
    "sales_by_month",
    "How do sales develop? One row per month of the order's date with sales.",
    "orderMonth",
    pa.Column(dt.Date(), description="First day of the month of the order's date: the row's partition"),
    _by_month,
    partitioned_by="orderMonth",
)

CONTRACTS = (SALES_BY_PRODUCT_LINE, SALES_BY_COUNTRY, SALES_BY_MONTH)
