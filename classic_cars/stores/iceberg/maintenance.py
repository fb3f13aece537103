"""Upkeep of a lake: old versions forgotten, small files put together, files that nothing refers to removed.

Everything can be planned without being done. What readers see does not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow.fs as pafs
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.stores.iceberg import commit, files

#: Months of a table whose files are smaller than this on average are written anew as fewer files.
SMALL_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class Orphan:
    """A file that no version refers to."""

    path: str
    size: int


@dataclass(frozen=True)
class Upkeep:
    """What maintaining one table means: versions to forget, months to compact, files to remove."""

    address: str
    expired: list[int]
    compact: list[date | None]
    orphans: list[Orphan]

    def lines(self) -> Iterator[str]:
        """What there is to do, or was done, in words; nothing when there is nothing."""
        if self.expired:
            yield f"{self.address}: {len(self.expired)} old versions to forget"
        if self.compact:
            yield f"{self.address}: {len(self.compact)} months of many small files to write anew"
        if self.orphans:
            size = sum(each.size for each in self.orphans) / 1024**2
            yield f"{self.address}: {len(self.orphans)} files ({size:.1f} MiB) to remove that nothing refers to"


def planned(table: Table, contract: Contract, keep: timedelta, orphan_age: timedelta, now: datetime) -> Upkeep:
    """What there is to do. Files younger than ``orphan_age`` may be those of a run that is under way."""
    return Upkeep(
        contract.address,
        expired=_expired(table, now - keep),
        compact=_months_of_small_files(table, contract),
        orphans=orphans(table, now - orphan_age),
    )


def _expired(table: Table, before: datetime) -> list[int]:
    current = table.current_snapshot()
    kept = {each.snapshot_id for each in table.metadata.refs.values()} | {current.snapshot_id if current else None}
    moment = before.timestamp() * 1000
    return [
        each.snapshot_id for each in table.snapshots() if each.timestamp_ms < moment and each.snapshot_id not in kept
    ]


def expire(table: Table, snapshots: list[int]) -> Table:
    """Forget these versions; their files are orphans from then on."""
    if snapshots:
        table.maintenance.expire_snapshots().by_ids(snapshots).commit()
    return table.refresh()


def _months_of_small_files(table: Table, contract: Contract) -> list[date | None]:
    by_month: dict[date | None, list[DataFile]] = {}
    for each in commit.files_of(table, contract):
        by_month.setdefault(files.month_of(each), []).append(each)
    return sorted(
        (
            month
            for month, found in by_month.items()
            if len(found) > 1 and sum(each.file_size_in_bytes for each in found) / len(found) < SMALL_BYTES
        ),
        key=lambda month: month or date.min,
    )


def orphans(table: Table, before: datetime) -> list[Orphan]:
    """Files below the table's location that no version refers to, written before then."""
    # Files first: one that is committed in between is then known, and not taken for an orphan.
    found = list(_listed(table))
    known = set(_referred_to(table.refresh()))
    return [Orphan(path, size) for path, size, written in found if path not in known and written < before]


def _referred_to(table: Table) -> Iterator[str]:
    """Every file that the table's metadata names, directly or not."""
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    yield from (each.statistics_path for each in table.metadata.statistics)
    yield from (each.statistics_path for each in table.metadata.partition_statistics)
    seen: set[str] = set()
    for snapshot in table.snapshots():
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
                yield entry.data_file.file_path


def _listed(table: Table) -> Iterator[tuple[str, int, datetime]]:
    """All files below the table's location: path as the metadata writes it, bytes, and when they were written."""
    location = table.location()
    if not isinstance(table.io, PyArrowFileIO):
        raise StoreError(f"{location}: files can be listed with PyIceberg's Arrow file access only")
    scheme, netloc, path = PyArrowFileIO.parse_location(location, table.io.properties)
    system = table.io.fs_by_scheme(scheme, netloc)
    prefix = location.removesuffix(path)
    for each in system.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True)):
        if each.type == pafs.FileType.File:
            yield f"{prefix}{each.path}", each.size or 0, (each.mtime or datetime.now()).astimezone(UTC)
