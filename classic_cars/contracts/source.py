"""Contracts of the ``source`` layer: the order system's tables as they were read, derived from its physical schema.

What partners drop as files is in :mod:`classic_cars.contracts.landed`. The layer is raw on purpose: every value may be
NULL and no value rule applies, because whatever comes from outside must land here before anyone judges it. A value that
does not fit its declared type is NULL in its column and kept in ``_rescued_data``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import ibis
import ibis.expr.datatypes as dt
import pandera.ibis as pa
import sqlalchemy as sa

from classic_cars.contracts.base import RESCUED, Contract
from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER
from classic_cars.contracts.vocabulary import PERSONAL, facts

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
    """The contract of ``source/<table>``."""
    return Contract.of(
        pa.DataFrameSchema(
            _columns(table),
            name=f"source/{table.name}",
            description=f"{table.comment}. As read from the order system: raw, typed, nothing changed or lost.",
            strict=True,
            metadata=facts(partitioned_by=MONTH if table.name in PARTITIONED else None),
        )
    )


CONTRACTS = {table.name: source_contract(table) for table in READ_ORDER}
