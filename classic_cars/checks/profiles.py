"""Profiles of tables: rows and sums of hashes, by month, to compare two sides in one query each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import ibis
import ibis.expr.types as ir

from classic_cars.checks.hashing import hashed
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import Origins
from classic_cars.contracts.rescued import RESCUED

#: By month (or ``None``): the number of rows, sums of hashes, and the contract's totals.
Profile = dict[date | None, dict[str, Any]]

ROWS, KEY, MONTH, TOTAL, ALL = "rows", "_key", "_month", "total ", "all columns"
#: Rows that break a rule, and rows with rescued values: of the staged rows only.
RULE, RESCUED_ROWS = "rule ", "rescued"
#: The sum of hashes of whole rows, whatever of them is proven: what the data version is made of.
CONTENT = "content"


def proven_columns(contract: Contract, origins: Origins) -> list[str]:
    """Columns whose values are proven, the key's first."""
    if contract.independent is not None:
        return list(contract.types.names)
    found = [
        name
        for name in contract.types.names
        if name in origins.copied or contract.origin(name).formula is not None or _is_kept(contract, name)
    ]
    return sorted(found, key=lambda name: name not in contract.key)


def _is_kept(contract: Contract, name: str) -> bool:
    """Whether the column holds the raw values of a table with quarantine."""
    return name == RESCUED and contract.quarantines is not None


def audited(contract: Contract, rows: ibis.Table, names: list[str]) -> Profile:
    """The profile of staged rows, their totals, the rows that break each rule and their content, in one query."""
    more: dict[str, ir.Value] = {CONTENT: hashed(*(rows[name] for name in rows.columns)).sum()}
    more |= {f"{TOTAL}{name}": total(rows) for name, total in contract.totals.items()}
    more |= {f"{RULE}{rule.name}": (~rule.holds(rows)).sum() for rule in contract.rules}
    if contract.quarantines:
        more[RESCUED_ROWS] = rows[RESCUED].count()
    return profile(contract, rows, names, more=more)


def in_all(found: Profile) -> dict[str, Any]:
    """The sums over all months."""
    return added([{None: sums} for sums in found.values()]).get(None, {})


def compared(found: Profile) -> Profile:
    """What is compared of an audited profile with the expected rows."""
    return {
        month: {name: value for name, value in sums.items() if not name.startswith((RULE, RESCUED_ROWS, CONTENT))}
        for month, sums in found.items()
    }


def profile(
    contract: Contract,
    rows: ibis.Table,
    names: list[str],
    *,
    each: bool = False,
    more: Mapping[str, ir.Value] | None = None,
) -> Profile:
    """One aggregate query: rows and the sum of the rows' hashes, or of (key, value) of each column, by month if any.

    ``more``: other sums of the same rows.
    """
    month = contract.partitioned_by
    sums: dict[str, ir.Value] = {}
    if each:
        rows = rows.mutate(**{KEY: hashed(*(rows[name] for name in contract.key))})
        sums = {name: hashed(rows[KEY], rows[name]).sum() for name in names if name not in contract.key}
        sums |= {", ".join(contract.key): rows[KEY].sum()}
    elif names:
        # In the order of the content: where all columns are proven, the engine makes one sum of both.
        sums[ALL] = hashed(*(rows[name] for name in contract.types.names if name in names)).sum()
    if contract.quarantines:
        sums |= {f"{TOTAL}{name}": total(rows) for name, total in contract.totals.items()}
    aggregates = {ROWS: rows.count(), **sums, **(more or {})}
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
