"""Raw values kept beside their row: how ``_rescued_data`` is written, by whoever writes it."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

#: Column that keeps values which did not fit their type or were repaired, as JSON; NULL for nearly all rows.
RESCUED = "_rescued_data"


def as_json(name: str, value: ir.Value) -> ir.StringValue:
    """``"name": "value"``, a member of a JSON object; NULL for NULL."""
    return ibis.literal(f'"{name}": ') + _to_json(value.cast("string"))


def raw_kept(rows: ibis.Table, column: str) -> ir.BooleanValue:
    """Condition: ``_rescued_data`` keeps a raw value of this column. Never NULL.

    Quotes inside of values are escaped there, so that this text can only be the beginning of a value.
    """
    return rows[RESCUED].contains(f'"{column}": "').fill_null(False)


# DuckDB's own function.
@ibis.udf.scalar.builtin(name="to_json")
def _to_json(text: str) -> str:  # type: ignore[empty-body]
    """The text as a JSON string, quotes included."""
