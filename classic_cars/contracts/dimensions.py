"""Contracts of the dimensions in ``warehouse/*``; facts refer to them, see :mod:`classic_cars.contracts.warehouse`.

Every column is proven equal to where it comes from. A reference to nothing in staging has an inferred member here, so
that facts keep their rows.
"""

from __future__ import annotations

import hashlib
from typing import Any

import ibis
import ibis.expr.types as ir
import pandera.ibis as pa

from classic_cars.contracts import proofs
from classic_cars.contracts.calendar import days_of
from classic_cars.contracts.origins import INFERRED, UNKNOWN, UNKNOWN_NUMBER, copied, derived, grain
from classic_cars.contracts.vocabulary import (
    PERSONAL,
    Bool,
    Date,
    Int,
    Money,
    Reconciliation,
    Reference,
    TableModel,
    Text,
    clean,
    facts,
)
from classic_cars.months import FIRST_DAY, LAST_DAY

#: What separates the parts of a place in the text that its key is the hash of.
SEPARATOR = chr(31)
#: The key of the place of which nothing is known.
UNKNOWN_PLACE = hashlib.sha256((3 * SEPARATOR).encode()).hexdigest()[:32]
PLACE = tuple(f"staging/customers.{name}" for name in ("postalCode", "city", "state", "country"))


def _place_key(row: ibis.Table) -> ir.StringValue:
    """The surrogate key as it is documented: 32 digits of the SHA-256 of the four parts, a missing one being empty."""
    text = row.postalCode.fill_null("") + SEPARATOR + row.city.fill_null("") + SEPARATOR
    return (text + row.state.fill_null("") + SEPARATOR + row.country.fill_null("")).hexdigest("sha256").substr(0, 32)


def usable(day: ir.DateValue) -> ir.DateValue:
    """The day, or NULL for one that nobody can have meant."""
    return ibis.ifelse(day.between(ibis.date(FIRST_DAY), ibis.date(LAST_DAY)), day, None)


def place(description: str) -> Any:
    return pa.Field(description=description, metadata=derived(*PLACE, by=_place_key, missing=UNKNOWN_PLACE))


def _known(description: str, column: str = "") -> Any:
    """A text of a dimension: where it is missing stands ``Unknown``, so that every group has a name."""
    return pa.Field(description=description, metadata=copied(column, missing=UNKNOWN))


def _is_inferred() -> Any:
    return pa.Field(
        description="True for a member that facts refer to and the order system does not have, or has no more",
        metadata=derived(by=lambda row: row[INFERRED]),
    )


def _personal(description: str) -> Any:
    return pa.Field(nullable=True, description=description, metadata=PERSONAL)


def _day(description: str, **options: Any) -> Any:
    """A column of the calendar: made of the days that facts refer to."""
    days = [f"staging/orders.{name}" for name in ("orderDate", "requiredDate", "shippedDate")]
    return pa.Field(description=description, metadata=derived(*days, "staging/payments.paymentDate"), **options)


# Tables ------------------------------------------------------------------------------------------------


class DimProducts(TableModel):
    """Products with the texts of their product line; one row per product."""

    productCode: Text = pa.Field(description="Product's code: text, holds letters")
    productName: Text = _known("Product's name")
    productLine: Text = _known("Product line")
    productScale: Text = _known("Scale of the model, such as 1:18")
    productVendor: Text = _known("Maker of the model")
    productDescription: Text = _known("Description of the model")
    productLineDescription: Text = pa.Field(
        nullable=True,
        description="Description of the product line",
        metadata=copied("staging/productlines.textDescription"),
    )
    isInferred: Bool = _is_inferred()

    texts = clean("productCode", "productName", "productLine")

    class Config:
        name = "warehouse/dim_products"
        unique = ["productCode"]
        metadata = facts(grain=grain("staging/products", "staging/orderdetails.productCode"))


class DimLocations(TableModel):
    """Places of customers; one row per postal code, city, state and country.

    Postal codes do not identify a place: several cities share one, and some places have none.
    """

    locationKey: Text = pa.Field(
        str_length={"min_value": 32, "max_value": 32},
        description="Surrogate key: hash of the cleaned postalCode, city, state and country; the same on every run",
        metadata=derived(*PLACE, by=_place_key, missing=UNKNOWN_PLACE),
    )
    postalCode: Text = pa.Field(nullable=True, description="Postal code; missing for some places")
    city: Text = _known("City")
    state: Text = pa.Field(nullable=True, description="State or region")
    country: Text = _known("Country")

    texts = clean("postalCode", "city", "state", "country")

    class Config:
        name = "warehouse/dim_locations"
        unique = ["locationKey"]
        metadata = facts(
            grain=grain(
                "staging/customers",
                "staging/orders.customerNumber",
                "staging/payments.customerNumber",
                distinct=True,
                unknown=UNKNOWN_NUMBER,
            )
        )


