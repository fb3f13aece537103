"""Bugs in ``warehouse/dim_*``: names, keys, the calendar, members that are missing."""

from __future__ import annotations

import ibis

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
    nulled,
    out,
    put,
    shifted,
    some,
    swapped,
    twice,
)

DATES = "warehouse/dim_dates"


def _bug(table: str, name: str, change: Change) -> Mutant:
    return out("dimensions", f"warehouse/{table}", name, change)


def _calendar(name: str, change: Change) -> Mutant:
    return out("calendar", DATES, name, change)


def _key_without_state(t: ibis.Table) -> ibis.Table:
    text = ibis.literal("\x1f").join([t[name].fill_null("") for name in ("postalCode", "city", "country")])
    return t.mutate(locationKey=text.hexdigest("sha256").left(32))


MUTANTS = (
    _bug("dim_customers", "contact's names swapped", swapped("contactFirstName", "contactLastName")),
    _bug("dim_customers", "names of customers one row off", shifted("customerName", "customerNumber")),
    _bug(
        "dim_customers", "name of one customer is another's", some(at(customerNumber=103), customerName=put("Jessop"))
    ),
    _bug("dim_customers", "credit limit in thousands", every(creditLimit=lambda c: c / 1000)),
    _bug("dim_customers", "a credit limit of zero is missing", every(creditLimit=lambda c: c.nullif(0))),
    _bug("dim_customers", "addresses in one line", every(addressLine2=nulled)),
    _bug("dim_customers", "telephone of one customer lost", some(at(customerNumber=103), phone=nulled)),
    _bug("dim_customers", "place of one customer is another's", shifted("locationKey", "customerNumber")),
    _bug("dim_customers", "nobody is inferred", every(isInferred=lambda c: c & ~c)),
    _bug("dim_customers", "inferred members are missing", lost(lambda t: t.isInferred)),
    _bug("dim_customers", "the unknown customer is missing", lost(at(customerNumber=-1))),
    _bug("dim_customers", "customers without orders left out", lost(at(customerNumber=108))),
    _bug("dim_customers", "a customer is there twice", twice(at(customerNumber=108))),
    _bug("dim_customers", "unknown names are empty", every(customerName=lambda c: c.replace("Unknown", "N/A"))),
    _bug("dim_locations", "key without the state", _key_without_state),
    _bug("dim_locations", "city and state swapped", swapped("city", "state")),
    _bug("dim_locations", "states written out", every(state=lambda c: c.replace("CA", "California"))),
    _bug("dim_locations", "UK in the USA", every(country=lambda c: c.replace("UK", "USA"))),
    _bug("dim_locations", "country of one place is another", some(nth(4, "locationKey"), country=put("Norway"))),
    _bug("dim_locations", "places without postal code left out", lost(lambda t: t.postalCode.isnull())),
    _bug(
        "dim_locations",
        "one place per postal code",
        lambda t: t.filter(ibis.row_number().over(group_by=t.postalCode, order_by=t.locationKey) == 0),
    ),
    _bug("dim_locations", "keys of two places exchanged", shifted("locationKey", "city", "locationKey")),
    _bug("dim_locations", "leading zeros of postal codes lost", every(postalCode=lambda c: c.re_replace("^0+", ""))),
    _bug("dim_employees", "names swapped", swapped("firstName", "lastName")),
    _bug("dim_employees", "manager lost", every(reportsTo=nulled)),
    _bug("dim_employees", "manager of one employee is another", some(at(employeeNumber=1192), reportsTo=put(1077))),
    _bug(
        "dim_employees",
        "everybody reports to oneself",
        every_row(reportsTo=lambda t: ibis.ifelse(t.reportsTo.notnull(), t.employeeNumber, None)),
    ),
    _bug("dim_employees", "office's city is its state", copied("officeCity", "officeState")),
    _bug("dim_employees", "office's city of one employee", some(at(employeeNumber=1192), officeCity=put("Boston"))),
    _bug(
        "dim_employees",
        "office's country is that of the next",
        shifted("officeCountry", "officeCode", "employeeNumber"),
    ),
    _bug("dim_employees", "territory APAC called Japan", every(officeTerritory=lambda c: c.replace("APAC", "Japan"))),
    _bug("dim_employees", "office's state lost", every(officeState=nulled)),
    _bug("dim_employees", "job titles in short", every(jobTitle=lambda c: c.left(9))),
    _bug("dim_employees", "e-mail addresses in lower case", every(email=lambda c: c.lower())),
    _bug("dim_employees", "employees who left are missing", lost(at(employeeNumber=7777))),
    _bug("dim_employees", "employees who left are known", every(isInferred=lambda c: c.nullif(True).fill_null(False))),
    into("dimensions", "warehouse/dim_employees", "offices one row off", offices=shifted("city", "officeCode")),
    _bug("dim_products", "product's vendor for its line", copied("productLine", "productVendor")),
    _bug("dim_products", "name and vendor swapped", swapped("productName", "productVendor")),
    _bug("dim_products", "description cut to 50 letters", every(productDescription=lambda c: c.left(50))),
    _bug("dim_products", "a product line renamed", every(productLine=lambda c: c.replace("Motorcycles", "Bikes"))),
    _bug("dim_products", "line of one product is another", some(at(productCode="S18_1009"), productLine=put("Planes"))),
    _bug(
        "dim_products",
        "products without a line are classic",
        every(productLine=lambda c: c.replace("Unknown", "Classic Cars")),
    ),
    _bug("dim_products", "scale of all products is 1:18", every(productScale=put("1:18"))),
    _bug("dim_products", "vendors one row off", shifted("productVendor", "productCode")),
    _bug(
        "dim_products",
        "description of the line is the next one's",
        shifted("productLineDescription", "productLine", "productCode"),
    ),
    _bug("dim_products", "inferred products are missing", lost(lambda t: t.isInferred)),
    _bug("dim_products", "a product never sold is missing", lost(at(productCode="S18_1009"))),
    _bug("dim_products", "a product is there twice", twice(at(productCode="S18_1009"))),
    into(
        "dimensions",
        "warehouse/dim_products",
        "inner join with product lines",
        products=lost(lambda t: t.productLine.isnull()),
    ),
    _calendar("monthName in short", every(monthName=lambda c: c.left(3))),
    _calendar("July called June", every(monthName=lambda c: c.replace("July", "June"))),
    _calendar("ISO year as year", copied("year", "isoYear")),
    _calendar("year as ISO year", copied("isoYear", "year")),
    _calendar(
        "name of the ISO week with the calendar's year",
        every_row(isoWeekName=lambda t: t.year.cast("string") + "-W" + t.isoWeek.cast("string").lpad(2, "0")),
    ),
    _calendar("ISO week without leading zero", every(isoWeekName=lambda c: c.replace("-W0", "-W"))),
    _calendar("quarter off by one month", every_row(quarter=lambda t: (t.month % 12) // 3 + 1)),
    _calendar(
        "quarters named by the year before",
        every_row(quarterName=lambda t: (t.year - 1).cast("string") + "-Q" + t.quarter.cast("string")),
    ),
    _calendar("weekend on Friday", every_row(isWeekend=lambda t: t.dayOfWeek.isin([5, 6]))),
    _calendar("weekday of one day", some(nth(40, "date"), dayOfWeek=lambda c: c % 7 + 1)),
    _calendar("weeks begin on Sunday", every(dayOfWeek=lambda c: c % 7 + 1)),
    _calendar("Sunday called Sonntag", every(dayName=lambda c: c.replace("Sunday", "Sonntag"))),
    _calendar(
        "weeks counted from the first of January", every_row(isoWeek=lambda t: (t.date.day_of_year() - 1) // 7 + 1)
    ),
    _calendar("yearMonth without leading zero", every(yearMonth=lambda c: c.replace("-0", "-"))),
    _calendar("day of month from zero", every(dayOfMonth=lambda c: c - 1)),
    _calendar("month of one day", some(nth(30, "date"), month=lambda c: c + 1)),
    _calendar("the last day is missing", lost(lambda t: t.date == t.date.max())),
    _calendar("the first day is missing", lost(lambda t: t.date == t.date.min())),
    _calendar("a day in the middle is missing", lost(nth(100, "date"))),
    _calendar(
        "days until the end of the year",
        lambda t: ibis.union(t, t.filter(t.date == t.date.max()).mutate(date=t.date + ibis.interval(days=1))),
    ),
    into(
        "calendar",
        DATES,
        "only days of orders",
        payments=lambda t: t.filter(t.paymentDate < ibis.date(2003, 3, 1)),
        orders=lambda t: t.mutate(
            shippedDate=t.shippedDate.nullif(t.shippedDate), requiredDate=t.requiredDate.nullif(t.requiredDate)
        ),
    ),
)
