"""Which run published which months of a table: what a store knows of itself, and a history of runs is held to.

A store that was restored from a backup, rolled back, or published to by a process that died before it could say so
does not hold what the history says; which months that is true of, only the store can tell.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from classic_cars.months import Months, month_of


@dataclass(frozen=True)
class Publications:
    """Of one table, the latest first: the months that a run published, None for all of the table, and the run."""

    spans: tuple[tuple[Months | None, str], ...] = ()

    def run_of(self, part: str) -> str:
        """The run whose rows a month (``YYYY-MM``) holds, or with ``""`` all of a table without; empty: not known."""
        month = month_of(part) if part else None
        for months, run in self.spans:
            if months is None or month is None or months.first <= month <= months.last:
                return run
        return ""

    def after(self, months: Months | None, run_id: str) -> Self:
        """The same after another publication; what it replaced is forgotten."""
        rest = [each for each in self.spans if not _is_within(each[0], months)] if months is not None else []
        return type(self)(((months, run_id), *rest))

    def text(self) -> str:
        """JSON, to be kept in a store; :meth:`parse` reads it."""
        return json.dumps([[None if months is None else str(months), run] for months, run in self.spans])

    @classmethod
    def parse(cls, text: str) -> Self:
        spans = json.loads(text) if text else []
        return cls(tuple((None if months is None else Months.parse(months), run) for months, run in spans))


def _is_within(inner: Months | None, outer: Months) -> bool:
    return inner is not None and outer.first <= inner.first and inner.last <= outer.last
