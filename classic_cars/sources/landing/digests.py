"""Digests of landed rows: that every value of a file is in the table, or kept as it was written.

One side is worked out from the lines as they stand in the files, the other from the typed rows. What is shared with
``conform``, which this proves, is only the definition of a well-written number, day and moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from classic_cars.contracts.rescued import RESCUED, as_json
from classic_cars.sources.conform import DATE_TEXT, MOMENT_TEXT
from classic_cars.sources.control_totals import BETWEEN, MISSING, RAW
from classic_cars.sources.digests import row_hash, unknown

#: By hash of a file's content: the sum of the hashes of its rows.
Digests = dict[str, int]

#: A whole number, with a decimal part of two noughts at most: with three, it may be thousands.
UNITS_TEXT = r"^-?[0-9]+(\.0{0,2})?$"
MOMENT = "%Y-%m-%d %H:%M:%S.%f"
LINE = "_line"


def expected(lines: ibis.Table, columns: Sequence[str], types: ibis.Schema) -> Digests:
    """Of lines whose ``columns`` are texts, as they stand in the files."""
    texts = [_coalesced(_fitting(lines[name], types[name]), lines[name]) for name in columns]
    return _summed(lines, [*texts, lines[RESCUED].fill_null(MISSING)])


def held(rows: ibis.Table, columns: Sequence[str]) -> Digests:
    """Of the same rows, typed; a value that did not fit is in ``_rescued_data``."""
    rescued: Any = rows[RESCUED].try_cast("json")
    texts = [_coalesced(_text(rows[name]), rescued[name].str) for name in columns]
    line = as_json(LINE, rescued[LINE].str).fill_null(MISSING)
    return _summed(rows, [*texts, line + unknown(rows)])


def _coalesced(fitting: ir.StringValue, raw: ir.StringValue) -> ir.StringValue:
    return ibis.coalesce(fitting, RAW + raw, ibis.literal(MISSING))


def _fitting(raw: Any, kind: dt.DataType) -> ir.StringValue:
    """The text of the value that a well-written text means; NULL for another one."""
    match kind:
        case dt.Integer():
            most = 2 ** (8 * kind.nbytes - 1)
            number = _where(UNITS_TEXT, raw, dt.Decimal(18 if kind.nbytes < 8 else 38, 0))
            return ibis.ifelse(number.between(-most, most - 1), number.cast("string"), None)
        case dt.Decimal():
            return _where(rf"^-?[0-9]+(\.[0-9]{{0,{kind.scale}}}0*)?$", raw, kind).cast("string")
        case dt.Date():
            day = _where(DATE_TEXT, raw, kind)
            return ibis.ifelse(day >= ibis.date(1, 1, 1), day.cast("string"), None)
        case dt.Timestamp():
            moment = _where(MOMENT_TEXT, raw, dt.Timestamp(timezone="UTC", scale=6))
            return _text(moment.cast(dt.Timestamp(scale=6)))
    return raw


def _where(pattern: str, raw: Any, kind: dt.DataType) -> Any:
    """The text as this type, where it is written like this."""
    return ibis.ifelse(raw.re_search(pattern), raw.try_cast(kind), None)


def _text(value: Any) -> ir.StringValue:
    return value.strftime(MOMENT) if value.type().is_timestamp() else value.cast("string")


def _summed(rows: ibis.Table, texts: Sequence[ir.StringValue]) -> Digests:
    known = [rows.fileHash, rows.fileName, rows.lineNumber.cast("string"), _text(rows.landedAt)]
    digest = row_hash(ibis.literal(BETWEEN).join([*known, *texts]), True).sum().cast("string")
    found = rows.group_by("fileHash").aggregate(digest=digest).to_pyarrow().to_pylist()
    return {each["fileHash"]: int(each["digest"]) for each in found}
