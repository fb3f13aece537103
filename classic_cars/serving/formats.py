"""Results as CSV, JSON, Excel and Parquet: row by row as they come, into a file that is open."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO

from classic_cars.errors import StoreError
from classic_cars.wording import told_apart

if TYPE_CHECKING:
    import pyarrow as pa

#: What Excel can hold: rows with the header, and columns; characters of a text, and significant digits of a number.
EXCEL_ROWS, EXCEL_COLUMNS, EXCEL_TEXT, EXCEL_DIGITS = 1_048_576, 16_384, 32_767, 15
#: Excel's calendar begins here.
EXCEL_EPOCH = datetime(1900, 1, 1)
EXCEL_FORMATS = {date: "yyyy-mm-dd", datetime: "yyyy-mm-dd hh:mm:ss"}


def _write_csv(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    import pyarrow.csv

    rows = 0
    reader = _with_texts(reader, _fits_csv)
    with pyarrow.csv.CSVWriter(file, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_json(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    """A JSON array, written row by row as they come."""
    rows = 0
    names = told_apart(reader.schema.names)
    for batch in reader:
        for row in zip(*batch.columns, strict=True):
            values = {name: plain(each.as_py()) for name, each in zip(names, row, strict=True)}
            file.write((",\n " if rows else "[\n ").encode() + json.dumps(values).encode())
            rows += 1
    file.write(b"\n]\n" if rows else b"[]\n")
    return rows


def _write_parquet(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    reader = _with_texts(reader, _fits_parquet)
    names = told_apart(reader.schema.names)  # readers refuse a file with two columns of one name
    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch.rename_columns(names))
            rows += batch.num_rows
    return rows


def _write_xlsx(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    """One sheet; texts are never formulas or links, numbers that Excel would round are texts."""
    import xlsxwriter

    rows = 0
    names = reader.schema.names
    if len(names) > EXCEL_COLUMNS:
        raise StoreError(f"found {len(names):,} columns, Excel holds {EXCEL_COLUMNS:,}; choose csv or parquet")
    with xlsxwriter.Workbook(file, {"constant_memory": True}) as book:
        sheet = book.add_worksheet("result")
        header = book.add_format({"bold": True})
        styles: dict[type, Any] = {
            kind: book.add_format({"num_format": shown}) for kind, shown in EXCEL_FORMATS.items()
        }
        sheet.freeze_panes(1, 0)
        for column, name in enumerate(names):
            sheet.set_column(column, column, min(max(len(name) + 2, 12), 60))
            sheet.write_string(0, column, name, header)
        for batch in reader:
            for row in zip(*batch.columns, strict=True):
                rows += 1
                if rows >= EXCEL_ROWS:
                    raise StoreError(
                        f"more than {EXCEL_ROWS - 1:,} rows do not fit an Excel sheet; choose csv or parquet"
                    )
                for column, value in enumerate(row):
                    _write_cell(sheet, rows, column, value.as_py(), styles)
    return rows


def _write_cell(sheet: Any, row: int, column: int, value: Any, styles: dict[type, Any]) -> None:
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.replace(tzinfo=None)
    if (type(value) is date and value >= EXCEL_EPOCH.date()) or (type(value) is datetime and value >= EXCEL_EPOCH):
        sheet.write_datetime(row, column, value, styles[type(value)])
        return
    value = _digits_kept(value) if isinstance(value, Decimal) else plain(value)
    if value is None:
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**EXCEL_DIGITS):
        sheet.write_number(row, column, value)
    elif len(text := str(value)) > EXCEL_TEXT:
        raise StoreError(
            f"found a text of {len(text):,} characters, an Excel cell holds {EXCEL_TEXT:,}; choose csv or parquet"
        )
    else:
        sheet.write_string(row, column, text)


def _digits_kept(value: Decimal) -> float | str:
    """A number if Excel keeps all its digits, otherwise a text."""
    digits = "".join(map(str, value.as_tuple().digits)).strip("0")
    return float(value) if len(digits) <= EXCEL_DIGITS else f"{value:f}"


FORMATS: dict[str, Callable[[Any, BinaryIO], int]] = {
    "csv": _write_csv,
    "json": _write_json,
    "xlsx": _write_xlsx,
    "parquet": _write_parquet,
}
BINARY = ("xlsx", "parquet")


def plain(value: Any) -> Any:
    """A value as JSON has it: numbers as numbers while readers keep every digit, everything else as text."""
    if isinstance(value, Decimal):
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | None) else str(value)


def _with_texts(reader: pa.RecordBatchReader, fits: Callable[[Any], bool]) -> pa.RecordBatchReader:
    """The same rows, with texts instead of what the format has no word for."""
    import pyarrow as pa

    schema = pa.schema([field if fits(field.type) else pa.field(field.name, pa.string()) for field in reader.schema])
    if schema == reader.schema:
        return reader

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            columns = [
                each if fits(each.type) else pa.array([_text(value.as_py()) for value in each], pa.string())
                for each in batch.columns
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _text(value: Any) -> str | None:
    value = plain(value)
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _fits_csv(kind: Any) -> bool:
    import pyarrow.types as kinds

    simple = (kinds.is_boolean, kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_string)
    return any(of(kind) for of in (*simple, kinds.is_large_string, kinds.is_date, kinds.is_timestamp, kinds.is_time))


def _fits_parquet(kind: Any) -> bool:
    import pyarrow.types as kinds

    odd = (kinds.is_interval, kinds.is_null, kinds.is_union, kinds.is_duration)
    return kind.__class__.__name__ != "OpaqueType" and not any(of(kind) for of in odd)
