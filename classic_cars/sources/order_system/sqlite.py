"""SQLite: a file that this process reads itself; its engine says nothing of hashes, so DuckDB works them out.

Two ways to one snapshot. Some rows, or small tables: one transaction over the file itself, in which SQLite's engine
sends texts; where the file has no write-ahead log they are taken at once, as long as memory can hold them. All order
lines, which are many, or more than that of a file without such a log: a copy of the file, made by SQLite in one go. Its
order lines are scanned several pages at a time, where the scanner bends no value. A long transaction would keep a shop
that has no write-ahead log from committing, and scans of the file itself are not of one moment. Whatever is read after
it comes from the copy.

Python and DuckDB bring a SQLite each, and a file's locks are the process's: when one closes the file, the other's are
gone. So whatever Python's is to be asked, it is asked before a transaction of DuckDB's begins.
"""

from __future__ import annotations

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
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER
from classic_cars.errors import SourceError, SourceUnreachable
from classic_cars.processes import COPY, ORDER_SYSTEM, own_folder
from classic_cars.sources import canonical_sqlite, digests, fingerprints, scanner
from classic_cars.sources.control_totals import ControlTotals, proven
from classic_cars.sources.errors import FIX_SLOW, lost_connection, said_by_scanner
from classic_cars.sources.home_months import OrderDate
from classic_cars.sources.near_dates import Near, anything
from classic_cars.sources.order_system import change_signs
from classic_cars.sources.order_system.account import only
from classic_cars.sources.order_system.change_signs import Sign
from classic_cars.sources.order_system.database import Database, read_only
from classic_cars.sources.order_system.selecting import LINES, ORDERS, Selection, together
from classic_cars.sources.order_system.sqlite_file import must_be_readable
from classic_cars.sources.order_system.sqlite_rows import DAY, SCANNER, account_and_rows, texts_of
from classic_cars.sources.order_system.streams import (
    STREAM_ERRORS,
    Shape,
    guarded,
    held_at_once,
    opened,
    shaped,
    unreadable,
)
from classic_cars.sources.retries import ended_after, retry_transient

#: Each order date once, which takes a twentieth of reading every order. The limit, which is none, keeps SQLite from
#: asking of every order what is asked of the dates.
DAYS = (
    sa.select(sa.type_coerce(ORDERS.c.orderDate, sa.Text).collate("BINARY").label(ORDERS.c.orderDate.name))
    .distinct()
    .limit(-1)
    .subquery("days")
)

#: A copy is made only where it leaves at least as much room as it takes.
ROOM = 2


