"""Tables in one DuckDB database file: the embedded default.

Staging is an open transaction, publishing is its commit: the new rows are written once, the audit reads them
inside the transaction, and a process that dies leaves nothing behind. DuckDB lets one process write and
keeps every other one out meanwhile, so the file is opened for a step and closed after it; readers get their
turn in between. A whole run holds ``run.lock``, so that runs follow each other and never mix their layers.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
from filelock import FileLock, Timeout
from ibis.backends.duckdb import Backend
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreBusy, StoreError, StoreUnavailable, TableMissing
from classic_cars.interrupts import interruptible
from classic_cars.months import Months, first_of_month
from classic_cars.stores.base import AsOf, Difference, Provenance, Staged, TableVersion
from classic_cars.stores.sql import (
    duckdb_type,
    first_line,
    in_months,
    listed,
    literal,
    plain,
    quoted,
    same_columns,
    table_name,
)

progress = logging.getLogger("classic_cars.progress")

ARRIVAL = "arriving"


class DuckDBStore:
    """The tables of one DuckDB file. ``read_only`` stores can be opened by many processes at once.

    ``wait``: seconds to wait for a process that is in our way, before ``StoreBusy``.
    """

    def __init__(
        self, path: Path, *, read_only: bool = False, wait: float = 900.0, memory: str = "700MB", threads: int = 0
    ) -> None:
        self.path = path
        self.read_only = read_only
        self._wait = wait
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory,
            "temp_directory": str(path.parent / "spill"),
            # Tables have no order: rows may be written as they come, which halves the memory of big inserts.
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }

        if threads:
            self._config["threads"] = threads
        self._backend: Backend | None = None
        self._staging = False
        self._lock = FileLock(path.parent / "run.lock")

    # Opening and closing -----------------------------------------------------------------------------

    def begin_run(self, holder: str) -> None:
        """Wait until no other run writes to this store, then keep every other run out.

        The lock goes with the process, however it ends. Raises ``StoreBusy`` after ``wait`` seconds, naming the
        holder.
        """
        with _clear_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(blocking=False)
            except Timeout:
                progress.info("waiting for another run to finish: %s", self.run_holder())
                try:
                    self._lock.acquire(timeout=self._wait, poll_interval=0.2)
                except Timeout:
                    raise StoreBusy(
                        f"{self.path}: held by {self.run_holder()}, still after {self._wait:.0f} s; wait for it "
                        "to finish, or raise CLASSIC_CARS_STORE_WAIT"
                    ) from None
            self._holder_file.write_text(f"pid {os.getpid()}, {holder}")

    def end_run(self) -> None:
        """Close the store and let the next run in."""
        self.release()
        if self._lock.is_locked:
            self._holder_file.unlink(missing_ok=True)
            self._lock.release()

    @property
    def place(self) -> str:
        return str(self.path)

    @property
    def _holder_file(self) -> Path:
        return self.path.parent / "run.holder"

    def run_holder(self) -> str:
        """Who holds, or last held, the run lock."""
        try:
            return self._holder_file.read_text()
        except OSError:
            return "another process"

    @property
    def backend(self) -> Backend:
        """The open database; opened when first asked for."""
        if self._backend is None:
            if self.read_only and not self.path.exists():
                raise TableMissing(f"{self.path}: no such store; nothing was published yet: `classic-cars run`")
            with _clear_errors(self.path):
                self._backend = ibis.duckdb.from_connection(self._connect())
        return self._backend

    def _connect(self) -> duckdb.DuckDBPyConnection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        retrying = Retrying(
            retry=retry_if_exception_type(_Locked),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            stop=stop_after_delay(self._wait),
            before_sleep=_say_who_is_waited_for,
            reraise=True,
        )
        try:
            return retrying(self._connect_once)
        except _Locked as error:
            raise StoreBusy(
                f"{self.path}: {error}, still after {self._wait:.0f} s; try again when it has finished"
            ) from None

    def _connect_once(self) -> duckdb.DuckDBPyConnection:
        try:
            connection = interruptible(duckdb.connect(str(self.path), read_only=self.read_only, config=self._config))
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise _Locked(_holder_in(str(error))) from None
            raise
        if self.read_only:
            # A query sees the published tables and nothing else of the machine.
            connection.execute("SET enable_external_access = false")
        return connection

    def release(self) -> None:
        if self._backend is not None:
            self.discard()
            self._backend.disconnect()
            self._backend = None

    def _execute(self, sql: str) -> duckdb.DuckDBPyConnection:
        with _clear_errors(self.path):
            return self.backend.con.execute(sql)

    # The protocol ------------------------------------------------------------------------------------

    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        if not self.exists(contract):
            raise TableMissing(
                f"{contract.address}: never published in {self.path}; materialize it first: "
                f"`classic-cars run --select {contract.address}`"
            )
        table = self.backend.table(contract.name, database=contract.layer)
        if months is not None and contract.partitioned_by:
            table = table.filter(months.hold(table[contract.partitioned_by]))
        return table

    def exists(self, contract: Contract) -> bool:
        if self.read_only and not self.path.exists():
            return False
        found = self._execute(
            "SELECT count(*) FROM duckdb_tables() "
            f"WHERE schema_name = '{contract.layer}' AND table_name = '{contract.name}'"
        ).fetchone()
        return bool(found and found[0])

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        self.backend.con.register(ARRIVAL, rows)
        return self.backend.table(ARRIVAL)

    def stage(
        self, contract: Contract, rows: ibis.Table, months: Months | None = None, *, append: bool = False
    ) -> Staged:
        same_columns(contract, rows)
        query = self.backend.compile(rows.select(*contract.types.names))
        if not self._staging:
            self._execute("BEGIN TRANSACTION")
            self._staging = True
        if append and self.exists(contract):
            return self._append(contract, query)
        if months is not None and self._has_rows_outside(contract, months):
            self._same_published_columns(contract, f"months {months} alone cannot be replaced: materialize all months")
            self._execute(f"DELETE FROM {table_name(contract)} WHERE {in_months(contract, months)}")
            beside: Months | None = months
        else:
            self._create(contract)
            beside = None
        statement = self._insert(contract, query)
        table = self.backend.table(contract.name, database=contract.layer)
        if beside is None:
            return Staged(contract, months, rows=table, others=None, sql=statement)
        inside = beside.hold(table[contract.partitioned_by or ""])
        return Staged(contract, months, rows=table.filter(inside), others=table.filter(~inside), sql=statement)

    def _append(self, contract: Contract, query: str) -> Staged:
        self._same_published_columns(contract, "rows cannot be added to it: give the table a new name in its contract")
        # Rows that are not committed yet have numbers above those of all that are.
        found = self._execute(f"SELECT coalesce(max(rowid), -1) FROM {table_name(contract)}").fetchone()
        statement = self._insert(contract, query)
        table = self.backend.table(contract.name, database=contract.layer)
        is_new = table.rowid() > (found[0] if found else -1)
        return Staged(contract, None, rows=table.filter(is_new), others=table.filter(~is_new), sql=statement)

    def _insert(self, contract: Contract, query: str) -> str:
        columns = ", ".join(quoted(name) for name in contract.types.names)
        statement = f"INSERT INTO {table_name(contract)} ({columns})\n{query}"
        self._execute(statement)
        return statement

    def publish(self, provenance: Provenance | None = None) -> None:  # noqa: ARG002  (keeps no history)
        if self._staging:
            self._execute("COMMIT")
            self._staging = False

    def discard(self) -> None:
        if self._staging:
            self._staging = False
            self.backend.con.execute("ROLLBACK")

    def size(self, contract: Contract) -> int | None:
        """Bytes of the table's blocks on disk; blocks hold 256 KiB, so a small table counts as one."""
        self._execute("CHECKPOINT")
        found = self._execute(
            f"SELECT count(DISTINCT block_id) FROM pragma_storage_info('{contract.layer}.{contract.name}') "
            "WHERE block_id >= 0"
        ).fetchone()
        return int(found[0]) * 262_144 if found else None

    def months(self, contract: Contract) -> list[date]:
        if not contract.partitioned_by or not self.exists(contract):
            return []
        column = self.read(contract)[contract.partitioned_by]
        return sorted(first_of_month(day) for day in column.truncate("M").name("m").as_table().distinct().m.to_list())

    def row_counts(self) -> dict[str, int]:
        if self.read_only and not self.path.exists():
            return {}
        tables = self._execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        if not tables:
            return {}
        counts = " UNION ALL ".join(
            f"SELECT '{schema}/{name}', count(*) FROM {quoted(schema)}.{quoted(name)}" for schema, name in tables
        )
        return dict(self._execute(counts).fetchall())

    def query(self, sql: str, as_of: AsOf | None = None) -> pa.RecordBatchReader:
        if as_of is not None:
            raise self._no_history()
        try:
            with _clear_errors(self.path):
                statements = self.backend.con.extract_statements(sql)
                if len(statements) != 1:
                    raise StoreError(f"found {len(statements)} SQL statements, expected one")
                return self.backend.con.execute(statements[0]).to_arrow_reader(65_536)
        except duckdb.Error as error:
            raise StoreError(str(error)) from None

    def history(self, contract: Contract) -> list[TableVersion]:  # noqa: ARG002
        raise self._no_history()

    def difference(self, contract: Contract, old: int, new: int) -> Difference:  # noqa: ARG002
        raise self._no_history()

    def roll_back(self, contract: Contract, version: int) -> None:  # noqa: ARG002
        raise self._no_history()

    def maintain(
        self,
        contracts: Iterable[Contract],  # noqa: ARG002
        *,
        keep: timedelta,  # noqa: ARG002
        orphan_age: timedelta,  # noqa: ARG002
        dry_run: bool,
    ) -> Iterator[str]:
        """There is little to do: DuckDB uses freed blocks again; a checkpoint cuts free ones off the file's end."""
        if dry_run:
            yield f"{self.path}: a checkpoint to write"
            return
        before = self.path.stat().st_size
        self._execute("CHECKPOINT")
        self.release()
        yield f"{self.path}: checkpoint written, {(before - self.path.stat().st_size) / 1024**2:.1f} MiB freed"

    def _no_history(self) -> StoreError:
        return StoreError(
            f"{self.path}: a DuckDB store keeps no history, only the tables as they are now; an Iceberg store does: "
            "CLASSIC_CARS_STORE=iceberg"
        )

    # DuckDB's side of it -----------------------------------------------------------------------------

    def _has_rows_outside(self, contract: Contract, months: Months) -> bool:
        if not self.exists(contract):
            return False
        query = f"SELECT 1 FROM {table_name(contract)} WHERE NOT ({in_months(contract, months)}) LIMIT 1"
        return self._execute(query).fetchone() is not None

    def _same_published_columns(self, contract: Contract, otherwise: str) -> None:
        published = self.backend.table(contract.name, database=contract.layer).schema()
        if plain(published) != plain(contract.types):
            raise StoreError(
                f"{contract.address}: the published table has {listed(published)}, its contract now asks for "
                f"{listed(contract.types)}; {otherwise}"
            )

    def _create(self, contract: Contract) -> None:
        columns = ", ".join(f"{quoted(name)} {duckdb_type(kind)}" for name, kind in contract.types.items())
        self._execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(contract.layer)}")
        self._execute(f"CREATE OR REPLACE TABLE {table_name(contract)} ({columns})")
        comments = [f"COMMENT ON TABLE {table_name(contract)} IS {literal(contract.description)}"]
        comments += [
            f"COMMENT ON COLUMN {table_name(contract)}.{quoted(name)} IS {literal(contract.describe(name))}"
            for name in contract.types.names
        ]
        self._execute("; ".join(comments))


