"""Contracts of the ``warehouse`` layer: the star schema.

Keys are proven unique, references are proven to exist, and every fact is reconciled with staging along a
path that aggregates first and looks names up afterwards, so that it shares no join with the asset.
"""

from __future__ import annotations

import ibis
import pandera.ibis as pa

from classic_cars.contracts.base import (
    PERSONAL,
    Amount,
    Bool,
    Date,
    Int,
    Moment,
    Money,
    Reconciliation,
    Reference,
    TableModel,
    Text,
    clean,
    facts,
    row_rule,
)
from classic_cars.contracts.staging import BIGGEST_QUANTITY, STATUSES

# Reconciliations ---------------------------------------------------------------------------------------
# The parameters name tables: the nearest layer at or below the table's own that has one of that name.


def _count(table: ibis.Table, column: str) -> ibis.Table:
    return table.group_by(column).aggregate(rows=table.count())


def _sum_of_counts(counted: ibis.Table, column: str) -> ibis.Table:
    return counted.group_by(column).aggregate(
        rows=counted.rows.sum(), units=counted.units.sum(), amount=counted.amount.sum()
    )


def _fact_measures(fact_orders: ibis.Table, key: str) -> ibis.Table:
    return fact_orders.group_by(key).aggregate(
        rows=fact_orders.count(), units=fact_orders.quantityOrdered.sum(), amount=fact_orders.orderAmount.sum()
    )


def _line_measures(orderdetails: ibis.Table, key: str) -> ibis.Table:
    amount = (orderdetails.quantityOrdered * orderdetails.priceEach).sum()
    return orderdetails.group_by(key).aggregate(
        rows=orderdetails.count(), units=orderdetails.quantityOrdered.sum(), amount=amount
    )


def _fact_by_month(fact_orders: ibis.Table) -> ibis.Table:
    return _fact_measures(fact_orders.mutate(orderMonth=fact_orders.orderDate.truncate("M")), "orderMonth")


def _lines_by_month(orderdetails: ibis.Table) -> ibis.Table:
    return _line_measures(orderdetails, "orderMonth")


def _fact_by_product_line(fact_orders: ibis.Table, dim_products: ibis.Table) -> ibis.Table:
    counted = _fact_measures(fact_orders, "productCode").left_join(
        dim_products.select("productCode", "productLine"), "productCode"
    )
    return _sum_of_counts(counted, "productLine")


def _lines_by_product_line(orderdetails: ibis.Table, products: ibis.Table) -> ibis.Table:
    counted = _line_measures(orderdetails, "productCode").left_join(
        products.select("productCode", "productLine"), "productCode"
    )
    return _sum_of_counts(counted, "productLine")


def _fact_by_country(fact_orders: ibis.Table, dim_locations: ibis.Table) -> ibis.Table:
    counted = _fact_measures(fact_orders, "locationKey").left_join(
        dim_locations.select("locationKey", "country"), "locationKey"
    )
    return _sum_of_counts(counted, "country")


def _lines_by_country(orderdetails: ibis.Table, orders: ibis.Table, customers: ibis.Table) -> ibis.Table:
    by_order = _line_measures(orderdetails, "orderNumber").left_join(
        orders.select("orderNumber", "customerNumber"), "orderNumber"
    )
    by_customer = _sum_of_counts(by_order, "customerNumber").left_join(
        customers.select("customerNumber", "country"), "customerNumber"
    )
    return _sum_of_counts(by_customer, "country")


def _customers_by_country(dim_customers: ibis.Table, dim_locations: ibis.Table) -> ibis.Table:
    return _count(dim_customers.left_join(dim_locations.select("locationKey", "country"), "locationKey"), "country")


def _places_by_country(customers: ibis.Table) -> ibis.Table:
    return _count(customers.select("postalCode", "city", "state", "country").distinct(), "country")


def _payment_measures(payments: ibis.Table) -> ibis.Table:
    by_month = payments.mutate(paymentMonth=payments.paymentDate.truncate("M"))
    return by_month.group_by("paymentMonth").aggregate(rows=by_month.count(), amount=by_month.amount.sum())


def _rating_measures(ratings: ibis.Table, key: str) -> ibis.Table:
    return ratings.group_by(key).aggregate(rows=ratings.count(), stars=ratings.productRating.sum())


