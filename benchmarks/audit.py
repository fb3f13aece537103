"""All checks of ``fact_orders`` beside hand-written queries with the same predicates, on published tables."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

REFERENCES = {
    "productCode": ("dim_products", "productCode"),
    "customerNumber": ("dim_customers", "customerNumber"),
    "locationKey": ("dim_locations", "locationKey"),
    "salesRepEmployeeNumber": ("dim_employees", "employeeNumber"),
    "orderDate": ("dim_dates", "date"),
    "requiredDate": ("dim_dates", "date"),
    "shippedDate": ("dim_dates", "date"),
}
REQUIRED = (
    "orderNumber",
    "orderLineNumber",
    "productCode",
    "customerNumber",
    "locationKey",
    "orderDate",
    "requiredDate",
    "status",
    "quantityOrdered",
    "priceEach",
    "buyPrice",
    "MSRP",
    "orderAmount",
)
CONDITIONS = (
    '"orderLineNumber" < 1',
    "status NOT IN ('Shipped', 'Resolved', 'Cancelled', 'On Hold', 'Disputed', 'In Process')",
    '"quantityOrdered" NOT BETWEEN 1 AND 100000',
    '"priceEach" < 0',
    '"buyPrice" < 0',
    '"MSRP" < 0',
    '"orderAmount" < 0',
    '"orderAmount" <> "quantityOrdered" * "priceEach"',
)


def predicates() -> str:
    """One aggregate query: every rule and every reference of ``fact_orders``, and its totals."""
    broken = [f'"{column}" IS NULL' for column in REQUIRED] + list(CONDITIONS)
    broken += [
        f'"{column}" IS NOT NULL AND "{column}" NOT IN (SELECT "{key}" FROM warehouse.{table})'
        for column, (table, key) in REFERENCES.items()
    ]
    counts = ", ".join(f"count(*) FILTER ({condition})" for condition in broken)
    return f'SELECT count(*), sum("quantityOrdered"), sum("orderAmount"), {counts} FROM warehouse.fact_orders'


def keys_and_totals() -> str:
    """The rest by hand: repeated keys, and rows, units and amount by month, product line and country, both ways."""
    fact = 'count(*) AS n, sum("quantityOrdered") AS u, sum("orderAmount") AS a FROM warehouse.fact_orders'
    amount = 'sum("quantityOrdered" * "priceEach")'
    amount = 'sum("quantityOrdered" * "priceEach")'
    line = f'count(*) AS n, sum("quantityOrdered") AS u, {amount} AS a FROM staging.orderdetails'
    added = "sum(n) AS n, sum(u) AS u, sum(a) AS a"
    sides = (
        (
            f"SELECT date_trunc('month', \"orderDate\") AS g, {fact} GROUP BY g",
            f'SELECT "orderMonth" AS g, {line} GROUP BY g',
        ),
        (
            f'SELECT "productLine" AS g, {added} FROM (SELECT "productCode", {fact} GROUP BY 1) '
            'LEFT JOIN warehouse.dim_products USING ("productCode") GROUP BY g',
            f'SELECT "productLine" AS g, {added} FROM (SELECT "productCode", {line} GROUP BY 1) '
            'LEFT JOIN staging.products USING ("productCode") GROUP BY g',
        ),
        (
            f'SELECT country AS g, {added} FROM (SELECT "locationKey", {fact} GROUP BY 1) '
            'LEFT JOIN warehouse.dim_locations USING ("locationKey") GROUP BY g',
            f'SELECT country AS g, {added} FROM (SELECT "orderNumber", {line} GROUP BY 1) '
            'LEFT JOIN staging.orders USING ("orderNumber") '
            'LEFT JOIN staging.customers USING ("customerNumber") GROUP BY g',
        ),
    )
    differ = ", ".join(
        f"(SELECT count(*) FROM ({ours}) x FULL JOIN ({theirs}) y USING (g) "
        "WHERE (x.n, x.u, x.a) IS DISTINCT FROM (y.n, y.u, y.a))"
        for ours, theirs in sides
    )
    repeated = 'SELECT 1 FROM warehouse.fact_orders GROUP BY "orderNumber", "productCode" HAVING count(*) > 1'
    return f"SELECT (SELECT count(*) FROM ({repeated})), {differ}"


def compare(rounds: int = 3) -> dict[str, Any]:
    """Seconds of the platform's checks and of the hand-written queries: the best of ``rounds``, in turns."""
    from classic_cars.assets import ALL_TABLES
    from classic_cars.settings import load_settings
    from classic_cars.stores import open_store
    from classic_cars.stores.base import Staged
    from classic_cars.tables import materialize
    from classic_cars.tables.table import Catalog

    catalog = Catalog(ALL_TABLES)
    fact = catalog["warehouse/fact_orders"]
    store = open_store(load_settings(), read_only=True)
    step = materialize.Step(catalog, fact, store, run_id="benchmark")
    rows = store.read(fact.contract)

    def ours() -> bool:
        staged = Staged(fact.contract, None, rows=rows, others=None, sql="")
        return materialize._audited(step, staged, {**step.others(), fact.contract.address: rows}).publishable

    def by_hand(query: str) -> bool:
        found = store.backend.con.execute(query).fetchone()
        start = 3 if query == predicates() else 0
        return found is not None and not any(found[start:])

    queries = {"checks": ours, "predicates": lambda: by_hand(predicates()), "rest": lambda: by_hand(keys_and_totals())}
    seconds = {name: min(_timed(each) for _ in range(rounds)) for name, each in queries.items()}
    store.release()
    return seconds


def _timed(work: Callable[[], bool]) -> float:
    started = time.perf_counter()
    if not work():
        raise SystemExit("a check of fact_orders failed")
    return time.perf_counter() - started