class SQLite(Database):
    """A SQLite file, or a copy of it."""

    #: Any column may hold anything.
    strict_types: ClassVar[bool] = False
    _days: ClassVar[sa.FromClause] = DAYS

    @property
    def path(self) -> Path:
        return self.url.path

    @cached_property
    def engine(self) -> sa.Engine:
        return read_only(self.url, creator=self.connect)

    def connect(self) -> sqlite3.Connection:
        must_be_readable(self.path)
        connection = sqlite3.connect(f"file:{quote(self.path.as_posix())}?mode=ro", uri=True, timeout=self.timeout / 2)
        # Values that are not UTF-8 must not stop a query that only counts.
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        return connection

    def _attach(self, connection: duckdb.DuckDBPyConnection | None) -> duckdb.DuckDBPyConnection:
        return scanner.attached(SCANNER, str(self.path), connection=connection)

    def _near(self, kind: sa.types.TypeEngine | None) -> Near | None:  # noqa: ARG002
        return anything

    @contextmanager
    def _new_snapshot(self, scratch: Path | None) -> Iterator[_Snapshot]:
        place = scratch or Path(tempfile.gettempdir())
        with own_folder(place, ORDER_SYSTEM) as folder, closing(_Snapshot(self, folder)) as snapshot:
            yield snapshot

    def column_digests(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, int]:
        def ask() -> dict[str, int]:
            self.drift(table)  # SQLite takes the name of a missing column for a text
            selection = self.selection(table, months, today)
            with self.begun() as connection:
                rows = texts_of(self, connection, selection)
                texts = {c.name: canonical_sqlite.canonical(rows[c.name], c.type) for c in proven(table)}
                return digests.column_digests(rows, table, texts, with_hash=True)

        return self.retry_transient(ask)

    def fingerprints(
        self, tables: Sequence[sa.Table] = READ_ORDER, today: date | None = None
    ) -> dict[str, dict[str, str]]:
        def poll() -> dict[str, dict[str, str]]:
            with self.begun() as connection:
                return {table.name: self._fingerprints(connection, table, today or date.today()) for table in tables}

        return self.retry_transient(poll)

    def change_signs(self, tables: Sequence[sa.Table] = READ_ORDER, today: date | None = None) -> dict[str, Sign]:
        must_be_readable(self.path)
        said = dict.fromkeys([table.name for table in READ_ORDER], change_signs.of_file(self.path))
        return change_signs.signs(self, said, tables, today)

    def _fingerprints(self, connection: duckdb.DuckDBPyConnection, table: sa.Table, today: date) -> dict[str, str]:
        dated = table.name in PARTITIONED
        text = fingerprints.row_text(self.watched(table), "sqlite").label("text")

        def columns(day: OrderDate) -> list[Any]:
            return [*([day.text.label(DAY)] if dated else []), text]

        query = self.sql(together(Selection(table, self.orders, None, today).queries(columns)))
        day = f"try(decode(encode({DAY}))) AS {DAY}, " if dated else ""
        groups = connection.execute(
            f"SELECT {f'{DAY}, ' if dated else ''}count(*), sum(hash(text)) "
            f"FROM (SELECT {day}encode(text) AS text FROM ({scanner.pushed_down(SCANNER, query)})) GROUP BY ALL"
        ).fetchall()
        return fingerprints.by_month(groups, partitioned=dated, today=today)

    @contextmanager
    def begun(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A transaction over the file for questions of this process, interrupted when they take too long."""
        _ = self.orders  # asked by Python's SQLite, before
        try:
            with scanner.lent(self.attached) as connection, ended_after(self.query_seconds, connection.interrupt):
                connection.execute("BEGIN TRANSACTION")
                yield connection
        except duckdb.InterruptException:
            raise SourceError(f"{self.url}: no answer after {self.query_seconds:g} s; {FIX_SLOW}") from None
        except duckdb.Error as error:
            raise unanswered(error, self) from None


class _Snapshot:
    """Of each table that is read, the rows and what was said of them in the same transaction, or of the same copy.

    One private DuckDB for all of them, to which the file is attached again for each.
    """

    def __init__(self, database: SQLite, folder: Path) -> None:
        self._database, self._folder = database, folder
        self._copy: SQLite | None = None
        self._said: dict[Any, dict[str, ControlTotals]] = {}
        self._to_copy: set[Any] = set()  # what has too many rows to be taken at once, or the shop was in the way
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._is_attached = False

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
            try:
                connection = self._attached(database)
                connection.execute("BEGIN TRANSACTION")
                said, rows = account_and_rows(database, connection, selection, database is self._copy)
                self._said[_question(table, months)] = only(said, months)
                batches = opened(connection, shaped(rows, shape, months))
                if not self._at_once(table, months):
                    return guarded(batches, table, self._database.url, self._detach)
                held = held_at_once(batches)
            except STREAM_ERRORS as error:
                self.close()
                held = None
                if not self._at_once(table, months):
                    raise unreadable(table, error, self._database.url) from None
            except BaseException:
                self.close()
                raise
            self._detach()
            if held is None:
                self._to_copy.add(_question(table, months))
                return open_()
            return held

        self._database.drift(table)  # SQLite takes the name of a missing column for a text
        return retry_transient(open_)

    def control_totals(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, ControlTotals]:
        if (said := self._said.get(_question(table, months))) is not None:
            return said

        if not self._writes_ahead:
            self._to_copy.add(_question(table, months))

        def ask() -> dict[str, ControlTotals]:
            database = self._read_from(table, months, today or date.today())
            selection = database.selection(table, months, today)
            with database.begun() as connection:
                return only(account_and_rows(database, connection, selection, database is self._copy)[0], months)

        self._database.drift(table)
        return self._database.retry_transient(ask)

    def _read_from(self, table: sa.Table, months: Sequence[date] | None, today: date) -> SQLite:
        """The copy, once there is reason for one; the file itself before, or where there is no room."""
        if self._copy is None and (_question(table, months) in self._to_copy or self._all_lines(table, months, today)):
            self._copy = self._database.retry_transient(lambda: copied(self._database, self._folder))
        return self._copy or self._database

    def _at_once(self, table: sa.Table, months: Sequence[date] | None) -> bool:
        """Whether rows are taken at once, so that nobody who writes waits for whoever takes them."""
        return self._copy is None and not self._writes_ahead and _question(table, months) not in self._to_copy

    @cached_property
    def _writes_ahead(self) -> bool:
        """Whether the shop can commit while it is read; otherwise whoever is slower waits, or is refused."""
        return self._database.ask(sa.text("PRAGMA journal_mode"))[0][0][0] == "wal"  # type: ignore[arg-type]

    def _all_lines(self, table: sa.Table, months: Sequence[date] | None, today: date) -> bool:
        return table is LINES and self._database.selection(table, months, today).is_everything

    def _attached(self, database: SQLite) -> duckdb.DuckDBPyConnection:
        _ = self._writes_ahead, database.orders  # asked by Python's SQLite, before
        self._detach()  # should nobody have taken a stream to its end
        self._connection = database.attached(self._connection)
        self._is_attached = True
        return self._connection

    def _detach(self) -> None:
        try:
            if self._connection is not None and self._is_attached:
                scanner.detach(self._connection)
            self._is_attached = False
        except duckdb.Error:
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._is_attached = None, False


def copied(database: SQLite, folder: Path) -> SQLite | None:
    """A copy as of one moment; a shop without a write-ahead log waits with its commits only while it is made."""
    must_be_readable(database.path)
    if shutil.disk_usage(folder).free < ROOM * database.path.stat().st_size:
        return None
    path = folder / COPY
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


def _question(table: sa.Table, months: Sequence[date] | None) -> Any:
    return table.name, None if months is None else tuple(months)


def unanswered(error: duckdb.Error, database: SQLite) -> SourceError:
    kind = SourceUnreachable if lost_connection(error, database.url) else SourceError
    return kind(f"{database.url}: {said_by_scanner(error, database.url)}")
