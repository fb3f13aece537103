"""The data version of what a step made: a digest of its rows, so that equal rows are the same version.

Dagster would make one of the versions of all inputs: then a dimension that was made again as it was puts every month
of every fact out of sync. A run of several months has one version for all of them; Dagster knows no other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import dagster as dg

from classic_cars.checks.hashing import hashed
from classic_cars.months import partition_key
from classic_cars.stores.base import Staged


@dataclass(frozen=True)
class Content:
    """What was made: its data version, and its rows by month (``YYYY-MM``) where there are months."""

    version: dg.DataVersion
    rows: dict[str, int]


def content_of(staged: Staged, month_of: str | None) -> Content:
    """One query over the staged rows; ``month_of`` is the column that they are partitioned by."""
    rows = staged.rows
    asked = {"rows": rows.count(), "hash": hashed(*(rows[name] for name in rows.columns)).sum()}
    if month_of is None:
        (found,) = rows.aggregate(**asked).to_pyarrow().to_pylist()
        return Content(_version([("", found)]), {})
    by_month = rows.group_by(rows[month_of].truncate("M").name("month")).aggregate(**asked).to_pyarrow().to_pylist()
    found = sorted((partition_key(each["month"]), each) for each in by_month)
    return Content(_version(found), {month: each["rows"] for month, each in found})


def _version(found: list[tuple[str, dict]]) -> dg.DataVersion:
    text = ";".join(f"{month}:{each['rows']}:{each['hash'] or 0}" for month, each in found)
    return dg.DataVersion(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
