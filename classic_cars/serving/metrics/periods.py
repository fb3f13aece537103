"""Periods: the days that a question is about, and those that it is compared with."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import ibis
import ibis.expr.types as ir

from classic_cars.contracts.cuts import DIMENSIONS
from classic_cars.errors import QuestionError

EXPECTED = (
    "a year 2004, a quarter 2004-Q2, a month 2004-05, a day 2004-05-17, or a range of these such as 2003-06..2004-05"
)


@dataclass(frozen=True)
class Period:
    """The days from ``first`` to ``last``, both included."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> Period:
        """A year, quarter, month or day, or a range of two. Raises ``QuestionError`` that says what was expected."""
        start, dots, end = (each.strip() for each in text.partition(".."))
        try:
            found = cls(_unit(start)[0], _unit(end if dots else start)[1])
        except (ValueError, OverflowError):
            raise QuestionError(f"period {text!r}: expected {EXPECTED}") from None
        if found.first > found.last:
            raise QuestionError(f"period {text!r}: the range ends before it starts")
        return found

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last}"

    @property
    def months(self) -> int:
        """How many whole months it is; 0 when it is not of whole months."""
        whole = self.first.day == 1 and self.last.day == monthrange(self.last.year, self.last.month)[1]
        return (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1 if whole else 0

    def hold(self, day: ir.DateValue) -> ir.BooleanValue:
        """Condition: ``day`` lies in the period."""
        return day.between(ibis.date(self.first), ibis.date(self.last))


@dataclass(frozen=True)
class Span:
    """The days that one side of an answer is made of, and how they are moved beside the days of the other.

    ``period``: None for all days. ``months`` and ``days``: how much later its rows are shown; days that the month does
    not have become its last, or the first of ``shown``.
    """

    period: Period | None
    shown: Period | None = None
    months: int = 0
    days: int = 0

    def moved(self, day: ir.DateValue) -> ir.DateValue:
        if self.shown is None:
            return day
        first, last = ibis.date(self.shown.first), ibis.date(self.shown.last)
        return ibis.greatest(first, ibis.least(self.moved_freely(day), last))

    def moved_freely(self, day: ir.DateValue) -> ir.DateValue:
        """As :meth:`moved`, of days that may lie before the span."""
        if self.shown is None:
            return day
        interval = ibis.interval(months=self.months) if self.months else ibis.interval(days=self.days)
        return (day + interval).cast("date")


def _the_year_before(period: Period) -> Span:
    return _earlier(period, 12)


def _the_period_before(period: Period) -> Span:
    if period.months:
        return _earlier(period, period.months)
    days = (period.last - period.first).days + 1
    back = timedelta(days=days)
    return Span(Period(period.first - back, period.last - back), period, days=days)


def _earlier(period: Period, months: int) -> Span:
    last = _back(period.last, months)
    if period.months:
        last = last.replace(day=monthrange(last.year, last.month)[1])
    return Span(Period(_back(period.first, months), last), period, months=months)


def _back(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


#: What a period can be compared with.
COMPARISONS: dict[str, Callable[[Period], Span]] = {"year": _the_year_before, "before": _the_period_before}


def compared(period: Period, comparison: str) -> Span:
    """The days to compare with. Raises ``QuestionError`` when there were no such days."""
    try:
        return COMPARISONS[comparison](period)
    except (ValueError, OverflowError):
        raise QuestionError(f"period {period}: nothing lies before it to compare with") from None


def _unit(text: str) -> tuple[date, date]:
    """First and last day of what a text names. Raises ``ValueError``."""
    for name, months in (("year", 12), ("quarter", 3), ("month", 1)):
        try:
            first = DIMENSIONS[name].parse(text)
        except ValueError:
            continue
        month = first.month + months - 1
        return first, date(first.year, month, monthrange(first.year, month)[1])
    day = DIMENSIONS["date"].parse(text)
    return day, day
