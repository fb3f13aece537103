"""``analytics/*``: the small answer tables that dashboards read, and the partial aggregates that they are summed from.

Numbers about orders are the metrics of ``contracts.metrics``, which also says over what each may be summed.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from classic_cars.contracts import analytics, customers, stock
from classic_cars.contracts.measures import divided
from classic_cars.contracts.metrics import (
    CUSTOMER,
    METRICS,
    MONTH,
    PRODUCT,
    amount,
    not_cancelled,
    partials,
    summed,
)
from classic_cars.contracts.origins import UNKNOWN_NUMBER
from classic_cars.tables.table import table

#: Bits of a number that are used, its sign apart: product lines that one number tells of.
BITS = 62


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
    counted = orders_of_lines(fact_orders, names)
    return sums.left_join(counted, "productLine").select("productLine", *[each.name for each in METRICS])


def orders_of_lines(fact_orders: ibis.Table, names: ibis.Table) -> ibis.Table:
    """Orders of each product line. The lines of an order are one number, a bit each: a set takes a third of the time
    that telling pairs of order and line apart does.
    """
    lines = names.select("productLine").distinct()
    number = ibis.row_number().over(order_by=lines.productLine).cast("int64")
    lines = lines.mutate(word=number // BITS, bit=ibis.literal(1, "int64") << (number % BITS))
    coded = names.inner_join(lines, "productLine").select("productCode", "word", "bit")
    ordered = fact_orders.inner_join(coded, "productCode")
    sets = ordered.group_by("orderNumber", "word").aggregate(bits=_bit_or(ordered.bit))
    alike = sets.group_by("word", "bits").aggregate(orders=sets.orderNumber.count())
    found = alike.inner_join(lines, [alike.word == lines.word, (alike.bits & lines.bit) != 0])
    return found.group_by("productLine").aggregate(orders=found.orders.sum())


# Of both engines; Ibis knows DuckDB's alone.
@ibis.udf.agg.builtin(name="bit_or")
def _bit_or(bits: int) -> int:  # type: ignore[empty-body]
    ...


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


@table(customers.CustomerCohorts)
def customer_cohorts(monthly_sales_by_customer: ibis.Table, dim_dates: ibis.Table) -> ibis.Table:
    sold = monthly_sales_by_customer.filter(
        monthly_sales_by_customer.soldOrders > 0, monthly_sales_by_customer.customerNumber != UNKNOWN_NUMBER
    )
    bought = sold.group_by("customerNumber", quarter=sold.orderMonth.truncate("Q")).aggregate(
        soldOrders=sold.soldOrders.sum(), netSales=sold.netSales.sum()
    )
    first = bought.group_by("customerNumber").aggregate(cohort=bought.quarter.min())
    sizes = first.group_by("cohort").aggregate(cohortCustomers=first.customerNumber.count())
    since = bought.inner_join(first, "customerNumber")
    since = since.group_by("cohort", "quarter").aggregate(
        customers=since.customerNumber.count(), soldOrders=since.soldOrders.sum(), netSales=since.netSales.sum()
    )
    # Every quarter of the calendar has a row, also one in which nobody of the cohort bought.
    days = dim_dates.filter(dim_dates.date.truncate("M") <= sold.orderMonth.max().as_scalar())
    quarters = days.select(quarter=days.date.truncate("Q")).distinct()
    grid = sizes.inner_join(quarters, quarters.quarter >= sizes.cohort)
    rows = grid.left_join(since, ["cohort", "quarter"])
    bought_then = rows.customers.fill_null(0)
    return rows.select(
        "cohort",
        "quarter",
        quartersSince=(customers.quarter_number(rows.quarter) - customers.quarter_number(rows.cohort)).cast("int64"),
        cohortCustomers="cohortCustomers",
        customers=bought_then,
        retention=divided(bought_then, rows.cohortCustomers, 4),
        soldOrders=rows.soldOrders.fill_null(0),
        netSales=amount(rows.netSales),
    )


@table(customers.CustomerBalances)
def customer_balances(
    monthly_sales_by_customer: ibis.Table, fact_payments: ibis.Table, dim_customers: ibis.Table
) -> ibis.Table:
    sold = summed(monthly_sales_by_customer, by=CUSTOMER, over=CUSTOMER).select(CUSTOMER, "netSales")
    paid = fact_payments.group_by(CUSTOMER).aggregate(payments=fact_payments.amount.sum())
    everybody = dim_customers.select(CUSTOMER, "creditLimit").left_join(sold, CUSTOMER).drop(f"{CUSTOMER}_right")
    rows = everybody.left_join(paid, CUSTOMER)
    rows = rows.select(CUSTOMER, "creditLimit", netSales=amount(rows.netSales), payments=amount(rows.payments))
    rows = rows.mutate(balance=(rows.netSales - rows.payments).cast("decimal(18, 2)"))
    owed = ibis.greatest(rows.balance, 0).cast("decimal(18, 2)")
    return rows.select(
        CUSTOMER,
        "netSales",
        "payments",
        "balance",
        "creditLimit",
        creditUsed=divided(owed, rows.creditLimit, 4),
        isOverLimit=rows.balance > rows.creditLimit,
    )


@table(stock.StockCover)
def stock_cover(
    fact_orders: ibis.Table, dim_products: ibis.Table, products: ibis.Table, stock_counts: ibis.Table
) -> ibis.Table:
    # An order that is dated ahead by mistake was not shipped: it must not take the months that count along.
    day, is_shipped = fact_orders.orderDate, fact_orders.shippedDate.notnull()
    latest = ibis.coalesce(day.max(where=is_shipped), day.max())
    span = fact_orders.aggregate(latestOrder=latest, since=day.min())
    # Engines differ in the least of NULL and a number: where there are no orders, no month counts.
    whole = (_month_number(span.latestOrder) - _month_number(span.since)).fill_null(0)
    span = span.select("latestOrder", monthsCounted=ibis.least(whole, stock.MONTHS_COUNTED).cast("int64"))
    sold = _units_sold(fact_orders, span)
    rows = dim_products.select(PRODUCT, "productName", "productLine")
    for each in (products.select(PRODUCT, unitsInStock="quantityInStock"), _counted_last(stock_counts), sold):
        rows = rows.left_join(each, PRODUCT).drop(f"{PRODUCT}_right")
    rows = rows.cross_join(span)
    rows = rows.mutate(unitsAtPartners=rows.unitsAtPartners.fill_null(0), unitsSold=rows.unitsSold.fill_null(0))
    rows = rows.mutate(unitsOnHand=(rows.unitsInStock + rows.unitsAtPartners).cast("int64"))
    lasting = ibis.ifelse(rows.unitsOnHand < 0, 0, rows.unitsOnHand)
    cover = divided(lasting * rows.monthsCounted, rows.unitsSold, 1)
    return rows.mutate(unitsPerMonth=divided(rows.unitsSold, rows.monthsCounted, 2), monthsOfCover=cover).select(
        *stock.StockCover.to_schema().columns
    )


def _units_sold(fact_orders: ibis.Table, span: ibis.Table) -> ibis.Table:
    """By product: units of the months before that of ``latestOrder``, and the day of the product's own latest order."""
    sold = fact_orders.filter(not_cancelled(fact_orders)).cross_join(span)
    months_ago = _month_number(sold.latestOrder) - _month_number(sold.orderDate)
    return sold.group_by(PRODUCT).aggregate(
        unitsSold=sold.quantityOrdered.sum(where=months_ago.between(1, stock.MONTHS_COUNTED)).cast("int64"),
        lastSold=sold.orderDate.max(),
    )


def _counted_last(stock_counts: ibis.Table) -> ibis.Table:
    """By product: what each warehouse counted last."""
    days = stock_counts.group_by(PRODUCT, "warehouseCode").aggregate(countDate=stock_counts.countDate.max())
    latest = stock_counts.semi_join(days, [PRODUCT, "warehouseCode", "countDate"])
    return latest.group_by(PRODUCT).aggregate(
        unitsAtPartners=latest.quantityCounted.sum().cast("int64"), countDate=latest.countDate.max()
    )


def _month_number(day: ir.DateValue) -> ir.IntegerValue:
    """Months since the year 0: consecutive ones differ by 1."""
    return day.year() * 12 + day.month() - 1
