"""``classic-cars report``: the sales report of each month, as a page."""

from __future__ import annotations

import click
from rich.markup import escape

from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import err, out


@click.command()
@click.option("--month", metavar="YYYY-MM", help="Only this one.")
def report(month: str | None) -> None:
    """Write the sales report of each month, or of one, from the current release; prints where.

    Each is one file of HTML below reports/ in CLASSIC_CARS_HOME that needs nothing from anywhere: it can be mailed,
    printed, and opened without a network.
    """
    with quick_imports():
        from classic_cars.serving.sales_report.files import write_reports
        from classic_cars.settings import load_settings

    release, written = write_reports(load_settings(), month)
    for each in written:
        out.print(escape(str(each.path)), soft_wrap=True)
    err.print(escape(f"{release.line()}: {release.order_lines.line()}"), style="dim", soft_wrap=True)
