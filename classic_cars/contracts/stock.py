"""Contract of the answer about stock: how long what is on hand lasts at the pace of the last months.

What is on hand is what the order system held when it was last read, and what partners counted last. The pace is that
of the orders themselves: no clock is asked, so that the same data has the same answer on any day. It ends with the
latest order that was shipped, because one of which the date lies ahead by mistake cannot have been.
"""

from __future__ import annotations

from typing import Annotated

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pandera.ibis as pa

from classic_cars.contracts.metrics import CANCELLED
from classic_cars.contracts.origins import copied, derived, grain
from classic_cars.contracts.proofs import day_number
from classic_cars.contracts.vocabulary import (
    Date,
    Int,
    Long,
    Reconciliation,
    Reference,
    TableModel,
    Text,
    clean,
    facts,
    row_rule,
)

#: Whole months before that of the latest order that was shipped: they make the pace. A year leaves no season out.
MONTHS_COUNTED = 12

Hundredths = Annotated[dt.Decimal, 18, 2, True]
Tenths = Annotated[dt.Decimal, 18, 1, True]

DAY = "warehouse/fact_orders.orderDate"
WINDOW = (DAY, "warehouse/fact_orders.shippedDate")
QUANTITY = "warehouse/fact_orders.quantityOrdered"
IN_STOCK = "staging/products.quantityInStock"
COUNTED, COUNTED_ON = "staging/stock_counts.quantityCounted", "staging/stock_counts.countDate"


# The other way to the numbers ----------------------------------------------------------------------------


def _of_products(stock_cover: ibis.Table) -> ibis.Table:
    """Every number per product, in whole units, hundredths, tenths and days; what is missing counts as 0."""
    return stock_cover.select(
        "productCode",
        "monthsCounted",
        "unitsAtPartners",
        "unitsOnHand",
        "unitsSold",
        latestOrder=day_number(stock_cover.latestOrder),
        countDate=day_number(stock_cover.countDate),
        lastSold=day_number(stock_cover.lastSold),
        hundredths=stock_cover.unitsPerMonth * 100,
        tenths=stock_cover.monthsOfCover * 10,
    )


def _of_orders_and_counts(
    dim_products: ibis.Table,
    staging_products: ibis.Table,
    stock_counts: ibis.Table,
    orders: ibis.Table,
    orderdetails: ibis.Table,
) -> ibis.Table:
    """The same, from order lines by the month that they are kept under, and from counts that no later one follows."""
    known = orders.select("orderNumber", "orderDate", "shippedDate", "status")
    lines = orderdetails.inner_join(known, "orderNumber")
    out = lines.filter(lines.shippedDate.notnull())
    out = out.aggregate(day=out.orderDate.max(), month=out.orderMonth.max())
    edges = lines.aggregate(day_=lines.orderDate.max(), month_=lines.orderMonth.max(), first=lines.orderMonth.min())
    edges = edges.cross_join(out).select(
        "first", latestOrder=ibis.coalesce(out.day, edges.day_), last=ibis.coalesce(out.month, edges.month_)
    )
    whole = (edges["last"].year() - edges.first.year()) * 12 + edges["last"].month() - edges.first.month()
    edges = edges.mutate(months=ibis.least(whole.fill_null(0), MONTHS_COUNTED))
    dated = lines.filter((lines.status != CANCELLED).fill_null(True)).cross_join(edges)
    since = dated["last"] - ibis.interval(months=MONTHS_COUNTED)
    counts = (dated.orderMonth >= since) & (dated.orderMonth < dated["last"])
    sold = dated.group_by("productCode").aggregate(
        sold=dated.quantityOrdered.sum(where=counts), lastSold=day_number(dated.orderDate).max()
    )
    everything = dim_products.select("productCode").left_join(_latest(stock_counts), "productCode")
    everything = everything.drop("productCode_right").left_join(sold, "productCode").drop("productCode_right")
    stock = staging_products.select("productCode", stock="quantityInStock")
    rows = everything.left_join(stock, "productCode").cross_join(edges)
    partners, units = rows.counted.fill_null(0), rows.sold.fill_null(0)
    on_hand = rows.stock + partners
    return rows.select(
        "productCode",
        "countDate",
        "lastSold",
        monthsCounted="months",
        unitsAtPartners=partners,
        unitsOnHand=on_hand,
        unitsSold=units,
        latestOrder=day_number(rows.latestOrder),
        hundredths=(units * 200 + rows.months) // (rows.months * 2).nullif(0),
        tenths=(ibis.greatest(on_hand, 0) * rows.months * 20 + units) // (units * 2).nullif(0),
    )


