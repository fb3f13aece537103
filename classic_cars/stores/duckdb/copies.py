"""Copies of published tables beside the DuckDB file: Parquet files that are written once, a set for each month.

Readers of copies never open the store's file, which DuckDB keeps to one process while that writes. Months that were
not published again since the last copy are not copied again.
"""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import ibis
import pyarrow as pa

from classic_cars.compiled import SideBySide
from classic_cars.contracts.versions import digest
from classic_cars.errors import StoreDamaged, StoreError, TableMissing
from classic_cars.interrupts import interruptible
from classic_cars.months import Months
from classic_cars.stores.base import Size
from classic_cars.stores.duckdb.failures import clear_errors
from classic_cars.stores.folders import own
from classic_cars.stores.missing import what_is_wrong
from classic_cars.stores.pins import UNDATED, FolderShelf, Part, Pin, Pins, named_on
from classic_cars.stores.sql import (
    PUBLISHED_MONTHS,
    PUBLISHED_MONTHS_TABLE,
    among,
    literal,
    named_tables,
    one_query,
    only_reach,
    quoted,
    stamped,
    table_name,
)

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract
    from classic_cars.stores.duckdb.store import DuckDBStore

#: The column that files are told apart by while they are written; it is in none of them.
PART = "_part"
#: What DuckDB calls the folder of rows for which that column is NULL.
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
#: Memory that a store keeps once its tables are copied.
LEFT = "64MB"
#: Files that no release needs are left so long: somebody may be reading them, or about to name them.
GRACE_SECONDS = 600
DAMAGED = (
    "is damaged, or gone with the release that was opened; open the current one, or make a whole one: "
    "`classic-cars run --full`"
)


def copied(store: DuckDBStore, contracts: Iterable[Contract], before: Pins) -> dict[str, Pin]:
    """A pin for each table that is published, all of one moment; what ``before`` has already is not copied again."""
    contracts = list(contracts)
    folder = store.copies / uuid.uuid4().hex
    with clear_errors(store.path):
        _closed_as_the_store(store)
    _stamp_the_unstamped(store, [each.address for each in contracts if store.exists(each)])
    store.execute("BEGIN TRANSACTION")
    try:
        stamps = _stamps(store)
        pins = {
            each.address: _pinned(store, each, stamps.get(each.address, []), before.get(each.address), folder)
            for each in contracts
            if store.exists(each)
        }
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        store.roll_back_open_transaction()
    _let_go(store)
    return pins


def _let_go(store: DuckDBStore) -> None:
    """What was read to be copied does not stay in memory: whoever reads the copies has a memory of his own."""
    try:
        with suppress(StoreError):
            store.execute(f"SET memory_limit = '{LEFT}'")
    finally:
        store.execute(f"SET memory_limit = {literal(str(store._config['memory_limit']))}")


def _closed_as_the_store(store: DuckDBStore) -> None:
    """Who may not read the store may not read its copies."""
    store.copies.mkdir(parents=True, exist_ok=True)
    mode = store.path.stat().st_mode & 0o777
    store.copies.chmod(mode | (mode & 0o444) >> 2)  # whoever reads it may enter it


def _stamp_the_unstamped(store: DuckDBStore, addresses: Iterable[str]) -> None:
    """Of tables that were published before stores had stamps: a store of before, put back, has none again."""
    store.execute(PUBLISHED_MONTHS_TABLE)
    known = {address for (address,) in store.execute(f"SELECT DISTINCT address FROM {PUBLISHED_MONTHS}").fetchall()}
    for address in addresses:
        if address not in known:
            store.execute(stamped(address, "NULL", "NULL"))


#: From a day, to before a day (None: all days), and the stamp of when they were published.
Stamped = tuple[date | None, date | None, str]


def _stamps(store: DuckDBStore) -> dict[str, list[Stamped]]:
    """By address, latest first."""
    found: dict[str, list[Stamped]] = defaultdict(list)
    rows = store.execute(f"SELECT address, first, last, stamp FROM {PUBLISHED_MONTHS} ORDER BY number DESC")
    for address, first, last, stamp in rows.fetchall():
        found[address].append((first, last, stamp))
    return found


