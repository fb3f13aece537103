"""What is wrong with columns that should follow a contract. Apart, for who reads and needs no contract to be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract


def schema_differences(contract: Contract, found: ibis.Schema) -> list[str]:
    """What is wrong with the columns of a table that should follow the contract; empty when nothing is."""
    have = {name: kind.copy(nullable=True) for name, kind in found.items()}
    problems = [f"column {name} is missing" for name in contract.types.names if name not in have]
    problems += [f"column {name} is not in the contract" for name in have if name not in contract.types]
    problems += [
        f"column {name} is {have[name]}, expected {kind}"
        for name, kind in contract.types.items()
        if name in have and have[name] != kind.copy(nullable=True)
    ]
    return problems
