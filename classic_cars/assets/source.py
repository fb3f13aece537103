"""``source/*``: the order system's tables as they were read; one table per table of the order system.

A row arrives in whatever types its database sends and leaves in the contract's types; a value that does not
fit is kept in ``_rescued_data``. Nothing is judged or dropped here.
"""

from __future__ import annotations

from collections.abc import Callable

import ibis
import sqlalchemy as sa

from classic_cars.contracts.order_system import READ_ORDER
from classic_cars.contracts.source import CONTRACTS
from classic_cars.sources.conform import conform
from classic_cars.tables.table import Table


def _as_declared(table: sa.Table) -> Callable[[ibis.Table], ibis.Table]:
    def arrive(arriving: ibis.Table) -> ibis.Table:
        return conform(arriving, table)

    return arrive


TABLES = tuple(Table(CONTRACTS[each.name], _as_declared(each), arrives_from=each) for each in READ_ORDER)
