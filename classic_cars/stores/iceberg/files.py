"""Parquet files of a table, whatever engine wrote them: described for a commit, and removed when there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.fileformat import DataFileStatistics
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.utils.concurrent import ExecutorFactory

from classic_cars.errors import StoreError

#: Where Arrow shows the field id of a Parquet file's column.
FIELD_ID = b"PARQUET:field_id"


class SeveralMonths(StoreError):
    """A file has rows of several months (None: of none)."""

    def __init__(self, path: str, months: set[date | None]) -> None:
        named = ", ".join(sorted(f"{month:%Y-%m}" if month else "no month" for month in months))
        super().__init__(
            f"{path}: found rows of {named}, expected rows of one month in one file; nothing was published"
        )
        self.months = months


def described(io: FileIO, metadata: TableMetadata, paths: Sequence[str]) -> list[DataFile]:
    """What a commit must know of each file: its partition, rows, sizes and bounds, from the file's own footer.

    Raises ``StoreError`` for a file whose columns are not marked with the schema's field ids, and ``SeveralMonths``.
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
    _must_be_of_one_month(statistics, metadata, path)
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


def _must_be_of_one_month(statistics: DataFileStatistics, metadata: TableMetadata, path: str) -> None:
    """Rows without a date, too, are none of the month's."""
    for field in metadata.spec().fields:
        found = statistics.column_aggregates.get(field.source_id)
        days = (found.current_min, found.current_max) if found is not None else ()
        months: set[date | None] = {day.replace(day=1) for day in days if day is not None}
        if statistics.null_value_counts.get(field.source_id):
            months.add(None)
        if len(months) > 1:
            raise SeveralMonths(path, months)


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
