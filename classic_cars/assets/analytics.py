"""``analytics/*``: the small answer tables that dashboards read. Numbers about orders are the metrics."""

from __future__ import annotations

import ibis

from classic_cars.contracts import analytics
from classic_cars.contracts.metrics import aggregate
from classic_cars.tables.table import table


@table(analytics.SALES_BY_PRODUCT_LINE)
def sales_by_product_line(fact_orders: ibis.Table, dim_products: ibis.Table) -> ibis.Table:
    names = dim_products.select("productCode", "productLine")
    return aggregate(fact_orders.left_join(names, "productCode"), by="productLine")


@table(analytics.SALES_BY_COUNTRY)
def sales_by_country(fact_orders: ibis.Table, dim_customers: ibis.Table, dim_locations: ibis.Table) -> ibis.Table:
    # Through the customer, not the fact's own locationKey: that is the place as it was when the month was
    # last materialized, and a customer who moved since would be in two countries.
    countries = dim_locations.select("locationKey", "country")
    homes = dim_customers.select("customerNumber", "locationKey").left_join(countries, "locationKey")
    lines = fact_orders.left_join(homes.select("customerNumber", "country"), "customerNumber")
    return aggregate(lines, by="country")


@table(analytics.SALES_BY_MONTH)
def sales_by_month(fact_orders: ibis.Table) -> ibis.Table:
    return aggregate(fact_orders.mutate(orderMonth=fact_orders.orderDate.truncate("M")), by="orderMonth")


@table(analytics.ProductRatings)
def product_ratings(fact_ratings: ibis.Table, dim_products: ibis.Table) -> ibis.Table:
    given = fact_ratings.group_by("productCode").aggregate(
        ratings=fact_ratings.count(), stars=fact_ratings.productRating.sum()
    )
    products = dim_products.select("productCode", "productName", "productLine").left_join(given, "productCode")
    # In whole hundredths, so that every engine rounds alike.
    hundredths = (products.stars * 200 + products.ratings) // (products.ratings * 2)
    average = (hundredths.cast("decimal(7, 2)") * ibis.literal("0.01").cast("decimal(7, 2)")).cast("decimal(3, 2)")
    return products.select(
        "productCode",
        "productName",
        "productLine",
        ratings=products.ratings.fill_null(0).cast("int64"),
        averageRating=average,
    )
