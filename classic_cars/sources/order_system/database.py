"""What all databases of order systems share: how they are asked, and what is asked of all of them alike.

Questions are brief, read-only and tried again when the failure may pass; errors are ours. How rows are read and what
a database says of them is in the class of each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import copy
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import sqlalchemy as sa

from classic_cars.contracts.order_system import PARTITIONED, metadata
from classic_cars.errors import SourceError, SourceMissing, SourceUnreachable
from classic_cars.months import UNDATED, month_of
from classic_cars.sources.columns import kind_of
from classic_cars.sources.control_totals import proven
from classic_cars.sources.errors import FIX, lost_connection, said_by_scanner, translate_error
from classic_cars.sources.home_months import away, home_of, home_of_text
from classic_cars.sources.near_dates import Near
from classic_cars.sources.order_system.drift import SchemaDrift, drift_of, probe, unreadable
from classic_cars.sources.order_system.selecting import LINES, ORDERS, Orders, Selection
from classic_cars.sources.retries import retry_transient
from classic_cars.sources.texts import as_text
from classic_cars.sources.urls import SourceURL

Types = dict[str, sa.types.TypeEngine]

#: What a driver raises; a text of its may not even be UTF-8.
DRIVER_ERRORS = (sa.exc.SQLAlchemyError, OSError, UnicodeError)
#: Control totals of a big table take a while; a server that says nothing for so long is gone.
QUERY_SECONDS = 120
#: Keys in one query.
KEYS = 500


class Database(ABC):
    """Connections to the order system behind ``url``, opened when asked and closed; holds no lock."""

    #: Whether a column of numbers or dates can hold nothing else, and heeds its size.
    strict_types: ClassVar[bool] = True

    def __init__(self, url: SourceURL, connect_timeout: float, query_seconds: float) -> None:
        self.url = url
        self.timeout, self.query_seconds = connect_timeout, query_seconds
        self._shared: _Shared | None = None
        self._known_types: dict[str, Types] | None = None

    @property
    def redacted(self) -> str:
        return str(self.url)

    @property
    def lock_seconds(self) -> int:
        """So long a question waits for a table that another session keeps to itself."""
        return max(1, int(self.timeout))

    # Of each database its own -----------------------------------------------------------------------

    @cached_property
    @abstractmethod
    def engine(self) -> sa.Engine:
        """Connections that refuse to write and give up waiting after ``timeout`` seconds."""

    @abstractmethod
    def _attach(self, connection: duckdb.DuckDBPyConnection | None) -> duckdb.DuckDBPyConnection:
        """A private DuckDB, or this one, with the order system attached read-only; raises ``duckdb.Error``."""

    @abstractmethod
    def _new_snapshot(self, scratch: Path | None) -> AbstractContextManager[Any]: ...

    @abstractmethod
    def _near(self, kind: sa.types.TypeEngine | None) -> Near | None:
        """How days are found in ``orderDate`` when its type is this, no real date; None where no way is known."""

    #: Where all order dates are to be found; each at least once.
    _days: ClassVar[sa.FromClause] = ORDERS

    def _lines_index(self, inspector: sa.Inspector) -> str | None:  # noqa: ARG002
        """The index on lines by which their order's number finds them; None where the database finds it itself."""
        return None

    # Snapshots --------------------------------------------------------------------------------------

    def snapshot(self, scratch: Path | None = None) -> AbstractContextManager[Any]:
        return self._shared.snapshot(scratch) if self._shared else self._new_snapshot(scratch)

    @contextmanager
    def in_one_snapshot(self) -> Iterator[Any]:
        shared = copy(self)
        shared._shared = _Shared(shared._new_snapshot)
        shared.__dict__.pop("orders", None)  # what was known before may be so no longer
        if self.strict_types:  # others take the name of a column that is gone meanwhile for a text
            shared._known_types = {}  # asked for once in a run
        try:
            yield shared
        finally:
            shared._shared.close()

    # Questions --------------------------------------------------------------------------------------

    def probe(self) -> None:
        probe(self)

    def unreadable(self) -> dict[str, SourceError]:
        return unreadable(self)

    def drift(self, table: sa.Table) -> SchemaDrift:
        return drift_of(self, table)

    def months(self, today: date | None = None) -> list[date]:
        today = today or date.today()
        home = home_of(self.orders.date_of(ORDERS, self._days), today)
        (found,) = self.ask(sa.select(home).distinct())
        months = {month_of(row[0]) for row in found}
        if UNDATED not in months and self._has_orphans():
            months.add(UNDATED)
        return sorted(months)

    def homes_of(self, order_numbers: Sequence[int], today: date | None = None) -> dict[int, date]:
        """An order number that occurs twice is where its lines are: in its first month."""
        if not order_numbers:
            return {}
        orders = self.orders.by_number
        number: Any = orders.c.orderNumber
        if kind_of(self.types(ORDERS)[number.name]) is not int:
            number, order_numbers = as_text(number), [str(each) for each in order_numbers]  # type: ignore[misc]
        keys = [order_numbers[start : start + KEYS] for start in range(0, len(order_numbers), KEYS)]
        day = as_text(orders.c.orderDate)
        found = self.ask(*(sa.select(number, day).where(number.in_(some)) for some in keys))
        return {int(key): home_of_text(text, today or date.today()) for rows in found for key, text in rows}

    def _has_orphans(self) -> bool:
        numbers = sa.select(LINES.c.orderNumber).distinct().subquery("numbers")  # a tenth as many as lines
        known = sa.select(ORDERS.c.orderNumber).where(ORDERS.c.orderNumber == numbers.c.orderNumber)
        orphan = sa.select(sa.literal(1)).select_from(numbers).where(~known.exists()).limit(1)
        return bool(self.ask(orphan)[0])

    # For the classes of databases and their snapshots -----------------------------------------------

    def selection(self, table: sa.Table, months: Sequence[date] | None, today: date | None) -> Selection:
        """The rows to read for these months: all of them, when no order's home lies outside."""
        today = today or date.today()
        if months is None or table.name not in PARTITIONED:
            return Selection(table, self.orders, None, today)
        outside = away(self.orders.date_of(ORDERS, self._days), months, today)
        found = not months or self.ask(sa.select(sa.literal(1)).select_from(self._days).where(outside).limit(1))[0]
        return Selection(table, self.orders, months, today, whole=not found)

    @cached_property
    def orders(self) -> Orders:
        def ask() -> Orders:
            with self.engine.connect() as connection:
                return self._orders_seen_by(sa.inspect(connection))

        return self.retry_transient(ask)

    def _orders_seen_by(self, inspector: sa.Inspector) -> Orders:
        key, day = ORDERS.c.orderNumber.name, ORDERS.c.orderDate.name
        unique = inspector.get_unique_constraints(ORDERS.name)
        keys = [inspector.get_pk_constraint(ORDERS.name)["constrained_columns"], *(u["column_names"] for u in unique)]
        kind = {each["name"]: each["type"] for each in inspector.get_columns(ORDERS.name)}.get(day)
        dated = self.strict_types and type(kind) is sa.DATE
        near = None if dated else self._near(kind)
        return Orders([key] in map(list, keys), dated, near, self._lines_index(inspector))

    def types(self, table: sa.Table) -> Types:
        """The columns that the order system has now, in its order."""

        def ask() -> Types:
            with self.engine.connect() as connection:
                inspector = sa.inspect(connection)
                try:
                    return {each["name"]: each["type"] for each in inspector.get_columns(table.name)}
                except sa.exc.NoSuchTableError:
                    there = {*inspector.get_table_names(), *inspector.get_view_names()}
                    raise SourceMissing(f"{self.url}: no table {table.name}; {_what_to_do(there)}") from None

        known = self._known_types
        if known is None:
            return self.retry_transient(ask)
        if table.name not in known:
            known[table.name] = self.retry_transient(ask)
        return known[table.name]

    def proven(self, table: sa.Table) -> list[tuple[sa.Column, sa.types.TypeEngine]]:
        """The columns that are proven, each with the type that it has now."""
        self.drift(table)  # says which columns are missing
        types = self.types(table)
        return [(column, types[column.name]) for column in proven(table)]

    def watched(self, table: sa.Table) -> list[tuple[sa.Column, sa.types.TypeEngine]]:
        """The columns by which a change of a row is noticed, each with the type that it has now."""
        types = self.types(table) if self.strict_types else {}
        return [(column, types.get(column.name, column.type)) for column in table.columns]

    def ask(self, *queries: sa.Select | sa.CompoundSelect) -> list[list[Any]]:
        """The rows of small queries, all on one connection."""

        def ask() -> list[list[Any]]:
            with self.engine.connect() as connection:
                return [list(connection.execute(query)) for query in queries]

        return self.retry_transient(ask)

    def retry_transient(self, ask: Callable[[], Any]) -> Any:
        """What ``ask`` returns, with errors of ours; transient failures are tried again, others are not."""

        def translate_errors() -> Any:
            try:
                return ask()
            except (*DRIVER_ERRORS, SourceError) as error:
                raise translate_error(error, self.url) from None

        return retry_transient(translate_errors)

    def attached(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyConnection:
        """A private DuckDB, or this one, with the order system attached read-only as the current database."""
        try:
            return self._attach(connection)
        except duckdb.Error as error:
            self.probe()  # says what is wrong in better words than the scanner
            kind = SourceUnreachable if lost_connection(error, self.url) else SourceError
            raise kind(
                f"{self.url}: DuckDB's scanner cannot connect, though another driver can: "
                f"{said_by_scanner(error, self.url)}"
            ) from None

    def sql(self, query: Any) -> str:
        """The query as text in the order system's dialect, values included."""
        return str(query.compile(self.engine, compile_kwargs={"literal_binds": True}))


def _what_to_do(there: set[str]) -> str:
    """About a table that is missing beside these: where none of the eight is, nobody has one to lose."""
    if there.isdisjoint(metadata.tables):
        return FIX[SourceMissing]
    return "expected the eight tables of classicmodels; check the database in CLASSIC_CARS_SOURCE_URL"


def read_only(url: SourceURL, **options: Any) -> sa.Engine:
    """An engine without a pool, that shows no values in its errors."""
    return sa.create_engine(url.for_sqlalchemy(), poolclass=sa.NullPool, hide_parameters=True, **options)


class _Shared:
    """One snapshot for all who ask; after a failure in it, the next who asks gets a new one."""

    def __init__(self, opened: Callable[[Path | None], AbstractContextManager[Any]]) -> None:
        self._opened, self._stack = opened, ExitStack()
        self._held: Any = None

    @contextmanager
    def snapshot(self, scratch: Path | None) -> Iterator[Any]:
        if self._held is None:
            self._held = self._stack.enter_context(self._opened(scratch))
        try:
            yield self._held
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._held = None
        self._stack.close()
