"""Contracts of the ``staging`` layer: trimmed, typed, deduplicated, keyed.

These are the row-level rules of the order system, and what becomes of a row that breaks one. A row that cannot be
counted (no key, no number, no usable order date, a conflicting duplicate) goes to ``quarantine/<table>`` with the
reason. No money is quarantined for a descriptive column: its value becomes NULL and the raw one is kept in
``_rescued_data``, or it stays as it is and is counted as a warning.

Every text column is trimmed, and an empty text means missing: that is the layer's cleaning, and the proof against
``source`` goes by it.
"""

from __future__ import annotations

from typing import Any

import ibis
import pandera.ibis as pa

from classic_cars.contracts.countries import COUNTRIES
from classic_cars.contracts.origins import EXPECTED, FLAG, REPAIRED, spelled
from classic_cars.contracts.vocabulary import (
    BIGGEST_QUANTITY,
    PERSONAL,
    Date,
    Int,
    Money,
    Reference,
    TableModel,
    Text,
    clean,
    extended,
    facts,
    row_rule,
)
from classic_cars.months import FIRST_DAY, LAST_DAY

STATUSES = ["Shipped", "Resolved", "Cancelled", "On Hold", "Disputed", "In Process"]


def day(description: str, metadata: dict[str, Any] | None = None) -> Any:
    return pa.Field(
        in_range={"min_value": FIRST_DAY, "max_value": LAST_DAY},
        nullable=metadata is not None,
        description=description,
        metadata=metadata,
    )


def _expected(description: str, **more: Any) -> Any:
    """A descriptive text that every row should have; a missing one is flagged."""
    return pa.Field(nullable=True, description=description, metadata=EXPECTED, **more)


def _price(description: str) -> Any:
    """A price whose absence takes no row along: one that cannot be is repaired, a missing one flagged."""
    return pa.Field(ge=0, nullable=True, description=description, metadata=EXPECTED | REPAIRED)


class Productlines(TableModel):
    """Product lines, cleaned; one row per product line."""

    productLine: Text = pa.Field(description="Name of the product line")
    textDescription: Text = pa.Field(nullable=True, description="Description for print")
    htmlDescription: Text = pa.Field(nullable=True, description="Description for the web shop")

    texts = clean("productLine")

    class Config:
        name = "staging/productlines"
        unique = ["productLine"]
        metadata = facts(quarantines="source/productlines")


class Products(TableModel):
    """Products, cleaned; one row per product."""

    productCode: Text = pa.Field(description="Product's code: text, holds letters")
    productName: Text = _expected("Product's name")
    productLine: Text = _expected("Product line")
    productScale: Text = _expected("Scale of the model, such as 1:18")
    productVendor: Text = _expected("Maker of the model")
    productDescription: Text = _expected("Description of the model")
    quantityInStock: Int = _expected("Units in stock; negative when more is promised than there is")
    buyPrice: Money = _price("Price the retailer pays per unit, in USD")
    MSRP: Money = _price("Manufacturer's suggested retail price per unit, in USD")

    texts = clean("productCode", "productName", "productLine", "productScale", "productVendor")

    class Config:
        name = "staging/products"
        unique = ["productCode"]
        metadata = facts(
            quarantines="source/products",
            references=[Reference("productLine", "staging/productlines", "productLine", FLAG)],
        )


class Offices(TableModel):
    """Sales offices, cleaned; one row per office."""

    officeCode: Text = pa.Field(description="Office's code")
    city: Text = _expected("City")
    phone: Text = _expected("Phone number")
    addressLine1: Text = _expected("Street address")
    addressLine2: Text = pa.Field(nullable=True, description="Rest of the address")
    state: Text = pa.Field(nullable=True, description="State or region")
    country: Text = _expected("Country", isin=COUNTRIES, raise_warning=True)
    postalCode: Text = _expected("Postal code: text, holds letters and leading zeros")
    territory: Text = _expected("Sales territory: NA, EMEA, APAC, Japan")

    texts = clean("officeCode", "city", "country", "postalCode", "territory")

    class Config:
        name = "staging/offices"
        unique = ["officeCode"]
        metadata = facts(quarantines="source/offices")


class Employees(TableModel):
    """Staff, cleaned; one row per employee."""

    employeeNumber: Int = pa.Field(ge=1, description="Employee's number")
    lastName: Text = pa.Field(nullable=True, description="Family name", metadata=PERSONAL | EXPECTED)
    firstName: Text = pa.Field(nullable=True, description="Given name", metadata=PERSONAL | EXPECTED)
    extension: Text = pa.Field(nullable=True, description="Phone extension", metadata=PERSONAL | EXPECTED)
    email: Text = pa.Field(nullable=True, description="E-mail address", metadata=PERSONAL | EXPECTED)
    officeCode: Text = _expected("Office")
    reportsTo: Int = pa.Field(nullable=True, description="Manager's employee number; missing at the top")
    jobTitle: Text = _expected("Job title")

    texts = clean("officeCode", "jobTitle")

    class Config:
        name = "staging/employees"
        unique = ["employeeNumber"]
        metadata = facts(
            quarantines="source/employees",
            references=[
                Reference("officeCode", "staging/offices", "officeCode", FLAG),
                Reference("reportsTo", "staging/employees", "employeeNumber", FLAG),
            ],
        )


