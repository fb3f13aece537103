"""Which rows of the order system are asked for: those of some home months, and of each its order's date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from classic_cars.contracts.order_system import PARTITIONED, UNDATED, metadata
from classic_cars.sources.asking import Asking
from classic_cars.sources.home_months import as_text, at_home, home_of, months_until

ORDERS = metadata.tables["orders"]
LINES = metadata.tables["orderdetails"]


class Selecting(Asking):
    """The order system's rows by home month, as queries of its own."""

    def months(self, today: date | None = None) -> list[date]:
        """The home months that have rows, sorted; see :func:`classic_cars.sources.conform.home_month`."""
        home = home_of(ORDERS.c.orderDate, today or date.today())
        (found,) = self._ask(sa.select(home).distinct())
        months = {date.fromisoformat(f"{row[0]}-01") for row in found}
        if UNDATED not in months and self._has_orphans():
            months.add(UNDATED)
        return sorted(months)

    def _has_orphans(self) -> bool:
        known = sa.select(ORDERS.c.orderNumber).where(ORDERS.c.orderNumber == LINES.c.orderNumber)
        orphan = sa.select(sa.literal(1)).select_from(LINES).where(~known.exists()).limit(1)
        return bool(self._ask(orphan)[0])

    def _dated(self, table: sa.Table) -> tuple[sa.Label, Any]:
        """The day, as text, that decides a row's home month, and where to select it from."""
        orders = ORDERS if table is ORDERS else self._orders
        rows = table if table is ORDERS else LINES.outerjoin(orders, orders.c.orderNumber == LINES.c.orderNumber)
        return as_text(orders.c.orderDate).label("day"), rows

    @cached_property
    def _orders(self) -> Any:
        """Orders by number: one row each, also where the database does not promise it."""
        key = ORDERS.c.orderNumber
        if self._is_unique(key):
            return ORDERS
        day = sa.func.min(as_text(ORDERS.c.orderDate))
        return sa.select(key, day.label(ORDERS.c.orderDate.name)).group_by(key).subquery("orders_by_number")

    def _is_unique(self, column: sa.Column) -> bool:
        def keys() -> list[list[str]]:
            inspector = sa.inspect(self._engine)
            table = column.table.name
            unique = inspector.get_unique_constraints(table)
            return [
                inspector.get_pk_constraint(table)["constrained_columns"],
                *([*each["column_names"]] for each in unique),
            ]

        return [column.name] in self._patiently(keys)

    def _queries(
        self,
        columns: Sequence[sa.ColumnElement],
        table: sa.Table,
        months: Sequence[date] | None,
        today: date | None,
        with_order: bool = False,
    ) -> list[sa.Select]:
        """``columns`` of ``table``, only of rows whose home is one of these months if given; rows add up."""
        today = today or date.today()
        if table is not LINES:
            query = sa.select(*columns).select_from(table)
            return [query if months is None else query.where(at_home(ORDERS.c.orderDate, months, today))]
        if months is None and not with_order:
            return [sa.select(*columns).select_from(LINES)]
        orders = self._orders
        number = LINES.c.orderNumber
        joined = sa.select(*columns).select_from(LINES.outerjoin(orders, orders.c.orderNumber == number))
        if months is None:
            return [joined]
        # An IN makes the database go from few orders to their lines by key, whatever it knows of the tables.
        those = orders.alias("orders_at_home")
        at_homes = sa.select(those.c.orderNumber).where(at_home(those.c.orderDate, months, today))
        queries = [joined.where(number.in_(at_homes))]
        if UNDATED in months:
            queries.append(joined.where(orders.c.orderNumber.is_(None)))
        return queries

    def _needed(self, table: sa.Table, months: Sequence[date] | None, today: date | None) -> Sequence[date] | None:
        """``months``, or None when no row's home lies outside them, and so no filter is needed."""
        if months is None or table.name not in PARTITIONED:
            return None
        months = sorted({month.replace(day=1) for month in months})
        if UNDATED not in months:
            return months
        others = [month for month in months_until(today or date.today()) if month not in months]
        outside = sa.select(sa.literal(1)).select_from(ORDERS)
        outside = outside.where(at_home(ORDERS.c.orderDate, others, today or date.today())).limit(1)
        return months if others and self._ask(outside)[0] else None
