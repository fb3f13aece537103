"""What the columns of an answer mean, and how their values are written for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from classic_cars.contracts.measures import SHARE, Measure
from classic_cars.serving.metrics.expression import BEFORE, CHANGE, GROWTH, OF_TOTAL
from classic_cars.serving.metrics.question import Question
from classic_cars.wording import rounded

#: Unit of what lies between two shares: of 39.9 % and 39.2 %, -0.7 points, which are no share of anything.
POINTS = "points"


@dataclass(frozen=True)
class AnswerColumn:
    """``format``: as Python's ``format`` has it; empty for what is no number, or is written as it is."""

    name: str
    description: str
    unit: str = ""
    format: str = ""

    def written(self, value: Any) -> str:
        """A value that is not missing, for people."""
        if self.unit == POINTS:
            return f"{rounded(100 * value, '+.1f')} pts"
        return rounded(value, self.format) if self.format else str(value)


def columns_of(question: Question) -> list[AnswerColumn]:
    """One for each column of the answer, in order."""
    said = {name: each.description for each in question.by for name in each.names}
    said |= {each.name: each.description for each in question.by}
    keys = [AnswerColumn(name, said[name]) for name in question.keys]
    return keys + [column for each in question.measures for column in _of(each, question)]


def _of(measure: Measure, question: Question) -> Iterator[AnswerColumn]:
    unit, said = measure.unit, measure.description
    yield AnswerColumn(measure.name, said, unit.name, unit.format)
    if question.share:
        part = f"{measure.name} as a share of the total of all rows; missing where that is not above 0"
        yield AnswerColumn(measure.name + OF_TOTAL, part, SHARE.name, SHARE.format)
    if not question.compare:
        return
    when = "the year before" if question.compare == "year" else "the period before"
    yield AnswerColumn(measure.name + BEFORE, f"{said}; {when}", unit.name, unit.format)
    apart = POINTS if unit == SHARE else unit.name
    yield AnswerColumn(measure.name + CHANGE, f"{measure.name} less that of {when}", apart, f"+{unit.format}")
    if unit != SHARE:
        grown = f"Change of {measure.name} as a share of that of {when}; missing where that is 0"
        yield AnswerColumn(measure.name + GROWTH, grown, SHARE.name, f"+{SHARE.format}")
