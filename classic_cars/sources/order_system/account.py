"""What a server says of its own rows: control totals, digests of columns, fingerprints, each one aggregate query.

In the SQL of MariaDB, MySQL and PostgreSQL. None of it goes by the way that rows are read; of SQLite's rows DuckDB
says it, in ``sqlite``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from classic_cars.contracts.order_system import PARTITIONED
from classic_cars.sources import canonical, digests, fingerprints
from classic_cars.sources.columns import arrives_as_bytes, is_native
from classic_cars.sources.control_totals import MONEY, WHOLE, ControlTotals, by_home, whole
from classic_cars.sources.home_months import OrderDate, spans
from classic_cars.sources.order_system.database import Database, Types
from classic_cars.sources.order_system.selecting import LINES, ORDERS, Columns, Selection
from classic_cars.sources.texts import as_text, shown


def sent(column: sa.Column, actual: sa.types.TypeEngine) -> Any:
    """The column in a way that nothing bends it: what a scanner would bend is sent as text."""
    if isinstance(column.type, sa.LargeBinary) or arrives_as_bytes(column.type, actual):
        return column
    return column if is_native(column.type, actual) else shown(column, actual)


def arriving(table: sa.Table, types: Types) -> Columns:
    """The declared columns by name, and for order lines the date of their order."""

    def columns(day: OrderDate) -> list[Any]:
        found = [sent(column, types[column.name]).label(column.name) for column in table.columns]
        return [*found, day.text.label(ORDERS.c.orderDate.name)] if table is LINES else found

    return columns


def totals(database: Database, table: sa.Table) -> Columns:
    """Of the rows of a day, or of all: how many there are, the sum of their hashes and of their cents, as texts."""
    dialect = database.engine.dialect.name
    proven = database.proven(table)
    types = {column.name: actual for column, actual in proven}
    cents: Any = sa.literal_column("100" if table.name in MONEY else "0")
    for name in MONEY.get(table.name, ()):
        cents = cents * canonical.number(table.columns[name], types[name], dialect)
    hashed = canonical.row_hash(canonical.row_text(proven, dialect), dialect)
    sums = [sa.func.count(), sa.func.sum(hashed), sa.func.sum(cents)]
    return lambda _: [sa.func.coalesce(as_text(each), "0") for each in sums]


def by_day(table: sa.Table, day: Columns) -> Columns | None:
    """What rows are grouped by; None for a table without months."""
    return day if table.name in PARTITIONED else None


def of_months(
    groups: Iterable[Sequence[Any]], table: sa.Table, months: Sequence[date] | None, today: date
) -> dict[str, ControlTotals]:
    """Control totals from rows of (rows, digest, cents, day), the last for tables with months; of these months only."""
    with_money = table.name in MONEY
    if table.name not in PARTITIONED:
        return whole((_numbers(each) for each in groups), with_money)  # type: ignore[misc]
    found = by_home(((day, *_numbers(sums)) for *sums, day in groups), with_money, today)
    return only(found, months)


def only(found: dict[str, ControlTotals], months: Sequence[date] | None) -> dict[str, ControlTotals]:
    if months is None:
        return found
    ranges = [(f"{first:%Y-%m}", f"{last:%Y-%m}") for first, last in spans(months)]
    inside = {month for month in found if any(first <= month <= last for first, last in ranges)}
    return {month: each for month, each in found.items() if month in inside or month == WHOLE}


def _numbers(texts: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(text.partition(".")[0]) for text in texts)


def column_digests(
    database: Database, table: sa.Table, months: Sequence[date] | None, today: date | None
) -> dict[str, int]:
    dialect = database.engine.dialect.name
    columns = {column.name: (column, actual) for column, actual in database.proven(table)}
    key = [columns[column.name] for column in table.primary_key]
    sums = [
        sa.func.sum(canonical.row_hash(canonical.row_text([*key, each], dialect), dialect)) for each in columns.values()
    ]
    queries = database.selection(table, months, today).queries(lambda _: sums)
    found = [groups[0] for groups in database.ask(*queries)]
    return digests.summed(dict(zip(columns, (int(each or 0) for each in row), strict=True)) for row in found)


def seen(database: Database, tables: Sequence[sa.Table], today: date | None, day: Columns) -> dict[str, dict[str, str]]:
    """Fingerprints: one aggregate query a table, all on one connection, ended by the server after its time.

    ``day``: the day of a row, where texts differ that are not the same.
    """
    today, dialect = today or date.today(), database.engine.dialect.name

    def query(table: sa.Table) -> sa.Select:
        total = sa.func.sum(fingerprints.row_hash(fingerprints.row_text(database.watched(table), dialect), dialect))
        by = by_day(table, day)
        (found,) = Selection(table, database.orders, None, today).queries(
            lambda order_date: [*(by(order_date) if by else []), sa.func.count(), total], by
        )
        return found

    found = database.ask(*map(query, tables))
    return {
        table.name: fingerprints.by_month(
            (tuple(each) for each in groups), partitioned=table.name in PARTITIONED, today=today
        )
        for table, groups in zip(tables, found, strict=True)
    }
