"""The command line: thin commands over the platform's parts. Imports late, so that ``--help`` is quick."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as Grid

from classic_cars.cli_lake import exporting, importing, lake
from classic_cars.startup import quick_imports
from classic_cars.terminal import Commands, err, out, progress, published, show_balance, show_contradictions

if TYPE_CHECKING:
    from classic_cars.runs import FailedCheck, RunReport
    from classic_cars.status import TableStatus
    from classic_cars.stores.base import Store

#: Rows that a table on the screen shows; csv and json have no limit.
SCREENFUL = 200


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """From a retailer's order system to a star schema that agrees with it to the cent.

    \b
    A first look, without a database of your own:
      classic-cars shop create     make an order system to play with
      classic-cars run             read it, check it, publish the star schema
      classic-cars answers         which product lines are more successful? which countries?

    Everything is written below CLASSIC_CARS_HOME (default ./var). CLASSIC_CARS_SOURCE_URL names the order
    system: sqlite:///shop.db, mysql://user:password@host/db, mariadb://... or postgresql://...
    """


# Running ----------------------------------------------------------------------------------------------


@main.command()
@click.option(
    "--select",
    "patterns",
    multiple=True,
    metavar="TABLE",
    help="Only these, such as warehouse/* or source/order*+ (with what is made from them); repeatable.",
)
@click.option("--months", metavar="MONTHS", help="Only these months of orderDate: 2004-01 or 2004-01..2004-03.")
@click.option(
    "--accept-shrink",
    "shrinking",
    multiple=True,
    metavar="TABLE",
    help="This table of the order system, such as orders, may have far fewer rows than before; repeatable.",
)
@click.option("--in-memory", is_flag=True, help="Keep the run's events in memory, out of Dagster's history.")
def run(patterns: tuple[str, ...], months: str | None, shrinking: tuple[str, ...], in_memory: bool) -> None:
    """Read the order system, check everything, publish what passes.

    Makes every table for all months that the order system has, unless told otherwise. A table whose
    checks fail keeps its previous version; the exit code is then 1. The last lines say how much of what
    the order system sent is published, and how much is quarantined.
    """
    with progress("loading the platform"):
        with quick_imports():
            from classic_cars.runs import execute
            from classic_cars.settings import load_settings
            from classic_cars.stores.base import Months
        try:
            chosen = Months.parse(months) if months else None
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--months") from None
        report = execute(load_settings(), patterns, chosen, ephemeral=in_memory, accept_shrink=shrinking)
    _show_report(report)
    _show_completeness()
    if not report.succeeded:
        sys.exit(1)


def _show_completeness() -> None:
    """What is published now, whatever became of the run; the run's outcome is not changed by what is found."""
    from classic_cars.completeness import balances
    from classic_cars.consistency import contradictions
    from classic_cars.errors import StoreError

    try:
        with published() as store:
            for balance in balances(store):
                show_balance(balance)
            show_contradictions(contradictions(store))
    except StoreError as error:
        err.print(f"[yellow]completeness is not known[/]: {escape(str(error))}", soft_wrap=True)


def _show_report(report: RunReport) -> None:
    for check in report.failed_checks:
        if check.blocking:
            _show_check("[bold red]failed[/]", check)
    for step, text in report.errors.items():
        out.print(f"[bold red]error[/]   {step}: {escape(text)}", soft_wrap=True)
    for check in report.failed_checks:
        if not check.blocking:
            _show_check("[yellow]warning[/]", check)
    months = f" for {report.months}" if report.months else ""
    if report.succeeded:
        out.print(f"[green]published[/] {len(report.published)} tables{months}; run {report.run_id}", soft_wrap=True)
    else:
        kept = ", ".join(report.not_published)
        out.print(f"[bold red]run failed[/]{months}; run {report.run_id}", soft_wrap=True)
        out.print(
            f"{len(report.published)} tables published; these keep their previous version: {kept}", soft_wrap=True
        )


def _show_check(kind: str, check: FailedCheck) -> None:
    out.print(f"{kind}  {check.table}, check {check.check}: {escape(check.summary)}", soft_wrap=True)


