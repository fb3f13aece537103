"""Contracts of what partners drop as files, and where each table's files lie.

Everything that a landed table needs is declared here: a model of its columns as they land, and a ``LandedTable``. What
is known of each line (file, line number, moment) and the ledger of the table's files come with it. How files are found
and read is in ``sources/landing/``; what becomes of good and bad rows is said by the table's ``staging`` contract.

The layer is raw on purpose: every value may be NULL, and one that does not fit its type is kept in ``_rescued_data``.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import ibis
import ibis.expr.datatypes as dt
import pandera.ibis as pa

from classic_cars.contracts.base import RESCUED, Contract
from classic_cars.contracts.vocabulary import PERSONAL, Date, Int, Long, TableModel, Text, TimestampUTC, facts
from classic_cars.errors import ContractError

#: Types whose values can be read from text, and proven, without losing or bending any.
READABLE = (dt.String, dt.Int32, dt.Int64, dt.Decimal, dt.Date, dt.Timestamp)


class FileRow(TableModel):
    """A row that stood in a file: where. Its own columns come first."""

    fileHash: Text = pa.Field(description="SHA-256 of the content of the file that the row stood in")
    fileName: Text = pa.Field(description="Name under which that content landed first")
    lineNumber: Long = pa.Field(
        ge=1,
        description="Line of the file, a CSV record of several lines counting as one, or row of a Parquet file; from 1",
    )
    landedAt: TimestampUTC = pa.Field(description="When the file was last changed, in UTC")

    @classmethod
    def to_schema(cls) -> pa.DataFrameSchema:
        schema = super().to_schema()
        inherited = [name for name in schema.columns if name in LINE_COLUMNS]
        schema.columns = {
            name: schema.columns[name] for name in [*(n for n in schema.columns if n not in inherited), *inherited]
        }
        return schema


class LandedRow(FileRow):
    """A line of a file as it landed: raw, typed, nothing lost."""

    rescued: Text = pa.Field(
        alias=RESCUED,
        nullable=True,
        description="Values that did not fit their column's type, as JSON; a whole malformed line as _line",
        metadata=PERSONAL,
    )

    class Config:
        unique = ["fileHash", "lineNumber"]


#: What is known of each line that landed beside its own values.
LINE_COLUMNS: dict[str, dt.DataType] = {
    "fileHash": dt.String(),
    "fileName": dt.String(),
    "lineNumber": dt.Int64(),
    "landedAt": dt.Timestamp(scale=6),
    RESCUED: dt.String(),
}


class LandedFiles(TableModel):
    """What was seen of each file and what became of it; only added to. The latest entry of a file is what is so.

    A file with this name, size and version is not read again, unless it could not be read at all or its rows are gone.
    """

    fileName: Text = pa.Field(description="Name of the file below the landing zone")
    bytes: Long = pa.Field(ge=0, description="Size of the file as it landed")
    version: Text = pa.Field(description="What tells it from others of its name: time of change in ns, or S3's ETag")
    fileHash: Text = pa.Field(nullable=True, description="SHA-256 of the content, unpacked; missing if unreadable")
    format: Text = pa.Field(nullable=True, description="What its name says it is: jsonl, csv or parquet")
    landedAt: TimestampUTC = pa.Field(description="When the file was last changed, in UTC")
    rows: Long = pa.Field(ge=0, description="Rows ingested from it, good and bad")
    state: Text = pa.Field(
        isin=["loaded", "taken", "empty", "repeated", "quarantined"],
        description="loaded (earlier versions wrote taken); empty; repeated: another file has the same content; "
        "quarantined: see reason",
    )
    reason: Text = pa.Field(nullable=True, description="Why it was not loaded, or what was left out")
    loggedAt: TimestampUTC = pa.Field(description="When this entry was written, in UTC")

    class Config:
        unique = ["fileName", "bytes", "version", "loggedAt"]


@dataclass(frozen=True)
class LandedTable:
    """A table whose rows come in files that partners drop: a table's origin, see ``contracts.source.Origin``.

    ``model``: its columns, as they stand in the files; a column is found by its name. Files in the folder ``folder``
    of the landing zone, by default of the table's own name, are its files. ``catch_all``: so are all files that are
    in no other table's folder; one table at most can have those.
    """

    model: type[LandedRow]
    folder: str = ""
    catch_all: bool = False
    system: str = "landing"
    priority: int = 0

    def __post_init__(self) -> None:
        unreadable = [f"{name}: {self.types[name]}" for name in self.columns if not _is_readable(self.types[name])]
        if unreadable:
            raise ContractError(
                f"{self._address}: {', '.join(unreadable)} cannot be read from a file without loss; expected one of "
                f"{', '.join(each.__name__ for each in READABLE)}, or Text and a cast in staging"
            )

    @cached_property
    def contract(self) -> Contract:
        """The contract of the ``source`` table; its ledger is published with it."""
        # A copy: pandera keeps the schema of a model.
        schema = copy(self.model.to_schema())
        schema.metadata = facts(beside=[self.ledger])
        return Contract.of(schema)

    @cached_property
    def ledger(self) -> Contract:
        """The contract of the table that says what became of each file."""
        schema = copy(LandedFiles.to_schema())
        schema.name = f"{self._address}_files"
        schema.description = f"Files for {self._address}. {' '.join((LandedFiles.__doc__ or '').split())}"
        schema.metadata = facts()
        return Contract.of(schema)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that files must have."""
        return tuple(name for name in self.types.names if name not in LINE_COLUMNS)

    @cached_property
    def types(self) -> ibis.Schema:
        columns = self.model.to_schema().columns
        return ibis.schema({name: each.dtype.type for name, each in columns.items()})

    @property
    def arrival(self) -> ibis.Schema:
        return ibis.schema({name: dt.String() for name in self.columns} | LINE_COLUMNS)

    @property
    def place(self) -> str:
        """Its folder below the landing zone."""
        return self.folder or self._address.partition("/")[2]

    @property
    def _address(self) -> str:
        return str(self.model.to_schema().name)

    def claims(self, name: str, others: Iterable[LandedTable] = ()) -> bool:
        """Whether a file, or folder, of this name below the landing zone is this table's; ``others``: all tables."""
        first = name.partition("/")[0]
        if first == self.place:
            return True
        return self.catch_all and all(first != each.place for each in others)


