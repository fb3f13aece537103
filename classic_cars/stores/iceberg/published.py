"""The published tables as one reader sees them: each as it was when first asked for, however often it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import ibis
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from classic_cars.contracts.base import Contract
from classic_cars.errors import TableMissing
from classic_cars.months import Months
from classic_cars.stores.iceberg.engines import Engine
from classic_cars.stores.iceberg.tables import load

if TYPE_CHECKING:
    from classic_cars.stores.iceberg.store import IcebergStore


class Published:
    """Versions are held fast at the first read.

    ``engine`` shows them, in the schema ``apart`` or in that of their layer. ``named``: what a version's view is called
    beside the table's name.
    """

    def __init__(
        self, store: IcebergStore, engine: Engine, named: Callable[[Table], str] = lambda _: "", apart: str = ""
    ) -> None:
        self._store, self._engine, self._named, self._apart = store, engine, named, apart
        self._tables: dict[str, Table | None] = {}

    def table(self, contract: Contract) -> Table | None:
        """The table, perhaps without a version; None when there is none."""
        if contract.address not in self._tables:
            self._tables[contract.address] = load(self._store.catalog, contract)
        return self._tables[contract.address]

    def see(self, contract: Contract, table: Table) -> None:
        """From now on this is the version that is seen."""
        self._tables[contract.address] = table

    def current(self, contract: Contract) -> Table:
        """The table with its version. Raises ``TableMissing`` when it was never published."""
        table = self.table(contract)
        if table is None or table.current_snapshot() is None:
            raise TableMissing(
                f"{contract.address}: never published in {self._store.place}; `classic-cars run` makes what is missing"
            )
        return table

    def exists(self, contract: Contract) -> bool:
        table = self.table(contract)
        return table is not None and table.current_snapshot() is not None

    def files(self, contract: Contract, months: Months | None = None) -> list[DataFile]:
        """The version's files, of some months only when they are given; none of a table without a version."""
        table = self.table(contract)
        return self._store.plans.files(table, contract, months) if table is not None else []

    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        months = months if contract.partitioned_by else None
        table = self.current(contract)
        paths = [each.file_path for each in self.files(contract, months)]
        rows = self.view(contract, f"{self._named(table)} {months or ''}", paths, table.schema())
        return rows.filter(months.hold(rows[contract.partitioned_by or ""])) if months else rows

    def view(self, contract: Contract, which: str, paths: list[str], schema: Schema) -> ibis.Table:
        """These files as a table of the contract's types."""
        name = " ".join([contract.address if self._apart else contract.name, *which.split()])
        return self._engine.view(self._apart or contract.layer, name, paths, schema, contract)
