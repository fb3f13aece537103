"""What a store is: a place where tables live, that can show a new version to an audit before anyone reads it.

Writing is a transaction: rows are staged where no reader sees them, and the staged version itself is published.
Two protocols: every ``Store`` has transactions; only a store that keeps earlier versions is a ``Versions`` too. Both
know contracts (names, types, descriptions, the partition column) and nothing of Dagster, assets or checks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import ibis
import pyarrow as pa

from classic_cars.errors import StoreError
from classic_cars.months import Months
from classic_cars.stores.pins import Pin, Pins, Shelf
from classic_cars.stores.publications import Publications

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract


@dataclass(frozen=True)
class Provenance:
    """Who publishes a version: kept beside it by stores that keep a history."""

    run_id: str
    asset_key: str
    code_version: str = ""


@dataclass(frozen=True)
class Maker:
    """The engine that computes a step: name and version for people, and its own web page where it has one."""

    name: str
    page: str | None = None


@dataclass(frozen=True)
class Size:
    """How big a table is; ``bytes`` is None when the store cannot tell."""

    rows: int
    bytes: int | None


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
    #: Whose version it is; None for rows that nobody will publish.
    transaction: Transaction | None = field(default=None, repr=False, compare=False)

    def publish(self) -> None:
        """Show this version, and what was staged with it, to all readers."""
        if self.transaction is None:
            raise StoreError(f"{self.contract.address}: staged in no transaction; stage it with `store.begin()`")
        self.transaction.publish(self)


class Transaction(Protocol):
    """One step's work on a store: what it reads stays as it is, what it stages is published together or discarded.

    Leaving the ``with`` discards what was not published, and lets go of the store.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def made_by(self) -> Maker:
        """The engine that computes what this transaction stages."""
        ...

    def exists(self, contract: Contract) -> bool:
        """Whether the table was ever published."""
        ...

    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        """The published rows; lazy, and the same however often they are read.

        Raises ``TableMissing`` when the table was never published, and ``StoreError`` for one that this
        transaction staged: its rows are ``Staged.rows``.
        """
        ...

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        """Rows from outside as a lazy table; those of a ``RecordBatchReader`` can be read once."""
        ...

    def stage(
        self, contract: Contract, rows: ibis.Table, months: Months | None = None, *, append: bool = False
    ) -> Staged:
        """Write ``rows`` as the new version of the table, or of ``months`` of it, where no reader sees them.

        ``append``: the published rows stay, all of them, and ``rows`` come beside them. Staging the same months
        again replaces what was staged. Raises ``ContractError`` when ``rows`` have other columns or types than the
        contract.
        """
        ...

    def publish(self, staged: Staged) -> None:
        """Show ``staged``, and all that was staged with it, to all readers; each table in one atomic step.

        Where tables are published one after the other, the one staged first is published last. Raises
        ``StoreConflict`` when another writer published in the way of it meanwhile: nothing is shown then.
        """
        ...

    def discard(self) -> None:
        """Forget everything that was staged and begin again; nothing happens when nothing was."""
        ...


class Reading(Protocol):
    """Tables that can be read: those that are published now, or those of one release."""

    @property
    def place(self) -> str:
        """Where the tables are, for people; without secrets."""
        ...

    def exists(self, contract: Contract) -> bool:
        """Whether the table was ever published."""
        ...

    def read(self, contract: Contract, months: Months | None = None) -> ibis.Table:
        """The published rows; lazy. Raises ``TableMissing`` when the table was never published."""
        ...

    def size(self, contract: Contract) -> Size:
        """What the published table takes, all months of it."""
        ...

    def months(self, contract: Contract) -> list[date]:
        """The months that the published table has rows in, sorted; none when it was never published."""
        ...

    def row_counts(self) -> dict[str, int]:
        """Rows of every published table, by address; empty when nothing was ever published."""
        ...

    def query(self, sql: str) -> pa.RecordBatchReader:
        """The result of one read-only SQL statement over the published tables, in batches.

        Raises ``StoreError`` with the engine's message when the statement is wrong or would write.
        """
        ...

    def release(self) -> None:
        """Let go of whatever keeps other processes from writing or reading, until the next call."""
        ...


