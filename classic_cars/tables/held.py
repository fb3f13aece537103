"""What a store holds of a table and of all that is published with it: by which run each of its months was published."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from classic_cars.contracts.base import Contract
from classic_cars.stores.base import Store
from classic_cars.stores.publications import Publications
from classic_cars.tables.table import CONTROL, QUARANTINE


@dataclass(frozen=True)
class Held(Publications):
    """Those of a table; of a month that what is published with it (``beside``) has of another run, nothing is known."""

    beside: tuple[Publications, ...] = ()

    def run_of(self, part: str) -> str:
        run = super().run_of(part)
        return run if all(each.run_of(part) == run for each in self.beside) else ""


def held(store: Store, contracts: Iterable[Contract]) -> dict[str, Held]:
    """By address; without tables that are not there, or miss what is published with them.

    Ledgers need only be there: they are only added to, so that of one in an older store no run is known for as long as
    no file lands.
    """
    wanted = {each.address: each for each in contracts}
    together = {other.address for each in wanted.values() for other in _of_the_same_runs(each)}
    found = store.published_by({*wanted, *together})
    return {
        address: Held(found[address].spans, tuple(found[other.address] for other in _of_the_same_runs(contract)))
        for address, contract in wanted.items()
        if {address, *(other.address for other in _of_the_same_runs(contract))} <= found.keys()
        and all(map(store.exists, _ledgers(contract)))
    }


def _of_the_same_runs(contract: Contract) -> list[Contract]:
    return [each for each in contract.co_published if each.layer in (QUARANTINE, CONTROL)]


def _ledgers(contract: Contract) -> list[Contract]:
    return [each for each in contract.co_published if each.layer not in (QUARANTINE, CONTROL)]
