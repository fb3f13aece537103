"""Answers that are no sums of the measures of the fact, recounted from the star schema in SQL, row by row.

Each question counts the rows of an answer that are not what the tables it was made from say: an answer of another run.
"""

from __future__ import annotations

from dataclasses import dataclass

from classic_cars.contracts.metrics import CANCELLED
from classic_cars.contracts.stock import MONTHS_COUNTED

FACT = "warehouse/fact_orders"
SOLD = f"warehouse.fact_orders WHERE status <> '{CANCELLED}'"


@dataclass(frozen=True)
class Recounted:
    """``rows``: what a row of the answer is. ``differing``: SQL of one number, the rows that differ from ``tables``."""

    address: str
    tables: tuple[str, ...]
    rows: str
    differing: str


RATINGS = Recounted(
    "analytics/product_ratings",
    ("warehouse/fact_ratings", "warehouse/dim_products"),
    "product",
    """
SELECT count(*) FROM analytics.product_ratings AS r
FULL JOIN warehouse.dim_products AS p ON p.productCode = r.productCode
LEFT JOIN
    (SELECT productCode, count(*) AS ratings, avg(productRating) AS average FROM warehouse.fact_ratings GROUP BY 1) AS f
ON f.productCode = p.productCode
WHERE (r.productCode, r.productName, r.productLine, r.ratings) IS DISTINCT FROM
    (p.productCode, p.productName, p.productLine, coalesce(f.ratings, 0))
    OR abs(f.average - r.averageRating) > 0.005001
""",
)

#: An order of two products of a line is one order of the line: no sum over products knows.
LINE_ORDERS = Recounted(
    "analytics/sales_by_product_line",
    (FACT, "warehouse/dim_products"),
    "product line",
    """
SELECT count(*) FROM analytics.sales_by_product_line AS l
FULL JOIN (
    SELECT p.productLine, count(DISTINCT f.orderNumber) AS orders
    FROM warehouse.fact_orders AS f LEFT JOIN warehouse.dim_products AS p ON p.productCode = f.productCode GROUP BY 1
) AS f ON f.productLine IS NOT DISTINCT FROM l.productLine
WHERE coalesce(l.orders, 0) <> coalesce(f.orders, 0)
""",
)

BALANCES = Recounted(
    "analytics/customer_balances",
    (FACT, "warehouse/fact_payments", "warehouse/dim_customers"),
    "customer",
    f"""
SELECT count(*) FROM analytics.customer_balances AS b
FULL JOIN warehouse.dim_customers AS c ON c.customerNumber = b.customerNumber
LEFT JOIN (SELECT customerNumber, sum(orderAmount) AS net FROM {SOLD} GROUP BY 1) AS o
    ON o.customerNumber = c.customerNumber
LEFT JOIN (SELECT customerNumber, sum(amount) AS paid FROM warehouse.fact_payments GROUP BY 1) AS p
    ON p.customerNumber = c.customerNumber
WHERE (b.customerNumber, b.netSales, b.payments, b.creditLimit)
    IS DISTINCT FROM (c.customerNumber, coalesce(o.net, 0), coalesce(p.paid, 0), c.creditLimit)
""",
)

COHORTS = Recounted(
    "analytics/customer_cohorts",
    (FACT,),
    "row",
    f"""
WITH bought AS (
    SELECT customerNumber, date_trunc('quarter', orderDate)::DATE AS quarter,
        count(DISTINCT orderNumber) AS orders, sum(orderAmount) AS net
    FROM {SOLD} AND customerNumber <> -1 GROUP BY ALL
),
counted AS (
    SELECT cohort, quarter, count(*) AS customers, sum(orders) AS orders, sum(net) AS net
    FROM (SELECT *, min(quarter) OVER (PARTITION BY customerNumber) AS cohort FROM bought) GROUP BY ALL
)
SELECT count(*) FROM analytics.customer_cohorts AS c
FULL JOIN counted AS f ON f.cohort = c.cohort AND f.quarter = c.quarter
WHERE (coalesce(c.customers, 0), coalesce(c.soldOrders, 0), coalesce(c.netSales, 0))
    IS DISTINCT FROM (coalesce(f.customers, 0), coalesce(f.orders, 0), coalesce(f.net, 0))
""",
)

COVER = Recounted(
    "analytics/stock_cover",
    (FACT, "warehouse/dim_products"),
    "product",
    f"""
WITH span AS (
    SELECT max(orderDate) AS day,
        least(coalesce(datediff('month', min(orderDate), max(orderDate)), 0), {MONTHS_COUNTED}) AS months
    FROM warehouse.fact_orders
),
sold AS (
    SELECT productCode, max(orderDate) AS last, sum(quantityOrdered) FILTER (
        datediff('month', orderDate, (SELECT day FROM span)) BETWEEN 1 AND {MONTHS_COUNTED}) AS units
    FROM {SOLD} GROUP BY 1
)
SELECT count(*) FROM analytics.stock_cover AS c
FULL JOIN warehouse.dim_products AS p ON p.productCode = c.productCode
LEFT JOIN sold AS s ON s.productCode = p.productCode
CROSS JOIN span
WHERE (c.productCode, c.productName, c.productLine, c.latestOrder, c.monthsCounted, c.unitsSold, c.lastSold)
    IS DISTINCT FROM
    (p.productCode, p.productName, p.productLine, span.day, span.months, coalesce(s.units, 0), s.last)
""",
)

RECOUNTED = (LINE_ORDERS, RATINGS, BALANCES, COHORTS, COVER)
