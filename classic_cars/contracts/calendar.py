"""The calendar as Python's own ``datetime`` knows it: what ``dim_dates`` is proven against, and never made from."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import ibis
import pyarrow as pa


def days_of(dim_dates: ibis.Table) -> pa.Table:
    """Every day from the first to the last of ``dim_dates``, with all its columns; one row per day."""
    (span,) = dim_dates.aggregate(first=dim_dates.date.min(), last=dim_dates.date.max()).to_pyarrow().to_pylist()
    schema = dim_dates.schema().to_pyarrow()
    return pa.Table.from_pylist(list(_days(span["first"], span["last"])), schema=schema)


def _days(first: date | None, last: date | None) -> Iterator[dict[str, Any]]:
    day = first
    while day is not None and last is not None and day <= last:
        yield described(day)
        day += timedelta(days=1)


def described(day: date) -> dict[str, Any]:
    """The columns of one day."""
    iso = day.isocalendar()
    quarter = (day.month + 2) // 3
    return {
        "date": day,
        "year": day.year,
        "quarter": quarter,
        "quarterName": f"{day.year}-Q{quarter}",
        "month": day.month,
        "monthName": calendar.month_name[day.month],
        "yearMonth": f"{day:%Y-%m}",
        "isoYear": iso.year,
        "isoWeek": iso.week,
        "isoWeekName": f"{iso.year}-W{iso.week:02d}",
        "dayOfMonth": day.day,
        "dayOfWeek": day.isoweekday(),
        "dayName": calendar.day_name[day.weekday()],
        "isWeekend": day.isoweekday() in (6, 7),
    }
