"""Values that a filter names and nothing has: a slip of the pen that would be answered with nothing, and no word.

Asked of the tables that the names are looked up in, in one question. A filter by time is never looked at: days without
sales are no mistake.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import ibis

from classic_cars.contracts.cuts import DAY, Dimension
from classic_cars.contracts.measures import FACTS
from classic_cars.serving.metrics.question import Question
from classic_cars.serving.metrics.rows import Reader, contracts

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
        if each.dimension.key != DAY:
            asked.setdefault(each.dimension, []).extend(str(value) for value in each.values if value is not None)
    sides = [_near(dimension, dict.fromkeys(texts), read) for dimension, texts in asked.items() if texts]
    return ibis.union(*sides) if len(sides) > 1 else sides[0] if sides else None


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
        for asked in (str(value) for value in each.values if value is not None and each.dimension.key != DAY):
            values = likes.get((each.dimension.name, asked), [])
            if asked not in values:
                found.append(f"there is no {each.dimension.name} {asked!r}{_meant(each.dimension, asked, values)}")
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


def hints(question: Question, read: Reader) -> list[str]:
    """What :func:`unknown_values` says of the tables of ``read``, which are asked."""
    near = values_near(question, read)
    if near is None:
        return []
    rows = near.order_by("place").to_pyarrow().to_pylist()
    return unknown_values(question, [(row["dimension"], row["asked"], row["value"]) for row in rows])
