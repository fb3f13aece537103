"""``classic-cars metrics``: what can be measured, what that means, and any question about it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from classic_cars.cli.formats import RELEASE, format_of, format_options, give, readable_errors
from classic_cars.cli.grid import Column, Grid
from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import agreeing, err, out
from classic_cars.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from classic_cars.serving.metrics import AnswerColumn, Question

#: Rows that a table on the screen shows; files have no limit.
SCREENFUL = 200


@click.group()
def metrics() -> None:
    """Net sales, margin, orders and more: what they mean, and each of them by country, month, product line ...

    \b
      classic-cars metrics list
      classic-cars metrics describe netSales
      classic-cars metrics query --measure netSales --by country,month --where "productLine=Planes" --period 2004
    """


@metrics.command("list")
def listing() -> None:
    """Every measure, and every dimension that measures can be cut by."""
    with quick_imports():
        from classic_cars.contracts.cuts import DIMENSIONS
        from classic_cars.contracts.measures import MEASURES

    grid = Grid([Column("measure"), Column("unit"), Column("what", wraps=True)])
    for name, measure in MEASURES.items():
        grid.add(name, measure.unit.name, escape(measure.description))
    grid.show()
    grid = Grid([Column("dimension"), Column("in"), Column("what", wraps=True)])
    for name, dimension in DIMENSIONS.items():
        grid.add(name, dimension.above, escape(dimension.description))
    grid.show()
    out.print("`classic-cars metrics describe NAME` says more of each.", style="dim")


@metrics.command()
@click.argument("name")
def describe(name: str) -> None:
    """What the measure or dimension NAME means, what it is made of, and what goes with it."""
    with quick_imports():
        from classic_cars.serving.metrics import facts_about

    description, facts = facts_about(name)
    out.print(f"[bold]{escape(name)}[/]: {escape(description)}", soft_wrap=True)
    for title, text in facts.items():
        out.print(f"{title}: {escape(text)}", soft_wrap=True)


def _names(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> list[str]:
    """Names that were repeated, or given with commas."""
    return [name.strip() for each in given for name in each.split(",") if name.strip()]


@metrics.command()
@click.option(
    "--measure", "measures", multiple=True, required=True, callback=_names, metavar="NAME[,NAME]", help="What."
)
@click.option("--by", multiple=True, callback=_names, metavar="NAME[,NAME]", help="Dimensions: a row for each value.")
@click.option("--where", multiple=True, metavar="FILTER", help="country=USA, country in USA,France, month>=2004-03 ...")
@click.option("--period", metavar="DAYS", help="2004, 2004-Q2, 2004-05, 2004-05-17, or from..to; by default all days.")
@click.option("--compare", type=click.Choice(["year", "before"]), help="With the year, or the period, before.")
@click.option("--top", type=click.IntRange(min=1), metavar="ROWS", help="Only those with most of the first measure.")
@click.option("--share", is_flag=True, help="With each measure its share of the total; of additive ones.")
@format_options
@RELEASE
def query(kind: str | None, output: Path | None, number: int | None, **asked: Any) -> None:
    """Measures by dimensions, of a period, compared with the one before.

    \b
      classic-cars metrics query --measure netSales,margin --by productLine --period 2004 --compare year
      classic-cars metrics query --measure netSales --by customer --where country=USA --top 10 --share
      classic-cars metrics query --measure balance --by country --period 2004-12-31 --output balance.xlsx
    Filters: NAME=VALUE, NAME!=VALUE, NAME in A,B, of time also NAME>=VALUE; nothing after = means missing. All
    filters must hold. Asked of the current release: tables that agree with each other.
    """
    with quick_imports():
        from classic_cars.serving.metrics import ask, columns_of, expression, hints

    kind = format_of(kind, output)
    question = ask(**asked)
    with agreeing(number) as (tables, _), readable_errors(tables):
        for each in hints(question, tables.read):
            err.print(each, style="yellow", markup=False, soft_wrap=True)
        reader = expression(question, tables.read).to_pyarrow_batches()
        give(tables, reader, kind, output, lambda rows: _show(rows, question, columns_of(question)))


def _show(reader: pa.RecordBatchReader, question: Question, columns: list[AnswerColumn]) -> None:
    """The first rows as a table, and what the measures mean."""
    grid = Grid([Column(each.name, numeric=bool(each.format), wraps=not each.format) for each in columns])
    rows = (row for batch in reader for row in batch.to_pylist())
    for row in islice(rows, SCREENFUL):
        grid.add(*[_cell(row[each.name], each) for each in columns])
    grid.show()
    if not grid.rows:
        err.print(_nothing(question), style="yellow", markup=False, soft_wrap=True)
    more = sum(1 for _ in rows)
    if more:
        out.print(f"{counted(more, 'more row')}; --format csv shows all", style="dim", soft_wrap=True)
    for each in question.measures:
        out.print(f"{each.name}: {escape(each.description)}", style="dim", soft_wrap=True)


def _nothing(question: Question) -> str:
    """Why there are no rows."""
    where = [f" in {question.period}"] if question.period else []
    where += [" of which all filters hold"] if question.where else []
    return f"no rows: there is nothing{''.join(where)}"


def _cell(value: Any, column: AnswerColumn) -> str:
    return "[dim]–[/]" if value is None else escape(column.written(value))
