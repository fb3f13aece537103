"""Order systems for tests of the reader: made by hand, changed behind its back, and read as the platform reads."""

from __future__ import annotations

import os
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pytest
import sqlalchemy as sa

from classic_cars.compiled import CompilingOnce
from classic_cars.contracts.order_system import metadata, orderdetails, orders
from classic_cars.sources.conform import conform
from classic_cars.sources.digests import held_totals
from classic_cars.sources.order_system import ControlTotals, open_order_system
from classic_cars.sources.urls import SourceURL

#: The current day of the tests' order systems.
TODAY = date(2005, 5, 31)

#: Statements can then quote names as the standard says, and store dates that are none.
MYSQL_MODE = "SET SESSION sql_mode = 'ANSI_QUOTES,ALLOW_INVALID_DATES'"


def make_tables(url: str, *tables: sa.Table) -> None:
    """The tables as declared, without foreign keys, so that rows can be wrong in any way."""
    creates = [
        sa.schema.CreateTable(table, include_foreign_key_constraints=[]) for table in tables or metadata.sorted_tables
    ]
    with _writing(url) as connection:
        for create in creates:
            connection.execute(create)


def put(url: str, table: sa.Table, *rows: dict[str, Any]) -> None:
    with _writing(url) as connection:
        connection.execute(table.insert(), list(rows))


def change(url: str, *statements: str) -> None:
    """Change the order system behind the reader's back; names in double quotes, everywhere."""
    with _writing(url) as connection:
        if connection.dialect.name in ("mysql", "mariadb"):
            connection.exec_driver_sql(MYSQL_MODE)
        for statement in statements:
            connection.exec_driver_sql(
                statement.replace("%", "%%") if connection.dialect.name != "sqlite" else statement
            )


def order(number: int, day: date | None, **values: Any) -> dict[str, Any]:
    rest = {"requiredDate": date(2004, 1, 9), "shippedDate": None, "status": "Shipped", "comments": None}
    return {"orderNumber": number, "orderDate": day, "customerNumber": 7, **rest, **values}


def line(number: int, product: str = "S10_1678", quantity: int = 3, price: str = "1.25") -> dict[str, Any]:
    return {
        "orderNumber": number,
        "productCode": product,
        "quantityOrdered": quantity,
        "priceEach": price,
        "orderLineNumber": 1,
    }


def one_order(url: str) -> None:
    """All tables, one order of 5 January 2004 with one line of 3 x 1.25."""
    make_tables(url)
    put(url, orders, order(1, date(2004, 1, 5)))
    put(url, orderdetails, line(1))


def arrived(url: str, table: sa.Table, months: list[date] | None = None) -> pa.Table:
    """The table as the platform stages it, once the order system agreed on every value."""
    with open_order_system(url).snapshot() as snapshot:
        rows = snapshot.read(table, months, lambda arriving: conform(arriving, table, TODAY), TODAY).read_all()
        said = snapshot.control_totals(table, months, TODAY)
    assert held_totals(in_duckdb(rows), table, SourceURL.parse(url)) == said
    return rows


def in_duckdb(rows: pa.Table) -> ibis.Table:
    """The rows as a table of DuckDB's, as the platform holds them, until others are put there.

    Of a table in memory, each expression would be compiled anew: most of what it takes to look at two rows.
    """
    engine = _duckdb()
    engine.con.register("held", rows)
    return engine.table("held")


@cache
def _duckdb() -> CompilingOnce:
    return CompilingOnce.from_connection(duckdb.connect())


def said_now(
    url: str, table: sa.Table, months: list[date] | None = None, today: date = TODAY
) -> dict[str, ControlTotals]:
    """Control totals as the order system counts them now."""
    with open_order_system(url).snapshot() as snapshot:
        return snapshot.control_totals(table, months, today)


def arrived_rows(url: str, table: sa.Table, months: list[date] | None = None) -> list[dict[str, Any]]:
    return arrived(url, table, months).to_pylist()


def real_data() -> Path:
    """The folder of the real data set's CSV files; the test is skipped where there is none."""
    found = Path(os.environ.get("CLASSIC_CARS_REAL_DATA") or Path(__file__).parents[2] / "shared/data/classicmodels")
    if not (found / "orderdetails.csv").is_file():
        pytest.skip(f"no real data in {found}; CLASSIC_CARS_REAL_DATA names its folder")
    return found


class _writing:  # noqa: N801  (used as a verb)
    """A connection that may write, in a transaction."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(SourceURL.parse(url).for_sqlalchemy(), poolclass=sa.NullPool)
        self._begun = self._engine.begin()

    def __enter__(self) -> sa.Connection:
        return self._begun.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._begun.__exit__(*error)
