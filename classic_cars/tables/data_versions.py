"""The data version of what a step made: a digest of its rows, so that equal rows are the same version.

Dagster would make one of the versions of all inputs: then a dimension that was rebuilt as it was puts every month
of every fact out of sync. A run of several months has one version for all of them; Dagster knows no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from classic_cars.checks.profiles import CONTENT, ROWS, Profile
from classic_cars.months import partition_key
from classic_cars.tables.events import Made
from classic_cars.tables.external import DATA_VERSION

#: The digest of a month without any.
NO_ROWS = "no rows"


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
    return Content(hexdigest(";".join(texts.values())), rows, {month: hexdigest(text) for month, text in texts.items()})


def version_of(content: Content, digests: Mapping[str, str], before: Mapping[str, Made]) -> str:
    """The data version of what was made; of months that have the rows that they had, the one that they had.

    Otherwise a month that was made together with others would have another version as soon as it is made by itself.
    ``digests``: of the rows of all months that the version is for; of those that ``content`` is not about, too.
    """
    if digests and all(month in before and before[month].digest == digest for month, digest in digests.items()):
        versions = {before[month].event.tags.get(DATA_VERSION) for month in digests}
        if len(versions) == 1 and (version := versions.pop()) is not None:
            return version
    said = ";".join(f"{month}:{digest}" for month, digest in sorted(digests.items()))
    return hexdigest(said) if digests else content.version


def of_what_was_not_held(version: str, run_id: str) -> str:
    """The data version of what was made in place of other rows than the history says.

    What is made of it was made of those, whatever version the history says they had: it is made again.
    """
    return f"{version}~{run_id}"


def hexdigest(text: str) -> str:
    """Of a text: 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
