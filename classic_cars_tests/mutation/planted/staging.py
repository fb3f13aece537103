"""Bugs in ``staging/*``: cleaning that changes, loses or doubles what it should only clean."""

from __future__ import annotations

import ibis

from classic_cars_tests.mutation.mutant import (
    Change,
    Mutant,
    at,
    copied,
    every,
    every_row,
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
    return out("staging", f"staging/{table}", name, change)


LINE = at(orderNumber=10100, orderLineNumber=3)

MUTANTS = (
    _bug("customers", "city and country swapped", swapped("city", "country")),
    _bug("customers", "contact's first and last name swapped", swapped("contactFirstName", "contactLastName")),
    _bug("customers", "address line 2 lost", every(addressLine2=nulled)),
    _bug("customers", "UK mapped to USA", every(country=lambda c: c.replace("UK", "USA"))),
    _bug("customers", "country cut to seven letters", every(country=lambda c: c.left(7))),
    _bug("customers", "postal code through an integer", every(postalCode=lambda c: c.try_cast("int64").cast("string"))),
    _bug("customers", "leading zeros of postal codes lost", every(postalCode=lambda c: c.re_replace("^0+", ""))),
    _bug("customers", "name trimmed to its first word", every(customerName=lambda c: c.split(" ")[0])),
    _bug("customers", "credit limit in thousands", every(creditLimit=lambda c: c / 1000)),
    _bug(
        "customers", "credit limit of one customer is that of another", some(at(customerNumber=103), creditLimit=put(1))
    ),
    _bug("customers", "one customer dropped", lost(at(customerNumber=215))),
    _bug("customers", "one customer is there twice", twice(at(customerNumber=215))),
    _bug(
        "customers",
        "sales rep of one customer is another",
        some(at(customerNumber=103), salesRepEmployeeNumber=put(1369)),
    ),
    _bug("customers", "a place without postal code gets one", every(postalCode=lambda c: c.fill_null("00000"))),
    _bug("employees", "e-mail addresses in lower case", every(email=lambda c: c.lower())),
    _bug("employees", "manager of one employee is another", some(at(employeeNumber=1192), reportsTo=put(1077))),
    _bug("employees", "office of one employee is another", some(at(employeeNumber=1192), officeCode=put("1"))),
    _bug("employees", "president is gone", lost(at(employeeNumber=1002))),
    _bug("offices", "city is the state", copied("city", "state")),
    _bug("offices", "territory EMEA called Europe", every(territory=lambda c: c.replace("EMEA", "Europe"))),
    _bug("offices", "state Kanto not trimmed", some(at(officeCode="5"), state=lambda c: c + " ")),
    _bug("productlines", "a product line renamed", every(productLine=lambda c: c.replace("Classic Cars", "Classics"))),
    _bug("productlines", "description is the one for the web", copied("textDescription", "htmlDescription")),
    _bug("productlines", "descriptions cut to 100 letters", every(textDescription=lambda c: c.left(100))),
    _bug("products", "a product line renamed", every(productLine=lambda c: c.replace("Motorcycles", "Motor Cycles"))),
    _bug("products", "buyPrice and MSRP swapped", swapped("buyPrice", "MSRP")),
    _bug("products", "stock of one product off by one", some(nth(5, "productCode"), quantityInStock=lambda c: c + 1)),
    _bug("products", "buy price rounded to dollars", every(buyPrice=lambda c: c.round(0))),
    _bug("products", "a price that cannot be becomes zero", every(buyPrice=lambda c: ibis.greatest(c, 0))),
    _bug("products", "scale 1:18 written 1/18", every(productScale=lambda c: c.replace(":", "/"))),
    _bug("products", "vendors in the order of the codes, one row off", shifted("productVendor", "productCode")),
    _bug("orders", "an order given to the next customer", some(at(orderNumber=10102), customerNumber=put(113))),
    _bug("orders", "all orders given to the next customer", shifted("customerNumber", "orderNumber")),
    _bug("orders", "On Hold called Cancelled", every(status=lambda c: c.replace("On Hold", "Cancelled"))),
    _bug("orders", "Cancelled called Canceled", every(status=lambda c: c.replace("Cancelled", "Canceled"))),
    _bug("orders", "statuses in upper case", every(status=lambda c: c.upper())),
    _bug("orders", "dates of shipping one day off", every(shippedDate=lambda c: c + ibis.interval(days=1))),
    _bug(
        "orders",
        "order date of one order one day off",
        some(at(orderNumber=10102), orderDate=lambda c: c + ibis.interval(days=1)),
    ),
    _bug("orders", "comments of one order lost", some(at(orderNumber=10104), comments=nulled)),
    _bug("orders", "comments after a semicolon cut off", every(comments=lambda c: c.split(";")[0])),
    _bug(
        "orders",
        "an order moved to another month",
        some(
            at(orderNumber=10107),
            orderDate=lambda c: c + ibis.interval(days=2),
            orderMonth=lambda c: (c + ibis.interval(days=31)).truncate("M"),
        ),
    ),
    _bug("orders", "required and shipped date swapped", swapped("requiredDate", "shippedDate")),
    _bug("orders", "cancelled orders dropped", lost(at(status="Cancelled"))),
    _bug(
        "orders",
        "an order dropped and another there twice",
        then(lost(at(orderNumber=10105)), twice(at(orderNumber=10106))),
    ),
    _bug(
        "orderdetails",
        "products permuted within an order",
        shifted("productCode", "productCode", within=["orderNumber"]),
    ),
    _bug(
        "orderdetails",
        "quantities off by one for one order",
        some(at(orderNumber=10106), quantityOrdered=lambda c: c + 1),
    ),
    _bug(
        "orderdetails",
        "quantities of two lines exchanged",
        shifted("quantityOrdered", "orderNumber", "productCode", within=["orderNumber"]),
    ),
    _bug("orderdetails", "prices in cents", every(priceEach=lambda c: c / 100)),
    _bug("orderdetails", "price of one line without its cents", some(LINE, priceEach=lambda c: c.floor())),
    _bug("orderdetails", "a line dropped", lost(LINE)),
    _bug("orderdetails", "a line is there twice", twice(LINE)),
    _bug("orderdetails", "line numbers from zero", every(orderLineNumber=lambda c: c - 1)),
    _bug("orderdetails", "a quantity of zero becomes one", every(quantityOrdered=lambda c: ibis.greatest(c, 1))),
    _bug("orderdetails", "a line moved to the next order", some(at(orderNumber=10127), orderNumber=put(10118))),
    _bug("payments", "amounts divided by 100", every(amount=lambda c: c / 100)),
    _bug("payments", "dates one day off", every(paymentDate=lambda c: c - ibis.interval(days=1))),
    _bug(
        "payments",
        "a date that could not be read becomes a day",
        every(paymentDate=lambda c: c.fill_null(ibis.date(2003, 1, 1))),
    ),
    _bug("payments", "a cheque of another customer", some(nth(4, "checkNumber"), customerNumber=put(103))),
    _bug("payments", "amounts of two cheques exchanged", shifted("amount", "checkNumber", within=["customerNumber"])),
    _bug("payments", "numbers of cheques in lower case", every(checkNumber=lambda c: c.lower())),
    _bug("payments", "a payment lost", lost(nth(7, "checkNumber"))),
    _bug("ratings", "stars turned round", every(productRating=lambda c: 6 - c)),
    _bug("ratings", "one rating has a star more", some(at(customerNumber=132), productRating=lambda c: c + 1)),
    _bug("ratings", "moments an hour off", every(ratedAt=lambda c: c + ibis.interval(hours=1))),
    _bug("ratings", "rated when the partner received it", copied("ratedAt", "ingestedAt")),
    _bug("ratings", "the earliest rating counts", lost(lambda t: (t.customerNumber == 199) & (t.productRating == 4))),
    _bug("ratings", "ratings out of range cut to five stars", every(productRating=lambda c: ibis.least(c, 5))),
    _bug("ratings", "a rating given to another product", some(at(customerNumber=132), productCode=put("S18_1134"))),
    _bug("stock_counts", "counts divided by ten", every(quantityCounted=lambda c: c // 10)),
    _bug("stock_counts", "one count a unit more", some(at(quantityCounted=40), quantityCounted=lambda c: c + 1)),
    _bug("stock_counts", "the first count counts", lost(at(quantityCounted=11))),
    _bug("stock_counts", "less than nothing becomes nothing", every(quantityCounted=lambda c: ibis.greatest(c, 0))),
    _bug("stock_counts", "a count of another warehouse", some(at(quantityCounted=7), warehouseCode=put("LYO"))),
    _bug("customers", "names by the row, not by the key", every_row(customerName=lambda t: t.contactLastName)),
)
