"""Rows of the order system as Arrow: the schema of a table, and columns built from integers.

Money is integer cents until the moment it is written; days are integers since 1970-01-01.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from classic_cars_shop.randomness import Ints

EPOCH = date(1970, 1, 1).toordinal()


def arrow_type(kind: sa.types.TypeEngine) -> pa.DataType:
    """The Arrow type that holds a column of the order system."""
    match kind:
        case sa.SmallInteger():
            return pa.int16()
        case sa.Integer():
            return pa.int32()
        case sa.Numeric():
            return pa.decimal128(kind.precision or 10, kind.scale or 2)
        case sa.Date():
            return pa.date32()
        case sa.LargeBinary():
            return pa.binary()
        case sa.String():
            return pa.string()
    raise TypeError(f"the order system has no columns of type {kind!r}")


def arrow_schema(table: sa.Table) -> pa.Schema:
    """Columns of ``table`` in their declared order."""
    return pa.schema([pa.field(c.name, arrow_type(c.type), nullable=bool(c.nullable)) for c in table.columns])


def batch(table: sa.Table, columns: Mapping[str, Any]) -> pa.RecordBatch:
    """A batch of ``table``; plain lists and numpy arrays become the declared types."""
    schema = arrow_schema(table)
    arrays = [_array(columns[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values.cast(kind)
    if pa.types.is_decimal(kind):
        return money(values)
    if pa.types.is_date32(kind):
        return days(values)
    return pa.array(values, kind)


def money(cents: Ints | list[int]) -> pa.Array:
    """Decimals with two digits, from integer cents."""
    halves = np.empty((len(cents), 2), np.int64)
    halves[:, 0] = cents
    halves[:, 1] = halves[:, 0] >> 63
    return pa.Array.from_buffers(pa.decimal128(10, 2), len(halves), [None, pa.py_buffer(halves)])


def cents(amounts: pa.Array) -> Ints:
    """Integer cents of decimals with two digits; 0 where there is none."""
    halves = np.frombuffer(amounts.buffers()[1], np.int64).reshape(-1, 2)
    found = halves[amounts.offset : amounts.offset + len(amounts), 0]
    return np.where(np.asarray(amounts.is_valid()), found, 0) if amounts.null_count else found


def days(numbers: Ints, missing: Any = None) -> pa.Array:
    """Dates from days since 1970; ``missing`` is a mask of those that are NULL."""
    return pa.array(np.asarray(numbers).astype(np.int32), mask=missing).cast(pa.date32())


def day_number(day: date) -> int:
    """Days from 1970-01-01 to ``day``."""
    return day.toordinal() - EPOCH


def day_of(number: int) -> date:
    """The day that is ``number`` days after 1970-01-01."""
    return date.fromordinal(int(number) + EPOCH)
