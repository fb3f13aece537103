"""The store over an Iceberg lake: what is staged lies in the warehouse already, and no snapshot knows of it.

DuckDB writes a new version's files where they will stay, the audit reads them there, and publishing is one
commit of PyIceberg's. A process that dies leaves files that nothing refers to, and readers on the old snapshot.
Several processes may write at once. All tables that a step reads stay as they were when it first read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import duckdb
import ibis
import pyarrow as pa
from botocore.exceptions import ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from classic_cars.contracts.base import Contract
from classic_cars.errors import ContractError, StoreError, TableMissing
from classic_cars.months import Months
from classic_cars.stores.base import AsOf, Difference, Provenance, Staged, TableVersion
from classic_cars.stores.iceberg import commit, files, history, maintenance
from classic_cars.stores.iceberg.aws import S3, S3Access
from classic_cars.stores.iceberg.engine import Engine
from classic_cars.stores.iceberg.failures import clear_errors
from classic_cars.stores.iceberg.lake import Lake
from classic_cars.stores.sql import same_columns

ARRIVAL = "arriving"


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _clearly(
    method: Callable[Concatenate[IcebergStore, Arguments], Result],
) -> Callable[Concatenate[IcebergStore, Arguments], Result]:
    """The method, with every library's storage errors turned into ours."""

    @wraps(method)
    def clear(store: IcebergStore, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with clear_errors(store.lake):
            return method(store, *args, **kwargs)

    return clear


@dataclass(frozen=True)
class _Draft:
    """A staged version: its view, and what publishing it takes."""

    version: commit.Version
    #: Every file of the table as it will be.
    paths: list[str]


class IcebergStore:
    """The tables of one lake. ``wait``: seconds to contend with other writers before ``StoreConflict``."""

    def __init__(
        self,
        lake: Lake,
        *,
        scratch: Path,
        read_only: bool = False,
        wait: float = 900.0,
        memory: str = "700MB",
        threads: int = 0,
    ) -> None:
        self.lake = lake
        self.read_only = read_only
        self._wait = wait
        self._engine = Engine(lake, scratch, read_only=read_only, memory=memory, threads=threads)
        self._s3 = S3(lake.bucket) if lake.bucket else None
        self._access: S3Access | None = None
        self._catalog: Catalog | None = None
        self._tables: dict[str, Table | None] = {}
        self._drafts: dict[str, _Draft] = {}
        self._planned: dict[str, tuple[Snapshot | None, dict[Months | None, list[DataFile]]]] = {}

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
        self._engine.close()
        self._catalog = None

    def release(self) -> None:
        """Forget what was staged and the versions that the step saw; the next one sees the newest."""
        self.discard()
        self._tables.clear()
        self._access = None

    @property
    def catalog(self) -> Catalog:
        """The catalog, with the credentials of this moment."""
        if self._catalog is None or self._access is None:
            access = self._s3.access() if self._s3 is not None else None
            if self._catalog is None or access != self._engine.access:
                self._catalog = self.lake.open(access)
                self._engine.reach(access)
            self._access = access
        return self._catalog

    def _table(self, contract: Contract) -> Table | None:
        """The table as this step sees it; None when there is none."""
        if contract.address not in self._tables:
            self._tables[contract.address] = commit.load(self.catalog, contract)
        return self._tables[contract.address]

    def _files(self, table: Table, contract: Contract, months: Months | None = None) -> list[DataFile]:
        """The files of the version that this step sees; planned once, as long as nobody publishes another one."""
        snapshot, plans = self._planned.get(contract.address, (None, {}))
        if snapshot != table.current_snapshot():
            plans = {}
        if months not in plans:
            plans[months] = commit.files_of(table, contract, months)
        self._planned[contract.address] = table.current_snapshot(), plans
        return plans[months]

    def _view(self, contract: Contract, which: str, paths: list[str], schema: Schema) -> ibis.Table:
        return self._engine.view(contract.layer, f"{contract.name} {which}".strip(), paths, schema, contract)

    def _published(self, contract: Contract) -> Table:
        table = self._table(contract)
        if table is None or table.current_snapshot() is None:
            raise TableMissing(
                f"{contract.address}: never published in {self.place}; materialize it first: "
                f"`classic-cars run --select {contract.address}`"
            )
        return table

    # The protocol ------------------------------------------------------------------------------------

    @_clearly
    def exists(self, contract: Contract) -> bool:
        table = self._table(contract)
        return table is not None and table.current_snapshot() is not None

    @_clearly
    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        months = months if contract.partitioned_by else None
        draft = self._drafts.get(contract.address)
        if draft is not None:
            rows = self._view(contract, "staged beside published", draft.paths, draft.version.schema)
        else:
            table = self._published(contract)
            found = [each.file_path for each in self._files(table, contract, months)]
            rows = self._view(contract, str(months or ""), found, table.schema())
        return rows.filter(months.hold(rows[contract.partitioned_by or ""])) if months else rows

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        backend = self._engine.backend
        backend.con.register(ARRIVAL, rows)
        return backend.table(ARRIVAL)

    @_clearly
    def stage(
        self, contract: Contract, rows: ibis.Table, months: Months | None = None, *, append: bool = False
    ) -> Staged:
        same_columns(contract, rows)
        months = months if contract.partitioned_by else None
        table = self._table(contract)
        if table is None:
            table = self._tables[contract.address] = commit.load_or_create(self.catalog, self.lake, contract)
        future = commit.evolved(table, contract, months, append)
        query = self._engine.backend.compile(rows.select(*contract.types.names))
        written = files.write(
            self._engine, table.io, contract, query, f"{table.location()}/data", future.schema(), months
        )
        version = commit.Version(
            contract,
            months,
            files.described(table.io, future.metadata, written.paths),
            future.schema(),
            beside=commit.Beside(_snapshot_id(table)) if append else None,
        )
        self._forget_draft(contract)
        _only_asked_for(version)
        beside = [
            each.file_path
            for each in (self._files(table, contract) if append or months is not None else [])
            if append or files.month_of(each) not in set(months or ())
        ]
        self._drafts[contract.address] = _Draft(version, [*written.paths, *beside])
        new = self._view(contract, "staged", written.paths, version.schema)
        others = self._view(contract, "not staged", beside, version.schema) if beside else None
        return Staged(contract, months, rows=new, others=others, sql=written.sql)

    @_clearly
    def publish(self, provenance: Provenance | None = None) -> None:
        """Commit what was staged: each table atomically, the one staged first last.

        Iceberg has no commit over several tables. A staging table's quarantine is therefore published before the
        staging table itself: whoever dies in between leaves rows that are set aside twice, never rows that are
        missing from both, and the next run puts it right.
        """
        for address, draft in reversed(list(self._drafts.items())):
            self._tables[address] = commit.commit(self.catalog, draft.version, provenance, self._wait)
            del self._drafts[address]

    def discard(self) -> None:
        for draft in list(self._drafts.values()):
            self._forget_draft(draft.version.contract)

    def _forget_draft(self, contract: Contract) -> None:
        draft = self._drafts.pop(contract.address, None)
        table = self._tables.get(contract.address)
        if draft is not None and table is not None:
            files.remove(table.io, [each.file_path for each in draft.version.files])

    @_clearly
    def size(self, contract: Contract) -> int | None:
        """Bytes of the current version's data files; older versions that history keeps are not counted."""
        return _number(self._published(contract).current_snapshot(), "total-files-size")

    @_clearly
    def months(self, contract: Contract) -> list[date]:
        if not contract.partitioned_by or not self.exists(contract):
            return []
        found = {files.month_of(each) for each in self._files(self._published(contract), contract)}
        return sorted(month for month in found if month is not None)

    @_clearly
    def row_counts(self) -> dict[str, int]:
        return {
            f"{layer}/{name}": _number(snapshot, "total-records") or 0
            for layer, name in self._all_tables()
            if (snapshot := self.catalog.load_table((layer, name)).current_snapshot()) is not None
        }

    @_clearly
    def query(self, sql: str, as_of: AsOf | None = None) -> pa.RecordBatchReader:
        try:
            kinds = [each.type for each in duckdb.extract_statements(sql)]
            if kinds != [duckdb.StatementType.SELECT]:
                raise StoreError("a query is one SELECT; this would do something else")
            self._engine.forget()
            self._show_tables(sql, as_of)
            return self._engine.execute(sql).to_arrow_reader(65_536)
        except duckdb.Error as error:
            raise StoreError(str(error)) from None

    # History and upkeep ------------------------------------------------------------------------------

    @_clearly
    def history(self, contract: Contract) -> list[TableVersion]:
        return history.versions(self._published(contract))

    @_clearly
    def difference(self, contract: Contract, old: int, new: int) -> Difference:
        return history.difference(self._engine, self._published(contract), contract, old, new)

    @_clearly
    def roll_back(self, contract: Contract, version: int) -> None:
        history.roll_back(self._published(contract), contract, version)
        self.release()

    @_clearly
    def maintain(
        self, contracts: Iterable[Contract], *, keep: timedelta, orphan_age: timedelta, dry_run: bool
    ) -> Iterator[str]:
        for contract in contracts:
            if not self.exists(contract):
                continue
            now = datetime.now(UTC)
            todo = maintenance.planned(self._published(contract), contract, keep, orphan_age, now)
            if not dry_run:
                self._compact(contract, todo.compact)
                table = maintenance.expire(self._published(contract), todo.expired)
                self.release()
                # Forgetting versions has left more files that nothing refers to; all older than they were.
                todo = replace(todo, orphans=maintenance.orphans(table, now - orphan_age))
                files.remove(table.io, [each.path for each in todo.orphans])
            yield from todo.lines()

    def _compact(self, contract: Contract, months: Iterable[date | None]) -> None:
        for month in months:
            asked = Months(month, month) if month is not None else None
            self.stage(contract, self.read(contract, asked), asked)
            self.publish(Provenance("maintain", contract.address))
            self.release()

    # What queries see --------------------------------------------------------------------------------

    def _all_tables(self) -> list[tuple[str, str]]:
        found = []
        for namespace in self.catalog.list_namespaces():
            try:
                found += [(".".join(each[:-1]), each[-1]) for each in self.catalog.list_tables(namespace)]
            except NoSuchNamespaceError:
                continue  # dropped meanwhile
        return sorted(found)

    def _show_tables(self, sql: str, as_of: AsOf | None) -> None:
        """Make views of the tables that the statement names; of all when it names none (``SHOW TABLES``)."""
        try:
            found = self._engine.backend.con.get_table_names(sql)
        except duckdb.BinderException:
            found = set()  # DuckDB looks for names without columns, and stumbles over JOIN ... USING
        named = {each.partition(" ")[0].strip('"') for each in found}
        tables = {
            (layer, name): self.catalog.load_table((layer, name))
            for layer, name in self._all_tables()
            if not named or name in named or isinstance(as_of, int)
        }
        moment = _moment(tables, as_of)
        for (layer, name), table in tables.items():
            snapshot = _snapshot_of(table, as_of, moment)
            if snapshot is None or (named and name not in named):
                continue
            schema = table.schemas()[snapshot.schema_id] if snapshot.schema_id is not None else table.schema()
            tasks = table.scan(snapshot_id=snapshot.snapshot_id).plan_files()
            self._engine.view(layer, name, [task.file.file_path for task in tasks], schema, None)


def _moment(tables: dict[tuple[str, str], Table], as_of: AsOf | None) -> datetime | None:
    """The moment that ``as_of`` means. Raises ``StoreError`` for a snapshot that no table has."""
    if as_of is None or isinstance(as_of, datetime):
        return as_of
    for table in tables.values():
        snapshot = table.snapshot_by_id(as_of)
        if snapshot is not None:
            return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
    raise StoreError(f"no table has a snapshot {as_of}; `classic-cars lake history TABLE` lists them")


def _snapshot_of(table: Table, as_of: AsOf | None, moment: datetime | None) -> Snapshot | None:
    """The table's version then; None when it was not published yet."""
    if moment is None:
        return table.current_snapshot()
    if isinstance(as_of, int) and (found := table.snapshot_by_id(as_of)) is not None:
        return found
    return table.snapshot_as_of_timestamp(round(moment.timestamp() * 1000))


def _snapshot_id(table: Table) -> int | None:
    snapshot = table.current_snapshot()
    return None if snapshot is None else snapshot.snapshot_id


def _only_asked_for(version: commit.Version) -> None:
    """Raises ``ContractError`` when rows belong to months that were not asked for: they would be there twice."""
    if version.months is None:
        return
    asked = set(version.months)
    others = {month for month in map(files.month_of, version.files) if month not in asked}
    if others:
        named = ", ".join(sorted(f"{month:%Y-%m}" if month else "no month" for month in others))
        raise ContractError(
            f"{version.contract.address}: found rows of {named}, expected rows of {version.months} only; filter them "
            "in the asset's function"
        )


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
