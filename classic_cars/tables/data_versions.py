"""The data version of what a step made: a digest of its rows, so that equal rows are the same version.

Dagster would make one of the versions of all inputs: then a dimension that was rebuilt as it was puts every month
of every fact out of sync. A run of several months has one version for all of them; Dagster knows no other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import dagster as dg

from classic_cars.checks.profiles import CONTENT, ROWS, Profile
from classic_cars.months import partition_key


@dataclass(frozen=True)
class Content:
    """What was made: its data version, and its rows by month (``YYYY-MM``) where there are months."""

    version: dg.DataVersion
    rows: dict[str, int]


def content_of(found: Profile) -> Content:
    """Of the ``audited`` profile of the staged rows."""
    parts = sorted(("" if month is None else partition_key(month), sums) for month, sums in found.items())
    return Content(_version(parts), {month: sums[ROWS] for month, sums in parts if month})


def _version(parts: list[tuple[str, dict]]) -> dg.DataVersion:
    text = ";".join(f"{month}:{sums[ROWS]}:{sums[CONTENT]}" for month, sums in parts)
    return dg.DataVersion(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