def _latest(stock_counts: ibis.Table) -> ibis.Table:
    """Units of each product at the latest count of each warehouse, and the day of the latest of them."""
    place = ibis.window(group_by=["productCode", "warehouseCode"], order_by=ibis.desc("countDate"))
    ranked = stock_counts.mutate(place=ibis.row_number().over(place))
    latest = ranked.filter(ranked.place == 0)
    return latest.group_by("productCode").aggregate(
        counted=latest.quantityCounted.sum(), countDate=day_number(latest.countDate).max()
    )


# The table -----------------------------------------------------------------------------------------------


class StockCover(TableModel):
    """How long does the stock last? One row per product, sold or not.

    At the pace of the 12 whole months before that of latestOrder, or of as many as there are.
    """

    productCode: Text = pa.Field(description="Product's code")
    productName: Text = pa.Field(description="Product's name")
    productLine: Text = pa.Field(description="Product line")
    latestOrder: Date = pa.Field(
        nullable=True,
        description="Day of the latest order that was shipped, of any product, or of the latest order where none was; "
        "missing: there is none",
        metadata=derived(*WINDOW),
    )
    monthsCounted: Long = pa.Field(
        in_range={"min_value": 0, "max_value": MONTHS_COUNTED},
        description="Whole months whose sales count: up to 12 before that of latestOrder, from that of the first order",
        metadata=derived(*WINDOW),
    )
    unitsInStock: Int = pa.Field(
        nullable=True,
        description="Units in stock by the order system, when it was last read; negative when more is promised than "
        "there is, missing: not known",
        metadata=copied(IN_STOCK),
    )
    unitsAtPartners: Long = pa.Field(
        ge=0,
        description="Units by the latest count of each partner's warehouse; 0: never counted",
        metadata=derived(COUNTED),
    )
    countDate: Date = pa.Field(
        nullable=True, description="Day of the latest of these counts; missing: none", metadata=derived(COUNTED_ON)
    )
    unitsOnHand: Long = pa.Field(
        nullable=True,
        description="Units in stock and at partners, which the order system does not count; missing where the stock is",
        metadata=derived(IN_STOCK, COUNTED),
    )
    unitsSold: Long = pa.Field(
        ge=0,
        description="Units of orders of the months counted that were not cancelled",
        metadata=derived(QUANTITY, *WINDOW),
    )
    unitsPerMonth: Hundredths = pa.Field(
        ge=0,
        nullable=True,
        description="Units sold per month counted, half of 0.01 rounded up; missing: no month is counted",
        metadata=derived(QUANTITY, *WINDOW),
    )
    monthsOfCover: Tenths = pa.Field(
        ge=0,
        nullable=True,
        description="Months that the units on hand last at that pace, half of 0.1 rounded up; 0 when there are none, "
        "missing: nothing was sold in these months, or the stock is not known",
        metadata=derived(IN_STOCK, COUNTED, QUANTITY, *WINDOW),
    )
    lastSold: Date = pa.Field(
        nullable=True,
        description="Day of the product's latest order that was not cancelled; missing: never sold",
        metadata=derived(DAY),
    )

    texts = clean("productCode", "productName", "productLine")

    @row_rule("stock that is known lasts for some time, if and only if units were sold")
    def cover_of_something(cls, cover: ibis.Table) -> ir.BooleanValue:
        return cover.monthsOfCover.notnull() == ((cover.unitsSold > 0) & cover.unitsOnHand.notnull())

    @row_rule("a product of which units were sold has a day on which it was sold last")
    def sold_some_day(cls, cover: ibis.Table) -> ir.BooleanValue:
        return cover.lastSold.notnull() | (cover.unitsSold == 0)

    class Config:
        name = "analytics/stock_cover"
        unique = ["productCode"]
        metadata = facts(
            grain=grain("warehouse/dim_products"),
            totals={"unitsOnHand": lambda cover: cover.unitsOnHand.sum(), "units": lambda cover: cover.unitsSold.sum()},
            references=[Reference("productCode", "warehouse/dim_products", "productCode")],
            reconciliations=[
                Reconciliation(
                    "by product, order by order and count by count",
                    by=("productCode",),
                    actual=_of_products,
                    expected=_of_orders_and_counts,
                    assumes="status 'Cancelled' is no sale; what partners counted is not in the order system's stock",
                )
            ],
        )
