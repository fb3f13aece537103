"""What tables there are and what their columns mean: the contracts, for people who ask."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from classic_cars.cli.grid import Column, Grid
from classic_cars.cli.startup import quick_imports
from classic_cars.cli.terminal import out, published

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract


@click.command()
def tables() -> None:
    """Every table: its rows, when it was last published, and what it holds."""
    with quick_imports():
        from classic_cars.instance import open_instance
        from classic_cars.serving.status import table_statuses
        from classic_cars.settings import load_settings

    settings = load_settings()
    known = contracts()
    grid = Grid([Column("table"), Column("rows", numeric=True), Column("published (UTC)"), Column("what", wraps=True)])
    with published(settings) as store, open_instance(settings) as instance:
        for contract, each in zip(known, table_statuses(known, store, instance), strict=True):
            rows = "[dim]never published[/]" if each.rows is None else f"{each.rows:,}"
            moment = f"{each.materialized:%Y-%m-%d %H:%M}" if each.materialized and each.rows is not None else ""
            grid.add(each.address, rows, moment, escape(first_sentence(contract.description)))
    grid.show()
    out.print("In SQL a table is called layer.name; `classic-cars describe TABLE` lists its columns.", style="dim")


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.?])\s", text, maxsplit=1)[0]


@click.command()
@click.argument("table")
def describe(table: str) -> None:
    """The columns of TABLE: types and meaning; its key, and the tables that it refers to.

    TABLE is a name such as fact_orders, warehouse/fact_orders or warehouse.fact_orders.
    """
    contract = contract_named(table)
    out.print(f"[bold]{contract.address}[/]: {escape(contract.description)}", soft_wrap=True)
    grid = Grid([Column("column"), Column("type"), Column("NULL"), Column("key"), Column("what", wraps=True)])
    for name, kind in contract.types.items():
        null = "yes" if contract.schema.columns[name].nullable else ""
        personal = "; [yellow]personal data[/]" if contract.is_personal(name) else ""
        meaning = f"{escape(contract.describe(name))}{personal}"
        grid.add(escape(name), escape(str(kind)), null, "key" if name in contract.key else "", meaning)
    grid.show()
    facts = {
        "key": ", ".join(contract.key),
        "partitioned by": f"month of {contract.partitioned_by}" if contract.partitioned_by else "",
        "refers to": "; ".join(f"{each.column} → {each.to}.{each.to_column}" for each in contract.references),
        "published with": ", ".join(each.address for each in contract.co_published),
    }
    for name, text in facts.items():
        if text:
            out.print(f"{name}: {escape(text)}", soft_wrap=True)


def contracts() -> list[Contract]:
    """Those of all tables, and of the tables that are published with them."""
    with quick_imports():
        from classic_cars.assets import ALL_TABLES
        from classic_cars.stores.transfer import with_co_published

    return with_co_published(each.contract for each in ALL_TABLES)


def contract_named(name: str) -> Contract:
    """The contract of a table, by its address, as SQL calls it, or its name alone. Raises ``click.BadParameter``."""
    known = contracts()
    address = name.replace(".", "/")
    found = [each for each in known if each.address == address] or [each for each in known if each.name == name]
    if len(found) != 1:
        raise click.BadParameter(_ambiguous(name, found) if found else _misspelt(name, known), param_hint="TABLE")
    return found[0]


def _ambiguous(name: str, found: list[Contract]) -> str:
    return f"{name!r} is ambiguous: there are {', '.join(each.address for each in found)}; name the layer too"


def _misspelt(name: str, known: list[Contract]) -> str:
    """Says first which table is nearest, if any is near."""
    meant = {spelt: each.address for each in known for spelt in (each.name, each.address)}
    near = difflib.get_close_matches(name.replace(".", "/"), meant, n=1, cutoff=0.75)
    listed = ", ".join(each.address for each in known)
    if near:
        return f"found {name!r}, did you mean {meant[near[0]]}? Tables are {listed}"
    return f"found {name!r}; tables are {listed}"
