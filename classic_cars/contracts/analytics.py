"""Contracts of the ``analytics`` layer: the small answer tables that dashboards read.

Each metric is reconciled with ``source`` itself, by other means than it was made; see ``contracts.proofs``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import ibis
import ibis.expr.datatypes as dt
import pandera.ibis as pa

from classic_cars.contracts import proofs
from classic_cars.contracts.base import Contract
from classic_cars.contracts.metrics import METRICS
from classic_cars.contracts.origins import derived
from classic_cars.contracts.vocabulary import Long, Reconciliation, TableModel, Text, clean, facts, is_clean, row_rule

COUNTS = ("orders", "units")
TOTALS = {
    "units": lambda answer: answer.units.sum(),
    "bookedAmount": lambda answer: answer.bookedAmount.sum(),
    "netSales": lambda answer: answer.netSales.sum(),
    "grossProfit": lambda answer: answer.grossProfit.sum(),
}


def _agrees(by: str, expected: Callable[..., ibis.Table]) -> Reconciliation:
    names = [metric.name for metric in METRICS]
    return Reconciliation(
        f"by {by}, from source",
        by=(by,),
        actual=lambda answer: answer.select(by, *names),
        expected=expected,
        assumes=proofs.ASSUMES,
    )


def _answer(name: str, description: str, by: str, column: pa.Column, expected: Callable, **more: Any) -> Contract:
    """The contract of an answer table: one column that says of what, and every metric of it."""
    measures = {
        metric.name: pa.Column(
            dt.Int64() if metric.name in COUNTS else dt.Decimal(18, 2),
            checks=None if metric.name == "grossProfit" else pa.Check.ge(0),
            description=metric.description,
            metadata=derived(*metric.origins),
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
    proofs.by_product_line,
)

SALES_BY_COUNTRY = _answer(
    "sales_by_country",
    "How are sales distributed across countries? One row per customers' country with sales.",
    "country",
    pa.Column(dt.String(), checks=pa.Check(is_clean, name="clean_text"), description="Country of the customer"),
    proofs.by_country,
)

SALES_BY_MONTH = _answer(
    "sales_by_month",
    "How do sales develop? One row per month of the order's date with sales.",
    "orderMonth",
    pa.Column(
        dt.Date(),
        description="First day of the month of the order's date: the row's partition",
        metadata=derived("warehouse/fact_orders.orderDate"),
    ),
    proofs.by_month,
    partitioned_by="orderMonth",
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