def _pinned(store: DuckDBStore, contract: Contract, stamps: list[Stamped], before: Pin | None, folder: Path) -> Pin:
    column = contract.partitioned_by
    month = f"strftime(date_trunc('month', {quoted(column)}), '%Y-%m')" if column else "''"
    # By day first: a month is then worked out for each day, and not for each of millions of rows.
    by_day = (
        f"(SELECT {quoted(column) + ', ' if column else ''}count(*) AS rows FROM {table_name(contract)} GROUP BY ALL)"
    )
    counted = store.execute(
        f"SELECT coalesce({month}, '{UNDATED}'), sum(rows)::BIGINT FROM {by_day} GROUP BY ALL"
    ).fetchall()
    rows: dict[str, int] = dict(sorted(counted)) or {"": 0}
    kept = before.parts if before is not None else {}
    wanted = {part: _stamp_of(part, stamps) for part in rows}
    new = [part for part in rows if not _holds(store.copies, kept.get(part), rows[part], wanted[part])]
    files = _write(store, contract, new, folder, whole=len(new) == len(rows)) if new else {}
    parts = {
        part: Part(rows=rows[part], stamp=stamp, files=files[part]) if part in files else kept[part]
        for part, stamp in wanted.items()
    }
    return Pin(rows=sum(rows.values()), parts=parts)


def _holds(copies: Path, part: Part | None, rows: int, stamp: str) -> bool:
    """Whether the copy has what is published."""
    return part is not None and (part.rows, part.stamp) == (rows, stamp) and not damaged(copies, part)


def _stamp_of(part: str, stamps: list[Stamped]) -> str:
    """Of the latest publication that held this month."""
    day = date.fromisoformat(f"{part}-01") if part not in ("", UNDATED) else None
    for first, last, stamp in stamps:
        if first is None or last is None or (day is not None and first <= day < last):
            return stamp
    return ""


def _write(
    store: DuckDBStore, contract: Contract, parts: list[str], folder: Path, *, whole: bool
) -> dict[str, dict[str, int]]:
    """Write these parts; the files of each, below the folder of copies, and their sizes."""
    target = folder / contract.layer / contract.name
    columns = ", ".join(map(quoted, contract.types.names))
    source = f"SELECT {columns} FROM {table_name(contract)}"
    with clear_errors(store.path):
        target.mkdir(parents=True)
    if parts == [""]:
        file = target / "all.parquet"
        store.execute(f"COPY ({source}) TO {literal(str(file))} (FORMAT parquet)")
        return {"": _sized(store.copies, [file])}
    if not whole:
        source += f" WHERE {among(contract, parts)}"
    month = f"date_trunc('month', {quoted(contract.partitioned_by or '')})::DATE AS {PART}"
    source = source.replace(" FROM ", f", {month} FROM ", 1)
    store.execute(f"COPY ({source}) TO {literal(str(target))} (FORMAT parquet, PARTITION_BY ({PART}))")
    found: dict[str, list[Path]] = defaultdict(list)
    for each in target.rglob("*.parquet"):
        first = each.parent.name.removeprefix(f"{PART}=")
        found[UNDATED if first == NO_VALUE else first.rpartition("-")[0]].append(each)
    return {part: _sized(store.copies, files) for part, files in found.items()}


def _sized(copies: Path, files: Iterable[Path]) -> dict[str, int]:
    return {str(each.relative_to(copies)): each.stat().st_size for each in sorted(files)}


def damaged(copies: Path, part: Part) -> str:
    """A file that is gone or has another size, as after a power cut; empty when there is none."""
    for file, size in part.files.items():
        path = copies / file
        if not path.is_file() or path.stat().st_size != size:
            return file
    return ""


