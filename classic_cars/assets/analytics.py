"""``analytics/*``: the small answer tables that dashboards read, and the partial aggregates that they are summed from.

Numbers about orders are the metrics of ``contracts.metrics``, which also says over what each may be summed.
"""

from __future__ import annotations

import ibis

from classic_cars.contracts import analytics
from classic_cars.contracts.metrics import (
    CUSTOMER,
    METRICS,
    MONTH,
    PRODUCT,
    aggregate,
    not_additive,
    partials,
    summed,
)
from classic_cars.tables.table import table


@table(analytics.MONTHLY_SALES_BY_CUSTOMER)
def monthly_sales_by_customer(fact_orders: ibis.Table) -> ibis.Table:
    return partials(fact_orders, CUSTOMER)


@table(analytics.MONTHLY_SALES_BY_PRODUCT)
def monthly_sales_by_product(fact_orders: ibis.Table) -> ibis.Table:
    return partials(fact_orders, PRODUCT)


@table(analytics.SALES_BY_PRODUCT_LINE)
def sales_by_product_line(
    monthly_sales_by_product: ibis.Table, fact_orders: ibis.Table, dim_products: ibis.Table
) -> ibis.Table:
    # Names are looked up when summing: a product that changes its line takes its past along, at no cost.
    names = dim_products.select("productCode", "productLine")
    sums = summed(monthly_sales_by_product.left_join(names, "productCode"), by="productLine", over=PRODUCT)
    # An order of two products of a line is one order of the line, which no sum over products knows.
    lines = fact_orders.left_join(names, "productCode")
    counted = aggregate(lines, "productLine", metrics=not_additive(PRODUCT))
    return sums.left_join(counted, "productLine").select("productLine", *[each.name for each in METRICS])


@table(analytics.SALES_BY_COUNTRY)
def sales_by_country(
    monthly_sales_by_customer: ibis.Table, dim_customers: ibis.Table, dim_locations: ibis.Table
) -> ibis.Table:
    # Through the customer, not the fact's own locationKey: that is the place as it was when the month was
    # last materialized, and a customer who moved since would be in two countries.
    countries = dim_locations.select("locationKey", "country")
    homes = dim_customers.select("customerNumber", "locationKey").left_join(countries, "locationKey")
    sales = monthly_sales_by_customer.left_join(homes.select("customerNumber", "country"), "customerNumber")
    return summed(sales, by="country", over=CUSTOMER)


@table(analytics.SALES_BY_MONTH)
def sales_by_month(monthly_sales_by_customer: ibis.Table) -> ibis.Table:
    return summed(monthly_sales_by_customer, by=MONTH, over=CUSTOMER)


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
