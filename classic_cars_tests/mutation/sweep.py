"""Every column of every table, changed in the same five ways: what nobody thought of planting."""

from __future__ import annotations

from collections.abc import Iterator

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from classic_cars.tables.table import Catalog, Table
from classic_cars_tests.mutation.mutant import Change, Mutant, copied, every, nulled, out, shifted, some

SWEEP = "sweep"


def mutants(catalog: Catalog) -> Iterator[Mutant]:
    """All that the sweep plants, table by table."""
    for table in catalog:
        if table.is_lazy:
            yield from _of_table(table)


def _of_table(table: Table) -> Iterator[Mutant]:
    types = table.contract.types
    order = table.contract.key or types.names
    for column, kind in types.items():
        for what, change in _changes(table, column, kind, tuple(order)):
            yield out(SWEEP, table.address, f"{column}: {what}", change)


def _changes(table: Table, column: str, kind: dt.DataType, order: tuple[str, ...]) -> Iterator[tuple[str, Change]]:
    yield "NULL", lambda t: t.mutate(**{column: ibis.null(kind)})
    yield "NULL, made of itself", every(**{column: nulled})
    neighbour = _neighbour(table, column, kind)
    if neighbour is not None:
        yield f"the values of {neighbour}", copied(column, neighbour)
    yield "one value changed", some(_one_with_value(column), **{column: _changed})
    yield "one row off", shifted(column, *order)


def _neighbour(table: Table, column: str, kind: dt.DataType) -> str | None:
    """The next column of the same type, the first one after the last."""
    same = [name for name, each in table.contract.types.items() if each == kind]
    return None if len(same) < 2 else same[(same.index(column) + 1) % len(same)]


def _one_with_value(column: str):
    """A row that has a value in the column, the same one on every run."""
    return lambda t: ibis.row_number().over(order_by=[t[column].isnull(), *(t[name] for name in t.columns)]) == 0


def _changed(value: ir.Value) -> ir.Value:
    kind = value.type()
    if kind.is_string():
        return value + "x"
    if kind.is_boolean():
        return ~value
    if kind.is_decimal():
        return value + ibis.literal("0.01").cast(kind)
    if kind.is_date():
        return value + ibis.interval(days=1)
    if kind.is_timestamp():
        return value + ibis.interval(seconds=1)
    if kind.is_integer():
        return value + 1
    return value.nullif(value)
