"""The canonical text of what SQLite holds, worked out by DuckDB over the texts that SQLite itself makes of its values.

SQLite has neither hashes nor regular expressions. Any column may hold anything there: text that is no UTF-8, numbers
among texts. Written apart from ``conform``, which it proves.
"""

from __future__ import annotations

from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import sqlalchemy as sa

from classic_cars.sources.conform import DOUBLE_DIGITS, printf
from classic_cars.sources.control_totals import BIGGEST, MISSING, MONEY, RAW, SMALLEST, number_text
from classic_cars.sources.scanner import decoded, hexadecimal
from classic_cars.sources.texts import DAY, NO_YEAR

#: A number as SQLite and DuckDB may write it, each in its own way.
FLOATING = "^-?([0-9]+([.][0-9]*)?([eE][+-]?[0-9]+)?|[iI]nf)$"


def canonical(raw: Any, kind: sa.types.TypeEngine) -> ir.StringValue:
    """The canonical text of a column of texts; never NULL."""
    if isinstance(kind, sa.Integer | sa.Numeric):
        fitting = number(raw, kind).cast("string")
    elif isinstance(kind, sa.Date):
        is_day = raw.re_search(DAY) & (raw.left(4) != NO_YEAR)
        # Nearly always; a regular expression costs ten times it. Ten characters: not infinity, not the year 10000.
        is_plain = (raw.try_cast("date").cast("string") == raw) & (raw.length() == 10)
        fitting = ibis.ifelse(is_plain, raw, ibis.ifelse(is_day, raw.left(10), ibis.null("string")))
    else:
        fitting = decoded(raw)
    return ibis.coalesce(
        fitting,
        RAW + normal(decoded(raw), kind),
        RAW + ibis.literal("x") + hexadecimal(raw),
        ibis.literal(MISSING),
    )


def scanned(value: Any, kind: sa.types.TypeEngine) -> ir.StringValue:
    """The canonical text of a column as DuckDB's scanner reads it: whole numbers, doubles and texts."""
    if not value.type().is_numeric():
        return canonical(value, kind)
    fitting = number(value, kind)
    return ibis.ifelse(fitting.notnull(), fitting.cast("string"), canonical(_text(value), kind))


def _text(value: Any) -> ir.StringValue:
    return printf(DOUBLE_DIGITS, value) if value.type().is_floating() else value.cast("string")


def number(raw: Any, kind: sa.types.TypeEngine) -> ir.NumericValue:
    """The exact number of the declared type, NULL where the text is none."""
    whole = not isinstance(kind, sa.Numeric)
    exact = dt.Decimal(18, 0) if whole else dt.Decimal(kind.precision, kind.scale)  # type: ignore[attr-defined]
    tried = raw.try_cast(exact)
    if raw.type().is_numeric():
        # Nearly all doubles are the nearest to their number; the others are judged by how they are written.
        nearest = tried.cast(raw.type()) == raw
        return ibis.ifelse(nearest, _within(tried, exact, whole), number(_text(raw), kind))
    written = tried.cast("string")
    is_plain = (written == raw) | (written == raw + "0") | (written == raw + ".00")
    fitting = ibis.ifelse(is_plain, tried, ibis.ifelse(raw.re_search(number_text(kind)), tried, ibis.null(exact)))
    return _within(fitting, exact, whole)


def _within(number: Any, exact: dt.DataType, whole: bool) -> ir.NumericValue:
    return ibis.ifelse(number.between(SMALLEST, BIGGEST), number, ibis.null(exact)) if whole else number


def normal(text: Any, kind: sa.types.TypeEngine) -> ir.StringValue:
    """The raw text of a value that does not fit; a number in the digits that a double holds."""
    if not isinstance(kind, sa.Integer | sa.Numeric):
        return text
    written = printf(DOUBLE_DIGITS, text.try_cast("float64"))
    return ibis.ifelse(text.re_search(FLOATING), ibis.coalesce(written, text), text)


def money(rows: ibis.Table, table: sa.Table) -> ir.NumericValue | None:
    """The money of a row, NULL where a value of it does not fit; None for tables without money."""
    names = MONEY.get(table.name, ())
    return product(*(number(rows[name], table.columns[name].type) for name in names)) if names else None


def product(amount: Any, *factors: Any) -> Any:
    """An exact product in the amount's unit, of any size: DuckDB's own has 18 digits where its factors have no more."""
    if factors:
        amount = amount.cast(dt.Decimal(20, 2))
    for factor in factors:
        amount = amount * factor.cast(dt.Decimal(10, 0))
    return amount
