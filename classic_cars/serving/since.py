"""What may have changed since a release that passed every comparison: what did not is proven already.

A comparison whose tables all have the rows of that release comes out as it did then; one that goes month by month comes
out as it did then in the months that are the same on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from classic_cars.assets import ALL_TABLES
from classic_cars.contracts.base import RELEASED, Contract
from classic_cars.stores.base import Pinned, Reading
from classic_cars.stores.pins import WHOLE, Pins, changed
from classic_cars.stores.sql import among, quoted, table_name

#: Rows of a dimension that is read to tell whether it changed.
READ_AT_MOST = 100_000

CONTRACTS: Mapping[str, Contract] = {
    each.contract.address: each.contract for each in ALL_TABLES if each.contract.layer in RELEASED
}


@dataclass(frozen=True)
class Since:
    """``before``: the tables of that release; None when nothing is proven. ``changed``: by address, parts of a table
    (``stores.pins``) that may have other rows than there; all of a table that is not named."""

    before: Reading | None = None
    changed: Mapping[str, set[str]] = field(default_factory=dict)

    def parts(self, *addresses: str) -> set[str]:
        """The parts in which any of these tables may have other rows; none when all of them are the same."""
        if self.before is None:
            return {WHOLE}
        return set().union(*(self.changed.get(each, {WHOLE}) for each in addresses))


EVERYTHING = Since()


def changed_since(before: Pinned, then: Pins, held: Pinned, now: Pins) -> Since:
    """What differs between the tables of two releases, by their marks; of small dimensions, by their rows.

    Raises ``StoreError`` when one cannot be read.
    ``then`` and ``now``: their pins. Those of one version have no other marks, and are not asked for them.
    """
    same: dict[str, set[str]] = {address: set() for address, pin in now.items() if then.get(address) == pin}
    others = [CONTRACTS[each] for each in now.keys() & then.keys() & CONTRACTS.keys() - same.keys()]
    differing = {each.address: changed(held.marks(each), before.marks(each)) for each in others}
    for each in others:
        # Dimensions are made anew with every month, and mostly the same.
        alike = now[each.address].rows == then[each.address].rows <= READ_AT_MOST
        if each.name.startswith("dim_") and alike and _rows(held, each) == _rows(before, each):
            differing[each.address] = set()
    return Since(before, same | differing)


def _rows(tables: Reading, contract: Contract) -> pa.Table:
    columns, key = (", ".join(map(quoted, names)) for names in (contract.types.names, contract.key))
    return tables.query(f"SELECT {columns} FROM {table_name(contract)} ORDER BY {key}").read_all()


def rows_of(address: str, parts: Iterable[str]) -> str:
    """Condition: the row is in these parts of the table."""
    return f"({among(CONTRACTS[address], {*parts}) or 'false'})"
