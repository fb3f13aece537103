r"""A shop from CSV files: every value in double quotes, a quote inside doubled, NULL an unquoted ``\N``.

Reads in batches, and checks while reading whatever a database would refuse: types, lengths, missing values,
keys. So a mistake is reported the same way for every database: file, line, column, expected. What follows
is kept as it is: spaces, empty text, line breaks. A value of ``productlines.image`` is loaded as the bytes
of its text; in the published files that is ``blob:<size>``, a stand-in for a picture that they leave out.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import sqlalchemy as sa

from classic_cars.contracts import order_system
from classic_cars_shop.columns import arrow_schema, arrow_type
from classic_cars_shop.ownership import TABLES
from classic_cars_shop.plan import FIRST_MONTH, ShopInputError

BLOCK = 4 << 20

_INTEGER = re.compile(r"[+-]?\d{1,10}")
_MONEY = re.compile(r"[+-]?\d{1,8}(\.\d{1,2}0*)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass
class ShopFiles:
    """The eight files of a folder; ``batches`` reads one, parents before children."""

    directory: Path
    #: Day of the last order read so far.
    last_order: date = FIRST_MONTH
    #: Values of the columns that other tables refer to, of the files read so far.
    _referred: dict[str, pa.Array] = field(default_factory=dict)

    @classmethod
    def open(cls, directory: Path) -> ShopFiles:
        """Raises ``ShopInputError`` when a file or a column is missing."""
        if not directory.is_dir():
            raise ShopInputError(f"{directory}: not a folder; expected one with {', '.join(TABLES)} as .csv files")
        files = cls(directory)
        missing = [f"{name}.csv" for name in TABLES if not files.path(name).is_file()]
        if missing:
            raise ShopInputError(f"{directory}: {', '.join(missing)} not found; expected a .csv file for each table")
        for name in TABLES:
            files.header(name)
        return files

    def path(self, table: str) -> Path:
        return self.directory / f"{table}.csv"

    def header(self, table: str) -> list[str]:
        """The file's column names, which are those of the table in any order."""
        path = self.path(table)
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                found = next(csv.reader(file), [])
        except UnicodeDecodeError:
            raise _not_utf_8(path) from None
        expected = order_system.metadata.tables[table].columns.keys()
        if missing := [name for name in expected if name not in found]:
            raise ShopInputError(f"{path}: column {', '.join(missing)} missing; found {', '.join(found) or 'nothing'}")
        if unknown := [name for name in found if name not in expected]:
            raise ShopInputError(f"{path}: column {', '.join(unknown)} unknown; expected {', '.join(expected)}")
        if len(found) != len(set(found)):
            raise ShopInputError(f"{path}: a column appears twice; expected {', '.join(expected)}")
        return found

    def expected_rows(self) -> int:
        """A guess, from the files' sizes."""
        return sum(self.path(name).stat().st_size for name in TABLES) // 60

    def batches(self, table: str) -> Iterator[pa.RecordBatch]:
        """The rows of a table, checked; raises ``ShopInputError`` at the first mistake."""
        declared = order_system.metadata.tables[table]
        keys: list[pa.RecordBatch] = []
        lines = _Lines()
        for texts in self._texts(declared):
            lines.look_at(texts)
            typed = _typed(self.path(table), declared, texts, lines)
            self._check_parents(declared, typed, lines)
            lines.done()
            keys.append(typed.select([name for name in typed.schema.names if name in _key_columns(declared)]))
            if table == "orders" and typed.num_rows:
                self.last_order = max(self.last_order, pc.max(typed["orderDate"]).as_py())
            yield typed
        self._check_keys(declared, keys, lines)

    def _texts(self, table: sa.Table) -> Iterator[pa.RecordBatch]:
        path = self.path(table.name)
        wrong: list[Any] = []

        def note(row: Any) -> str:
            wrong.append(row)
            return "error"

        try:
            with pa.csv.open_csv(
                path,
                read_options=pa.csv.ReadOptions(block_size=BLOCK, use_threads=False),
                parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(table.columns.keys(), pa.string()),
                    include_columns=table.columns.keys(),
                    null_values=["\\N"],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            ) as reader:
                yield from reader
        except pa.ArrowInvalid as error:
            if wrong:
                raise ShopInputError(
                    f"{path}: row {wrong[0].number} (the header is row 1): found {wrong[0].actual_columns} values, "
                    f"expected {wrong[0].expected_columns}"
                ) from None
            if "UTF8" in str(error):
                raise _not_utf_8(path) from None
            raise ShopInputError(f"{path}: cannot be read as CSV: {_without_values(str(error))}") from None

    def _check_parents(self, table: sa.Table, rows: pa.RecordBatch, lines: _Lines) -> None:
        for column, target in _references(table, to_itself=False):
            self._refuse_orphans(table, column, rows[column.name], target, lines, first_row=lines.rows)

    def _check_keys(self, table: sa.Table, batches: list[pa.RecordBatch], lines: _Lines) -> None:
        """What can be said only when all rows are read: keys are unique, a row refers to rows of its own table."""
        kept = pa.schema([field for field in arrow_schema(table) if field.name in _key_columns(table)])
        rows = pa.Table.from_batches(batches, schema=kept)
        self._refuse_repeated(table, rows, lines)
        for name, target in _referred_columns(table):
            self._referred[target] = rows[name].combine_chunks()
        for column, target in _references(table, to_itself=True):
            self._refuse_orphans(table, column, rows[column.name].combine_chunks(), target, lines, first_row=0)

    def _refuse_repeated(self, table: sa.Table, rows: pa.Table, lines: _Lines) -> None:
        names = [column.name for column in table.primary_key]
        numbered = rows.select(names).append_column("row number", pa.array(np.arange(rows.num_rows)))
        groups = numbered.group_by(names, use_threads=False).aggregate([("row number", "max"), ("row number", "count")])
        again = groups.filter(pc.greater(groups["row number_count"], 1))
        if again.num_rows:
            line = lines.of(pc.min(again["row number_max"]).as_py())
            raise ShopInputError(
                f"{self.path(table.name)}: line {line}: {', '.join(names)}: found a key that an earlier line has, "
                "expected each key once"
            )

    def _refuse_orphans(
        self, table: sa.Table, column: sa.Column, values: pa.Array, target: str, lines: _Lines, first_row: int
    ) -> None:
        orphans = pc.and_(values.is_valid(), pc.invert(pc.is_in(values, value_set=self._referred[target])))
        position = pc.index(orphans, True).as_py()
        if position >= 0:
            line = lines.of(first_row + position)
            raise _mistake(self.path(table.name), line, column, str(values[position]), f"a value of {target}")


