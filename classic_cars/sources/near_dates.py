"""Ranges on the bare ``orderDate`` that an index can answer, where the column is no real date.

Which rows belong to a month is decided by the text of their date (``home_months``), and no index helps with that. So
the database is given a second condition, which every row with such a text fulfils and few others do: where the column
sorts its days. Each way of sorting has its own; a column of which nothing is known has none, and is scanned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from classic_cars.months import next_month, partition_key

#: From a column and spans of months (first and last) to the condition that a value may be a day of them.
Near = Callable[[Any, Sequence[tuple[date, date]]], sa.ColumnElement[bool]]

ONE_DAY = timedelta(days=1)

#: Character sets of MariaDB and MySQL whose collations all sort digits as numbers; some of latin7 do not.
PLAIN_CHARACTERS = frozenset({"utf8mb4", "utf8mb3", "utf8", "latin1", "ascii"})


def anything(column: Any, spans: Sequence[tuple[date, date]]) -> sa.ColumnElement[bool]:
    """SQLite sorts numbers before all texts, and blobs, which may be texts in any encoding, after them."""
    value = sa.collate(sa.type_coerce(column, sa.Text()), "BINARY")
    return sa.or_(_texts(value, spans), value >= sa.literal_column("x''"))


def texts(column: Any, spans: Sequence[tuple[date, date]]) -> sa.ColumnElement[bool]:
    """By the column's own collation, as its index is; for collations that sort digits as numbers."""
    return _texts(sa.type_coerce(column, sa.Text()), spans)


def texts_in_c(column: Any, spans: Sequence[tuple[date, date]]) -> sa.ColumnElement[bool]:
    """PostgreSQL's collations may have rules of their own; byte by byte there are none."""
    return _texts(sa.collate(sa.type_coerce(column, sa.Text()), "C"), spans)


def moments(column: Any, spans: Sequence[tuple[date, date]]) -> sa.ColumnElement[bool]:
    """A day more on either side: clocks that are set back at midnight sort moments otherwise than their texts."""
    value = sa.type_coerce(column, sa.Date())
    ranges = [sa.and_(value >= first - ONE_DAY, value < next_month(last) + ONE_DAY) for first, last in spans]
    return sa.or_(sa.false(), *ranges)


def _texts(value: Any, spans: Sequence[tuple[date, date]]) -> sa.ColumnElement[bool]:
    ranges = [sa.and_(value >= partition_key(first), value < partition_key(next_month(last))) for first, last in spans]
    return sa.or_(sa.false(), *ranges)
