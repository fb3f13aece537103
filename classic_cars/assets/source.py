"""``source/*``: what came from outside, as it was read: the order system's tables, and those of landed files.

A row arrives in whatever types its database sends and leaves in the contract's types; a value that does not
fit is kept in ``_rescued_data``. Nothing is judged or dropped here.
"""

from __future__ import annotations

from collections.abc import Callable

import ibis
import sqlalchemy as sa

from classic_cars.contracts import landed
from classic_cars.contracts.landed import LandedTable
from classic_cars.contracts.order_system import READ_ORDER
from classic_cars.contracts.source import CONTRACTS, OrderSystemTable
from classic_cars.sources.conform import conform, conform_line
from classic_cars.tables.table import Table


def _as_declared(table: sa.Table) -> Callable[[ibis.Table], ibis.Table]:
    def arrive(arriving: ibis.Table) -> ibis.Table:
        return conform(arriving, table)

    return arrive


TABLES = tuple(
    Table(CONTRACTS[each.name], _as_declared(each), arrives_from=OrderSystemTable(each)) for each in READ_ORDER
)


def _landed(origin: LandedTable) -> Table:
    """The table of these files; each needs one line below."""

    def arrive(line: ibis.Table) -> ibis.Table:
        return conform_line(line, origin.columns, origin.types)

    return Table(origin.contract, arrive, arrives_from=origin)


ratings = _landed(landed.RATINGS)
stock_counts = _landed(landed.STOCK_COUNTS)
