"""What an Iceberg store needs of an engine. Plans of files, commits and the evolution of tables are the store's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import ibis
import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.schema import Schema

from classic_cars.contracts.base import Contract
from classic_cars.months import Months


@dataclass(frozen=True)
class Written:
    """The files that hold a new version of a table, or of some months of it; nothing refers to them yet."""

    paths: list[str]
    sql: str


class Engine(Protocol):
    """Computes tables over files of a lake, and writes files; opened when it is first used."""

    @property
    def name(self) -> str:
        """Name and version, for people."""
        ...

    @property
    def page(self) -> str | None:
        """The address of the engine's own web page, where it has one."""
        ...

    def view(
        self, layer: str, name: str, files: Sequence[str], schema: Schema, contract: Contract | None
    ) -> ibis.Table:
        """A lazy table over exactly these files, columns by field id, in the contract's types.

        One of the same name takes the place of it only where the engine has to name what it shows.
        """
        ...

    def write(
        self, io: FileIO, contract: Contract, rows: ibis.Table, folder: str, schema: Schema, months: Months | None
    ) -> Written:
        """Write ``rows`` below ``folder``: under names that nobody had before, with the schema's field ids, in the
        contract's types, each file of one month and sorted. Nothing is committed.
        """
        ...

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        """Rows from outside as a lazy table; those of a ``RecordBatchReader`` can be read once."""
        ...

    def close(self) -> None:
        """Let go of everything; it is opened again when it is next used."""
        ...


def order_of(contract: Contract) -> list[str]:
    """By day and key: what analysts and the pipeline's own joins ask for lies together."""
    first = [contract.partitioned_by] if contract.partitioned_by else []
    return list(dict.fromkeys([*first, *contract.key]))


def month_folder(contract: Contract, folder: str, month: date | None) -> str:
    """As Iceberg's own writers name it; readers go by the table's metadata, never by the name."""
    return f"{folder}/{contract.partitioned_by}_month={f'{month:%Y-%m}' if month else 'null'}"
