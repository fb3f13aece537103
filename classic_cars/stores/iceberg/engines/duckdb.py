"""The default engine of a lake: one DuckDB in memory, that reads and writes the warehouse's Parquet files.

It holds no table of its own: every published or staged version is a view over files. What does not fit in
memory goes to a scratch folder of the connection's own, which is gone when the process is.
"""

from __future__ import annotations

import importlib.util
import shutil
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.schema import Schema

from classic_cars.compiled import CompilingOnce, SideBySide
from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.interrupts import interruptible
from classic_cars.months import Months
from classic_cars.stores.folders import own
from classic_cars.stores.iceberg.aws import S3Access
from classic_cars.stores.iceberg.engines import duckdb_files
from classic_cars.stores.iceberg.engines.base import Written
from classic_cars.stores.iceberg.failures import clear_errors
from classic_cars.stores.iceberg.lake import Lake
from classic_cars.stores.iceberg.schema import reading_type
from classic_cars.stores.sql import MEMORY, OWN, first_line, literal, only_reach, quoted

ARRIVAL = "arriving"
WHEEL = "duckdb-extension-httpfs"
#: DuckDB uploads files in 10,000 parts at most: this bounds one part, and so its memory, to a few MiB.
LARGEST_UPLOAD = "50GB"


class DuckDBEngine:
    """DuckDB over the files of ``lake``; opened when first used.

    ``read_only`` engines reach nothing else, but for the folder ``beside``.
    """

    def __init__(
        self, lake: Lake, scratch: Path, *, read_only: bool, config: Mapping[str, Any], beside: Path | None = None
    ) -> None:
        self.lake = lake
        self._beside = beside
        self.read_only = read_only
        self._scratches = scratch
        self._config = config
        self._backend: CompilingOnce | None = None
        self._access: S3Access | None = None
        self._views: dict[tuple[str, str], tuple[str, ibis.Table]] = {}
        #: Whoever opens it or shows tables holds it: threads may ask side by side.
        self.turn = threading.RLock()

    @property
    def backend(self) -> CompilingOnce:
        with self.turn:
            if self._backend is None:
                kind = SideBySide if self.read_only else CompilingOnce
                with clear_errors(self.lake):
                    self._backend = kind.from_connection(self._connect())
            return self._backend

    @cached_property
    def scratch(self) -> Path:
        """This connection's own folder for what does not fit in memory."""
        return own(self._scratches, "scratch")

    def _connect(self) -> duckdb.DuckDBPyConnection:
        self.scratch.mkdir(parents=True, exist_ok=True)
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "temp_directory": str(self.scratch),
            # Tables have no order: rows may be written as they come, which halves the memory of big writes.
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # Credentials stay in memory.
            "allow_persistent_secrets": False,
            **self._config,
        }
        connection = interruptible(duckdb.connect(config=config))
        if self.lake.bucket:
            _load_httpfs(connection)
            connection.execute(f"SET s3_uploader_max_filesize = '{LARGEST_UPLOAD}'")
        if self.read_only:
            # A query sees the warehouse, and nothing else of the machine.
            folders = [str(each) for each in (self.lake.folder, self._beside) if each]
            only_reach(connection, [self.lake.warehouse, *folders])
        return connection

    @property
    def name(self) -> str:
        return f"DuckDB {duckdb.__version__}"

    @property
    def page(self) -> None:
        return None

    @property
    def access(self) -> S3Access | None:
        """The credentials in use."""
        return self._access

    def reach(self, access: S3Access | None) -> None:
        """Use these credentials from now on."""
        if access is not None:
            self.execute(access.for_duckdb(self.lake.bucket or "", self.lake.kms_key))
        self._access = access

    def execute(self, sql: str | duckdb.Statement) -> duckdb.DuckDBPyConnection:
        with clear_errors(self.lake):
            return self.backend.con.execute(sql)

    def view(
        self, layer: str, name: str, files: Sequence[str], schema: Schema, contract: Contract | None
    ) -> ibis.Table:
        """A table over these files, whatever version of the schema they were written in: columns go by field id."""
        kinds = {field.name: reading_type(contract, field) for field in schema.fields}
        if files:
            fields = ", ".join(
                f"{field.field_id}: {{name: {literal(field.name)}, type: {literal(kinds[field.name])}, "
                "default_value: NULL}"
                for field in schema.fields
            )
            listed = ", ".join(map(literal, files))
            query = f"FROM read_parquet([{listed}], schema = MAP {{{fields}}}, hive_partitioning = false)"
        else:
            columns = ", ".join(f"NULL::{kind} AS {quoted(column)}" for column, kind in kinds.items())
            query = f"SELECT {columns} WHERE false"
        with self.turn:
            shown = self._views.get((layer, name))
            if shown is not None and shown[0] == query:
                return shown[1]
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(layer)}")
            self.execute(f"CREATE OR REPLACE VIEW {quoted(layer)}.{quoted(name)} AS {query}")
            rows = self.backend.table(name, database=layer)
            self._views[layer, name] = query, rows
            return rows

    def write(
        self, io: FileIO, contract: Contract, rows: ibis.Table, folder: str, schema: Schema, months: Months | None
    ) -> Written:
        query = self.backend.compile(rows.select(*contract.types.names))
        return duckdb_files.write(self, io, contract, query, folder, schema, months)

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        self.backend.con.register(ARRIVAL, rows)
        return self.backend.table(ARRIVAL)

    def forget(self) -> None:
        """Drop the views of the layers, so that a query sees only what is shown to it; those kept apart stay."""
        for layer in {layer for layer, _ in self._views} - {OWN}:
            self.execute(f"DROP SCHEMA {quoted(layer)} CASCADE")
        self._views = {place: view for place, view in self._views.items() if place[0] == OWN}

    def close(self) -> None:
        if self._backend is not None:
            self._backend.disconnect()
            self._backend = None
        self._access = None
        self._views.clear()
        shutil.rmtree(self.scratch, ignore_errors=True)


def _load_httpfs(connection: duckdb.DuckDBPyConnection) -> None:
    """From the wheel where it is installed, which needs no network; otherwise the way DuckDB always does it."""
    package = importlib.util.find_spec(WHEEL.replace("-", "_"))
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
        if file.is_file():
            connection.execute(f"LOAD {literal(str(file))}")
            return
    try:
        connection.install_extension("httpfs")
        connection.load_extension("httpfs")
    except duckdb.Error as error:
        raise StoreError(
            f"DuckDB's S3 extension is missing and cannot be downloaded ({first_line(str(error))}); "
            f"pip install 'classic-cars[s3]', or {WHEEL}=={duckdb.__version__}"
        ) from None
