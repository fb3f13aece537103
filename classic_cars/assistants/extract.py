"""The current release without personal data: a DuckDB file that has no name, which workers inherit the opened file of.

Columns that contracts mark as personal are left out, so are names of businesses, and so is every table that no contract
knows. Made anew for each release, when it is first asked.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import duckdb

from classic_cars.assets import ALL_TABLES
from classic_cars.contracts.base import Contract
from classic_cars.errors import TableMissing
from classic_cars.serving.releases import Release, current, opened
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Reading
from classic_cars.stores.sql import quoted, table_name

NO_RELEASE = "there is no release yet: `classic-cars run` makes one"


#: The names of businesses, which analysts need and which are often a person's own.
OFTEN_PERSONAL = ("customerName",)


def shown_columns(contract: Contract) -> tuple[str, ...]:
    """The columns that assistants see, in order."""
    return tuple(name for name in contract.types.names if not contract.is_personal(name) and name not in OFTEN_PERSONAL)


@dataclass(frozen=True)
class Extract:
    """A release, the contracts of its tables by address, and the copy. The file is gone with its last user."""

    release: Release
    contracts: dict[str, Contract]
    file: IO[bytes]


class Extracts:
    """The extract of the current release; threads may ask side by side."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._latest: Extract | None = None

    @cached_property
    def _known(self) -> dict[str, Contract]:
        return {table.address: table.contract for table in ALL_TABLES}

    def latest(self) -> Extract:
        """Raises ``TableMissing`` where there is no release, and ``StoreError`` when it cannot be read."""
        with self._lock:
            release = current(open_store(self._settings, read_only=True).shelf)
            if release is None:
                raise TableMissing(NO_RELEASE)
            if self._latest is None or self._latest.release != release:
                self._latest = self._made()
            return self._latest

    def _made(self) -> Extract:
        with opened(self._settings) as found:
            if found is None:
                raise TableMissing(NO_RELEASE)
            release, tables = found
            contracts = {each: self._known[each] for each in release.tables if each in self._known}
            file = written(lambda copy: _fill(copy, tables, contracts), self._settings)
        return Extract(release, contracts, file)


def written(fill: Callable[[duckdb.DuckDBPyConnection], None], settings: Settings) -> IO[bytes]:
    """A database that ``fill`` filled, opened to be read; its name is gone already."""
    with tempfile.TemporaryDirectory(prefix="classic-cars-") as folder:
        path = Path(folder) / "extract.duckdb"
        with duckdb.connect(str(path), config=dict(settings.duckdb_config)) as copy:
            fill(copy)
        return path.open("rb")


def _fill(copy: duckdb.DuckDBPyConnection, tables: Reading, contracts: dict[str, Contract]) -> None:
    for contract in contracts.values():
        columns = shown_columns(contract)
        if not columns:
            continue
        copy.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(contract.layer)}")
        copy.register("_batches", tables.read(contract).select(*columns).to_pyarrow_batches())
        copy.execute(f"CREATE TABLE {table_name(contract)} AS FROM _batches")
        copy.unregister("_batches")
