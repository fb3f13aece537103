"""The order system's physical schema: the eight tables of ``classicmodels``, as its owner declares them.

The one place for their names, types, keys and foreign keys. The simulator creates tables from it, the
reader selects by it, and the contracts of the ``source`` layer are derived from it. ``comment`` is the
column's description; ``info={"sensitivity": "personal"}`` marks personal data, which never reaches logs,
metadata or errors.

Source: the ``classicmodels`` sample database (Eclipse BIRT), in its MySQL edition's types.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData()

PERSONAL = {"sensitivity": "personal"}


def _text(length: int | None = None) -> sa.types.TypeEngine:
    return sa.String(length) if length else sa.Text()


def _column(
    name: str,
    kind: sa.types.TypeEngine,
    comment: str,
    *constraints: sa.schema.SchemaItem,
    key: bool = False,
    null: bool = False,
    personal: bool = False,
) -> sa.Column:
    return sa.Column(
        name,
        kind,
        *constraints,
        primary_key=key,
        nullable=null,
        autoincrement=False,
        comment=comment,
        info=PERSONAL if personal else {},
    )


MONEY = sa.Numeric(10, 2)

productlines = sa.Table(
    "productlines",
    metadata,
    _column("productLine", _text(50), "Name of the product line", key=True),
    _column("textDescription", _text(4000), "Description for print", null=True),
    _column(
        "htmlDescription",
        sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"),
        "Description for the web shop",
        null=True,
    ),
    _column(
        "image",
        sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb"),
        "Picture of the product line",
        null=True,
    ),
    comment="Categories of products; one row per product line",
)

products = sa.Table(
    "products",
    metadata,
    _column("productCode", _text(15), "Product's code: text, holds letters", key=True),
    _column("productName", _text(70), "Product's name"),
    _column("productLine", _text(50), "Product line", sa.ForeignKey("productlines.productLine")),
    _column("productScale", _text(10), "Scale of the model, such as 1:18"),
    _column("productVendor", _text(50), "Maker of the model"),
    _column("productDescription", _text(), "Description of the model"),
    _column("quantityInStock", sa.SmallInteger(), "Units in stock"),
    _column("buyPrice", MONEY, "Price the retailer pays per unit, in USD"),
    _column("MSRP", MONEY, "Manufacturer's suggested retail price per unit, in USD"),
    comment="Scale models for sale; one row per product",
)

offices = sa.Table(
    "offices",
    metadata,
    _column("officeCode", _text(10), "Office's code", key=True),
    _column("city", _text(50), "City"),
    _column("phone", _text(50), "Phone number"),
    _column("addressLine1", _text(50), "Street address"),
    _column("addressLine2", _text(50), "Rest of the address", null=True),
    _column("state", _text(50), "State or region", null=True),
    _column("country", _text(50), "Country"),
    _column("postalCode", _text(15), "Postal code: text, holds letters and leading zeros"),
    _column("territory", _text(10), "Sales territory: NA, EMEA, APAC, Japan"),
    comment="Sales offices; one row per office",
)

employees = sa.Table(
    "employees",
    metadata,
    _column("employeeNumber", sa.Integer(), "Employee's number", key=True),
    _column("lastName", _text(50), "Family name", personal=True),
    _column("firstName", _text(50), "Given name", personal=True),
    _column("extension", _text(10), "Phone extension", personal=True),
    _column("email", _text(100), "E-mail address", personal=True),
    _column("officeCode", _text(10), "Office", sa.ForeignKey("offices.officeCode")),
    _column(
        "reportsTo",
        sa.Integer(),
        "Manager's employee number",
        sa.ForeignKey("employees.employeeNumber"),
        null=True,
    ),
    _column("jobTitle", _text(50), "Job title"),
    comment="Staff; one row per employee",
)

customers = sa.Table(
    "customers",
    metadata,
    _column("customerNumber", sa.Integer(), "Customer's number", key=True),
    _column("customerName", _text(50), "Name of the customer's business"),
    _column("contactLastName", _text(50), "Contact's family name", personal=True),
    _column("contactFirstName", _text(50), "Contact's given name", personal=True),
    _column("phone", _text(50), "Contact's phone number", personal=True),
    _column("addressLine1", _text(50), "Street address", personal=True),
    _column("addressLine2", _text(50), "Rest of the address", null=True, personal=True),
    _column("city", _text(50), "City"),
    _column("state", _text(50), "State or region", null=True),
    _column("postalCode", _text(15), "Postal code: text, shared by places, sometimes missing", null=True),
    _column("country", _text(50), "Country"),
    _column(
        "salesRepEmployeeNumber",
        sa.Integer(),
        "Employee who looks after the customer",
        sa.ForeignKey("employees.employeeNumber"),
        null=True,
    ),
    _column("creditLimit", MONEY, "Credit limit, in USD", null=True),
    comment="Shops that buy from the retailer; one row per customer",
)

orders = sa.Table(
    "orders",
    metadata,
    _column("orderNumber", sa.Integer(), "Order's number", key=True),
    _column("orderDate", sa.Date(), "Day the order was placed"),
    _column("requiredDate", sa.Date(), "Day the customer wants it"),
    _column("shippedDate", sa.Date(), "Day it was shipped; missing until then", null=True),
    _column("status", _text(15), "Shipped, Resolved, Cancelled, On Hold, Disputed or In Process"),
    _column("comments", _text(), "Free text of the sales desk", null=True, personal=True),
    _column("customerNumber", sa.Integer(), "Customer", sa.ForeignKey("customers.customerNumber")),
    comment="Orders placed by customers; one row per order",
)

orderdetails = sa.Table(
    "orderdetails",
    metadata,
    _column("orderNumber", sa.Integer(), "Order", sa.ForeignKey("orders.orderNumber"), key=True),
    _column("productCode", _text(15), "Product", sa.ForeignKey("products.productCode"), key=True),
    _column("quantityOrdered", sa.Integer(), "Units ordered"),
    _column("priceEach", MONEY, "Price per unit agreed for this line, in USD"),
    _column("orderLineNumber", sa.SmallInteger(), "Position of the line in its order"),
    comment="Order lines; one row per product of an order",
)

payments = sa.Table(
    "payments",
    metadata,
    _column("customerNumber", sa.Integer(), "Customer who paid", sa.ForeignKey("customers.customerNumber"), key=True),
    _column("checkNumber", _text(50), "Number of the cheque", key=True),
    _column("paymentDate", sa.Date(), "Day the payment arrived"),
    _column("amount", MONEY, "Amount paid, in USD"),
    comment="Payments by customers; one row per cheque",
)

#: Child tables first: a child read before its parent never refers to a row that its parent's read missed,
#: even while the shop keeps writing.
READ_ORDER: tuple[sa.Table, ...] = (
    orderdetails,
    orders,
    payments,
    customers,
    employees,
    offices,
    products,
    productlines,
)

#: Tables whose rows belong to a month of ``orderDate``.
PARTITIONED = frozenset({"orders", "orderdetails"})
#: Tables with pictures, which are read and shown, and which no control total counts.
PICTURED = frozenset(
    table.name for table in READ_ORDER if any(isinstance(column.type, sa.LargeBinary) for column in table.columns)
)
