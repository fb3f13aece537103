"""Bugs in ``source/*``: what arrives is changed while it is made to fit (``sources.conform``), or on the way."""

from __future__ import annotations

from collections.abc import Callable

import ibis

from classic_cars.contracts.base import RESCUED
from classic_cars_tests.mutation.mutant import (
    Change,
    Mutant,
    at,
    copied,
    every,
    lost,
    nth,
    nulled,
    out,
    put,
    shifted,
    some,
    swapped,
    then,
    twice,
)


def _bug(table: str, name: str, change: Change) -> Mutant:
    return out("arrivals", f"source/{table}", name, change)


def _readable(t: ibis.Table) -> ibis.expr.types.BooleanValue:
    return t[RESCUED].isnull()


def _rescued(t: ibis.Table) -> ibis.expr.types.BooleanValue:
    return t[RESCUED].notnull()


def _arriving(table: str, name: str, change: Change) -> Mutant:
    """The bug is in what ``conform`` gets, not in what it returns."""

    def plant(original: Callable[..., ibis.Table], **inputs: ibis.Table) -> ibis.Table:
        return original(**{parameter: change(rows) for parameter, rows in inputs.items()})

    return Mutant("arrivals", name, f"source/{table}", plant)


MUTANTS = (
    _bug("payments", "amounts divided by 100", every(amount=lambda c: c / 100)),
    _bug(
        "payments",
        "amounts divided by 100, where all of the row could be read",
        some(_readable, amount=lambda c: c / 100),
    ),
    _bug(
        "payments",
        "amount divided by 100, of the row whose date could not be read",
        some(_rescued, amount=lambda c: c / 100),
    ),
    _bug("payments", "dates one day off", every(paymentDate=lambda c: c + ibis.interval(days=1))),
    _bug(
        "payments", "one date one day off", some(nth(3, "checkNumber"), paymentDate=lambda c: c + ibis.interval(days=1))
    ),
    _bug("payments", "rescued value lost", every(**{RESCUED: lambda c: c.nullif(c)})),
    _bug("payments", "rescued value is another", every(**{RESCUED: lambda c: c.replace("soon", "late")})),
    _bug(
        "payments",
        "a date that cannot be read becomes a day",
        some(_rescued, paymentDate=lambda c: c.fill_null(ibis.date(2003, 6, 1))),
    ),
    _bug("payments", "a cheque of another customer", some(nth(3, "checkNumber"), customerNumber=put(113))),
    _bug("payments", "amounts of two cheques exchanged", shifted("amount", "checkNumber", within=["customerNumber"])),
    _bug(
        "payments",
        "a row lost and another there twice",
        then(lost(nth(3, "checkNumber")), twice(nth(3, "checkNumber"))),
    ),
    _bug("customers", "texts trimmed", every(country=lambda c: c.strip(), city=lambda c: c.strip())),
    _bug("customers", "customer's name and city swapped", swapped("customerName", "city")),
    _bug(
        "customers",
        "city of one customer is its country",
        then(copied("city", "city"), some(at(customerNumber=132), city=put("UK"))),
    ),
    _bug("customers", "an empty state for a missing one", every(state=lambda c: c.fill_null(""))),
    _bug("customers", "accents lost", every(contactLastName=lambda c: c.translate("éèäöü", "eeaou"))),
    _bug(
        "customers",
        "credit limit without cents and its last digit",
        every(creditLimit=lambda c: (c / 1000).round(0) * 1000 + 1),
    ),
    _bug("orders", "statuses in upper case", every(status=lambda c: c.upper())),
    _bug("orders", "an order lost", lost(at(orderNumber=10106))),
    _bug("orders", "an order is there twice", twice(at(orderNumber=10106))),
    _bug(
        "orders", "customers of two orders exchanged", shifted("customerNumber", "orderNumber", within=["orderMonth"])
    ),
    _bug("orders", "comments cut to ten letters", every(comments=lambda c: c.left(10))),
    _bug(
        "orders",
        "kept in the month of shipping",
        every(orderMonth=lambda c: (c + ibis.interval(days=31)).truncate("M")),
    ),
    _bug("orders", "shipped dates lost", every(shippedDate=nulled)),
    _bug("orderdetails", "prices rounded to ten cents", every(priceEach=lambda c: c.round(1))),
    _bug(
        "orderdetails",
        "quantities of two lines exchanged",
        shifted("quantityOrdered", "orderNumber", "productCode", within=["orderNumber"]),
    ),
    _bug("orderdetails", "a line lost", lost(at(orderNumber=10100, orderLineNumber=3))),
    _bug(
        "orderdetails",
        "lines of one order kept in another month",
        some(at(orderNumber=10106), orderMonth=lambda c: (c + ibis.interval(days=31)).truncate("M")),
    ),
    _arriving(
        "orderdetails",
        "prices as floats of single precision",
        every(priceEach=lambda c: c.cast("float32").cast("float64") + 0.001),
    ),
    _bug("products", "buyPrice and MSRP swapped", swapped("buyPrice", "MSRP")),
    _bug("products", "a negative price without its sign", every(buyPrice=lambda c: c.abs())),
    _bug(
        "productlines",
        "description without its last letter",
        every(textDescription=lambda c: c.substr(0, c.length() - 1)),
    ),
    _bug("employees", "reports to nobody", every(reportsTo=nulled)),
    _bug("employees", "e-mail addresses in lower case", every(email=lambda c: c.lower())),
    _bug("offices", "telephone numbers without spaces", every(phone=lambda c: c.replace(" ", ""))),
    _bug("offices", "state trimmed", every(state=lambda c: c.strip())),
    _bug("ratings", "one rating has a star less", some(at(customerNumber=132), productRating=lambda c: c - 1)),
    _bug("ratings", "customers of ratings exchanged", shifted("customerNumber", "fileHash", "lineNumber")),
    _bug(
        "ratings",
        "moments an hour off",
        every(ratedAt=lambda c: c + ibis.interval(hours=1), ingestedAt=lambda c: c + ibis.interval(hours=1)),
    ),
    _bug("ratings", "a line lost", lost(at(customerNumber=132))),
    _bug(
        "ratings",
        "a line is there twice, another one lost",
        then(lost(at(customerNumber=132)), twice(at(customerNumber=113))),
    ),
    _bug("ratings", "stars that are no number become three", every(productRating=lambda c: c.fill_null(3))),
    _bug("stock_counts", "one count a unit short", some(at(quantityCounted=40), quantityCounted=lambda c: c - 1)),
    _bug("stock_counts", "days one day off", every(countDate=lambda c: c + ibis.interval(days=1))),
    _bug("stock_counts", "warehouse and product swapped", swapped("warehouseCode", "productCode")),
    _bug("stock_counts", "a line lost", lost(at(quantityCounted=7))),
)
