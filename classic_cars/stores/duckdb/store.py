"""The store over one DuckDB file: opening it, taking turns with other processes, and what readers ask.

DuckDB lets one process write and keeps every other one out meanwhile. A run keeps the file open; readers who wait get
their turn between two of its transactions. What is written is in ``transaction.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import duckdb
import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from classic_cars.compiled import CompilingOnce
from classic_cars.errors import StoreBusy, StoreError, TableMissing
from classic_cars.interrupts import interruptible
from classic_cars.months import Months, first_of_month
from classic_cars.stores.base import Provenance, Size
from classic_cars.stores.duckdb.copies import Copies, copied, sweep
from classic_cars.stores.duckdb.failures import Locked, clear_errors, holder_in
from classic_cars.stores.duckdb.lock import RunLock
from classic_cars.stores.duckdb.transaction import DuckDBTransaction
from classic_cars.stores.duckdb.turns import Turns
from classic_cars.stores.failures import is_locked
from classic_cars.stores.folders import own
from classic_cars.stores.missing import what_is_wrong
from classic_cars.stores.pins import FolderShelf, Pin, Pins
from classic_cars.stores.publications import Publications
from classic_cars.stores.sql import MEMORY, OWN, PUBLICATIONS, found_table, made_table, one_query, only_reach, quoted

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract

progress = logging.getLogger("classic_cars.progress")

ARRIVAL = "arriving"
NAMES = "SELECT schema_name, table_name FROM duckdb_tables()"


class DuckDBStore:
    """The tables of one DuckDB file. ``read_only`` stores can be opened by many processes at once.

    ``wait``: seconds to wait for a process that is in our way, before ``StoreBusy``. ``config``: DuckDB's own settings.
    ``beside``: a folder whose files a read-only store's queries may read.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        wait: float = 900.0,
        config: Mapping[str, Any] | None = None,
        beside: Path | None = None,
    ) -> None:
        self.path = path
        self.read_only = read_only
        self._wait, self._beside = wait, beside
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "temp_directory": str(own(path.parent, "spill", shared=True)),
            # Tables have no order: rows may be written as they come, which halves the memory of big inserts.
            "preserve_insertion_order": False,
            # Of a new file: the first version whose texts are compressed in one pass, which halves what writing costs.
            "storage_compatibility_version": "v1.3.0",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            **(config or {}),
        }
        self._backend: Backend | None = None
        #: The tables that were looked for since the file was opened; None for those that are not there.
        self._tables: dict[str, ibis.Table | None] = {}
        self._transaction: DuckDBTransaction | None = None
        self._in_run = False
        self._is_sound = False  # the file took a checkpoint since the run began
        self._lock, self._turns = RunLock(path, wait), Turns(path)

    # Opening and closing -----------------------------------------------------------------------------

    def begin_run(self, holder: str) -> None:
        """Wait until no other run writes to this store, then keep every other run out."""
        with clear_errors(self.path):
            self._lock.acquire(holder)
        self._in_run, self._is_sound = True, False

    def end_run(self) -> None:
        """Close the store and let the next run in."""
        self._in_run = False
        self.release()
        self._lock.release()

    def begin(self, provenance: Provenance, *, local: bool = False) -> DuckDBTransaction:  # noqa: ARG002
        if self.read_only:
            raise StoreError(f"{self.path}: was opened for reading only; open the store for writing")
        self._discard_open()
        with clear_errors(self.path):
            self._lock.acquire(f"run {provenance.run_id}, {provenance.asset_key}")
        self._transaction = DuckDBTransaction(self, provenance)
        return self._transaction

    def left(self, transaction: DuckDBTransaction) -> None:
        """A transaction is over: other processes get their turn, those who wait in the middle of a run."""
        if transaction is self._transaction:
            self._transaction = None
            if not self._in_run:
                self._disconnect()
            elif self._turns.is_awaited():
                self._disconnect()
                self._turns.hand_over()
        self._lock.release()

    def _discard_open(self) -> None:
        if self._transaction is not None:
            self._transaction.__exit__(None, None, None)

    def roll_back_open_transaction(self) -> None:
        self._tables.clear()
        # A COMMIT that failed has rolled back already, and a broken database has nothing to roll back.
        if self._backend is not None:
            with suppress(duckdb.Error):
                self._backend.con.execute("ROLLBACK")

    @property
    def place(self) -> str:
        return str(self.path)

    @property
    def backend(self) -> Backend:
        """The open database; opened when first asked for."""
        if self._backend is None:
            if self.read_only and not self.path.exists():
                raise TableMissing(f"{self.path}: no such store; nothing was published yet: `classic-cars run`")
            with clear_errors(self.path):
                self._backend = CompilingOnce.from_connection(self._connect())
        return self._backend

    def _connect(self) -> duckdb.DuckDBPyConnection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        retrying = Retrying(
            retry=retry_if_exception_type(Locked),
            wait=wait_random_exponential(multiplier=0.02, max=0.2),
            stop=stop_after_delay(self._wait),
            before_sleep=_say_who_is_waited_for,
            reraise=True,
        )
        try:
            with suppress(Locked):
                return self._connect_once()
            with self._turns.waiting():
                return retrying(self._connect_once)
        except Locked as error:
            raise StoreBusy(
                f"{self.path}: {error}, still after {self._wait:.0f} s; try again when it has finished"
            ) from None

    def _connect_once(self) -> duckdb.DuckDBPyConnection:
        writer = _open_for_writing.get(self.path)
        if writer is not None and writer is not self and writer._transaction is None:
            writer._disconnect()  # in this process DuckDB refuses at once to open a file in another way
        try:
            connection = interruptible(duckdb.connect(str(self.path), read_only=self.read_only, config=self._config))
        except duckdb.IOException as error:
            if is_locked(error):
                raise Locked(holder_in(str(error))) from None
            raise
        if self.read_only:
            # A query sees the published tables, and nothing else of the machine.
            only_reach(connection, [str(self._beside)] if self._beside else [])
        else:
            _open_for_writing[self.path] = self
        return connection

    def release(self) -> None:
        self._discard_open()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._backend is not None:
            self._backend.disconnect()
            self._backend = None
            self._tables.clear()

    def execute(self, sql: str) -> duckdb.DuckDBPyConnection:
        with clear_errors(self.path):
            return self.backend.con.execute(sql)

    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        table = self.table(contract)
        if table is None:
            raise TableMissing(
                f"{contract.address}: never published in {self.path}; `classic-cars run` makes what is missing"
            )
        if months is not None and contract.partitioned_by:
            table = table.filter(months.hold(table[contract.partitioned_by]))
        return table

    def exists(self, contract: Contract) -> bool:
        return self.table(contract) is not None

    def table(self, contract: Contract) -> ibis.Table | None:
        """The table as it is in the open file, with what the open transaction made of it; None if it is not there."""
        if self.read_only and not self.path.exists():
            return None
        backend = self.backend
        if contract.address not in self._tables:
            with clear_errors(self.path):
                self._tables[contract.address] = found_table(backend, contract)
        return self._tables[contract.address]

    def made(self, contract: Contract, *, anew: bool = True) -> None:
        """The open transaction made the table anew, with the contract's columns; or gave it those that it lacked."""
        self._tables[contract.address] = (made_table if anew else found_table)(self.backend, contract)

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        self.backend.con.register(ARRIVAL, rows)
        return self.backend.table(ARRIVAL)

    def size(self, contract: Contract) -> Size:
        """Bytes are blocks on disk as of the last checkpoint, 256 KiB each; a small table takes one."""
        if not self._is_sound:  # damage of tables that a run does not read would come out when all is published
            self.execute("CHECKPOINT")
            self._is_sound = True
        table = f"{quoted(contract.layer)}.{quoted(contract.name)}"
        counted = f"SELECT count(DISTINCT block_id) FROM pragma_storage_info('{table}') WHERE block_id >= 0"
        ((rows, blocks),) = self.execute(f"SELECT (SELECT count(*) FROM {table}), ({counted})").fetchall()
        return Size(rows, max(blocks, 1) * 262_144)

    def months(self, contract: Contract) -> list[date]:
        if not contract.partitioned_by or not self.exists(contract):
            return []
        column = self.read(contract)[contract.partitioned_by]
        return sorted(first_of_month(day) for day in column.truncate("M").name("m").as_table().distinct().m.to_list())

    def row_counts(self) -> dict[str, int]:
        if self.read_only and not self.path.exists():
            return {}
        tables = self.execute(
            f"SELECT schema_name, table_name FROM duckdb_tables() WHERE schema_name <> '{OWN}' ORDER BY ALL"
        ).fetchall()
        if not tables:
            return {}
        counts = " UNION ALL ".join(
            f"SELECT '{schema}/{name}', count(*) FROM {quoted(schema)}.{quoted(name)}" for schema, name in tables
        )
        return dict(self.execute(counts).fetchall())

    def published_by(self, addresses: Collection[str] | None = None) -> dict[str, Publications]:
        if self.read_only and not self.path.exists():
            return {}
        there = {f"{layer}/{name}" for layer, name in self.execute(NAMES).fetchall()}
        if PUBLICATIONS.replace(".", "/") not in there:
            return {}
        wanted = there if addresses is None else there & {*addresses}
        found = self.execute(f"SELECT address, runs FROM {PUBLICATIONS}").fetchall()
        return {address: Publications.parse(runs) for address, runs in found if address in wanted}

    def query(self, sql: str) -> pa.RecordBatchReader:
        try:
            with clear_errors(self.path):
                *before, question = one_query(sql)
                for each in before:
                    self.backend.con.execute(each)
                return self.backend.con.execute(question).to_arrow_reader(65_536)
        except duckdb.Error as error:
            raise StoreError(what_is_wrong(sql, error, self.row_counts)) from None

    # Releases ----------------------------------------------------------------------------------------

    @property
    def copies(self) -> Path:
        return self.path.parent / "releases"

    @property
    def shelf(self) -> FolderShelf:
        return FolderShelf(self.copies)

    def pin(self, contracts: Iterable[Contract], before: Pins) -> dict[str, Pin]:
        return copied(self, contracts, before)

    def at(self, pins: Pins) -> Copies:
        return Copies(self.copies, pins, self._config, self._beside)

    def sweep(self) -> None:
        sweep(self.copies)


#: The stores of this process that have their file open for writing.
_open_for_writing: WeakValueDictionary[Path, DuckDBStore] = WeakValueDictionary()


def _say_who_is_waited_for(state: RetryCallState) -> None:
    if state.attempt_number == 5 and state.outcome is not None:
        progress.info("waiting for the store: %s", state.outcome.exception())
