"""The store over an Iceberg lake: its catalog and engines, what readers ask, and its versions.

Several processes may write at once, and readers never wait for them. What is written is in ``transaction.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import ibis
import pyarrow as pa
from botocore.exceptions import ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from classic_cars.contracts.base import Contract
from classic_cars.contracts.versions import digest
from classic_cars.errors import StoreAccessDenied, StoreError, StoreUnreachable
from classic_cars.months import Months
from classic_cars.stores.base import AsOf, Difference, Provenance, Size, TableVersion
from classic_cars.stores.iceberg import changes, files, history, maintenance, pinned, queries
from classic_cars.stores.iceberg.aws import S3
from classic_cars.stores.iceberg.engines import DuckDBEngine, Engine
from classic_cars.stores.iceberg.failures import clear_errors, clearly
from classic_cars.stores.iceberg.lake import Lake
from classic_cars.stores.iceberg.pinned import PinnedCatalog, shelf_of
from classic_cars.stores.iceberg.published import Published
from classic_cars.stores.iceberg.tables import Plans, snapshot_id
from classic_cars.stores.iceberg.transaction import IcebergTransaction
from classic_cars.stores.pins import UNDATED, WHOLE, Pin, Pins, Shelf, named_on
from classic_cars.stores.publications import Publications
from classic_cars.stores.sql import OWN


class IcebergStore:
    """The tables of one lake. ``wait``: seconds to contend with other writers before ``StoreConflict``.

    ``beside``: a folder whose files a read-only store's queries may read. ``computes``: the engine of the steps that
    make tables of other tables, when it is not the DuckDB that does all else. ``at``: these versions of these tables.
    """

    def __init__(
        self,
        lake: Lake,
        *,
        scratch: Path,
        read_only: bool = False,
        wait: float = 900.0,
        config: Mapping[str, Any] | None = None,
        beside: Path | None = None,
        computes: Engine | None = None,
        at: Pins | None = None,
    ) -> None:
        self.lake, self._scratch, self._config, self._beside, self._pins = lake, scratch, config or {}, beside, at
        self.read_only = read_only
        self.wait = wait
        self.engine = DuckDBEngine(lake, scratch, read_only=read_only, config=self._config, beside=beside)
        self._computes: Engine = computes or self.engine
        self._s3 = S3(lake.bucket) if lake.bucket else None
        self._catalog: Catalog | None = None
        self._opening = threading.Lock()  # threads may ask side by side
        self._transaction: IcebergTransaction | None = None
        self.plans = Plans()
        self.reading = self._newest()

    def _newest(self) -> Published:
        # Views of its own: those that a transaction reads stay as they are, and no question drops or shows them.
        return Published(self, self.engine, lambda table: f"version {snapshot_id(table)}", apart=OWN)

    @property
    def place(self) -> str:
        return self.lake.warehouse

    # Opening and closing -----------------------------------------------------------------------------

    def begin_run(self, holder: str) -> None:  # noqa: ARG002
        """Several runs may write at once: nobody waits. Says early when the warehouse cannot be reached."""
        if self._s3 is not None:
            with clear_errors(self.lake):
                self._s3.probe()
                if self.lake.encryption == "AES256":
                    _same_encryption(self._s3)

    def end_run(self) -> None:
        self.release()
        self.engine.close()
        self._computes.close()
        self._catalog = None

    def begin(self, provenance: Provenance, *, local: bool = False) -> IcebergTransaction:
        if self.read_only:
            raise StoreError(f"{self.place}: was opened for reading only; open the store for writing")
        self.release()
        self._transaction = IcebergTransaction(self, provenance, self.engine if local else self._computes)
        return self._transaction

    def left(self, transaction: IcebergTransaction) -> None:
        """A transaction is over; whoever reads next sees the newest versions."""
        if transaction is self._transaction:
            self._transaction = None
            self.reading = self._newest()

    def release(self) -> None:
        """The next call sees the newest versions.

        Of pinned versions there are none: whoever opens them one after the other leaves no engine behind.
        """
        if self._transaction is not None:
            self._transaction.__exit__(None, None, None)
        self.reading = self._newest()
        if self._pins is not None:
            self.engine.close()

    @property
    def catalog(self) -> Catalog:
        """The catalog, with the credentials of this moment."""
        catalog = self._reached()
        return catalog if self._pins is None else cast(Catalog, PinnedCatalog(catalog, self._pins))

    def _reached(self) -> Catalog:
        """Open the catalog, and again whenever temporary credentials were renewed: a reader may stay for days."""
        with self._opening:
            access = self._s3.access() if self._s3 is not None else None
            if self._catalog is None or access != self.engine.access:
                self._catalog = self.lake.open(access)
                self.engine.reach(access)
            return self._catalog

    # What readers ask --------------------------------------------------------------------------------

    @clearly
    def exists(self, contract: Contract) -> bool:
        return self.reading.exists(contract)

    @clearly
    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        self._reached()  # tables that were read before need no catalog
        return self.reading.read(contract, months)

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        return self.engine.receive(rows)

    @clearly
    def size(self, contract: Contract) -> Size:
        """The current version's data files; older versions that history keeps are not counted."""
        snapshot = self.reading.current(contract).current_snapshot()
        return Size(_number(snapshot, "total-records") or 0, _number(snapshot, "total-files-size"))

    @clearly
    def months(self, contract: Contract) -> list[date]:
        if not contract.partitioned_by or not self.exists(contract):
            return []
        found = {files.month_of(each) for each in self.reading.files(contract)}
        return sorted(month for month in found if month is not None)

    @clearly
    def row_counts(self) -> dict[str, int]:
        return {
            f"{layer}/{name}": _number(snapshot, "total-records") or 0
            for layer, name in queries.all_tables(self.catalog)
            if (snapshot := self.catalog.load_table((layer, name)).current_snapshot()) is not None
        }

    @clearly
    def published_by(self, addresses: Collection[str] | None = None) -> dict[str, Publications]:
        return {
            f"{layer}/{name}": changes.published_by(self.catalog.load_table((layer, name)))
            for layer, name in queries.all_tables(self.catalog)
            if addresses is None or f"{layer}/{name}" in addresses
        }

    @clearly
    def query(self, sql: str) -> pa.RecordBatchReader:
        return queries.answer(self.catalog, self.engine, sql)

    # Releases ----------------------------------------------------------------------------------------

    @property
    def shelf(self) -> Shelf:
        return shelf_of(self.lake, self._s3)

    @clearly
    def pin(self, contracts: Iterable[Contract], before: Pins) -> dict[str, Pin]:  # noqa: ARG002
        """Snapshots are there anyway: maintenance expires none that is on the shelf."""
        return pinned.pin(self.catalog, contracts)

    @clearly
    def marks(self, contract: Contract) -> dict[str, str]:
        """Of the files: rows that were written again have others, even where no row differs."""
        found: dict[str, list[str]] = {}
        for each in self.reading.files(contract):
            month = files.month_of(each)
            part = (f"{month:%Y-%m}" if month else UNDATED) if contract.partitioned_by else WHOLE
            found.setdefault(part, []).append(each.file_path)
        return {part: digest(*sorted(paths)) for part, paths in found.items()}

    def at(self, pins: Pins) -> IcebergStore:
        return IcebergStore(
            self.lake,
            scratch=self._scratch,
            read_only=True,
            wait=self.wait,
            config=self._config,
            beside=self._beside,
            at=pins,
        )

    def sweep(self) -> None:
        """Nothing to do: versions are expired by maintenance."""

    # Its versions ------------------------------------------------------------------------------------

    @clearly
    def history(self, contract: Contract) -> list[TableVersion]:
        return history.versions(self._now(contract))

    @clearly
    def difference(self, contract: Contract, old: int, new: int) -> Difference:
        return history.difference(self.engine, self._now(contract), contract, old, new)

    @clearly
    def roll_back(self, contract: Contract, version: int) -> None:
        history.roll_back(self._now(contract), contract, version, self.wait)
        self.release()

    @clearly
    def query_as_of(self, sql: str, as_of: AsOf) -> pa.RecordBatchReader:
        return queries.answer(self.catalog, self.engine, sql, as_of)

    @clearly
    def maintain(
        self, contracts: Iterable[Contract], *, keep: timedelta, orphan_age: timedelta, dry_run: bool
    ) -> Iterator[str]:
        released, failed = named_on(self.shelf), []
        for contract in contracts:
            self.release()
            kept = {pins[contract.address].snapshot for pins in released if contract.address in pins}
            try:
                with clear_errors(self.lake):
                    if self.exists(contract):
                        yield from maintenance.of_table(self, contract, keep, orphan_age, kept, dry_run=dry_run)
            except (StoreAccessDenied, StoreUnreachable):
                raise  # for the others it would be the same
            except StoreError as error:
                failed.append(str(error))
        if failed:
            raise StoreError("; ".join(failed))

    def _now(self, contract: Contract) -> Table:
        """The table as it is at this moment."""
        return self._newest().current(contract)


def _same_encryption(s3: S3) -> None:
    """DuckDB cannot ask for AES256 file by file; the bucket has to do it. Raises ``StoreError`` when it does not."""
    try:
        found = s3.encrypts_by_default()
    except ClientError as error:
        found = error.response.get("Error", {}).get("Code", "unknown")
    if found != "AES256":
        raise StoreError(
            f"s3://{s3.bucket}: its default encryption is {found}, CLASSIC_CARS_S3_ENCRYPTION asks for AES256; set the "
            "bucket's default encryption to AES256, or the variable to none or aws:kms:<key id>"
        )


def _number(snapshot: Snapshot | None, name: str) -> int | None:
    value = snapshot.summary.additional_properties.get(name) if snapshot and snapshot.summary else None
    return None if value is None else int(value)
