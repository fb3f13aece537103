"""Contracts of the ``analytics`` layer: the small answer tables that dashboards read, and their partial aggregates.

Partial aggregates keep by month what is additive; answers sum them, and recompute the rest. Each metric of either is
reconciled with ``source`` itself, by other means than it was made; see ``contracts.proofs``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import ibis
import ibis.expr.datatypes as dt
import pandera.ibis as pa

from classic_cars.contracts import proofs
from classic_cars.contracts.base import Contract
from classic_cars.contracts.control_totals import SALES_BY_CUSTOMER, SALES_BY_PRODUCT
from classic_cars.contracts.metrics import (
    CUSTOMER,
    METRICS,
    MONTH,
    PRODUCT,
    SOLD_ORDERS,
    Metric,
    additive,
    aggregate,
    kept,
    not_additive,
    partials,
    with_month,
)
from classic_cars.contracts.origins import derived
from classic_cars.contracts.rules import CLEAN
from classic_cars.contracts.vocabulary import (
    ControlTotals,
    Long,
    Reconciliation,
    TableModel,
    Text,
    Total,
    clean,
    facts,
    is_clean,
    row_rule,
)

COUNTS = ("orders", "units", "soldOrders")

#: What a key column of these tables is.
KEYS = {
    MONTH: pa.Column(
        dt.Date(),
        description="First day of the month of the order's date: the row's partition",
        metadata=derived("warehouse/fact_orders.orderDate"),
    ),
    CUSTOMER: pa.Column(dt.Int32(), description="Customer, in dim_customers; -1 when the order names none"),
    PRODUCT: pa.Column(dt.String(), description="Product, in dim_products"),
}


def _agrees(by: Sequence[str], metrics: Sequence[Metric], expected: Callable[..., ibis.Table]) -> Reconciliation:
    names = [*by, *(each.name for each in metrics)]
    return Reconciliation(
        f"by {' and '.join(by)}, from source",
        by=tuple(by),
        actual=lambda answer: answer.select(*names),
        expected=expected,
        assumes=proofs.ASSUMES,
    )


def _sums(answer: ibis.Table) -> ibis.Table:
    sums = {name: answer[name].sum().fill_null(0) for name in ("units", "bookedAmount", "grossProfit")}
    return answer.aggregate(**sums).mutate(sales=ibis.literal("of all months"))


#: That source says the same now as when control totals of its months were kept.
_IN_ALL = Reconciliation("in all, from source", by=("sales",), actual=_sums, expected=proofs.in_all)


def _measure(metric: Metric, *origins: str) -> pa.Column:
    return pa.Column(
        dt.Int64() if metric.name in COUNTS else dt.Decimal(18, 2),
        checks=None if metric.name == "grossProfit" else pa.Check.ge(0),
        description=metric.description,
        metadata=derived(*origins),
    )


def _total(name: str) -> Total:
    return lambda rows: rows[name].sum()


def _of_metrics(
    name: str,
    description: str,
    keys: Mapping[str, pa.Column],
    measures: Mapping[str, pa.Column],
    expected: Callable[..., ibis.Table],
    recomputed: Callable[..., ibis.Table],
    controls: Sequence[ControlTotals] = (),
) -> Contract:
    """A table of metrics: key columns, and metrics of the order lines that have them. A month is the partition.

    ``controls``: control totals that are kept with it; other tables are reconciled with those of others, and in all.
    """
    metrics = [each for each in (*METRICS, SOLD_ORDERS) if each.name in measures]
    return Contract.of(
        pa.DataFrameSchema(
            {**keys, **{each.name: measures[each.name] for each in metrics}},
            checks=pa.Check(
                lambda data: data.table.netSales <= data.table.bookedAmount,
                name="net_within_booked",
                description="net sales do not exceed the booked amount",
            ),
            name=f"analytics/{name}",
            description=description,
            unique=list(keys),
            strict=True,
            metadata=facts(
                partitioned_by=MONTH if MONTH in keys else None,
                reconciliations=[_agrees(list(keys), metrics, expected), *([] if MONTH in keys else [_IN_ALL])],
                totals={each.name: _total(each.name) for each in METRICS if each in additive(PRODUCT)},
                recomputed=recomputed,
                controls=controls,
            ),
        )
    )


def _listed(metrics: Sequence[Metric]) -> str:
    return ", ".join(each.name for each in metrics)


# Partial aggregates --------------------------------------------------------------------------------------


def _partial(name: str, over: str, expected: Callable[..., ibis.Table], control: ControlTotals) -> Contract:
    """Partial aggregates by month and ``over``: of each metric that is additive over both."""
    return _of_metrics(
        name,
        f"Partial aggregates of fact_orders that answers are summed from; one row per month and {over} with sales. "
        f"Additive over months and this column: {_listed(kept(over))}."
        + (f" Not additive over it, and so not here: {_listed(not_additive(over))}." if not_additive(over) else ""),
        {name: KEYS[name] for name in (MONTH, over)},
        {each.name: _measure(each, *each.origins) for each in kept(over)},
        expected,
        lambda fact_orders: partials(fact_orders, over),
        [control],
    )


MONTHLY_SALES_BY_CUSTOMER = _partial(
    "monthly_sales_by_customer", CUSTOMER, proofs.by_month_and_customer, SALES_BY_CUSTOMER
)
MONTHLY_SALES_BY_PRODUCT = _partial("monthly_sales_by_product", PRODUCT, proofs.by_month_and_product, SALES_BY_PRODUCT)


# Answers -------------------------------------------------------------------------------------------------


def _answer(
    name: str,
    question: str,
    over: str,
    column: pa.Column,
    expected: Callable[..., ibis.Table],
    recomputed: Callable[..., ibis.Table],
) -> Contract:
    """An answer: one column that says of what, and every metric of it, summed from partial aggregates by ``over``."""
    partial = f"analytics/monthly_sales_by_{'customer' if over == CUSTOMER else 'product'}"
    sums, others = additive(over), not_additive(over)
    return _of_metrics(
        name,
        f"{question} Sums of {partial}: {_listed(sums)}."
        + (f" Not additive, and so recomputed from all of warehouse/fact_orders: {_listed(others)}." if others else ""),
        {str(column.name): column},
        {each.name: _measure(each, f"{partial}.{each.name}") for each in sums}
        | {each.name: _measure(each, *each.origins) for each in others},
        expected,
        recomputed,
    )


def _name(column: str, description: str) -> pa.Column:
    return pa.Column(dt.String(), checks=pa.Check(is_clean, name=CLEAN), description=description, name=column)


def _by_product_line(fact_orders: ibis.Table, dim_products: ibis.Table) -> ibis.Table:
    return aggregate(fact_orders.left_join(dim_products.select(PRODUCT, "productLine"), PRODUCT), "productLine")


def _by_country(fact_orders: ibis.Table, dim_customers: ibis.Table, dim_locations: ibis.Table) -> ibis.Table:
    places = dim_locations.select("locationKey", "country")
    homes = dim_customers.select(CUSTOMER, "locationKey").left_join(places, "locationKey").select(CUSTOMER, "country")
    return aggregate(fact_orders.left_join(homes, CUSTOMER), "country")


SALES_BY_PRODUCT_LINE = _answer(
    "sales_by_product_line",
    "Which product lines are more successful? One row per product line with sales.",
    PRODUCT,
    _name("productLine", "Product line"),
    proofs.by_product_line,
    _by_product_line,
)

SALES_BY_COUNTRY = _answer(
    "sales_by_country",
    "How are sales distributed across countries? One row per customers' country with sales.",
    CUSTOMER,
    _name("country", "Country of the customer"),
    proofs.by_country,
    _by_country,
)

SALES_BY_MONTH = _answer(
    "sales_by_month",
    "How do sales develop? One row per month of the order's date with sales.",
    CUSTOMER,
    pa.Column(dt.Date(), description=KEYS[MONTH].description, name=MONTH),
    proofs.by_month,
    lambda fact_orders: aggregate(with_month(fact_orders), MONTH),
)

Stars = Annotated[dt.Decimal, 3, 2, True]


def _of_products(product_ratings: ibis.Table) -> ibis.Table:
    """Ratings and average in hundredths per product; a missing average counts as 0, which no rating is."""
    hundredths = product_ratings.averageRating.fill_null(0) * 100
    return product_ratings.select("productCode", "ratings", hundredths=hundredths, rows=ibis.literal(1))


def _of_each_star(ratings: ibis.Table, dim_products: ibis.Table) -> ibis.Table:
    """The same from how often each number of stars was given, for every product that facts may refer to."""
    given = {f"n{stars}": (ratings.productRating == stars).sum() for stars in range(1, 6)}
    counted = dim_products.select("productCode").left_join(
        ratings.group_by("productCode").aggregate(**given), "productCode"
    )
    often = {stars: counted[f"n{stars}"].fill_null(0) for stars in range(1, 6)}
    number, total = sum(often.values()), sum(stars * count for stars, count in often.items())
    # Hundredths of stars, doubled so that half of one can be added before the rest is cut off.
    hundredths = ((total * 200 + number) // (number * 2).nullif(0)).fill_null(0)
    return counted.select("productCode", ratings=number, hundredths=hundredths, rows=ibis.literal(1))


class ProductRatings(TableModel):
    """How do customers rate the products? One row per product, rated or not."""

    productCode: Text = pa.Field(description="Product's code")
    productName: Text = pa.Field(description="Product's name")
    productLine: Text = pa.Field(description="Product line")
    ratings: Long = pa.Field(
        ge=0,
        description="Customers whose current rating of it is known; 0: nobody rated it",
        metadata=derived(),
    )
    averageRating: Stars = pa.Field(
        in_range={"min_value": 1, "max_value": 5},
        nullable=True,
        description="Average of these ratings, 1 to 5 stars, half a hundredth rounded up; missing if nobody rated it",
        metadata=derived("warehouse/fact_ratings.productRating"),
    )

    texts = clean("productCode", "productName", "productLine")

    @row_rule("a product has an average if, and only if, it has ratings")
    def average_of_something(cls, answer: ibis.Table) -> ibis.expr.types.BooleanValue:
        return (answer.ratings > 0) == answer.averageRating.notnull()

    class Config:
        name = "analytics/product_ratings"
        unique = ["productCode"]
        metadata = facts(
            totals={"ratings": lambda answer: answer.ratings.sum()},
            reconciliations=[
                Reconciliation("by product", by=("productCode",), actual=_of_products, expected=_of_each_star)
            ],
        )