def _references(table: sa.Table, to_itself: bool) -> list[tuple[sa.Column, str]]:
    """Columns with the ``table.column`` that they refer to."""
    return [
        (column, key.target_fullname)
        for column in table.columns
        for key in column.foreign_keys
        if (key.column.table is table) == to_itself
    ]


def _referred_columns(table: sa.Table) -> set[tuple[str, str]]:
    """Columns that any table refers to, with their full names."""
    return {
        (key.column.name, key.target_fullname)
        for other in order_system.metadata.sorted_tables
        for column in other.columns
        for key in column.foreign_keys
        if key.column.table is table
    }


def _key_columns(table: sa.Table) -> set[str]:
    """Columns of the primary key and of foreign keys to the table itself: what is kept until all rows are read."""
    own = {column.name for column, _ in _references(table, to_itself=True)}
    return own | {column.name for column in table.primary_key}


class _Lines:
    """On which line of the file each row begins, although values hold line breaks."""

    def __init__(self) -> None:
        #: Rows of the batches that are done; the batch at hand begins behind them.
        self.rows = 0
        self._next_line = 2
        self._starts: list[np.ndarray] = []

    def look_at(self, texts: pa.RecordBatch) -> None:
        """Takes note of the lines of a batch."""
        heights = np.ones(texts.num_rows, np.int64)
        for column in texts.columns:
            heights += pc.count_substring(column, "\n").fill_null(0).to_numpy(zero_copy_only=False)
        self._starts.append((self._next_line + np.cumsum(heights) - heights).astype(np.int32))
        self._next_line += int(heights.sum())

    def done(self) -> None:
        """The batch at hand is right."""
        self.rows += len(self._starts[-1])

    def of(self, row: int) -> int:
        """The line of a row, counted from 0 in the whole file."""
        for starts in self._starts:
            if row < len(starts):
                return int(starts[row])
            row -= len(starts)
        raise IndexError(row)


