"""Parquet files of a table: written by the engine, each of one month, sorted, and described for a commit.

Rows of several months are first set down in the scratch folder, apart by month, and then written month by
month: each pass sorts one month only, so memory stays bounded however many months there are.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.utils.concurrent import ExecutorFactory

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.months import Months
from classic_cars.stores.iceberg.engine import Engine
from classic_cars.stores.sql import duckdb_type, literal, quoted

#: Rows that a reader skips, or reads, together: DuckDB's own unit.
ROW_GROUP_ROWS = 122_880
#: Larger tables and months are several files.
FILE_BYTES = "256MB"
PARQUET = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS}, RETURN_STATS"
MONTH = "_month"
#: Where Arrow shows the field id of a Parquet file's column.
FIELD_ID = b"PARQUET:field_id"


@dataclass(frozen=True)
class Written:
    """The files that hold a new version of a table, or of some months of it; nothing refers to them yet."""

    paths: list[str]
    sql: str


def write(
    engine: Engine, io: FileIO, contract: Contract, query: str, folder: str, schema: Schema, months: Months | None
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
            _copy(engine, io, query, _order(contract), _month_folder(contract, folder, months.first), options), shown
        )
    paths: list[str] = []
    spool = engine.scratch / uuid.uuid4().hex
    try:
        for month, files in _spooled(engine, contract, query, spool):
            listed = ", ".join(map(literal, files))
            rows = f"FROM read_parquet([{listed}], hive_partitioning = false)"
            paths += _copy(engine, io, rows, _order(contract), _month_folder(contract, folder, month), options)
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    return Written(paths, shown)


def _cast(contract: Contract, query: str) -> str:
    """``query`` with the columns of exactly the contract's types, in its order."""
    columns = ", ".join(
        f"{quoted(name)}::{duckdb_type(kind)} AS {quoted(name)}" for name, kind in contract.types.items()
    )
    return f"SELECT {columns} FROM ({query})"


def _order(contract: Contract) -> list[str]:
    """By day and key: what analysts and the pipeline's own joins ask for lies together."""
    return list(dict.fromkeys([contract.partitioned_by or "", *contract.key]))


def _copy(engine: Engine, io: FileIO, query: str, order: Sequence[str], folder: str, options: str) -> list[str]:
    if folder.startswith("file://"):
        Path(folder.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
    if order:
        query = f"SELECT * FROM ({query}) ORDER BY {', '.join(map(quoted, order))}"
    rows = engine.execute(f"COPY ({query}) TO {literal(folder)} ({options})").fetchall()
    paths = {f"{folder}/{Path(name).name}": count for name, count, *_ in rows}
    remove(io, [path for path, count in paths.items() if not count])
    return [path for path, count in paths.items() if count]


def _spooled(engine: Engine, contract: Contract, query: str, spool: Path) -> Iterable[tuple[date | None, list[str]]]:
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


def _month_folder(contract: Contract, folder: str, month: date | None) -> str:
    """As Iceberg's own writers name it; readers go by the table's metadata, never by the name."""
    return f"{folder}/{contract.partitioned_by}_month={f'{month:%Y-%m}' if month else 'null'}"


def described(io: FileIO, metadata: TableMetadata, paths: Sequence[str]) -> list[DataFile]:
    """What a commit must know of each file: its partition, rows, sizes and bounds, from the file's own footer.

    Raises ``StoreError`` for a file whose columns are not marked with the schema's field ids.
    """
    return list(ExecutorFactory.get_or_create().map(lambda path: _described(io, metadata, path), paths))


def _described(io: FileIO, metadata: TableMetadata, path: str) -> DataFile:
    schema, source = metadata.schema(), io.new_input(path)
    with source.open() as stream:
        footer = pq.read_metadata(stream)
    _must_have_field_ids(footer, schema, path)
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=footer,
        stats_columns=compute_statistics_plan(schema, metadata.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=statistics.partition(metadata.spec(), schema),
        file_size_in_bytes=len(source),
        sort_order_id=None,
        spec_id=metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def _must_have_field_ids(footer: pq.FileMetaData, schema: Schema, path: str) -> None:
    """Readers look for columns by field id, and take one that they do not find for NULL in every row, silently."""
    found = {field.name: int((field.metadata or {}).get(FIELD_ID, b"-1")) for field in footer.schema.to_arrow_schema()}
    wrong = [
        f"{field.name} ({found[field.name] if found.get(field.name, -1) >= 0 else 'none'})"
        for field in schema.fields
        if found.get(field.name) != field.field_id
    ]
    if wrong:
        raise StoreError(
            f"{path}: found other field ids than the table's in columns {', '.join(wrong)}, expected those of its "
            "schema; whatever wrote the file cannot write to an Iceberg table. Nothing was published"
        )


def month_of(file: DataFile) -> date | None:
    """The month of a file of a table that is partitioned by month; None for rows without a date."""
    number = file.partition[0] if len(file.partition) else None
    return None if number is None else date(1970 + number // 12, number % 12 + 1, 1)


def remove(io: FileIO, paths: Iterable[str]) -> None:
    """Delete files that nothing refers to; one that resists is left for ``lake maintain``."""
    for path in paths:
        try:
            io.delete(path)
        except Exception:  # noqa: S112
            continue
