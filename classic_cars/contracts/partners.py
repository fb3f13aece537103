"""Contracts of what partners drop, cleaned: the tables of ``staging/*`` whose rows come from files.

As in :mod:`classic_cars.contracts.staging`, bad rows are quarantined and counted. Of rows that share a key, the latest
counts.
"""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

import ibis
import pandera.ibis as pa

from classic_cars.contracts.landed import FileRow
from classic_cars.contracts.staging import day
from classic_cars.contracts.vocabulary import (
    Date,
    Int,
    Latest,
    Reference,
    Text,
    TimestampUTC,
    clean,
    facts,
    row_rule,
)
from classic_cars.months import FIRST_DAY, LAST_DAY

BIGGEST_STOCK = 10_000_000

#: Partners send what they like; when nearly all of it is bad, something is wrong with the reading.
LANDED_MAX_SHARE = 0.95


def _moment(description: str) -> Any:
    first, last = datetime.combine(FIRST_DAY, time.min), datetime.combine(LAST_DAY, time.max)
    return pa.Field(in_range={"min_value": first, "max_value": last}, description=description)


class Ratings(FileRow):
    """Ratings of products by customers, cleaned; one row per customer and product: the latest.

    Earlier ratings of the same product by the same customer are superseded: they stay in source/ratings.
    """

    customerNumber: Int = pa.Field(description="Customer who rates")
    productCode: Text = pa.Field(description="Product that is rated")
    productRating: Int = pa.Field(in_range={"min_value": 1, "max_value": 5}, description="Stars: 1 to 5")
    ratedAt: TimestampUTC = _moment("When the customer gave the rating, in UTC")
    ingestedAt: TimestampUTC = _moment("When the partner received it, in UTC")

    texts = clean("productCode")

    # Clocks differ a little; a rating of a wrong year would be the latest for ever.
    @row_rule("ratedAt is not more than a day after ingestedAt")
    def rated_before_received(cls, ratings: ibis.Table) -> ibis.expr.types.BooleanValue:
        return ratings.ratedAt <= ratings.ingestedAt + ibis.interval(days=1)

    class Config:
        name = "staging/ratings"
        unique = ["customerNumber", "productCode"]
        metadata = facts(
            quarantines="source/ratings",
            quarantine_max_share=LANDED_MAX_SHARE,
            latest=Latest(by=("ratedAt", "ingestedAt", "landedAt"), row=("fileHash", "lineNumber")),
            totals={"stars": lambda ratings: ratings.productRating.sum()},
            references=[
                Reference("customerNumber", "staging/customers", "customerNumber"),
                Reference("productCode", "staging/products", "productCode"),
            ],
        )


class StockCounts(FileRow):
    """Stock that partners counted, cleaned; one row per product, warehouse and count date: the latest count.

    Earlier counts of the same day are superseded by a recount: they stay in source/stock_counts.
    """

    countDate: Date = day("Day whose stock was counted")
    warehouseCode: Text = pa.Field(description="Partner's warehouse")
    productCode: Text = pa.Field(description="Product that was counted")
    quantityCounted: Int = pa.Field(
        in_range={"min_value": 0, "max_value": BIGGEST_STOCK}, description="Units on the shelf"
    )
    countedAt: TimestampUTC = _moment("When they were counted, in UTC; a recount is later")

    texts = clean("warehouseCode", "productCode")

    @row_rule("countedAt is not before countDate")
    def counted_on_the_day(cls, counts: ibis.Table) -> ibis.expr.types.BooleanValue:
        # The day begins half a day before UTC's in the east.
        return counts.countedAt >= counts.countDate.cast("timestamp") - ibis.interval(hours=14)

    # Of a wrong year it would be the latest for ever.
    @row_rule("countedAt is not more than a day after landedAt")
    def counted_before_landed(cls, counts: ibis.Table) -> ibis.expr.types.BooleanValue:
        return counts.countedAt <= counts.landedAt + ibis.interval(days=1)

    class Config:
        name = "staging/stock_counts"
        unique = ["productCode", "warehouseCode", "countDate"]
        metadata = facts(
            quarantines="source/stock_counts",
            quarantine_max_share=LANDED_MAX_SHARE,
            latest=Latest(by=("countedAt", "landedAt"), row=("fileHash", "lineNumber")),
            totals={"units": lambda counts: counts.quantityCounted.sum()},
            references=[Reference("productCode", "staging/products", "productCode")],
        )
