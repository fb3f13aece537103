"""The tables' functions, one module per layer. Pure: from tables to a table, no I/O, no engine's own SQL."""

from __future__ import annotations

from types import ModuleType

from classic_cars.assets import analytics, dimensions, partners, source, staging, warehouse
from classic_cars.tables.table import Table


def tables_of(module: ModuleType) -> tuple[Table, ...]:
    """The tables that a module defines, in its order."""
    return tuple(each for each in vars(module).values() if isinstance(each, Table))


#: Every table of the platform, from the order system to the analysts.
ALL_TABLES: tuple[Table, ...] = (
    *source.TABLES,
    *tables_of(source),
    *tables_of(staging),
    *tables_of(partners),
    *tables_of(dimensions),
    *tables_of(warehouse),
    *tables_of(analytics),
)
