"""The data version of what a step made: a digest of its rows, so that equal rows are the same version.

Dagster would make one of the versions of all inputs: then a dimension that was rebuilt as it was puts every month
of every fact out of sync. A run of several months has one version for all of them; Dagster knows no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from classic_cars.checks.profiles import CONTENT, ROWS, Profile
from classic_cars.months import partition_key
from classic_cars.tables.external import DATA_VERSION

#: Metadata of each month that was made: a digest of its rows.
DIGEST, NO_ROWS = "digest of rows", "no rows"


@dataclass(frozen=True)
class Content:
    """What was made: its data version, and its rows by month (``YYYY-MM``) where there are months.

    ``digests``: of each month's rows.
    """

    version: str
    rows: dict[str, int]
    digests: dict[str, str]


def content_of(found: Profile) -> Content:
    """Of the ``audited`` profile of the staged rows."""
    parts = sorted(("" if month is None else partition_key(month), sums) for month, sums in found.items())
    texts = {month: f"{month}:{sums[ROWS]}:{sums[CONTENT]}" for month, sums in parts}
    rows = {month: sums[ROWS] for month, sums in parts if month}
    return Content(_digest(";".join(texts.values())), rows, {month: _digest(text) for month, text in texts.items()})


def version_of(content: Content, months: Sequence[str], instance: dg.DagsterInstance, key: dg.AssetKey) -> str:
    """The data version of what was made; of ``months`` that have the rows that they had, the one that they had.

    Otherwise a month that was made together with others would have another version as soon as it is made by itself.
    """
    kept = None
    for month in months:
        wanted = dg.AssetRecordsFilter(key, asset_partitions=[month])
        record = next(iter(instance.fetch_materializations(wanted, limit=1).records), None)
        made = record.asset_materialization if record is not None else None
        said = made.metadata.get(DIGEST) if made is not None else None
        if made is None or said is None or said.value != content.digests.get(month, NO_ROWS):
            return content.version
        version = (made.tags or {}).get(DATA_VERSION)
        if version in (None, content.version) or kept not in (None, version):
            return content.version
        kept = version
    return kept or content.version


def of_what_was_not_held(version: str, run_id: str) -> str:
    """The data version of what was made in place of other rows than the history says.

    What is made of it was made of those, whatever version the history says they had: it is made again.
    """
    return f"{version}~{run_id}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
