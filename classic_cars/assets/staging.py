"""``staging/*``: the order system's tables trimmed and typed; rows that break a rule are quarantined.

Each function has one row per row of its source table and passes ``_rescued_data`` on: the platform
quarantines the row when a value could not be read, and drops the column from the accepted rows.
"""

from __future__ import annotations

import ibis
import ibis.selectors as s

from classic_cars.contracts import staging
from classic_cars.contracts.base import RESCUED
from classic_cars.tables.table import table


def trimmed(rows: ibis.Table) -> ibis.Table:
    """Texts without surrounding white space; an empty text means missing."""
    return rows.mutate(s.across(s.of_type("string") & ~s.cols(RESCUED), lambda text: text.strip().nullif("")))


@table(staging.Productlines)
def productlines(productlines: ibis.Table) -> ibis.Table:
    # Pictures stay in source: nobody downstream reads them.
    return trimmed(productlines).drop("image")


@table(staging.Products)
def products(products: ibis.Table) -> ibis.Table:
    return trimmed(products)


@table(staging.Offices)
def offices(offices: ibis.Table) -> ibis.Table:
    return trimmed(offices)


@table(staging.Employees)
def employees(employees: ibis.Table) -> ibis.Table:
    return trimmed(employees)


@table(staging.Customers)
def customers(customers: ibis.Table) -> ibis.Table:
    return trimmed(customers)


@table(staging.Payments)
def payments(payments: ibis.Table) -> ibis.Table:
    return trimmed(payments)


@table(staging.Orders)
def orders(orders: ibis.Table) -> ibis.Table:
    return trimmed(orders)


@table(staging.Orderdetails)
def orderdetails(orderdetails: ibis.Table) -> ibis.Table:
    return trimmed(orderdetails)
