"""The commands of analysts: the two answers, and any other question in SQL."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as Grid

from classic_cars.cli.terminal import out, published, show_balance, show_contradictions

if TYPE_CHECKING:
    from classic_cars.stores.base import Store

#: Rows that a table on the screen shows; csv and json have no limit.
SCREENFUL = 200


@click.command()
def answers() -> None:
    """Which product lines are more successful? How are sales distributed across countries?

    Below each total: how much of what the order system sent is in it, and how much is quarantined. When
    tables of different runs contradict each other, this says so and the exit code is 1.
    """
    from classic_cars.serving.completeness import ORDER_LINES, balance
    from classic_cars.serving.consistency import contradictions

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


@click.command()
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
    from classic_cars.serving.consistency import contradictions, reads_compared_tables
    from classic_cars.stores.base import versions_of

    with published() as store:
        reader = store.query(sql) if as_of is None else versions_of(store).query_as_of(sql, _moment(as_of))
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


def _fetch(store: Store, sql: str) -> list[dict[str, Any]]:
    return [row for batch in store.query(sql) for row in batch.to_pylist()]
