"""Bugs in ``warehouse/fact_*``: joins, stand-ins and sums of the star schema."""

from __future__ import annotations

import ibis

from classic_cars_tests.mutation.mutant import (
    Change,
    Mutant,
    always,
    at,
    copied,
    every,
    every_row,
    into,
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

ORDERS, PAYMENTS, RATINGS = "warehouse/fact_orders", "warehouse/fact_payments", "warehouse/fact_ratings"


def _orders(name: str, change: Change) -> Mutant:
    return out("fact_orders", ORDERS, name, change)


def _payments(name: str, change: Change) -> Mutant:
    return out("fact_payments", PAYMENTS, name, change)


def _ratings(name: str, change: Change) -> Mutant:
    return out("fact_ratings", RATINGS, name, change)


def _first_of_each_code(customers: ibis.Table) -> ibis.Table:
    """Deduplicated by postal code, as the first version of the platform did."""
    place = ibis.row_number().over(group_by="postalCode", order_by="customerNumber")
    return customers.mutate(_n=place).filter(lambda t: (t["_n"] == 0) | t.postalCode.isnull()).drop("_n")


def _place_by_code(t: ibis.Table) -> ibis.Table:
    """The place is looked up by postal code, of which several places have the same."""
    places = t.group_by(_code="postalCode").aggregate(_key=t.locationKey.min())
    joined = t.left_join(places, t.postalCode == places["_code"])
    return joined.mutate(locationKey=joined["_key"].fill_null(joined.locationKey)).select(*t.columns)


def _joined_on_code(t: ibis.Table) -> ibis.Table:
    """Joined once more by postal code with the places, which makes several rows of one."""
    places = t.select(_code="postalCode", _city="locationKey").distinct()
    return t.left_join(places, t.postalCode == places["_code"]).select(*t.columns)


LINE = at(orderNumber=10100, orderLineNumber=3)
SOLD = at(orderNumber=10102)

MUTANTS = (
    _orders("status is a constant", every_row(status=lambda _: ibis.literal("Shipped"))),
    _orders("status is a constant, as far as the data say", every(status=always("Shipped"))),
    _orders("shippedDate is NULL", every(shippedDate=nulled)),
    _orders("shippedDate is the requiredDate", copied("shippedDate", "requiredDate")),
    _orders("shippedDate of open orders filled in", every(shippedDate=lambda c: c.fill_null(ibis.date(2004, 1, 31)))),
    _orders("comments lost", every(comments=nulled)),
    _orders(
        "comments of one order given to another",
        some(at(orderNumber=10102), comments=lambda c: c.fill_null("has paid")),
    ),
    _orders("sales rep is NULL", every(salesRepEmployeeNumber=nulled)),
    _orders("sales rep of one customer is another", some(at(customerNumber=103), salesRepEmployeeNumber=put(1148))),
    _orders("orderLineNumber is 1", every(orderLineNumber=put(1))),
    _orders(
        "line numbers turned round within an order", shifted("orderLineNumber", "productCode", within=["orderNumber"])
    ),
    _orders("customer swapped within a place", some(SOLD, customerNumber=put(113))),
    _orders("customer swapped within a country", some(at(orderNumber=10125), customerNumber=put(103))),
    _orders("customers of missing ones are -1", every(customerNumber=lambda c: ibis.ifelse(c == 9999, -1, c))),
    into("fact_orders", ORDERS, "customers deduplicated by postal code", customers=_first_of_each_code),
    _orders("place looked up by postal code", _place_by_code),
    _orders("joined by postal code", _joined_on_code),
    _orders("place of one customer is unknown", some(at(customerNumber=140), locationKey=put("0" * 32))),
    _orders("place's key in upper case", every(locationKey=lambda c: c.upper())),
    _orders("inner join loses lines of unknown customers", lost(lambda t: t.salesRepEmployeeNumber.isnull())),
    _orders("inner join loses lines of unknown products", lost(lambda t: t.MSRP.isnull())),
    into("fact_orders", ORDERS, "inner join with shipped orders", orderdetails=lost(at(orderNumber=10133))),
    _orders("orderAmount rounded to dollars", every(orderAmount=lambda c: c.round(0))),
    _orders(
        "orderAmount at list price",
        every_row(orderAmount=lambda t: (t.quantityOrdered * t.MSRP).fill_null(t.orderAmount)),
    ),
    _orders("orderAmount of one line twice", some(LINE, orderAmount=lambda c: c * 2)),
    _orders("MSRP and buyPrice swapped", swapped("MSRP", "buyPrice")),
    _orders("buyPrice missing is zero", every(buyPrice=lambda c: c.fill_null(0))),
    _orders("buyPrice of one product is that of the next", shifted("buyPrice", "productCode", "orderNumber")),
    _orders(
        "quantity and amount of one line",
        then(
            some(LINE, quantityOrdered=lambda c: c + 1),
            every_row(orderAmount=lambda t: t.quantityOrdered * t.priceEach),
        ),
    ),
    _orders(
        "quantity of two lines of an order at one price exchanged",
        shifted("quantityOrdered", "productCode", within=["orderNumber"]),
    ),
    _orders("priceEach is the list price", copied("priceEach", "MSRP")),
    _orders("orderDate is the day of shipping", every_row(orderDate=lambda t: t.shippedDate.fill_null(t.orderDate))),
    _orders("orderDate of one order within its month", some(SOLD, orderDate=lambda c: c + ibis.interval(days=3))),
    _orders(
        "requiredDate is a week after the order", every_row(requiredDate=lambda t: t.orderDate + ibis.interval(days=7))
    ),
    _orders("product of one line is another", some(LINE, productCode=put("S18_1009"))),
    _orders("postalCode of one customer is missing", some(at(customerNumber=140), postalCode=nulled)),
    _orders("cancelled orders left out", lost(at(status="Cancelled"))),
    _orders("lines on hold are in process", every(status=lambda c: c.replace("On Hold", "In Process"))),
    _orders("a line is there twice", twice(LINE)),
    into("fact_orders", ORDERS, "orders one row off", orders=shifted("status", "orderNumber")),
    into("fact_orders", ORDERS, "products one row off", products=shifted("buyPrice", "productCode")),
    into("fact_orders", ORDERS, "customers one row off", customers=shifted("postalCode", "customerNumber")),
    _payments("a payment of the wrong customer", some(nth(5, "checkNumber"), customerNumber=put(113))),
    _payments(
        "amounts swapped between payments of a customer", shifted("amount", "checkNumber", within=["customerNumber"])
    ),
    _payments("date is the first of its month", every(paymentDate=lambda c: c.truncate("M"))),
    _payments(
        "dates swapped between payments of a customer", shifted("paymentDate", "checkNumber", within=["customerNumber"])
    ),
    _payments("amount rounded", every(amount=lambda c: c.round(0))),
    _payments("cheques of two customers exchanged", shifted("checkNumber", "customerNumber", "checkNumber")),
    _payments("place of another customer", shifted("locationKey", "customerNumber", "checkNumber")),
    _payments("payments without a date left out", lost(lambda t: t.paymentDate.isnull())),
    _payments("payments of unknown customers left out", lost(at(customerNumber=8888))),
    _payments("payments of unknown customers are of -1", every(customerNumber=lambda c: ibis.ifelse(c == 8888, -1, c))),
    _payments("a payment is there twice", twice(nth(5, "checkNumber"))),
    into("fact_payments", PAYMENTS, "customers deduplicated by postal code", customers=_first_of_each_code),
    _payments("a missing date becomes the first day", every(paymentDate=lambda c: c.fill_null(ibis.date(2003, 1, 9)))),
    _ratings("one rating has a star more", some(at(customerNumber=132), productRating=lambda c: c + 1)),
    _ratings(
        "stars of the ratings of one product exchanged",
        shifted("productRating", "customerNumber", within=["productCode"]),
    ),
    _ratings("at most four stars", every(productRating=lambda c: ibis.least(c, 4))),
    _ratings("moment cut to the day", every(ratedAt=lambda c: c.truncate("D"))),
    _ratings("a rating of the wrong customer", some(at(customerNumber=132), customerNumber=put(113))),
    _ratings("a rating of the wrong product", some(at(customerNumber=132), productCode=put("S18_1134"))),
    _ratings("place of another customer", shifted("locationKey", "customerNumber", "productCode")),
    _ratings("place is unknown", every(locationKey=always("0" * 32))),
    _ratings("worst ratings left out", lost(lambda t: t.productRating <= 2)),
    _ratings("a rating is there twice", twice(at(customerNumber=132))),
    _ratings("stars are a constant", every(productRating=always(4))),
    into("fact_ratings", RATINGS, "customers deduplicated by postal code", customers=_first_of_each_code),
)
