"""``classic-cars shop``: the commands of the simulated shop, which the platform's command line finds as a plug-in."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from classic_cars import interrupts
from classic_cars.cli.terminal import Commands, err, out, progress
from classic_cars.wording import counted


@click.group(cls=Commands)
@click.pass_context
def shop(context: click.Context) -> None:
    """Make an order system of any size, and let time pass in it.

    Works on CLASSIC_CARS_SOURCE_URL, and only on tables that it made itself.
    """
    context.with_resource(interrupts.listening())


#: What a shop's mark holds in every database.
_seed = click.IntRange(-(2**63), 2**63 - 1)

_replace = click.option(
    "--replace", is_flag=True, help="Delete the order system's tables that are there, whoever made them."
)


@shop.command()
@click.option("--scale", default=1.0, show_default=True, help="1: 3,000 order lines; 1000: 3 million.")
@click.option(
    "--seed", default=0, type=_seed, show_default=True, help="The same seed makes the same rows on every database."
)
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The shop's last day; 29 months end there.")
@_replace
def create(scale: float, seed: int, until: datetime | None, replace: bool) -> None:
    """Make a shop: 29 months of customers, orders and payments."""
    from classic_cars_shop import api

    url = _shop_url(replace)
    with progress("making the shop") as step:
        made = api.create(
            url, scale=scale, seed=seed, until=until.date() if until else None, replace=replace, progress=step
        )
    _show_rows(made.rows)


@shop.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_replace
def load(folder: Path, replace: bool) -> None:
    """Load the eight tables from the CSV files in FOLDER."""
    from classic_cars_shop import api

    url = _shop_url(replace)
    with progress("loading the shop") as step:
        made = api.load(url, folder, replace=replace, progress=step)
    _show_rows(made.rows)


@shop.command()
@click.option("--days", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", type=_seed, help="Makes what happens repeatable.")
def advance(days: int, seed: int | None) -> None:
    """Let time pass: orders, shipments, payments, a price change, a new customer, a customer who moves.

    Customers' ratings of what reached them are dropped as files at CLASSIC_CARS_LANDING.
    """
    from classic_cars.settings import load_settings
    from classic_cars_shop import api

    with progress("time passes") as step:
        settings = load_settings()
        summary = api.advance(
            settings.order_system_url, days, seed=seed, landing=settings.landing_location, progress=step
        )
    out.print(str(summary))


_kind = click.Choice(["drift", "duplicates", "orphans", "negatives", "late", "outage"])


@shop.command("break")
@click.argument("kind", type=_kind)
def break_(kind: str) -> None:
    """Plant a fault, to see what the platform does about it; `shop mend` removes it.

    \b
      drift       a column of orders is renamed
      duplicates  payments are entered twice
      orphans     order lines without an order
      negatives   negative quantities
      late        good orders of a month long closed arrive only now
      outage      the order system cannot be read
    """
    from classic_cars.settings import load_settings
    from classic_cars_shop import api

    found, rows = api.break_shop(load_settings().order_system_url, kind)
    out.print(f"planted {kind}: {found.what}" + (f"; {counted(rows, 'row')}" if rows else ""), soft_wrap=True)
    out.print(f"noticed by: {found.noticed_by}", soft_wrap=True)


@shop.command()
@click.argument("kind", required=False, type=_kind)
def mend(kind: str | None) -> None:
    """Remove a planted fault, or all of them, as if they had never been there."""
    from classic_cars.settings import load_settings
    from classic_cars_shop import api

    mended = api.mend_shop(load_settings().order_system_url, kind)
    out.print(f"mended {', '.join(mended)}" if mended else "nothing was planted")


def _shop_url(replace: bool) -> str:
    """The order system's URL; with ``--replace``, says first what will be deleted."""
    from classic_cars.settings import load_settings
    from classic_cars_shop import api

    url = load_settings().order_system_url
    if replace:
        for table, rows in api.plan_replace(url):
            err.print(f"deleting {table}: {counted(rows, 'row')}")
    return url


def _show_rows(rows: dict[str, int]) -> None:
    for table, number in rows.items():
        out.print(f"{table:<14} {counted(number, 'row'):>17}")
