"""Bugs of time and structure: months that are lost, there twice, or under another name; files and keys."""

from __future__ import annotations

from datetime import date

import ibis

from classic_cars_tests.mutation.mutant import Change, Mutant, at, every, into, lost, out, some, then, twice

JUNE = date(2003, 6, 1)


def _bug(address: str, name: str, change: Change) -> Mutant:
    return out("structure", address, name, change)


def _in(month: date, column: str) -> Change:
    return at(**{column: month})


def _of(month: date, day: str) -> object:
    return lambda t: (t[day].year() == month.year) & (t[day].month() == month.month)


MUTANTS = (
    _bug("source/orders", "a month lost", lost(_in(JUNE, "orderMonth"))),
    _bug("source/orderdetails", "a month lost", lost(_in(JUNE, "orderMonth"))),
    _bug("source/orderdetails", "rows of one month twice", twice(_in(JUNE, "orderMonth"))),
    _bug(
        "source/orders", "all rows in the first month", every(orderMonth=lambda c: ibis.least(c, ibis.date(2003, 1, 1)))
    ),
    _bug("staging/orders", "a month lost", lost(_in(JUNE, "orderMonth"))),
    _bug("staging/orders", "rows of one month twice", twice(_in(JUNE, "orderMonth"))),
    _bug("staging/orderdetails", "a month lost", lost(_in(JUNE, "orderMonth"))),
    _bug("staging/orderdetails", "rows of one month twice", twice(_in(JUNE, "orderMonth"))),
    _bug(
        "staging/orderdetails",
        "one month kept in the next",
        some(_in(JUNE, "orderMonth"), orderMonth=lambda c: (c + ibis.interval(days=31)).truncate("M")),
    ),
    _bug("warehouse/fact_orders", "a month lost", lost(_of(JUNE, "orderDate"))),
    _bug("warehouse/fact_orders", "rows of one month twice", twice(_of(JUNE, "orderDate"))),
    _bug(
        "warehouse/fact_orders",
        "a year later",
        every(orderDate=lambda c: ibis.ifelse(c.year() == 2003, c, c - ibis.interval(days=365))),
    ),
    _bug(
        "warehouse/fact_orders",
        "the last day of each month is in the next",
        every(orderDate=lambda c: ibis.ifelse((c + ibis.interval(days=1)).day() == 1, c + ibis.interval(days=1), c)),
    ),
    _bug("warehouse/fact_orders", "empty", lost(lambda t: t.orderNumber > 0)),
    _bug("warehouse/dim_customers", "empty", lost(lambda t: t.customerNumber.notnull())),
    _bug("staging/payments", "empty", lost(lambda t: t.customerNumber.notnull())),
    _bug("analytics/sales_by_month", "a month lost", lost(_in(JUNE, "orderMonth"))),
    _bug("analytics/sales_by_month", "one month twice", twice(_in(JUNE, "orderMonth"))),
    _bug(
        "analytics/sales_by_month",
        "two months exchanged",
        every(
            orderMonth=lambda c: ibis.ifelse(
                c == ibis.date(2003, 6, 1),
                ibis.date(2003, 7, 1),
                ibis.ifelse(c == ibis.date(2003, 7, 1), ibis.date(2003, 6, 1), c),
            )
        ),
    ),
    _bug(
        "analytics/sales_by_month",
        "one month is the last day of its month",
        every(orderMonth=lambda c: ibis.ifelse(c == ibis.date(2003, 6, 1), ibis.date(2003, 6, 30), c)),
    ),
    _bug("analytics/sales_by_country", "empty", lost(lambda t: t.orders > 0)),
    _bug("staging/ratings", "a file lost", lost(lambda t: t.fileName == "ratings-2.jsonl")),
    _bug("source/ratings", "a file lost", lost(lambda t: t.fileName == "ratings-2.jsonl")),
    _bug("source/ratings", "a file is there twice", twice(lambda t: t.fileName == "ratings-2.jsonl")),
    _bug("source/ratings", "lines numbered from zero", every(lineNumber=lambda c: c + 1)),
    into(
        "structure",
        "warehouse/fact_orders",
        "only the orders until June",
        orders=lambda t: t.filter(t.orderDate < ibis.date(2003, 7, 1)),
    ),
    _bug(
        "warehouse/fact_orders",
        "two orders exchanged",
        every(orderNumber=lambda c: ibis.ifelse(c == 10100, 10101, ibis.ifelse(c == 10101, 10100, c))),
    ),
    _bug(
        "staging/orders",
        "two orders exchanged",
        then(every(orderNumber=lambda c: ibis.ifelse(c == 10100, 10101, ibis.ifelse(c == 10101, 10100, c)))),
    ),
)
