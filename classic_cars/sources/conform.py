"""Arriving values made to fit their declared types, faithfully: a value that does not fit is kept, not bent.

A cast may round, cut or give up. Each value is cast and compared with what arrived; when they are not the
same, the column becomes NULL and the raw value is kept as JSON in ``_rescued_data``, where staging's
quarantine finds it. Pure Ibis.
"""

from __future__ import annotations

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import sqlalchemy as sa

from classic_cars.contracts.base import RESCUED
from classic_cars.contracts.order_system import FIRST_MONTH, PARTITIONED
from classic_cars.contracts.source import MONTH, ibis_type

#: Longest raw value that is kept; a longer one says so.
LONGEST_RESCUE = 10_000

ORDER_DATE = "orderDate"


def conform(arriving: ibis.Table, table: sa.Table) -> ibis.Table:
    """The rows of one table of the order system in the columns and types of its ``source`` contract.

    Partitioned tables get ``orderMonth``, the row's home: the month of ``orderDate`` if it lies between
    2003-01 and the current month, otherwise 2003-01. Order lines arrive with their order's ``orderDate``.
    """
    columns: dict[str, ir.Value] = {}
    misfits: dict[str, ir.BooleanValue] = {}
    for column in table.columns:
        value, misfit = faithful(arriving[column.name], ibis_type(column.type))
        columns[column.name] = value
        if misfit is not None:
            misfits[column.name] = misfit
    if table.name in PARTITIONED:
        day, _ = faithful(arriving[ORDER_DATE], dt.Date())
        columns[MONTH] = home_month(day)
    columns[RESCUED] = _rescued(arriving, misfits)
    return arriving.select(**columns)


def home_month(day: ir.DateValue) -> ir.DateValue:
    """The month in which a row with this order date is kept; every row has exactly one."""
    today = ibis.today()
    ordinal = day.year() * 12 + day.month()
    usable = (day >= ibis.date(FIRST_MONTH)) & (ordinal <= today.year() * 12 + today.month())
    # not truncate(): DuckDB's makes a timestamp of a date
    return ibis.ifelse(usable.fill_null(False), ibis.date(day.year(), day.month(), 1), ibis.date(FIRST_MONTH))


def faithful(value: ir.Value, kind: dt.DataType) -> tuple[ir.Value, ir.BooleanValue | None]:
    """``value`` as ``kind``, and the condition under which it does not fit; None when every value fits."""
    arrived = value.type()
    if _always_fits(arrived, kind):
        return (value if arrived.copy(nullable=True) == kind else value.cast(kind)), None
    cast = value.try_cast(kind)
    same = _same(value, cast, arrived, kind)
    misfit = value.notnull() & ~same.fill_null(False)
    return ibis.ifelse(misfit, ibis.null(kind), cast), misfit


def _always_fits(arrived: dt.DataType, kind: dt.DataType) -> bool:
    if arrived.copy(nullable=True) == kind:
        return True
    if kind.is_string():
        return not arrived.is_binary()
    if kind.is_integer() and arrived.is_integer():
        return arrived.nbytes < kind.nbytes
    if kind.is_decimal() and arrived.is_decimal():
        whole = kind.precision - kind.scale
        return arrived.scale <= kind.scale and arrived.precision - arrived.scale <= whole
    return False


def _same(value: ir.Value, cast: ir.Value, arrived: dt.DataType, kind: dt.DataType) -> ir.BooleanValue:
    """Whether the cast kept the value."""
    if arrived.is_string():
        if kind.is_numeric():
            # Ten digits fit a double many times over, so equal doubles are equal numbers here.
            return value.try_cast("float64") == cast.cast("float64")
        if kind.is_date():
            # A time of day would be lost; midnight is none.
            return cast.notnull() & ((value.length() <= 10) | value.endswith(" 00:00:00"))
        return cast.notnull()
    if arrived.is_floating() and kind.is_decimal():
        return value == cast.cast("float64")
    if arrived.is_timestamp() and kind.is_date():
        return value == cast.cast(arrived)
    if arrived.is_numeric() and kind.is_numeric():
        return value == cast
    return cast.notnull()


def _rescued(arriving: ibis.Table, misfits: dict[str, ir.BooleanValue]) -> ir.StringValue:
    """JSON object of the raw values that did not fit, by column; NULL for nearly all rows."""
    unread = [arriving[RESCUED]] if RESCUED in arriving.columns else []  # what the reader could not decode
    if not misfits and not unread:
        return ibis.null("string")
    pairs: list[ir.Value] = list(unread)
    for name, misfit in misfits.items():
        raw = arriving[name].cast("string").left(LONGEST_RESCUE)
        for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
            raw = raw.replace(character, escaped)
        pairs.append(ibis.ifelse(misfit, ibis.literal(f'"{name}": "') + raw + '"', None))
    # concat_ws leaves NULLs out
    return ibis.ifelse(ibis.or_(*misfits.values(), *(each.notnull() for each in unread)), "{" + ibis.literal(", ").join(pairs) + "}", None)
