"""PostgreSQL: everything that is read in a snapshot, all tables alike, is of one transaction of the server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.compiled import CompilingOnce
from classic_cars.contracts.order_system import READ_ORDER
from classic_cars.sources import scanner
from classic_cars.sources.control_totals import ControlTotals
from classic_cars.sources.home_months import OrderDate
from classic_cars.sources.near_dates import Near, moments, texts_in_c
from classic_cars.sources.order_system import account, change_signs
from classic_cars.sources.order_system.change_signs import Sign
from classic_cars.sources.order_system.database import Database, read_only
from classic_cars.sources.order_system.selecting import together
from classic_cars.sources.order_system.streams import STREAM_ERRORS, Shape, guarded, opened, shaped, unreadable
from classic_cars.sources.retries import retry_transient

SCANNER = "postgres"
#: Dates by year, month and day, numbers with all their digits, and backslashes that are backslashes; and where a policy
#: hides rows from the user, no answer instead of one without them.
SESSION = ("datestyle=ISO", "extra_float_digits=1", "standard_conforming_strings=on", "row_security=off")
NAMES = ("rows", "digest", "cents", "day")


class PostgreSQL(Database):
    """A PostgreSQL server."""

    @cached_property
    def engine(self) -> sa.Engine:
        options = f"-c default_transaction_read_only=on -c statement_timeout={int(self.query_seconds * 1000)}"
        return read_only(
            self.url, connect_args={"connect_timeout": self._wait, "options": f"{self._options} {options}"}
        )

    @property
    def _options(self) -> str:
        """What the texts of values depend on, whatever the database, the user or this machine has by default."""
        session = (*SESSION, f"lock_timeout={self.lock_seconds}s")
        return " ".join(filter(None, (self.url.options().get("options", ""), *(f"-c {each}" for each in session))))

    @property
    def _wait(self) -> int:
        return max(2, int(self.timeout))

    def _attach(self, connection: duckdb.DuckDBPyConnection | None) -> duckdb.DuckDBPyConnection:  # noqa: ARG002
        dead = {"keepalives_idle": "20", "keepalives_interval": "5", "keepalives_count": "3"}  # notice a dead server
        session = {"options": "'" + re.sub(r"(['\\\\])", r"\\\1", self._options) + "'"}  # as libpq has it
        return scanner.attached_server(
            SCANNER, self.url, {"connect_timeout": str(self._wait), **dead, **self.url.options(), **session}
        )

    def _near(self, kind: sa.types.TypeEngine | None) -> Near | None:
        if isinstance(kind, sa.DateTime):
            return moments
        return texts_in_c if isinstance(kind, sa.String) and not isinstance(kind, sa.Enum) else None

    @contextmanager
    def _new_snapshot(self, scratch: Path | None) -> Iterator[_Snapshot]:  # noqa: ARG002
        snapshot = _Snapshot(self)
        try:
            yield snapshot
        finally:
            snapshot.close()

    def column_digests(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, int]:
        return account.column_digests(self, table, months, today)

    def fingerprints(
        self, tables: Sequence[sa.Table] = READ_ORDER, today: date | None = None
    ) -> dict[str, dict[str, str]]:
        return account.seen(self, tables, today, _day)

    def change_signs(self, tables: Sequence[sa.Table] = READ_ORDER, today: date | None = None) -> dict[str, Sign]:
        return change_signs.signs(self, change_signs.of_postgresql(self, tables), tables, today)


class _Snapshot:
    """A transaction of DuckDB's scanner, which is one of the server's, begun with the first question."""

    def __init__(self, database: PostgreSQL) -> None:
        self._database = database
        self._connection: duckdb.DuckDBPyConnection | None = None

    def read(
        self,
        table: sa.Table,
        months: Sequence[date] | None = None,
        shape: Shape | None = None,
        today: date | None = None,
    ) -> pa.RecordBatchReader:
        database = self._database
        database.drift(table)  # names missing columns
        columns = account.arriving(table, database.types(table))
        query = database.sql(together(database.selection(table, months, today).queries(columns)))

        def open_() -> pa.RecordBatchReader:
            try:
                arriving = CompilingOnce.from_connection(self._begun()).sql(scanner.pushed_down(SCANNER, query))
                return opened(self._begun(), shaped(arriving, shape, months))
            except STREAM_ERRORS as error:
                self.close()
                raise unreadable(table, error, database.url) from None

        return guarded(retry_transient(open_), table, database.url, lambda: None)

    def control_totals(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, ControlTotals]:
        database, today = self._database, today or date.today()
        by = account.by_day(table, _day)
        totals = account.totals(database, table)
        queries = database.selection(table, months, today).queries(
            lambda day: [
                each.label(name) for name, each in zip(NAMES, [*totals(day), *(by(day) if by else [])], strict=False)
            ],
            by,
        )
        query = database.sql(together(queries))
        try:
            groups = self._begun().execute(scanner.pushed_down(SCANNER, query)).fetchall()
        except STREAM_ERRORS as error:
            self.close()
            raise unreadable(table, error, database.url) from None
        return account.of_months(groups, table, months, today)

    def _begun(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = self._database.attached()
            self._connection.execute("BEGIN TRANSACTION")
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            scanner.closed(self._connection)
        self._connection = None


def _day(day: OrderDate) -> list[sa.ColumnElement]:
    return [day.text]
