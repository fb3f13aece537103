"""SQLite: a file that this process reads itself; its engine says nothing of hashes, so DuckDB works them out.

Two ways to one snapshot. Some rows, or small tables: one transaction over the file itself, in which SQLite's engine
sends texts. All order lines, which are many: a copy of the file, made by SQLite in one go, that is then scanned several
pages at a time, where the scanner bends no value; a transaction of minutes would keep a shop from committing that has
no write-ahead log, and scans of the file itself are not of one moment. Whatever is read after it comes from the copy.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import duckdb
import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER
from classic_cars.errors import SourceAccessDenied, SourceError, SourceMissing, SourceUnreachable
from classic_cars.sources import canonical_sqlite, digests, fingerprints, scanner
from classic_cars.sources.control_totals import MONEY, ControlTotals, by_home, proven
from classic_cars.sources.errors import lost_connection, said_by_scanner
from classic_cars.sources.home_months import OrderDate
from classic_cars.sources.order_system.account import only
from classic_cars.sources.order_system.database import Database, read_only
from classic_cars.sources.order_system.selecting import LINES, ORDERS, Selection, together
from classic_cars.sources.order_system.streams import STREAM_ERRORS, Shape, guarded, opened, shaped, unreadable
from classic_cars.sources.retries import ended_after, patiently
from classic_cars.sources.texts import as_text

SCANNER = "sqlite"
DAY = "_day"
#: What DuckDB's SQLite scanner reads as it is, or refuses: everything else it bends.
FAITHFUL_SCANS = ("int64", "string")
#: A copy is made only where it leaves at least as much room as it takes.
ROOM = 2


class SQLite(Database):
    """A SQLite file, or a copy of it."""

    #: Any column may hold anything.
    strict_types: ClassVar[bool] = False

    @property
    def path(self) -> Path:
        return self.url.path

    @cached_property
    def engine(self) -> sa.Engine:
        return read_only(self.url, creator=self.connect)

    def connect(self) -> sqlite3.Connection:
        _must_be_a_readable_file(self.path)
        connection = sqlite3.connect(f"file:{quote(self.path.as_posix())}?mode=ro", uri=True, timeout=self.timeout / 2)
        # Values that are not UTF-8 must not stop a query that only counts.
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        return connection

    def _attach(self) -> duckdb.DuckDBPyConnection:
        return scanner.attached(SCANNER, str(self.path))

    @contextmanager
    def _new_snapshot(self, scratch: Path | None) -> Iterator[_Snapshot]:
        with tempfile.TemporaryDirectory(prefix="order-system-", dir=scratch, ignore_cleanup_errors=True) as folder:
            yield _Snapshot(self, Path(folder))

    def column_digests(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, int]:
        def look() -> dict[str, int]:
            with self.begun() as connection:
                rows = texts_of(self, connection, self.selection(table, months, today))
                texts = {c.name: canonical_sqlite.canonical(rows[c.name], c.type) for c in proven(table)}
                return digests.column_digests(rows, table, texts, with_hash=True)

        return self.patiently(look)

    def fingerprints(
        self, tables: Sequence[sa.Table] = READ_ORDER, today: date | None = None
    ) -> dict[str, dict[str, str]]:
        def look() -> dict[str, dict[str, str]]:
            with self.begun() as connection:
                return {table.name: self._fingerprints(connection, table, today or date.today()) for table in tables}

        return self.patiently(look)

    def _fingerprints(self, connection: duckdb.DuckDBPyConnection, table: sa.Table, today: date) -> dict[str, str]:
        dated = table.name in PARTITIONED
        text = fingerprints.row_text(self.watched(table), "sqlite").label("text")

        def columns(day: OrderDate) -> list[Any]:
            return [*([day.text.label(DAY)] if dated else []), text]

        query = self.sql(together(Selection(table, self.orders, None, today).queries(columns)))
        day = f"try(decode(encode({DAY}))) AS {DAY}, " if dated else ""
        groups = connection.execute(
            f"SELECT {f'{DAY}, ' if dated else ''}count(*), sum(hash(text)) "
            f"FROM (SELECT {day}encode(text) AS text FROM ({scanner.passed_through(SCANNER, query)})) GROUP BY ALL"
        ).fetchall()
        return fingerprints.by_month(groups, partitioned=dated, today=today)

    @contextmanager
    def begun(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A transaction over the file for questions of this process, interrupted when they take too long."""
        with closing(self.attached()) as connection:
            try:
                with ended_after(self.query_seconds, connection.interrupt):
                    connection.execute("BEGIN TRANSACTION")
                    yield connection
            except duckdb.InterruptException:
                raise SourceError(f"{self.url}: no answer after {self.query_seconds:g} s") from None
            except duckdb.Error as error:
                raise unanswered(error, self) from None


