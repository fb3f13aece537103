"""The order system, read-only: is it there, which months has it, what do its tables hold.

Rows are read by DuckDB's own scanners for SQLite, MySQL (MariaDB) and PostgreSQL in a private in-memory
database, which streams them as Arrow batches with bounded memory, several pages at a time where the source
allows; control totals are computed by the order system's own engine. Only named columns are selected.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import ibis
import pyarrow as pa
import sqlalchemy as sa
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from classic_cars.contracts.base import RESCUED
from classic_cars.contracts.order_system import FIRST_MONTH, PARTITIONED, READ_ORDER, metadata
from classic_cars.errors import SourceError, SourceMissing, SourceSchemaChanged, SourceUnreachable
from classic_cars.sources.errors import scrubbed, translated, without_values
from classic_cars.sources.urls import SCANNERS, SourceURL

Result = TypeVar("Result")
Shape = Callable[[ibis.Table], ibis.Table]

BATCH_ROWS = 122_880  # one row group of DuckDB
#: A transient failure is retried for so long; a person waits for the answer.
RETRY_SECONDS = 2.5
#: Control totals of a big table take a while; a server that says nothing for so long is gone.
QUERY_SECONDS = 120

ORDERS = metadata.tables["orders"]
LINES = metadata.tables["orderdetails"]


@dataclass(frozen=True)
class ControlTotals:
    """What the order system itself says of a table: its rows, and where it holds money their sum in cents."""

    rows: int
    cents: int | None = None


@dataclass(frozen=True)
class SchemaDrift:
    """How a table of the order system differs from its declared columns, without harm so far."""

    added: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.retyped)


class OrderSystem:
    """The order system behind ``url``. Opens connections when asked and closes them; holds no lock."""

    def __init__(self, url: str, connect_timeout: float = 4.0) -> None:
        self.url = SourceURL.parse(url)
        self._timeout = connect_timeout
        #: Tables that hold values DuckDB's scanner cannot read as declared; they are read as text.
        self._read_as_text: set[str] = set()
        self._failures: dict[str, SourceError] = {}

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
        for table in READ_ORDER:
            self._fetch(sa.select(*table.columns).limit(1))

    def months(self) -> list[date]:
        """The home months that have rows, sorted; see :func:`classic_cars.sources.conform.home_month`."""
        month = sa.func.substr(sa.cast(ORDERS.c.orderDate, sa.String(10)), 1, 7)
        if self.url.is_sqlite:
            day = _as_text(ORDERS.c.orderDate)
            month = sa.case((sa.func.date(day) == sa.func.substr(day, 1, 10), sa.func.substr(day, 1, 7)))
        found = {_home(row[0]) for row in self._fetch(sa.select(month).distinct())}
        if FIRST_MONTH not in found and self._has_orphans():
            found.add(FIRST_MONTH)
        return sorted(found)

    def drift(self, table: sa.Table) -> SchemaDrift:
        """Columns that are new or have another kind of type.

        Raises ``SourceSchemaChanged`` when a declared column is missing, naming what there is instead.
        """
        actual = self._columns(table)
        missing = [column.name for column in table.columns if column.name not in actual]
        added = [name for name in actual if name not in table.columns]
        if missing:
            hint = f"; new there: {', '.join(added)}, is one of them its new name?" if added else ""
            raise SourceSchemaChanged(
                f"{self.url}: table {table.name} has no column {', '.join(missing)}; found {', '.join(actual)}{hint}; "
                "change classic_cars/contracts/order_system.py, or give the table its column back"
            )
        retyped = [
            f"{column.name} is {actual[column.name]}, was {column.type}"
            for column in table.columns
            if not _same_kind(column.type, actual[column.name])
        ]
        return SchemaDrift(tuple(added), tuple(retyped))

    def control_totals(self, table: sa.Table, months: Sequence[date] | None = None) -> ControlTotals:
        """Rows and cents of ``table``, of these home months only if given, computed by the order system."""
        columns: list[sa.ColumnElement] = [sa.func.count().label("rows")]
        cents = self._cents(table)
        if cents is not None:
            columns.append(cents.label("cents"))
        months = None if self._covers(table, months) else months
        ((rows, *sums),) = self._fetch(self._query(columns, table, months))
        return ControlTotals(int(rows), round(sums[0] or 0) if sums else None)

    # Reading -----------------------------------------------------------------------------------------

    def read(
        self, table: sa.Table, months: Sequence[date] | None = None, shape: Shape | None = None
    ) -> pa.RecordBatchReader:
        """The rows of ``table``, of these home months only if given, as a stream of Arrow batches.

        ``shape`` maps the arriving columns to those that leave, in the reading engine; order lines arrive with
        their order's ``orderDate``. Raises ``SourceError`` here or from the stream. A value that cannot be read
        as declared ends the stream, and from then on :meth:`must_read_as_text` says so: read again.
        """
        self.drift(table)
        as_text = table.name in self._read_as_text
        months = None if self._covers(table, months) else months
        query = self._sql(self._query(self._arriving(table, as_text), table, months))
        connection = self._attached()
        try:
            backend = ibis.duckdb.from_connection(connection)
            direct = months is None and not as_text
            arriving = backend.sql(query if direct else self._passed_through(query))
            if as_text and self.url.is_sqlite:
                arriving = _decoded(arriving, table)
            shaped = shape(arriving) if shape is not None else arriving
            batches = connection.execute(backend.compile(shaped)).to_arrow_reader(BATCH_ROWS)
        except duckdb.Error as error:
            connection.close()
            raise self._unreadable(table, error) from None
        return pa.RecordBatchReader.from_batches(batches.schema, self._streamed(table, batches, connection))

    def must_read_as_text(self, table: sa.Table) -> bool:
        """True when a stream of this table ended at a value that could not be read as declared."""
        return table.name in self._read_as_text

    def _streamed(
        self, table: sa.Table, batches: pa.RecordBatchReader, connection: duckdb.DuckDBPyConnection
    ) -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._unreadable(table, error) from None
        finally:
            connection.close()

    def failure(self, table: sa.Table) -> SourceError | None:
        """What ended the last stream of this table: engines that consume a stream hide its error."""
        return self._failures.get(table.name)

    def _unreadable(self, table: sa.Table, error: Exception) -> SourceError:
        """The error of a read; also learns whether reading the values as text can help."""
        self._failures[table.name] = found = self._diagnosed(table, error)
        return found

    def _diagnosed(self, table: sa.Table, error: Exception) -> SourceError:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        connection_words = ("connect", "server has gone", "lost connection", "closed", "locked", "terminat", "timeout")
        if any(words in text.lower() for words in connection_words):
            return SourceUnreachable(f"{self.url}: {scrubbed(text, self.url)} while reading table {table.name}")
        self._read_as_text.add(table.name)
        # The engine quotes the value; it may be somebody's.
        return SourceError(
            f"{self.url}: table {table.name} holds something that cannot be read as declared: {without_values(text)}"
        )

    def _attached(self) -> duckdb.DuckDBPyConnection:
        """A private database with the order system attached read-only as the current schema."""
        scanner = SCANNERS[self.url.scheme]
        connection = duckdb.connect(
            config={"memory_limit": "400MB", "preserve_insertion_order": False, "autoinstall_known_extensions": False}
        )
        try:
            connection.execute(f"LOAD '{_extension(scanner)}'")
            target = self.url.for_duckdb(self._timeout).replace("'", "''")
            connection.execute(f"ATTACH '{target}' AS order_system (TYPE {scanner}, READ_ONLY)")
            connection.execute("USE order_system")
        except duckdb.Error as error:
            connection.close()
            self.probe()  # says what is wrong in better words than the scanner
            raise SourceUnreachable(
                f"{self.url}: {scrubbed(str(error).strip().splitlines()[0], self.url)}"
            ) from None
        return connection

    def _passed_through(self, query: str) -> str:
        """A query that the order system's own engine executes, so that it can use its keys."""
        return f"SELECT * FROM {SCANNERS[self.url.scheme]}_query('order_system', {_literal(query)})"

    def _arriving(self, table: sa.Table, as_text: bool) -> list[sa.ColumnElement]:
        """The declared columns by name, and for order lines the date of their order."""
        columns = [*table.columns, *([ORDERS.c.orderDate] if table is LINES else [])]
        return [self._transported(column, as_text) for column in columns]

    def _transported(self, column: sa.Column, as_text: bool) -> sa.Label:
        value: Any = column
        if as_text and self.url.is_sqlite:
            value = sa.case((column.isnot(None), sa.func.hex(column)))
        elif as_text and not isinstance(column.type, sa.LargeBinary):
            value = _as_text(column)
        return value.label(column.name)

    def _query(
        self, columns: Sequence[sa.ColumnElement], table: sa.Table, months: Sequence[date] | None
    ) -> sa.Select:
        """``columns`` of ``table``, only of rows whose home is one of these consecutive months if given."""
        needs_orders = months is not None or any(ORDERS.c.orderDate in _columns_in(each) for each in columns)
        if table is LINES and needs_orders:
            query = sa.select(*columns).select_from(
                LINES.outerjoin(ORDERS, ORDERS.c.orderNumber == LINES.c.orderNumber)
            )
        else:
            query = sa.select(*columns).select_from(table)
        return query if months is None else query.where(self._at_home_in(months))

    def _at_home_in(self, months: Sequence[date]) -> sa.ColumnElement[bool]:
        day = ORDERS.c.orderDate
        first, end = min(months), _next(max(months))
        if first > FIRST_MONTH:
            return sa.and_(self._readable(day), day >= self._day(first), day < self._day(end))
        # The first month is also home to every row without a usable date: take all but the later months' rows.
        later = sa.and_(self._readable(day), day >= self._day(end), day < self._day(_next(date.today())))
        return sa.not_(sa.func.coalesce(later, sa.false()))

    def _day(self, day: date) -> Any:
        return sa.literal_column(f"'{day.isoformat()}'") if self.url.is_sqlite else sa.literal(day, sa.Date())

    def _readable(self, day: sa.Column) -> sa.ColumnElement[bool]:
        """Condition: the date is one; databases without real dates hold all sorts of texts."""
        if self.url.is_sqlite:
            return sa.func.date(_as_text(day)) == sa.func.substr(_as_text(day), 1, 10)
        if self.url.scheme in ("mysql", "mariadb"):
            return sa.not_(_as_text(day).like("%-00%"))
        return sa.true()

    def _covers(self, table: sa.Table, months: Sequence[date] | None) -> bool:
        """True when no row's home lies outside ``months``, and so no filter is needed."""
        if months is None or table.name not in PARTITIONED:
            return True
        if min(months) > FIRST_MONTH:
            return False
        ((covered,),) = self._fetch(self._query([sa.func.count()], ORDERS, months))
        ((everything,),) = self._fetch(self._query([sa.func.count()], ORDERS, None))
        return covered == everything

    def _cents(self, table: sa.Table) -> sa.ColumnElement | None:
        money = {"orderdetails": "priceEach", "payments": "amount"}.get(table.name)
        if money is None:
            return None
        cents: Any = table.c[money] * 100
        if self.url.is_sqlite:
            cents = sa.cast(sa.func.round(cents), sa.Integer())  # exact from here on: SQLite sums integers
        if table is LINES:
            cents = cents * LINES.c.quantityOrdered
        return sa.func.sum(cents)

    def _has_orphans(self) -> bool:
        known = sa.select(ORDERS.c.orderNumber).where(ORDERS.c.orderNumber == LINES.c.orderNumber)
        return bool(self._fetch(sa.select(sa.literal(1)).select_from(LINES).where(~known.exists()).limit(1)))

    # Asking the order system's own engine ------------------------------------------------------------

    @cached_property
    def _engine(self) -> sa.Engine:
        options: dict[str, Any] = {}
        if self.url.is_sqlite:
            path = self.url.path
            options["creator"] = lambda: _sqlite_read_only(path, self._timeout)
        elif self.url.scheme == "postgresql":
            options["connect_args"] = {
                "connect_timeout": max(2, round(self._timeout)),
                "options": f"-c default_transaction_read_only=on -c statement_timeout={QUERY_SECONDS * 1000}",
            }
        else:
            options["connect_args"] = {
                "connect_timeout": self._timeout,
                # Also the time that a server may take to greet; raised once it has.
                "read_timeout": self._timeout,
                "init_command": "SET SESSION TRANSACTION READ ONLY",
            }
        engine = sa.create_engine(self.url.for_sqlalchemy(), poolclass=sa.NullPool, **options)
        if "init_command" in options.get("connect_args", {}):
            sa.event.listen(engine, "connect", _wait_longer_for_results)
        return engine

    def _fetch(self, query: sa.Select) -> list[Any]:
        """The rows of a small query; transient failures are tried again for a moment, others are not."""

        def ask() -> list[Any]:
            try:
                with self._engine.connect() as connection:
                    return list(connection.execute(query))
            except (sa.exc.SQLAlchemyError, OSError, UnicodeError) as error:
                raise translated(error, self.url) from None

        retrying = Retrying(
            retry=retry_if_exception(lambda error: getattr(error, "retryable", False)),
            wait=wait_random_exponential(multiplier=0.1, max=1),
            stop=stop_after_delay(RETRY_SECONDS),
            reraise=True,
        )
        return retrying(ask)

    def _columns(self, table: sa.Table) -> dict[str, sa.types.TypeEngine]:
        """The columns that the order system has now, in its order."""
        try:
            return {each["name"]: each["type"] for each in sa.inspect(self._engine).get_columns(table.name)}
        except sa.exc.NoSuchTableError:
            raise SourceMissing(f"{self.url}: no table {table.name}; is this the right database?") from None
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise translated(error, self.url) from None

    def _sql(self, query: sa.Select) -> str:
        """The query as text in the order system's dialect, values included."""
        return str(query.compile(self._engine, compile_kwargs={"literal_binds": True}))


