"""Everything that can be measured: the metrics of the answers, more of them, and what is worked out from them.

A measure is one of three. A :class:`~classic_cars.contracts.metrics.Metric` is aggregated from the rows of one fact,
always at the grain that is asked for, so that distinct orders are counted and not summed. A :class:`Ratio` is one
metric divided by another, each aggregated first. A :class:`Stock` is all that came in less all that went out up to a
day, and so is never summed over days. What they can be cut by is in :mod:`classic_cars.contracts.cuts`.
"""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from classic_cars.contracts.metrics import (
    CUSTOMER,
    FACT_ORDERS,
    METRICS,
    MONTH,
    ORDERS,
    PRODUCT,
    SOLD_ORDERS,
    USD,
    Metric,
    Unit,
    amount,
    not_cancelled,
)

OWNER = "team:analytics"
SHARE, LINES, STARS, RATINGS = Unit("share", ".1%"), Unit("lines", ",d"), Unit("stars", ".2f"), Unit("ratings", ",d")
LINES_EACH = Unit("lines per order", ",.2f")
#: Decimals of shares and changes. Many more than are written for people: what is written is rounded from these, and
#: from four of them 3.8496 % would be 3.85 %, and that 3.9 %.
DECIMALS = 8


@dataclass(frozen=True)
class Fact:
    """A table of facts, as measures see it: ``day`` dates its rows, ``keys`` are the columns that it can be cut by."""

    address: str
    day: str
    keys: tuple[str, ...]


FACT_PAYMENTS, FACT_RATINGS = "warehouse/fact_payments", "warehouse/fact_ratings"
FACTS = {
    each.address: each
    for each in (
        Fact(FACT_ORDERS, "orderDate", ("customerNumber", "productCode", "salesRepEmployeeNumber", "status")),
        Fact(FACT_PAYMENTS, "paymentDate", ("customerNumber",)),
        Fact(FACT_RATINGS, "ratedAt", ("customerNumber", "productCode")),
    )
}


@dataclass(frozen=True)
class Ratio:
    """``part`` divided by ``whole``, rounded half up to so many ``decimals``; NULL where ``whole`` is 0."""

    name: str
    description: str
    part: Metric
    whole: Metric
    unit: Unit
    decimals: int = DECIMALS

    @property
    def parts(self) -> tuple[Metric, ...]:
        return (self.part, self.whole)

    def of(self, part: ir.NumericValue, whole: ir.NumericValue) -> ir.DecimalValue:
        return divided(part, whole, self.decimals)


#: Room for a quotient of a billion USD and a cent, whatever its decimals.
_WHOLE_DIGITS = 14


def divided(part: ir.NumericValue, whole: ir.NumericValue, decimals: int) -> ir.DecimalValue:
    """The quotient, half up; NULL where ``whole`` is 0, which it is not below.

    Made of whole numbers of cents, so that every engine rounds alike. A float holds them exactly up to 4 billion USD
    with four decimals, and up to 450,000 USD with eight; beyond, only half of the last decimal may be rounded down.
    """
    ten = 10**decimals
    doubled = (_cents(part) * (2 * ten) + _cents(whole)) / (_cents(whole) * 2).nullif(0)
    # Columns of tables have four decimals at most, and no cause to be rebuilt.
    floor = doubled.floor() if decimals < DECIMALS else _floor(doubled)
    return (floor / ten).cast(f"decimal({max(18, _WHOLE_DIGITS + decimals)}, {decimals})")


def _floor(value: ir.FloatingValue) -> ir.FloatingValue:
    """As a float: ``floor`` makes 64-bit numbers, which the growth from a cent to a billion USD does not fit into."""
    rest = value % 1.0
    return value - rest - (rest < 0).ifelse(1.0, 0.0)


def _cents(value: ir.NumericValue) -> ir.FloatingValue:
    return (value * 100).cast("int64").cast("float64")


@dataclass(frozen=True)
class Stock:
    """All of ``inflow`` less all of ``outflow`` up to and with a day: the last one of what is asked for."""

    name: str
    description: str
    inflow: Metric
    outflow: Metric
    unit: Unit

    @property
    def parts(self) -> tuple[Metric, ...]:
        return (self.inflow, self.outflow)


Measure = Metric | Ratio | Stock


_OVER = {MONTH: "time", CUSTOMER: "customers", PRODUCT: "products"}


def additivity(measure: Measure) -> str:
    """Over what values of the measure may be summed, in words."""
    if isinstance(measure, Ratio):
        return f"not additive: {measure.part.name} divided by {measure.whole.name}, each aggregated first"
    if isinstance(measure, Stock):
        return "semi-additive: over customers, not over time; of a period it is the value at its end"
    over = [called for key, called in _OVER.items() if key in measure.additive_over]
    others = [called for called in _OVER.values() if called not in over]
    if not over:
        return "not additive: worked out at the grain that is asked for"
    if not others:
        return "additive"
    summed = f"over {' and '.join(over)}, not over {' or '.join(others)}"
    return f"semi-additive: {summed}; counted at the grain that is asked for"


def parts_of(measure: Measure) -> tuple[Metric, ...]:
    """The metrics that the measure is worked out from; itself, if it is one."""
    return (measure,) if isinstance(measure, Metric) else measure.parts


def _sold_with(lines: ibis.Table, known: ir.Value) -> ir.BooleanValue:
    return not_cancelled(lines) & known.notnull()


def _at_list_price(lines: ibis.Table) -> ir.DecimalValue:
    return (lines.quantityOrdered * lines.MSRP).cast("decimal(18, 2)")


