"""The rows of a fact that a question is about, with what they are cut and filtered by beside them.

Names are looked up through keys that contracts prove unique, in left joins: a row of the fact stays one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import ibis
import ibis.expr.types as ir

from classic_cars.contracts import dimensions, warehouse
from classic_cars.contracts.base import Contract
from classic_cars.contracts.cuts import DAY, Dimension, Step
from classic_cars.contracts.measures import Fact
from classic_cars.serving.metrics.periods import Span
from classic_cars.serving.metrics.question import Question

#: From a contract to the rows of its table: ``Store.read``, a release's, or any other.
Reader = Callable[[Contract], ibis.Table]

#: Before the name of each column that is added here: no fact has such a column.
ADDED = "_"


@cache
def contracts() -> dict[str, Contract]:
    """The contracts of the star schema, by address."""
    models = (
        *(warehouse.FactOrders, warehouse.FactPayments, warehouse.FactRatings),
        *(dimensions.DimProducts, dimensions.DimLocations, dimensions.DimCustomers, dimensions.DimEmployees),
        dimensions.DimDates,
    )
    return {each.address: each for each in map(Contract.of, models)}


def rows_of(question: Question, fact: Fact, span: Span, read: Reader) -> ibis.Table:
    """The fact's rows of which all filters hold, with a column ``_NAME`` for each column of the answer's keys.

    Rows of all days: see :func:`day_of`. Those of a span that is compared have the days of what they stand beside.
    """
    rows = read(contracts()[fact.address])
    used = {each.name: each for each in (*question.by, *(each.dimension for each in question.where))}
    for key in dict.fromkeys(each.key for each in used.values()):
        rows = _with_names(rows, [each for each in used.values() if each.key == key], fact, span, read)
    for each in question.where:
        rows = rows.filter(each.holds(rows[ADDED + each.dimension.name]))
    return rows


def day_of(rows: ibis.Table, fact: Fact) -> ir.DateValue:
    return rows[fact.day].cast("date")


def _with_names(rows: ibis.Table, cuts: list[Dimension], fact: Fact, span: Span, read: Reader) -> ibis.Table:
    """The rows with the columns of dimensions that hang on one key."""
    key = cuts[0].key
    if key == DAY:
        moved = span.moved(day_of(rows, fact))
        return rows.mutate(**{ADDED + each.name: each.of(moved) for each in cuts if each.of is not None})
    columns = {name: source for each in cuts for name, source in each.columns}
    own = {name: rows[key] for name, source in columns.items() if source == key}
    rows = rows.mutate(**{ADDED + name: value for name, value in own.items()})
    looked_up = {name: source for name, source in columns.items() if name not in own}
    if not looked_up:
        return rows
    path = max((each.path for each in cuts), key=len)
    names = _looked_up(path, looked_up, read)
    return rows.left_join(names, rows[key] == names[_MEMBER]).drop(_MEMBER)


_MEMBER = "_member"


def _looked_up(path: Iterable[Step], columns: dict[str, str], read: Reader) -> ibis.Table:
    """One row per member of the first table of the path, as ``_member``, with columns of all of its tables."""
    first, *others = path
    table = read(contracts()[first[0]])
    table = table.mutate(**{_MEMBER: table[first[1]]})
    for address, key in others:
        table = table.left_join(read(contracts()[address]), key)
    return table.select(_MEMBER, **{ADDED + name: table[source] for name, source in columns.items()})


# Aggregated ----------------------------------------------------------------------------------------------


def united(sides: list[ibis.Table], keys: list[str]) -> ibis.Table:
    """Sides with one row per key each and columns of their own, as one table with one row per key.

    Of what a side has nothing of, a key has 0. Missing keys meet missing keys, which they would not in a join.
    """
    if len(sides) == 1:
        return sides[0]
    kinds = {name: kind for side in sides for name, kind in side.schema().items() if name not in keys}
    whole = ibis.union(
        *[
            side.select(
                *keys,
                **{name: side[name] if name in side.columns else ibis.null(kind) for name, kind in kinds.items()},
            )
            for side in sides
        ]
    )
    return whole.aggregate(by=keys, **{name: whole[name].max().fill_null(0).cast(kind) for name, kind in kinds.items()})