def _sqlite_read_only(path: Path, timeout: float) -> Any:
    import sqlite3

    if not path.exists():
        raise sqlite3.OperationalError(f"unable to open database file {path}: no such file")
    connection = sqlite3.connect(f"file:{path.as_posix()}?mode=ro", uri=True, timeout=timeout)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def _wait_longer_for_results(connection: Any, _record: Any) -> None:
    connection._read_timeout = QUERY_SECONDS


def _extension(scanner: str) -> Path:
    """DuckDB's signed scanner extension, from its wheel: nothing is downloaded."""
    package = importlib.util.find_spec(f"duckdb_extension_{scanner}_scanner")
    if package is None or package.origin is None:
        raise SourceError(f"DuckDB's {scanner} scanner is missing: pip install duckdb-extension-{scanner}-scanner")
    name = f"{scanner}_scanner.duckdb_extension"
    found = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}" / name
    if not found.is_file():
        raise SourceError(
            f"{found} is missing: install duckdb-extension-{scanner}-scanner=={duckdb.__version__}, the version of DuckDB"
        )
    return found


def _decoded(arriving: ibis.Table, table: sa.Table) -> ibis.Table:
    """Values that arrived as hexadecimal digits; those that are not UTF-8 stay digits, in ``_rescued_data``."""
    kinds = {column.name: column.type for column in [*table.columns, ORDERS.c.orderDate]}
    columns: dict[str, Any] = {}
    undecodable = []
    for name in arriving.columns:
        if isinstance(kinds[name], sa.LargeBinary):
            columns[name] = _unhex(arriving[name])
            continue
        columns[name] = _try(_decode(_unhex(arriving[name])))
        lost = arriving[name].notnull() & columns[name].isnull()
        undecodable.append(ibis.ifelse(lost, ibis.literal(f'"{name}": "x') + arriving[name] + '"', None))
    return arriving.select(**columns, **{RESCUED: ibis.literal(", ").join(undecodable).nullif("")})


