"""Stocks, such as a balance: what came in less what went out, up to the end of each span of time that is asked for."""

from __future__ import annotations

from datetime import date

import ibis

from classic_cars.contracts.cuts import DAY, Dimension
from classic_cars.contracts.measures import FACTS, Stock
from classic_cars.serving.metrics.periods import Span
from classic_cars.serving.metrics.question import Question
from classic_cars.serving.metrics.rows import ADDED, Reader, contracts, day_of, rows_of

CALENDAR = contracts()["warehouse/dim_dates"]
#: Where rows without a day count: before all others.
BEGINNING = date(1, 1, 1)
_END, _FLOW = "_end", "_flow"


def stock_side(question: Question, stock: Stock, span: Span, read: Reader) -> ibis.Table:
    """The stock, one row per key of the answer from the first flow of its group on, in a column of its name."""
    times = [each for each in question.by if each.key == DAY]
    groups = [ADDED + name for name in question.keys if name not in {each.name for each in times}]
    if not times:
        flows = _flows(question, stock, span, groups, None, read)
        return flows.rename({stock.name: _FLOW})
    # The finest decides; the others follow from it.
    finest = min(times, key=lambda each: ("date", "month", "quarter", "year").index(each.name))
    flows = _flows(question, stock, span, groups, finest, read)
    ends = _ends(stock, finest, span, read)
    summed = _summed_up(flows, ends, groups)
    found = summed.semi_join(ends, _END)
    moments = {ADDED + each.name: each.of(found[_END]) for each in times if each.of is not None}
    return found.select(*groups, **moments, **{stock.name: found[_FLOW]})


def _flows(
    question: Question, stock: Stock, span: Span, groups: list[str], finest: Dimension | None, read: Reader
) -> ibis.Table:
    """What came in less what went out of each group, and in each unit of time if one is given, until the span ends."""
    sides = []
    for metric, sign in ((stock.inflow, 1), (stock.outflow, -1)):
        fact = FACTS[metric.fact]
        rows = rows_of(question, fact, span, read)
        day = day_of(rows, fact)
        if span.period is not None:
            rows = rows.filter((day <= ibis.date(span.period.last)).fill_null(True))
        keys = [rows[name] for name in groups]
        if finest is not None and finest.of is not None:
            keys.append(finest.of(span.moved_freely(day).fill_null(ibis.date(BEGINNING))).name(_END))
        found = rows.aggregate(by=keys, **{_FLOW: metric.of(rows)})
        sides.append(found.mutate(**{_FLOW: found[_FLOW] * sign}))
    return _per(ibis.union(*sides), [*groups, *([_END] if finest is not None else [])])


def _per(flows: ibis.Table, keys: list[str]) -> ibis.Table:
    return flows.aggregate(by=keys, **{_FLOW: flows[_FLOW].sum().fill_null(0).cast("decimal(18, 2)")})


def _ends(stock: Stock, finest: Dimension, span: Span, read: Reader) -> ibis.Table:
    """The units of time to say the stock at: those of the period, or of all flows, as far as the calendar goes.

    Of both sides of a comparison the same: where the earlier one has no such day, as February has no 31st, the stock of
    the day before stands there too. Filters change nothing about them: a stock is there when nothing flows.
    """
    days = read(CALENDAR)
    assert finest.of is not None  # noqa: S101
    if span.period is not None:
        days = days.filter((span.shown or span.period).hold(days.date))
    ends = days.select(**{_END: finest.of(days.date)}).distinct()
    if span.period is not None:
        return ends
    facts = [FACTS[each.fact] for each in stock.parts]
    flown = ibis.union(*[day_of(read(contracts()[each.address]), each).name(_END).as_table() for each in facts])
    known = flown.select(**{_END: finest.of(flown[_END])})
    return ends.filter(ends[_END].between(known[_END].min().as_scalar(), known[_END].max().as_scalar()))


def _summed_up(flows: ibis.Table, ends: ibis.Table, groups: list[str]) -> ibis.Table:
    """The running sum of each group, also at ends when nothing flowed."""
    began = flows.aggregate(by=groups, _began=flows[_END].min())
    still = began.join(ends, ends[_END] >= began["_began"]).select(
        *groups, _END, **{_FLOW: ibis.literal(0).cast("decimal(18, 2)")}
    )
    whole = _per(ibis.union(flows, still), [*groups, _END])
    window = ibis.cumulative_window(group_by=groups, order_by=_END)
    return whole.mutate(**{_FLOW: whole[_FLOW].sum().over(window).cast("decimal(18, 2)")})
