"""``classic-cars mcp``: the warehouse for language models, over the Model Context Protocol."""

from __future__ import annotations

import click

from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import err


@click.command()
@click.option("--http", is_flag=True, help="Over HTTP on 127.0.0.1, at /mcp; by default standard input and output.")
@click.option("--port", default=8321, show_default=True, type=click.IntRange(1, 65535), help="With --http.")
def mcp(*, http: bool, port: int) -> None:
    """Answer assistants: metrics, tables, SQL and data quality of the current release, read-only.

    Speaks the Model Context Protocol, on standard input and output as clients start it. Assistants see the
    tables of the current release without personal data. An answer has at most 200 rows and takes at most
    20 seconds.
    """
    with quick_imports():
        try:
            from classic_cars.assistants.server import server
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "mcp":
                raise
            raise click.ClickException(
                "the protocol's package is missing: pip install 'classic-cars[assistants]'"
            ) from None
        from classic_cars.settings import load_settings

    answering = server(load_settings())
    if http:
        err.print(f"http://127.0.0.1:{port}/mcp", soft_wrap=True)
        answering.run("streamable-http", host="127.0.0.1", port=port, json_response=True, stateless_http=True)
    else:
        answering.run("stdio")
