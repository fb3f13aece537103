"""The metrics, defined once: what analysts mean by each word, and how it is computed from ``fact_orders``.

Assets aggregate with :data:`METRICS`; contracts, the data dictionary and ``docs/metrics.md`` take their
wording from here. Amounts are in USD, the currency of the order system.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

CANCELLED = "Cancelled"


@dataclass(frozen=True)
class Metric:
    """A number about a set of order lines. ``of`` maps ``fact_orders`` (any subset of it) to its value.

    ``columns``: those of ``fact_orders`` that it is made of.
    """

    name: str
    description: str
    of: Callable[[ibis.Table], ir.Scalar]
    columns: tuple[str, ...]

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(f"warehouse/fact_orders.{name}" for name in self.columns)


def _amount(value: ir.Value) -> ir.Value:
    """Sums of no rows are 0, and every amount has the type the contracts declare."""
    return value.fill_null(0).cast("decimal(18, 2)")


def _not_cancelled(lines: ibis.Table) -> ir.BooleanValue:
    return lines.status != CANCELLED


METRICS: tuple[Metric, ...] = (
    Metric(
        "orders",
        "Orders with at least one of the lines, whatever their status",
        lambda lines: lines.orderNumber.nunique(),
        ("orderNumber",),
    ),
    Metric(
        "units",
        "Units ordered, whatever the order's status",
        lambda lines: lines.quantityOrdered.sum().fill_null(0).cast("int64"),
        ("quantityOrdered",),
    ),
    Metric(
        "bookedAmount",
        "Booked amount: quantity times agreed price of every order line, whatever the order's status, in USD",
        lambda lines: _amount(lines.orderAmount.sum()),
        ("orderAmount",),
    ),
    Metric(
        "netSales",
        "Net sales: the booked amount without cancelled orders, in USD",
        lambda lines: _amount(lines.orderAmount.sum(where=_not_cancelled(lines))),
        ("orderAmount", "status"),
    ),
    Metric(
        "grossProfit",
        "Gross profit: net sales less what the retailer pays for the units sold (quantity times buy price), in USD; of "
        "lines whose buy price is known",
        lambda lines: _amount(
            (lines.orderAmount - (lines.quantityOrdered * lines.buyPrice).cast("decimal(18, 2)")).sum(
                where=_not_cancelled(lines)
            )
        ),
        ("orderAmount", "quantityOrdered", "buyPrice", "status"),
    ),
)


def aggregate(lines: ibis.Table, by: str) -> ibis.Table:
    """All metrics of ``lines`` (``fact_orders``, with column ``by`` added where needed), one row per ``by``."""
    return lines.group_by(by).aggregate(**{metric.name: metric.of(lines) for metric in METRICS})