class _Snapshot:
    """Of each table that is read, the rows and what was said of them in the same transaction, or of the same copy."""

    def __init__(self, database: SQLite, folder: Path) -> None:
        self._database, self._folder = database, folder
        self._copy: SQLite | None = None
        self._said: dict[Any, dict[str, ControlTotals]] = {}

    def read(
        self,
        table: sa.Table,
        months: Sequence[date] | None = None,
        shape: Shape | None = None,
        today: date | None = None,
    ) -> pa.RecordBatchReader:
        today = today or date.today()

        def open_() -> pa.RecordBatchReader:
            database = self._read_from(table, months, today)
            selection = database.selection(table, months, today)
            connection = database.attached()
            try:
                connection.execute("BEGIN TRANSACTION")
                said, rows = _account_and_rows(database, connection, selection)
                self._said[_question(table, months)] = only(said, months)
                return guarded(
                    opened(connection, shaped(rows, shape, months)), table, self._database.url, connection.close
                )
            except STREAM_ERRORS as error:
                connection.close()
                raise unreadable(table, error, self._database.url) from None
            except BaseException:
                connection.close()
                raise

        self._database.drift(table)  # SQLite takes the name of a missing column for a text
        return patiently(open_)

    def control_totals(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, ControlTotals]:
        if (said := self._said.get(_question(table, months))) is not None:
            return said

        def look() -> dict[str, ControlTotals]:
            database = self._read_from(table, months, today or date.today())
            with database.begun() as connection:
                selection = database.selection(table, months, today)
                return only(_account_and_rows(database, connection, selection)[0], months)

        self._database.drift(table)
        return self._database.patiently(look)

    def _read_from(self, table: sa.Table, months: Sequence[date] | None, today: date) -> SQLite:
        """The copy, once all order lines were asked for; the file itself before, or where there is no room."""
        if self._copy is None and table is LINES and self._database.selection(table, months, today).months is None:
            self._copy = self._database.patiently(lambda: copied(self._database, self._folder))
        return self._copy or self._database


def copied(database: SQLite, folder: Path) -> SQLite | None:
    """A copy as of one moment; a shop without a write-ahead log waits with its commits only while it is made."""
    _must_be_a_readable_file(database.path)
    if shutil.disk_usage(folder).free < ROOM * database.path.stat().st_size:
        return None
    path = folder / "copy.sqlite"
    with closing(database.connect()) as source, closing(sqlite3.connect(path)) as target:
        target.execute("PRAGMA journal_mode = OFF")
        target.execute("PRAGMA synchronous = OFF")
        source.backup(target)
    url = database.url
    return _Copy(url, path, database.timeout, database.query_seconds)


class _Copy(SQLite):
    """A copy of the file; errors name the file."""

    def __init__(self, url: Any, path: Path, *limits: float) -> None:
        super().__init__(url, *limits)
        self._path = path

    @property
    def path(self) -> Path:
        return self._path


# What is read, and said of it ----------------------------------------------------------------------------


