"""Home months in the order system's own SQL: the twin of :func:`classic_cars.sources.conform.home_month`.

A row belongs to the month of ``orderDate`` if that is a day from ``FIRST_MONTH`` to ``last_month(today)``, and to
``UNDATED`` otherwise. Where the column is no real date, its text is compared: the only way that means the same in
every database, whatever the column holds. Beside it stands a range on the bare column, for its index (``near_dates``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from classic_cars.months import (
    FIRST_MONTH,
    UNDATED,
    day_of,
    first_of_month,
    last_month,
    next_month,
    partition_key,
    previous_month,
)
from classic_cars.sources.near_dates import Near
from classic_cars.sources.texts import MIDNIGHTS, as_text, is_day

#: The first and the last of some months in a row.
Span = tuple[date, date]


@dataclass(frozen=True)
class OrderDate:
    """The column that decides a row's home, and whether its database promises that it holds dates.

    ``near``: where a column that holds no real dates may have the days of some months, as its index sorts them.
    """

    column: Any
    is_date: bool = False
    near: Near | None = None

    @property
    def text(self) -> sa.ColumnElement[str]:
        return as_text(self.column)


def spans(months: Collection[date]) -> list[Span]:
    """These months as spans, in order."""
    found: list[Span] = []
    for month in sorted({first_of_month(each) for each in months}):
        if found and next_month(found[-1][1]) == month:
            found[-1] = (found[-1][0], month)
        else:
            found.append((month, month))
    return found


def others(months: Collection[date], today: date) -> list[Span]:
    """The spans of possible homes, but for ``UNDATED``, that are not among these months."""
    found, start = [], FIRST_MONTH
    for first, last in spans(months):
        if first > start:
            found.append((start, min(previous_month(first), last_month(today))))
        start = max(start, next_month(last))
    found.append((start, last_month(today)))
    return [(first, last) for first, last in found if first <= last]


def at_home(day: OrderDate, months: Collection[date], today: date) -> sa.ColumnElement[bool]:
    """Condition: a row with this order date has its home in one of ``months``."""
    if _with_undated(months):
        return sa.not_(sa.func.coalesce(_is_dated_in(day, others(months, today)), sa.false()))
    return dated_in(day, _possible(months, today))


def away(day: OrderDate, months: Collection[date], today: date) -> sa.ColumnElement[bool]:
    """Condition: a row with this order date has its home in none of ``months``."""
    if _with_undated(months):
        return dated_in(day, others(months, today))
    return sa.not_(sa.func.coalesce(_is_dated_in(day, _possible(months, today)), sa.false()))


def _with_undated(months: Collection[date]) -> bool:
    return UNDATED in {first_of_month(month) for month in months}


def _possible(months: Collection[date], today: date) -> list[Span]:
    clipped = [(max(first, FIRST_MONTH), min(last, last_month(today))) for first, last in spans(months)]
    return [(first, last) for first, last in clipped if first <= last]


def dated_in(day: OrderDate, within: Collection[Span]) -> sa.ColumnElement[bool]:
    """Condition: the order date is a day of one of these spans of months; an index on the column finds them."""
    exact = _is_dated_in(day, within)
    if day.is_date or day.near is None or not within:
        return exact
    return sa.and_(day.near(day.column, list(within)), exact)


def _is_dated_in(day: OrderDate, within: Collection[Span]) -> sa.ColumnElement[bool]:
    if day.is_date:  # on the bare column, so that its index helps
        inside = [sa.and_(day.column >= first, day.column < next_month(last)) for first, last in within]
    else:
        month = sa.func.substr(day.text, 1, 7)
        inside = [month.between(partition_key(first), partition_key(last)) for first, last in within]
    return sa.and_(sa.or_(sa.false(), *inside), is_day(day.text))


def home_of(day: OrderDate, today: date) -> sa.ColumnElement[str]:
    """The home month as ``YYYY-MM``."""
    dated = _is_dated_in(day, [(FIRST_MONTH, last_month(today))])
    return sa.case((dated, sa.func.substr(day.text, 1, 7)), else_=partition_key(UNDATED))


def home_of_text(order_date: str | None, today: date) -> date:
    """The same for one date as its database shows it, in Python."""
    day, rest = (order_date or "")[:10], (order_date or "")[10:]
    try:
        month = day_of(day).replace(day=1) if rest in MIDNIGHTS else UNDATED
    except ValueError:
        return UNDATED
    return month if FIRST_MONTH <= month <= last_month(today) else UNDATED


def day_text(day: str | bytes | None) -> str | None:
    """A day that came as bytes, from where texts are equal that differ."""
    return day.decode("utf-8", "replace") if isinstance(day, bytes) else day
