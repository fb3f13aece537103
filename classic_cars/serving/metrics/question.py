"""A question about measures, checked as a whole before anything is read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from classic_cars.contracts.cuts import DAY, DIMENSIONS, EXAMPLES, Dimension, dimensions_of
from classic_cars.contracts.measures import MEASURES, OWNER, Measure, Metric, Stock, additivity, parts_of
from classic_cars.contracts.metrics import CUSTOMER, MONTH, PRODUCT
from classic_cars.errors import QuestionError
from classic_cars.serving.metrics.filters import Filter, parsed, typed
from classic_cars.serving.metrics.periods import COMPARISONS, Period

Named = TypeVar("Named")


@dataclass(frozen=True)
class Question:
    """Measures, cut by dimensions, of the rows that all filters hold for and that lie in the period.

    ``compare``: a name in ``COMPARISONS``, or empty. ``top``: only so many rows, those with most of the first measure.
    ``share``: with each measure its share of the total of all rows, also of those that ``top`` leaves out.
    """

    measures: tuple[Measure, ...]
    by: tuple[Dimension, ...] = ()
    where: tuple[Filter, ...] = ()
    period: Period | None = None
    compare: str = ""
    top: int | None = None
    share: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the answer that say of what; without those that a finer dimension repeats."""
        return tuple(dict.fromkeys(name for each in self.by for name in each.names))


def ask(
    measures: Sequence[str],
    by: Sequence[str] = (),
    where: Sequence[str] = (),
    period: str | None = None,
    compare: str | None = None,
    top: int | None = None,
    share: bool = False,
) -> Question:
    """The question in words. Raises ``QuestionError`` that names what is wrong and what there is instead."""
    if not measures:
        raise QuestionError("no measure; name one or more, such as netSales")
    asked = [measure_named(each) for each in dict.fromkeys(measures)]
    cuts = [dimension_named(each) for each in dict.fromkeys(by)]
    filters = [typed(dimension_named(name), symbol, values) for name, symbol, values in map(parsed, where)]
    if compare and compare not in COMPARISONS:
        raise QuestionError(f"compare {compare!r}: expected {' or '.join(COMPARISONS)}")
    if compare and period is None:
        raise QuestionError("a comparison needs a period, such as 2004: what comes before is told by it")
    if top is not None and (not isinstance(top, int) or top < 1):
        raise QuestionError(f"top {top}: expected a number of rows from 1 on")
    _can_be_answered(asked, cuts, filters)
    if share:
        _have_shares(asked, cuts)
    days = None if period is None else Period.parse(period)
    return Question(tuple(asked), tuple(cuts), tuple(filters), days, compare or "", top, share)


def measure_named(name: str) -> Measure:
    """Raises ``QuestionError`` with the nearest name."""
    return _named("measure", name, MEASURES)


def dimension_named(name: str) -> Dimension:
    """Raises ``QuestionError`` with the nearest name."""
    return _named("dimension", name, DIMENSIONS)


def _named(kind: str, name: str, known: Mapping[str, Named]) -> Named:
    if name in known:
        return known[name]
    spelt = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), spelt, n=1, cutoff=0.6)
    meant = f"did you mean {spelt[near[0]]}? " if near else ""
    raise QuestionError(f"{kind} {name!r} is not known; {meant}There are {', '.join(known)}")


def _can_be_answered(measures: Iterable[Measure], cuts: Iterable[Dimension], filters: Iterable[Filter]) -> None:
    wanted = {each.name: each for each in (*cuts, *(each.dimension for each in filters))}
    for measure in measures:
        possible = dimensions_of(measure)
        wrong = [name for name, each in wanted.items() if each not in possible]
        if wrong:
            listed = ", ".join(each.name for each in possible)
            raise QuestionError(f"{measure.name} cannot be cut by {', '.join(wrong)}; it can by {listed}")
        times = [each.dimension.name for each in filters if each.dimension.key == DAY]
        if times and isinstance(measure, Stock):
            raise QuestionError(
                f"{measure.name} is counted up to a day, so that a filter by {times[0]} would leave part of it out; "
                "say the days with a period"
            )


def _have_shares(measures: Iterable[Measure], cuts: Iterable[Dimension]) -> None:
    """Rows that are summed up must be the total: an order of two products would be in it twice."""
    over = {each.name: {DAY: MONTH, PRODUCT: PRODUCT}.get(each.key, CUSTOMER) for each in cuts}
    for measure in measures:
        if not isinstance(measure, Metric):
            raise QuestionError(
                f"{measure.name} has no share of a total: it is {additivity(measure)}; ask for the share of a measure "
                "that is additive, such as netSales"
            )
        if wrong := [name for name, key in over.items() if key not in measure.additive_over]:
            raise QuestionError(
                f"{measure.name} by {', '.join(wrong)} has no share of a total: it is {additivity(measure)}; ask "
                "for the share of a measure that is additive, such as netSales"
            )


def facts_about(name: str) -> tuple[str, dict[str, str]]:
    """What a measure or a dimension means, and facts about it, by title. Raises ``QuestionError`` for another name."""
    if name in DIMENSIONS:
        return _about_dimension(DIMENSIONS[name])
    if name not in MEASURES:
        _named("measure or dimension", name, {**MEASURES, **DIMENSIONS})
    measure = MEASURES[name]
    parts = {} if isinstance(measure, Metric) else {"made of": ", ".join(each.name for each in parts_of(measure))}
    return measure.description, {
        "unit": measure.unit.name,
        "additivity": additivity(measure),
        **parts,
        "from": ", ".join(dict.fromkeys(origin for each in parts_of(measure) for origin in each.origins)),
        "cut by": ", ".join(each.name for each in dimensions_of(measure)),
        "owner": OWNER,
    }


def _about_dimension(dimension: Dimension) -> tuple[str, dict[str, str]]:
    inner = [each.name for each in DIMENSIONS.values() if each.above == dimension.name]
    cut = [name for name, each in MEASURES.items() if dimension in dimensions_of(each)]
    facts = {
        "from": dimension.column,
        "columns": ", ".join(dimension.names),
        "a value is": EXAMPLES[dimension.parse],
        "part of": dimension.above,
        "divided into": ", ".join(inner),
        "cuts": ", ".join(cut),
    }
    return dimension.description, {title: text for title, text in facts.items() if text}
