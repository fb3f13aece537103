"""What is chosen on the page, and the questions that become of it. Nothing here knows the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from classic_cars.contracts.cuts import dimensions_of
from classic_cars.contracts.measures import MEASURES
from classic_cars.serving.metrics import Question, ask
from classic_cars.serving.metrics.periods import Period

ALL, CUSTOM, LATEST = "all time", "from … to …", "last 12 months"
#: What the pages are about unless a panel says otherwise: all can be cut by every dimension that can be filtered by.
CHOOSABLE = (
    "netSales",
    "bookedAmount",
    "grossProfit",
    "margin",
    "orders",
    "units",
    "averageOrderValue",
    "discount",
    "onTimeShipmentShare",
)
COMPARISONS = {"before": "period before", "year": "year before"}


@dataclass(frozen=True)
class Asked:
    """A question in words, as it is remembered: see :func:`classic_cars.serving.metrics.ask`.

    ``parts``: what is asked in its place where its measures cannot have the same filters, each with those that it has;
    the answers are put side by side. ``where`` is then what all have.
    """

    measures: tuple[str, ...]
    by: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    period: str | None = None
    compare: str | None = None
    top: int | None = None
    parts: tuple[Asked, ...] = ()

    @property
    def question(self) -> Question:
        """Raises ``QuestionError``."""
        return ask(self.measures, self.by, self.where, self.period, self.compare, self.top)


@dataclass(frozen=True)
class Filters:
    """``chosen``: values by dimension; none of a dimension means all. ``period``: None for all days. ``last``: the last
    day there is, if it is known."""

    measure: str = CHOOSABLE[0]
    period: str | None = None
    compare: str = "before"
    chosen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    last: date | None = None

    def asked(
        self,
        measures: Sequence[str],
        by: Sequence[str] = (),
        *,
        where: Iterable[str] = (),
        compare: bool = False,
        always: bool = False,
    ) -> Asked:
        """The question about what is chosen; ``always``: of all days. A filter that a measure cannot have is left out
        for it alone: see :meth:`left_out`."""
        period, comparison = None if always else self.period, None
        if compare and period is not None:
            period, comparison = _alike(period, self.compare, self.last)
        groups, added = self.left_out(measures), tuple(where)
        parts = tuple(
            Asked(names, tuple(by), (*self._conditions(out), *added), period, comparison)
            for out, names in groups.items()
        )
        if len(parts) == 1:
            return parts[0]
        common = (*self._conditions({name for out in groups for name in out}), *added)
        return Asked(tuple(dict.fromkeys(measures)), tuple(by), common, period, comparison, parts=parts)

    def _conditions(self, out: Collection[str]) -> list[str]:
        return [condition(name, values) for name, values in self.chosen.items() if values and name not in out]

    def left_out(self, measures: Sequence[str]) -> dict[tuple[str, ...], tuple[str, ...]]:
        """Measures that are alike, by the dimensions that are filtered by and that they have not."""
        found: dict[tuple[str, ...], tuple[str, ...]] = {}
        for measure in dict.fromkeys(measures):
            has = {each.name for each in dimensions_of(MEASURES[measure])}
            out = tuple(name for name, values in self.chosen.items() if values and name not in has)
            found[out] = (*found.get(out, ()), measure)
        return found


def _alike(period: str, comparison: str, last: date | None) -> tuple[str, str]:
    """The period and what it is compared with: of one that is not over, the days that there are are compared.

    A year with the same days of the year before, whose season is the same; a quarter with the period before these days:
    as many months where they are whole months, and otherwise as many days.
    """
    whole = Period.parse(period)
    if last is None or not whole.first <= last < whole.last:
        return period, comparison
    return f"{whole.first}..{last}", "year" if whole.months == 12 else comparison


def condition(name: str, values: Sequence[str]) -> str:
    """Such as ``country in USA,"Korea, Republic of"``."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return f"{name} in {text.getvalue()}"


def periods(first: date, last: date) -> list[str]:
    """What can be chosen at once, for orders from ``first`` to ``last``: newest first."""
    years = [str(year) for year in range(last.year, first.year - 1, -1)]
    quarters = [
        f"{year}-Q{quarter}"
        for year in range(last.year, first.year - 1, -1)
        for quarter in (4, 3, 2, 1)
        if _quarter(first) <= (year, quarter) <= _quarter(last)
    ]
    return [LATEST, ALL, *years, *quarters, CUSTOM]


def _quarter(day: date) -> tuple[int, int]:
    return day.year, (day.month + 2) // 3


def period_of(choice: str, last: date, days: Sequence[date] = ()) -> str | None:
    """The period as questions have it; None for all days. ``days``: first and last one, of ``CUSTOM``."""
    if choice == LATEST:
        return f"{_a_year_before(last + timedelta(days=1))}..{last}"
    if choice == CUSTOM:
        return f"{min(days)}..{max(days)}" if days else None  # an address may have them in any order
    return None if choice == ALL else choice


def _a_year_before(day: date) -> date:
    return day.replace(year=day.year - 1, day=min(day.day, 28) if day.month == 2 else day.day)