class DimCustomers(TableModel):
    """Customers and the place they are at; one row per customer."""

    customerNumber: Int = pa.Field(description="Customer's number; -1: the customer of orders that name none")
    customerName: Text = _known("Name of the customer's business")
    contactLastName: Text = _personal("Contact's family name")
    contactFirstName: Text = _personal("Contact's given name")
    phone: Text = _personal("Contact's phone number")
    addressLine1: Text = _personal("Street address")
    addressLine2: Text = _personal("Rest of the address")
    creditLimit: Money = pa.Field(ge=0, nullable=True, description="Credit limit, in USD")
    locationKey: Text = place("Place of the customer, in dim_locations")
    isInferred: Bool = _is_inferred()

    texts = clean("customerName")

    class Config:
        name = "warehouse/dim_customers"
        unique = ["customerNumber"]
        metadata = facts(
            grain=grain(
                "staging/customers",
                "staging/orders.customerNumber",
                "staging/payments.customerNumber",
                unknown=UNKNOWN_NUMBER,
            ),
            references=[Reference("locationKey", "warehouse/dim_locations", "locationKey")],
        )


class DimEmployees(TableModel):
    """Staff with their office; one row per employee."""

    employeeNumber: Int = pa.Field(description="Employee's number")
    lastName: Text = _personal("Family name")
    firstName: Text = _personal("Given name")
    email: Text = _personal("E-mail address")
    jobTitle: Text = _known("Job title")
    reportsTo: Int = pa.Field(nullable=True, description="Manager's employee number; missing at the top")
    officeCode: Text = _known("Office's code")
    officeCity: Text = _known("Office's city", "staging/offices.city")
    officeState: Text = pa.Field(
        nullable=True, description="Office's state or region", metadata=copied("staging/offices.state")
    )
    officeCountry: Text = _known("Office's country", "staging/offices.country")
    officeTerritory: Text = _known("Office's sales territory: NA, EMEA, APAC, Japan", "staging/offices.territory")
    isInferred: Bool = _is_inferred()

    texts = clean("officeCity", "officeCountry", "officeTerritory")

    class Config:
        name = "warehouse/dim_employees"
        unique = ["employeeNumber"]
        metadata = facts(
            grain=grain("staging/employees", "staging/customers.salesRepEmployeeNumber", "staging/employees.reportsTo"),
            references=[Reference("reportsTo", "warehouse/dim_employees", "employeeNumber")],
        )


class DimDates(TableModel):
    """The calendar; one row per day, from the first to the last day that a fact refers to."""

    date: Date = _day("The day")
    year: Int = _day("Calendar year")
    quarter: Int = _day("Quarter of the year, 1 to 4", in_range={"min_value": 1, "max_value": 4})
    quarterName: Text = _day("Quarter with its year, such as 2004-Q1")
    month: Int = _day("Month of the year, 1 to 12", in_range={"min_value": 1, "max_value": 12})
    monthName: Text = _day("English name of the month")
    yearMonth: Text = _day("Month with its year, such as 2004-01")
    isoYear: Int = _day("Year of the ISO 8601 week; differs from the year around New Year")
    isoWeek: Int = _day("ISO 8601 week, 1 to 53", in_range={"min_value": 1, "max_value": 53})
    isoWeekName: Text = _day("ISO 8601 week with its year, such as 2004-W01")
    dayOfMonth: Int = _day("Day of the month, 1 to 31", in_range={"min_value": 1, "max_value": 31})
    dayOfWeek: Int = _day("ISO 8601: 1 Monday to 7 Sunday", in_range={"min_value": 1, "max_value": 7})
    dayName: Text = _day("English name of the weekday")
    isWeekend: Bool = _day("True on Saturday and Sunday")

    class Config:
        name = "warehouse/dim_dates"
        unique = ["date"]
        metadata = facts(
            independent=days_of,
            reconciliations=[
                Reconciliation(
                    "every day of the facts",
                    by=("calendar",),
                    actual=proofs.calendar_span,
                    expected=proofs.facts_span,
                    assumes="facts refer to days by the dates of published orders and payments",
                )
            ],
        )