class _Locked(Exception):
    """Another process has the file open in a way that excludes us."""


def _say_who_is_waited_for(state: RetryCallState) -> None:
    if state.attempt_number == 5 and state.outcome is not None:
        progress.info("waiting for the store: %s", state.outcome.exception())


def _holder_in(message: str) -> str:
    """The process that DuckDB's lock error names: ``... held in /usr/bin/python3.11 (PID 4711) ...``."""
    _, _, rest = message.partition("held in ")
    holder, found, _ = rest.partition(")")
    return f"held by {holder})" if found else "held by another process"


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's and DuckDB's storage errors into ours, with what to do."""
    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException, OSError) as error:
        text = str(error)
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in text or "disk" in text.lower():
            raise StoreUnavailable(
                f"{path}: the disk is full; free some space there ({path.parent}) and run again. The published "
                f"tables are unchanged. ({first_line(text)})"
            ) from None
        if isinstance(error, duckdb.OutOfMemoryException):
            raise StoreUnavailable(
                f"{path}: not enough memory; raise CLASSIC_CARS_DUCKDB_MEMORY. The published tables are unchanged. "
                f"({first_line(text)})"
            ) from None
        raise StoreUnavailable(
            f"{path}: cannot be used ({first_line(text)}); check that {path.parent} exists, is writable for this "
            "user and that the file is a DuckDB database. The published tables are unchanged."
        ) from None
