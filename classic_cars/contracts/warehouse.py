"""Contracts of the ``warehouse`` layer: the facts of the star schema; dimensions are in ``dimensions.py``.

Every column is proven equal to where it comes from; a reference to nothing in staging has an inferred member here,
so that facts keep their rows. Orders and payments are reconciled with ``source`` itself besides.
"""

from __future__ import annotations

import ibis
import pandera.ibis as pa

from classic_cars.contracts import proofs
from classic_cars.contracts.dimensions import place, usable
from classic_cars.contracts.metrics import METRICS
from classic_cars.contracts.origins import EXPECTED, UNKNOWN, UNKNOWN_NUMBER, copied, derived
from classic_cars.contracts.staging import STATUSES
from classic_cars.contracts.vocabulary import (
    BIGGEST_QUANTITY,
    PERSONAL,
    Amount,
    Complete,
    Date,
    Int,
    Money,
    Reconciliation,
    Reference,
    TableModel,
    Text,
    TimestampUTC,
    extended,
    facts,
    row_rule,
)


class FactOrders(TableModel):
    """Order lines with their order, customer, place and product; one row per order line."""

    orderNumber: Int = pa.Field(description="Order's number")
    orderLineNumber: Int = pa.Field(ge=1, nullable=True, description="Position of the line in its order")
    productCode: Text = pa.Field(description="Product, in dim_products")
    customerNumber: Int = pa.Field(
        description="Customer, in dim_customers; -1 when the order names none", metadata=copied(missing=UNKNOWN_NUMBER)
    )
    postalCode: Text = pa.Field(nullable=True, description="Customer's postal code; not a key: use locationKey")
    locationKey: Text = place("Customer's place, in dim_locations")
    salesRepEmployeeNumber: Int = pa.Field(nullable=True, description="Customer's sales rep, in dim_employees")
    orderDate: Date = pa.Field(description="Day the order was placed; its month is the partition")
    requiredDate: Date = pa.Field(nullable=True, description="Day the customer wants it")
    shippedDate: Date = pa.Field(nullable=True, description="Day it was shipped; missing until then")
    status: Text = pa.Field(
        description=f"Order's status: {', '.join(STATUSES)}, or another one that the order system came up with",
        metadata=copied(missing=UNKNOWN),
    )
    comments: Text = pa.Field(nullable=True, description="Free text of the sales desk", metadata=PERSONAL)
    quantityOrdered: Int = pa.Field(
        in_range={"min_value": 1, "max_value": BIGGEST_QUANTITY}, description="Units ordered"
    )
    priceEach: Money = pa.Field(ge=0, description="Price per unit agreed for this line, in USD")
    buyPrice: Money = pa.Field(
        ge=0,
        nullable=True,
        description="Price the retailer pays per unit, in USD; without it a line makes no gross profit",
        metadata=EXPECTED,
    )
    MSRP: Money = pa.Field(ge=0, nullable=True, description="Manufacturer's suggested retail price per unit, in USD")
    orderAmount: Amount = pa.Field(
        ge=0,
        description="quantityOrdered times priceEach, in USD",
        metadata=derived(
            "staging/orderdetails.quantityOrdered",
            "staging/orderdetails.priceEach",
            by=lambda row: (row.quantityOrdered * row.priceEach).cast("decimal(18, 2)"),
        ),
    )

    @row_rule("orderAmount is quantityOrdered times priceEach, to the cent")
    def amount_is_quantity_times_price(cls, lines: ibis.Table) -> ibis.expr.types.BooleanValue:
        return lines.orderAmount == lines.quantityOrdered * lines.priceEach

    class Config:
        name = "warehouse/fact_orders"
        unique = ["orderNumber", "productCode"]
        metadata = facts(
            partitioned_by="orderDate",
            complete=Complete(
                "orderdetails",
                published=lambda lines: (lines.orderDate, lines.orderAmount),
                raw=lambda lines: (lines.orderMonth, extended(lines.quantityOrdered, lines.priceEach)),
            ),
            totals={
                "units": lambda lines: lines.quantityOrdered.sum(),
                "amount": lambda lines: lines.orderAmount.sum(),
            },
            references=[
                Reference("productCode", "warehouse/dim_products", "productCode"),
                Reference("customerNumber", "warehouse/dim_customers", "customerNumber"),
                Reference("locationKey", "warehouse/dim_locations", "locationKey"),
                Reference("salesRepEmployeeNumber", "warehouse/dim_employees", "employeeNumber"),
                Reference("orderDate", "warehouse/dim_dates", "date"),
                Reference("requiredDate", "warehouse/dim_dates", "date"),
                Reference("shippedDate", "warehouse/dim_dates", "date"),
            ],
            reconciliations=[
                Reconciliation(
                    "by customer and status, from source",
                    by=("customerNumber", "status"),
                    actual=lambda fact_orders: proofs.metrics_by_customer_and_status(fact_orders, METRICS),
                    expected=proofs.by_customer_and_status,
                    assumes=proofs.ASSUMES,
                )
            ],
        )


class FactPayments(TableModel):
    """Payments by customers; one row per cheque."""

    customerNumber: Int = pa.Field(description="Customer who paid, in dim_customers")
    checkNumber: Text = pa.Field(description="Number of the cheque")
    paymentDate: Date = pa.Field(nullable=True, description="Day the payment arrived, in dim_dates")
    locationKey: Text = place("Customer's place, in dim_locations")
    amount: Money = pa.Field(description="Amount paid, in USD")

    class Config:
        name = "warehouse/fact_payments"
        unique = ["customerNumber", "checkNumber"]
        metadata = facts(
            complete=Complete(
                "payments",
                published=lambda payments: (payments.paymentDate, payments.amount),
                raw=lambda payments: (usable(payments.paymentDate), payments.amount),
            ),
            totals={"amount": lambda payments: payments.amount.sum()},
            references=[
                Reference("customerNumber", "warehouse/dim_customers", "customerNumber"),
                Reference("locationKey", "warehouse/dim_locations", "locationKey"),
                Reference("paymentDate", "warehouse/dim_dates", "date"),
            ],
            reconciliations=[
                Reconciliation(
                    "by customer, from source",
                    by=("customerNumber",),
                    actual=lambda fact_payments: proofs.payments_of(fact_payments),
                    expected=proofs.paid_by_customer,
                    assumes="a payment counts unless it is quarantined",
                )
            ],
        )


class FactRatings(TableModel):
    """Customers' current ratings of products; one row per customer and product."""

    customerNumber: Int = pa.Field(description="Customer who rates, in dim_customers")
    productCode: Text = pa.Field(description="Product that is rated, in dim_products")
    locationKey: Text = place("Customer's place, in dim_locations")
    productRating: Int = pa.Field(in_range={"min_value": 1, "max_value": 5}, description="Stars: 1 to 5")
    ratedAt: TimestampUTC = pa.Field(description="When the customer gave the rating, in UTC")

    class Config:
        name = "warehouse/fact_ratings"
        unique = ["customerNumber", "productCode"]
        metadata = facts(
            totals={"stars": lambda ratings: ratings.productRating.sum()},
            references=[
                Reference("customerNumber", "warehouse/dim_customers", "customerNumber"),
                Reference("productCode", "warehouse/dim_products", "productCode"),
                Reference("locationKey", "warehouse/dim_locations", "locationKey"),
            ],
        )
