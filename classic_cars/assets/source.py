"""``source/*``: what came from outside, as it was read: the order system's tables, and ratings from landed files.

A row arrives in whatever types its database sends and leaves in the contract's types; a value that does not
fit is kept in ``_rescued_data``. Nothing is judged or dropped here.
"""

from __future__ import annotations

from collections.abc import Callable

import ibis
import sqlalchemy as sa

from classic_cars.contracts import source
from classic_cars.contracts.base import Contract
from classic_cars.contracts.order_system import READ_ORDER
from classic_cars.contracts.source import CONTRACTS, OrderSystemTable
from classic_cars.sources.conform import conform, conform_line
from classic_cars.tables.table import Table, table


def _as_declared(table: sa.Table) -> Callable[[ibis.Table], ibis.Table]:
    def arrive(arriving: ibis.Table) -> ibis.Table:
        return conform(arriving, table)

    return arrive


TABLES = tuple(
    Table(CONTRACTS[each.name], _as_declared(each), arrives_from=OrderSystemTable(each)) for each in READ_ORDER
)


@table(source.Ratings, arrives_from=source.RATINGS)
def ratings(line: ibis.Table) -> ibis.Table:
    return conform_line(line, source.RATINGS.columns, Contract.of(source.Ratings).types)
