"""One transaction of a lake: what is staged lies in the warehouse already, and no snapshot knows of it.

The engine writes a new version's files where they will stay, the audit reads them there, and publishing is one commit
of PyIceberg's for each table. A process that dies leaves files that nothing refers to, and readers on the old version.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from types import TracebackType
from typing import TYPE_CHECKING, Self

import ibis
import pyarrow as pa
from pyiceberg.manifest import DataFile

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreConflict, StoreError
from classic_cars.months import Months
from classic_cars.stores.base import Maker, Provenance, Staged
from classic_cars.stores.iceberg import commit, files, tables
from classic_cars.stores.iceberg.changes import Change, Kind
from classic_cars.stores.iceberg.engines import Engine
from classic_cars.stores.iceberg.failures import PERHAPS, clear_errors, clearly
from classic_cars.stores.iceberg.lake import Lake
from classic_cars.stores.iceberg.published import Published
from classic_cars.stores.sql import same_columns
from classic_cars.stores.staging import StagedTables, not_asked_for

if TYPE_CHECKING:
    from classic_cars.stores.iceberg.store import IcebergStore


class IcebergTransaction:
    """What it has seen of a table first is the base of what it publishes of it."""

    def __init__(self, store: IcebergStore, provenance: Provenance, engine: Engine) -> None:
        self._store, self._provenance, self._engine = store, provenance, engine
        self._published = Published(store, engine)
        self._staged = StagedTables()
        self._versions: dict[str, commit.Version] = {}

    @property
    def lake(self) -> Lake:
        return self._store.lake

    @property
    def made_by(self) -> Maker:
        return Maker(self._engine.name, self._engine.page)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()
        self._store.left(self)

    @clearly
    def exists(self, contract: Contract) -> bool:
        return self._published.exists(contract)

    @clearly
    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        self._staged.must_not_hold(contract)
        return self._published.read(contract, months)

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        return self._engine.receive(rows)

    # Staging -----------------------------------------------------------------------------------------

    @clearly
    def stage(
        self, contract: Contract, rows: ibis.Table, months: Months | None = None, *, append: bool = False
    ) -> Staged:
        same_columns(contract, rows)
        months = months if contract.partitioned_by else None
        self._staged.must_take(contract, months, append)
        kind = Kind.APPEND if append else Kind.REPLACE
        try:
            version, sql = self._written(contract, kind, rows, None if append else months)
        except files.SeveralMonths as mixed:
            raise (mixed if months is None else not_asked_for(contract, months, mixed.months)) from None
        if kind == Kind.REPLACE:
            self._only_asked_for(version)
        self._forget(contract)
        self._versions[contract.address] = version
        beside = self._beside(contract, kind, months)
        new = self._view("staged", version, [each.file_path for each in version.files])
        others = self._view("not staged", version, beside) if beside else None
        return self._staged.add(Staged(contract, months, new, others, sql, self), append)

    @clearly
    def rewrite(self, contract: Contract, month: date | None) -> Staged:
        """The same rows of a month (None: those without one) in as few files as they need.

        The contract may have columns that the table has only from then on.
        """
        old = [each for each in self._published.files(contract) if files.month_of(each) == month]
        months = Months(month, month) if month is not None else None
        future = tables.evolved(self._published.current(contract), contract, Kind.REWRITE, months)
        rows = self._published.view(contract, "compacted", [each.file_path for each in old], future.schema())
        version, sql = self._written(contract, Kind.REWRITE, rows, months, old)
        self._as_many_rows(version)
        self._versions[contract.address] = version
        new = self._view("staged", version, [each.file_path for each in version.files])
        return self._staged.add(Staged(contract, months, new, None, sql, self), append=False)

    def _written(
        self,
        contract: Contract,
        kind: Kind,
        rows: ibis.Table,
        months: Months | None,
        rewritten: Sequence[DataFile] = (),
    ) -> tuple[commit.Version, str]:
        """The rows as files in the warehouse, ready to be committed; and the statement that wrote them."""
        store, table = self._store, self._published.table(contract)
        if table is None:
            table = tables.load_or_create(store.catalog, store.lake, contract)
            if table.current_snapshot() is not None:
                raise StoreConflict(f"{contract.address}: another writer made it since it was looked for; run again")
            self._published.see(contract, table)
        future = tables.evolved(table, contract, kind, months)
        folder = f"{table.location()}/data"
        written = self._engine.write(table.io, contract, rows, folder, future.schema(), months)
        try:
            described = files.described(table.io, future.metadata, written.paths)
        except BaseException:
            files.remove(table.io, written.paths)
            raise
        if kind == Kind.REPLACE or not contract.partitioned_by:
            change = Change.of(kind, months)
        else:
            change = Change.of(kind, {files.month_of(each) for each in described})
        base = tables.snapshot_id(table)
        version = commit.Version(contract, change, months, described, future.schema(), base, rewritten)
        return version, written.sql

    def _beside(self, contract: Contract, kind: Kind, months: Months | None) -> list[str]:
        """The published files that stay."""
        if kind == Kind.REPLACE and months is None:
            return []
        replaced = set(months or ()) if kind == Kind.REPLACE else set()
        return [each.file_path for each in self._published.files(contract) if files.month_of(each) not in replaced]

    def _only_asked_for(self, version: commit.Version) -> None:
        """Raises ``ContractError`` when rows belong to months that were not asked for: they would be there twice."""
        found = {files.month_of(each) for each in version.files}
        if version.months is not None and found - {*version.months}:
            self._remove_files(version)
            raise not_asked_for(version.contract, version.months, found)

    def _as_many_rows(self, version: commit.Version) -> None:
        """Raises ``StoreError`` when files that were put together have other rows than those that were read."""
        expected, found = (sum(each.record_count for each in some) for some in (version.rewritten, version.files))
        if found != expected:
            self._remove_files(version)
            raise StoreError(
                f"{version.contract.address}: found {found} rows after its files were put together, expected "
                f"{expected} as before; nothing was changed: maintain it again, or look for a damaged file"
            )

    def _view(self, which: str, version: commit.Version, paths: list[str]) -> ibis.Table:
        return self._published.view(version.contract, which, paths, version.schema)

    # Its end -----------------------------------------------------------------------------------------

    @clearly
    def publish(self, staged: Staged) -> None:
        """Commit what was staged: each table atomically, the one staged first last.

        Iceberg has no commit over several tables. A staging table's quarantine is therefore published before the
        staging table itself: whoever dies in between leaves rows that are quarantined twice, never rows that are
        missing from both, and the next run puts it right.
        """
        self._staged.must_hold(staged)
        versions = list(reversed(self._versions.values()))
        if len(versions) > 1:
            for each in versions:
                commit.must_not_conflict(self._store.catalog, each)
        for each in versions:
            self._commit(each)
        self._staged.clear()

    def _commit(self, version: commit.Version) -> None:
        try:
            with clear_errors(self.lake, PERHAPS):
                table = commit.commit(self._store.catalog, version, self._provenance, self._store.wait)
        except StoreConflict:
            raise  # refused: its files go when the transaction is left
        except BaseException:
            # Nobody knows whether it came through: its files stay; maintenance removes what nothing refers to.
            del self._versions[version.contract.address]
            raise
        del self._versions[version.contract.address]
        self._published.see(version.contract, table)
        self._store.reading.see(version.contract, table)

    def discard(self) -> None:
        for version in list(self._versions.values()):
            self._forget(version.contract)
        self._staged.clear()

    def _forget(self, contract: Contract) -> None:
        version = self._versions.pop(contract.address, None)
        if version is not None:
            self._remove_files(version)

    def _remove_files(self, version: commit.Version) -> None:
        table = self._published.table(version.contract)
        if table is not None:
            files.remove(table.io, [each.file_path for each in version.files])