def _ratings_by(ratings: ibis.Table, key: str, names: ibis.Table, by: str) -> ibis.Table:
    counted = _rating_measures(ratings, key).left_join(names.select(key, by), key)
    return counted.group_by(by).aggregate(rows=counted.rows.sum(), stars=counted.stars.sum())


def _fact_ratings_by_country(fact_ratings: ibis.Table, dim_locations: ibis.Table) -> ibis.Table:
    return _ratings_by(fact_ratings, "locationKey", dim_locations, "country")


def _day_number(day: ibis.expr.types.DateValue) -> ibis.expr.types.IntegerValue:
    """Days since 2000-01-01: reconciliations compare numbers."""
    return day.delta(ibis.date(2000, 1, 1), unit="day")


def _calendar_span(dim_dates: ibis.Table) -> ibis.Table:
    return dim_dates.aggregate(
        rows=dim_dates.count(), first=_day_number(dim_dates.date.min()), last=_day_number(dim_dates.date.max())
    ).mutate(calendar=ibis.literal("all days"))


def _facts_span(orders: ibis.Table, payments: ibis.Table) -> ibis.Table:
    days = ibis.union(
        orders.select(day="orderDate"),
        orders.select(day="requiredDate"),
        orders.select(day="shippedDate"),
        payments.select(day="paymentDate"),
    )
    span = days.aggregate(first=_day_number(days.day.min()), last=_day_number(days.day.max()))
    return span.mutate(rows=(span.last - span.first + 1).fill_null(0), calendar=ibis.literal("all days"))


# Tables ------------------------------------------------------------------------------------------------


class DimProducts(TableModel):
    """Products with the texts of their product line; one row per product."""

    productCode: Text = pa.Field(description="Product's code: text, holds letters")
    productName: Text = pa.Field(description="Product's name")
    productLine: Text = pa.Field(description="Product line")
    productScale: Text = pa.Field(description="Scale of the model, such as 1:18")
    productVendor: Text = pa.Field(description="Maker of the model")
    productDescription: Text = pa.Field(description="Description of the model")
    productLineDescription: Text = pa.Field(nullable=True, description="Description of the product line")

    texts = clean("productCode", "productName", "productLine")

    class Config:
        name = "warehouse/dim_products"
        unique = ["productCode"]
        metadata = facts(
            reconciliations=[
                Reconciliation(
                    "products per product line",
                    by=("productLine",),
                    actual=lambda dim_products: _count(dim_products, "productLine"),
                    expected=lambda products: _count(products, "productLine"),
                )
            ]
        )


class DimLocations(TableModel):
    """Places of customers; one row per postal code, city, state and country.

    Postal codes do not identify a place: several cities share one, and some places have none.
    """

    locationKey: Text = pa.Field(
        str_length={"min_value": 32, "max_value": 32},
        description="Surrogate key: hash of the cleaned postalCode, city, state and country; the same on every run",
    )
    postalCode: Text = pa.Field(nullable=True, description="Postal code; missing for some places")
    city: Text = pa.Field(description="City")
    state: Text = pa.Field(nullable=True, description="State or region")
    country: Text = pa.Field(description="Country")

    texts = clean("postalCode", "city", "state", "country")

    class Config:
        name = "warehouse/dim_locations"
        unique = ["locationKey"]
        metadata = facts(
            reconciliations=[
                Reconciliation(
                    "places per country",
                    by=("country",),
                    actual=lambda dim_locations: _count(dim_locations, "country"),
                    expected=_places_by_country,
                )
            ]
        )


class DimCustomers(TableModel):
    """Customers and the place they are at; one row per customer."""

    customerNumber: Int = pa.Field(description="Customer's number")
    customerName: Text = pa.Field(description="Name of the customer's business")
    contactLastName: Text = pa.Field(description="Contact's family name", metadata=PERSONAL)
    contactFirstName: Text = pa.Field(description="Contact's given name", metadata=PERSONAL)
    phone: Text = pa.Field(description="Contact's phone number", metadata=PERSONAL)
    addressLine1: Text = pa.Field(description="Street address", metadata=PERSONAL)
    addressLine2: Text = pa.Field(nullable=True, description="Rest of the address", metadata=PERSONAL)
    creditLimit: Money = pa.Field(ge=0, nullable=True, description="Credit limit, in USD")
    locationKey: Text = pa.Field(description="Place of the customer, in dim_locations")

    texts = clean("customerName")

    class Config:
        name = "warehouse/dim_customers"
        unique = ["customerNumber"]
        metadata = facts(
            references=[Reference("locationKey", "warehouse/dim_locations", "locationKey")],
            reconciliations=[
                Reconciliation(
                    "customers per country",
                    by=("country",),
                    actual=_customers_by_country,
                    expected=lambda customers: _count(customers, "country"),
                )
            ],
        )


