"""From a question to one Ibis expression that the engine carries out as a whole.

Each fact is aggregated apart, at the grain that is asked for, and the results meet on keys that all of them have: no
fact's row is ever repeated by another fact. Ratios are taken of what was aggregated.
"""

from __future__ import annotations

from collections.abc import Iterator

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

from classic_cars.contracts.authoring import written
from classic_cars.contracts.cuts import DAY
from classic_cars.contracts.measures import (
    DECIMALS,
    FACTS,
    SHARE,
    Fact,
    Measure,
    Metric,
    Ratio,
    Stock,
    divided,
    parts_of,
)
from classic_cars.serving.metrics.periods import Span, compared
from classic_cars.serving.metrics.question import Question
from classic_cars.serving.metrics.rows import ADDED, Reader, day_of, rows_of, united
from classic_cars.serving.metrics.stocks import stock_side

#: Added to the name of a measure: its value in the days compared with, the difference, and the same as a share of it.
BEFORE, CHANGE, GROWTH = "Before", "Change", "Growth"
#: The same, for its value as a share of the total.
OF_TOTAL = "Share"


def expression(question: Question, read: Reader) -> ibis.Table:
    """The answer: one row per value of its dimensions that has anything, in their order; a single row without any.

    Columns: the question's ``keys``, then its measures, each followed by its share and those that compare it. Amounts
    are exact decimals. Raises what ``read`` raises, such as ``TableMissing``.
    """
    keys = [ADDED + name for name in question.keys]
    sides = list(_sides(question, Span(question.period), "", read))
    if question.compare and question.period is not None:
        sides += _sides(question, compared(question.period, question.compare), BEFORE, read)
    whole = united(sides, keys)
    shown = {each.name: each.shown for each in question.by if each.key == DAY}
    named = {name: (shown.get(name) or _as_it_is)(whole[key]) for name, key in zip(question.keys, keys, strict=True)}
    values = {name: value for each in question.measures for name, value in _columns(each, question, whole)}
    answer = {name: declared(value) for name, value in {**named, **values}.items()}
    return _ordered(whole.select(**answer), question)


def _sides(question: Question, span: Span, suffix: str, read: Reader) -> Iterator[ibis.Table]:
    """The aggregates of each fact, and each stock, of the days of one span."""
    keys = [ADDED + name for name in question.keys]
    for fact, metrics in _metrics(question.measures).items():
        rows = rows_of(question, fact, span, read)
        if span.period is not None:
            rows = rows.filter(span.period.hold(day_of(rows, fact)))
        yield rows.aggregate(by=keys, **{each.name + suffix: _aggregated(each, rows) for each in metrics})
    for each in question.measures:
        if isinstance(each, Stock):
            yield stock_side(question, each, span, read).rename({each.name + suffix: each.name})


def _aggregated(metric: Metric, rows: ibis.Table) -> ir.Scalar:
    with written(f"measure {metric.name}", f"its value of {metric.fact}"):
        return metric.of(rows)


def _metrics(measures: tuple[Measure, ...]) -> dict[Fact, list[Metric]]:
    """What has to be aggregated, by fact."""
    found: dict[Fact, list[Metric]] = {}
    for metric in dict.fromkeys(part for each in measures if not isinstance(each, Stock) for part in parts_of(each)):
        found.setdefault(FACTS[metric.fact], []).append(metric)
    return found


def declared(value: ir.Value) -> ir.Value:
    """The value with a cast to the type that it says it has, where an engine may give another one.

    DuckDB sums whole numbers to 128 bits, gives years 64, and moves a day to a point in time; ``value.cast`` would be
    left out as one that changes nothing, and results in batches be refused as what they do not say they are.
    """
    kind = value.type()
    is_exact = kind.is_integer() or kind.is_date() or (kind.is_decimal() and kind.scale is not None)
    return ops.Cast(value, to=kind).to_expr() if is_exact else value


def _as_it_is(value: ir.Value) -> ir.Value:
    return value


def _columns(measure: Measure, question: Question, whole: ibis.Table) -> Iterator[tuple[str, ir.Value]]:
    now = _value(measure, whole, "")
    yield measure.name, now
    if question.share:
        yield measure.name + OF_TOTAL, share_of_total(now)
    if not question.compare:
        return
    before = _value(measure, whole, BEFORE)
    yield measure.name + BEFORE, before
    yield measure.name + CHANGE, now - before
    if measure.unit != SHARE:
        yield measure.name + GROWTH, growth(now, before)


def share_of_total(value: ir.NumericValue) -> ir.DecimalValue:
    """The value as a share of the sum over all rows; NULL when that is not above 0."""
    total = value.sum().over(ibis.window())
    return divided(value, ibis.ifelse(total > 0, total, None), DECIMALS)


def growth(now: ir.NumericValue, before: ir.NumericValue) -> ir.DecimalValue:
    """The change as a share of what was before; NULL when that was nothing."""
    return divided(now - before, before.abs(), DECIMALS)


def _value(measure: Measure, whole: ibis.Table, suffix: str) -> ir.NumericValue:
    if isinstance(measure, Ratio):
        return measure.of(*[_value(part, whole, suffix) for part in measure.parts])
    return whole[measure.name + suffix]


def _ordered(answer: ibis.Table, question: Question) -> ibis.Table:
    if question.top is None:
        return answer.order_by(list(question.keys)) if question.keys else answer
    most = answer[question.measures[0].name].desc(nulls_first=False)
    return answer.order_by([most, *question.keys]).limit(question.top)
