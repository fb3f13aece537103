"""One transaction of a DuckDB store: it is DuckDB's own, from the first statement to COMMIT or ROLLBACK.

The new rows are written once, the audit reads them inside the transaction, and a process that dies leaves nothing
behind. All tables that were staged are published by the same commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING, Self

import duckdb
import ibis
import pyarrow as pa

from classic_cars.contracts.differences import schema_differences
from classic_cars.errors import StoreError
from classic_cars.months import Months
from classic_cars.stores.base import Maker, Provenance, Staged
from classic_cars.stores.publications import Publications
from classic_cars.stores.sql import (
    PUBLICATIONS,
    PUBLICATIONS_TABLE,
    PUBLISHED_MONTHS,
    PUBLISHED_MONTHS_TABLE,
    duckdb_type,
    in_months,
    literal,
    quoted,
    same_columns,
    stamped,
    table_name,
)
from classic_cars.stores.staging import StagedTables, not_asked_for

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract
    from classic_cars.stores.duckdb.store import DuckDBStore

#: Rows that DuckDB stores together.
ROW_GROUP = 122_880


class DuckDBTransaction:
    """Of its provenance it keeps the run: there is no history of versions to keep more in."""

    def __init__(self, store: DuckDBStore, provenance: Provenance) -> None:
        self._store, self._provenance = store, provenance
        self._begun = self._closed = False
        self._staged = StagedTables()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._closed:
            self._closed = True
            self.discard()
            self._store.left(self)

    def _execute(self, sql: str) -> duckdb.DuckDBPyConnection:
        """The file is opened, and kept from others, no sooner than it is needed."""
        self._begin()
        return self._store.execute(sql)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._store.execute("BEGIN TRANSACTION")

    @property
    def made_by(self) -> Maker:
        return Maker(f"DuckDB {duckdb.__version__}")

    def exists(self, contract: Contract) -> bool:
        self._begin()
        return self._store.exists(contract)

    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        self._staged.must_not_hold(contract)
        self._begin()
        return self._store.read(contract, months)

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        return self._store.receive(rows)

    # Staging -----------------------------------------------------------------------------------------

    def stage(
        self, contract: Contract, rows: ibis.Table, months: Months | None = None, *, append: bool = False
    ) -> Staged:
        same_columns(contract, rows)
        months = months if contract.partitioned_by else None
        self._staged.must_take(contract, months, append)
        query = self._store.backend.compile(rows.select(*contract.types.names))
        if append and self.exists(contract):
            staged = self._append(contract, query)
        else:
            staged = self._replace(contract, query, months)
        return self._staged.add(staged, append)

    def _append(self, contract: Contract, query: str) -> Staged:
        self._add_new_columns(contract)
        self._same_published_columns(
            contract,
            "rows are only added to it, so it may gain columns that may be NULL and change no other: make such a "
            "change, or give the table a new name in its contract",
        )
        # Rows that are not committed yet have numbers above those of all that are.
        found = self._execute(f"SELECT coalesce(max(rowid), -1) FROM {table_name(contract)}").fetchone()
        statement, _ = self._insert(contract, query)
        table = self._table(contract)
        is_new = table.rowid() > (found[0] if found else -1)
        return Staged(contract, None, table.filter(is_new), table.filter(~is_new), statement, self)

    def _add_new_columns(self, contract: Contract) -> None:
        """Of the contract, that may be NULL: they are, in the rows of before."""
        published = self._table(contract).schema()
        columns = contract.schema.columns
        new = [name for name in contract.types.names if name not in published and columns[name].nullable]
        for name in new:
            column = f"{quoted(name)} {duckdb_type(contract.types[name])}"
            self._execute(f"ALTER TABLE {table_name(contract)} ADD COLUMN {column}")
            self._execute(self._comment(contract, name))
        if new:
            self._store.made(contract, anew=False)

    def _replace(self, contract: Contract, query: str, months: Months | None) -> Staged:
        if months is None or not self._has_rows_outside(contract, months):
            self._create(contract)
            statement, rows = self._insert(contract, query)
            self._only_asked_for(contract, months, rows)
            return Staged(contract, months, self._in_ranges(contract, rows), None, statement, self)
        self._same_published_columns(contract, f"months {months} alone cannot be replaced: materialize all months")
        self._execute(f"DELETE FROM {table_name(contract)} WHERE {in_months(contract, months)}")
        statement, rows = self._insert(contract, query)
        self._only_asked_for(contract, months, rows)
        table = self._table(contract)
        inside = months.hold(table[contract.partitioned_by or ""])
        return Staged(contract, months, table.filter(inside), table.filter(~inside), statement, self)

    def _only_asked_for(self, contract: Contract, months: Months | None, rows: int) -> None:
        """Raises ``ContractError`` unless all ``rows`` that were just written are the only ones of the months."""
        if months is None:
            return
        address, day = table_name(contract), quoted(contract.partitioned_by or "")
        count = f"SELECT count(*) FROM {address} WHERE {in_months(contract, months)}"
        if self._execute(count).fetchone() != (rows,):
            # Rows that are not committed yet have numbers above those of all that are.
            newest = f"rowid > (SELECT max(rowid) FROM {address}) - {rows}"
            found = f"SELECT DISTINCT date_trunc('month', {day})::DATE FROM {address} WHERE {newest}"
            raise not_asked_for(contract, months, [month for (month,) in self._execute(found).fetchall()])

    def _table(self, contract: Contract) -> ibis.Table:
        return self._store.read(contract)

    def _in_ranges(self, contract: Contract, rows: int) -> ibis.Table:
        """All rows of a table that this transaction made. DuckDB reads those with one thread: here, each range has one.

        A range of whole row groups is found without reading any other.
        """
        table = self._table(contract)
        if rows < 4 * ROW_GROUP:
            return table
        found = self._execute(f"SELECT current_setting('threads'), min(rowid) FROM {table_name(contract)}").fetchone()
        threads, first = found or (1, 0)
        step = -(-rows // (threads * ROW_GROUP)) * ROW_GROUP
        bounds = [first + at for at in range(step, rows, step)]
        if not bounds:
            return table
        number = table.rowid()
        ranges = [
            table.filter(number < bounds[0]),
            *(table.filter(number >= lower, number < upper) for lower, upper in pairwise(bounds)),
            table.filter(number >= bounds[-1]),
        ]
        return ibis.union(*ranges)

    def _insert(self, contract: Contract, query: str) -> tuple[str, int]:
        """The statement, and how many rows it wrote."""
        columns = ", ".join(quoted(name) for name in contract.types.names)
        statement = f"INSERT INTO {table_name(contract)} ({columns})\n{query}"
        found = self._execute(statement).fetchone()
        return statement, found[0] if found else 0

    def _has_rows_outside(self, contract: Contract, months: Months) -> bool:
        if not self.exists(contract):
            return False
        query = f"SELECT 1 FROM {table_name(contract)} WHERE NOT ({in_months(contract, months)}) LIMIT 1"
        return self._execute(query).fetchone() is not None

    def _same_published_columns(self, contract: Contract, otherwise: str) -> None:
        if problems := schema_differences(contract, self._table(contract).schema()):
            raise StoreError(
                f"{contract.address}: the published table has other columns than its contract now asks for "
                f"({'; '.join(problems)}); {otherwise}"
            )

    def _create(self, contract: Contract) -> None:
        columns = ", ".join(f"{quoted(name)} {duckdb_type(kind)}" for name, kind in contract.types.items())
        self._execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(contract.layer)}")
        self._execute(f"CREATE OR REPLACE TABLE {table_name(contract)} ({columns})")
        comments = [f"COMMENT ON TABLE {table_name(contract)} IS {literal(contract.description)}"]
        comments += [self._comment(contract, name) for name in contract.types.names]
        self._execute("; ".join(comments))
        self._store.made(contract)

    @staticmethod
    def _comment(contract: Contract, column: str) -> str:
        return f"COMMENT ON COLUMN {table_name(contract)}.{quoted(column)} IS {literal(contract.describe(column))}"

    # Its end -----------------------------------------------------------------------------------------

    def publish(self, staged: Staged) -> None:
        self._staged.must_hold(staged)
        self._execute(PUBLICATIONS_TABLE)
        before = dict(self._execute(f"SELECT address, runs FROM {PUBLICATIONS}").fetchall())
        now = {
            address: Publications.parse(before.get(address, "")).after(months, self._provenance.run_id)
            for address, months in self._staged.months.items()
        }
        rows = ", ".join(f"({literal(address)}, {literal(each.text())})" for address, each in now.items())
        self._execute(f"INSERT OR REPLACE INTO {PUBLICATIONS} VALUES {rows}")
        self._stamp(self._staged.replaced)
        self._execute("COMMIT")
        self._begun = False
        self._staged.clear()

    def _stamp(self, replaced: Mapping[str, Months | None]) -> None:
        """Note which months of which tables have other rows from now on; a note of what was replaced since goes."""
        self._execute(PUBLISHED_MONTHS_TABLE)
        for address, months in replaced.items():
            first, last = (f"DATE '{months.first}'", f"DATE '{months.end}'") if months else ("NULL", "NULL")
            inside = f" AND first >= {first} AND last <= {last}" if months else ""
            self._execute(f"DELETE FROM {PUBLISHED_MONTHS} WHERE address = {literal(address)}{inside}")
            self._execute(stamped(address, first, last))

    def discard(self) -> None:
        self._staged.clear()
        if self._begun:
            self._begun = False
            self._store.roll_back_open_transaction()