def _is_readable(kind: dt.DataType) -> bool:
    return isinstance(kind, READABLE) and getattr(kind, "timezone", None) is None


# The tables ----------------------------------------------------------------------------------------------


class Ratings(LandedRow):
    """Ratings of products by customers, from files that partners drop. As they landed: raw, typed, nothing lost."""

    customerNumber: Int = pa.Field(nullable=True, description="Customer who rates")
    productCode: Text = pa.Field(nullable=True, description="Product that is rated")
    productRating: Int = pa.Field(nullable=True, description="Stars: 1 to 5")
    ratedAt: TimestampUTC = pa.Field(nullable=True, description="When the customer gave the rating, in UTC")
    ingestedAt: TimestampUTC = pa.Field(nullable=True, description="When the partner received it, in UTC")

    class Config:
        name = "source/ratings"


#: The first table that landed: its files may lie anywhere.
RATINGS = LandedTable(Ratings, catch_all=True)


class StockCounts(LandedRow):
    """What a partner's warehouse counted, from files that it drops. As they landed: raw, typed, nothing lost."""

    countDate: Date = pa.Field(nullable=True, description="Day whose stock was counted")
    warehouseCode: Text = pa.Field(nullable=True, description="Partner's warehouse")
    productCode: Text = pa.Field(nullable=True, description="Product that was counted")
    quantityCounted: Int = pa.Field(nullable=True, description="Units on the shelf")
    countedAt: TimestampUTC = pa.Field(nullable=True, description="When they were counted, in UTC; a recount is later")

    class Config:
        name = "source/stock_counts"


STOCK_COUNTS = LandedTable(StockCounts)
