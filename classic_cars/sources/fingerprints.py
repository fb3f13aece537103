"""What a table of the order system holds now, in one number per home month, worked out by the order system itself.

Each row's columns become one text, its hash one number, and the numbers a sum: no order of rows, no lock, one
aggregate query per table. Two polls with equal fingerprints saw equal rows. No column is taken at its name:
one called ``updatedAt`` may be filled by nobody, and no database moves it when a foreign key cascades.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date
from functools import reduce
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from classic_cars.sources.control_totals import BETWEEN, MD5_DIGITS, MISSING, WHOLE
from classic_cars.sources.home_months import day_text, home_of_text
from classic_cars.sources.texts import shown

#: Columns, each with the type that it has now.
Columns = Iterable[tuple[sa.Column, sa.types.TypeEngine]]


def row_text(columns: Columns, dialect: str) -> sa.ColumnElement[str]:
    """All columns of a row as one text, in which NULL and the empty text differ."""
    texts = [sa.func.coalesce(_text(column, actual, dialect), MISSING) for column, actual in columns]
    return reduce(lambda left, right: left.concat(BETWEEN).concat(right), texts)


def _text(column: Any, actual: sa.types.TypeEngine, dialect: str) -> Any:
    if not isinstance(column.type, sa.LargeBinary):
        return shown(column, actual)
    # A picture's digits may be more than a server sends or makes: it says NULL then, whatever the picture.
    return sa.func.hex(column) if dialect == "sqlite" else sa.func.md5(column)


def row_hash(text: sa.ColumnElement[str], dialect: str) -> sa.ColumnElement[int]:
    """A whole number of at least 60 bits, from the database's own functions. SQLite has none: DuckDB hashes for it."""
    if dialect == "postgresql":
        # It hashes what a collation finds equal to one number, and of two collations nothing.
        return sa.func.hashtextextended(sa.collate(text, "C"), 0)
    digits = sa.func.conv(sa.func.left(sa.func.md5(text), MD5_DIGITS), 16, 10)
    return sa.cast(digits, mysql.BIGINT(unsigned=True))


def by_month(groups: Iterable[tuple], *, partitioned: bool, today: date) -> dict[str, str]:
    """Fingerprints by home month (``YYYY-MM``) from (day as text, rows, sum of hashes); or of all rows, without day."""
    found: dict[str, tuple[int, int]] = {}
    for *day, rows, total in groups:
        month = f"{home_of_text(day_text(day[0]), today):%Y-%m}" if partitioned else WHOLE
        rows_before, total_before = found.get(month, (0, 0))
        found[month] = (rows_before + rows, total_before + int(total or 0))
    return {month: _digest(*each) for month, each in sorted(found.items()) if each[0]}


def _digest(rows: int, total: int) -> str:
    return hashlib.blake2b(f"{rows}:{total}".encode(), digest_size=6).hexdigest()
