"""Contracts of the ``source`` layer: what came from outside as it was read, and where each table comes from.

The order system's tables are derived from its physical schema; ratings come in files that partners drop. The layer
is raw on purpose: every value may be NULL and no value rule applies, because whatever comes from outside must land
here before anyone judges it. A value that does not fit its declared type is NULL in its column and kept in
``_rescued_data``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import ibis
import ibis.expr.datatypes as dt
import pandera.ibis as pa
import sqlalchemy as sa

from classic_cars.contracts.base import PERSONAL, RESCUED, Contract, Int, Long, Moment, TableModel, Text, facts
from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER

MONTH = "orderMonth"


class Origin(Protocol):
    """Where a table's rows come from: a system outside, and what it sends."""

    @property
    def system(self) -> str:
        """Its name, in the lineage and among the resources that read it."""
        ...

    @property
    def arrival(self) -> ibis.Schema:
        """The columns that arrive."""
        ...

    @property
    def priority(self) -> int:
        """The greater, the earlier it is read."""
        ...


@dataclass(frozen=True)
class OrderSystemTable:
    """A table of the order system."""

    table: sa.Table
    system: str = "order_system"

    @property
    def arrival(self) -> ibis.Schema:
        return arrival(self.table)

    @property
    def priority(self) -> int:
        """Child tables before their parents, see ``READ_ORDER``."""
        return len(READ_ORDER) - READ_ORDER.index(self.table)


@dataclass(frozen=True)
class LandedLines:
    """The lines of files that partners dropped; ``columns`` of each as they are written, and where it stood."""

    columns: tuple[str, ...]
    system: str = "landing"
    priority: int = 0

    @property
    def arrival(self) -> ibis.Schema:
        return ibis.schema({name: dt.String() for name in self.columns} | LINE_COLUMNS)


#: What is known of each line that landed beside its own values.
LINE_COLUMNS: dict[str, dt.DataType] = {
    "fileHash": dt.String(),
    "fileName": dt.String(),
    "lineNumber": dt.Int64(),
    "landedAt": dt.Timestamp(scale=6),
    RESCUED: dt.String(),
}


def ibis_type(kind: sa.types.TypeEngine) -> dt.DataType:
    """The column type in which the platform holds a type of the order system."""
    if isinstance(kind, sa.Integer):
        return dt.Int32()
    if isinstance(kind, sa.Numeric):
        return dt.Decimal(kind.precision, kind.scale)
    if isinstance(kind, sa.Date):
        return dt.Date()
    if isinstance(kind, sa.LargeBinary):
        return dt.Binary()
    return dt.String()


def arrival(table: sa.Table) -> ibis.Schema:
    """What the reader sends for a table of the order system: its columns, and the date that decides the month."""
    columns = {column.name: ibis_type(column.type) for column in table.columns}
    return ibis.schema(columns | ({"orderDate": dt.Date()} if table.name in PARTITIONED else {}))


def _columns(table: sa.Table) -> dict[str, pa.Column]:
    columns = {
        column.name: pa.Column(
            ibis_type(column.type), nullable=True, description=column.comment, metadata=column.info or None
        )
        for column in table.columns
    }
    if table.name in PARTITIONED:
        columns[MONTH] = pa.Column(
            dt.Date(), nullable=False, description="First day of the month in which the row is kept: its partition"
        )
    columns[RESCUED] = pa.Column(
        dt.String(),
        nullable=True,
        description="Values that did not fit their column's type, as JSON; NULL when every value fitted",
        metadata=PERSONAL,
    )
    return columns


def source_contract(table: sa.Table) -> Contract:
    """The contract of ``source/<table>``; ``extra["keys"]`` holds the key the order system promises."""
    return Contract.of(
        pa.DataFrameSchema(
            _columns(table),
            name=f"source/{table.name}",
            description=f"{table.comment}. As read from the order system: raw, typed, nothing changed or lost.",
            strict=True,
            metadata={
                **facts(
                    partitioned_by=MONTH if table.name in PARTITIONED else None,
                ),
                "order_system_table": table,
            },
        )
    )


CONTRACTS = {table.name: source_contract(table) for table in READ_ORDER}


class LandedFiles(TableModel):
    """Every file that landed, as it was seen, and what became of it; one row per name, size and version.

    A file with this name, size and version is not read again, unless it could not be read at all.
    """

    fileName: Text = pa.Field(description="Name of the file below the landing place")
    bytes: Long = pa.Field(ge=0, description="Size of the file as it landed")
    version: Text = pa.Field(description="What tells it from others of its name: time of change in ns, or S3's ETag")
    fileHash: Text = pa.Field(nullable=True, description="SHA-256 of the content, unpacked; missing if unreadable")
    format: Text = pa.Field(nullable=True, description="What its name says it is: jsonl, csv or parquet")
    landedAt: Moment = pa.Field(description="When the file was last changed, in UTC")
    rows: Long = pa.Field(ge=0, description="Rows taken in from it, good and bad")
    state: Text = pa.Field(
        isin=["taken", "empty", "repeated", "quarantined"],
        description="taken; empty; repeated: another file has the same content; quarantined: see reason",
    )
    reason: Text = pa.Field(nullable=True, description="Why it was not taken, or what was left out")

    class Config:
        name = "source/landed_files"
        unique = ["fileName", "bytes", "version"]
        metadata = facts()


LANDED_FILES = Contract.of(LandedFiles)


class Ratings(TableModel):
    """Ratings of products by customers, from files that partners drop. As they landed: raw, typed, nothing lost."""

    customerNumber: Int = pa.Field(nullable=True, description="Customer who rates")
    productCode: Text = pa.Field(nullable=True, description="Product that is rated")
    productRating: Int = pa.Field(nullable=True, description="Stars: 1 to 5")
    ratedAt: Moment = pa.Field(nullable=True, description="When the customer gave the rating, in UTC")
    ingestedAt: Moment = pa.Field(nullable=True, description="When the partner received it, in UTC")
    fileHash: Text = pa.Field(description="SHA-256 of the content of the file that the row stood in")
    fileName: Text = pa.Field(description="Name under which that content landed first")
    lineNumber: Long = pa.Field(
        ge=1,
        description="Line of the file, a CSV record of several lines counting as one, or row of a Parquet file; from 1",
    )
    landedAt: Moment = pa.Field(description="When the file was last changed, in UTC")
    rescued: Text = pa.Field(
        alias=RESCUED,
        nullable=True,
        description="Values that did not fit their column's type, as JSON; a whole malformed line as _line",
        metadata=PERSONAL,
    )

    class Config:
        name = "source/ratings"
        unique = ["fileHash", "lineNumber"]
        metadata = facts(beside=[LANDED_FILES])


RATINGS = LandedLines(("customerNumber", "productCode", "productRating", "ratedAt", "ingestedAt"))
