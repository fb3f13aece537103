"""How what a check found is shown in Dagster: numbers are plotted, rows are tables, nothing hides behind a link."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import dagster as dg

from classic_cars.checks.base import plain


def check_metadata(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a check as metadata of its evaluation.

    Numbers stay numbers. Money is a float for the plot, and exact text beside it. Counts by name and lists of rows are
    tables, other lists text; what is empty is left out.
    """
    shown: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Decimal):
            shown |= {name: float(value), f"{name}, exact": _text(value)}
        elif isinstance(value, Mapping):
            rows = [{"what": each, "found": found} for each, found in value.items()]
            shown |= {name: _table(rows)} if rows else {}
        elif isinstance(value, list | tuple):
            rows = [each for each in value if isinstance(each, Mapping)]
            shown |= {name: _table(rows) if rows else ", ".join(map(_text, value))} if value else {}
        else:
            shown[name] = plain(value)
    return shown


def _table(rows: list[Mapping[str, Any]]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table([dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in rows])


def _cell(value: Any) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, str | int | float | bool) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:,.2f}" if value == round(value, 2) else f"{value:,f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(plain(value))