class DimEmployees(TableModel):
    """Staff with their office; one row per employee."""

    employeeNumber: Int = pa.Field(description="Employee's number")
    lastName: Text = pa.Field(description="Family name", metadata=PERSONAL)
    firstName: Text = pa.Field(description="Given name", metadata=PERSONAL)
    email: Text = pa.Field(description="E-mail address", metadata=PERSONAL)
    jobTitle: Text = pa.Field(description="Job title")
    reportsTo: Int = pa.Field(nullable=True, description="Manager's employee number; missing at the top")
    officeCode: Text = pa.Field(description="Office's code")
    officeCity: Text = pa.Field(description="Office's city")
    officeState: Text = pa.Field(nullable=True, description="Office's state or region")
    officeCountry: Text = pa.Field(description="Office's country")
    officeTerritory: Text = pa.Field(description="Office's sales territory: NA, EMEA, APAC, Japan")

    texts = clean("officeCity", "officeCountry", "officeTerritory")

    class Config:
        name = "warehouse/dim_employees"
        unique = ["employeeNumber"]
        metadata = facts(
            references=[Reference("reportsTo", "warehouse/dim_employees", "employeeNumber")],
            reconciliations=[
                Reconciliation(
                    "employees per office",
                    by=("officeCode",),
                    actual=lambda dim_employees: _count(dim_employees, "officeCode"),
                    expected=lambda employees: _count(employees, "officeCode"),
                )
            ],
        )


class DimDates(TableModel):
    """The calendar; one row per day, from the first to the last day that a fact refers to."""

    date: Date = pa.Field(description="The day")
    year: Int = pa.Field(description="Calendar year")
    quarter: Int = pa.Field(in_range={"min_value": 1, "max_value": 4}, description="Quarter of the year, 1 to 4")
    quarterName: Text = pa.Field(description="Quarter with its year, such as 2004-Q1")
    month: Int = pa.Field(in_range={"min_value": 1, "max_value": 12}, description="Month of the year, 1 to 12")
    monthName: Text = pa.Field(description="English name of the month")
    yearMonth: Text = pa.Field(description="Month with its year, such as 2004-01")
    isoYear: Int = pa.Field(description="Year of the ISO 8601 week; differs from the year around New Year")
    isoWeek: Int = pa.Field(in_range={"min_value": 1, "max_value": 53}, description="ISO 8601 week, 1 to 53")
    isoWeekName: Text = pa.Field(description="ISO 8601 week with its year, such as 2004-W01")
    dayOfMonth: Int = pa.Field(in_range={"min_value": 1, "max_value": 31}, description="Day of the month, 1 to 31")
    dayOfWeek: Int = pa.Field(in_range={"min_value": 1, "max_value": 7}, description="ISO 8601: 1 Monday to 7 Sunday")
    dayName: Text = pa.Field(description="English name of the weekday")
    isWeekend: Bool = pa.Field(description="True on Saturday and Sunday")

    class Config:
        name = "warehouse/dim_dates"
        unique = ["date"]
        metadata = facts(
            reconciliations=[
                Reconciliation("every day of the facts", by=("calendar",), actual=_calendar_span, expected=_facts_span)
            ]
        )