def _typed(path: Path, table: sa.Table, texts: pa.RecordBatch, lines: _Lines) -> pa.RecordBatch:
    arrays = []
    for column in table.columns:
        values = texts[column.name]
        if not column.nullable and values.null_count:
            row = pc.index(values.is_null(), True).as_py()
            raise _mistake(path, lines.of(lines.rows + row), column, None, "a value")
        arrays.append(_converted(path, column, values, lines))
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(table))


def _converted(path: Path, column: sa.Column, values: pa.Array, lines: _Lines) -> pa.Array:
    kind = arrow_type(column.type)
    try:
        if pa.types.is_binary(kind):
            return values.cast(pa.binary())
        if not pa.types.is_string(kind):
            return values.cast(kind)
        length = getattr(column.type, "length", None)
        if not pc.any(pc.match_substring(values, "\0")).as_py() and not (
            length and pc.any(pc.greater(pc.utf8_length(values), length)).as_py()
        ):
            return values
    except pa.ArrowInvalid:
        pass
    for row, value in enumerate(values.to_pylist()):
        expected = value is not None and _expectation(column.type, value)
        if expected:
            raise _mistake(path, lines.of(lines.rows + row), column, value, expected)
    raise ShopInputError(f"{path}: column {column.name}: cannot be read as {column.type}")


def _expectation(kind: sa.types.TypeEngine, value: str) -> str | None:
    """What the column should hold, if ``value`` is not it."""
    match kind:
        case sa.Integer():
            bits = 15 if isinstance(kind, sa.SmallInteger) else 31
            fits = _INTEGER.fullmatch(value) and -(2**bits) <= int(value) < 2**bits
            return None if fits else f"an integer from {-(2**bits)} to {2**bits - 1}"
        case sa.Numeric():
            fits = _MONEY.fullmatch(value) and abs(Decimal(value)) < 10**8
            return None if fits else "an amount such as 81.35, with 8 digits before the point and 2 behind it at most"
        case sa.Date():
            return None if _is_day(value) else "a day such as 2003-01-31"
    length = getattr(kind, "length", None)
    if "\0" in value:
        return "text without NUL characters"
    return f"{length} characters at most" if length and len(value) > length else None


def _is_day(value: str) -> bool:
    try:
        return bool(_DAY.fullmatch(value) and date.fromisoformat(value))
    except ValueError:
        return False


def _not_utf_8(path: Path) -> ShopInputError:
    return ShopInputError(f"{path}: found text that is not UTF-8, expected UTF-8")


def _mistake(path: Path, line: int, column: sa.Column, found: str | None, expected: str) -> ShopInputError:
    if found is None:
        shown = r"NULL (\N)"
    else:
        shown = "a value that is not shown because it is personal" if column.info else repr(found[:80])
    return ShopInputError(f"{path}: line {line}: {column.name}: found {shown}, expected {expected}")


def _without_values(message: str) -> str:
    """Arrow quotes the offending row at the end of its message; rows can be personal."""
    return message.split(": ")[0] if "CSV parse error" in message else message.partition("\n")[0][:120]
