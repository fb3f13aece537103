"""Published tables of which the contract has changed since: until they are made again, nobody can read them by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import ibis

from classic_cars.contracts.differences import schema_differences
from classic_cars.stores.base import Reading

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract


def of_other_columns(tables: Reading, contracts: Iterable[Contract], *, exactly: bool = False) -> list[str]:
    """The tables that lack columns of their contracts, or have them with other types; and what to do.

    ``exactly``: those that have more columns, too.
    """
    found = {}
    for contract in contracts:
        if tables.exists(contract):
            columns = tables.read(contract).schema().items()
            wanted = ibis.schema({name: kind for name, kind in columns if exactly or name in contract.types})
            found[contract.address] = schema_differences(contract, wanted)
    return [
        f"{address}: its contract changed since it was published: {'; '.join(problems)}; run `classic-cars run` first"
        for address, problems in found.items()
        if problems
    ]
