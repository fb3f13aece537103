"""``classic-cars embed``: links that show a customer their own orders, and the server that answers them."""

from __future__ import annotations

from datetime import timedelta

import click

from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import err, out, released


@click.group(invoke_without_command=True)
@click.option("--customer", type=click.IntRange(1, 2**31 - 1), metavar="NUMBER", help="Whom the link shows.")
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="For how long.")
@click.pass_context
def embed(context: click.Context, customer: int | None, days: int) -> None:
    """Print a signed link to one customer's orders, deliveries and ratings, for a frame in the shop.

    \b
      classic-cars embed --customer 103 --days 7
      classic-cars embed serve

    The link is all that is needed to see the page, until it expires: hand it to that customer only.
    CLASSIC_CARS_EMBED_KEY signs it, CLASSIC_CARS_EMBED_URL is where it leads, and CLASSIC_CARS_EMBED_ANCESTORS
    names the sites that may show it in a frame.
    """
    if context.invoked_subcommand is not None:
        if customer is not None:
            raise click.UsageError("--customer makes a link; serve takes no customer")
        return
    if customer is None:
        raise click.UsageError("Missing option '--customer', or the command serve")
    with quick_imports():
        from classic_cars.errors import TableMissing
        from classic_cars.serving.embedding.customer import customer as find
        from classic_cars.serving.embedding.links import link
        from classic_cars.settings import load_settings

    address = link(load_settings(), customer, timedelta(days=days))
    with released() as found:
        if found is None:
            raise TableMissing("no release was made yet, so that there is no customer to show: `classic-cars run`")
        release, tables = found
        if find(tables, customer) is None:
            raise click.BadParameter(f"{customer}: not in release {release.number}", param_hint="--customer")
    out.print(address, markup=False)


@embed.command()
@click.option("--port", default=3002, show_default=True, type=click.IntRange(1, 65535))
def serve(port: int) -> None:
    """Answer the links, on 127.0.0.1; a reverse proxy makes it public (docs/access.md)."""
    with quick_imports():
        from classic_cars.serving.embedding.links import must_have_keys
        from classic_cars.serving.embedding.server import HOST
        from classic_cars.serving.embedding.server import serve as listen
        from classic_cars.settings import load_settings

    settings = load_settings()
    must_have_keys(settings)
    err.print(f"customers' pages at http://{HOST}:{port}/embed/...; Ctrl+C ends it", style="dim")
    listen(settings, port)
