"""The order system, read-only: is it there, which months has it, what do its tables hold.

Rows are read by DuckDB's own scanners, which stream Arrow batches with bounded memory; what the order system itself
says of them is in ``totalling``. Only named columns are selected, and every value that a scanner would bend (it
makes 0.00 of PostgreSQL's NaN and a day of SQLite's 17) is sent as text: ``conform`` casts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.errors import SourceError, SourceUnreachable
from classic_cars.sources import scanner
from classic_cars.sources.asking import SchemaDrift, Types
from classic_cars.sources.columns import arrives_as_bytes, is_native, kind_of
from classic_cars.sources.connect import QUERY_SECONDS
from classic_cars.sources.control_totals import ControlTotals
from classic_cars.sources.errors import lost_connection, said_by_scanner
from classic_cars.sources.home_months import as_text, home_of_text
from classic_cars.sources.retries import patiently
from classic_cars.sources.scanner import extension as _extension  # noqa: F401  (the benchmarks load it)
from classic_cars.sources.selecting import LINES, ORDERS
from classic_cars.sources.totalling import Totalling

__all__ = ["ControlTotals", "OrderSystem", "SchemaDrift"]

Shape = Callable[[ibis.Table], ibis.Table]

BATCH_ROWS = 122_880  # one row group of DuckDB
#: Keys in one query.
KEYS = 500

#: What a scanner raises; a text of its may not even be UTF-8.
STREAM_ERRORS = (duckdb.Error, pa.ArrowException, OSError, UnicodeError)


class OrderSystem(Totalling):
    """The order system behind ``url``. Opens connections when asked and closes them; holds no lock."""

    def __init__(self, url: str, connect_timeout: float = 4.0, query_seconds: float = QUERY_SECONDS) -> None:
        super().__init__(url, connect_timeout, query_seconds)
        #: Tables that hold values which cannot be read as declared; they are read as text.
        self._read_as_text: set[str] = set()
        self._failures: dict[str, SourceError] = {}

    def homes_of(self, order_numbers: Sequence[int], today: date | None = None) -> dict[int, date]:
        """The home months in which these orders are now; those that are gone are left out. One query per 500.

        An order number that occurs twice is where its lines are: in its first month.
        """
        if not order_numbers:
            return {}
        orders = self._orders
        number: Any = orders.c.orderNumber
        if not self.url.is_sqlite and kind_of(self._columns(ORDERS)[number.name]) is not int:
            number, order_numbers = as_text(number), [str(each) for each in order_numbers]  # type: ignore[misc]
        keys = [order_numbers[start : start + KEYS] for start in range(0, len(order_numbers), KEYS)]
        day = as_text(orders.c.orderDate)
        found = self._ask(*(sa.select(number, day).where(number.in_(some)) for some in keys))
        return {int(key): home_of_text(text, today or date.today()) for rows in found for key, text in rows}

    def read(
        self,
        table: sa.Table,
        months: Sequence[date] | None = None,
        shape: Shape | None = None,
        today: date | None = None,
    ) -> pa.RecordBatchReader:
        """The rows of ``table``, of these home months only if given, as a stream of Arrow batches.

        ``shape`` maps the arriving columns to those that leave, in the reading engine; order lines arrive with
        their order's ``orderDate``. Raises ``SourceError`` here or from the stream. A value that cannot be read
        as declared ends the stream, and from then on :meth:`must_read_as_text` says so: read again.
        """
        self._failures.pop(table.name, None)
        self.drift(table)
        return patiently(lambda: self._opened(table, months, shape, today))

    def must_read_as_text(self, table: sa.Table) -> bool:
        """True when a stream of this table ended at a value that could not be read as declared."""
        return table.name in self._read_as_text

    def failure(self, table: sa.Table) -> SourceError | None:
        """What ended the last stream of this table: engines that consume a stream hide its error."""
        return self._failures.get(table.name)

    def _opened(
        self, table: sa.Table, months: Sequence[date] | None, shape: Shape | None, today: date | None
    ) -> pa.RecordBatchReader:
        months = self._needed(table, months, today)
        connection = self._attached()
        try:
            backend = ibis.duckdb.from_connection(connection)
            arriving = self._arriving(backend, table, months, today)
            shaped = shape(arriving) if shape is not None else arriving
            batches = connection.execute(backend.compile(shaped)).to_arrow_reader(BATCH_ROWS)
        except STREAM_ERRORS as error:
            connection.close()
            raise self._unreadable(table, error) from None
        except BaseException:
            connection.close()
            raise
        return pa.RecordBatchReader.from_batches(batches.schema, self._streamed(table, batches, connection))

    def _streamed(
        self, table: sa.Table, batches: pa.RecordBatchReader, connection: duckdb.DuckDBPyConnection
    ) -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except STREAM_ERRORS as error:
            raise self._unreadable(table, error) from None
        finally:
            connection.close()

    def _unreadable(self, table: sa.Table, error: Exception) -> SourceError:
        """The error of a read; also learns whether reading the values as text can help."""
        self._failures[table.name] = found = self._diagnosed(table, error)
        return found

    def _diagnosed(self, table: sa.Table, error: Exception) -> SourceError:
        text = said_by_scanner(error, self.url)
        if lost_connection(error, self.url):
            return SourceUnreachable(f"{self.url}: the connection broke while table {table.name} was read: {text}")
        self._read_as_text.add(table.name)
        return SourceError(f"{self.url}: table {table.name} holds something that cannot be read as declared: {text}")

    def _arriving(self, backend: Any, table: sa.Table, months: Sequence[date] | None, today: date | None) -> ibis.Table:
        """The declared columns by name, and for order lines the date of their order."""
        if not self.url.is_sqlite:
            return backend.sql(scanner.passed_through(self.url, self._sql(self._sent(table, months, today))))
        if months is None and not self.must_read_as_text(table) and self._scans_faithfully(backend, table):
            query = self._scan(table)
        else:
            query = scanner.passed_through(self.url, self._sql(self._sent(table, months, today)))
        return scanner.validated(backend.sql(query), table)

    def _sent(
        self, table: sa.Table, months: Sequence[date] | None, today: date | None
    ) -> sa.Select | sa.CompoundSelect:
        """The query for the arriving columns, each sent in a way that nothing bends it."""
        types = self._columns(table)
        columns = [self._faithfully(column, types).label(column.name) for column in table.columns]
        if table is LINES:
            columns.append(as_text(self._orders.c.orderDate).label(ORDERS.c.orderDate.name))
        first, *others = self._queries(columns, table, months, today, with_order=True)
        return sa.union_all(first, *others) if others else first

    def _faithfully(self, column: sa.Column, types: Types) -> Any:
        if self.url.is_sqlite or isinstance(column.type, sa.LargeBinary):
            return column  # SQLite's scanner makes text of all that is passed through
        actual = types[column.name]
        if arrives_as_bytes(column.type, actual):
            return column
        as_is = is_native(column.type, actual) and not self.must_read_as_text(column.table)
        return column if as_is else as_text(column)
