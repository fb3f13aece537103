"""Maintenance of a lake: old versions expired, small files compacted, orphan files removed.

Everything can be planned without being done. What readers see does not change, and neither does what others write
meanwhile: compaction replaces the files that it read and no others, and gives way to whoever replaced them.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow.fs as pafs
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.update import AssertRefSnapshotId, AssertTableUUID, RemoveSnapshotsUpdate

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreConflict, StoreError
from classic_cars.stores.base import Provenance
from classic_cars.stores.iceberg import commit, files, tables
from classic_cars.stores.iceberg.schema import awaits_all_rows
from classic_cars.wording import counted

if TYPE_CHECKING:
    from classic_cars.stores.iceberg.store import IcebergStore

#: Months of a table whose files are smaller than this on average are compacted.
SMALL_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class Orphan:
    """A file that no version refers to."""

    path: str
    size: int


@dataclass(frozen=True)
class MaintenancePlan:
    """What maintaining one table means: versions to expire, months to compact, files to remove."""

    address: str
    expired: list[int]
    compact: list[date | None]
    orphans: list[Orphan]

    def lines(self) -> Iterator[str]:
        """What there is to do, or was done, in words; nothing when there is nothing."""
        if self.expired:
            yield f"{self.address}: {counted(len(self.expired), 'old version')} to expire"
        if self.compact:
            yield f"{self.address}: {counted(len(self.compact), 'month')} of many small files to compact"
        if self.orphans:
            size = sum(each.size for each in self.orphans) / 1024**2
            yield f"{self.address}: {counted(len(self.orphans), 'orphan file')} ({size:.1f} MiB) to remove"


def of_table(
    store: IcebergStore,
    contract: Contract,
    keep: timedelta,
    orphan_age: timedelta,
    released: Set[int | None] = frozenset(),
    *,
    dry_run: bool,
) -> Iterator[str]:
    """Do, or only say, what there is to do for one table. ``released``: versions that a release names."""
    now = datetime.now(UTC)
    table = store.reading.current(contract)
    todo = planned(table, contract, keep, orphan_age, now, released)
    if dry_run:
        yield from todo.lines()
        return
    kept = list(_compacted(store, contract, todo.compact))
    forgotten = expire(table, contract, now - keep, store.wait, released)
    # Forgetting versions has left more files that nothing refers to; all older than they were.
    found = orphans(table, now - orphan_age)
    files.remove(table.io, [each.path for each in found])
    yield from replace(todo, expired=forgotten, orphans=found).lines()
    yield from kept


def planned(
    table: Table,
    contract: Contract,
    keep: timedelta,
    orphan_age: timedelta,
    now: datetime,
    released: Set[int | None] = frozenset(),
) -> MaintenancePlan:
    """What there is to do. Files younger than ``orphan_age`` may be those of a run that is under way."""
    return MaintenancePlan(
        contract.address,
        expired=_expired(table, now - keep, released),
        compact=_months_of_small_files(table, contract),
        orphans=orphans(table, now - orphan_age),
    )


def _compacted(store: IcebergStore, contract: Contract, months: list[date | None]) -> Iterator[str]:
    """Compact the months into few files; says which it left because somebody else was at work on them."""
    for month in months:
        try:
            with store.begin(Provenance("maintain", contract.address), local=True) as tx:
                tx.rewrite(contract, month).publish()
        except StoreConflict as conflict:
            yield str(conflict)


def _expired(table: Table, before: datetime, released: Set[int | None]) -> list[int]:
    """Versions that were replaced before then: a version is read until the next one is published, however old it is."""
    current = tables.snapshot_id(table)
    kept = {each.snapshot_id for each in table.metadata.refs.values()} | {current} | released
    replaced: dict[int, int] = {}
    for entry, successor in pairwise(table.metadata.snapshot_log):
        replaced[entry.snapshot_id] = successor.timestamp_ms  # the last time, for one that was rolled back to
    moment = before.timestamp() * 1000
    return [
        each.snapshot_id
        for each in table.snapshots()
        if replaced.get(each.snapshot_id, each.timestamp_ms) < moment and each.snapshot_id not in kept
    ]


def expire(
    table: Table, contract: Contract, before: datetime, wait: float, released: Set[int | None] = frozenset()
) -> list[int]:
    """Expire the versions that were replaced before then and not ``released``; their files are orphans from then on."""

    def attempt() -> list[int]:
        found = _expired(table.refresh(), before, released)
        if found:
            # Whoever rolls back to one of them meanwhile moves the reference, and all is judged again.
            requirements = (
                AssertTableUUID(uuid=table.metadata.table_uuid),
                AssertRefSnapshotId(ref="main", snapshot_id=tables.snapshot_id(table)),
            )
            table.catalog.commit_table(table, requirements, (RemoveSnapshotsUpdate(snapshot_ids=found),))
        return found

    return commit.commit_with_retries(contract.address, wait, attempt)


def _months_of_small_files(table: Table, contract: Contract) -> list[date | None]:
    """None of a table that waits for a run of all of them, which gives it its contract's columns."""
    if awaits_all_rows(contract, table.schema()):
        return []
    by_month: dict[date | None, list[DataFile]] = {}
    for each in tables.files_of(table, contract):
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