@main.command()
def answers() -> None:
    """Which product lines are more successful? How are sales distributed across countries?

    Below each total: how much of what the order system sent is in it, and how much is quarantined. When
    tables of different runs contradict each other, this says so and the exit code is 1.
    """
    from classic_cars.completeness import ORDER_LINES, balance
    from classic_cars.consistency import contradictions

    with published() as store:
        completeness = balance(store, ORDER_LINES)
        for title, table, first in (
            ("Which product lines are more successful?", "sales_by_product_line", "productLine"),
            ("How are sales distributed across countries?", "sales_by_country", "country"),
        ):
            rows = _fetch(store, f"SELECT * FROM analytics.{table} ORDER BY netSales DESC, 1")
            out.print(_answer(title, first, rows))
            show_balance(completeness)
            out.print()
        contradicting = contradictions(store)
    out.print(
        "Amounts in USD. Net sales leave cancelled orders out; docs/metrics.md defines every word.",
        style="dim",
        soft_wrap=True,
    )
    show_contradictions(contradicting)
    if contradicting:
        sys.exit(1)


def _answer(title: str, first: str, rows: list[dict[str, Any]]) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    grid.add_column(first, no_wrap=True)
    for name in ("orders", "units", "booked amount", "net sales", "gross profit", "share of net"):
        grid.add_column(name, justify="right", no_wrap=True)
    total = sum((row["netSales"] for row in rows), Decimal(0))
    for row in rows:
        share = f"{row['netSales'] / total:.1%}" if total else ""
        amounts = [f"{row[name]:,.2f}" for name in ("bookedAmount", "netSales", "grossProfit")]
        grid.add_row(row[first], f"{row['orders']:,}", f"{row['units']:,}", *amounts, share)
    sums = [
        f"{sum((row[name] for row in rows), Decimal(0)):,.2f}" for name in ("bookedAmount", "netSales", "grossProfit")
    ]
    grid.add_section()
    grid.add_row("total", "", f"{sum(row['units'] for row in rows):,}", *sums, "", style="bold")
    return grid


