"""Tables whose rows come from outside: which step makes them, by the kind of their origin."""

from __future__ import annotations

from typing import Any

from classic_cars.contracts.landed import LandedTable
from classic_cars.contracts.source import OrderSystemTable
from classic_cars.tables.landed import from_landing
from classic_cars.tables.materialize import from_order_system
from classic_cars.tables.step import Outcome, Step


def from_outside(step: Step, system: Any) -> Outcome:
    """Read, stage and audit the table from ``system``, the resource that its origin names."""
    match step.table.arrives_from:
        case OrderSystemTable():
            return from_order_system(step, system)
        case LandedTable():
            return from_landing(step, system)
        case origin:
            raise TypeError(f"{step.contract.address}: nobody reads from {origin}; add it to {__name__}")
