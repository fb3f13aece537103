"""How DuckDB writes the files of a table: each of one month, and sorted.

Rows of several months are first set down in the scratch folder, apart by month, and then written month by
month: each pass sorts one month only, so memory stays bounded however many months there are.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.io import FileIO
from pyiceberg.schema import Schema

from classic_cars.contracts.base import Contract
from classic_cars.months import Months
from classic_cars.stores.iceberg import files
from classic_cars.stores.iceberg.engines.base import Written, month_folder, order_of
from classic_cars.stores.sql import duckdb_type, literal, quoted

if TYPE_CHECKING:
    from classic_cars.stores.iceberg.engines.duckdb import DuckDBEngine

#: Rows that a reader skips, or reads, together: DuckDB's own unit.
ROW_GROUP_ROWS = 122_880
#: Larger tables and months are several files.
FILE_BYTES = "256MB"
PARQUET = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS}, RETURN_STATS"
MONTH = "_month"


def write(
    engine: DuckDBEngine, io: FileIO, contract: Contract, query: str, folder: str, schema: Schema, months: Months | None
) -> Written:
    """Write the rows of ``query`` below ``folder``. Files get names that nobody had before."""
    query = _cast(contract, query)
    ids = ", ".join(f"{quoted(field.name)}: {field.field_id}" for field in schema.fields)
    options = f"{PARQUET}, FILE_SIZE_BYTES '{FILE_BYTES}', FILENAME_PATTERN '{{uuid}}', APPEND, FIELD_IDS {{{ids}}}"
    shown = f"COPY (\n{query}\n) TO {literal(folder)} ({PARQUET})"
    if not contract.partitioned_by:
        return Written(_copy(engine, io, query, contract.key, folder, options), shown)
    if months is not None and months.first == months.last:
        return Written(
            _copy(engine, io, query, order_of(contract), month_folder(contract, folder, months.first), options), shown
        )
    paths: list[str] = []
    spool = engine.scratch / uuid.uuid4().hex
    try:
        for month, spooled in _spooled(engine, contract, query, spool):
            listed = ", ".join(map(literal, spooled))
            rows = f"FROM read_parquet([{listed}], hive_partitioning = false)"
            paths += _copy(engine, io, rows, order_of(contract), month_folder(contract, folder, month), options)
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    return Written(paths, shown)


def _cast(contract: Contract, query: str) -> str:
    """``query`` with the columns of exactly the contract's types, in its order."""
    columns = ", ".join(
        f"{quoted(name)}::{duckdb_type(kind)} AS {quoted(name)}" for name, kind in contract.types.items()
    )
    return f"SELECT {columns} FROM ({query})"


def _copy(engine: DuckDBEngine, io: FileIO, query: str, order: Sequence[str], folder: str, options: str) -> list[str]:
    if folder.startswith("file://"):
        Path(folder.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
    if order:
        query = f"SELECT * FROM ({query}) ORDER BY {', '.join(map(quoted, order))}"
    rows = engine.execute(f"COPY ({query}) TO {literal(folder)} ({options})").fetchall()
    paths = {f"{folder}/{Path(name).name}": count for name, count, *_ in rows}
    files.remove(io, [path for path, count in paths.items() if not count])
    return [path for path, count in paths.items() if count]


def _spooled(
    engine: DuckDBEngine, contract: Contract, query: str, spool: Path
) -> Iterable[tuple[date | None, list[str]]]:
    """The rows in local files, by month."""
    spool.mkdir(parents=True)
    column = quoted(contract.partitioned_by or "")
    rows = engine.execute(
        f"COPY (SELECT *, date_trunc('month', {column})::DATE AS {MONTH} FROM ({query})) TO {literal(str(spool))} "
        # Read once and soon: no time is spent on making it small.
        f"(FORMAT parquet, COMPRESSION lz4, DICTIONARY_SIZE_LIMIT 1, PARTITION_BY ({MONTH}), RETURN_STATS)"
    ).fetchall()
    found: dict[date | None, list[str]] = {}
    for name, _count, _size, _footer, _columns, keys in rows:
        text = keys.get(MONTH)
        found.setdefault(date.fromisoformat(text) if text and text[0].isdigit() else None, []).append(name)
    return sorted(found.items(), key=lambda each: each[0] or date.min)
