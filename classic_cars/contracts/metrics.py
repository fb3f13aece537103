"""The metrics, defined once: what analysts mean by each word, and how it is computed from ``fact_orders``.

Assets aggregate with :data:`METRICS`; contracts, the data dictionary and ``docs/metrics.md`` take their
wording from here. Amounts are in USD, the currency of the order system. What else can be asked, of these and of other
facts, is in :mod:`classic_cars.contracts.measures`.

A metric says over what it is additive. What is additive is kept per month in tables of partial aggregates, and summed;
what is not is recomputed from the order lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

CANCELLED = "Cancelled"

#: What partial aggregates are kept by: the month of the order's date, and one of the others.
MONTH, CUSTOMER, PRODUCT = "orderMonth", "customerNumber", "productCode"


@dataclass(frozen=True)
class Unit:
    """What a number counts, and how it is written for people, as Python's ``format`` has it."""

    name: str
    format: str


USD, ORDERS, UNITS = Unit("USD", ",.2f"), Unit("orders", ",d"), Unit("units", ",d")

FACT_ORDERS = "warehouse/fact_orders"


@dataclass(frozen=True)
class Metric:
    """A number about a set of order lines. ``of`` maps ``fact_orders`` (any subset of it) to its value.

    ``columns``: those of ``fact_orders`` that it is made of. ``additive_over``: its value of any order lines is the sum
    of its values for each month, customer or product among them. ``fact``: another table that it is a number about.
    """

    name: str
    description: str
    of: Callable[[ibis.Table], ir.Scalar]
    columns: tuple[str, ...]
    additive_over: tuple[str, ...] = (MONTH, CUSTOMER, PRODUCT)
    unit: Unit = USD
    fact: str = FACT_ORDERS

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(f"{self.fact}.{name}" for name in self.columns)


def amount(value: ir.Value) -> ir.Value:
    """Sums of no rows are 0, and every amount has the type the contracts declare."""
    return value.fill_null(0).cast("decimal(18, 2)")


def not_cancelled(lines: ibis.Table) -> ir.BooleanValue:
    return lines.status != CANCELLED


METRICS: tuple[Metric, ...] = (
    Metric(
        "orders",
        "Orders with at least one of the lines, whatever their status",
        lambda lines: lines.orderNumber.nunique(),
        ("orderNumber",),
        # An order has one month and one customer, but several products.
        additive_over=(MONTH, CUSTOMER),
        unit=ORDERS,
    ),
    Metric(
        "units",
        "Units ordered, whatever the order's status",
        lambda lines: lines.quantityOrdered.sum().fill_null(0).cast("int64"),
        ("quantityOrdered",),
        unit=UNITS,
    ),
    Metric(
        "bookedAmount",
        "Booked amount: quantity times agreed price of every order line, whatever the order's status, in USD",
        lambda lines: amount(lines.orderAmount.sum()),
        ("orderAmount",),
    ),
    Metric(
        "netSales",
        "Net sales: the booked amount without cancelled orders, in USD",
        lambda lines: amount(lines.orderAmount.sum(where=not_cancelled(lines))),
        ("orderAmount", "status"),
    ),
    Metric(
        "grossProfit",
        "Gross profit: net sales less what the retailer pays for the units sold (quantity times buy price), in USD; of "
        "lines whose buy price is known",
        lambda lines: amount(
            (lines.orderAmount - (lines.quantityOrdered * lines.buyPrice).cast("decimal(18, 2)")).sum(
                where=not_cancelled(lines)
            )
        ),
        ("orderAmount", "quantityOrdered", "buyPrice", "status"),
    ),
)

SOLD_ORDERS = Metric(
    "soldOrders",
    "Orders that were not cancelled, with at least one of the lines",
    lambda lines: lines.orderNumber.nunique(where=not_cancelled(lines)),
    ("orderNumber", "status"),
    additive_over=(MONTH, CUSTOMER),
    unit=ORDERS,
)


def additive(over: str) -> tuple[Metric, ...]:
    """The metrics that may be summed up from partial aggregates by month and ``over``."""
    return tuple(each for each in METRICS if {MONTH, over} <= set(each.additive_over))


def kept(over: str) -> tuple[Metric, ...]:
    """What partial aggregates by month and ``over`` keep: beside these, what other answers are made of."""
    return (*additive(over), *(each for each in (SOLD_ORDERS,) if over in each.additive_over))


def not_additive(over: str) -> tuple[Metric, ...]:
    """The others: only the order lines tell them."""
    summed = [each.name for each in additive(over)]
    return tuple(each for each in METRICS if each.name not in summed)


def aggregate(lines: ibis.Table, *by: str, metrics: Sequence[Metric] | None = None) -> ibis.Table:
    """Metrics (by default all) of ``lines`` (``fact_orders``, with columns ``by`` added), one row per ``by``."""
    chosen = METRICS if metrics is None else metrics
    return lines.group_by(list(by)).aggregate(**{each.name: each.of(lines) for each in chosen})


def with_month(lines: ibis.Table) -> ibis.Table:
    """``fact_orders`` with the month of the order's date."""
    return lines.mutate(**{MONTH: lines.orderDate.truncate("M")})


def partials(lines: ibis.Table, over: str) -> ibis.Table:
    """The partial aggregates of ``fact_orders``: what is additive, by month and ``over``."""
    return aggregate(with_month(lines), MONTH, over, metrics=kept(over))


def summed(partial: ibis.Table, by: str, over: str) -> ibis.Table:
    """The additive metrics of partial aggregates, summed up to one row per ``by``."""
    columns = [partial[each.name] for each in additive(over)]
    return partial.group_by(by).aggregate(
        **{each.get_name(): each.sum().cast(each.type().copy(nullable=True)) for each in columns}
    )
