"""Months: the unit in which orders and their lines are kept, read, written and published. At the bottom of it all.

A month is given by its first day, or by its key ``YYYY-MM``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

import ibis
import ibis.expr.types as ir

KEY = "%Y-%m"

#: Orders and order lines are partitioned by the month of ``orderDate``. This month is no real one: it is the home of
#: the rows without a usable order date (no order, no date or none of the calendar, one before ``FIRST_MONTH`` or too
#: far ahead), so that each row of the order system has exactly one home.
UNDATED = date(1900, 1, 1)
#: The first month that orders can be of. Placeholders such as 1900-01-01 are before it.
FIRST_MONTH = date(1900, 2, 1)

#: Days that can be meant: outside of them a date is a typing error or a placeholder such as 1900-01-01 or 9999-12-31.
FIRST_DAY, LAST_DAY = FIRST_MONTH, date(2099, 12, 31)

#: Orders may be dated ahead: so many months after the current one are homes too.
MONTHS_AHEAD = 12


def last_month(today: date) -> date:
    """The first day of the last month that can be a home."""
    index = today.year * 12 + today.month - 1 + MONTHS_AHEAD
    return date(index // 12, index % 12 + 1, 1)


_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def first_of_month(day: date) -> date:
    return day.replace(day=1)


def next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def previous_month(month: date) -> date:
    return date(month.year - (month.month == 1), (month.month - 2) % 12 + 1, 1)


def partition_key(month: date) -> str:
    return month.strftime(KEY)


def day_of(text: str) -> date:
    """Of ``YYYY-MM-DD``, and nothing else that ISO 8601 has: ``2004-W20`` is a week there. Raises ``ValueError``."""
    if _DAY.fullmatch(text) is None:
        raise ValueError(f"found {text!r}, expected a day such as 2004-05-17")
    return date.fromisoformat(text)


def month_of(key: str) -> date:
    return date.fromisoformat(f"{key}-01")


@dataclass(frozen=True)
class Months:
    """The months from ``first`` to ``last``, both included and both given by their first day."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> Months:
        """``2004-01`` or ``2004-01..2004-03``. Raises ``ValueError`` that says what was expected."""
        start, dots, end = text.partition("..")
        try:
            months = cls(month_of(start.strip()), month_of((end if dots else start).strip()))
        except ValueError:
            raise ValueError(f"found {text!r}, expected a month such as 2004-01 or a range 2004-01..2004-03") from None
        if months.first > months.last:
            raise ValueError(f"found {text!r}: the range ends before it starts")
        return months

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}" if self.first == self.last else f"{self.first:%Y-%m}..{self.last:%Y-%m}"

    def __iter__(self) -> Iterator[date]:
        month = self.first
        while month <= self.last:
            yield month
            month = next_month(month)

    @property
    def end(self) -> date:
        """The first day after the last month."""
        return next_month(self.last)

    def hold(self, day: ir.DateValue) -> ir.BooleanValue:
        """Condition: ``day`` lies in one of these months."""
        return (day >= ibis.date(self.first)) & (day < ibis.date(self.end))


def span(months: Iterable[date]) -> Months | None:
    """The range from the first to the last of ``months``; None when there are none."""
    found = sorted(months)
    return Months(found[0], found[-1]) if found else None


def spans(months: Iterable[date]) -> list[Months]:
    """The same months, sorted; those that follow each other together."""
    found: list[Months] = []
    for month in sorted(months):
        if found and found[-1].end == month:
            found[-1] = Months(found[-1].first, month)
        else:
            found.append(Months(month, month))
    return found
