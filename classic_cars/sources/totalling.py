"""What the order system itself says of its tables: control totals, digests of columns, fingerprints.

Computed by its own engine, in one aggregate query a table; of SQLite's rows by DuckDB in this process, over the texts
that SQLite makes of its values. None of it goes by the way that rows are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from typing import Any, TypeVar

import duckdb
import ibis
import sqlalchemy as sa

from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER
from classic_cars.errors import SourceError
from classic_cars.sources import canonical, canonical_sqlite, digests, fingerprints, scanner
from classic_cars.sources.connect import QUERY_SECONDS
from classic_cars.sources.control_totals import MONEY, ControlTotals, by_home, proven, whole
from classic_cars.sources.errors import said_by_scanner
from classic_cars.sources.home_months import as_text
from classic_cars.sources.retries import ended_after
from classic_cars.sources.scanning import Scanning
from classic_cars.sources.selecting import LINES, ORDERS

#: From grouping columns, a row's text and where rows come from to (groups, rows, sum of hashes).
Hashed = Callable[[list[sa.Label], sa.ColumnElement[str], Any], list[tuple]]
Result = TypeVar("Result")

DAY = "_day"


class Totalling(Scanning):
    """The order system's own account of its rows."""

    def __init__(self, url: str, connect_timeout: float = 4.0, query_seconds: float = QUERY_SECONDS) -> None:
        super().__init__(url, connect_timeout, query_seconds)
        self._watched: dict[str, list[sa.ColumnElement]] = {}

    def control_totals(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, ControlTotals]:
        """Rows, cents and digest of ``table`` by home month (``YYYY-MM``), of these months only if given.

        Under ``""`` for a table without months. Months without rows are left out. Raises ``SourceError``.
        """
        if self.url.is_sqlite:
            return self._patiently(lambda: self._totals_here(table, months, today or date.today()))
        hashed = canonical.row_hash(canonical.row_text(self._proven(table), self._dialect), self._dialect)
        columns = [sa.func.count(), sa.func.sum(hashed), sa.func.sum(self._cents(table))]
        money = table.name in MONEY
        if table.name not in PARTITIONED:
            (groups,) = self._ask(sa.select(*columns).select_from(table))
            return whole((tuple(each) for each in groups), money)
        day = self._day(table)
        queries = self._queries([day, *columns], table, self._needed(table, months, today), today, with_order=True)
        found = self._ask(*(query.group_by(day) for query in queries))
        return by_home((tuple(each) for groups in found for each in groups), money, today or date.today())

    def column_digests(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, int]:
        """A digest of each proven column alone, bound to the row's key: to name columns after a mismatch."""
        if self.url.is_sqlite:
            return self._patiently(lambda: self._column_digests_here(table, months, today or date.today()))
        columns = {column.name: (column, actual) for column, actual in self._proven(table)}
        key = [columns[column.name] for column in table.primary_key]
        sums = [
            sa.func.sum(canonical.row_hash(canonical.row_text([*key, each], self._dialect), self._dialect))
            for each in columns.values()
        ]
        queries = self._queries(sums, table, self._needed(table, months, today), today)
        found = [groups[0] for groups in self._ask(*queries)]
        return digests.summed(dict(zip(columns, (int(each or 0) for each in row), strict=True)) for row in found)

    def _proven(self, table: sa.Table) -> list[tuple[sa.Column, sa.types.TypeEngine]]:
        """The columns that are proven, each with the type that it has now."""
        self.drift(table)  # says which columns are missing
        types = self._columns(table)
        return [(column, types[column.name]) for column in proven(table)]

    @property
    def _dialect(self) -> str:
        return self._engine.dialect.name

    def _day(self, table: sa.Table) -> sa.Label:
        """The date that decides a row's home, as it is shown; in bytes where texts are equal that differ."""
        orders = ORDERS if table is ORDERS else self._orders
        text: Any = as_text(orders.c.orderDate)
        return (text if self.url.scheme in ("postgresql", "sqlite") else sa.cast(text, sa.LargeBinary)).label(DAY)

    def _cents(self, table: sa.Table) -> Any:
        """A row's money in cents, NULL where a value of it does not fit its declared type exactly."""
        types = self._columns(table)
        cents: Any = sa.literal_column("100" if table.name in MONEY else "0")
        for name in MONEY.get(table.name, ()):
            cents = cents * canonical.number(table.columns[name], types[name], self._dialect)
        return cents

    # Of SQLite's rows, in this process --------------------------------------------------------------

    def _totals_here(self, table: sa.Table, months: Sequence[date] | None, today: date) -> dict[str, ControlTotals]:
        if table is LINES and self._needed(table, months, today) is None:
            found = self._scanned_totals(table, today)
            if found is not None:
                return found
        with self._texts(table, months, today) as rows:
            texts = [canonical_sqlite.canonical(rows[column.name], column.type) for column in proven(table)]
            day = scanner.decoded(rows[DAY]) if table.name in PARTITIONED else None
            found = digests.totals(rows, day, texts, canonical_sqlite.money(rows, table), with_hash=True)
        if table.name not in PARTITIONED:
            return found
        groups = ((day, each.rows, each.digest, each.cents) for day, each in found.items())
        return by_home(groups, table.name in MONEY, today)

    def _scanned_totals(self, table: sa.Table, today: date) -> dict[str, ControlTotals] | None:
        """The same of a whole table with months, by the scanner: a fifth of the work; None where it bends values.

        SQLite itself counts the rows: those that the scanner missed are there without a month.
        """
        with self._here() as connection:
            backend = ibis.duckdb.from_connection(connection)
            if not self._scans_faithfully(backend, table):
                return None
            try:
                rows = backend.sql(self._scan(table))
                texts = [canonical_sqlite.scanned(rows[column.name], column.type) for column in proven(table)]
                day = scanner.decoded(rows[ORDERS.c.orderDate.name])
                money = canonical_sqlite.money(rows, table)
                found = digests.totals(rows, day, texts, money, with_hash=True)
            except duckdb.Error:
                return None  # a value that is not of its column's type
        groups = ((day, each.rows, each.digest, each.cents) for day, each in found.items())
        by_month = by_home(groups, table.name in MONEY, today)
        (((counted,),),) = self._ask(sa.select(sa.func.count()).select_from(table))
        missed = counted - sum(each.rows for each in by_month.values())
        return by_month | ({"": ControlTotals(missed, 0, 0)} if missed else {})

    def _column_digests_here(self, table: sa.Table, months: Sequence[date] | None, today: date) -> dict[str, int]:
        with self._texts(table, months, today) as rows:
            texts = {c.name: canonical_sqlite.canonical(rows[c.name], c.type) for c in proven(table)}
            return digests.column_digests(rows, table, texts, with_hash=True)

    @contextmanager
    def _texts(self, table: sa.Table, months: Sequence[date] | None, today: date) -> Iterator[ibis.Table]:
        """The proven columns as SQLite writes them, and the date that decides the row's home."""
        self.drift(table)  # SQLite takes the name of a missing column for a text
        dated = table.name in PARTITIONED
        columns: list[sa.ColumnElement] = [as_text(column).label(column.name) for column in proven(table)]
        columns += [self._day(table)] if dated else []
        first, *others = self._queries(columns, table, self._needed(table, months, today), today, with_order=dated)
        query = sa.union_all(first, *others) if others else first
        with self._here() as connection:
            backend = ibis.duckdb.from_connection(connection)
            yield backend.sql(scanner.passed_through(self.url, self._sql(query)))

    @contextmanager
    def _here(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A private DuckDB with the order system attached, interrupted when it takes too long."""
        with closing(self._attached()) as connection:
            try:
                with ended_after(self._query_seconds, connection.interrupt):
                    yield connection
            except duckdb.InterruptException:
                raise SourceError(f"{self.url}: no answer after {self._query_seconds:g} s") from None
            except duckdb.Error as error:
                raise SourceError(f"{self.url}: {said_by_scanner(error, self.url)}") from None

    # Fingerprints ----------------------------------------------------------------------------------

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
        with self._here() as connection:

            def hashed(by: list[sa.Label], text: sa.ColumnElement[str], rows: Any) -> list[tuple]:
                query = scanner.passed_through(
                    self.url, self._sql(sa.select(*by, text.label("text")).select_from(rows))
                )
                days = "".join(f"try(decode(encode({each.name}))) AS day, " for each in by)
                return connection.execute(
                    f"SELECT {'day, ' if by else ''}count(*), sum(hash(text)) "
                    f"FROM (SELECT {days}encode(text) AS text FROM ({query})) GROUP BY ALL"
                ).fetchall()

            yield hashed
