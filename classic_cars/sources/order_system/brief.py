"""Rows and cents of a table in one quick aggregate: what must be equal where nothing is said to have changed.

Plain arithmetic of the order system's engine, without a look at single values. Of hostile ones it may tell another
sum than control totals do, and those decide then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

import sqlalchemy as sa

from classic_cars.errors import SourceError
from classic_cars.sources.control_totals import MONEY

#: How ``ControlTotals.version`` begins.
VERSION = re.compile(r"^(?P<rows>\d+) rows, (?:(?P<cents>-?\d+) cents, )?digest ")

#: Rows, and cents of tables with money.
Brief = tuple[int, int]


class Asked(Protocol):
    """An order system that answers small queries."""

    def ask(self, *queries: Any) -> list[list[Any]]: ...


def brief_totals(order_system: Asked, table: sa.Table) -> Brief | None:
    """What the table has now; None where its engine cannot sum it up."""
    names = MONEY.get(table.name, ())
    cents: Any = sa.literal_column("0")
    if names:
        amount, *factors = (table.columns[name] for name in names)
        cents = sa.func.round(amount * 100)
        for factor in factors:
            cents = cents * factor
    try:
        (((rows, total),),) = order_system.ask(sa.select(sa.func.count(), sa.func.sum(cents)).select_from(table))
        return int(rows), int(total or 0)
    except (SourceError, ValueError, TypeError):
        return None


def brief(versions: Iterable[str]) -> Brief | None:
    """The same of what was observed, from the versions of all months; None for versions of another kind."""
    rows = cents = 0
    for version in versions:
        found = VERSION.match(version)
        if found is None:
            return None
        rows, cents = rows + int(found["rows"]), cents + int(found["cents"] or 0)
    return rows, cents