class Customers(TableModel):
    """Customers, cleaned; one row per customer."""

    customerNumber: Int = pa.Field(ge=1, description="Customer's number")
    customerName: Text = _expected("Name of the customer's business")
    contactLastName: Text = pa.Field(nullable=True, description="Contact's family name", metadata=PERSONAL | EXPECTED)
    contactFirstName: Text = pa.Field(nullable=True, description="Contact's given name", metadata=PERSONAL | EXPECTED)
    phone: Text = pa.Field(nullable=True, description="Contact's phone number", metadata=PERSONAL | EXPECTED)
    addressLine1: Text = pa.Field(nullable=True, description="Street address", metadata=PERSONAL | EXPECTED)
    addressLine2: Text = pa.Field(nullable=True, description="Rest of the address", metadata=PERSONAL)
    city: Text = _expected("City")
    state: Text = pa.Field(nullable=True, description="State or region")
    postalCode: Text = pa.Field(nullable=True, description="Postal code: text, shared by places, sometimes missing")
    country: Text = _expected("Country", isin=COUNTRIES, raise_warning=True)
    salesRepEmployeeNumber: Int = pa.Field(nullable=True, description="Employee who looks after the customer")
    creditLimit: Money = pa.Field(ge=0, nullable=True, description="Credit limit, in USD", metadata=REPAIRED)

    texts = clean("customerName", "city", "state", "postalCode", "country")

    class Config:
        name = "staging/customers"
        unique = ["customerNumber"]
        metadata = facts(
            quarantines="source/customers",
            references=[Reference("salesRepEmployeeNumber", "staging/employees", "employeeNumber", FLAG)],
        )


class Payments(TableModel):
    """Payments by customers, cleaned; one row per cheque."""

    customerNumber: Int = pa.Field(description="Customer who paid")
    checkNumber: Text = pa.Field(description="Number of the cheque")
    paymentDate: Date = day("Day the payment arrived", EXPECTED | REPAIRED)
    amount: Money = pa.Field(ge=0, raise_warning=True, description="Amount paid, in USD")

    texts = clean("checkNumber")

    class Config:
        name = "staging/payments"
        unique = ["customerNumber", "checkNumber"]
        metadata = facts(
            quarantines="source/payments",
            totals={"amount": lambda payments: payments.amount.sum()},
            money=lambda payments: payments.amount,
            references=[Reference("customerNumber", "staging/customers", "customerNumber", FLAG)],
        )


class Orders(TableModel):
    """Orders, cleaned; one row per order."""

    orderNumber: Int = pa.Field(ge=1, description="Order's number")
    orderDate: Date = day("Day the order was placed")
    requiredDate: Date = day("Day the customer wants it", EXPECTED | REPAIRED)
    shippedDate: Date = day("Day it was shipped; missing until then", REPAIRED)
    status: Text = pa.Field(
        isin=STATUSES,
        raise_warning=True,
        nullable=True,
        description=f"One of {', '.join(STATUSES)}; others are kept, and flagged",
        metadata=EXPECTED | spelled(STATUSES),
    )
    comments: Text = pa.Field(nullable=True, description="Free text of the sales desk", metadata=PERSONAL)
    customerNumber: Int = pa.Field(nullable=True, description="Customer", metadata=EXPECTED)
    orderMonth: Date = pa.Field(description="First day of the month of orderDate: the row's partition")

    @row_rule("orderDate lies in a month from 1900-02 to a year ahead")
    def date_in_range(cls, orders: ibis.Table) -> ibis.expr.types.BooleanValue:
        return orders.orderDate.truncate("M") == orders.orderMonth

    @row_rule("requiredDate is not before orderDate", severity=FLAG)
    def required_after_ordered(cls, orders: ibis.Table) -> ibis.expr.types.BooleanValue:
        return orders.requiredDate >= orders.orderDate

    @row_rule("shippedDate is not before orderDate", severity=FLAG)
    def shipped_after_ordered(cls, orders: ibis.Table) -> ibis.expr.types.BooleanValue:
        return orders.shippedDate >= orders.orderDate

    class Config:
        name = "staging/orders"
        unique = ["orderNumber"]
        metadata = facts(
            quarantines="source/orders",
            partitioned_by="orderMonth",
            references=[Reference("customerNumber", "staging/customers", "customerNumber", FLAG)],
        )


class Orderdetails(TableModel):
    """Order lines, cleaned; one row per product of an order."""

    orderNumber: Int = pa.Field(description="Order")
    productCode: Text = pa.Field(description="Product")
    quantityOrdered: Int = pa.Field(
        in_range={"min_value": 1, "max_value": BIGGEST_QUANTITY}, description="Units ordered"
    )
    priceEach: Money = pa.Field(ge=0, description="Price per unit agreed for this line, in USD")
    orderLineNumber: Int = pa.Field(
        ge=1, nullable=True, description="Position of the line in its order", metadata=EXPECTED | REPAIRED
    )
    orderMonth: Date = pa.Field(description="First day of the month of the order's date: the row's partition")

    class Config:
        name = "staging/orderdetails"
        unique = ["orderNumber", "productCode"]
        metadata = facts(
            quarantines="source/orderdetails",
            partitioned_by="orderMonth",
            totals={
                "units": lambda lines: lines.quantityOrdered.sum(),
                "amount": lambda lines: extended(lines.quantityOrdered, lines.priceEach).sum(),
            },
            money=lambda lines: extended(lines.quantityOrdered, lines.priceEach),
            references=[
                Reference("orderNumber", "staging/orders", "orderNumber"),
                Reference("productCode", "staging/products", "productCode", FLAG),
            ],
        )
