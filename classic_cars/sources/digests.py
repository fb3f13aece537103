"""The platform's side of the control totals: the same numbers as the order system's, over ``source/*``.

One aggregate query, pushed into the engine that holds the rows. A value that did not fit its column counts as what it
was: the raw text in ``_rescued_data``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import sqlalchemy as sa

from classic_cars.contracts.base import RESCUED
from classic_cars.contracts.order_system import PARTITIONED
from classic_cars.contracts.source import MONTH
from classic_cars.sources import canonical_sqlite
from classic_cars.sources.control_totals import (
    BETWEEN,
    MD5_DIGITS,
    MISSING,
    MONEY,
    RAW,
    WHOLE,
    ControlTotals,
    proven,
)
from classic_cars.sources.urls import SourceURL


def held_totals(rows: ibis.Table, table: sa.Table, url: SourceURL) -> dict[str, ControlTotals]:
    """Control totals of typed rows of ``source/<table>``, by home month; ``url``: where they were read from."""
    texts = [canonical(rows, column, url) for column in proven(table)]
    texts[0] = texts[0] + unknown(rows)
    names = MONEY.get(table.name, ())
    amount = canonical_sqlite.product(*(rows[name] for name in names)) if names else None
    return totals(rows, rows[MONTH] if table.name in PARTITIONED else None, texts, amount, url.is_sqlite)


def held_column_digests(rows: ibis.Table, table: sa.Table, url: SourceURL) -> dict[str, int]:
    """A digest of each proven column alone, bound to the row's key."""
    return column_digests(rows, table, {c.name: canonical(rows, c, url) for c in proven(table)}, url.is_sqlite)


def differing_columns(
    order_system: Any, rows: ibis.Table, table: sa.Table, months: Sequence[date] | None = None
) -> list[str]:
    """Columns whose values in ``rows`` differ from those of the order system now; for messages."""
    expected = order_system.column_digests(table, months)
    found = held_column_digests(rows, table, order_system.url)
    return [name for name, digest in found.items() if digest != expected[name]]


def canonical(rows: ibis.Table, column: sa.Column, url: SourceURL) -> ir.StringValue:
    """The canonical text of a typed column; never NULL."""
    rescued = rows[RESCUED]
    raw: Any = rescued.try_cast("json")[column.name].str
    if url.is_sqlite:
        raw = canonical_sqlite.normal(raw, column.type)
    elif isinstance(column.type, sa.String):
        raw = _hex(raw.cast("binary"))  # a server's text column misfits as bytes alone, written with escapes
    kept = ibis.ifelse(rescued.notnull(), RAW + raw, ibis.null("string"))
    return ibis.coalesce(rows[column.name].cast("string"), kept, ibis.literal(MISSING))


def unknown(rows: ibis.Table) -> ir.StringValue:
    """A mark for ``_rescued_data`` that is no JSON object, and so holds the raw value of no column; mostly empty."""
    rescued = rows[RESCUED]
    is_object = _json_type(rescued.try_cast("json")) == "OBJECT"
    return ibis.ifelse(rescued.notnull() & ~is_object.fill_null(False), RAW, "")


# Of either side, once there are canonical texts in DuckDB ------------------------------------------------


def totals(
    rows: ibis.Table, month: Any, texts: Sequence[ir.StringValue], amount: Any, with_hash: bool
) -> dict[str, ControlTotals]:
    """By month, or of all rows when ``month`` is None. ``amount`` of a row in dollars; None without money."""
    return as_totals(measured(rows, month, texts, amount, with_hash))


def measured(
    rows: ibis.Table, month: Any, texts: Sequence[ir.StringValue], amount: Any, with_hash: bool, **more: ir.Scalar
) -> list[dict[str, Any]]:
    """The sums that control totals are made of, and ``more`` of the same rows, in one query; of each month if any."""
    # As texts: the sums are wider than any integer that Ibis knows.
    sums = {
        "rows": rows.count(),
        "digest": row_hash(ibis.literal(BETWEEN).join(texts), with_hash).sum().cast("string"),
    }
    if amount is not None:
        sums["amount"] = amount.sum().cast("string")
    sums |= more
    found = rows.group_by(month=month).aggregate(**sums) if month is not None else rows.aggregate(**sums)
    return found.to_pyarrow().to_pylist()


def as_totals(sums: Iterable[dict[str, Any]]) -> dict[str, ControlTotals]:
    """What was ``measured``, as control totals."""
    found: dict[str, ControlTotals] = {}
    for each in sorted(sums, key=lambda each: str(each.get("month"))):
        if each["rows"]:
            cents = int(Decimal(each["amount"] or 0) * 100) if "amount" in each else None
            total = ControlTotals(each["rows"], cents, int(each["digest"] or 0))
            key = _key(each["month"]) if "month" in each else WHOLE
            # No day, and the day "None", have one key.
            found[key] = found[key] + total if key in found else total
    return found


def column_digests(
    rows: ibis.Table, table: sa.Table, texts: dict[str, ir.StringValue], with_hash: bool
) -> dict[str, int]:
    """A digest of each column alone, bound to the row's key."""
    key = [texts[column.name] for column in table.primary_key]
    sums = {
        name: row_hash(ibis.literal(BETWEEN).join([*key, text]), with_hash).sum().cast("string")
        for name, text in texts.items()
    }
    (found,) = rows.aggregate(**sums).to_pyarrow().to_pylist()
    return {name: int(value or 0) for name, value in found.items()}


def summed(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Digests of disjoint rows are those of all."""
    found: dict[str, int] = {}
    for part in parts:
        for name, digest in part.items():
            found[name] = found.get(name, 0) + digest
    return found


def _key(month: Any) -> str:
    return f"{month:%Y-%m}" if isinstance(month, date) else str(month)


def row_hash(text: ir.StringValue, with_hash: bool) -> ir.IntegerValue:
    """DuckDB's own hash where both sides have it, and otherwise what a server makes of MD5."""
    return _hash(text) if with_hash else (ibis.literal("0x") + _md5(text).left(MD5_DIGITS)).cast("int64")


# DuckDB's own functions.
@ibis.udf.scalar.builtin(name="hash")
def _hash(text: str) -> int:  # type: ignore[empty-body]
    ...


@ibis.udf.scalar.builtin(name="md5")
def _md5(text: str) -> str:  # type: ignore[empty-body]
    ...


@ibis.udf.scalar.builtin(name="hex")
def _hex(raw: bytes) -> str:  # type: ignore[empty-body]
    ...


@ibis.udf.scalar.builtin(name="json_type", signature=((dt.json,), dt.string))
def _json_type(value):  # type: ignore[no-untyped-def]
    ...