def _dated(lines: ibis.Table) -> ir.BooleanValue:
    return not_cancelled(lines) & lines.shippedDate.notnull() & lines.requiredDate.notnull()


def _on_time(lines: ibis.Table) -> ir.BooleanValue:
    return not_cancelled(lines) & (lines.shippedDate <= lines.requiredDate).fill_null(False)


def _count(
    name: str, description: str, where: object, *columns: str, unit: Unit = ORDERS, fact: str = FACT_ORDERS
) -> Metric:
    """Orders, each counted once however many lines of it there are."""
    return Metric(
        name,
        description,
        lambda rows: rows.orderNumber.nunique(where=where(rows)),  # type: ignore[operator]
        ("orderNumber", *columns),
        additive_over=(MONTH, CUSTOMER),
        unit=unit,
        fact=fact,
    )


def _rows(name: str, description: str, unit: Unit, column: str, fact: str) -> Metric:
    return Metric(name, description, lambda rows: rows.count(), (column,), unit=unit, fact=fact)


_BY_NAME = {each.name: each for each in METRICS}

LINES_ORDERED = _rows("lines", "Order lines, whatever the order's status", LINES, "orderNumber", FACT_ORDERS)
DATED_SHIPMENTS = _count(
    "shippedOrders",
    "Orders that were shipped, say by when they are wanted and were not cancelled since",
    _dated,
    "shippedDate",
    "requiredDate",
    "status",
)
ON_TIME_SHIPMENTS = _count(
    "onTimeOrders",
    "Shipped orders that left on the day they are wanted, or before",
    _on_time,
    "shippedDate",
    "requiredDate",
    "status",
)
COSTED_SALES = Metric(
    "costedSales",
    "Net sales of lines whose buy price is known, in USD: what gross profit is a part of",
    lambda lines: amount(lines.orderAmount.sum(where=_sold_with(lines, lines.buyPrice))),
    ("orderAmount", "status", "buyPrice"),
)
LIST_AMOUNT = Metric(
    "listAmount",
    "What lines that were not cancelled would cost at the manufacturer's suggested retail price (MSRP), in USD; of "
    "lines whose MSRP is known",
    lambda lines: amount(_at_list_price(lines).sum(where=_sold_with(lines, lines.MSRP))),
    ("quantityOrdered", "MSRP", "status"),
)
DISCOUNT_AMOUNT = Metric(
    "discountAmount",
    "The list amount less the net sales of the same lines, in USD",
    lambda lines: amount((_at_list_price(lines) - lines.orderAmount).sum(where=_sold_with(lines, lines.MSRP))),
    ("quantityOrdered", "MSRP", "orderAmount", "status"),
)
PAYMENTS_AMOUNT = Metric(
    "payments",
    "Payments by customers, by the day they arrived, in USD",
    lambda payments: amount(payments.amount.sum()),
    ("amount",),
    fact=FACT_PAYMENTS,
)
RATINGS_GIVEN = _rows("ratings", "Current ratings of products by customers", RATINGS, "productRating", FACT_RATINGS)
STARS_GIVEN = Metric(
    "stars",
    "Sum of the stars of all ratings, 1 to 5 each",
    lambda ratings: ratings.productRating.sum().fill_null(0).cast("int64"),
    ("productRating",),
    unit=Unit("stars", ",d"),
    fact=FACT_RATINGS,
)

_ALL: tuple[Measure, ...] = (
    *METRICS,
    Ratio(
        "margin",
        "Gross profit as a share of the net sales of lines whose buy price is known",
        _BY_NAME["grossProfit"],
        COSTED_SALES,
        SHARE,
    ),
    Ratio(
        "averageOrderValue",
        "Net sales per order that was not cancelled, in USD",
        _BY_NAME["netSales"],
        SOLD_ORDERS,
        USD,
        2,
    ),
    Ratio(
        "linesPerOrder", "Order lines per order, whatever its status", LINES_ORDERED, _BY_NAME["orders"], LINES_EACH, 2
    ),
    Ratio(
        "discount",
        "Discount against the manufacturer's suggested retail price (MSRP): how far below it lines that were not "
        "cancelled were sold, as a share of it",
        DISCOUNT_AMOUNT,
        LIST_AMOUNT,
        SHARE,
    ),
    Ratio(
        "onTimeShipmentShare",
        "Share of shipped orders that left on the day they are wanted, or before; of orders that say both days",
        ON_TIME_SHIPMENTS,
        DATED_SHIPMENTS,
        SHARE,
    ),
    PAYMENTS_AMOUNT,
    Stock(
        "balance",
        "Customers' balance: net sales less payments up to and with the last day asked for, in USD; above 0 is owed. "
        "Payments without a day count from the beginning",
        _BY_NAME["netSales"],
        PAYMENTS_AMOUNT,
        USD,
    ),
    Ratio("averageRating", "Average stars of customers' current ratings, 1 to 5", STARS_GIVEN, RATINGS_GIVEN, STARS, 2),
    RATINGS_GIVEN,
    LINES_ORDERED,
    SOLD_ORDERS,
    DATED_SHIPMENTS,
    ON_TIME_SHIPMENTS,
    COSTED_SALES,
    LIST_AMOUNT,
    DISCOUNT_AMOUNT,
    STARS_GIVEN,
)

#: Every measure, by name: those that are asked for first, then what these are worked out from.
MEASURES: dict[str, Measure] = {each.name: each for each in _ALL}
