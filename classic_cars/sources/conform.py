"""Arriving values made to fit their declared types, faithfully: a value that does not fit is kept, not bent.

A cast may round, cut or give up. Each value is cast and compared with what arrived; when they are not the
same, the column becomes NULL and the raw value is kept as JSON in ``_rescued_data``, where staging's
quarantine finds it. Integers of any width are held as ``int32``. Pure Ibis.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import sqlalchemy as sa

from classic_cars.contracts.order_system import PARTITIONED
from classic_cars.contracts.rescued import RESCUED, as_json
from classic_cars.contracts.source import MONTH, ibis_type
from classic_cars.months import FIRST_MONTH, UNDATED, last_month

ORDER_DATE = "orderDate"

#: What a date may look like as text; a time of day would be lost, midnight is none. ``texts`` agrees.
DATE_TEXT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}( 00:00:00(\.(0|000|000000))?)?$"
WHOLE_NUMBER_TEXT = r"^-?[0-9]+(\.0*)?$"
GROUPS_TEXT = r"\.000+$"
#: A moment as text; without a zone it is in UTC.
ZONE_TEXT = r"(Z|[+-](0[0-9]|1[0-4])(:[0-5][0-9])?)"
MOMENT_TEXT = (
    rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]{{1,9}})?)?{ZONE_TEXT}?)?$"
)
#: A double holds fifteen digits; what differs beyond them is its way of saying the same number.
DOUBLE_DIGITS = "%.15g"


def conform(arriving: ibis.Table, table: sa.Table, today: date | None = None) -> ibis.Table:
    """The rows of one table of the order system in the columns and types of its ``source`` contract.

    Partitioned tables get ``orderMonth``, the row's home: the month of ``orderDate`` if it lies between
    ``FIRST_MONTH`` and a year after the month of ``today``, otherwise ``UNDATED``. Order lines arrive with their
    order's ``orderDate``.
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
        columns[MONTH] = home_month(day, today)
    columns[RESCUED] = _rescued(arriving, misfits)
    return arriving.select(**columns)


def conform_line(arriving: ibis.Table, columns: Sequence[str], types: ibis.Schema) -> ibis.Table:
    """Lines of landed files, whose values are texts, in the columns and ``types`` of their ``source`` contract."""
    conformed = {name: _as_written(arriving[name], types[name]) for name in columns}
    values = {name: value for name, (value, _) in conformed.items()}
    misfits = {name: misfit for name, (_, misfit) in conformed.items() if misfit is not None}
    known = {name: arriving[name] for name in arriving.columns if name not in (*columns, RESCUED)}
    return arriving.select(**values, **known, **{RESCUED: _rescued(arriving, misfits)})


def _as_written(text: ir.StringValue, kind: dt.DataType) -> tuple[ir.Value, ir.BooleanValue | None]:
    """As :func:`faithful`; but people write 1.000 for a thousand, too, and what it means nobody can tell."""
    value, misfit = faithful(text, kind)
    if not kind.is_integer() or misfit is None:
        return value, misfit
    in_groups = text.re_search(GROUPS_TEXT).fill_null(False)
    return ibis.ifelse(in_groups, ibis.null(kind), value), misfit | in_groups


