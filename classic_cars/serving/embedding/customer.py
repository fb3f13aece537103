"""What a customer is shown: their orders, deliveries and ratings, of one release. Amounts in USD.

Buy prices, the sales desk's comments and everything of others stay out of it. Expressions only: the customer's number
reaches the engine as a typed literal of theirs, and no text is made into SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir

from classic_cars.contracts.base import Contract
from classic_cars.contracts.dimensions import DimCustomers, DimProducts
from classic_cars.contracts.metrics import CANCELLED, not_cancelled
from classic_cars.contracts.warehouse import FactOrders, FactRatings
from classic_cars.stores.base import Reading

#: The newest orders, and ratings, that a page shows; totals are of all.
SHOWN = 100


@dataclass(frozen=True)
class Line:
    product: str
    quantity: int
    price: Decimal
    amount: Decimal


@dataclass(frozen=True)
class Order:
    number: int
    ordered: date
    required: date | None
    shipped: date | None
    status: str
    amount: Decimal
    lines: tuple[Line, ...]

    @property
    def days_late(self) -> int:
        """Days after the day the customer wants it; 0 when it is not known to be late."""
        return max(0, (self.shipped - self.required).days) if self.shipped and self.required else 0

    @property
    def delivery(self) -> str:
        """What became of it: ``shipped``, ``late``, ``stopped`` (cancelled) or ``open``."""
        if self.status == CANCELLED:
            return "stopped"
        if self.shipped is None:
            return "open"
        return "late" if self.days_late else "shipped"


@dataclass(frozen=True)
class Rating:
    product: str
    stars: int
    rated: datetime


@dataclass(frozen=True)
class Totals:
    """Of all orders; ``amount`` without cancelled ones."""

    orders: int
    amount: Decimal
    shipped: int
    open: int


@dataclass(frozen=True)
class Customer:
    number: int
    name: str
    totals: Totals
    orders: tuple[Order, ...]
    ratings: tuple[Rating, ...]
    ratings_given: int


def customer(tables: Reading, number: int) -> Customer | None:
    """The customer of that number; None when the release has none. Raises ``StoreError``."""
    known = _of(tables, Contract.of(DimCustomers), number)
    found = _rows(known.filter(~known.isInferred).select("customerName"))
    if not found:
        return None
    orders = _orders(tables, number)
    newest = _rows(orders.order_by(ibis.desc("orderDate"), ibis.desc("orderNumber")).limit(SHOWN))
    lines = _lines(tables, number, [row["orderNumber"] for row in newest])
    ratings = _of(tables, Contract.of(FactRatings), number)
    return Customer(
        number=number,
        name=found[0]["customerName"],
        totals=_totals(orders),
        orders=tuple(_order(row, lines.get(row["orderNumber"], ())) for row in newest),
        ratings=_ratings(tables, ratings),
        ratings_given=_rows(ratings.aggregate(found=ratings.count()))[0]["found"],
    )


def _of(tables: Reading, contract: Contract, number: int) -> ir.Table:
    rows = tables.read(contract)
    return rows.filter(rows.customerNumber == ibis.literal(number, "int64"))


def _orders(tables: Reading, number: int) -> ir.Table:
    """One row per order."""
    lines = _of(tables, Contract.of(FactOrders), number)
    return lines.group_by("orderNumber", "orderDate", "requiredDate", "shippedDate", "status").aggregate(
        amount=lines.orderAmount.sum(), counted=lines.orderAmount.sum(where=not_cancelled(lines)).fill_null(0)
    )


def _totals(orders: ir.Table) -> Totals:
    stands, shipped = not_cancelled(orders), orders.shippedDate.notnull()
    (row,) = _rows(
        orders.aggregate(
            orders=orders.count(),
            amount=orders.counted.sum().fill_null(0),
            shipped=orders.count(where=stands & shipped),
            open=orders.count(where=stands & ~shipped),
        )
    )
    return Totals(**row)


def _lines(tables: Reading, number: int, orders: list[int]) -> dict[int, tuple[Line, ...]]:
    """By order. The filter by customer stays, whatever the orders are."""
    if not orders:
        return {}
    lines = _named(tables, _of(tables, Contract.of(FactOrders), number))
    kept = lines.filter(lines.orderNumber.isin([ibis.literal(each, "int64") for each in orders]))
    found: dict[int, list[Line]] = {}
    for row in _rows(kept.order_by("orderNumber", "orderLineNumber", "productCode")):
        line = Line(row["productName"], row["quantityOrdered"], row["priceEach"], row["orderAmount"])
        found.setdefault(row["orderNumber"], []).append(line)
    return {order: tuple(each) for order, each in found.items()}


def _ratings(tables: Reading, ratings: ir.Table) -> tuple[Rating, ...]:
    newest = _named(tables, ratings).order_by(ibis.desc("ratedAt"), "productCode").limit(SHOWN)
    return tuple(Rating(row["productName"], row["productRating"], row["ratedAt"]) for row in _rows(newest))


def _named(tables: Reading, rows: ir.Table) -> ir.Table:
    products = tables.read(Contract.of(DimProducts)).select("productCode", "productName")
    return rows.left_join(products, "productCode")


def _order(row: dict[str, Any], lines: tuple[Line, ...]) -> Order:
    return Order(
        number=row["orderNumber"],
        ordered=row["orderDate"],
        required=row["requiredDate"],
        shipped=row["shippedDate"],
        status=row["status"],
        amount=row["amount"],
        lines=lines,
    )


def _rows(table: ir.Table) -> list[dict[str, Any]]:
    return table.to_pyarrow().to_pylist()
