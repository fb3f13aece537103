"""The canonical text of a value in the SQL of MariaDB, MySQL and PostgreSQL, whatever its column is now.

Written apart from ``conform``, which it proves: no cast is trusted before the text was seen to be well written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from classic_cars.sources.columns import kind_of
from classic_cars.sources.control_totals import (
    BETWEEN,
    BIGGEST,
    MD5_DIGITS,
    MISSING,
    RAW,
    SMALLEST,
    number_text,
)
from classic_cars.sources.texts import as_text, is_day, matches, shown

#: Two hexadecimal digits for each byte that DuckDB writes as a letter: printable, and no quote nor backslash.
LETTERS = "^(2[013-689A-F]|[346][0-9A-F]|5[0-9ABDEF]|7[0-9A-E])*$"

Type = sa.types.TypeEngine


def row_text(columns: Iterable[tuple[sa.Column, Type]], dialect: str) -> sa.ColumnElement[str]:
    """One text of these columns, given with the type that each has now."""
    return sa.func.concat_ws(BETWEEN, *(canonical(column, actual, dialect) for column, actual in columns))


def canonical(column: sa.Column, actual: Type, dialect: str) -> sa.ColumnElement[str]:
    """The column's canonical text; never NULL."""
    if isinstance(column.type, sa.Integer | sa.Numeric):
        fitting: Any = as_text(number(column, actual, dialect))
    elif isinstance(column.type, sa.Date):
        text = as_text(column)
        fitting = sa.case((is_day(text), sa.func.left(text, 10)))
    elif kind_of(actual) is bytes:
        digits = sa.func.upper(sa.func.encode(column, "hex")) if dialect == "postgresql" else sa.func.hex(column)
        letters = sa.func.convert_from(column, "UTF8") if dialect == "postgresql" else _utf8(column)
        return sa.func.coalesce(
            sa.case((matches(digits, LETTERS, dialect), letters)), sa.literal(RAW).concat(digits), MISSING
        )
    else:
        return sa.func.coalesce(_raw(column, actual, dialect), MISSING)
    return sa.func.coalesce(fitting, sa.literal(RAW).concat(_raw(column, actual, dialect)), MISSING)


def number(column: sa.Column, actual: Type, dialect: str) -> sa.ColumnElement:
    """The exact number of the declared type, NULL where the value is none."""
    exact = _exact(column.type)
    if _is_such(column.type, actual):
        fitting: Any = sa.cast(column, exact) if getattr(actual, "zerofill", False) else column
        if isinstance(column.type, sa.Numeric):
            # NaN, which only PostgreSQL has, is the one that is no number.
            found = (
                sa.case((column != sa.cast(sa.literal("NaN", sa.Text()), sa.Numeric), column))
                if dialect == "postgresql"
                else fitting
            )
            return sa.cast(found, exact)
    else:
        text = shown(column, actual)
        fitting = sa.case((matches(text, number_text(column.type), dialect), sa.cast(text, exact)))
        if isinstance(column.type, sa.Numeric):
            return fitting
    # Parameters would get the column's type, which may be too small for them.
    return sa.case((fitting.between(sa.literal_column(str(SMALLEST)), sa.literal_column(str(BIGGEST))), fitting))


def _exact(declared: Type) -> sa.Numeric:
    """Wide enough for whatever :func:`number_text` lets pass."""
    if isinstance(declared, sa.Numeric):
        return sa.Numeric(declared.precision, declared.scale)
    return sa.Numeric(20, 0)


def _is_such(declared: Type, actual: Type) -> bool:
    """Whether every number that the column can hold now is one of the declared type, but for its size and NaN."""
    if not isinstance(declared, sa.Numeric):
        return kind_of(actual) is int
    if not isinstance(actual, sa.Numeric) or isinstance(actual, sa.Float):
        return False
    known = None not in (actual.precision, actual.scale)
    digits = (declared.precision or 0) - (declared.scale or 0)
    return (
        known
        and (actual.scale or 0) <= (declared.scale or 0)
        and (actual.precision or 0) - (actual.scale or 0) <= digits
    )


def _raw(column: sa.Column, actual: Type, dialect: str) -> Any:
    """The text that the reader receives."""
    if dialect != "postgresql" and isinstance(actual, sa.String) and not isinstance(actual, sa.Enum):
        return _utf8(column)
    return shown(column, actual)


def _utf8(text: Any) -> Any:
    return sa.func.convert(text.op("USING")(sa.literal_column("utf8mb4")))


def row_hash(text: sa.ColumnElement[str], dialect: str) -> sa.ColumnElement[int]:
    """The number that the first digits of the text's MD5 are: the same in every engine."""
    digits = sa.func.left(sa.func.md5(text), MD5_DIGITS)
    if dialect == "postgresql":
        return sa.cast(sa.cast(sa.literal("x").concat(digits), postgresql.BIT(4 * MD5_DIGITS)), sa.BigInteger)
    return sa.cast(sa.func.conv(digits, 16, 10), mysql.BIGINT(unsigned=True))
