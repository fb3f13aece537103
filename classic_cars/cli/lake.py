"""Commands for the history and the maintenance of a lake, and for moving a warehouse between stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as Grid

from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import Commands, err, out, progress, published

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract
    from classic_cars.stores.base import Store
    from classic_cars.stores.transfer import Transferred


@click.group(cls=Commands)
def lake() -> None:
    """History and maintenance of the tables of an Iceberg store.

    TABLE is an address such as warehouse/fact_orders; versions are numbered as `lake history` shows them.
    """


@lake.command()
@click.argument("table")
def history(table: str) -> None:
    """The versions of TABLE, newest first, and the runs that made them."""
    from classic_cars.stores.base import versions_of

    contract = _contract(table)
    with published() as store:
        grid = Grid(box=SIMPLE_HEAD)
        for name in ("version", "published", "rows", "rows written", "run", "contract", "code"):
            grid.add_column(name, justify="right" if name.startswith("rows") else "left", no_wrap=True)
        for each in versions_of(store).history(contract):
            grid.add_row(
                f"{each.number}{' *' if each.current else ''}",
                f"{each.published:%Y-%m-%d %H:%M:%S} UTC",
                *(f"{each.rows:,}", f"{each.rows_written:,}"),
                *(each.run_id, each.contract_version, each.code_version),
            )
    out.print(grid)
    out.print("* what readers see now", style="dim")


@lake.command()
@click.argument("table")
@click.argument("old", type=int)
@click.argument("new", type=int)
def diff(table: str, old: int, new: int) -> None:
    """Rows of TABLE added, removed and changed, by key, from version OLD to version NEW."""
    from classic_cars.stores.base import versions_of

    contract = _contract(table)
    with published() as store, progress(f"comparing versions of {contract.address}"):
        found = versions_of(store).difference(contract, old, new)
    for kind, count in (("added", found.added), ("removed", found.removed), ("changed", found.changed)):
        samples = "; ".join(
            ", ".join(f"{name} {value}" for name, value in each.items()) for each in found.samples.get(kind, [])
        )
        out.print(f"{kind:<8} {count:>12,} rows{f'   such as {escape(samples)}' if samples else ''}", soft_wrap=True)


@lake.command()
@click.argument("table")
@click.argument("version", type=int)
def rollback(table: str, version: int) -> None:
    """Make VERSION of TABLE what readers see again, in one step.

    No version is lost: roll back to a later one the same way. Tables made from this one stay as they are;
    `classic-cars run` makes all of them anew.
    """
    from classic_cars.stores.base import versions_of

    contract = _contract(table)
    with _writing() as store:
        versions_of(store).roll_back(contract, version)
    out.print(f"{contract.address}: readers see version {version} again")


@lake.command()
@click.option("--apply", "apply_", is_flag=True, help="Do it; without this, only say what there is to do.")
@click.option("--keep-days", default=7, show_default=True, help="How long replaced versions can be read.")
@click.option(
    "--orphan-hours",
    default=24,
    show_default=True,
    help="How old a file that nothing refers to must be; younger ones may belong to a run under way.",
)
def maintain(apply_: bool, keep_days: int, orphan_hours: int) -> None:
    """Forget old versions, put small files together, remove files that nothing refers to."""
    from classic_cars.stores.maintenance import maintained

    lines = 0
    with _writing() as store, progress("maintaining"):
        for line in maintained(
            store,
            _contracts(),
            keep=timedelta(days=keep_days),
            orphan_age=timedelta(hours=orphan_hours),
            dry_run=not apply_,
        ):
            out.print(f"{'done: ' if apply_ else ''}{line}", soft_wrap=True)
            lines += 1
    if not lines:
        out.print("nothing to do")
    elif not apply_:
        out.print("nothing was changed; `classic-cars lake maintain --apply` does it", style="dim")


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
def exporting(folder: Path) -> None:
    """Write every published table to FOLDER as Parquet, checked row for row.

    With `import` this moves a warehouse between the two stores: export from one, set CLASSIC_CARS_STORE, import.
    """
    from classic_cars.stores.transfer import export_tables

    with published() as store, progress("exporting"):
        count = _shown(export_tables(store, _contracts(), folder))
    out.print(f"[green]exported[/] {count} tables to {escape(str(folder))}", soft_wrap=True)


@click.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def importing(folder: Path) -> None:
    """Publish every table of an export in the store, checked row for row; replaces what is there."""
    from classic_cars.stores.transfer import import_tables

    with _writing() as store, progress("importing"):
        count = _shown(import_tables(store, _contracts(), folder))
    out.print(f"[green]imported[/] {count} tables to {escape(store.place)}", soft_wrap=True)


def _shown(moved: Iterable[Transferred]) -> int:
    """Show each table as it is done; their number."""
    count = 0
    for each in moved:
        err.print(f"{each.address}: {each.rows:,} rows", style="dim")
        count += 1
    return count


@contextmanager
def _writing() -> Iterator[Store]:
    with quick_imports():
        from classic_cars.settings import load_settings
        from classic_cars.stores import open_store

    store = open_store(load_settings())
    try:
        yield store
    finally:
        store.end_run()


def _contracts() -> list[Contract]:
    with quick_imports():
        from classic_cars.assets import ALL_TABLES
        from classic_cars.stores.transfer import with_co_published

    return with_co_published(each.contract for each in ALL_TABLES)


def _contract(address: str) -> Contract:
    """The contract of a table, by its address or its name alone. Raises ``click.BadParameter``."""
    known = _contracts()
    found = [each for each in known if each.address == address] or [each for each in known if each.name == address]
    if len(found) != 1:
        listed = ", ".join(each.address for each in found or known)
        raise click.BadParameter(f"found {address!r}, expected one of {listed}", param_hint="TABLE")
    return found[0]
