"""Bugs in the answers about customers and stock: who counts, since when, whose payments, which count, which months."""

from __future__ import annotations

import ibis

from classic_cars.contracts.metrics import CANCELLED
from classic_cars_tests.mutation.mutant import (
    Change,
    Mutant,
    at,
    copied,
    every,
    every_row,
    into,
    lost,
    nth,
    out,
    put,
    shifted,
    some,
    twice,
)

COHORTS, BALANCES, COVER = (f"analytics/{name}" for name in ("customer_cohorts", "customer_balances", "stock_cover"))


def _bug(address: str, name: str, change: Change) -> Mutant:
    return out("answers", address, name, change)


def _fed(address: str, name: str, **changes: Change) -> Mutant:
    return into("answers", address, name, **changes)


def _any_order(partial: ibis.Table) -> ibis.Value:
    return partial.orders


def _quarter_later(month: ibis.Value) -> ibis.Value:
    return month + ibis.interval(months=3)


def _before_july(partial: ibis.Table) -> ibis.Value:
    return partial.orderMonth < ibis.date(2003, 7, 1)


def _in_june(partial: ibis.Table) -> ibis.Value:
    return partial.orderMonth == ibis.date(2003, 6, 1)


def _half_used(balances: ibis.Table) -> ibis.Value:
    return balances.balance * 2 > balances.creditLimit


def _of_a_day(counts: ibis.Table) -> ibis.Value:
    return counts.warehouseCode + counts.countDate.cast("string")


def _latest_day(counts: ibis.Table) -> ibis.Table:
    """Counts of the latest day alone, whichever warehouse counted then."""
    return counts.filter(counts.countDate == counts.countDate.max())


MUTANTS = (
    _fed(COHORTS, "cancelled orders are purchases", monthly_sales_by_customer=every_row(soldOrders=_any_order)),
    _fed(
        COHORTS,
        "orders of nobody are a customer's",
        monthly_sales_by_customer=some(at(customerNumber=-1), customerNumber=put(1)),
    ),
    _fed(COHORTS, "months of the next quarter", monthly_sales_by_customer=every(orderMonth=_quarter_later)),
    _fed(COHORTS, "only the last half year", monthly_sales_by_customer=lost(_before_july)),
    _fed(COHORTS, "booked amount is sales", monthly_sales_by_customer=copied("netSales", "bookedAmount")),
    _bug(COHORTS, "quarters in which nobody bought left out", lost(at(customers=0))),
    _bug(COHORTS, "quarters counted from 1", every(quartersSince=lambda c: c + 1)),
    _bug(COHORTS, "orders counted twice", every(soldOrders=lambda c: c * 2)),
    _bug(COHORTS, "half of those who came back", every(retention=lambda c: c / 2)),
    _bug(COHORTS, "net sales of the next quarter", shifted("netSales", "cohort", "quarter")),
    _bug(COHORTS, "one cohort lost", lost(lambda t: t.cohort == ibis.date(2003, 4, 1))),
    _fed(BALANCES, "a month of sales lost", monthly_sales_by_customer=lost(_in_june)),
    _fed(BALANCES, "booked amount is owed", monthly_sales_by_customer=copied("netSales", "bookedAmount")),
    _fed(BALANCES, "a payment twice", fact_payments=twice(nth(2, "customerNumber", "checkNumber"))),
    _fed(BALANCES, "payments without a day left out", fact_payments=lost(lambda t: t.paymentDate.isnull())),
    _fed(BALANCES, "only customers that are known", dim_customers=lost(at(isInferred=True))),
    _bug(BALANCES, "balances below 0 are 0", every(balance=lambda c: ibis.greatest(c, 0))),
    _bug(BALANCES, "credit used in percent", every(creditUsed=lambda c: c * 100)),
    _bug(BALANCES, "over the limit from half of it on", every_row(isOverLimit=_half_used)),
    _bug(BALANCES, "limits one customer off", shifted("creditLimit", "customerNumber")),
    _fed(COVER, "every count counts", stock_counts=every_row(warehouseCode=_of_a_day)),
    _fed(COVER, "counts of the latest day alone", stock_counts=_latest_day),
    _fed(COVER, "cancelled orders are sales", fact_orders=some(at(status=CANCELLED), status=put("Shipped"))),
    _fed(COVER, "a month later", fact_orders=every(orderDate=lambda c: c + ibis.interval(days=31))),
    _fed(COVER, "only products that are known", dim_products=lost(at(isInferred=True))),
    _bug(COVER, "stock of one product", some(nth(2, "productCode"), unitsInStock=lambda c: c + 1)),
    _bug(COVER, "cover in weeks", every(monthsOfCover=lambda c: c * 4)),
    _bug(COVER, "products never sold left out", lost(lambda t: t.lastSold.isnull())),
    _bug(COVER, "what is not sold lasts no time", every(monthsOfCover=lambda c: c.fill_null(0))),
    _bug(COVER, "units of one product off by one", some(nth(2, "productCode"), unitsSold=lambda c: c + 1)),
    _bug(COVER, "what partners have left out", every_row(unitsOnHand=lambda t: t.unitsOnHand - t.unitsAtPartners)),
)
