"""The facts in ``warehouse/*``. They meet their dimensions in keys that are proven unique first."""

from __future__ import annotations

import ibis

from classic_cars.assets.dimensions import NO_PLACE, location_key
from classic_cars.contracts import warehouse
from classic_cars.contracts.base import RESCUED
from classic_cars.contracts.origins import UNKNOWN, UNKNOWN_NUMBER
from classic_cars.tables.table import table


@table(warehouse.FactOrders)
def fact_orders(
    orderdetails: ibis.Table, orders: ibis.Table, customers: ibis.Table, products: ibis.Table
) -> ibis.Table:
    sold = orders.select(
        "orderNumber", "customerNumber", "orderDate", "requiredDate", "shippedDate", "status", "comments"
    )
    buyers = customers.select(
        "customerNumber", "postalCode", "salesRepEmployeeNumber", locationKey=location_key(customers)
    )
    prices = products.select("productCode", "buyPrice", "MSRP")
    # Left joins: a missing partner is an inferred member of its dimension, not a row that is quietly gone.
    lines = (
        orderdetails.drop("orderMonth", RESCUED)
        .left_join(sold, "orderNumber")
        .drop("orderNumber_right")
        .left_join(buyers, "customerNumber")
        .drop("customerNumber_right")
        .left_join(prices, "productCode")
        .drop("productCode_right")
    )
    return lines.select(
        "orderNumber",
        "orderLineNumber",
        "productCode",
        lines.customerNumber.fill_null(UNKNOWN_NUMBER).name("customerNumber"),
        "postalCode",
        lines.locationKey.fill_null(NO_PLACE).name("locationKey"),
        "salesRepEmployeeNumber",
        "orderDate",
        "requiredDate",
        "shippedDate",
        lines.status.fill_null(UNKNOWN).name("status"),
        "comments",
        "quantityOrdered",
        "priceEach",
        "buyPrice",
        "MSRP",
        orderAmount=(lines.quantityOrdered * lines.priceEach).cast("decimal(18, 2)"),
    )


@table(warehouse.FactPayments)
def fact_payments(payments: ibis.Table, customers: ibis.Table) -> ibis.Table:
    buyers = customers.select("customerNumber", locationKey=location_key(customers))
    paid = payments.left_join(buyers, "customerNumber")
    return paid.select(
        "customerNumber",
        "checkNumber",
        "paymentDate",
        paid.locationKey.fill_null(NO_PLACE).name("locationKey"),
        "amount",
    )


@table(warehouse.FactRatings)
def fact_ratings(ratings: ibis.Table, customers: ibis.Table) -> ibis.Table:
    raters = customers.select("customerNumber", locationKey=location_key(customers))
    rated = ratings.left_join(raters, "customerNumber")
    return rated.select(
        "customerNumber",
        "productCode",
        rated.locationKey.fill_null(NO_PLACE).name("locationKey"),
        "productRating",
        "ratedAt",
    )
