"""Which rows of the order system are asked for: those of some home months, and of each its order's date. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from classic_cars.contracts.order_system import metadata
from classic_cars.months import UNDATED, first_of_month
from classic_cars.sources.home_months import OrderDate, at_home
from classic_cars.sources.near_dates import Near
from classic_cars.sources.texts import as_text

#: From the date that decides a row's home to what is selected.
Columns = Callable[[OrderDate], list[Any]]

ORDERS = metadata.tables["orders"]
LINES = metadata.tables["orderdetails"]


@dataclass(frozen=True)
class Orders:
    """How orders are found: by number one row each, also where the database does not promise it."""

    #: Whether a number occurs once, and whether dates are in a column of dates; where they are near, if not.
    is_unique: bool
    is_dated: bool
    near: Near | None = None
    #: The index that lines are to be found by, for a database that has to be told.
    lines_index: str | None = None

    @property
    def by_number(self) -> Any:
        if self.is_unique:
            return ORDERS
        key, day = ORDERS.c.orderNumber, ORDERS.c.orderDate
        first = sa.func.min(as_text(day)).label(day.name)
        return sa.select(key, first).group_by(key).subquery("orders_by_number")

    def date_of(self, table: sa.Table, orders: Any) -> OrderDate:
        """The date that decides where a row of ``table`` is at home; ``orders``: ``by_number``, as it is joined."""
        if table is ORDERS:
            return OrderDate(orders.c.orderDate, self.is_dated, self.near)
        return OrderDate(orders.c.orderDate, self.is_dated and self.is_unique, self.near if self.is_unique else None)


@dataclass(frozen=True)
class Selection:
    """Rows of one table, of some home months if given; ``whole``: no order's home lies outside of them."""

    table: sa.Table
    orders: Orders
    months: Sequence[date] | None
    today: date
    whole: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether all orders are at home, so that none needs to be looked for."""
        return self.months is None or self.whole

    @property
    def has_orphans(self) -> bool:
        """Whether lines without an order are asked for."""
        return self.months is None or UNDATED in map(first_of_month, self.months)

    def queries(self, columns: Columns, by: Columns | None = None) -> list[sa.Select]:
        """Queries whose rows add up, grouped if asked for. Order lines come beside their orders."""
        if self.table is LINES:
            return self._of_lines(columns, by)
        day = self.orders.date_of(self.table, ORDERS)
        query = _grouped(columns, by, day).select_from(self.table)
        return [query if self.months is None or self.whole else query.where(at_home(day, self.months, self.today))]

    def _of_lines(self, columns: Columns, by: Columns | None) -> list[sa.Select]:
        orders, number = self.orders.by_number.alias("orders_of_lines"), LINES.c.orderNumber
        joined = _grouped(columns, by, self.orders.date_of(LINES, orders)).select_from(
            LINES.outerjoin(orders, orders.c.orderNumber == number)
        )
        orphan = orders.c.orderNumber.is_(None)
        if self.months is None or self.whole:
            return [joined if self.has_orphans else joined.where(sa.not_(orphan))]
        # From few orders to their lines by key, whatever the database knows of the tables: an IN does it, or hints.
        those = self.orders.by_number.alias("orders_at_home")
        day = self.orders.date_of(LINES, those)
        at_homes = at_home(day, self.months, self.today)
        if self.orders.lines_index is None:
            lines = joined.where(number.in_(sa.select(those.c.orderNumber).where(at_homes)))
        else:
            from_orders = those.join(LINES, those.c.orderNumber == number)
            lines = _grouped(columns, by, day).select_from(from_orders).where(at_homes).prefix_with("STRAIGHT_JOIN")
            lines = lines.with_hint(LINES, f"FORCE INDEX ({self.orders.lines_index})")
        return [lines, joined.where(orphan)] if self.has_orphans else [lines]


def _grouped(columns: Columns, by: Columns | None, day: OrderDate) -> sa.Select:
    return sa.select(*columns(day)).group_by(*(by(day) if by else []))


def together(queries: Sequence[sa.Select]) -> sa.Select | sa.CompoundSelect:
    first, *others = queries
    return sa.union_all(first, *others) if others else first