class Pinned(Reading, Protocol):
    """Tables as they were pinned."""

    def marks(self, contract: Contract) -> dict[str, str]:
        """By month (``stores.pins``), a text that is another one when the rows are: whoever copied them knows."""
        ...


class Store(Reading, Protocol):
    """Where tables live. One transaction at a time; readers outside of it see what is published."""

    def begin_run(self, holder: str) -> None:
        """A run of many steps begins; ``holder`` says whose, for those who may have to wait for it."""
        ...

    def end_run(self) -> None:
        """The run is over, however it ended: everything is let go of."""
        ...

    def begin(self, provenance: Provenance, *, local: bool = False) -> Transaction:
        """A transaction, to be used in a ``with``. One that was left open, by a step that died, is discarded.

        ``local``: computed by this process, whatever engine the settings name: for rows that arrive from outside.
        """
        ...

    def receive(self, rows: pa.RecordBatchReader | pa.Table) -> ibis.Table:
        """Rows from outside as a lazy table; those of a ``RecordBatchReader`` can be read once."""
        ...

    def published_by(self, addresses: Collection[str] | None = None) -> dict[str, Publications]:
        """The runs that published what these tables hold now, or all of them; without those that are not there."""
        ...

    @property
    def shelf(self) -> Shelf:
        """Where the releases of this store are kept."""
        ...

    def pin(self, contracts: Iterable[Contract], before: Pins) -> dict[str, Pin]:
        """Hold the published versions fast, by address: what is read ``at`` them stays as it is.

        ``before``: pins of an earlier time; what did not change since costs nothing. Tables that were never published
        are left out.
        """
        ...

    def at(self, pins: Pins) -> Pinned:
        """The tables as they were pinned, and no others."""
        ...

    def sweep(self) -> None:
        """Let go of what no release on the shelf names; what may be read at this moment is left for later."""
        ...


# Stores that keep earlier versions -----------------------------------------------------------------------


@dataclass(frozen=True)
class TableVersion:
    """One version of a table, and the run that made it."""

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
    """What became of a table between two versions, by its key; ``samples`` holds a few keys for each kind.
    ``columns``: those that only one has, added and removed, with their types."""

    added: int
    removed: int
    changed: int
    samples: dict[str, list[dict[str, Any]]]
    columns: dict[str, list[str]] = field(default_factory=dict)


#: A moment, or the id of one version of one table: the moment it was published, for all other tables.
AsOf = datetime | int


@runtime_checkable
class Versions(Protocol):
    """A store that keeps the versions of its tables; ask ``versions_of`` for it."""

    def history(self, contract: Contract) -> list[TableVersion]:
        """The table's versions, newest first."""
        ...

    def difference(self, contract: Contract, old: int, new: int) -> Difference:
        """What became of the rows from version ``old`` to ``new``."""
        ...

    def roll_back(self, contract: Contract, version: int) -> None:
        """Make an earlier version of one table the current one; tables made from it stay as they are."""
        ...

    def query_as_of(self, sql: str, as_of: AsOf) -> pa.RecordBatchReader:
        """The result of one read-only SQL statement over the tables as they were then."""
        ...

    def maintain(
        self, contracts: Iterable[Contract], *, keep: timedelta, orphan_age: timedelta, dry_run: bool
    ) -> Iterator[str]:
        """Do, or only say, what maintenance there is; one line for each, as it is done. No reader sees other rows.

        ``keep``: how long versions that were replaced can be read. ``orphan_age``: how old a file that nothing
        refers to must be; younger ones may belong to a run that is under way.
        """
        ...


def versions_of(store: Store) -> Versions:
    """The store, as one that keeps versions. Raises ``StoreError`` that says what to do when it keeps none."""
    if isinstance(store, Versions):
        return store
    raise StoreError(
        f"{store.place}: a DuckDB store keeps no versions, only the tables as they are now; keep copies of its file, "
        "or move to an Iceberg store, which does: `classic-cars export`, CLASSIC_CARS_STORE=iceberg, "
        "`classic-cars import`"
    )
