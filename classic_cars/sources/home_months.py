"""Home months in the order system's own SQL: the twin of :func:`classic_cars.sources.conform.home_month`.

A row belongs to the month of ``orderDate`` if that is a readable date from ``UNDATED`` to ``last_month(today)``,
and to ``UNDATED`` otherwise. The date is compared as text, digit by digit: the only way that means the same in
every database, whatever a column without a real date type holds.
"""

from __future__ import annotations

import calendar
from collections.abc import Collection
from datetime import date
from typing import Any

import sqlalchemy as sa

from classic_cars.contracts.order_system import UNDATED, last_month

#: What may follow the day: no time, or midnight.
MIDNIGHTS = ("", " 00:00:00", " 00:00:00.0", " 00:00:00.000", " 00:00:00.000000")


def as_text(column: Any) -> sa.ColumnElement[str]:
    """``column`` as the text that its database shows."""
    return sa.cast(column, sa.Text().with_variant(sa.String(), "mysql", "mariadb"))


def months_until(today: date) -> list[date]:
    """Every month that can be a home."""
    last = last_month(today)
    count = (last.year - UNDATED.year) * 12 + last.month - UNDATED.month + 1
    return [date(UNDATED.year + index // 12, index % 12 + 1, 1) for index in range(count)]


def at_home(order_date: Any, months: Collection[date], today: date) -> sa.ColumnElement[bool]:
    """Condition: a row with this order date has its home in one of ``months``."""
    wanted = {month.replace(day=1) for month in months}
    possible = months_until(today)
    if UNDATED not in wanted:
        return dated_in(order_date, [month for month in possible if month in wanted])
    elsewhere = dated_in(order_date, [month for month in possible if month not in wanted])
    return sa.not_(sa.func.coalesce(elsewhere, sa.false()))


def dated_in(order_date: Any, months: Collection[date]) -> sa.ColumnElement[bool]:
    """Condition: the order date is a readable date in one of ``months``."""
    text = as_text(order_date)
    # MariaDB finds equal what differs by spaces at the end; with a character behind them nothing does.
    rest = sa.func.substr(text, 11).concat("|")
    by_length: dict[int, list[str]] = {}
    for month in months:
        by_length.setdefault(calendar.monthrange(month.year, month.month)[1], []).append(f"{month:%Y-%m}")
    return sa.or_(
        sa.false(),
        *(
            sa.and_(
                sa.func.substr(text, 1, 7).in_(names),
                sa.func.substr(text, 8, 1) == "-",
                sa.func.substr(text, 9, 2).in_([f"{day:02d}" for day in range(1, days + 1)]),
                rest.in_([f"{midnight}|" for midnight in MIDNIGHTS]),
            )
            for days, names in by_length.items()
        ),
    )


def home_of(order_date: Any, today: date) -> sa.ColumnElement[str]:
    """The home month as ``YYYY-MM``."""
    dated = dated_in(order_date, months_until(today))
    return sa.case((dated, sa.func.substr(as_text(order_date), 1, 7)), else_=f"{UNDATED:%Y-%m}")


def home_of_text(order_date: str | None, today: date) -> date:
    """The same for one date as its database shows it, in Python."""
    day, rest = (order_date or "")[:10], (order_date or "")[10:]
    try:
        month = date.fromisoformat(day).replace(day=1) if rest in MIDNIGHTS and len(day) == 10 else UNDATED
    except ValueError:
        return UNDATED
    return month if UNDATED <= month <= last_month(today) else UNDATED
