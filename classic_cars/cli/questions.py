"""The commands of analysts: the two answers, and any other question in SQL."""

from __future__ import annotations

import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from classic_cars.cli.catalog import contracts
from classic_cars.cli.formats import RELEASE, format_of, format_options, give
from classic_cars.cli.grid import Column, Grid
from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import agreeing, out, published, show_balance, show_contradictions
from classic_cars.serving.formats import plain
from classic_cars.wording import counted, rounded

if TYPE_CHECKING:
    from classic_cars.serving.completeness import Balance
    from classic_cars.stores.base import Reading

#: Rows that a table on the screen shows; files have no limit.
SCREENFUL = 200


@click.command()
@RELEASE
def answers(number: int | None) -> None:
    """Which product lines are more successful? How are sales distributed across countries?

    Answered from the current release: a set of tables that agree with each other and with the order system,
    to the cent. Below each total: how much of what the order system sent is in it, and how much is
    quarantined. Where there is no release yet, the published tables are asked; when those contradict each
    other, this says so and the exit code is 1.
    """
    with quick_imports():
        from classic_cars.serving.completeness import ORDER_LINES, balance

    with agreeing(number) as (tables, release):
        _show_answers(tables, release.order_lines if release is not None else balance(tables, ORDER_LINES))


def _show_answers(tables: Reading, completeness: Balance) -> None:
    for title, table, first in (
        ("Which product lines are more successful?", "sales_by_product_line", "productLine"),
        ("How are sales distributed across countries?", "sales_by_country", "country"),
    ):
        rows = _fetch(tables, f"SELECT * FROM analytics.{table} ORDER BY netSales DESC, 1")
        _answer(title, first, rows).show()
        show_balance(completeness)
        out.print()
    out.print(
        "Amounts in USD. Net sales leave cancelled orders out; docs/metrics.md defines every word.",
        style="dim",
        soft_wrap=True,
    )


def _answer(title: str, first: str, rows: list[dict[str, Any]]) -> Grid:
    numbers = ("orders", "units", "booked amount", "net sales", "gross profit", "share of net")
    grid = Grid([Column(first), *(Column(name, numeric=True) for name in numbers)], title=title, last=True)
    total = sum((row["netSales"] for row in rows), Decimal(0))
    for row in rows:
        share = rounded(row["netSales"] / total, ".1%") if total else ""
        amounts = [f"{row[name]:,.2f}" for name in ("bookedAmount", "netSales", "grossProfit")]
        grid.add(escape(str(row[first])), f"{row['orders']:,}", f"{row['units']:,}", *amounts, share)
    sums = [
        f"{sum((row[name] for row in rows), Decimal(0)):,.2f}" for name in ("bookedAmount", "netSales", "grossProfit")
    ]
    grid.add("total", "", f"{sum(row['units'] for row in rows):,}", *sums, "")
    return grid


@click.command()
@click.argument("sql", required=False)
@format_options
@click.option("--as-of", metavar="TIME|VERSION", help="The tables as they were then: 2004-06-30T12:00, or a version.")
@RELEASE
def query(sql: str | None, kind: str | None, output: Path | None, as_of: str | None, number: int | None) -> None:
    """Ask the tables, in SQL, read-only.

    \b
    Tables are called layer.name; `classic-cars tables` lists them:
      classic-cars query "SELECT country, netSales FROM analytics.sales_by_country ORDER BY 2 DESC"
      classic-cars query "SHOW TABLES"
      classic-cars query "SUMMARIZE warehouse.fact_orders"
      classic-cars query --output sales.xlsx "FROM analytics.sales_by_month"
      echo "SELECT 1" | classic-cars query
    Without SQL, or with -, it is read from standard input.
    What reads the warehouse and answers only is asked of the current release: tables that agree with each
    other, for which nobody waits. Whatever else is asked of the tables as they are published now; while a
    run writes one, that waits for the step (CLASSIC_CARS_QUERY_WAIT seconds at most), and when published
    tables contradict each other, this says so on stderr and the exit code is 1.
    """
    with quick_imports():
        from classic_cars.serving.consistency import contradictions, reads_compared_tables, reads_released_tables
        from classic_cars.stores.base import versions_of
        from classic_cars.stores.sql import asks_for_tables

    if as_of is not None and number is not None:
        raise click.UsageError("--as-of and --release exclude each other: a release is as it was made")
    kind = format_of(kind, output)
    moment = None if as_of is None else _moment(as_of)
    if sql is None or sql == "-":
        sql = _standard_input()
    if number is not None or (moment is None and reads_released_tables(sql)):
        with agreeing(number) as (tables, _):
            give(tables, tables.query(sql), kind, output, _show)
        return
    with published() as store:
        reader = store.query(sql) if moment is None else versions_of(store).query_as_of(sql, moment)
        if moment is None and asks_for_tables(sql):
            reader = _readable(reader)
        give(store, reader, kind, output, _show)
        contradicting = contradictions(store) if moment is None and reads_compared_tables(sql) else []
    show_contradictions(contradicting)
    if contradicting:
        sys.exit(1)


def _readable(tables: Any) -> Any:
    """Of the tables in the store, those that can be asked: a release has none of which the contract is gone."""
    from classic_cars.contracts.base import RELEASED

    known = {(each.layer, each.name) for each in contracts()}
    found = tables.read_all()
    kept = [each["layer"] not in RELEASED or (each["layer"], each["name"]) in known for each in found.to_pylist()]
    return found.filter(kept).to_reader()


def _standard_input() -> str:
    """SQL that is piped in. Raises ``click.UsageError`` when nothing is."""
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError('no SQL; classic-cars query "SELECT ...", or pipe it in')
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise click.UsageError("the SQL on standard input is not UTF-8") from None


def _moment(text: str) -> datetime | int:
    """A version's number or a moment; a moment without a time zone is one of this machine's."""
    from classic_cars.months import day_of

    if text.isdecimal() and len(text) < 20:
        return int(text)
    try:
        day_of(text[:10])  # no week, whose first day Python takes
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"found {text!r}, expected a time such as 2004-06-30T12:00 or a version's number", param_hint="--as-of"
        ) from None


def _show(reader: Any) -> None:
    """The first rows, as a table. Whole numbers stand as they are: many are identifiers or years."""
    import pyarrow.types as kinds

    numeric = (kinds.is_decimal, kinds.is_integer, kinds.is_floating)
    grid = Grid(
        [
            Column(field.name, numeric=any(of(field.type) for of in numeric), wraps=not kinds.is_temporal(field.type))
            for field in reader.schema
        ]
    )
    total = 0
    for batch in reader:
        for row in zip(*batch.slice(0, max(0, SCREENFUL - total)).columns, strict=True):
            grid.add(*[_cell(value.as_py()) for value in row])
        total += batch.num_rows
    grid.show()
    if total > SCREENFUL:
        out.print(f"{counted(total - SCREENFUL, 'more row')}; --format csv shows all", style="dim", soft_wrap=True)


def _cell(value: Any) -> str:
    if value is None:
        return "[dim]NULL[/]"
    if isinstance(value, Decimal):
        return f"{value:,}" if int(value.as_tuple().exponent) < 0 else f"{value:f}"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return f"{value:.0f}"
    return escape(str(plain(value)))


def _fetch(store: Reading, sql: str) -> list[dict[str, Any]]:
    return store.query(sql).read_all().to_pylist()
