"""Whether contracts fit their own columns and each other: found when definitions are loaded, before any data is read.

What a function makes of its inputs is compared with its contract by the catalog itself.
"""

from __future__ import annotations

from classic_cars.contracts.authoring import meant, missing, written
from classic_cars.contracts.base import Contract
from classic_cars.errors import ContractError
from classic_cars.tables.table import Catalog, Table, parameters, unbound_table


def check_contracts(catalog: Catalog) -> None:
    """Raises ``ContractError`` for the first contract that names what is not there."""
    for each in catalog:
        _own_columns(each.contract)
        _other_tables(each, catalog)
        _reconciliations(each, catalog)


def _own_columns(contract: Contract) -> None:
    named = {
        "unique": contract.key,
        "partitioned_by": (contract.partitioned_by,) if contract.partitioned_by else (),
        "latest": contract.latest.order if contract.latest else (),
    }
    for part, names in named.items():
        missing(contract.address, part, names, contract.types.names)
    _ = contract.version  # compiles every rule and total once, and is remembered


def _other_tables(made: Table, catalog: Catalog) -> None:
    contract = made.contract
    known = [each.address for each in catalog]
    if contract.quarantines and contract.quarantines not in catalog:
        raise ContractError(f"{made.address}: quarantines names no table; {meant(contract.quarantines, known)}")
    for each in contract.references:
        part = f"its reference to {each.to}"
        missing(made.address, part, [each.column], contract.types.names)
        if each.to not in catalog:
            raise ContractError(f"{made.address}: {part} names no table; {meant(each.to, known)}")
        missing(made.address, part, [each.to_column], catalog[each.to].contract.types.names)


def _reconciliations(made: Table, catalog: Catalog) -> None:
    """The table's own side is compiled; the other one, which takes ten times as long, when it is asked."""
    for each in made.contract.reconciliations:
        part = f"reconciliation {each.name!r}"
        with written(made.address, part):
            others = [unbound_table(catalog.resolve_contract(made, name)) for name in parameters(each.actual)[1:]]
            totals = each.actual(unbound_table(made.contract), *others)
        missing(made.address, f"by of {part}", each.by, totals.columns)
