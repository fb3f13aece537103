"""How the order system is asked: read-only, briefly, patiently, and with errors of ours. What, others decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import sqlalchemy as sa

from classic_cars.contracts.order_system import READ_ORDER
from classic_cars.errors import SourceError, SourceMissing, SourceSchemaChanged, SourceUnreachable
from classic_cars.sources import scanner
from classic_cars.sources.columns import retyped
from classic_cars.sources.connect import QUERY_SECONDS, read_only_engine
from classic_cars.sources.errors import lost_connection, said_by_scanner, translated
from classic_cars.sources.retries import patiently
from classic_cars.sources.urls import SourceURL

Types = dict[str, sa.types.TypeEngine]

#: What a driver raises; a text of its may not even be UTF-8.
DRIVER_ERRORS = (sa.exc.SQLAlchemyError, OSError, UnicodeError)


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


class Asking:
    """Connections to the order system behind ``url``, opened when asked and closed; holds no lock."""

    def __init__(self, url: str, connect_timeout: float = 4.0, query_seconds: float = QUERY_SECONDS) -> None:
        self.url = SourceURL.parse(url)
        self._timeout, self._query_seconds = connect_timeout, query_seconds

    @property
    def redacted(self) -> str:
        """The URL without its password."""
        return str(self.url)

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

    def _sql(self, query: sa.Select | sa.CompoundSelect) -> str:
        """The query as text in the order system's dialect, values included."""
        return str(query.compile(self._engine, compile_kwargs={"literal_binds": True}))
