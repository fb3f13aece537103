"""How the order system's tables differ from their declared columns, and which of them cannot be read for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from classic_cars.contracts.order_system import READ_ORDER
from classic_cars.errors import SourceError, SourceSchemaChanged
from classic_cars.sources.columns import retyped
from classic_cars.sources.order_system.selecting import LINES, ORDERS

if TYPE_CHECKING:
    from classic_cars.sources.order_system.database import Database

#: The months of order lines are those of their orders: without these columns neither table can be read.
HOMES = (ORDERS.c.orderNumber.name, ORDERS.c.orderDate.name)


@dataclass(frozen=True)
class SchemaDrift:
    """How a table of the order system differs from its declared columns, without harm so far.

    It is true when there is something to tell; another order of columns alone is not.
    """

    added: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()
    reordered: bool = False

    def __bool__(self) -> bool:
        return bool(self.added or self.retyped)


def drift_of(database: Database, table: sa.Table) -> SchemaDrift:
    actual = database.types(table)
    declared = list(table.columns.keys())
    missing = [name for name in declared if name not in actual]
    added = [name for name in actual if name not in declared]
    if missing:
        hint = f"; new there: {', '.join(added)}, is one of them its new name?" if added else ""
        raise SourceSchemaChanged(
            f"{database.url}: table {table.name} has no column {', '.join(missing)}; found {', '.join(actual)}{hint}; "
            "change classic_cars/contracts/order_system.py, or give the table its column back"
        )
    return SchemaDrift(
        added=tuple(added),
        retyped=tuple(
            f"{column.name} is {actual[column.name]}, was {column.type}"
            for column in table.columns
            if retyped(column.type, actual[column.name], database.strict_types)
        ),
        reordered=[name for name in actual if name in declared] != declared,
    )


def unreadable(database: Database) -> dict[str, SourceError]:
    """Tables that cannot be read as declared, by name, and why; raises when that is so of all of them."""
    try:
        _read_some(database, READ_ORDER, rows=0)
    except SourceError as error:
        if error.retryable:
            raise
    else:
        return {}
    found = {table.name: refusal for table in READ_ORDER if (refusal := _refusal(database, table))}
    if ORDERS.name in found and _refusal(database, sa.table(ORDERS.name, *map(sa.column, HOMES))):
        found.setdefault(LINES.name, found[ORDERS.name])
    if len(found) == len(READ_ORDER):
        raise next(iter(found.values()))
    return found


def probe(database: Database) -> None:
    found = list(dict.fromkeys(unreadable(database).values()))
    if found:
        raise type(found[0])("; ".join(map(str, found)))
    _read_some(database, READ_ORDER, rows=1)


def _refusal(database: Database, table: Any) -> SourceError | None:
    try:
        if isinstance(table, sa.Table):
            database.drift(table)  # says what there is instead of a column that is gone
        _read_some(database, [table], rows=0)
    except SourceError as error:
        if error.retryable:
            raise
        return error
    return None


def _read_some(database: Database, tables: Sequence[Any], rows: int) -> None:
    """Without types: a value that is not of its column's type is no reason not to read it."""
    untyped = [sa.table(table.name, *(sa.column(column.name) for column in table.columns)) for table in tables]
    database.ask(*(sa.select(*table.columns).limit(rows) for table in untyped))
