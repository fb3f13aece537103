"""What a column of the order system is now, compared with what it was declared to be, and how to treat it so."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from classic_cars.sources.home_months import as_text
from classic_cars.sources.urls import SourceURL

#: DuckDB's widest decimal; wider ones arrive as doubles.
WIDEST_DECIMAL = 38
#: Beyond any price: not a number, infinity, or a value that its column cannot hold.
ABSURD = 10**9
NUMBER_TEXT = r"^-?[0-9]{1,9}(\.[0-9]+)?$"


def kind_of(type_: sa.types.TypeEngine) -> type | None:
    """The Python type of a column's values, None when there is none."""
    if isinstance(type_, sa.Float):
        return float
    try:
        return type_.python_type
    except NotImplementedError:
        return None


def is_native(declared: sa.types.TypeEngine, actual: sa.types.TypeEngine) -> bool:
    """Whether a server's column arrives unbent as it is; otherwise it is to be sent as text."""
    kind = kind_of(actual)
    if kind is bytes:
        return True
    if kind_of(declared) is bytes:
        return kind is str
    if kind is str:
        return isinstance(actual, sa.String) and not isinstance(actual, sa.Enum)
    # PostgreSQL's numerics may be NaN, and dates anywhere may be no days.
    return kind is int and kind_of(declared) is int


def retyped(declared: sa.types.TypeEngine, actual: sa.types.TypeEngine, url: SourceURL) -> bool:
    """Whether a column now takes values that it was not declared for."""
    if kind_of(declared) is not kind_of(actual):
        return True
    if kind_of(declared) in (date, datetime) or url.is_sqlite:
        return False
    if isinstance(declared, sa.Numeric) and isinstance(actual, sa.Numeric):
        return (actual.precision, actual.scale) != (declared.precision, declared.scale)
    return isinstance(actual, sa.BigInteger)


def exact_number(column: Any, actual: sa.types.TypeEngine, url: SourceURL) -> sa.ColumnElement:
    """The column in exact arithmetic of its database, NULL where it holds no usable number."""
    if url.is_sqlite:
        # Any column may hold texts there; adding zero reads the number that a text begins with.
        number = column + sa.literal_column("0")
        return sa.case((number.between(-ABSURD, ABSURD), number))
    if kind_of(actual) is int:
        return column
    exact = sa.cast(column, sa.Numeric(38, 10))
    if url.scheme != "postgresql":
        return column if _is_decimal(actual) else sa.case((as_text(column).regexp_match(NUMBER_TEXT), exact))
    if _is_decimal(actual):
        return sa.case((column.between(-ABSURD, ABSURD), column))
    return sa.case((as_text(column).regexp_match(NUMBER_TEXT), exact))


def _is_decimal(type_: sa.types.TypeEngine) -> bool:
    return isinstance(type_, sa.Numeric) and not isinstance(type_, sa.Float)
