"""Maintenance of a store of any kind: what the nightly job and `classic-cars lake maintain` have done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from classic_cars.stores.base import Store, Versions
from classic_cars.stores.duckdb import DuckDBStore

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract


def maintained(
    store: Store, contracts: Iterable[Contract], *, keep: timedelta, orphan_age: timedelta, dry_run: bool
) -> Iterator[str]:
    """Do, or only say, what there is to do; one line for each thing. Without versions, that is to write a checkpoint.

    ``keep`` and ``orphan_age`` as ``Versions.maintain`` has them.
    """
    if isinstance(store, Versions):
        yield from store.maintain(contracts, keep=keep, orphan_age=orphan_age, dry_run=dry_run)
    elif isinstance(store, DuckDBStore):
        yield _checkpoint(store, dry_run=dry_run)


def _checkpoint(store: DuckDBStore, *, dry_run: bool) -> str:
    """It cuts free blocks off the file's end; others are used again."""
    if dry_run:
        return f"{store.path}: a checkpoint to write"
    before = store.path.stat().st_size if store.path.exists() else 0
    store.execute("CHECKPOINT")
    store.release()
    return f"{store.path}: checkpoint written, {(before - store.path.stat().st_size) / 1024**2:.1f} MiB freed"
