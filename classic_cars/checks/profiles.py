"""Profiles of tables: rows and sums of hashes, by month, to compare two sides in one query each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir

from classic_cars.checks.hashing import hashed
from classic_cars.contracts.base import Contract

#: By month (or ``None``): the number of rows, sums of hashes, and the contract's totals.
Profile = dict[date | None, dict[str, Any]]

ROWS, KEY, MONTH, TOTAL, ALL = "rows", "_key", "_month", "total ", "all columns"


def profile(contract: Contract, rows: ibis.Table, names: list[str], *, each: bool = False) -> Profile:
    """One aggregate query: rows and the sum of the rows' hashes, or of (key, value) of each column, by month if any."""
    month = contract.partitioned_by
    sums: dict[str, ir.Value] = {}
    if each:
        rows = rows.mutate(**{KEY: hashed(*(rows[name] for name in contract.key))})
        sums = {name: hashed(rows[KEY], rows[name]).sum() for name in names if name not in contract.key}
        sums |= {", ".join(contract.key): rows[KEY].sum()}
    else:
        sums[ALL] = hashed(*(rows[name] for name in names)).sum()
    if contract.quarantines:
        sums |= {f"{TOTAL}{name}": total(rows) for name, total in contract.totals.items()}
    aggregates = {ROWS: rows.count(), **sums}
    grouped = rows.group_by(rows[month].truncate("M").name(MONTH)) if month else rows
    found = grouped.aggregate(**aggregates).to_pyarrow().to_pylist()
    return {row.pop(MONTH, None): {name: value or 0 for name, value in row.items()} for row in found}


def added(profiles: Iterable[Profile]) -> Profile:
    """The profile of all rows of several tables."""
    total: Profile = {}
    for each in profiles:
        for month, sums in each.items():
            before = total.get(month, {})
            total[month] = {name: before.get(name, 0) + value for name, value in sums.items()}
    return total


def differing(here: Profile, there: Profile) -> dict[str, list[str]]:
    """By column, the months in which both sides differ (``""`` for no month); empty when they are equal."""
    found: dict[str, list[str]] = {}
    for month in sorted({*here, *there}, key=str):
        one, other = here.get(month, {}), there.get(month, {})
        for name in {**other, **one}:
            if not name.startswith(TOTAL) and one.get(name, 0) != other.get(name, 0):
                found.setdefault(name, []).append(f"{month:%Y-%m}" if month else "")
    return found
