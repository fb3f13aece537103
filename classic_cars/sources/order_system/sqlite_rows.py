"""What is read of a SQLite file through DuckDB, and what is said of it: as texts of SQLite's engine, or by scans."""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb
import ibis
import ibis.expr.datatypes as dt
import sqlalchemy as sa

from classic_cars.compiled import CompilingOnce
from classic_cars.contracts.order_system import PARTITIONED
from classic_cars.sources import canonical_sqlite, digests, scanner
from classic_cars.sources.control_totals import MONEY, ControlTotals, by_home, proven
from classic_cars.sources.home_months import OrderDate
from classic_cars.sources.order_system.database import Database
from classic_cars.sources.order_system.selecting import LINES, ORDERS, Selection, together
from classic_cars.sources.texts import as_text

SCANNER = "sqlite"
DAY = "_day"
#: What DuckDB's SQLite scanner reads as it is, or refuses: everything else it bends.
FAITHFUL_SCANS = ("int64", "string")


def account_and_rows(
    database: Database, connection: duckdb.DuckDBPyConnection, selection: Selection, scan: bool
) -> tuple[dict[str, ControlTotals], ibis.Table]:
    """What is said of the rows, and the rows themselves; ``scan``: by scanning, where that bends none."""
    table = selection.table
    if scan and table is LINES and selection.is_everything:
        said = _scanned_totals(database, connection, selection)
        if said is not None:
            scan_of_rows = _scan(database) + ("" if selection.has_orphans else " WHERE dates.number IS NOT NULL")
            return said, scanner.validated(_backend(connection).sql(scan_of_rows), table)
    return _totals(database, connection, selection), _sent(database, connection, selection)


def _sent(database: Database, connection: duckdb.DuckDBPyConnection, selection: Selection) -> ibis.Table:
    """The declared columns as SQLite's engine sends them: all as texts."""
    table = selection.table

    def columns(day: OrderDate) -> list[Any]:
        return [*table.columns, *([day.text.label(ORDERS.c.orderDate.name)] if table is LINES else [])]

    query = database.sql(together(selection.queries(columns)))
    return scanner.validated(_backend(connection).sql(scanner.pushed_down(SCANNER, query)), table)


def _totals(
    database: Database, connection: duckdb.DuckDBPyConnection, selection: Selection
) -> dict[str, ControlTotals]:
    table = selection.table
    rows = texts_of(database, connection, selection)
    texts = [canonical_sqlite.canonical(rows[column.name], column.type) for column in proven(table)]
    day = scanner.decoded(rows[DAY]) if table.name in PARTITIONED else None
    found = digests.totals(rows, day, texts, canonical_sqlite.money(rows, table), with_hash=True)
    return _by_month(found, table, selection.today) if table.name in PARTITIONED else found


def texts_of(database: Database, connection: duckdb.DuckDBPyConnection, selection: Selection) -> ibis.Table:
    """The proven columns as SQLite writes them, and the date that decides the row's home."""
    table = selection.table

    def columns(day: OrderDate) -> list[Any]:
        texts = [as_text(column).label(column.name) for column in proven(table)]
        return [*texts, *([day.text.label(DAY)] if table.name in PARTITIONED else [])]

    query = database.sql(together(selection.queries(columns)))
    return _backend(connection).sql(scanner.pushed_down(SCANNER, query))


def _scanned_totals(
    database: Database, connection: duckdb.DuckDBPyConnection, selection: Selection
) -> dict[str, ControlTotals] | None:
    """The same by the scanner: a fifth of the work; None where it bends or refuses a value.

    SQLite itself counts the rows: those that the scanner missed are there without a month.
    """
    table, backend = selection.table, _backend(connection)
    schema = backend.table(table.name, database=(scanner.ATTACHED, "main")).schema()
    if not all(_is_faithful(schema[column.name].copy(nullable=True), column.type) for column in table.columns):
        return None
    try:
        rows = backend.sql(_scan(database))
        texts = [canonical_sqlite.scanned(rows[column.name], column.type) for column in proven(table)]
        day = scanner.decoded(rows[ORDERS.c.orderDate.name])
        found = digests.totals(rows, day, texts, canonical_sqlite.money(rows, table), with_hash=True)
    except (duckdb.Error, UnicodeError):  # whose message quotes bytes that are no text
        # A value that is not of its column's type; a transaction that failed takes no more questions.
        connection.execute("ROLLBACK")
        connection.execute("BEGIN TRANSACTION")
        return None
    by_month = _by_month(found, table, selection.today)
    (((counted,),),) = database.ask(sa.select(sa.func.count()).select_from(table))
    missed = counted - sum(each.rows for each in by_month.values())
    return by_month | ({"": ControlTotals(missed, 0, 0)} if missed else {})


def _by_month(found: dict[str, ControlTotals], table: sa.Table, today: date) -> dict[str, ControlTotals]:
    groups = ((day, each.rows, each.digest, each.cents) for day, each in found.items())
    return by_home(groups, table.name in MONEY, today)


def _scan(database: Database) -> str:
    """DuckDB's own query over SQLite's pages of order lines; dates of orders come as text, one per order number."""
    columns = ", ".join(f'lines."{column.name}"' for column in LINES.columns)
    key, day = ORDERS.c.orderNumber, ORDERS.c.orderDate
    dates = scanner.pushed_down(SCANNER, database.sql(sa.select(key, as_text(day).label(day.name))))
    return (
        f'SELECT {columns}, dates."{day.name}" FROM "{LINES.name}" AS lines LEFT JOIN ('
        f'SELECT TRY_CAST("{key.name}" AS BIGINT) AS number, min("{day.name}") AS "{day.name}" FROM ({dates}) '
        f'GROUP BY 1) AS dates ON dates.number = lines."{LINES.c.orderNumber.name}"'
    )


def _is_faithful(scanned: dt.DataType, declared: sa.types.TypeEngine) -> bool:
    if scanned.is_binary():
        return isinstance(declared, sa.LargeBinary)
    if scanned.is_float64():
        return isinstance(declared, sa.Integer | sa.Numeric)  # DuckDB writes it otherwise than SQLite
    return str(scanned) in FAITHFUL_SCANS


def _backend(connection: duckdb.DuckDBPyConnection) -> Any:
    return CompilingOnce.from_connection(connection)
