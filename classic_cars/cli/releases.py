"""Commands for releases: the numbered sets of tables that analysts read."""

from __future__ import annotations

import sys
from decimal import Decimal

import click
from rich.markup import escape

from classic_cars.cli.catalog import contracts
from classic_cars.cli.grid import Column, Grid
from classic_cars.cli.serving import served
from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import Commands, err, out, progress, show_release
from classic_cars.wording import counted


@click.group(cls=Commands, invoke_without_command=True)
@click.pass_context
def releases(context: click.Context) -> None:
    """The releases that are kept, newest first; readers get the first one.

    A release is made at the end of each run that published something, when the tables agree with each other
    and with the order system, to the cent.
    """
    if context.invoked_subcommand is not None:
        return
    with quick_imports():
        from classic_cars.serving.releases import age, all_releases, pending
        from classic_cars.settings import load_settings
        from classic_cars.stores import open_store

    settings = load_settings()
    found = all_releases(open_store(settings, read_only=True).shelf)
    names = ("release", "made (UTC)", "age", "order lines", "amount", "quarantined", "run")
    grid = Grid([Column(name, numeric=name in ("release", "order lines", "amount", "quarantined")) for name in names])
    for each in found:
        lines = each.order_lines
        grid.add(
            *(str(each.number), f"{each.made:%Y-%m-%d %H:%M:%S}", age(each.made)),
            *(f"{lines.published.rows:,}", f"{lines.published.amount:,.2f}", f"{lines.quarantined.rows:,}"),
            each.run_id,
        )
    grid.show()
    if not found:
        out.print("no release was made yet: `classic-cars run`")
    if reasons := pending(settings):
        err.print(f"[yellow]newer tables are not released[/]: {escape(reasons)}", soft_wrap=True)


@releases.command()
@click.argument("number", type=int, required=False)
def show(number: int | None) -> None:
    """What release NUMBER holds, by default the current one, and its proof."""
    with quick_imports():
        from classic_cars.serving.releases import opened
        from classic_cars.settings import load_settings

    with opened(load_settings(), number) as found:
        if found is None:
            raise click.ClickException("no release was made yet: `classic-cars run`")
        release, tables = found
        counts = tables.row_counts()
    out.print(f"[bold]release {release.number}[/], made {release.made:%Y-%m-%d %H:%M:%S} UTC by {release.run_id}")
    for each in release.balances:
        out.print(escape(each.line()), soft_wrap=True)
    proven = f"{release.proven:%Y-%m-%d %H:%M} UTC" if release.proven else "not yet when it was made"
    out.print(f"last proven equal to the live order system: {proven}")
    grid = Grid([Column("table"), Column("rows", numeric=True), Column("version")])
    for address, rows in counts.items():
        snapshot = release.tables[address].snapshot
        grid.add(address, f"{rows:,}", str(snapshot) if snapshot else "")
    grid.show()


@releases.command()
@click.argument("old", type=int)
@click.argument("new", type=int)
@click.option("--by", type=click.Choice(["productLine", "country", "month"]), help="What each group has; default: all.")
def compare(old: int, new: int, by: str | None) -> None:
    """Metrics of release OLD beside those of release NEW; with --by only groups that differ."""
    with quick_imports():
        from classic_cars.serving.differences import compared
        from classic_cars.serving.releases import opened
        from classic_cars.settings import load_settings

    settings = load_settings()
    with opened(settings, old) as before, opened(settings, new) as after:
        changes = compared(before[1], after[1], by) if before and after else []
    columns = [Column(by)] if by else []
    numbers = (f"release {old}", f"release {new}", "difference")
    grid = Grid([*columns, Column("metric"), *(Column(name, numeric=True) for name in numbers)])
    for each in changes:
        amounts = (_shown(each.metric, value) for value in (each.old, each.new, each.difference))
        grid.add(*([escape(each.group)] if by else []), each.metric, *amounts)
    grid.show()
    if by and not changes:
        out.print("no group differs")


def _shown(metric: str, value: Decimal) -> str:
    return f"{value:,.0f}" if metric in ("orders", "units") else f"{value:,.2f}"


@releases.command()
@click.argument("number", type=int)
def restore(number: int) -> None:
    """Make the tables of release NUMBER the published ones again (Iceberg store), as a new release.

    No version is lost. `classic-cars run` makes the tables again from what the order system has now.
    """
    with quick_imports():
        from classic_cars.serving.restored import restored
        from classic_cars.settings import load_settings
        from classic_cars.stores import open_store

    store = open_store(load_settings())
    store.begin_run(f"restore of release {number}")
    try:
        with progress(f"restoring release {number}"):
            release, changed = restored(store, contracts(), number)
    finally:
        store.end_run()
    out.print(f"{counted(len(changed), 'table')} restored{': ' if changed else ''}{', '.join(changed)}", soft_wrap=True)
    show_release(release)
    if not served():
        sys.exit(1)


@releases.command()
@click.option("--take-over", is_flag=True, help="Replace a release that another home brought there.")
def serve(take_over: bool) -> None:
    """Bring the PostgreSQL of CLASSIC_CARS_SERVING_URL to the current release now.

    Each new release does this by itself. Only tables and months that changed since are loaded, in one transaction:
    readers see the release before or this one.
    """
    with quick_imports():
        from classic_cars.settings import load_settings

    if not load_settings().serving_url.get_secret_value():
        raise click.ClickException("CLASSIC_CARS_SERVING_URL is not set: postgresql://user:password@host:5432/database")
    if not served(take_over=take_over):
        sys.exit(1)
