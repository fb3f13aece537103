"""What a mutant is, and the words in which mutants are written: changes of tables, of their inputs, of definitions.

Most bugs keep the lineage of every column as it is: conditions of filters, of joins and windows do not count, so that
what is wrong can only be seen in the data.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ibis
import ibis.expr.types as ir

from classic_cars.contracts.base import Contract
from classic_cars.tables.table import Catalog, Table

#: From a table to a wrong one.
Change = Callable[[ibis.Table], ibis.Table]
#: From a column to a wrong one, from a table to the rows that are meant.
Bend = Callable[[Any], Any]
Where = Callable[[ibis.Table], ir.BooleanValue]
#: From the original function and its inputs to wrong rows.
Plant = Callable[..., ibis.Table]

METRIC_TABLES = tuple(
    f"analytics/{name}"
    for name in (
        "monthly_sales_by_customer",
        "monthly_sales_by_product",
        "sales_by_product_line",
        "sales_by_country",
        "sales_by_month",
    )
)


@dataclass(frozen=True)
class Mutant:
    """One planted bug. ``kind``: its class; ``plant``: around the function of ``address``; or ``patches``.

    ``patches``: what stands, while the bug is planted, at a dotted name; ``remade``: the tables it is then in.
    """

    kind: str
    name: str
    address: str = ""
    plant: Plant | None = None
    patches: Mapping[str, Any] = field(default_factory=dict)
    remade: tuple[str, ...] = ()
    contract: Callable[[Contract], Contract] = lambda contract: contract

    @property
    def where(self) -> str:
        return self.address or ", ".join(self.patches)

    def planted(self, catalog: Catalog) -> list[Table]:
        """The tables that have the bug in them."""
        if self.plant is None:
            tables = [catalog[address] for address in self.remade]
            return [Table(self.contract(each.contract), each.function, each.arrives_from) for each in tables]
        original = catalog[self.address]
        return [Table(original.contract, _around(original.function, self.plant), original.arrives_from)]


def _around(function: Callable[..., Any], plant: Plant) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)  # parameters and their types are those of the original
    def bugged(*given: ibis.Table, **named: ibis.Table) -> ibis.Table:
        inputs = signature.bind(*given, **named).arguments
        return plant(lambda **other: function(**(inputs | other)), **inputs)

    return bugged


def out(kind: str, address: str, name: str, change: Change) -> Mutant:
    """A bug in what the function returns; columns and types stay those of the original."""

    def plant(original: Callable[..., ibis.Table], **_inputs: ibis.Table) -> ibis.Table:
        rows = original()
        return fitted(change(rows), rows)

    return Mutant(kind, name, address, plant)


def into(kind: str, address: str, name: str, **changes: Change) -> Mutant:
    """A bug in what the function makes of its inputs."""

    def plant(original: Callable[..., ibis.Table], **inputs: ibis.Table) -> ibis.Table:
        return original(**{each: fitted(change(inputs[each]), inputs[each]) for each, change in changes.items()})

    return Mutant(kind, name, address, plant)


def instead(kind: str, address: str, name: str, function: Callable[..., ibis.Table]) -> Mutant:
    """Another function in place of the original: it gets the original and its inputs."""
    return Mutant(kind, name, address, lambda original, **inputs: fitted(function(**inputs), original()))


def fitted(rows: ibis.Table, like: ibis.Table) -> ibis.Table:
    """The columns and types of ``like``: a bug that shows in a type is found by every compiler."""
    return rows.select(
        **{
            name: rows[name] if rows[name].type() == kind else rows[name].cast(kind)
            for name, kind in like.schema().items()
        }
    )


# Changes of whole columns --------------------------------------------------------------------------------


def every(**bends: Bend) -> Change:
    """Each value of these columns changed, by itself."""
    return lambda t: t.mutate(**{name: bend(t[name]) for name, bend in bends.items()})


def every_row(**bends: Callable[[ibis.Table], Any]) -> Change:
    """These columns made of the row."""
    return lambda t: t.mutate(**{name: bend(t) for name, bend in bends.items()})


def swapped(one: str, other: str) -> Change:
    return lambda t: t.mutate(**{one: t[other], other: t[one]})


def copied(column: str, of: str) -> Change:
    return lambda t: t.mutate(**{column: t[of]})


def shifted(column: str, *keys: str, within: Sequence[str] = ()) -> Change:
    """Each row has the value of the one before it, and the first that of the last; in the order of ``keys``."""

    def change(t: ibis.Table) -> ibis.Table:
        numbered = t.mutate(
            _n=ibis.row_number().over(group_by=list(within), order_by=list(keys)),
            _count=t.count().over(group_by=list(within)) if within else t.count().over(ibis.window()),
        )
        sent = numbered.select(
            _to=(numbered["_n"] + 1) % numbered["_count"],
            _value=numbered[column],
            **{f"_{name}": numbered[name] for name in within},
        )
        on = [numbered["_n"] == sent["_to"], *(numbered[name].identical_to(sent[f"_{name}"]) for name in within)]
        joined = numbered.inner_join(sent, on)
        return joined.mutate(**{column: joined["_value"]}).select(*t.columns)

    return change


# Changes of some rows ------------------------------------------------------------------------------------


def some(where: Where, **bends: Bend) -> Change:
    """Values of only these rows changed, each by itself."""

    def change(t: ibis.Table) -> ibis.Table:
        hit, rest = t.filter(_is(where, t)), t.filter(~_is(where, t))
        return ibis.union(rest, fitted(every(**bends)(hit), t))

    return change


def lost(where: Where) -> Change:
    return lambda t: t.filter(~_is(where, t))


def twice(where: Where) -> Change:
    return lambda t: ibis.union(t, t.filter(_is(where, t)))


def _is(where: Where, t: ibis.Table) -> ir.BooleanValue:
    return where(t).fill_null(False)


def nth(number: int, *keys: str) -> Where:
    """The row of this number, from 0, in the order of ``keys``."""
    return lambda t: ibis.row_number().over(order_by=[t[key] for key in keys]) == number


def at(**values: Any) -> Where:
    """Rows that have these values."""
    return lambda t: ibis.and_(*(t[name] == value for name, value in values.items()))


def always(value: Any) -> Bend:
    """A constant that still depends on the column, as far as the lineage can tell."""
    return lambda column: ibis.ifelse(column.isnull(), value, ibis.ifelse(column.notnull(), value, column))


def nulled(column: Any) -> Any:
    """NULL, that still depends on the column as far as the lineage can tell."""
    return column.nullif(column)


def put(value: Any) -> Bend:
    """``value`` wherever there is one."""
    return lambda column: ibis.ifelse(column.notnull(), value, column)


def then(*changes: Change) -> Change:
    return lambda t: functools.reduce(lambda rows, change: change(rows), changes, t)
