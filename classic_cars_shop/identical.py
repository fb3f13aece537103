"""Whether two homes hold the same tables, row for row: how demos, benchmarks and tests prove that engines agree."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping

import duckdb

from classic_cars.assets import ALL_TABLES
from classic_cars.settings import Settings
from classic_cars.stores import published
from classic_cars.stores.base import Store

#: Differ between two runs over the same rows: which run it was, and when.
OF_A_RUN = ("_run_id", "loggedAt")
#: What does not fit goes to a folder: tables of ten million rows are compared, too.
MEMORY = "4GB"


def differing_tables(one: Settings, other: Settings) -> dict[str, int]:
    """Each table of either home, and how many of its rows the other has not, or not as often."""
    with published(one) as here, published(other) as there:
        names = sorted({*here.row_counts(), *there.row_counts()})
        return {name: differing_rows(here, there, name) for name in names}


def counted(differing: Mapping[str, int]) -> str:
    """``34 of 34 tables, 12 of 12 that are published with them``: quarantines, and which files were read."""
    made = {each.address for each in ALL_TABLES}
    parts = [[not rows for name, rows in differing.items() if (name in made) == tables] for tables in (True, False)]
    tables, beside = (f"{sum(same)} of {len(same)}" for same in parts)
    return f"{tables} tables, {beside} that are published with them"


def differing_rows(one: Store, other: Store, address: str) -> int:
    """How many rows of a table one of two stores has and the other has not, or not as often; each is read once."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"memory_limit": MEMORY}) as connection:
        connection.execute(f"SET temp_directory = '{folder}'")
        sides = [each.query(f"FROM {address.replace('/', '.')}") for each in (one, other)]
        if sides[0].schema.remove_metadata() != sides[1].schema.remove_metadata():
            return sum(side.read_all().num_rows for side in sides)
        for name, side in zip(("one", "other"), sides, strict=True):
            connection.register(name, side)
        columns = ", ".join(f'"{name}"' for name in sides[0].schema.names if name not in OF_A_RUN)
        counted = (
            f"SELECT sum(n) AS n FROM (SELECT {columns}, 1 AS n FROM one UNION ALL SELECT {columns}, -1 FROM other) "
            f"GROUP BY {columns}"
        )
        found = connection.execute(f"SELECT coalesce(sum(abs(n)), 0) FROM ({counted})").fetchall()
    return int(found[0][0])
