"""All checks of ``fact_orders`` beside hand-written queries with the same predicates, on published tables."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classic_cars.checks import Audit

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
    "productCode",
    "customerNumber",
    "locationKey",
    "orderDate",
    "status",
    "quantityOrdered",
    "priceEach",
    "orderAmount",
)
CONDITIONS = (
    '"orderLineNumber" < 1',
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


def compare(rounds: int = 3) -> dict[str, Any]:
    """CPU seconds of each kind of check of ``fact_orders`` and of hand-written predicates, and of the proof of columns
    over all tables: the best of ``rounds``, in turns."""
    from classic_cars.assets import ALL_TABLES
    from classic_cars.checks import checks_of
    from classic_cars.checks.columns import Columns
    from classic_cars.settings import load_settings
    from classic_cars.stores import open_store
    from classic_cars.stores.base import Staged
    from classic_cars.tables.step import Step
    from classic_cars.tables.table import Catalog, Table

    catalog = Catalog(ALL_TABLES)
    store = open_store(load_settings(), read_only=True)

    def audit(table: Table) -> Audit:
        step = Step(catalog, table, store, run_id="benchmark")  # what is published reads as in a transaction
        staged = Staged(table.contract, None, rows=store.read(table.contract), others=None, sql="")
        found = step.audit(staged, step.others())
        if table.contract.quarantines:
            found.rejected = store.read(table.contract.quarantine)
        return found

    def kind(name: str) -> Callable[[], bool]:
        check = next(each for each in checks_of(fact.contract, catalog.origins(fact)) if each.name == name)
        return lambda: check.evaluate(audit(fact)).passed

    def columns() -> bool:
        proven = [each for each in catalog if Columns().applies(each.contract, catalog.origins(each))]
        # Superseded ratings are none of the tables that grow with sales.
        return all(Columns().evaluate(audit(each)).passed for each in proven if each.contract.latest is None)

    def by_hand() -> bool:
        found = store.backend.con.execute(predicates()).fetchone()
        return found is not None and not any(found[3:])

    fact = catalog["warehouse/fact_orders"]
    names = [each.name for each in checks_of(fact.contract, catalog.origins(fact))]
    work = {name: kind(name) for name in names} | {"predicates": by_hand, "columns of all tables": columns}
    seconds = {name: min(_timed(each) for _ in range(rounds)) for name, each in work.items()}
    store.release()
    return seconds | {"checks": sum(seconds[name] for name in names)}


def _timed(work: Callable[[], bool]) -> float:
    started = time.process_time()
    if not work():
        raise SystemExit("a check failed")
    return time.process_time() - started
