"""A lake as it was: a catalog that shows pinned snapshots, and the shelf of releases in a bucket."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from botocore.exceptions import ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.stores.iceberg.aws import S3
from classic_cars.stores.iceberg.failures import clearly
from classic_cars.stores.iceberg.lake import Lake
from classic_cars.stores.pins import NOTE, SUFFIX, FolderShelf, Pin, Pins, Shelf

#: Beside the layers, where no table is.
FOLDER = "_releases"


class PinnedCatalog:
    """Shows the tables of ``pins`` as they were then, and no others. Nothing can be changed through it."""

    def __init__(self, catalog: Catalog, pins: Pins) -> None:
        self._catalog, self._pins = catalog, pins

    def list_namespaces(self) -> list[tuple[str]]:
        return sorted({(address.partition("/")[0],) for address in self._pins})

    def list_tables(self, namespace: tuple[str]) -> list[tuple[str, ...]]:
        addresses = (tuple(address.split("/")) for address in self._pins)
        return sorted(each for each in addresses if each[:1] == namespace)

    def load_table(self, identifier: tuple[str, str]) -> Table:
        """Raises ``NoSuchTableError`` for a table that is not pinned, ``StoreError`` for a snapshot that is gone."""
        address = "/".join(identifier)
        if address not in self._pins:
            raise NoSuchTableError(address)
        return _at(self._catalog.load_table(identifier), address, self._pins[address])


def _at(table: Table, address: str, pin: Pin) -> Table:
    snapshot = table.snapshot_by_id(pin.snapshot) if pin.snapshot is not None else None
    if snapshot is None:
        raise StoreError(
            f"{address}: version {pin.snapshot} is gone, it was expired; open a newer release: `classic-cars releases`"
        )
    branch = SnapshotRef.model_validate({"snapshot-id": snapshot.snapshot_id, "type": SnapshotRefType.BRANCH})
    then: dict[str, Any] = {"current_snapshot_id": snapshot.snapshot_id, "refs": {MAIN_BRANCH: branch}}
    if snapshot.schema_id is not None:
        then["current_schema_id"] = snapshot.schema_id
    metadata = table.metadata.model_copy(update=then)
    return Table(table.name(), metadata, table.metadata_location, table.io, table.catalog)


def pin(catalog: Catalog, contracts: Iterable[Contract]) -> dict[str, Pin]:
    """The current snapshot of each table that has one, by address."""
    found = {}
    for contract in contracts:
        try:
            snapshot = catalog.load_table((contract.layer, contract.name)).current_snapshot()
        except NoSuchTableError:
            continue
        if snapshot is not None:
            facts = snapshot.summary.additional_properties if snapshot.summary is not None else {}
            found[contract.address] = Pin(rows=int(facts.get("total-records", 0)), snapshot=snapshot.snapshot_id)
    return found


def shelf_of(lake: Lake, s3: S3 | None) -> Shelf:
    """In the warehouse, so that everyone who reads the lake finds its releases."""
    if s3 is not None:
        return BucketShelf(lake, s3, lake.warehouse.partition(f"{lake.bucket}")[2].strip("/"))
    if lake.folder is None:
        raise TypeError(f"{lake.warehouse}: neither a bucket nor a folder")
    return FolderShelf(lake.folder / FOLDER)


class BucketShelf:
    """One object each, encrypted as the lake's are. Raises ``StoreError``."""

    def __init__(self, lake: Lake, s3: S3, prefix: str) -> None:
        self.lake, self._s3, self._prefix = lake, s3, f"{prefix}/{FOLDER}/".lstrip("/")

    @clearly
    def numbers(self) -> list[int]:
        pages = self._s3.client.get_paginator("list_objects_v2").paginate(Bucket=self._s3.bucket, Prefix=self._prefix)
        names = [PurePosixPath(each["Key"]) for page in pages for each in page.get("Contents", [])]
        return sorted(int(each.stem) for each in names if each.suffix == SUFFIX and each.stem.isdecimal())

    @clearly
    def read(self, number: int) -> str | None:
        return self._text(self._key(number))

    def _text(self, key: str) -> str | None:
        try:
            found = self._s3.client.get_object(Bucket=self._s3.bucket, Key=key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                return None
            raise
        return found["Body"].read().decode(errors="backslashreplace")

    @clearly
    def add(self, number: int, text: str) -> bool:
        try:
            self._s3.client.put_object(
                Bucket=self._s3.bucket, Key=self._key(number), Body=text.encode(), IfNoneMatch="*", **self._encryption
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            raise
        return True

    @clearly
    def remove(self, number: int) -> None:
        self._s3.client.delete_object(Bucket=self._s3.bucket, Key=self._key(number))

    @clearly
    def note(self, text: str) -> None:
        if text != self.noted():
            key = f"{self._prefix}{NOTE}"
            self._s3.client.put_object(Bucket=self._s3.bucket, Key=key, Body=text.encode(), **self._encryption)

    @clearly
    def noted(self) -> str:
        return self._text(f"{self._prefix}{NOTE}") or ""

    @property
    def _encryption(self) -> dict[str, str]:
        if self.lake.kms_key:
            return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.lake.kms_key}
        return {"ServerSideEncryption": "AES256"} if self.lake.encryption == "AES256" else {}

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:08}{SUFFIX}"