@main.command()
@click.argument("sql")
@click.option("--format", "kind", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--as-of", metavar="TIME|VERSION", help="The tables as they were then: 2004-06-30T12:00, or a version.")
def query(sql: str, kind: str, as_of: str | None) -> None:
    """Ask the published tables, in SQL, read-only.

    \b
    Tables are called layer.name:
      classic-cars query "SELECT country, netSales FROM analytics.sales_by_country ORDER BY 2 DESC"
    While a run writes a table, a query waits for that step (CLASSIC_CARS_QUERY_WAIT seconds at most).
    When it reads tables of the warehouse or answers, and published tables contradict each other, this says
    so on stderr and the exit code is 1.
    """
    from classic_cars.consistency import contradictions, reads_compared_tables

    with published() as store:
        reader = store.query(sql, None if as_of is None else _moment(as_of))
        if kind == "csv":
            _write_csv(reader)
        elif kind == "json":
            _write_json(reader)
        else:
            _write_grid(reader)
        contradicting = contradictions(store) if as_of is None and reads_compared_tables(sql) else []
    show_contradictions(contradicting)
    if contradicting:
        sys.exit(1)


def _moment(text: str) -> datetime | int:
    """A version's number or a moment; a moment without a time zone is one of this machine's."""
    if text.isdigit():
        return int(text)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise click.BadParameter(
            f"found {text!r}, expected a time such as 2004-06-30T12:00 or a version's number", param_hint="--as-of"
        ) from None


def _write_csv(reader: Any) -> None:
    import pyarrow.csv

    with pyarrow.csv.CSVWriter(sys.stdout.buffer, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def _write_json(reader: Any) -> None:
    """A JSON array, written row by row as they come."""
    separator = "[\n "
    for batch in reader:
        for row in batch.to_pylist():
            sys.stdout.write(separator + json.dumps({name: _json_value(each) for name, each in row.items()}))
            separator = ",\n "
    sys.stdout.write("\n]\n" if separator != "[\n " else "[]\n")


def _json_value(value: Any) -> Any:
    """Numbers as numbers while JSON readers keep every digit, otherwise as text."""
    if isinstance(value, Decimal):
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)


def _write_grid(reader: Any) -> None:
    grid = Grid(box=SIMPLE_HEAD)
    for field in reader.schema:
        numeric = field.type.__class__.__name__.startswith("Decimal") or str(field.type).startswith(("int", "double"))
        grid.add_column(field.name, justify="right" if numeric else "left")
    shown = total = 0
    for batch in reader:
        total += batch.num_rows
        for row in batch.slice(0, max(0, SCREENFUL - shown)).to_pylist():
            grid.add_row(*[_cell(value) for value in row.values()])
            shown += 1
    out.print(grid)
    if total > shown:
        out.print(f"{total - shown:,} more rows; --format csv shows all", style="dim")


def _cell(value: Any) -> str:
    if value is None:
        return "[dim]NULL[/]"
    if isinstance(value, Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
        return f"{value:,}"
    return escape(str(value))


@main.command()
def status() -> None:
    """Per table: rows, when it was last materialized, and its checks; and how complete the facts are."""
    with quick_imports():
        from classic_cars.assets import ALL_TABLES
        from classic_cars.completeness import balances
        from classic_cars.consistency import contradictions
        from classic_cars.instance import open_instance
        from classic_cars.settings import load_settings
        from classic_cars.status import table_statuses

    settings = load_settings()
    grid = Grid(box=SIMPLE_HEAD)
    for name in ("table", "rows", "last materialized", "checks"):
        grid.add_column(name, justify="right" if name == "rows" else "left", no_wrap=name != "checks")
    with published(settings) as store, open_instance(settings) as instance:
        for each in table_statuses((table.contract for table in ALL_TABLES), store, instance):
            rows = "[dim]never published[/]" if each.rows is None else f"{each.rows:,}"
            moment = f"{each.materialized:%Y-%m-%d %H:%M:%S} UTC" if each.materialized else ""
            grid.add_row(each.address, rows, moment, _checks(each))
        completeness, contradicting = balances(store), contradictions(store)
    out.print(grid)
    for balance in completeness:
        show_balance(balance)
    show_contradictions(contradicting)


def _checks(table: TableStatus) -> str:
    """What failed, then warnings, both by name; then how many passed."""
    parts = [f"[bold red]failed: {', '.join(table.failed)}[/]"] if table.failed else []
    parts += [f"[yellow]warning: {', '.join(table.warnings)}[/]"] if table.warnings else []
    parts += [f"[green]{len(table.passed)} passed[/]"] if table.passed else []
    return "; ".join(parts)


@main.command()
@click.argument("run_id")
def incident(run_id: str) -> None:
    """The story of a run that failed: what went wrong first, which tables it kept from being made.

    RUN_ID is a run's id or the beginning of it, as alerts and the web page show it.
    """
    with quick_imports():
        from classic_cars.incident import story
        from classic_cars.instance import open_instance
        from classic_cars.settings import load_settings

    with open_instance(load_settings()) as instance:
        told = story(instance, run_id)
    out.print(f"run {told.run_id}: {told.status.lower()}; launched by {told.launched_by}", soft_wrap=True)
    for each in told.timeline:
        mark = "[bold red]first[/]" if each is told.first else "[red]then[/] " if each.bad else "     "
        out.print(f"{each.when:%H:%M:%S} {mark} {escape(each.what)}", soft_wrap=True)
    if not told.affected:
        return
    grid = Grid(title="Tables that were not made", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for name in ("table", "", "last good version", "rows", "made by run"):
        grid.add_column(name, justify="right" if name == "rows" else "left", no_wrap=True)
    for table in told.affected:
        moment = f"{table.materialized:%Y-%m-%d %H:%M:%S} UTC" if table.materialized else "[dim]never published[/]"
        rows = "" if table.rows is None else f"{table.rows:,}"
        grid.add_row(table.table, table.how, moment, rows, table.run_id[:8])
    out.print(grid)


@main.command()
def doctor() -> None:
    """Examine configuration, connections, permissions and disk; say what is wrong and how to mend it."""
    from classic_cars.doctor import examine

    findings = []
    for finding in examine():
        mark = "[green]ok[/]     " if finding.well else "[bold red]problem[/]"
        out.print(f"{mark} {finding.subject}: {escape(finding.text)}", soft_wrap=True)
        findings.append(finding)
    if not all(finding.well for finding in findings):
        sys.exit(1)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3000, show_default=True)
def dev(host: str, port: int) -> None:
    """Start Dagster's web page and daemon on the same instance that `run` uses."""
    from classic_cars.instance import serve
    from classic_cars.settings import load_settings

    serve(load_settings(), host=host, port=port)


@main.command()
@click.option("--check", is_flag=True, help="Only say whether the documents are current; exit code 1 if not.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("docs"), show_default=True, help="Where they are."
)
def docs(check: bool, folder: Path) -> None:
    """Write the data dictionary and the metric definitions from the contracts."""
    from classic_cars.dictionary import documents

    stale = [
        name
        for name, text in documents().items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    ]
    if check:
        for name in stale:
            err.print(f"{folder / name} is not current; write it with `classic-cars docs`")
        sys.exit(1 if stale else 0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text)
        out.print(f"{'wrote' if name in stale else 'current'} {folder / name}")


# The shop ---------------------------------------------------------------------------------------------


@main.group(cls=Commands)
def shop() -> None:
    """Make an order system of any size, and let time pass in it.

    Works on CLASSIC_CARS_SOURCE_URL, and only on tables that it made itself.
    """


_replace = click.option(
    "--replace", is_flag=True, help="Delete the order system's tables that are there, whoever made them."
)


@shop.command()
@click.option("--scale", default=1.0, show_default=True, help="1: 3,000 order lines; 1000: 3 million.")
@click.option("--seed", default=0, show_default=True, help="The same seed makes the same rows on every database.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The shop's last day; 29 months end there.")
@_replace
def create(scale: float, seed: int, until: datetime | None, replace: bool) -> None:
    """Make a shop: 29 months of customers, orders and payments."""
    from classic_cars import simulator

    url = _shop_url(replace)
    with progress("making the shop") as step:
        made = simulator.create(
            url, scale=scale, seed=seed, until=until.date() if until else None, replace=replace, progress=step
        )
    _show_rows(made.rows)


@shop.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_replace
def load(folder: Path, replace: bool) -> None:
    """Load the eight tables from the CSV files in FOLDER."""
    from classic_cars import simulator

    url = _shop_url(replace)
    with progress("loading the shop") as step:
        made = simulator.load(url, folder, replace=replace, progress=step)
    _show_rows(made.rows)


@shop.command()
@click.option("--days", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", type=int, help="Makes what happens repeatable.")
def advance(days: int, seed: int | None) -> None:
    """Let time pass: orders, shipments, payments, a price change, a new customer, a customer who moves.

    Customers' ratings of what reached them are dropped as files at CLASSIC_CARS_LANDING.
    """
    from classic_cars import simulator
    from classic_cars.settings import load_settings

    with progress("time passes") as step:
        settings = load_settings()
        summary = simulator.advance(
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
    from classic_cars import simulator
    from classic_cars.settings import load_settings

    found, rows = simulator.break_shop(load_settings().order_system_url, kind)
    out.print(f"planted {kind}: {found.what}" + (f"; {rows:,} rows" if rows else ""), soft_wrap=True)
    out.print(f"noticed by: {found.noticed_by}", soft_wrap=True)


@shop.command()
@click.argument("kind", required=False, type=_kind)
def mend(kind: str | None) -> None:
    """Remove a planted fault, or all of them, as if they had never been there."""
    from classic_cars import simulator
    from classic_cars.settings import load_settings

    mended = simulator.mend_shop(load_settings().order_system_url, kind)
    out.print(f"mended {', '.join(mended)}" if mended else "nothing was planted")


def _shop_url(replace: bool) -> str:
    """The order system's URL; with ``--replace``, says first what will be deleted."""
    from classic_cars import simulator
    from classic_cars.settings import load_settings

    url = load_settings().order_system_url
    if replace:
        for table, rows in simulator.plan_replace(url):
            err.print(f"deleting {table}: {rows:,} rows")
    return url


def _show_rows(rows: dict[str, int]) -> None:
    for table, count in rows.items():
        out.print(f"{table:<14} {count:>12,} rows")


# Shared -----------------------------------------------------------------------------------------------


def _fetch(store: Store, sql: str) -> list[dict[str, Any]]:
    return [row for batch in store.query(sql) for row in batch.to_pylist()]


main.add_command(lake)
main.add_command(exporting)
main.add_command(importing)


if __name__ == "__main__":
    main()
