"""Bugs in the definitions of metrics: assets and contracts both see the wrong one, as they would in reality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ibis
import ibis.expr.types as ir

from classic_cars.contracts import analytics
from classic_cars.contracts import metrics as true
from classic_cars.contracts.base import Contract
from classic_cars_tests.mutation.mutant import METRIC_TABLES, Mutant

#: Modules that know the metrics by name.
KNOWN_AS = tuple(f"classic_cars.contracts.{module}.METRICS" for module in ("metrics", "analytics", "warehouse"))


def _remade(contract: Contract) -> Contract:
    """The contract of partial aggregates or of an answer, as it would have been made of the patched metrics."""
    proof, *_ = contract.reconciliations
    if len(contract.key) == 2:
        return analytics._partial(contract.name, contract.key[1], proof.expected, *contract.controls)
    (by,) = contract.key
    over = true.PRODUCT if by == "productLine" else true.CUSTOMER
    assert contract.recomputed is not None
    column = contract.schema.columns[by]
    return analytics._answer(contract.name, contract.description, over, column, proof.expected, contract.recomputed)


def _metric(metric: str, name: str, of: Callable[[ibis.Table], Any], *columns: str) -> Mutant:
    """Another definition of one metric; ``columns``, where it is made of others than the original."""
    new = tuple(
        replace(each, of=lambda lines: _as(metric, of(lines)), columns=columns or each.columns)
        if each.name == metric
        else each
        for each in true.METRICS
    )
    return Mutant(
        "metrics", f"{metric}: {name}", patches=dict.fromkeys(KNOWN_AS, new), remade=METRIC_TABLES, contract=_remade
    )


def _patched(target: str, name: str, value: Any) -> Mutant:
    return Mutant("metrics", name, patches={target: value}, remade=METRIC_TABLES, contract=_remade)


def _as(metric: str, value: ir.Value) -> ir.Value:
    return value.fill_null(0).cast("int64" if metric in analytics.COUNTS else "decimal(18, 2)")


def _sold(lines: ibis.Table) -> ir.BooleanValue:
    return lines.status != "Cancelled"


def _cost(lines: ibis.Table) -> ir.DecimalValue:
    return (lines.quantityOrdered * lines.buyPrice).cast("decimal(18, 2)")


def _profit(lines: ibis.Table) -> ir.DecimalValue:
    return lines.orderAmount - _cost(lines)


CONSTANT, CONDITION = "classic_cars.contracts.metrics.CANCELLED", "classic_cars.contracts.metrics.not_cancelled"

MUTANTS = (
    _metric("orders", "order lines counted as orders", lambda t: t.orderNumber.count()),
    _metric("orders", "distinct customers as orders", lambda t: t.customerNumber.nunique(), "customerNumber"),
    _metric("orders", "months with orders", lambda t: t.orderDate.truncate("M").nunique(), "orderDate"),
    _metric(
        "orders", "cancelled orders left out", lambda t: t.orderNumber.nunique(where=_sold(t)), "orderNumber", "status"
    ),
    _metric(
        "orders",
        "open orders left out",
        lambda t: t.orderNumber.nunique(where=t.shippedDate.notnull()),
        "orderNumber",
        "shippedDate",
    ),
    _metric("units", "lines counted as units", lambda t: t.quantityOrdered.count()),
    _metric("units", "greatest quantity", lambda t: t.quantityOrdered.max()),
    _metric(
        "units",
        "of shipped orders only",
        lambda t: t.quantityOrdered.sum(where=t.status == "Shipped"),
        "quantityOrdered",
        "status",
    ),
    _metric(
        "units",
        "without cancelled orders",
        lambda t: t.quantityOrdered.sum(where=_sold(t)),
        "quantityOrdered",
        "status",
    ),
    _metric("units", "each quantity counted once", lambda t: t.quantityOrdered.nunique()),
    _metric(
        "bookedAmount",
        "cancelled orders left out",
        lambda t: t.orderAmount.sum(where=_sold(t)),
        "orderAmount",
        "status",
    ),
    _metric("bookedAmount", "quantity forgotten", lambda t: t.priceEach.sum(), "priceEach"),
    _metric("bookedAmount", "at list price", lambda t: (t.quantityOrdered * t.MSRP).sum(), "quantityOrdered", "MSRP"),
    _metric("bookedAmount", "rounded to dollars", lambda t: t.orderAmount.sum().round(0)),
    _metric("bookedAmount", "average of the lines", lambda t: t.orderAmount.mean()),
    _metric(
        "bookedAmount",
        "lines of a cent or less counted as lost, others rounded down",
        lambda t: t.orderAmount.floor().sum(),
    ),
    _metric("netSales", "cancelled orders included", lambda t: t.orderAmount.sum(), "orderAmount"),
    _metric(
        "netSales",
        "cancelled orders included, as far as the data say",
        lambda t: t.orderAmount.sum(where=t.status.notnull()),
    ),
    _metric(
        "netSales",
        "cancelled orders subtracted",
        lambda t: t.orderAmount.sum(where=_sold(t)) - t.orderAmount.sum(where=~_sold(t)).fill_null(0),
    ),
    _metric(
        "netSales", "orders on hold left out", lambda t: t.orderAmount.sum(where=_sold(t) & (t.status != "On Hold"))
    ),
    _metric(
        "netSales", "disputed orders left out", lambda t: t.orderAmount.sum(where=_sold(t) & (t.status != "Disputed"))
    ),
    _metric("netSales", "shipped orders only", lambda t: t.orderAmount.sum(where=t.status == "Shipped")),
    _metric(
        "netSales",
        "orders with a shipping date only",
        lambda t: t.orderAmount.sum(where=t.shippedDate.notnull()),
        "orderAmount",
        "shippedDate",
    ),
    _metric(
        "grossProfit",
        "MSRP for buyPrice",
        lambda t: (t.orderAmount - t.quantityOrdered * t.MSRP).sum(where=_sold(t)),
        "orderAmount",
        "quantityOrdered",
        "MSRP",
        "status",
    ),
    _metric(
        "grossProfit",
        "profit on list price",
        lambda t: (t.quantityOrdered * (t.MSRP - t.buyPrice)).sum(where=_sold(t)),
        "quantityOrdered",
        "MSRP",
        "buyPrice",
        "status",
    ),
    _metric(
        "grossProfit",
        "quantity forgotten",
        lambda t: (t.orderAmount - t.buyPrice).sum(where=_sold(t)),
        "orderAmount",
        "buyPrice",
        "status",
    ),
    _metric(
        "grossProfit",
        "quantity forgotten, as far as the data say",
        lambda t: (t.orderAmount - t.buyPrice * t.quantityOrdered / t.quantityOrdered).sum(where=_sold(t)),
    ),
    _metric(
        "grossProfit",
        "cancelled orders included",
        lambda t: _profit(t).sum(),
        "orderAmount",
        "quantityOrdered",
        "buyPrice",
    ),
    _metric(
        "grossProfit",
        "cancelled orders included, as far as the data say",
        lambda t: _profit(t).sum(where=t.status.notnull()),
    ),
    _metric(
        "grossProfit", "orders on hold left out", lambda t: _profit(t).sum(where=_sold(t) & (t.status != "On Hold"))
    ),
    _metric(
        "grossProfit",
        "a buy price that is not known is zero",
        lambda t: (t.orderAmount - _cost(t).fill_null(0)).sum(where=_sold(t)),
    ),
    _metric(
        "grossProfit", "cost rounded to dollars", lambda t: (t.orderAmount - _cost(t).round(0)).sum(where=_sold(t))
    ),
    _metric(
        "grossProfit",
        "cost of cancelled orders taken off",
        lambda t: t.orderAmount.sum(where=_sold(t)) - _cost(t).sum(),
    ),
    _metric("grossProfit", "losses left out", lambda t: _profit(t).sum(where=_sold(t) & (_profit(t) > 500))),
    _patched(CONSTANT, 'CANCELLED is "Canceled"', "Canceled"),
    _patched(CONSTANT, 'CANCELLED is "cancelled"', "cancelled"),
    _patched(CONSTANT, 'CANCELLED is "On Hold"', "On Hold"),
    _patched(CONDITION, "disputed orders count as cancelled", lambda t: ~t.status.isin(["Cancelled", "Disputed"])),
    _patched(CONDITION, "only resolved and shipped orders count", lambda t: t.status.isin(["Shipped", "Resolved"])),
    _patched(CONDITION, "cancelled and not cancelled exchanged", lambda t: t.status == "Cancelled"),
    _patched(
        "classic_cars.contracts.metrics.amount",
        "amounts in thousands",
        lambda value: (value.fill_null(0) / 1000).cast("decimal(18, 2)"),
    ),
    _patched(
        "classic_cars.contracts.metrics.amount",
        "amounts without cents",
        lambda value: value.fill_null(0).floor().cast("decimal(18, 2)"),
    ),
)
