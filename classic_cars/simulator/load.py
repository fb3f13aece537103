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
from classic_cars.simulator.columns import arrow_schema, arrow_type
from classic_cars.simulator.ownership import TABLES
from classic_cars.simulator.plan import ShopInputError

BLOCK = 4 << 20

_INTEGER = re.compile(r"[+-]?\d{1,10}")
_MONEY = re.compile(r"[+-]?\d{1,8}(\.\d{1,2}0*)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass
class ShopFiles:
    """The eight files of a folder; ``batches`` reads one, parents before children."""

    directory: Path
    last_order: date = date.min
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
            raise ShopInputError(f"{path}: not UTF-8; expected text in UTF-8") from None
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
        kept = {c.name for c in declared.primary_key} | {c.name for c in declared.columns if c.foreign_keys}
        lines = _Lines()
        for texts in self._texts(declared):
            typed = _typed(self.path(table), declared, texts, lines)
            self._check_parents(declared, typed, lines)
            lines.add(texts)
            keys.append(typed.select([c.name for c in declared.columns if c.name in kept]))
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
            raise ShopInputError(f"{path}: cannot be read as CSV: {_without_values(str(error))}") from None

    def _check_parents(self, table: sa.Table, rows: pa.RecordBatch, lines: _Lines) -> None:
        for column in table.columns:
            for key in column.foreign_keys:
                if key.column.table is table:
                    continue
                parents = self._referred[key.target_fullname]
                values = rows[column.name]
                orphans = pc.and_(values.is_valid(), pc.invert(pc.is_in(values, value_set=parents)))
                self._refuse_first(orphans, table, column, values, lines, f"a value of {key.target_fullname}")

    def _check_keys(self, table: sa.Table, batches: list[pa.RecordBatch], lines: _Lines) -> None:
        if not batches:
            return
        rows = pa.Table.from_batches(batches)
        names = [column.name for column in table.primary_key]
        positions = pa.array(np.arange(rows.num_rows))
        repeated = (
            rows.select(names)
            .append_column("__row", positions)
            .group_by(names, use_threads=False)
            .aggregate([("__row", "max"), ("__row", "count")])
        )
        again = repeated.filter(pc.greater(repeated["__row_count"], 1))
        if again.num_rows:
            raise ShopInputError(
                f"{self.path(table.name)}: line {lines.of(pc.min(again['__row_max']).as_py())}: "
                f"the key {', '.join(names)} has been there before; expected each once"
            )
        referred = {
            key.column.name: key.target_fullname
            for other in order_system.metadata.tables.values()
            for column in other.columns
            for key in column.foreign_keys
            if key.column.table is table
        }
        for name, target in referred.items():
            self._referred[target] = rows[name].combine_chunks()
        for column in table.columns:
            for key in column.foreign_keys:
                if key.column.table is table:
                    values = rows[column.name].combine_chunks()
                    orphans = pc.and_(
                        values.is_valid(), pc.invert(pc.is_in(values, value_set=self._referred[key.target_fullname]))
                    )
                    self._refuse_first(
                        orphans, table, column, values, lines, f"a value of {key.target_fullname}", start=0
                    )

    def _refuse_first(
        self,
        wrong: pa.Array,
        table: sa.Table,
        column: sa.Column,
        values: pa.Array,
        lines: _Lines,
        expected: str,
        start: int | None = None,
    ) -> None:
        position = pc.index(wrong, True).as_py()
        if position >= 0:
            row = position + (lines.rows if start is None else start)
            raise _mistake(self.path(table.name), lines.of(row), column, str(values[position]), expected)


class _Lines:
    """On which line of the file each row begins, although values hold line breaks."""

    def __init__(self) -> None:
        self.rows = 0
        self._next = 2
        self._starts: list[np.ndarray] = []
        self._pending: np.ndarray | None = None

    def heights(self, texts: pa.RecordBatch) -> np.ndarray:
        heights = np.ones(texts.num_rows, np.int64)
        for column in texts.columns:
            breaks = pc.count_substring(column, "\n").fill_null(0)
            heights += breaks.to_numpy(zero_copy_only=False)
        return heights

    def look_at(self, texts: pa.RecordBatch) -> None:
        """Rows that are being checked now; :meth:`add` comes when they are right."""
        heights = self.heights(texts)
        self._pending = self._next + np.cumsum(heights) - heights

    def add(self, texts: pa.RecordBatch) -> None:
        heights = self.heights(texts)
        self._starts.append((self._next + np.cumsum(heights) - heights).astype(np.int32))
        self._next += int(heights.sum())
        self.rows += texts.num_rows
        self._pending = None

    def of(self, row: int) -> int:
        """The line of the ``row``-th row, counted from 0."""
        for starts in self._starts:
            if row < len(starts):
                return int(starts[row])
            row -= len(starts)
        assert self._pending is not None  # noqa: S101
        return int(self._pending[row])


def _typed(path: Path, table: sa.Table, texts: pa.RecordBatch, lines: _Lines) -> pa.RecordBatch:
    lines.look_at(texts)
    arrays = []
    for column in table.columns:
        values = texts[column.name]
        if not column.nullable and values.null_count:
            row = pc.index(values.is_null(), True).as_py()
            raise _mistake(path, lines.of(lines.rows + row), column, "\\N", "a value")
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


def _mistake(path: Path, line: int, column: sa.Column, found: str, expected: str) -> ShopInputError:
    shown = "a value that is not shown because it is personal" if column.info else repr(found[:80])
    return ShopInputError(f"{path}: line {line}: {column.name}: found {shown}, expected {expected}")


def _without_values(message: str) -> str:
    """Arrow quotes the offending row at the end of its message; rows can be personal."""
    return message.split(": ")[0] if "CSV parse error" in message else message.partition("\n")[0][:120]
