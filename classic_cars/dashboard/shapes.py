"""What is made of an answer before it is fetched: ranks and shares, worked out by the engine.

Each function takes the expression of a question, or a table, and gives one of few rows, however many customers there
are. The measures themselves are those of the metrics.
"""

from __future__ import annotations

from collections.abc import Callable

import ibis
import ibis.expr.types as ir

Shape = Callable[[ibis.Table], ibis.Table]

#: Points of a curve of concentration.
POINTS = 100


def plain(answer: ibis.Table) -> ibis.Table:
    return answer


def ranked(measure: str, count: int, *, worst: bool = False) -> Shape:
    """The rows with most of a measure, or least of it; rows without a value are in neither."""

    def shape(answer: ibis.Table) -> ibis.Table:
        value = answer[measure]
        first = value.asc() if worst else value.desc()
        return answer.filter(value.notnull()).order_by([first, answer[answer.columns[0]]]).limit(count)

    return shape


def concentration(measure: str) -> Shape:
    """Which share of the measure the first share of members has, from the largest: one row per percent of members.

    Columns: ``members``, ``shareOfMembers`` and ``share``; members with nothing or less are left out.
    """

    def shape(answer: ibis.Table) -> ibis.Table:
        held = answer.filter(answer[measure] > 0)
        order = [held[measure].desc(), held[held.columns[0]]]
        value = held[measure].cast("float64")
        rows = held.select(
            rank=ibis.row_number().over(order_by=order) + 1,
            running=value.sum().over(ibis.cumulative_window(order_by=order)),
            whole=value.sum().over(ibis.window()),
            count=value.count().over(ibis.window()),
        )
        percent = (rows["rank"] * POINTS / rows["count"]).ceil().cast("int64")
        return (
            rows.mutate(percent=percent)
            .group_by("percent")
            .aggregate(
                members=lambda t: t["rank"].max(),
                shareOfMembers=lambda t: t["rank"].max() / t["count"].max(),
                share=lambda t: t["running"].max() / t["whole"].max(),
            )
            .order_by("members")
            .drop("percent")
        )

    return shape


def cohorts() -> Shape:
    """The table of cohorts, with quarters as they are called."""

    def shape(table: ibis.Table) -> ibis.Table:
        called = {name: _quarter(table[name]) for name in ("cohort", "quarter")}
        return table.mutate(**called).order_by("cohort", "quartersSince")

    return shape


def _quarter(day: ir.DateValue) -> ir.StringValue:
    return day.year().cast("string") + "-Q" + day.quarter().cast("string")


def worst(measure: str, count: int) -> Shape:
    return ranked(measure, count, worst=True)


def rated() -> Shape:
    """Only what has a rating."""

    def shape(answer: ibis.Table) -> ibis.Table:
        return answer.filter(answer["ratings"] > 0)

    return shape
