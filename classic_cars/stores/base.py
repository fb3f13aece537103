"""What a store is: a place where tables live, that can show a new version to an audit before anyone reads it.

A store reads, stages, publishes and discards tables or some months of them. It knows contracts (names,
types, descriptions, the partition column) and nothing of Dagster, assets or checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import ibis
import pyarrow as pa

from classic_cars.contracts.base import Contract
from classic_cars.months import Months


@dataclass(frozen=True)
class Staged:
    """A new version of a table, or of some months of it, that no reader sees yet."""

    contract: Contract
    months: Months | None
    #: The new rows only.
    rows: ibis.Table
    #: The published rows that stay beside them; None when the new rows replace the whole table.
    others: ibis.Table | None
    #: The statement that made the new rows.
    sql: str


@dataclass(frozen=True)
class Provenance:
    """Who publishes a version: kept beside it by stores that keep a history."""

    run_id: str
    asset_key: str
    code_version: str = ""


@dataclass(frozen=True)
class TableVersion:
    """One version of a table in a store that keeps a history, and the run that made it."""

    number: int
    published: datetime
    rows: int
    #: Rows in the files that this version added; the others were there before.
    rows_written: int
    run_id: str
    contract_version: str
    code_version: str
    current: bool


@dataclass(frozen=True)
class Difference:
    """What became of a table between two versions, by its key; ``samples`` holds a few keys for each kind."""

    added: int
    removed: int
    changed: int
    samples: dict[str, list[dict[str, Any]]]


#: A moment, or the id of one version of one table: the moment it was published, for all other tables.
AsOf = datetime | int


class Store(Protocol):
    """Where tables live. One step at a time: everything staged is published, or discarded, together."""

    @property
    def place(self) -> str:
        """Where the tables are, for people; without secrets."""
        ...

    def begin_run(self, holder: str) -> None:
        """A run of many steps begins; ``holder`` says whose, for those who may have to wait for it."""
        ...

    def end_run(self) -> None:
        """The run is over, however it ended: everything is let go of."""
        ...

    def exists(self, contract: Contract) -> bool:
        """Whether the table was ever published."""
        ...

    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        """The published rows, or in a step that staged this table its staged rows. Lazy.

        Raises ``TableMissing`` when the table was never published.
        """
        ...

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        """Rows from outside as a lazy table; those of a ``RecordBatchReader`` can be read once."""
        ...

    def stage(
        self, contract: Contract, rows: ibis.Table, months: Months | None = None, *, append: bool = False
    ) -> Staged:
        """Write ``rows`` as the new version of the table, or of ``months`` of it, where no reader sees them.

        ``append``: the published rows stay, all of them, and ``rows`` come beside them.
        Raises ``ContractError`` when ``rows`` have other columns or types than the contract.
        """
        ...

    def publish(self, provenance: Provenance | None = None) -> None:
        """Show everything that was staged to all readers; each table in one atomic step."""
        ...

    def discard(self) -> None:
        """Forget everything that was staged; nothing happens when nothing was."""
        ...

    def size(self, contract: Contract) -> int | None:
        """Bytes that the published table takes; None when the store cannot tell."""
        ...

    def months(self, contract: Contract) -> list[date]:
        """The months that the published table has rows in, sorted; none when it was never published."""
        ...

    def row_counts(self) -> dict[str, int]:
        """Rows of every published table, by address; empty when nothing was ever published."""
        ...

    def query(self, sql: str, as_of: AsOf | None = None) -> pa.RecordBatchReader:
        """The result of one read-only SQL statement over the published tables, in batches.

        Raises ``StoreError`` with the engine's message when the statement is wrong or would write, and when the
        store cannot tell what was ``as_of``.
        """
        ...

    def history(self, contract: Contract) -> list[TableVersion]:
        """The table's versions, newest first. Raises ``StoreError`` when the store keeps none but the current."""
        ...

    def difference(self, contract: Contract, old: int, new: int) -> Difference:
        """What became of the rows from version ``old`` to ``new``."""
        ...

    def roll_back(self, contract: Contract, version: int) -> None:
        """Make an earlier version of one table the current one; tables made from it stay as they are."""
        ...

    def maintain(
        self, contracts: Iterable[Contract], *, keep: timedelta, orphan_age: timedelta, dry_run: bool
    ) -> Iterator[str]:
        """Do, or only say, what upkeep there is; one line for each thing, as it is done.

        ``keep``: how long versions that were replaced can be read. ``orphan_age``: how old a file that nothing
        refers to must be; younger ones may belong to a run that is under way.
        """
        ...

    def release(self) -> None:
        """Let go of whatever keeps other processes from reading, until the next call."""
        ...
