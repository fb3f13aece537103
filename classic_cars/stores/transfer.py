"""Move a whole warehouse between stores: every published table to a folder of Parquet files, and back.

Each table is compared row for row with what was written before it counts as moved; an import publishes a table
only after that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ibis
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from classic_cars.errors import StoreError
from classic_cars.stores.base import Provenance, Store
from classic_cars.stores.columns import of_other_columns
from classic_cars.stores.folders import replacing
from classic_cars.wording import counted

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract

MANIFEST = "manifest.json"
BATCH_ROWS = 122_880
#: Tables that a message names.
NAMED = 4


@dataclass(frozen=True)
class Transferred:
    """A table that arrived whole."""

    address: str
    rows: int


def with_co_published(contracts: Iterable[Contract]) -> list[Contract]:
    """The contracts of every table that a store may hold: those given, and those published with them."""
    found = list(contracts)
    return found + [other for each in found for other in each.co_published]


#: Says what is wrong with the tables of a store that do not belong together; nothing when they do.
Examine = Callable[[Store], Sequence[str]]


def export_tables(
    store: Store, contracts: Iterable[Contract], folder: Path, examine: Examine | None = None
) -> Iterator[Transferred]:
    """Write every published table of ``contracts`` to ``folder``, as ``layer/name.parquet``; yields each when proven.

    The folder appears when all of it is proven; one that an export wrote before is replaced in one step. Raises
    ``StoreError`` when the folder holds anything else, cannot be written, a file does not hold what the table does,
    nothing was published yet, a table has other columns than its contract, something is published meanwhile, or
    ``examine`` finds something. None: the tables are moved as they are.
    """
    folder = Path(os.path.realpath(folder.expanduser()))  # of a link, where it points to
    _must_be_ours(folder)
    try:
        with replacing(folder) as new:
            yield from _exported(store, contracts, new, examine)
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be written ({error.strerror or error}); name a folder on a disk with room, whose parent "
            "you may write to"
        ) from None


def _exported(
    store: Store, contracts: Iterable[Contract], folder: Path, examine: Examine | None
) -> Iterator[Transferred]:
    moved: dict[str, int] = {}
    published_by = store.published_by()
    wanted = [each for each in contracts if store.exists(each)]
    if not wanted:
        raise StoreError(f"{store.place}: nothing was published yet, and nothing is exported; `classic-cars run` first")
    if of_before := of_other_columns(store, wanted):
        raise StoreError(f"nothing is exported: {'; '.join(of_before)}")
    if examine is not None and (wrong := examine(store)):
        raise StoreError(
            f"the tables do not agree, and are not exported: {'; '.join(wrong)}. Export again when they do; --as-is "
            "moves them as they are"
        )
    for contract in wanted:
        path = folder / contract.layer / f"{contract.name}.parquet"
        path.parent.mkdir(exist_ok=True)
        rows = store.read(contract)
        count = _write(rows, contract, path)
        _must_be_equal(contract, rows, store.receive(ds.dataset(path)))
        moved[contract.address] = count
        store.release()
        yield Transferred(contract.address, count)
    # The store was let go between tables: what was examined is what was written if nobody published since.
    now = store.published_by()
    if others := sorted(address for address in moved if published_by.get(address) != now.get(address)):
        raise StoreError(
            f"a run published {', '.join(others[:NAMED])} during the export, whose tables would be of different runs; "
            "export again when no run is at work"
        )
    # Written last: a folder without it is not a whole export.
    (folder / MANIFEST).write_text(json.dumps({"tables": moved}, indent=1))


def _must_be_ours(folder: Path) -> None:
    """The folder is not there, is empty, or holds what an export wrote and nothing else; raises ``StoreError``."""
    if os.path.ismount(folder):
        raise StoreError(f"{folder}: a mount point, which cannot be replaced in one step; name a folder in it")
    try:
        found = {str(each.relative_to(folder)) for each in folder.rglob("*") if not each.is_dir()}
        if (folder.is_dir() and not any(folder.iterdir())) or not folder.exists():
            return
        if not folder.is_dir():
            raise StoreError(f"{folder}: is no folder; name one that is, or is not there yet")
        tables = json.loads((folder / MANIFEST).read_text())["tables"]
        foreign = found - {MANIFEST, *(f"{address}.parquet" for address in tables)}
    except OSError as error:
        raise StoreError(f"{folder}: is not empty and no export ({error.strerror}); name another folder") from None
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{folder}: is not empty and no export; name another folder") from None
    if foreign:
        raise StoreError(f"{folder}: holds what no export wrote ({min(foreign)}); move it away or name another folder")


def _write(rows: ibis.Table, contract: Contract, path: Path) -> int:
    count = 0
    schema = contract.types.to_pyarrow()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in rows.select(*contract.types.names).to_pyarrow_batches(chunk_size=BATCH_ROWS):
            writer.write_batch(batch.cast(schema))
            count += batch.num_rows
    return count


def import_tables(store: Store, contracts: Iterable[Contract], folder: Path) -> Iterator[Transferred]:
    """Publish every table of an export in ``store``, replacing what is there; yields each when it is published.

    Raises ``StoreError`` when the folder is not a whole export, or holds tables that the platform does not know.
    """
    try:
        tables = json.loads((folder / MANIFEST).read_text())["tables"]
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreError(
            f"{folder}: no whole export, {MANIFEST} is missing or broken; write one with `classic-cars export`"
        ) from None
    if not tables:
        raise StoreError(f"{folder}: {MANIFEST} names no table; export again from a store that holds some")
    known = {each.address: each for each in contracts}
    unknown = sorted(set(tables) - set(known))
    if unknown:
        raise StoreError(f"{folder}: holds tables that this platform does not know: {', '.join(unknown)}")
    store.begin_run(f"import of {folder}")
    try:
        for address, rows in tables.items():
            yield _imported(store, known[address], folder / f"{address}.parquet", rows)
    finally:
        store.end_run()


def _imported(store: Store, contract: Contract, path: Path, rows: int) -> Transferred:
    if not path.is_file():
        raise StoreError(f"{path}: is missing; the export was changed since")
    with store.begin(Provenance("import", contract.address), local=True) as tx:
        arriving = tx.receive(ds.dataset(path))
        staged = tx.stage(contract, arriving)
        found = staged.rows.count().to_pyarrow().as_py()
        if found != rows:
            raise StoreError(f"{contract.address}: found {counted(found, 'row')} in {path}, expected {rows:,}")
        _must_be_equal(contract, staged.rows, arriving)
        staged.publish()
    return Transferred(contract.address, rows)


def _must_be_equal(contract: Contract, one: ibis.Table, other: ibis.Table) -> None:
    """Both hold the same rows, each as often. Raises ``StoreError`` with counts."""
    columns = contract.types.names
    one, other = one.select(*columns), other.select(*columns)
    lost = one.difference(other, distinct=False).count().to_pyarrow().as_py()
    strange = other.difference(one, distinct=False).count().to_pyarrow().as_py()
    if lost or strange:
        raise StoreError(
            f"{contract.address}: the copy differs: {counted(lost, 'row')} missing, {strange:,} not the table's; "
            "nothing was published, the original is unchanged"
        )
