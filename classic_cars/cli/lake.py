"""Commands for the history and the maintenance of a lake, and for moving a warehouse between stores."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from classic_cars.cli.catalog import contract_named, contracts
from classic_cars.cli.grid import Column, Grid
from classic_cars.cli.serving import served
from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import Commands, err, out, progress, published
from classic_cars.wording import counted

if TYPE_CHECKING:
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

    contract = contract_named(table)
    with published() as store:
        names = ("version", "published", "rows", "rows written", "run", "contract", "code")
        grid = Grid([Column(name, numeric=name.startswith("rows")) for name in names])
        for each in versions_of(store).history(contract):
            grid.add(
                f"{each.number}{' *' if each.current else ''}",
                f"{each.published:%Y-%m-%d %H:%M:%S} UTC",
                *(f"{each.rows:,}", f"{each.rows_written:,}"),
                *(each.run_id, each.contract_version, each.code_version),
            )
    grid.show()
    out.print("* what readers see now", style="dim")


@lake.command()
@click.argument("table")
@click.argument("old", type=int)
@click.argument("new", type=int)
def diff(table: str, old: int, new: int) -> None:
    """Rows of TABLE added, removed and changed, by key, from version OLD to version NEW; and columns."""
    from classic_cars.stores.base import versions_of

    contract = contract_named(table)
    with published() as store, progress(f"comparing versions of {contract.address}"):
        found = versions_of(store).difference(contract, old, new)
    for kind, number in (("added", found.added), ("removed", found.removed), ("changed", found.changed)):
        samples = "; ".join(
            ", ".join(f"{name} {value}" for name, value in each.items()) for each in found.samples.get(kind, [])
        )
        such = f"   such as {escape(samples)}" if samples else ""
        out.print(f"{kind:<8} {counted(number, 'row'):>17}{such}")
    for kind, columns in found.columns.items():
        if columns:
            out.print(f"{kind:<8} {counted(len(columns), 'column'):>17}   {escape(', '.join(columns))}")


@lake.command()
@click.argument("table")
@click.argument("version", type=int)
def rollback(table: str, version: int) -> None:
    """Make VERSION of TABLE the published one again, in one step.

    No version is lost: roll back to a later one the same way. Tables made from this one stay as they are;
    `classic-cars run` rebuilds all of them.
    """
    from classic_cars.stores.base import versions_of

    contract = contract_named(table)
    with _writing() as store:
        versions_of(store).roll_back(contract, version)
        _released(store, f"rollback of {contract.address}")
    out.print(f"{contract.address}: version {version} is the published one again")


@lake.command()
@click.option("--apply", "apply_", is_flag=True, help="Do it; without this, only say what there is to do.")
@click.option(
    "--keep-days",
    default=7,
    show_default=True,
    type=click.IntRange(0, 36_500),
    help="How long replaced versions can be read.",
)
@click.option(
    "--orphan-hours",
    default=24,
    show_default=True,
    type=click.IntRange(0, 876_000),
    help="How old an orphan file must be; younger ones may belong to a run under way.",
)
def maintain(apply_: bool, keep_days: int, orphan_hours: int) -> None:
    """Expire old versions, compact small files, remove orphan files."""
    from classic_cars.stores.maintenance import maintained

    lines = 0
    with _writing() as store:
        with progress("maintaining"):
            for line in maintained(
                store,
                contracts(),
                keep=timedelta(days=keep_days),
                orphan_age=timedelta(hours=orphan_hours),
                dry_run=not apply_,
            ):
                out.print(f"{'done: ' if apply_ else ''}{line}", soft_wrap=True)
                lines += 1
        if apply_:
            _released(store, "maintenance")
    if not lines:
        out.print("nothing to do")
    elif not apply_:
        out.print("nothing was changed; `classic-cars lake maintain --apply` does it", style="dim")


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--as-is", is_flag=True, help="Also tables that do not agree, or of which some were never made.")
def exporting(folder: Path, as_is: bool) -> None:
    """Write every published table to FOLDER as Parquet, checked row for row; the folder appears whole.

    A FOLDER that an export wrote before is refreshed in one step; any other that is not empty is refused. So are
    tables that do not agree with each other and with the order system: FOLDER stays as it was, the exit code is 1.
    With `import` this moves a warehouse between the two stores: export from one, set CLASSIC_CARS_STORE, import.
    """
    from classic_cars.stores.transfer import export_tables

    with published() as store, progress("exporting"):
        moved = _shown(export_tables(store, contracts(), folder, None if as_is else _disagreements))
    out.print(f"[green]exported[/] {counted(moved, 'table')} to {escape(str(folder))}", soft_wrap=True)


def _disagreements(store: Store) -> list[str]:
    """Why no release would be made of these tables."""
    from classic_cars.serving.completeness import balances
    from classic_cars.serving.consistency import contradictions

    return [*(each.line() for each in balances(store) if not each.balanced), *contradictions(store)]


@click.command("import")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def importing(folder: Path) -> None:
    """Publish every table of an export in the store, checked row for row; replaces what is there.

    The exit code is 1 when no release can be made of them, or PostgreSQL is not brought to it.
    """
    from classic_cars.stores.transfer import import_tables

    with _writing() as store:
        with progress("importing"):
            moved = _shown(import_tables(store, contracts(), folder))
        out.print(f"[green]imported[/] {counted(moved, 'table')} to {escape(store.place)}", soft_wrap=True)
        if not _released(store, f"import of {folder.name}"):
            sys.exit(1)


def _shown(moved: Iterable[Transferred]) -> int:
    """Show each table as it is done; their number."""
    tables = 0
    for each in moved:
        err.print(f"{each.address}: {counted(each.rows, 'row')}", style="dim", soft_wrap=True)
        tables += 1
    return tables


@contextmanager
def _writing() -> Iterator[Store]:
    """The store, to be changed."""
    with quick_imports():
        from classic_cars.settings import load_settings
        from classic_cars.stores import open_store

    store = open_store(load_settings())
    try:
        yield store
    finally:
        store.end_run()


def _released(store: Store, what: str) -> bool:
    """What was changed becomes a release, if its tables agree; ``what``: where releases are listed, what made it.

    False when they do not, or PostgreSQL refused it.
    """
    from classic_cars.serving.release_making import make_release

    store.begin_run(what)
    outcome = make_release(store, contracts(), what)
    if outcome.is_new and outcome.release is not None:
        err.print(f"release {outcome.release.number}", style="dim")
        return served()
    if outcome.reasons:
        err.print(f"[yellow]no release was made[/]: {escape('; '.join(outcome.reasons))}", soft_wrap=True)
    return not outcome.reasons