def _account_and_rows(
    database: SQLite, connection: duckdb.DuckDBPyConnection, selection: Selection
) -> tuple[dict[str, ControlTotals], ibis.Table]:
    """What is said of the rows, and the rows themselves, scanned where that bends none."""
    table = selection.table
    if table is LINES and selection.months is None and isinstance(database, _Copy):
        said = _scanned_totals(database, connection, selection)
        if said is not None:
            return said, scanner.validated(_backend(connection).sql(_scan(database)), table)
    return _totals(database, connection, selection), _sent(database, connection, selection)


def _sent(database: SQLite, connection: duckdb.DuckDBPyConnection, selection: Selection) -> ibis.Table:
    """The declared columns as SQLite's engine sends them: all as texts."""
    table = selection.table

    def columns(day: OrderDate) -> list[Any]:
        return [*table.columns, *([day.text.label(ORDERS.c.orderDate.name)] if table is LINES else [])]

    query = database.sql(together(selection.queries(columns)))
    return scanner.validated(_backend(connection).sql(scanner.passed_through(SCANNER, query)), table)


def _totals(database: SQLite, connection: duckdb.DuckDBPyConnection, selection: Selection) -> dict[str, ControlTotals]:
    table = selection.table
    rows = texts_of(database, connection, selection)
    texts = [canonical_sqlite.canonical(rows[column.name], column.type) for column in proven(table)]
    day = scanner.decoded(rows[DAY]) if table.name in PARTITIONED else None
    found = digests.totals(rows, day, texts, canonical_sqlite.money(rows, table), with_hash=True)
    return _by_month(found, table, selection.today) if table.name in PARTITIONED else found


def texts_of(database: SQLite, connection: duckdb.DuckDBPyConnection, selection: Selection) -> ibis.Table:
    """The proven columns as SQLite writes them, and the date that decides the row's home."""
    table = selection.table
    database.drift(table)  # SQLite takes the name of a missing column for a text

    def columns(day: OrderDate) -> list[Any]:
        texts = [as_text(column).label(column.name) for column in proven(table)]
        return [*texts, *([day.text.label(DAY)] if table.name in PARTITIONED else [])]

    query = database.sql(together(selection.queries(columns)))
    return _backend(connection).sql(scanner.passed_through(SCANNER, query))


def _scanned_totals(
    database: SQLite, connection: duckdb.DuckDBPyConnection, selection: Selection
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
    except duckdb.Error:
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


def _scan(database: SQLite) -> str:
    """DuckDB's own query over SQLite's pages of order lines; dates of orders come as text, one per order number."""
    columns = ", ".join(f'lines."{column.name}"' for column in LINES.columns)
    key, day = ORDERS.c.orderNumber, ORDERS.c.orderDate
    dates = scanner.passed_through(SCANNER, database.sql(sa.select(key, as_text(day).label(day.name))))
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
    return ibis.duckdb.from_connection(connection)


def _question(table: sa.Table, months: Sequence[date] | None) -> Any:
    return table.name, None if months is None else tuple(months)


def unanswered(error: duckdb.Error, database: SQLite) -> SourceError:
    kind = SourceUnreachable if lost_connection(error, database.url) else SourceError
    return kind(f"{database.url}: {said_by_scanner(error, database.url)}")


def _must_be_a_readable_file(path: Path) -> None:
    if not path.exists():
        raise SourceMissing(
            f"sqlite:///{path}: no such file; expected the order system's database there; set CLASSIC_CARS_SOURCE_URL, "
            "or make one to play with: `classic-cars shop create`"
        )
    if not path.is_file():
        raise SourceMissing(f"sqlite:///{path}: is no file; expected a SQLite database; set CLASSIC_CARS_SOURCE_URL")
    if not os.access(path, os.R_OK):
        raise SourceAccessDenied(f"sqlite:///{path}: user {os.geteuid()} may not read the file; make it readable")
