"""Answers that are no sums of the measures of the fact, recounted from the star schema in SQL, row by row.

Each question counts the rows of an answer that are not what the tables it was made from say: an answer of another run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from classic_cars.contracts.metrics import CANCELLED
from classic_cars.contracts.metrics import FACT_ORDERS as FACT
from classic_cars.contracts.stock import MONTHS_COUNTED
from classic_cars.serving.groups import BY_CUSTOMER, Partials, sql_name
from classic_cars.serving.since import Since, rows_of
from classic_cars.stores.base import Reading
from classic_cars.stores.pins import WHOLE

SOLD = f"warehouse.fact_orders WHERE status <> '{CANCELLED}'"


@dataclass(frozen=True)
class Recounted:
    """``rows``: what a row of the answer is. ``differing``: SQL of one number, the rows that differ from ``tables``.

    It reads ``{sales}`` in place of the order lines: their sums by month and customer.
    """

    address: str
    tables: tuple[str, ...]
    rows: str
    differing: str

    def lost(self, store: Reading, since: Since, partials: Partials) -> int:
        """How many rows differ; none when no table that is read may have changed."""
        sales = partials.read(BY_CUSTOMER.address) if "{sales}" in self.differing else FACT
        if not since.parts(self.address, *(sales if each == FACT else each for each in self.tables)):
            return 0
        return _number(store, self.differing.replace("{sales}", partials.rows(BY_CUSTOMER.address)))


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
    OR abs(f.average - r.averageRating) > 0.005001 OR (f.average IS NULL) <> (r.averageRating IS NULL)
""",
)

BALANCES = Recounted(
    "analytics/customer_balances",
    (FACT, "warehouse/fact_payments", "warehouse/dim_customers"),
    "customer",
    """
SELECT count(*) FROM analytics.customer_balances AS b
FULL JOIN warehouse.dim_customers AS c ON c.customerNumber = b.customerNumber
LEFT JOIN (SELECT customerNumber, sum(netSales) AS net FROM {sales} GROUP BY 1) AS o
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
    """
WITH sold AS (FROM {sales} WHERE soldOrders > 0 AND customerNumber <> -1),
first AS (SELECT customerNumber, date_trunc('quarter', min(orderMonth))::DATE AS cohort FROM sold GROUP BY 1),
counted AS (
    SELECT cohort, date_trunc('quarter', orderMonth)::DATE AS quarter, count(DISTINCT customerNumber) AS customers,
        sum(soldOrders) AS orders, sum(netSales) AS net
    FROM sold JOIN first USING (customerNumber) GROUP BY ALL
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
WITH edges AS (
    SELECT min(orderDate) AS first, coalesce(max(CASE WHEN shippedDate IS NOT NULL THEN orderDate END), max(orderDate))
        AS day
    FROM warehouse.fact_orders
),
span AS (
    SELECT day, date_trunc('month', day) AS until,
        least(coalesce(datediff('month', first, day), 0), {MONTHS_COUNTED}) AS months
    FROM edges
),
sold AS (
    SELECT productCode, max(orderDate) AS last, sum(quantityOrdered) FILTER (
        orderDate >= (SELECT until - INTERVAL {MONTHS_COUNTED} MONTH FROM span) AND orderDate < (SELECT until FROM span)
    ) AS units
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

RECOUNTED = (RATINGS, BALANCES, COHORTS, COVER)


# Numbers of orders ---------------------------------------------------------------------------------------

LINES, PRODUCTS = "analytics/sales_by_product_line", "warehouse/dim_products"


def orders_split(store: Reading, since: Since) -> int:
    """Orders with lines of several months, each of which counts them: what is summed of months counts them twice."""
    if not (months := since.parts(FACT)):
        return 0
    fact, edges = sql_name(FACT), "date_trunc('month', min(orderDate)) <> date_trunc('month', max(orderDate))"
    changed = f"SELECT orderNumber FROM {fact} WHERE {rows_of(FACT, months)}"
    where = "" if WHOLE in months else f"WHERE orderNumber IN ({changed})"
    return _number(store, f"SELECT count(*) FROM (FROM {fact} SELECT 1 {where} GROUP BY orderNumber HAVING {edges})")


def lines_miscounted(store: Reading, since: Since) -> int:
    """Product lines with another number of orders than the order lines say.

    An order of two products of a line is one order of the line: no sum over products knows. But each order is of one
    month: as long as products stay in their lines, months that did not change have as many orders of a line as they had
    in the release before, and that is what its answer has beside those of the months that changed.
    """
    if not since.parts(LINES, PRODUCTS, FACT):
        return 0
    months = since.parts(FACT)
    if since.before is None or WHOLE in months or since.parts(PRODUCTS):
        now, then = _orders_beside(store, {WHOLE}), {}
    else:
        now, then = _orders_beside(store, months), _orders_beside(since.before, months)
    return sum(now.get(line, 0) != then.get(line, 0) for line in {*now, *then})


def _orders_beside(tables: Reading, months: Iterable[str]) -> dict[str | None, int]:
    """By product line: orders of the answer, without those of these months by the order lines."""
    question = f"""
SELECT coalesce(a.productLine, f.productLine) AS line, coalesce(a.orders, 0) - coalesce(f.orders, 0) AS orders
FROM {sql_name(LINES)} AS a
FULL JOIN (
    SELECT p.productLine, count(DISTINCT f.orderNumber) AS orders
    FROM {sql_name(FACT)} AS f LEFT JOIN {sql_name(PRODUCTS)} AS p ON p.productCode = f.productCode
    WHERE {rows_of(FACT, months)} GROUP BY 1
) AS f ON f.productLine IS NOT DISTINCT FROM a.productLine
"""
    return {row["line"]: row["orders"] for row in tables.query(question).read_all().to_pylist()}


def _number(store: Reading, question: str) -> int:
    (row,) = store.query(question).read_all().to_pylist()
    (number,) = row.values()
    return int(number)
