"""What the simulator can do with a whole shop: create it, load it, and say what replacing it would delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from classic_cars.sources.urls import SourceURL
from classic_cars_shop import database
from classic_cars_shop.bulk import Written
from classic_cars_shop.generate import NewShop
from classic_cars_shop.load import ShopFiles
from classic_cars_shop.ownership import Mark, look, row_counts
from classic_cars_shop.plan import ShopPlan
from classic_cars_shop.write import write_shop

#: Told what is being done, and how many rows are done of how many (estimated).
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ShopSummary:
    """A shop that was made: rows per table, and the shop's current day."""

    rows: dict[str, int]
    shop_date: date


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def create(
    url: str,
    *,
    scale: float = 1,
    seed: int = 0,
    until: date | None = None,
    replace: bool = False,
    progress: Progress = silent,
) -> ShopSummary:
    """Makes a shop with 29 months of history that end on ``until`` (default 2005-05-31).

    The same scale, seed and until make the same rows in every database. Scale 1 has 3,000 order lines.
    Raises ``ShopRefused`` when tables are in the way and ``replace`` is false.
    """
    plan = ShopPlan.make(scale, seed, until)
    shop = NewShop(plan)
    counts = write_shop(
        SourceURL.parse(url),
        shop.batches,
        lambda: Mark.now("create", seed, f"{scale:g}", plan.last),
        replace=replace,
        written=_counting(progress, shop.expected_rows()),
    )
    return ShopSummary(counts, plan.last)


def load(url: str, directory: Path, *, replace: bool = False, progress: Progress = silent) -> ShopSummary:
    r"""Loads the eight tables from ``<table>.csv`` in ``directory``; the shop's day is that of its last order.

    Every value is in double quotes, a quote inside is doubled, NULL is an unquoted ``\N``. Raises
    ``ShopInputError`` naming the file and the line of what is wrong; then nothing was written.
    """
    files = ShopFiles.open(Path(directory))
    counts = write_shop(
        SourceURL.parse(url),
        files.batches,
        lambda: Mark.now("load", 0, "", files.last_order),
        replace=replace,
        written=_counting(progress, files.expected_rows()),
    )
    return ShopSummary(counts, files.last_order)


def plan_replace(url: str) -> list[tuple[str, int]]:
    """The tables that ``replace=True`` would delete, with their rows."""
    source = SourceURL.parse(url)
    if not database.exists(source):
        return []
    with database.transaction(source) as connection:
        return row_counts(connection, look(connection).tables)


def _counting(progress: Progress, total: int) -> Written:
    done = 0

    def written(table: str, rows: int) -> None:
        nonlocal done
        done += rows
        progress(f"writing {table}", done, max(total, done))

    return written
