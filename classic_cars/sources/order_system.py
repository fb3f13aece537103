"""The order system, read-only: is it there, which months has it, what do its tables hold.

Rows are read by DuckDB's own scanners, which stream Arrow batches with bounded memory; control totals are
computed by the order system's own engine. Only named columns are selected, and every value that a scanner
would bend (it makes 0.00 of PostgreSQL's NaN and a day of SQLite's 17) is sent as text: ``conform`` casts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.contracts.order_system import FIRST_MONTH, PARTITIONED, READ_ORDER, metadata
from classic_cars.errors import SourceError, SourceMissing, SourceSchemaChanged, SourceUnreachable
from classic_cars.sources import fingerprints, scanner
from classic_cars.sources.columns import exact_number, is_native, retyped
from classic_cars.sources.connect import QUERY_SECONDS, read_only_engine
from classic_cars.sources.errors import lost_connection, said_by_scanner, translated
from classic_cars.sources.home_months import as_text, at_home, home_of, home_of_text, months_until
from classic_cars.sources.retries import ended_after, patiently
from classic_cars.sources.scanner import extension as _extension  # noqa: F401  (the benchmarks load it)
from classic_cars.sources.urls import SourceURL

Shape = Callable[[ibis.Table], ibis.Table]
Types = dict[str, sa.types.TypeEngine]
#: From grouping columns, a row's text and where rows come from to (groups, rows, sum of hashes).
Hashed = Callable[[list[sa.Label], sa.ColumnElement[str], Any], list[tuple]]

BATCH_ROWS = 122_880  # one row group of DuckDB

ORDERS = metadata.tables["orders"]
LINES = metadata.tables["orderdetails"]

#: What a driver or a scanner raises; a text of theirs may not even be UTF-8.
DRIVER_ERRORS = (sa.exc.SQLAlchemyError, OSError, UnicodeError)
STREAM_ERRORS = (duckdb.Error, pa.ArrowException, OSError, UnicodeError)

#: What DuckDB's SQLite scanner reads as it is, or refuses: everything else it bends.
FAITHFUL_SCANS = ("int64", "float64", "string")


@dataclass(frozen=True)
class ControlTotals:
    """What the order system itself says of a table: its rows, and where it holds money their sum in cents."""

    rows: int
    cents: int | None = None


@dataclass(frozen=True)
class SchemaDrift:
    """How a table of the order system differs from its declared columns, without harm so far.

    It is true when there is something to tell; another order of columns alone is not.
    """

    added: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()
    reordered: bool = False

    def __bool__(self) -> bool:
        return bool(self.added or self.retyped)


class OrderSystem:
    """The order system behind ``url``. Opens connections when asked and closes them; holds no lock."""

    def __init__(self, url: str, connect_timeout: float = 4.0, query_seconds: float = QUERY_SECONDS) -> None:
        self.url = SourceURL.parse(url)
        self._timeout, self._query_seconds = connect_timeout, query_seconds
        #: Tables that hold values which cannot be read as declared; they are read as text.
        self._read_as_text: set[str] = set()
        self._failures: dict[str, SourceError] = {}
        self._watched: dict[str, list[sa.ColumnElement]] = {}

    @property
    def redacted(self) -> str:
        """The URL without its password."""
        return str(self.url)

    # Looking -----------------------------------------------------------------------------------------

    def probe(self) -> None:
        """Prove that the eight tables are there and can be read.

        Raises within about 5 seconds: ``SourceUnreachable``, ``SourceAccessDenied``, ``SourceMissing`` or
        ``SourceSchemaChanged``.
        """
        try:
            self._ask(*(sa.select(*table.columns).limit(1) for table in READ_ORDER))
        except SourceSchemaChanged:
            for table in READ_ORDER:
                self.drift(table)  # says what there is instead
            raise

    def months(self, today: date | None = None) -> list[date]:
        """The home months that have rows, sorted; see :func:`classic_cars.sources.conform.home_month`."""
        home = home_of(ORDERS.c.orderDate, today or date.today())
        (found,) = self._ask(sa.select(home).distinct())
        months = {date.fromisoformat(f"{row[0]}-01") for row in found}
        if FIRST_MONTH not in months and self._has_orphans():
            months.add(FIRST_MONTH)
        return sorted(months)

    def drift(self, table: sa.Table) -> SchemaDrift:
        """Columns that are new, stand elsewhere, or have another kind of type.

        Raises ``SourceSchemaChanged`` when a declared column is missing, naming what there is instead.
        """
        actual = self._columns(table)
        declared = list(table.columns.keys())
        missing = [name for name in declared if name not in actual]
        added = [name for name in actual if name not in declared]
        if missing:
            hint = f"; new there: {', '.join(added)}, is one of them its new name?" if added else ""
            raise SourceSchemaChanged(
                f"{self.url}: table {table.name} has no column {', '.join(missing)}; found {', '.join(actual)}{hint}; "
                "change classic_cars/contracts/order_system.py, or give the table its column back"
            )
        return SchemaDrift(
            added=tuple(added),
            retyped=tuple(
                f"{column.name} is {actual[column.name]}, was {column.type}"
                for column in table.columns
                if retyped(column.type, actual[column.name], self.url)
            ),
            reordered=[name for name in actual if name in declared] != declared,
        )

    def control_totals(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> ControlTotals:
        """Rows and cents of ``table``, of these home months only if given, computed by the order system.

        Exact: the sum of integers or decimals. Values that are no numbers do not count.
        """
        columns: list[sa.ColumnElement] = [sa.func.count()]
        cents = self._cents(table)
        if cents is not None:
            columns.append(sa.func.sum(cents))
        months = self._needed(table, months, today)
        counted = [self._ask(query)[0][0] for query in self._queries(columns, table, months, today)]
        total = round(sum(each[1] or 0 for each in counted)) if cents is not None else None
        return ControlTotals(sum(int(each[0]) for each in counted), total)

    def monthly_totals(self, table: sa.Table, today: date | None = None) -> dict[str, ControlTotals]:
        """Control totals of a table with months, by home month (``YYYY-MM``); one aggregate query."""
        day, rows = self._dated(table)
        cents = self._cents(table)
        query = sa.select(day, sa.func.count(), sa.func.sum(sa.literal(0) if cents is None else cents))
        (found,) = self._ask(query.select_from(rows).group_by(day))
        sums: dict[str, ControlTotals] = {}
        for text, count, amount in found:
            month = f"{home_of_text(text, today or date.today()):%Y-%m}"
            before = sums.get(month, ControlTotals(0, 0))
            sums[month] = ControlTotals(before.rows + count, (before.cents or 0) + round(amount or 0))
        return dict(sorted(sums.items()))

    def fingerprints(
        self, tables: Sequence[sa.Table] = READ_ORDER, today: date | None = None
    ) -> dict[str, dict[str, str]]:
        """What each table holds now: a short hash per home month (``YYYY-MM``) with rows, or one for all (``""``).

        One aggregate query a table, all on one connection, computed by the order system (of SQLite's rows by DuckDB,
        in this process) and ended by it after ``query_seconds``. Raises ``SourceError``.
        """
        hashing = self._hashing_here if self.url.is_sqlite else self._hashing_there

        def look() -> dict[str, dict[str, str]]:
            with hashing() as hashed:
                return {
                    table.name: fingerprints.by_month(
                        hashed(*self._fingerprinted(table)),
                        partitioned=table.name in PARTITIONED,
                        today=today or date.today(),
                    )
                    for table in tables
                }

        return self._patiently(look)

    def _fingerprinted(self, table: sa.Table) -> tuple[list[sa.Label], sa.ColumnElement[str], Any]:
        """What rows are grouped by, the text of each, and where they come from."""
        if table.name not in self._watched:
            self._watched[table.name] = fingerprints.watched_columns(table, self._columns(table))
        text = fingerprints.row_text(self._watched[table.name], self._engine.dialect.name)
        if table.name not in PARTITIONED:
            return [], text, table
        day, rows = self._dated(table)
        return [day], text, rows

    def _dated(self, table: sa.Table) -> tuple[sa.Label, Any]:
        """The day, as text, that decides a row's home month, and where to select it from."""
        orders = ORDERS if table is ORDERS else self._orders
        rows = table if table is ORDERS else LINES.outerjoin(orders, orders.c.orderNumber == LINES.c.orderNumber)
        return as_text(orders.c.orderDate).label("day"), rows

    @contextmanager
    def _hashing_there(self) -> Iterator[Hashed]:
        with self._engine.connect() as connection:

            def hashed(by: list[sa.Label], text: sa.ColumnElement[str], rows: Any) -> list[tuple]:
                total = sa.func.sum(fingerprints.row_hash(text, connection.dialect.name))
                query = sa.select(*by, sa.func.count(), total).select_from(rows).group_by(*by)
                return [tuple(row) for row in connection.execute(query)]

            yield hashed

    @contextmanager
    def _hashing_here(self) -> Iterator[Hashed]:
        with closing(self._attached()) as connection:

            def hashed(by: list[sa.Label], text: sa.ColumnElement[str], rows: Any) -> list[tuple]:
                query = scanner.passed_through(
                    self.url, self._sql(sa.select(*by, text.label("text")).select_from(rows))
                )
                names = "".join(f"{each.name}, " for each in by)
                with ended_after(self._query_seconds, connection.interrupt):
                    return connection.execute(
                        f"SELECT {names}count(*), sum(hash(encode(text))) FROM ({query}) GROUP BY ALL"
                    ).fetchall()

            try:
                yield hashed
            except duckdb.InterruptException:
                raise SourceError(f"{self.url}: no answer after {self._query_seconds:g} s") from None
            except duckdb.Error as error:
                raise SourceError(f"{self.url}: {said_by_scanner(error, self.url)}") from None

    # Reading -----------------------------------------------------------------------------------------

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

    def _attached(self) -> duckdb.DuckDBPyConnection:
        try:
            return scanner.attached(self.url, self._timeout)
        except duckdb.Error as error:
            self.probe()  # says what is wrong in better words than the scanner
            kind = SourceUnreachable if lost_connection(error, self.url) else SourceError
            raise kind(
                f"{self.url}: DuckDB's scanner cannot connect, though another driver can: "
                f"{said_by_scanner(error, self.url)}"
            ) from None

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

    # What is asked -----------------------------------------------------------------------------------

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
        types = {} if self.must_read_as_text(table) else self._columns(table)
        columns = [self._faithfully(column, types).label(column.name) for column in table.columns]
        if table is LINES:
            columns.append(as_text(self._orders.c.orderDate).label(ORDERS.c.orderDate.name))
        first, *others = self._queries(columns, table, months, today, with_order=True)
        return sa.union_all(first, *others) if others else first

    def _faithfully(self, column: sa.Column, types: Types) -> Any:
        if self.url.is_sqlite or isinstance(column.type, sa.LargeBinary):
            return column  # SQLite's scanner makes text of all that is passed through
        return column if column.name in types and is_native(column.type, types[column.name]) else as_text(column)

    def _scans_faithfully(self, backend: Any, table: sa.Table) -> bool:
        """True when SQLite's scanner, which reads several pages at a time, has no type here that it bends."""
        schema = backend.table(table.name, database=(scanner.ATTACHED, "main")).schema()
        types = {column.name: schema[column.name].copy(nullable=True) for column in table.columns}
        return all(
            str(types[column.name]) in FAITHFUL_SCANS
            or (types[column.name].is_binary() and isinstance(column.type, sa.LargeBinary))
            for column in table.columns
        )

    def _scan(self, table: sa.Table) -> str:
        """DuckDB's own query over SQLite's pages; dates of orders come as text, one per order number."""
        columns = ", ".join(f'lines."{column.name}"' for column in table.columns)
        if table is not LINES:
            return f'SELECT {columns} FROM "{table.name}" AS lines'
        key, day = ORDERS.c.orderNumber, ORDERS.c.orderDate
        dates = scanner.passed_through(self.url, self._sql(sa.select(key, as_text(day).label(day.name))))
        return (
            f'SELECT {columns}, dates."{day.name}" FROM "{table.name}" AS lines LEFT JOIN ('
            f'SELECT TRY_CAST("{key.name}" AS BIGINT) AS number, min("{day.name}") AS "{day.name}" FROM ({dates}) '
            f'GROUP BY 1) AS dates ON dates.number = lines."{LINES.c.orderNumber.name}"'
        )

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
        if FIRST_MONTH in months:
            queries.append(joined.where(orders.c.orderNumber.is_(None)))
        return queries

    def _needed(self, table: sa.Table, months: Sequence[date] | None, today: date | None) -> Sequence[date] | None:
        """``months``, or None when no row's home lies outside them, and so no filter is needed."""
        if months is None or table.name not in PARTITIONED:
            return None
        months = sorted({month.replace(day=1) for month in months})
        if FIRST_MONTH not in months:
            return months
        others = [month for month in months_until(today or date.today()) if month not in months]
        outside = sa.select(sa.literal(1)).select_from(ORDERS)
        outside = outside.where(at_home(ORDERS.c.orderDate, others, today or date.today())).limit(1)
        return months if others and self._ask(outside)[0] else None

    def _cents(self, table: sa.Table) -> Any:
        money = {"orderdetails": "priceEach", "payments": "amount"}.get(table.name)
        if money is None:
            return None
        types = self._columns(table)
        cents: Any = exact_number(table.c[money], types[money], self.url) * 100
        if self.url.is_sqlite:
            cents = sa.cast(sa.func.round(cents), sa.Integer())  # exact from here on: SQLite sums integers
        if table is LINES:
            quantity = LINES.c.quantityOrdered
            cents = cents * exact_number(quantity, types[quantity.name], self.url)
        return cents

    def _has_orphans(self) -> bool:
        known = sa.select(ORDERS.c.orderNumber).where(ORDERS.c.orderNumber == LINES.c.orderNumber)
        orphan = sa.select(sa.literal(1)).select_from(LINES).where(~known.exists()).limit(1)
        return bool(self._ask(orphan)[0])

    # How it is asked ---------------------------------------------------------------------------------

    @cached_property
    def _engine(self) -> sa.Engine:
        return read_only_engine(self.url, self._timeout, self._query_seconds)

    def _ask(self, *queries: sa.Select) -> list[list[Any]]:
        """The rows of small queries, all on one connection."""

        def ask() -> list[list[Any]]:
            with self._engine.connect() as connection:
                return [list(connection.execute(query)) for query in queries]

        return self._patiently(ask)

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """What ``ask`` returns, with errors of ours; transient failures are tried again, others are not."""

        def translating() -> Any:
            try:
                return ask()
            except (*DRIVER_ERRORS, SourceError) as error:
                raise translated(error, self.url) from None

        return patiently(translating)

    def _columns(self, table: sa.Table) -> Types:
        """The columns that the order system has now, in its order."""

        def look() -> Types:
            try:
                return {each["name"]: each["type"] for each in sa.inspect(self._engine).get_columns(table.name)}
            except sa.exc.NoSuchTableError:
                raise SourceMissing(
                    f"{self.url}: no table {table.name}; expected the eight tables of classicmodels; check the "
                    "database in CLASSIC_CARS_SOURCE_URL"
                ) from None

        return self._patiently(look)

    def _sql(self, query: sa.Select | sa.CompoundSelect) -> str:
        """The query as text in the order system's dialect, values included."""
        return str(query.compile(self._engine, compile_kwargs={"literal_binds": True}))