class FactOrders(TableModel):
    """Order lines with their order, customer, place and product; one row per order line."""

    orderNumber: Int = pa.Field(description="Order's number")
    orderLineNumber: Int = pa.Field(ge=1, description="Position of the line in its order")
    productCode: Text = pa.Field(description="Product, in dim_products")
    customerNumber: Int = pa.Field(description="Customer, in dim_customers")
    postalCode: Text = pa.Field(nullable=True, description="Customer's postal code; not a key: use locationKey")
    locationKey: Text = pa.Field(description="Customer's place, in dim_locations")
    salesRepEmployeeNumber: Int = pa.Field(nullable=True, description="Customer's sales rep, in dim_employees")
    orderDate: Date = pa.Field(description="Day the order was placed; its month is the partition")
    requiredDate: Date = pa.Field(description="Day the customer wants it")
    shippedDate: Date = pa.Field(nullable=True, description="Day it was shipped; missing until then")
    status: Text = pa.Field(isin=STATUSES, description=f"Order's status: {', '.join(STATUSES)}")
    comments: Text = pa.Field(nullable=True, description="Free text of the sales desk", metadata=PERSONAL)
    quantityOrdered: Int = pa.Field(
        in_range={"min_value": 1, "max_value": BIGGEST_QUANTITY}, description="Units ordered"
    )
    priceEach: Money = pa.Field(ge=0, description="Price per unit agreed for this line, in USD")
    buyPrice: Money = pa.Field(ge=0, description="Price the retailer pays per unit, in USD")
    MSRP: Money = pa.Field(ge=0, description="Manufacturer's suggested retail price per unit, in USD")
    orderAmount: Amount = pa.Field(ge=0, description="quantityOrdered times priceEach, in USD")

    @row_rule("orderAmount is quantityOrdered times priceEach, to the cent")
    def amount_is_quantity_times_price(cls, lines: ibis.Table) -> ibis.expr.types.BooleanValue:
        return lines.orderAmount == lines.quantityOrdered * lines.priceEach

    class Config:
        name = "warehouse/fact_orders"
        unique = ["orderNumber", "productCode"]
        metadata = facts(
            partitioned_by="orderDate",
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
                Reconciliation("by month", by=("orderMonth",), actual=_fact_by_month, expected=_lines_by_month),
                Reconciliation(
                    "by product line",
                    by=("productLine",),
                    actual=_fact_by_product_line,
                    expected=_lines_by_product_line,
                ),
                Reconciliation("by country", by=("country",), actual=_fact_by_country, expected=_lines_by_country),
            ],
        )


class FactPayments(TableModel):
    """Payments by customers; one row per cheque."""

    customerNumber: Int = pa.Field(description="Customer who paid, in dim_customers")
    checkNumber: Text = pa.Field(description="Number of the cheque")
    paymentDate: Date = pa.Field(description="Day the payment arrived, in dim_dates")
    locationKey: Text = pa.Field(description="Customer's place, in dim_locations")
    amount: Money = pa.Field(ge=0, description="Amount paid, in USD")

    class Config:
        name = "warehouse/fact_payments"
        unique = ["customerNumber", "checkNumber"]
        metadata = facts(
            totals={"amount": lambda payments: payments.amount.sum()},
            references=[
                Reference("customerNumber", "warehouse/dim_customers", "customerNumber"),
                Reference("locationKey", "warehouse/dim_locations", "locationKey"),
                Reference("paymentDate", "warehouse/dim_dates", "date"),
            ],
            reconciliations=[
                Reconciliation(
                    "by month",
                    by=("paymentMonth",),
                    actual=_payment_measures,
                    expected=lambda payments: _payment_measures(payments),
                )
            ],
        )


class FactRatings(TableModel):
    """Customers' current ratings of products; one row per customer and product."""

    customerNumber: Int = pa.Field(description="Customer who rates, in dim_customers")
    productCode: Text = pa.Field(description="Product that is rated, in dim_products")
    locationKey: Text = pa.Field(description="Customer's place, in dim_locations")
    productRating: Int = pa.Field(in_range={"min_value": 1, "max_value": 5}, description="Stars: 1 to 5")
    ratedAt: Moment = pa.Field(description="When the customer gave the rating, in UTC")

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
            reconciliations=[
                Reconciliation(
                    "by product",
                    by=("productCode",),
                    actual=lambda fact_ratings: _rating_measures(fact_ratings, "productCode"),
                    expected=lambda ratings: _rating_measures(ratings, "productCode"),
                ),
                Reconciliation(
                    "by country",
                    by=("country",),
                    actual=_fact_ratings_by_country,
                    expected=lambda ratings, customers: _ratings_by(ratings, "customerNumber", customers, "country"),
                ),
            ],
        )


CONTRACTS = (DimProducts, DimLocations, DimCustomers, DimEmployees, DimDates, FactOrders, FactPayments, FactRatings)
