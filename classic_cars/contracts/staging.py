"""Contracts of the ``staging`` layer: trimmed, typed, deduplicated, keyed.

These are the row-level rules of the order system. A row that breaks one does not stop the others: it goes to
``quarantine/<table>`` with the reason, and source rows = staging rows + quarantined rows is proven.
"""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

import ibis
import pandera.ibis as pa

from classic_cars.contracts.base import (
    PERSONAL,
    Date,
    Int,
    Latest,
    Long,
    Moment,
    Money,
    Reference,
    TableModel,
    Text,
    clean,
    facts,
    row_rule,
)
from classic_cars.contracts.order_system import FIRST_MONTH

STATUSES = ["Shipped", "Resolved", "Cancelled", "On Hold", "Disputed", "In Process"]

#: Days that can be meant: outside of them a date is a typing error or a placeholder such as 9999-12-31.
FIRST_DAY, LAST_DAY = FIRST_MONTH, date(2099, 12, 31)

BIGGEST_QUANTITY = 100_000


def _day(description: str, nullable: bool = False) -> Any:
    return pa.Field(
        in_range={"min_value": FIRST_DAY, "max_value": LAST_DAY}, nullable=nullable, description=description
    )


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
    productName: Text = pa.Field(description="Product's name")
    productLine: Text = pa.Field(description="Product line")
    productScale: Text = pa.Field(description="Scale of the model, such as 1:18")
    productVendor: Text = pa.Field(description="Maker of the model")
    productDescription: Text = pa.Field(description="Description of the model")
    quantityInStock: Int = pa.Field(description="Units in stock; negative when more is promised than there is")
    buyPrice: Money = pa.Field(ge=0, description="Price the retailer pays per unit, in USD")
    MSRP: Money = pa.Field(ge=0, description="Manufacturer's suggested retail price per unit, in USD")

    texts = clean("productCode", "productName", "productLine", "productScale", "productVendor")

    class Config:
        name = "staging/products"
        unique = ["productCode"]
        metadata = facts(
            quarantines="source/products",
            references=[Reference("productLine", "staging/productlines", "productLine")],
        )


class Offices(TableModel):
    """Sales offices, cleaned; one row per office."""

    officeCode: Text = pa.Field(description="Office's code")
    city: Text = pa.Field(description="City")
    phone: Text = pa.Field(description="Phone number")
    addressLine1: Text = pa.Field(description="Street address")
    addressLine2: Text = pa.Field(nullable=True, description="Rest of the address")
    state: Text = pa.Field(nullable=True, description="State or region")
    country: Text = pa.Field(description="Country")
    postalCode: Text = pa.Field(description="Postal code: text, holds letters and leading zeros")
    territory: Text = pa.Field(description="Sales territory: NA, EMEA, APAC, Japan")

    texts = clean("officeCode", "city", "country", "postalCode", "territory")

    class Config:
        name = "staging/offices"
        unique = ["officeCode"]
        metadata = facts(quarantines="source/offices")


class Employees(TableModel):
    """Staff, cleaned; one row per employee."""

    employeeNumber: Int = pa.Field(ge=1, description="Employee's number")
    lastName: Text = pa.Field(description="Family name", metadata=PERSONAL)
    firstName: Text = pa.Field(description="Given name", metadata=PERSONAL)
    extension: Text = pa.Field(description="Phone extension", metadata=PERSONAL)
    email: Text = pa.Field(description="E-mail address", metadata=PERSONAL)
    officeCode: Text = pa.Field(description="Office")
    reportsTo: Int = pa.Field(nullable=True, description="Manager's employee number; missing at the top")
    jobTitle: Text = pa.Field(description="Job title")

    texts = clean("officeCode", "jobTitle")

    class Config:
        name = "staging/employees"
        unique = ["employeeNumber"]
        metadata = facts(
            quarantines="source/employees",
            references=[
                Reference("officeCode", "staging/offices", "officeCode"),
                Reference("reportsTo", "staging/employees", "employeeNumber"),
            ],
        )


class Customers(TableModel):
    """Customers, cleaned; one row per customer."""

    customerNumber: Int = pa.Field(ge=1, description="Customer's number")
    customerName: Text = pa.Field(description="Name of the customer's business")
    contactLastName: Text = pa.Field(description="Contact's family name", metadata=PERSONAL)
    contactFirstName: Text = pa.Field(description="Contact's given name", metadata=PERSONAL)
    phone: Text = pa.Field(description="Contact's phone number", metadata=PERSONAL)
    addressLine1: Text = pa.Field(description="Street address", metadata=PERSONAL)
    addressLine2: Text = pa.Field(nullable=True, description="Rest of the address", metadata=PERSONAL)
    city: Text = pa.Field(description="City")
    state: Text = pa.Field(nullable=True, description="State or region")
    postalCode: Text = pa.Field(nullable=True, description="Postal code: text, shared by places, sometimes missing")
    country: Text = pa.Field(description="Country")
    salesRepEmployeeNumber: Int = pa.Field(nullable=True, description="Employee who looks after the customer")
    creditLimit: Money = pa.Field(ge=0, nullable=True, description="Credit limit, in USD")

    texts = clean("customerName", "city", "state", "postalCode", "country")

    class Config:
        name = "staging/customers"
        unique = ["customerNumber"]
        metadata = facts(
            quarantines="source/customers",
            references=[Reference("salesRepEmployeeNumber", "staging/employees", "employeeNumber")],
        )


