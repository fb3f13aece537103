"""The proof of columns, planned at load time: which column each one comes from, and how it is reached.

What the contract says of origins is completed by its convention, compared with the lineage of the function's
expression, and kept as a plan by which ``checks.columns`` proves the data. Nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from classic_cars.contracts.base import RESCUED, Contract
from classic_cars.contracts.origins import Column, Grain, Lookup, Origins, split
from classic_cars.errors import ContractError


def planned(contract: Contract, inputs: Iterable[Contract]) -> Origins:
    """The plan of one table. Raises ``ContractError`` naming each column of which nobody knows where it comes from."""
    inputs = list(inputs)
    grain = contract.grain or _convention(contract, inputs)
    reached, lookups = _reached(grain, inputs)
    copied: dict[str, Column] = {}
    made_of: dict[str, frozenset[Column]] = {}
    unknown = []
    for name in contract.types.names:
        origin = contract.origin(name)
        if name == RESCUED:
            continue
        if origin.derived:
            made_of[name] = frozenset(map(split, origin.columns))
        elif origin.columns:
            copied[name] = split(origin.columns[0])
        elif name in reached:
            copied[name] = reached[name]
        else:
            unknown.append(name)
    if unknown:
        raise ContractError(
            f"{contract.address}: no input has a column {', '.join(unknown)}; say in the contract where it comes from: "
            'metadata=copied("layer/table.column") or derived("layer/table.column", ...)'
        )
    for name, column in copied.items():
        made_of[name] = frozenset([column, *_inferred(contract, grain, name)])
    return Origins(grain, tuple(lookups), copied, made_of)


def _convention(contract: Contract, inputs: list[Contract]) -> Grain | None:
    """The first input that has the same key; for a table with quarantine, the one that it cleans."""
    if contract.quarantines:
        return Grain(contract.quarantines)
    if not contract.key or contract.independent is not None:
        return None
    same = [each for each in inputs if set(each.key) == set(contract.key)]
    return Grain(same[0].address) if same else None


def _reached(grain: Grain | None, inputs: list[Contract]) -> tuple[dict[str, Column], list[Lookup]]:
    """Columns by name, each in the first table that has it, and the tables that are reached by their keys."""
    reached: dict[str, Column] = {}
    lookups: list[Lookup] = []
    waiting = list(inputs)
    if grain is None:  # nothing to prove by; names still mean something
        for each in waiting:
            reached = {name: (each.address, name) for name in each.types.names} | reached
        return reached, []
    for each in [each for each in waiting if each.address == grain.table]:
        reached = {name: (each.address, name) for name in each.types.names}
        waiting.remove(each)
    while found := next((each for each in waiting if each.key and set(each.key) <= set(reached)), None):
        lookups.append(Lookup(found.address, found.key, tuple(reached[name] for name in found.key)))
        reached |= {name: (found.address, name) for name in found.types.names if name not in reached}
        waiting.remove(found)
    return reached, lookups


def _inferred(contract: Contract, grain: Grain | None, name: str) -> list[Column]:
    """The key of a table with inferred members comes from those who refer to it, too."""
    if grain is None or name not in contract.key:
        return []
    return [(each.table, each.column) for each in grain.inferred]


def differences(origins: Origins, lineage: Mapping[str, Iterable[Column]]) -> list[str]:
    """In words, each column whose expression is made of other columns than the contract says."""
    said = []
    for name, expected in origins.made_of.items():
        found = frozenset(lineage.get(name, ()))
        if found != expected:
            said.append(f"column {name} comes from {_listed(found)}, the contract says from {_listed(expected)}")
    return said


def _listed(columns: Iterable[Column]) -> str:
    return ", ".join(f"{table}.{name}" for table, name in sorted(columns)) or "nothing (a constant)"