# DuckDB's functions, for the reading engine only.
@ibis.udf.scalar.builtin(name="unhex")
def _unhex(digits: str) -> bytes:  # type: ignore[empty-body]
    ...


@ibis.udf.scalar.builtin(name="decode")
def _decode(raw: bytes) -> str:  # type: ignore[empty-body]
    ...


@ibis.udf.scalar.builtin(name="try")
def _try(text: str) -> str:  # type: ignore[empty-body]
    ...


def _as_text(column: Any) -> sa.ColumnElement[str]:
    return sa.cast(column, sa.Text().with_variant(sa.String(), "mysql", "mariadb"))


def _columns_in(expression: sa.ColumnElement) -> set[sa.Column]:
    return {each for each in sa.sql.visitors.iterate(expression) if isinstance(each, sa.Column)}


def _home(month: str | None) -> date:
    """The home month of a ``YYYY-MM`` text."""
    try:
        day = date.fromisoformat(f"{month}-01")
    except ValueError:
        return FIRST_MONTH
    return day if FIRST_MONTH <= day <= date.today() else FIRST_MONTH


def _next(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def _same_kind(declared: sa.types.TypeEngine, actual: sa.types.TypeEngine) -> bool:
    kinds = (sa.Integer, sa.Numeric, sa.Date, sa.LargeBinary, sa.String)
    one = next((kind for kind in kinds if isinstance(declared, kind)), None)
    other = next((kind for kind in kinds if isinstance(actual, kind)), None)
    return one is other


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