class Payments(TableModel):
    """Payments by customers, cleaned; one row per cheque."""

    customerNumber: Int = pa.Field(description="Customer who paid")
    checkNumber: Text = pa.Field(description="Number of the cheque")
    paymentDate: Date = _day("Day the payment arrived")
    amount: Money = pa.Field(ge=0, description="Amount paid, in USD")

    texts = clean("checkNumber")

    class Config:
        name = "staging/payments"
        unique = ["customerNumber", "checkNumber"]
        metadata = facts(
            quarantines="source/payments",
            totals={"amount": lambda payments: payments.amount.sum()},
            references=[Reference("customerNumber", "staging/customers", "customerNumber")],
        )


class Orders(TableModel):
    """Orders, cleaned; one row per order."""

    orderNumber: Int = pa.Field(ge=1, description="Order's number")
    orderDate: Date = _day("Day the order was placed")
    requiredDate: Date = _day("Day the customer wants it")
    shippedDate: Date = _day("Day it was shipped; missing until then", nullable=True)
    status: Text = pa.Field(isin=STATUSES, description=f"One of {', '.join(STATUSES)}")
    comments: Text = pa.Field(nullable=True, description="Free text of the sales desk", metadata=PERSONAL)
    customerNumber: Int = pa.Field(description="Customer")
    orderMonth: Date = pa.Field(description="First day of the month of orderDate: the row's partition")

    @row_rule("orderDate lies in a month from 2003-01 to the current one")
    def date_in_range(cls, orders: ibis.Table) -> ibis.expr.types.BooleanValue:
        return orders.orderDate.truncate("M") == orders.orderMonth

    @row_rule("requiredDate is not before orderDate")
    def required_after_ordered(cls, orders: ibis.Table) -> ibis.expr.types.BooleanValue:
        return orders.requiredDate >= orders.orderDate

    @row_rule("shippedDate is not before orderDate")
    def shipped_after_ordered(cls, orders: ibis.Table) -> ibis.expr.types.BooleanValue:
        return orders.shippedDate >= orders.orderDate

    class Config:
        name = "staging/orders"
        unique = ["orderNumber"]
        metadata = facts(
            quarantines="source/orders",
            partitioned_by="orderMonth",
            references=[Reference("customerNumber", "staging/customers", "customerNumber")],
        )


class Orderdetails(TableModel):
    """Order lines, cleaned; one row per product of an order."""

    orderNumber: Int = pa.Field(description="Order")
    productCode: Text = pa.Field(description="Product")
    quantityOrdered: Int = pa.Field(
        in_range={"min_value": 1, "max_value": BIGGEST_QUANTITY}, description="Units ordered"
    )
    priceEach: Money = pa.Field(ge=0, description="Price per unit agreed for this line, in USD")
    orderLineNumber: Int = pa.Field(ge=1, description="Position of the line in its order")
    orderMonth: Date = pa.Field(description="First day of the month of the order's date: the row's partition")

    class Config:
        name = "staging/orderdetails"
        unique = ["orderNumber", "productCode"]
        metadata = facts(
            quarantines="source/orderdetails",
            partitioned_by="orderMonth",
            totals={
                "units": lambda lines: lines.quantityOrdered.sum(),
                "amount": lambda lines: (lines.quantityOrdered * lines.priceEach).sum(),
            },
            references=[
                Reference("orderNumber", "staging/orders", "orderNumber"),
                Reference("productCode", "staging/products", "productCode"),
            ],
        )


def _moment(description: str) -> Any:
    first, last = datetime.combine(FIRST_DAY, time.min), datetime.combine(LAST_DAY, time.max)
    return pa.Field(in_range={"min_value": first, "max_value": last}, description=description)


class Ratings(TableModel):
    """Ratings of products by customers, cleaned; one row per customer and product: the latest.

    Earlier ratings of the same product by the same customer are superseded: they stay in source/ratings.
    """

    customerNumber: Int = pa.Field(description="Customer who rates")
    productCode: Text = pa.Field(description="Product that is rated")
    productRating: Int = pa.Field(in_range={"min_value": 1, "max_value": 5}, description="Stars: 1 to 5")
    ratedAt: Moment = _moment("When the customer gave the rating, in UTC")
    ingestedAt: Moment = _moment("When the partner received it, in UTC")
    fileHash: Text = pa.Field(description="SHA-256 of the content of the file that the row stood in")
    fileName: Text = pa.Field(description="Name under which that content landed first")
    lineNumber: Long = pa.Field(
        ge=1,
        description="Line of the file, a CSV record of several lines counting as one, or row of a Parquet file; from 1",
    )
    landedAt: Moment = pa.Field(description="When the file was last changed, in UTC")

    texts = clean("productCode")

    # Clocks differ a little; a rating of a wrong year would be the latest for ever.
    @row_rule("ratedAt is not more than a day after ingestedAt")
    def rated_before_received(cls, ratings: ibis.Table) -> ibis.expr.types.BooleanValue:
        return ratings.ratedAt <= ratings.ingestedAt + ibis.interval(days=1)

    class Config:
        name = "staging/ratings"
        unique = ["customerNumber", "productCode"]
        metadata = facts(
            quarantines="source/ratings",
            # Partners send what they like: their bad rows are kept and counted, and stop nobody.
            quarantine_max_share=1.0,
            latest=Latest(by=("ratedAt", "ingestedAt", "landedAt"), row=("fileHash", "lineNumber")),
            totals={"stars": lambda ratings: ratings.productRating.sum()},
            references=[
                Reference("customerNumber", "staging/customers", "customerNumber"),
                Reference("productCode", "staging/products", "productCode"),
            ],
        )


CONTRACTS = (Productlines, Products, Offices, Employees, Customers, Payments, Orders, Orderdetails, Ratings)
