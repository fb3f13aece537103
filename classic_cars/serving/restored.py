"""Going back to a release: its versions become the published ones again, and a new release is made of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from classic_cars.contracts.base import RELEASED, Contract
from classic_cars.errors import StoreConflict, StoreError
from classic_cars.serving.compared import whole
from classic_cars.serving.consistency import contradictions
from classic_cars.serving.release_making import ATTEMPTS
from classic_cars.serving.releases import Release, newest, put, release_of
from classic_cars.stores.base import Store, Versions, versions_of
from classic_cars.stores.columns import of_other_columns
from classic_cars.stores.pins import Pins


def restored(store: Store, contracts: Iterable[Contract], number: int) -> tuple[Release, list[str]]:
    """Make the versions of a release the published ones again, and a new release of them, with its proof.

    Returns it, and the addresses of tables that had another version. Raises ``StoreError`` for a store without
    versions, a release that lacks a table or contradicts itself by what is demanded now, or a version that is gone:
    only then are tables before it in the release restored already. Where another run makes a release meanwhile all is
    done again; ``StoreConflict`` when that never ends.
    """
    contracts, versions, old = [*contracts], versions_of(store), release_of(store.shelf, number)
    if reasons := _outdated(store, contracts, old):
        raise StoreError(f"release {number}: is not restored, as no release would be made of it: {'; '.join(reasons)}")
    held = [each for each in contracts if each.address in old.tables]
    changed: list[str] = []
    for _ in range(ATTEMPTS):
        before = newest(store.shelf)
        changed += [each for each in _rolled_back(versions, held, store.pin(held, {}), old) if each not in changed]
        compared, run_id = whole(datetime.now(UTC)), f"restore of release {number}"
        release = Release.of(before + 1, run_id, old.proven, old.balances, old.tables, compared)
        if put(store, release, f"restored from release {number}"):
            return release, changed
    raise StoreConflict(
        f"release {number}: its versions are published, but no release was made of them, because other runs made some "
        f"meanwhile, {ATTEMPTS} times; restore it again when they have finished"
    )


def _rolled_back(versions: Versions, contracts: Iterable[Contract], now: Pins, old: Release) -> list[str]:
    """The addresses of those that had another version than the release has."""
    changed = []
    for contract in contracts:
        snapshot = old.tables[contract.address].snapshot
        if snapshot is not None and now.get(contract.address) != old.tables[contract.address]:
            versions.roll_back(contract, snapshot)
            changed.append(contract.address)
    return changed


def _outdated(store: Store, contracts: Iterable[Contract], release: Release) -> list[str]:
    """What a release of an older version of the platform lacks, or says that does not agree."""
    released = {each.address for each in contracts if each.layer in RELEASED}
    if lacking := sorted(released - release.tables.keys()):
        return [f"it has no {', '.join(lacking)}"]
    tables = store.at(release.tables)
    try:
        held = [each for each in contracts if each.address in release.tables]
        lacking = [each.partition("; run")[0] for each in of_other_columns(tables, held, exactly=True)]
        return lacking or contradictions(tables)
    finally:
        tables.release()
