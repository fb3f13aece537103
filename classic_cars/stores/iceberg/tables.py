"""A table of the lake as its catalog has it: found or created, its files, and what a contract would make of it.

Nothing is committed here except that a new table is created, empty and without a version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.expressions.parser import parse
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table, TableProperties
from pyiceberg.table.snapshots import Snapshot

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.months import Months
from classic_cars.stores.iceberg.changes import Kind
from classic_cars.stores.iceberg.files import month_of
from classic_cars.stores.iceberg.lake import Lake
from classic_cars.stores.iceberg.schema import COMMENT, evolve, iceberg_schema, partition_spec

PROPERTIES = {
    TableProperties.PARQUET_COMPRESSION: "zstd",
    # Old metadata files go with the commit that makes them superfluous; snapshots stay until they are expired.
    TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
    TableProperties.METADATA_PREVIOUS_VERSIONS_MAX: "20",
}


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


def snapshot_id(table: Table) -> int | None:
    """The number of the current version; None when the table was never published."""
    snapshot = table.current_snapshot()
    return None if snapshot is None else snapshot.snapshot_id


def files_of(
    table: Table, contract: Contract, months: Months | None = None, snapshot: Snapshot | None = None
) -> list[DataFile]:
    """The files of a version, the current one by default; of some months only when they are given."""
    if snapshot is None and table.current_snapshot() is None:
        return []
    scan = table.scan(
        row_filter=condition(contract, months), snapshot_id=snapshot.snapshot_id if snapshot is not None else None
    )
    return [_data_file(contract, task) for task in scan.plan_files()]


def _data_file(contract: Contract, task: FileScanTask) -> DataFile:
    if task.delete_files:
        raise StoreError(
            f"{contract.address}: another writer left row-level deletes in it, which are not read here; compact the "
            "table with that writer's tools (Spark: CALL system.rewrite_data_files), or materialize all months"
        )
    return task.file


def condition(contract: Contract, months: Months | None) -> BooleanExpression:
    if months is None or not contract.partitioned_by:
        return AlwaysTrue()
    column = contract.partitioned_by
    return parse(f"{column} >= '{months.first}' AND {column} < '{months.end}'")


class Plans:
    """The files of tables' current versions; each is planned once, as long as nobody publishes another one."""

    def __init__(self) -> None:
        self._planned: dict[str, tuple[int | None, dict[Months | None, list[DataFile]]]] = {}

    def files(self, table: Table, contract: Contract, months: Months | None = None) -> list[DataFile]:
        number, plans = self._planned.get(contract.address, (None, {}))
        if number != snapshot_id(table):
            plans = {}
        if months not in plans:
            plans[months] = files_of(table, contract, months)
        self._planned[contract.address] = snapshot_id(table), plans
        return plans[months]


def evolved(table: Table, contract: Contract, kind: Kind, months: Months | None) -> Table:
    """The table as it will be once the contract is applied to it; nothing is committed.

    Raises ``StoreError`` for a contract that would lose data.
    """
    transaction = table.transaction()
    evolve(contract, transaction, kind, staying(table, contract, kind, months))
    return Table(table.name(), transaction.table_metadata, table.metadata_location, table.io, table.catalog)


def staying(table: Table, contract: Contract, kind: Kind, months: Months | None) -> Callable[[], Sequence[DataFile]]:
    """The files whose rows a change of that kind leaves."""

    def found() -> Sequence[DataFile]:
        if kind != Kind.REPLACE:
            return files_of(table, contract)
        if months is None:
            return []
        replaced = set(months)
        return [each for each in files_of(table, contract) if month_of(each) not in replaced]

    return found
