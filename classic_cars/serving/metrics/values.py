"""What is to be said beside an answer: values that a filter names and nothing has, and periods that are not over.

The one is a slip of the pen that would be answered with nothing, and no word; of the other a comparison sees a loss.

Asked of the tables that the names are looked up in, and of time of the facts themselves, in one question. Bounds of
time are never looked at: ``date>=1999-01-01`` is no mistake.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import date
from typing import Any

import ibis

from classic_cars.contracts.cuts import DAY, Dimension
from classic_cars.contracts.measures import FACTS, Stock, parts_of
from classic_cars.serving.metrics.filters import Filter
from classic_cars.serving.metrics.periods import compared
from classic_cars.serving.metrics.question import Question
from classic_cars.serving.metrics.rows import Reader, contracts, day_of

#: Values that are looked at for each one that is asked for, the likest first, and how like they must be.
NEAREST, ALIKE = 3, 0.6

#: A second condition in what was meant to be a value.
_CONDITION = re.compile(r"\sand\s+[a-z]\w*\s*(!=|[<=>]|\sin\s)", re.IGNORECASE)


def values_near(question: Question, read: Reader) -> ibis.Table | None:
    """A few rows for each value that filters name: ``dimension``, ``asked``, and a ``value`` that is like it.

    The value itself comes first, if there is one. None when no filter names any.
    """
    asked: dict[Dimension, list[str]] = {}
    for each in question.where:
        asked.setdefault(each.dimension, []).extend(_texts(each))
    sides = [
        _times(question, dimension, texts, read) if dimension.key == DAY else _near(dimension, texts, read)
        for dimension, texts in ((each, list(dict.fromkeys(texts))) for each, texts in asked.items())
        if texts
    ]
    return ibis.union(*sides) if len(sides) > 1 else sides[0] if sides else None


def _texts(condition: Filter) -> list[str]:
    """The values that a filter names, as people write them; none of a bound."""
    if condition.is_bound:
        return []
    return [_text(condition.dimension, value) for value in condition.values if value is not None]


def _text(dimension: Dimension, value: Any) -> str:
    if dimension.key != DAY:
        return str(value)
    quarter = f"{value:%Y}-Q{(value.month + 2) // 3}"
    return {"year": f"{value:%Y}", "quarter": quarter, "month": f"{value:%Y-%m}"}.get(dimension.name, str(value))


def _times(question: Question, dimension: Dimension, texts: list[str], read: Reader) -> ibis.Table:
    """Those of the texts that rows of the measures' facts have, as :func:`_near` has values."""
    assert dimension.of is not None and dimension.shown is not None  # noqa: S101, PT018
    facts = [FACTS[name] for name in sorted({part.fact for each in question.measures for part in parts_of(each)})]
    days = [day_of(read(contracts()[each.address]), each).name("day").as_table() for each in facts]
    known = ibis.union(*days) if len(days) > 1 else days[0]
    known = known.select(value=dimension.shown(dimension.of(known.day)).cast("string")).distinct()
    known = known.filter(known.value.isin(texts))
    place = ibis.literal(0).cast("int64")
    return known.select(dimension=ibis.literal(dimension.name), asked=known.value, value=known.value, place=place)


def _near(dimension: Dimension, texts: Iterable[str], read: Reader) -> ibis.Table:
    address, column = _home(dimension)
    there = read(contracts()[address])
    known = there.select(value=there[column].cast("string")).distinct()
    pairs = ibis.array([*texts]).unnest().name("asked").as_table().cross_join(known.filter(known.value.notnull()))
    value, wanted = pairs.value.lower(), pairs.asked.lower()
    order = [pairs.value != pairs.asked, ~value.contains(wanted), value.levenshtein(wanted), pairs.value]
    likest = ibis.window(group_by="asked", order_by=order)
    ranked = pairs.mutate(dimension=ibis.literal(dimension.name), place=ibis.row_number().over(likest))
    return ranked.filter(ranked.place < NEAREST).select("dimension", "asked", "value", "place")


def _home(dimension: Dimension) -> tuple[str, str]:
    """The table and the column that have every value of the dimension."""
    source = dict(dimension.columns)[dimension.name]
    if dimension.path:
        return dimension.path[-1][0], source
    return next(each.address for each in FACTS.values() if source in each.keys), source


def unknown_values(question: Question, near: Iterable[tuple[str, str, str]]) -> list[str]:
    """A sentence for each value that nothing has, from the rows (dimension, asked, value) of :func:`values_near`."""
    likes: dict[tuple[str, str], list[str]] = {}
    for dimension, asked, value in near:
        likes.setdefault((dimension, asked), []).append(value)
    found = []
    for each in question.where:
        name = each.dimension.name
        for asked in _texts(each):
            values = likes.get((name, asked), [])
            if asked in values:
                continue
            if each.dimension.key == DAY:
                found.append(f"nothing has the {name} {asked}")
            else:
                found.append(f"there is no {name} {asked!r}{_meant(each.dimension, asked, values)}")
    return list(dict.fromkeys(found))


def _meant(dimension: Dimension, asked: str, values: list[str]) -> str:
    if dimension.parse is not str:  # a number that is nearly the same is another customer
        return ""
    if _CONDITION.search(asked):
        return "; a filter is one condition: one --where for each"
    wanted = asked.lower()
    near = [each for each in values if each.lower() == wanted] or [
        each
        for each in values
        if wanted in each.lower() or difflib.SequenceMatcher(None, wanted, each.lower()).ratio() >= ALIKE
    ]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def latest(question: Question, read: Reader) -> ibis.Table | None:
    """One row: the ``last`` day of which the measures know anything. None where no days are compared."""
    facts = {part.fact for each in question.measures if not isinstance(each, Stock) for part in parts_of(each)}
    if not question.compare or not facts:
        return None
    days = [day_of(read(contracts()[each]), FACTS[each]).max().name("last").as_table() for each in sorted(facts)]
    together = ibis.union(*days) if len(days) > 1 else days[0]
    return together.aggregate(last=together["last"].max())


def not_over(question: Question, last: date | None) -> list[str]:
    """A sentence where the period goes on after the ``last`` day, and so is compared with more days than it has."""
    period = question.period
    if period is None or last is None or period.last <= last:
        return []
    before = compared(period, question.compare).period
    if period.first > last:
        return [f"{period} has nothing yet: the latest day is {last}; it is compared with {before} all the same"]
    return [
        f"{period} is not over: the latest day is {last}, and it is compared with all of {before}; the period "
        f"{period.first}..{last} is compared with as many days"
    ]


def hints(question: Question, read: Reader) -> list[str]:
    """What :func:`unknown_values` and :func:`not_over` say of the tables of ``read``, which are asked."""
    found, near, days = [], values_near(question, read), latest(question, read)
    if near is not None:
        rows = near.order_by("place").to_pyarrow().to_pylist()
        found += unknown_values(question, [(row["dimension"], row["asked"], row["value"]) for row in rows])
    if days is not None:
        found += not_over(question, days.to_pyarrow().to_pylist()[0]["last"])
    return found
