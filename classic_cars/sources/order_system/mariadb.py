"""MariaDB and MySQL: rows and what the server says of them come in one statement, and so from one snapshot.

DuckDB's scanner asks every question on another connection, so that no transaction holds two together. The rows of the
account carry a text in a column of their own; they are taken out of the stream on its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.compiled import CompilingOnce
from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER
from classic_cars.sources import scanner
from classic_cars.sources.control_totals import ControlTotals
from classic_cars.sources.home_months import OrderDate
from classic_cars.sources.near_dates import PLAIN_CHARACTERS, Near, moments, texts
from classic_cars.sources.order_system import account, change_signs
from classic_cars.sources.order_system.change_signs import Sign
from classic_cars.sources.order_system.database import Database, read_only
from classic_cars.sources.order_system.selecting import LINES, ORDERS, Selection, together
from classic_cars.sources.order_system.streams import (
    BATCH_ROWS,
    STREAM_ERRORS,
    Shape,
    guarded,
    opened,
    shaped,
    unreadable,
)
from classic_cars.sources.retries import retry_transient

SCANNER = "mysql"
#: As booleans their values would all become 0 or 1.
SETTINGS = ("SET mysql_tinyint1_as_boolean = false", "SET mysql_bit1_as_boolean = false")
#: Before a scanner's query, which has a session of its own: how long it waits for a lock. MySQL reads a comment.
PATIENCE = "/*M! SET STATEMENT lock_wait_timeout = {} FOR */ "
#: So much longer waits the client, so that it is the server that ends a query.
GRACE_SECONDS = 5

#: Asks for the character set of a column.
CHARACTERS = sa.text(
    "SELECT character_set_name FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND table_name = :table AND column_name = :column"
)

#: The column of the account; NULL in rows of the table.
ACCOUNT = "_account"
BETWEEN = "|"
ARRIVAL = "arriving_rows"


class MariaDB(Database):
    """A MariaDB or MySQL server."""

    @cached_property
    def engine(self) -> sa.Engine:
        engine = read_only(
            self.url,
            connect_args={
                "connect_timeout": self.timeout,
                # Also the time that a server may take to greet; raised once it has.
                "read_timeout": self.timeout,
                "init_command": "SET SESSION TRANSACTION READ ONLY",
            },
        )
        limits = self.query_seconds, self.lock_seconds
        sa.event.listen(engine, "connect", lambda connection, _record: _limit_queries(connection, *limits))
        return engine

    def _attach(self, connection: duckdb.DuckDBPyConnection | None) -> duckdb.DuckDBPyConnection:  # noqa: ARG002
        return scanner.attached_server(SCANNER, self.url, self.url.options(), SETTINGS)

    def _near(self, kind: sa.types.TypeEngine | None) -> Near | None:
        if isinstance(kind, sa.DateTime):
            return moments
        if not isinstance(kind, sa.String) or isinstance(kind, sa.Enum):
            return None
        with self.engine.connect() as connection:
            characters = connection.execute(CHARACTERS, {"table": ORDERS.name, "column": ORDERS.c.orderDate.name})
            return texts if characters.scalar() in PLAIN_CHARACTERS else None

    def _lines_index(self, inspector: sa.Inspector) -> str | None:
        """With statistics that are not up to date, it would rather scan all lines, and join them in a buffer."""
        number, name = LINES.c.orderNumber.name, LINES.name
        if not inspector.has_table(name) or inspector.get_pk_constraint(name)["constrained_columns"][:1] == [number]:
            return "PRIMARY"
        found = [each["name"] for each in inspector.get_indexes(name) if each["column_names"][:1] == [number]]
        quoted = self.engine.dialect.identifier_preparer.quote_identifier
        return quoted(str(found[0])) if found else None

    @contextmanager
    def _new_snapshot(self, scratch: Path | None) -> Iterator[_Snapshot]:  # noqa: ARG002
        yield _Snapshot(self)

    def column_digests(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, int]:
        return account.column_digests(self, table, months, today)

    def fingerprints(
        self, tables: Sequence[sa.Table] = READ_ORDER, today: date | None = None
    ) -> dict[str, dict[str, str]]:
        return account.seen(self, tables, today, _day_in_bytes)

    def change_signs(self, tables: Sequence[sa.Table] = READ_ORDER, today: date | None = None) -> dict[str, Sign]:
        return change_signs.signs(self, change_signs.of_mariadb(self, tables), tables, today)


class _Snapshot:
    """Of each table that is read, the rows and the account that came with them."""

    def __init__(self, database: MariaDB) -> None:
        self._database = database
        self._said: dict[Any, list[str]] = {}

    def read(
        self,
        table: sa.Table,
        months: Sequence[date] | None = None,
        shape: Shape | None = None,
        today: date | None = None,
    ) -> pa.RecordBatchReader:
        database = self._database
        query = database.sql(_with_account(database, table, months, today))
        said: list[str] = []

        def at_end() -> None:
            self._said[_question(table, months)] = said

        return retry_transient(lambda: _stream(database, table, query, shape, months, said, at_end))

    def control_totals(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, ControlTotals]:
        database, today = self._database, today or date.today()
        said = self._said.get(_question(table, months))
        if said is not None:
            return account.of_months([_taken_apart(each, table) for each in said], table, months, today)
        (found,) = database.ask(together(_accounts(database, database.selection(table, months, today), 0)))
        return account.of_months([_taken_apart(text, table) for (text,) in found], table, months, today)


def _with_account(
    database: MariaDB, table: sa.Table, months: Sequence[date] | None, today: date | None
) -> sa.CompoundSelect:
    """The rows and, below them, the account: one statement."""
    database.drift(table)  # names missing columns
    arriving = account.arriving(table, database.types(table))
    selection = database.selection(table, months, today)
    rows = selection.queries(lambda day: [*arriving(day), sa.null().label(ACCOUNT)])
    others = len(rows[0].selected_columns) - 1
    return sa.union_all(*rows, *_accounts(database, selection, others))


def _accounts(database: MariaDB, selection: Selection, others: int) -> list[sa.Select]:
    """A text per day of what the server says of its rows; before it so many empty columns.

    Put together one query further out: beside its groups MySQL takes what they are grouped by as it stands, and no
    expression of it (``ONLY_FULL_GROUP_BY``, its default).
    """
    totals, by = account.totals(database, selection.table), account.by_day(selection.table, _day)

    def columns(day: OrderDate) -> list[Any]:
        parts = [*totals(day), *(by(day) if by else [])]
        return [each.label(f"part_{place}") for place, each in enumerate(parts)]

    def in_one_text(groups: sa.Select) -> sa.Select:
        said = groups.subquery("said")
        return sa.select(*[sa.null()] * others, sa.func.concat_ws(BETWEEN, *said.c))

    return [in_one_text(each) for each in selection.queries(columns, by)]


def _day(day: OrderDate) -> list[sa.ColumnElement]:
    """In digits: the server finds texts equal that differ, in case or by spaces at their end."""
    return [sa.func.coalesce(sa.func.hex(_utf8(day.text)), "")]


def _utf8(text: Any) -> Any:
    return sa.func.convert(text.op("USING")(sa.literal_column("utf8mb4")))


def _taken_apart(text: str, table: sa.Table) -> list[Any]:
    *sums, last = text.split(BETWEEN)
    return [*sums, bytes.fromhex(last)] if table.name in PARTITIONED else [*sums, last]


def _without_account(raw: pa.RecordBatchReader, said: list[str], causes: list[Exception]) -> pa.RecordBatchReader:
    """The rows of the table; what the others say goes to ``said``, and the error of the stream to ``causes``."""
    index = raw.schema.get_field_index(ACCOUNT)

    def passing() -> Iterator[pa.RecordBatch]:
        try:
            for batch in raw:
                texts = batch.column(index)
                rows = batch.drop_columns([ACCOUNT])
                if texts.null_count < len(texts):
                    said.extend(texts.drop_null().to_pylist())
                    rows = rows.filter(texts.is_null())
                yield rows
        except STREAM_ERRORS as error:
            causes.append(error)
            raise

    return pa.RecordBatchReader.from_batches(raw.schema.remove(index), passing())


def _stream(
    database: MariaDB,
    table: sa.Table,
    query: str,
    shape: Shape | None,
    months: Sequence[date] | None,
    said: list[str],
    at_end: Any,
) -> pa.RecordBatchReader:
    connection = database.attached()
    shaping = connection.cursor()
    causes: list[Exception] = []

    def close() -> None:
        shaping.close()
        connection.close()
        at_end()

    try:
        patient = PATIENCE.format(database.lock_seconds) + query
        raw = connection.execute(scanner.pushed_down(SCANNER, patient)).to_arrow_reader(BATCH_ROWS)
        shaping.register(ARRIVAL, _without_account(raw, said, causes))
        arriving = CompilingOnce.from_connection(shaping).table(ARRIVAL)
        batches = opened(shaping, shaped(arriving, shape, months))
    except STREAM_ERRORS as error:
        close()
        raise unreadable(table, error, database.url) from None
    return guarded(batches, table, database.url, close, causes)


def _day_in_bytes(day: OrderDate) -> list[sa.ColumnElement]:
    return [sa.cast(day.text, sa.LargeBinary)]


def _question(table: sa.Table, months: Sequence[date] | None) -> Any:
    return table.name, None if months is None else tuple(months)


def _limit_queries(connection: Any, seconds: float, lock_seconds: int) -> None:
    connection._read_timeout = seconds + GRACE_SECONDS
    with connection.cursor() as cursor:
        # Each of the two servers reads the other's as a comment.
        cursor.execute(f"/*!50708 SET SESSION max_execution_time = {int(seconds * 1000)} */")
        cursor.execute(f"/*M! SET SESSION max_statement_time = {seconds} */")
        cursor.execute(f"SET SESSION lock_wait_timeout = {lock_seconds}")
