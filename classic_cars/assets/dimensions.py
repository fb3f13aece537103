"""The dimensions in ``warehouse/*``: one row per member, inferred members included.

``postalCode`` is no key: several places share a code and some have none, so places get a surrogate key made of
everything that tells them apart.
"""

from __future__ import annotations

import hashlib
from functools import reduce

import ibis
import ibis.expr.types as ir

from classic_cars.contracts import dimensions
from classic_cars.contracts.base import RESCUED
from classic_cars.contracts.origins import UNKNOWN, UNKNOWN_NUMBER
from classic_cars.tables.table import table

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def location_key(place: ibis.Table) -> ir.StringValue:
    """Stable surrogate key of a place: half of the SHA-256 of its four parts, 32 hexadecimal digits.

    The parts are joined by a character that no address holds; a missing part counts as empty, which staging
    never is.
    """
    parts = [place.postalCode, place.city, place.state, place.country]
    joined = ibis.literal("\x1f").join([part.fill_null("") for part in parts])
    return joined.hexdigest("sha256").left(32)


#: The key of a place of which nothing is known: that of inferred customers.
NO_PLACE = hashlib.sha256(b"\x1f\x1f\x1f").hexdigest()[:32]


def with_inferred(members: ibis.Table, key: str, *references: ir.Value) -> ibis.Table:
    """``members`` and a row for each value of ``references`` that is not among them, with nothing but its key.

    Column ``isInferred`` says which: Kimball's inferred members, so that a fact never loses a row to a missing one.
    """
    used = reduce(ibis.union, [each.name(key).as_table().distinct() for each in references]).distinct()
    missing = used.filter(used[key].notnull()).anti_join(members, key)
    empty = {name: ibis.null(kind) for name, kind in members.schema().items() if name != key}
    inferred = missing.select(key, **empty, isInferred=ibis.literal(True))
    known = members.mutate(isInferred=ibis.literal(False))
    return ibis.union(known, inferred.select(*known.columns))


def named(rows: ibis.Table, *columns: str) -> ibis.Table:
    """Every group has a name: ``Unknown`` where these texts are missing."""
    return rows.mutate(**{name: rows[name].fill_null(UNKNOWN) for name in columns})


@table(dimensions.DimProducts)
def dim_products(products: ibis.Table, productlines: ibis.Table, orderdetails: ibis.Table) -> ibis.Table:
    texts = ["productName", "productLine", "productScale", "productVendor", "productDescription"]
    members = with_inferred(products.select("productCode", *texts), "productCode", orderdetails.productCode)
    lines = productlines.select("productLine", productLineDescription="textDescription")
    described = members.left_join(lines, "productLine")
    return named(described.select("productCode", *texts, "productLineDescription", "isInferred"), *texts)


def all_customers(customers: ibis.Table, orders: ibis.Table, payments: ibis.Table) -> ibis.Table:
    """Customers, and those that only orders or payments know; orders that name none are of customer -1."""
    references = [each.customerNumber.fill_null(UNKNOWN_NUMBER) for each in (orders, payments)]
    return with_inferred(customers.drop(RESCUED), "customerNumber", *references)


@table(dimensions.DimLocations)
def dim_locations(customers: ibis.Table, orders: ibis.Table, payments: ibis.Table) -> ibis.Table:
    everybody = all_customers(customers, orders, payments)
    places = everybody.select("postalCode", "city", "state", "country").distinct()
    keyed = places.select(location_key(places).name("locationKey"), "postalCode", "city", "state", "country")
    return named(keyed, "city", "country")


@table(dimensions.DimCustomers)
def dim_customers(customers: ibis.Table, orders: ibis.Table, payments: ibis.Table) -> ibis.Table:
    everybody = all_customers(customers, orders, payments)
    rows = everybody.select(
        "customerNumber",
        "customerName",
        "contactLastName",
        "contactFirstName",
        "phone",
        "addressLine1",
        "addressLine2",
        "creditLimit",
        "isInferred",
        locationKey=location_key(everybody),
    )
    return named(rows, "customerName")


@table(dimensions.DimEmployees)
def dim_employees(employees: ibis.Table, offices: ibis.Table, customers: ibis.Table) -> ibis.Table:
    places = offices.select(
        "officeCode", officeCity="city", officeState="state", officeCountry="country", officeTerritory="territory"
    )
    staff = with_inferred(
        employees.drop(RESCUED), "employeeNumber", customers.salesRepEmployeeNumber, employees.reportsTo
    )
    rows = staff.left_join(places, "officeCode").select(
        "employeeNumber",
        "lastName",
        "firstName",
        "email",
        "jobTitle",
        "reportsTo",
        "officeCode",
        "officeCity",
        "officeState",
        "officeCountry",
        "officeTerritory",
        "isInferred",
    )
    return named(rows, "jobTitle", "officeCode", "officeCity", "officeCountry", "officeTerritory")


@table(dimensions.DimDates)
def dim_dates(orders: ibis.Table, payments: ibis.Table) -> ibis.Table:
    ordered = orders.aggregate(
        first=ibis.least(orders.orderDate.min(), orders.requiredDate.min(), orders.shippedDate.min()),
        last=ibis.greatest(orders.requiredDate.max(), orders.orderDate.max(), orders.shippedDate.max()),
    )
    paid = payments.aggregate(first=payments.paymentDate.min(), last=payments.paymentDate.max())
    both = ibis.union(ordered, paid)
    span = both.aggregate(first=both["first"].min(), last=both["last"].max())
    length = span["last"].delta(span["first"], unit="day").cast("int64")
    numbered = span.select("first", number=ibis.range(0, length + 1).unnest())
    days = numbered.select(date=(numbered["first"] + numbered.number.as_interval("D")).cast("date"))
    return days.select("date", **_calendar(days.date))


def _calendar(day: ir.DateValue) -> dict[str, ir.Value]:
    year, month, quarter = day.year(), day.month(), day.quarter()
    weekday = day.day_of_week.index()
    # An ISO 8601 week belongs to the year that its Thursday lies in.
    iso_year = (day + (3 - weekday.cast("int64")).as_interval("D")).year()
    iso_week = day.week_of_year()
    return {
        "year": year.cast("int32"),
        "quarter": quarter.cast("int32"),
        "quarterName": year.cast("string") + "-Q" + quarter.cast("string"),
        "month": month.cast("int32"),
        "monthName": _name(month, MONTHS, first=1),
        "yearMonth": year.cast("string") + "-" + month.cast("string").lpad(2, "0"),
        "isoYear": iso_year.cast("int32"),
        "isoWeek": iso_week.cast("int32"),
        "isoWeekName": iso_year.cast("string") + "-W" + iso_week.cast("string").lpad(2, "0"),
        "dayOfMonth": day.day().cast("int32"),
        "dayOfWeek": (weekday + 1).cast("int32"),
        "dayName": _name(weekday, WEEKDAYS, first=0),
        "isWeekend": weekday >= 5,
    }


def _name(number: ir.IntegerValue, names: tuple[str, ...], first: int) -> ir.StringValue:
    return number.cases(*[(position, name) for position, name in enumerate(names, start=first)])
