"""What is read of a SQLite file through DuckDB, and what is said of it: as texts of SQLite's engine, or by scans."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import sqlalchemy as sa

from classic_cars.compiled import CompilingOnce
from classic_cars.contracts.order_system import PARTITIONED
from classic_cars.contracts.source import ibis_type
from classic_cars.sources import canonical_sqlite, digests, scanner
from classic_cars.sources.control_totals import MONEY, ControlTotals, by_home, proven
from classic_cars.sources.home_months import OrderDate
from classic_cars.sources.order_system.database import Database
from classic_cars.sources.order_system.selecting import LINES, ORDERS, Selection, together
from classic_cars.sources.texts import as_text

SCANNER = "sqlite"
DAY, ORDER = "_day", "_order"
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
            totals, is_plain = said
            rows = _scan(connection, database, as_date=is_plain)
            rows = rows if selection.has_orphans else rows.filter(rows[ORDER].notnull())
            return totals, _as_declared(rows, table) if is_plain else scanner.validated(rows, table)
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
) -> tuple[dict[str, ControlTotals], bool] | None:
    """The same by the scanner: a fifth of the work; None where it bends or refuses a value.

    And whether a plain cast makes of every value what ``conform`` does, at a third of its price. SQLite itself counts
    the rows: those that the scanner missed are there without a month.
    """
    table, backend = selection.table, _backend(connection)
    schema = backend.table(table.name, database=(scanner.ATTACHED, "main")).schema()
    if not all(_is_faithful(schema[column.name].copy(nullable=True), column.type) for column in table.columns):
        return None
    try:
        rows = _scan(connection, database)
        texts = [canonical_sqlite.scanned(rows[column.name], column.type) for column in proven(table)]
        fits = ibis.and_(*(_fits(rows[column.name], ibis_type(column.type)) for column in table.columns))
        money, day = canonical_sqlite.money(rows, table), rows[ORDERS.c.orderDate.name]
        found = digests.measured(rows, day, texts, money, with_hash=True, misfits=(~fits).sum())
    except (duckdb.Error, UnicodeError):  # whose message quotes bytes that are no text
        # A value that is not of its column's type; a transaction that failed takes no more questions.
        connection.execute("ROLLBACK")
        connection.execute("BEGIN TRANSACTION")
        return None
    by_month = _by_month(digests.as_totals(found), table, selection.today)
    (((counted,),),) = database.ask(sa.select(sa.func.count()).select_from(table))
    missed = counted - sum(each.rows for each in by_month.values())
    is_plain = not any(each["misfits"] for each in found) and all(_is_plain_day(each["month"]) for each in found)
    return by_month | ({"": ControlTotals(missed, 0, 0)} if missed else {}), is_plain


def _fits(value: Any, kind: dt.DataType) -> ir.BooleanValue:
    """Whether a plain cast keeps the value, as ``conform`` understands it; of texts, whether they are UTF-8."""
    if value.type().is_numeric() and kind.is_numeric():
        kept = value.try_cast(kind).cast(value.type()) == value
    elif value.type().is_string() and kind.is_string():
        kept = scanner.decoded(value).notnull()
    else:
        kept = ibis.literal(False)
    return value.isnull() | kept.fill_null(False)


def _is_plain_day(text: str | None) -> bool:
    """Whether a cast makes of the text what ``conform`` does: a day or none, of which casts take more than it."""
    return text is None or re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is not None


def _as_declared(rows: ibis.Table, table: sa.Table) -> ibis.Table:
    """Values that all fit, by casts that would fail where one does not."""
    day = ORDERS.c.orderDate.name
    return rows.select(
        **{each.name: rows[each.name].cast(ibis_type(each.type)) for each in table.columns}, **{day: day}
    )


def _by_month(found: dict[str, ControlTotals], table: sa.Table, today: date) -> dict[str, ControlTotals]:
    groups = ((day, each.rows, each.digest, each.cents) for day, each in found.items())
    return by_home(groups, table.name in MONEY, today)


def _scan(connection: duckdb.DuckDBPyConnection, database: Database, as_date: bool = False) -> ibis.Table:
    """DuckDB's own query over SQLite's pages of order lines, each with the date of its order.

    Dates come as texts that are UTF-8, one per order number, or as dates. ``ORDER`` is NULL for lines without an order.
    """
    columns = ", ".join(f'lines."{column.name}"' for column in LINES.columns)
    key, day = ORDERS.c.orderNumber, ORDERS.c.orderDate
    dates = scanner.pushed_down(SCANNER, database.sql(sa.select(key, as_text(day).label(day.name))))
    text = f'TRY(decode(encode("{day.name}")))'
    return _backend(connection).sql(
        f'SELECT {columns}, dates."{day.name}", dates.number AS {ORDER} FROM "{LINES.name}" AS lines LEFT JOIN ('
        f'SELECT number, {f"TRY_CAST({text} AS DATE)" if as_date else text} AS "{day.name}" FROM ('
        f'SELECT TRY_CAST("{key.name}" AS BIGINT) AS number, min("{day.name}") AS "{day.name}" FROM ({dates}) '
        f'GROUP BY 1)) AS dates ON dates.number = lines."{LINES.c.orderNumber.name}"'
    )


def _is_faithful(scanned: dt.DataType, declared: sa.types.TypeEngine) -> bool:
    if scanned.is_binary():
        return isinstance(declared, sa.LargeBinary)
    if scanned.is_float64():
        return isinstance(declared, sa.Integer | sa.Numeric)  # DuckDB writes it otherwise than SQLite
    return str(scanned) in FAITHFUL_SCANS


def _backend(connection: duckdb.DuckDBPyConnection) -> Any:
    return CompilingOnce.from_connection(connection)
