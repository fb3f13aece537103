"""Tables whose rows come from outside: what reads them, by the kind of their origin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from classic_cars.contracts.landed import LandedTable
from classic_cars.contracts.source import OrderSystemTable
from classic_cars.tables.landed import from_landing
from classic_cars.tables.materialize import from_order_system
from classic_cars.tables.step import Outcome, Step

#: From a step and the resource that its table's origin names to the staged and audited version.
READERS: dict[type, Callable[[Step, Any], Outcome]] = {
    OrderSystemTable: from_order_system,
    LandedTable: from_landing,
}


def from_outside(step: Step, system: Any) -> Outcome:
    """Read, stage and audit the table from ``system``, the resource that its origin names."""
    kind = type(step.table.arrives_from)
    if kind not in READERS:
        raise TypeError(f"{step.contract.address}: nobody reads from {kind.__name__}; add it to {__name__}.READERS")
    return READERS[kind](step, system)
