"""Commits: one atomic snapshot per publish, that replaces exactly the months written, or the whole table.

Other writers may commit to the same table meanwhile. Then everything is planned again on what they left: months
of their own stay as they are; of the same month the later commit wins whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.expressions.parser import parse
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask, Table, TableProperties
from pyiceberg.table.snapshots import Snapshot
from sqlalchemy.exc import OperationalError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreConflict, StoreError
from classic_cars.months import Months
from classic_cars.stores.base import Provenance
from classic_cars.stores.iceberg.lake import Lake
from classic_cars.stores.iceberg.schema import COMMENT, evolve, iceberg_schema, partition_spec

#: Prefix of what a snapshot says about its origin.
PREFIX = "classic_cars."
#: Identifies one publish among the snapshots, when it is not known whether a commit came through.
PUBLISH_ID = f"{PREFIX}publish_id"
PROPERTIES = {
    TableProperties.PARQUET_COMPRESSION: "zstd",
    # Old metadata files go with the commit that makes them superfluous; snapshots stay until they are expired.
    TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
    TableProperties.METADATA_PREVIOUS_VERSIONS_MAX: "20",
}
CONFLICTS = (CommitFailedException, ValidationException, CommitStateUnknownException, OperationalError)


@dataclass(frozen=True)
class Beside:
    """Files come beside those of this snapshot, and of no other: what was added since may hold the same rows."""

    snapshot_id: int | None


@dataclass(frozen=True)
class Version:
    """What is to be published: the files of a new version of ``months`` of a table, or of the whole of it.

    With ``beside``, nothing is replaced.
    """

    contract: Contract
    months: Months | None
    files: Sequence[DataFile]
    #: The schema whose field ids the files carry.
    schema: Schema
    beside: Beside | None = None


def identifier(contract: Contract) -> tuple[str, str]:
    return contract.layer, contract.name


def load(catalog: Catalog, contract: Contract) -> Table | None:
    """The table as the catalog has it now; None when there is none."""
    try:
        return catalog.load_table(identifier(contract))
    except NoSuchTableError:
        return None


def load_or_create(catalog: Catalog, lake: Lake, contract: Contract) -> Table:
    """The table; a new one has no snapshot, so that it counts as never published."""
    found = load(catalog, contract)
    if found is not None:
        return found
    schema = iceberg_schema(contract)
    try:
        if not catalog.namespace_exists((contract.layer,)):
            catalog.create_namespace((contract.layer,))
    except NamespaceAlreadyExistsError:
        pass  # another run was quicker
    try:
        return catalog.create_table(
            identifier(contract),
            schema,
            location=lake.location(contract.layer, contract.name),
            partition_spec=partition_spec(contract, schema),
            properties={**PROPERTIES, COMMENT: contract.description},
        )
    except TableAlreadyExistsError:
        return catalog.load_table(identifier(contract))


def files_of(
    table: Table, contract: Contract, months: Months | None = None, snapshot: Snapshot | None = None
) -> list[DataFile]:
    """The files of a version, the current one by default; of some months only when they are given."""
    if snapshot is None and table.current_snapshot() is None:
        return []
    scan = table.scan(
        row_filter=_condition(contract, months), snapshot_id=snapshot.snapshot_id if snapshot is not None else None
    )
    return [_data_file(contract, task) for task in scan.plan_files()]


def _data_file(contract: Contract, task: FileScanTask) -> DataFile:
    if task.delete_files:
        raise StoreError(
            f"{contract.address}: another writer left row-level deletes in it, which are not read here; compact the "
            "table with that writer's tools (Spark: CALL system.rewrite_data_files), or materialize all months"
        )
    return task.file


def _condition(contract: Contract, months: Months | None) -> BooleanExpression:
    if months is None or not contract.partitioned_by:
        return AlwaysTrue()
    column = contract.partitioned_by
    return parse(f"{column} >= '{months.first}' AND {column} < '{months.end}'")


def evolved(table: Table, contract: Contract, months: Months | None, append: bool) -> Table:
    """The table as it will be once the contract is applied to it; nothing is committed.

    Raises ``StoreError`` for a contract that would lose data.
    """
    transaction = table.transaction()
    evolve(contract, transaction, _staying(table, contract, months, append))
    return Table(table.name(), transaction.table_metadata, table.metadata_location, table.io, table.catalog)


def _staying(table: Table, contract: Contract, months: Months | None, append: bool) -> Callable[[], list[DataFile]]:
    def found() -> list[DataFile]:
        if append:
            return files_of(table, contract)
        if months is None:
            return []
        replaced = set(files_of(table, contract, months))
        return [each for each in files_of(table, contract) if each not in replaced]

    return found


def commit(catalog: Catalog, version: Version, provenance: Provenance | None, wait: float) -> Table:
    """Publish the version in one snapshot and give back the table with it.

    Raises ``StoreConflict`` when others kept committing for ``wait`` seconds.
    """
    publish_id = uuid.uuid4().hex
    properties = _summary(version.contract, provenance) | {PUBLISH_ID: publish_id}

    def attempt() -> Table:
        table = catalog.load_table(identifier(version.contract))
        if any(PUBLISH_ID in each and each[PUBLISH_ID] == publish_id for each in _summaries(table)):
            return table  # an earlier attempt came through, only its answer was lost
        return _commit_once(table, version, properties)

    retrying = Retrying(
        retry=retry_if_exception_type(CONFLICTS),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(wait),
        reraise=True,
    )
    try:
        return retrying(attempt)
    except CONFLICTS as error:
        raise StoreConflict(
            f"{version.contract.address}: could not be published for {wait:.0f} s because others publish it too "
            f"({type(error).__name__}); run again when they have finished"
        ) from None


def _commit_once(table: Table, version: Version, properties: dict[str, str]) -> Table:
    contract, months = version.contract, version.months
    _same_neighbours(table, version)
    transaction = table.transaction()
    evolve(contract, transaction, _staying(table, contract, months, version.beside is not None))
    _same_field_ids(version, transaction.table_metadata.schema())
    if version.beside is not None:
        with transaction.update_snapshot(snapshot_properties=properties).fast_append() as addition:
            for file in version.files:
                addition.append_data_file(file)
        return transaction.commit_transaction()
    replaced = files_of(table, contract, months)
    with transaction.update_snapshot(snapshot_properties=properties).overwrite() as snapshot:
        # The condition tells PyIceberg which concurrent commits are in conflict with this one.
        snapshot.delete_by_predicate(_condition(contract, months))
        for file in replaced:
            snapshot.delete_data_file(file)
        for file in version.files:
            snapshot.append_data_file(file)
    return transaction.commit_transaction()


def _same_neighbours(table: Table, version: Version) -> None:
    found = table.current_snapshot()
    if version.beside is not None and version.beside.snapshot_id != (found.snapshot_id if found else None):
        raise StoreConflict(
            f"{version.contract.address}: another writer added rows meanwhile, perhaps the same ones; run again"
        )


def _same_field_ids(version: Version, schema: Schema) -> None:
    written = {field.name: field.field_id for field in version.schema.fields}
    if written != {field.name: field.field_id for field in schema.fields}:
        raise StoreConflict(
            f"{version.contract.address}: another writer changed the table's columns while this one wrote; run again"
        )


def _summary(contract: Contract, provenance: Provenance | None) -> dict[str, str]:
    known = {"contract_version": contract.version}
    if provenance is not None:
        known |= {
            "run_id": provenance.run_id,
            "asset_key": provenance.asset_key,
            "code_version": provenance.code_version,
        }
    return {PREFIX + name: value for name, value in known.items()}


def _summaries(table: Table) -> list[dict[str, str]]:
    return [each.summary.additional_properties for each in table.snapshots() if each.summary is not None]
