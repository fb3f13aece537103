"""Commits: one atomic snapshot per published table, planned on the version that is current at that moment.

Each says what it means and from which base it was made (``changes.py``). Whoever is out of its way only makes it be
planned again; whoever is in its way makes it be refused. It never wins silently.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from botocore.exceptions import ConnectionError as AWSConnectionError
from botocore.exceptions import HTTPClientError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, ValidationException
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table, TableProperties, Transaction
from requests import RequestException
from sqlalchemy.exc import OperationalError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreConflict, StoreUnreachable
from classic_cars.months import Months
from classic_cars.stores.base import Provenance
from classic_cars.stores.iceberg.changes import PREFIX, RUNS, Change, Kind, must_be_clear, published_by
from classic_cars.stores.iceberg.schema import evolve
from classic_cars.stores.iceberg.tables import condition, files_of, identifier, staying

#: Identifies one publish among the snapshots, when it is not known whether a commit came through.
PUBLISH_ID = f"{PREFIX}publish_id"
#: It is not known whether such a commit came through: the answer of an SQL, a REST or Glue's catalog was lost.
UNKNOWN = (CommitStateUnknownException, OperationalError, RequestException, HTTPClientError, AWSConnectionError)
CONFLICTS = (CommitFailedException, ValidationException, *UNKNOWN)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Version:
    """What is to be published: the files of a new version of ``months`` of a table, or of the whole of it."""

    contract: Contract
    change: Change
    months: Months | None
    files: Sequence[DataFile]
    #: The schema whose field ids the files carry.
    schema: Schema
    #: The version that it was made from; None when there was none.
    base: int | None
    #: Of a rewrite, the files that were read.
    rewritten: Sequence[DataFile] = ()


def commit_with_retries(address: str, wait: float, attempt: Callable[[], Result]) -> Result:
    """What ``attempt`` gives, tried again while other writers are quicker.

    Raises ``StoreConflict`` after ``wait`` seconds, and ``StoreUnreachable`` when nobody knows what became of it.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(CONFLICTS),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(wait),
        reraise=True,
    )
    try:
        return retrying(attempt)
    except UNKNOWN as error:
        raise StoreUnreachable(
            f"{address}: the catalog did not say for {wait:.0f} s whether it published it ({type(error).__name__}); "
            "check that it answers, and run again"
        ) from None
    except CONFLICTS as error:
        raise StoreConflict(
            f"{address}: could not be published for {wait:.0f} s because others publish it too "
            f"({type(error).__name__}); run again when they have finished"
        ) from None


class _LeavingFiles(Transaction):
    """After what the catalog calls a conflict, PyIceberg deletes the manifests it has written. The commit may have
    come through all the same: a client that lost the answer asked again, and was in its own way. They stay, and
    maintenance removes those that nothing refers to.
    """

    def _register_snapshot_producer(self, producer: object) -> None:
        pass


def must_not_conflict(catalog: Catalog, version: Version) -> None:
    """Raises ``StoreConflict`` when the version could not be published now."""
    _planned(catalog.load_table(identifier(version.contract)), version)


def commit(catalog: Catalog, version: Version, provenance: Provenance, wait: float) -> Table:
    """Publish the version in one snapshot and give back the table with it."""
    publish_id = uuid.uuid4().hex
    properties = _summary(version, provenance) | {PUBLISH_ID: publish_id}

    def attempt() -> Table:
        table = catalog.load_table(identifier(version.contract))
        if _has(table, publish_id):
            return table  # an earlier attempt came through, only its answer was lost
        return _commit_once(table, version, provenance.run_id, properties)

    try:
        return commit_with_retries(version.contract.address, wait, attempt)
    except StoreConflict:
        # Who is refused removes its files: they must not be those of the last attempt, come through all the same.
        table = catalog.load_table(identifier(version.contract))
        if _has(table, publish_id):
            return table
        raise


def _commit_once(table: Table, version: Version, run_id: str, properties: dict[str, str]) -> Table:
    removed, transaction = _planned(table, version)
    runs = published_by(table)
    if version.change.kind != Kind.REWRITE:
        runs = runs.after(version.months, run_id)
    properties = {**properties, RUNS: runs.text()}
    update = transaction.update_snapshot(snapshot_properties=properties)
    if version.change.kind == Kind.APPEND:
        with update.fast_append() as addition:
            for file in version.files:
                addition.append_data_file(file)
        return transaction.commit_transaction()
    with update.overwrite() as snapshot:
        # The condition tells PyIceberg in which manifests to look for the files.
        snapshot.delete_by_predicate(condition(version.contract, version.months))
        for file in removed:
            snapshot.delete_data_file(file)
        for file in version.files:
            snapshot.append_data_file(file)
    return transaction.commit_transaction()


def _planned(table: Table, version: Version) -> tuple[list[DataFile], Transaction]:
    """The files that go, and a transaction in which the table fits the contract."""
    contract, change = version.contract, version.change
    must_be_clear(table, contract.address, change, version.base)
    removed = _removed(table, version)
    transaction = _LeavingFiles(_once(table))
    evolve(contract, transaction, change.kind, staying(table, contract, change.kind, version.months))
    _same_field_ids(version, transaction.table_metadata.schema())
    return removed, transaction


def _removed(table: Table, version: Version) -> list[DataFile]:
    """Of a rewrite only what it read; anything else there was not seen by it."""
    match version.change.kind:
        case Kind.APPEND:
            return []
        case Kind.REPLACE:
            return files_of(table, version.contract, version.months)
        case Kind.REWRITE:
            rewritten = set(version.rewritten)
            found = [each for each in files_of(table, version.contract) if each in rewritten]
            if len(found) != len(rewritten):
                raise StoreConflict(
                    f"{version.contract.address}: another writer replaced rows while their files were being compacted; "
                    "nothing was changed: maintain it again later"
                )
            return found


def _once(table: Table) -> Table:
    """The same, without PyIceberg's own attempts: by its rules additions never conflict."""
    properties = {**table.metadata.properties, TableProperties.COMMIT_NUM_RETRIES: "0"}
    metadata = table.metadata.model_copy(update={"properties": properties})
    return Table(table.name(), metadata, table.metadata_location, table.io, table.catalog, table.config)


def _same_field_ids(version: Version, schema: Schema) -> None:
    written = {field.name: field.field_id for field in version.schema.fields}
    if written != {field.name: field.field_id for field in schema.fields}:
        raise StoreConflict(
            f"{version.contract.address}: another writer changed the table's columns while this one wrote; run again"
        )


def _summary(version: Version, provenance: Provenance) -> dict[str, str]:
    known = {
        "contract_version": version.contract.version,
        "run_id": provenance.run_id,
        "asset_key": provenance.asset_key,
        "code_version": provenance.code_version,
    }
    return {PREFIX + name: value for name, value in known.items()} | version.change.properties()


def _has(table: Table, publish_id: str) -> bool:
    summaries = (each.summary for each in table.snapshots())
    return any(each.additional_properties.get(PUBLISH_ID) == publish_id for each in summaries if each is not None)