def home_month(day: ir.DateValue, today: date | None = None) -> ir.DateValue:
    """The month in which a row with this order date is kept; every row has exactly one."""
    last = last_month(today or date.today())
    end = date(last.year + last.month // 12, last.month % 12 + 1, 1)
    usable = (day >= ibis.date(FIRST_MONTH)) & (day < ibis.date(end))
    # not truncate(): DuckDB's makes a timestamp of a date
    return ibis.ifelse(usable.fill_null(False), ibis.date(day.year(), day.month(), 1), ibis.date(UNDATED))


def faithful(value: ir.Value, kind: dt.DataType) -> tuple[ir.Value, ir.BooleanValue | None]:
    """``value`` as ``kind``, and the condition under which it does not fit; None when every value fits."""
    arrived = value.type().copy(nullable=True)
    if arrived == kind:
        return value, None
    if _always_fits(arrived, kind):
        return value.cast(kind), None
    cast = _try_cast(value, kind)
    misfit = value.notnull() & ~_same(value, cast, arrived, kind).fill_null(False)
    return ibis.ifelse(misfit, ibis.null(kind), cast), misfit


def _try_cast(value: ir.Value, kind: dt.DataType) -> ir.Value:
    if isinstance(kind, dt.Timestamp) and value.type().is_string():
        # Through the type that heeds the text's zone; the engine that reads is in UTC.
        return value.try_cast(dt.Timestamp(timezone="UTC", scale=kind.scale)).cast(kind)
    return value.try_cast(kind)


def _always_fits(arrived: dt.DataType, kind: dt.DataType) -> bool:
    if arrived.is_null():
        return True
    if kind.is_string():
        return not arrived.is_binary()
    if isinstance(kind, dt.Integer) and isinstance(arrived, dt.SignedInteger):
        return arrived.nbytes < kind.nbytes
    if isinstance(kind, dt.Decimal) and isinstance(arrived, dt.Decimal):
        known = None not in (arrived.precision, arrived.scale, kind.precision, kind.scale)
        return known and arrived.scale <= kind.scale and _whole_digits(arrived) <= _whole_digits(kind)
    return False


def _whole_digits(kind: dt.Decimal) -> int:
    return (kind.precision or 0) - (kind.scale or 0)


def _same(value: ir.Value, cast: ir.Value, arrived: dt.DataType, kind: dt.DataType) -> ir.BooleanValue:
    """Whether the cast kept the value; NULL when it gave up."""
    if arrived.is_string():
        return cast.notnull() & _well_written(value, cast, kind)
    if arrived.is_binary() and kind.is_string():
        return ~cast.contains("\\x")  # how the cast writes bytes that are no letters
    if arrived.is_floating() and kind.is_numeric():
        # Nearly all doubles are the nearest to their number; only others need to be written out.
        nearest = value == cast.cast("float64")
        return cast.notnull() & (nearest | _well_written(printf(DOUBLE_DIGITS, value), cast, kind))
    if arrived.is_timestamp() and kind.is_date():
        return value == cast.cast(arrived)
    if arrived.is_numeric() and kind.is_numeric():
        return value == cast
    return cast.notnull() & (arrived.is_date() and kind.is_date())


def _well_written(value: ir.StringValue, cast: ir.Value, kind: dt.DataType) -> ir.BooleanValue:
    """Whether a text is one that stands for its cast alone: casts also take 2004-1-5, 1_000 and 0.129."""
    if kind.is_integer():
        return value.re_search(WHOLE_NUMBER_TEXT)
    if isinstance(kind, dt.Decimal):
        return value.re_search(rf"^-?[0-9]+(\.[0-9]{{0,{kind.scale}}}0*)?$")
    if kind.is_date():
        return value.re_search(DATE_TEXT) & (cast >= ibis.date(1, 1, 1))
    if kind.is_timestamp():
        return value.re_search(MOMENT_TEXT)
    return ~value.contains("\\")  # in bytes a backslash means another byte


def _rescued(arriving: ibis.Table, misfits: dict[str, ir.BooleanValue]) -> ir.StringValue:
    """JSON object of the raw values that did not fit, by column; NULL for nearly all rows."""
    unread = [arriving[RESCUED]] if RESCUED in arriving.columns else []  # what the reader could not decode
    if not misfits and not unread:
        return ibis.null("string")
    pairs: list[ir.Value] = list(unread)
    for name, misfit in misfits.items():
        pairs.append(ibis.ifelse(misfit, as_json(name, arriving[name]), None))
    broken = ibis.or_(*misfits.values(), *(each.notnull() for each in unread))
    # join leaves NULLs out
    return ibis.ifelse(broken, "{" + ibis.literal(", ").join(pairs) + "}", None)


# DuckDB's own function, for the reading engine only.
@ibis.udf.scalar.builtin(name="printf")
def printf(how: str, number: float) -> str:  # type: ignore[empty-body]
    """The number written as C writes it."""