def sweep(copies: Path) -> None:
    """Remove the copies that no release names, unless they are new."""
    kept = named_on(FolderShelf(copies))
    named = {file for pins in kept for pin in pins.values() for part in pin.parts.values() for file in part.files}
    for folder in [each for each in copies.iterdir() if each.is_dir()] if copies.exists() else []:
        if folder.stat().st_mtime > time.time() - GRACE_SECONDS:
            continue
        files = list(folder.rglob("*.parquet"))
        unnamed = [each for each in files if str(each.relative_to(copies)) not in named]
        for each in unnamed:
            each.unlink(missing_ok=True)
        if len(unnamed) == len(files):
            shutil.rmtree(folder, ignore_errors=True)


class Copies:
    """The tables of one set of pins, read-only: what was published then. Nobody waits for anybody."""

    def __init__(self, folder: Path, pins: Pins, config: Mapping[str, Any], beside: Path | None = None) -> None:
        self._folder, self._pins, self._config, self._beside = folder, pins, config, beside
        self._backend: SideBySide | None = None
        self._tables: dict[str, ibis.Table] = {}
        self._turn = threading.RLock()  # threads may ask side by side

    @property
    def place(self) -> str:
        return str(self._folder)

    @property
    def backend(self) -> SideBySide:
        if self._backend is None:
            self._spill = own(self._folder.parent, "spill")
            config = {**self._config, "temp_directory": str(self._spill)}
            connection = interruptible(duckdb.connect(config=config))
            for layer in sorted({address.partition("/")[0] for address in self._pins}):
                connection.execute(f"CREATE SCHEMA {quoted(layer)}")
            only_reach(connection, [str(each) for each in (self._folder, self._beside) if each])
            self._backend = SideBySide.from_connection(connection)
            self._backend.around = lambda: clear_errors(self._folder, DAMAGED)
        return self._backend

    def release(self) -> None:
        if self._backend is not None:
            self._backend.disconnect()
            self._backend = None
            self._tables.clear()
            shutil.rmtree(self._spill, ignore_errors=True)

    def exists(self, contract: Contract) -> bool:
        return contract.address in self._pins

    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        if not self.exists(contract):
            raise TableMissing(
                f"{contract.address}: is not part of this release; `classic-cars query` reads it as it is now"
            )
        table = self._view(contract.address)
        if months is not None and contract.partitioned_by:
            table = table.filter(months.hold(table[contract.partitioned_by]))
        return table

    def _view(self, address: str) -> ibis.Table:
        with self._turn:
            return self._shown(address)

    def _shown(self, address: str) -> ibis.Table:
        if address not in self._tables:
            layer, _, name = address.partition("/")
            parts = self._pins[address].parts.values()
            for part in parts:
                if file := damaged(self._folder, part):
                    raise StoreDamaged(f"{self._folder / file}: {DAMAGED}")
            listed = ", ".join(literal(str(self._folder / file)) for part in parts for file in part.files)
            shown = f"FROM read_parquet([{listed}], hive_partitioning = false)"
            with clear_errors(self._folder, DAMAGED):
                self.backend.con.execute(f"CREATE VIEW {quoted(layer)}.{quoted(name)} AS {shown}")
            self._tables[address] = self.backend.table(name, database=layer)
        return self._tables[address]

    def size(self, contract: Contract) -> Size:
        return Size(self._pins[contract.address].rows, None)

    def months(self, contract: Contract) -> list[date]:
        parts = self._pins[contract.address].parts if self.exists(contract) else {}
        return sorted(date.fromisoformat(f"{part}-01") for part in parts if part not in ("", UNDATED))

    def marks(self, contract: Contract) -> dict[str, str]:
        parts = self._pins[contract.address].parts
        return {part: digest(each.stamp, *sorted(each.files)) for part, each in parts.items()}

    def row_counts(self) -> dict[str, int]:
        return {address: each.rows for address, each in sorted(self._pins.items())}

    def query(self, sql: str) -> pa.RecordBatchReader:
        try:
            with clear_errors(self._folder, DAMAGED):
                statements, named = one_query(sql), named_tables(sql)
                for address in self._pins:
                    if not named or address.partition("/")[2].casefold() in named:
                        self._view(address)
                with self._turn:
                    backend = self.backend
                return backend.answer(statements)
        except duckdb.Error as error:
            raise StoreError(what_is_wrong(sql, error, lambda: self._pins)) from None
