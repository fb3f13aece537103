"""The words in which contracts are written: column types, references, reconciliations, facts, rules.

pandera has words for columns, types and rules; here are the others. How the rest of the platform reads a model is in
:mod:`classic_cars.contracts.base`. Nothing here knows Dagster or any engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pandera.backends.ibis.builtin_checks  # noqa: F401  (registers pandera's checks for Ibis)
import pandera.ibis as pa
from pandera.ibis import IbisData

from classic_cars.contracts.origins import FLAG, REJECT, Grain
from classic_cars.contracts.rules import CLEAN

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract

# Column types. DECIMAL from end to end: money is never a float.
Int = dt.Int32
Long = dt.Int64
Text = dt.String
Date = dt.Date
Bool = dt.Boolean
Binary = dt.Binary
#: A moment in UTC, to the microsecond.
TimestampUTC = Annotated[dt.Timestamp, None, 6, True]
Money = Annotated[dt.Decimal, 10, 2, True]
Amount = Annotated[dt.Decimal, 18, 2, True]

PERSONAL = {"sensitivity": "personal"}

#: Above it a line is rejected: a typing error, or an order of a size that nobody places.
BIGGEST_QUANTITY = 100_000


def extended(quantity: ir.IntegerValue, each: ir.DecimalValue) -> ir.DecimalValue:
    """``quantity`` times ``each``, exactly, whatever the order system says: also of a line that is to be rejected.

    DuckDB multiplies in 64 bits, and fails above 10^16; what no accepted line has is multiplied in 128.
    """
    plausible = quantity.between(-BIGGEST_QUANTITY, BIGGEST_QUANTITY)
    return ibis.ifelse(plausible, quantity * each, quantity * each.cast("decimal(19, 2)"))


#: From a table to one sum over its rows.
Total = Callable[[ibis.Table], ibis.expr.types.NumericScalar]


class TableModel(pa.DataFrameModel):
    """Base of every contract: exactly the declared columns, no more."""

    class Config:
        strict = True


@dataclass(frozen=True)
class Reference:
    """Each non-NULL value of ``column`` exists as ``to_column`` in table ``to`` (``layer/name``).

    ``otherwise``, of a table with quarantine: rows that refer to nothing are rejected, or flagged: they stay, and the
    warehouse infers the member that is missing. Elsewhere a reference to nothing blocks the table.
    """

    column: str
    to: str
    to_column: str
    otherwise: str = REJECT

    def __str__(self) -> str:
        return f"{self.column} in {self.to}"


@dataclass(frozen=True)
class Reconciliation:
    """Two ways to the same numbers: ``actual`` from the table's own rows, ``expected`` from other tables.

    Both are functions from tables to a table of control totals: the grouping columns ``by`` and any number
    of measures, with equal names on both sides. The first parameter of ``actual`` is the table itself; every
    other parameter names a table as an asset function's parameter does. ``expected`` must not use the joins
    that made the table.
    """

    name: str
    by: tuple[str, ...]
    actual: Callable[..., ibis.Table]
    expected: Callable[..., ibis.Table]
    assumes: str = ""


@dataclass(frozen=True)
class ControlTotals:
    """Control totals by month that are kept, in a table of their own, published with the table that has them.

    ``contract``: of that table, ``control/<name>``. ``of``: maps the tables that its parameters name to its rows.
    Reconciliations read it as ``control_<name>``.
    """

    contract: Contract
    of: Callable[..., ibis.Table]


@dataclass(frozen=True)
class Complete:
    """A fact that, together with ``quarantine/<subject>``, must hold all of ``source/<subject>``.

    ``published`` and ``raw`` map the fact's rows, and those of source and quarantine, to their day and their money.
    """

    subject: str
    published: Callable[[ibis.Table], tuple[Any, Any]]
    raw: Callable[[ibis.Table], tuple[Any, Any]]


@dataclass(frozen=True)
class Latest:
    """Of the rows that share the table's key only the latest stays; the others are superseded, which is no fault.

    ``by``: what makes a row later than another, the weightiest column first. ``row``: what identifies a row, and
    decides between equals.
    """

    by: tuple[str, ...]
    row: tuple[str, ...]

    @property
    def order(self) -> tuple[str, ...]:
        return (*self.by, *self.row)


def facts(
    *,
    partitioned_by: str | None = None,
    references: Iterable[Reference] = (),
    reconciliations: Iterable[Reconciliation] = (),
    totals: Mapping[str, Total] | None = None,
    quarantines: str | None = None,
    quarantine_max_share: float | None = None,
    latest: Latest | None = None,
    beside: Iterable[Contract] = (),
    controls: Iterable[ControlTotals] = (),
    grain: Grain | None = None,
    independent: Callable[[ibis.Table], Any] | None = None,
    complete: Complete | None = None,
    money: Callable[[ibis.Table], Any] | None = None,
    recomputed: Callable[..., ibis.Table] | None = None,
    **misspelt: Any,
) -> dict[str, Any]:
    """The facts of a table that pandera has no word for, as ``Config.metadata`` of its model.

    ``partitioned_by``: date column whose month is the row's partition. ``totals``: sums that every
    materialization reports. ``quarantines``: the table (``layer/name``) that this one has exactly one row per
    row of; rows that cannot be counted are then quarantined, and counted, instead of blocking the others.
    ``quarantine_max_share``: of this table, whatever the platform's setting says. ``latest``: of rows that share the
    key, the latest stays. ``beside``: tables that are staged and published in the same step as this one.
    ``controls``: control totals that are kept with this table, see :class:`ControlTotals`.
    ``grain``: what the table has a row for; by default each row of the input that has the same key. ``independent``:
    from the table's rows to what they must be, in every column, worked out by other means. ``complete``: of what the
    table, with what is quarantined, must hold every row and cent. ``money``: of a row, in USD; quarantine has a limit.
    ``recomputed``: of a table that is made in part or from partial aggregates, all its rows from the tables that its
    parameters name; compared every night. ``misspelt``: refused by ``Contract.of``, which knows the table.
    """
    return {
        "partitioned_by": partitioned_by,
        "references": tuple(references),
        "reconciliations": tuple(reconciliations),
        "totals": dict(totals or {}),
        "quarantines": quarantines,
        "quarantine_max_share": quarantine_max_share,
        "latest": latest,
        "beside": tuple(beside),
        "controls": tuple(controls),
        "grain": grain,
        "independent": independent,
        "complete": complete,
        "money": money,
        "recomputed": recomputed,
        **misspelt,
    }


def is_clean(data: IbisData) -> ibis.Table:
    """True where a text has no surrounding white space and is not empty."""
    column = data.table[data.key]
    return data.table.select((column.strip() == column) & (column != ""))


def clean(*columns: str) -> Any:
    """A pandera check: these text columns are trimmed and not empty."""
    return pa.check(*columns, name=CLEAN)(lambda _model, data: is_clean(data))


def row_rule(description: str, *, severity: str = REJECT) -> Callable[[Callable[..., Any]], Any]:
    """Decorator for a rule over several columns of one row: the method takes the table, returns a boolean.

    ``severity``: ``REJECT`` or ``FLAG``; which of several values to repair, no rule knows.
    """

    def decorate(rule: Callable[..., Any]) -> Any:
        def check(cls: type, data: IbisData) -> ibis.expr.types.BooleanValue:
            return rule(cls, data.table)

        return pa.dataframe_check(name=rule.__name__, description=description, raise_warning=severity == FLAG)(check)

    return decorate
