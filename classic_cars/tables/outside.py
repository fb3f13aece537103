"""Tables whose rows come from outside: what reads them, by the kind of their origin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from classic_cars.contracts.authoring import meant
from classic_cars.contracts.landed import LandedTable
from classic_cars.contracts.source import OrderSystemTable
from classic_cars.errors import ContractError
from classic_cars.tables.landed import from_landing
from classic_cars.tables.materialize import from_order_system
from classic_cars.tables.step import Outcome, Step
from classic_cars.tables.table import Table

#: From a step and the resource that its table's origin names to the staged and audited version.
READERS: dict[type, Callable[[Step, Any], Outcome]] = {
    OrderSystemTable: from_order_system,
    LandedTable: from_landing,
}


def from_outside(step: Step, system: Any) -> Outcome:
    """Read, stage and audit the table from ``system``, the resource that its origin names."""
    return READERS[type(step.table.arrives_from)](step, system)


def check_origins(tables: Iterable[Table], resources: Collection[str]) -> None:
    """Raises ``ContractError`` for the first table that arrives from where nobody reads, or by no resource."""
    for each in tables:
        origin = each.arrives_from
        if origin is None:
            continue
        if type(origin) not in READERS:
            raise ContractError(
                f"{each.address}: nobody reads from {type(origin).__name__}; add it to READERS in {__name__}"
            )
        if origin.system not in resources:
            raise ContractError(
                f"{each.address}: arrives from {origin.system!r}, and there is no resource of that key; "
                f"{meant(origin.system, resources)} Add it to resources() in classic_cars/resources/__init__.py"
            )
