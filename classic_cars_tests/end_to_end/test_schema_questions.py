"""A run asks a server once what columns a table has; whoever looks again later is told what has changed."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

from classic_cars.contracts.order_system import READ_ORDER, orders
from classic_cars.errors import SourceSchemaChanged
from classic_cars.sources import scanner
from classic_cars.sources.order_system import open_order_system
from classic_cars_tests.order_systems import TODAY, change, one_order

JANUARY = [date(2004, 1, 1)]


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables whose columns were asked for, in turn."""
    asked: list[str] = []
    columns_of = sa.Inspector.get_columns

    def noted(inspector: sa.Inspector, table: str, **options: Any) -> Any:
        asked.append(table)
        return columns_of(inspector, table, **options)

    monkeypatch.setattr(sa.Inspector, "get_columns", noted)
    return asked


def read_all(order_system: Any) -> None:
    for table in READ_ORDER:
        order_system.drift(table)
        with order_system.snapshot() as snapshot:
            snapshot.read(table, JANUARY if table is orders else None, None, TODAY).read_all()
            snapshot.control_totals(table, JANUARY if table is orders else None, TODAY)


@pytest.mark.parametrize("database", ["mariadb", "postgresql"])
def test_a_run_asks_once_for_the_columns_of_each_table(
    request: pytest.FixtureRequest, database: str, questions: list[str]
) -> None:
    url = request.getfixturevalue(f"{database}_url")
    one_order(url)
    with open_order_system(url).in_one_snapshot() as order_system:
        read_all(order_system)
    # of orders also which of them a number finds
    assert sorted(questions) == sorted([*(table.name for table in READ_ORDER), "orders"])


def test_another_run_of_the_same_order_system_sees_what_changed(order_system_url: str) -> None:
    one_order(order_system_url)
    order_system = open_order_system(order_system_url)
    with order_system.in_one_snapshot() as run:
        assert not run.drift(orders)
    change(order_system_url, "ALTER TABLE orders ADD COLUMN colour VARCHAR(9)")
    assert order_system.drift(orders).added == ("colour",)
    with order_system.in_one_snapshot() as run:
        assert run.drift(orders).added == ("colour",)


def test_a_run_sees_that_the_date_of_orders_is_no_date_any_more(mariadb_url: str) -> None:
    one_order(mariadb_url)
    order_system: Any = open_order_system(mariadb_url)
    assert order_system.orders.is_dated
    change(mariadb_url, "ALTER TABLE orders MODIFY orderDate VARCHAR(30)")
    with order_system.in_one_snapshot() as run:
        assert not run.orders.is_dated


def test_a_column_of_sqlite_that_is_dropped_in_the_middle_of_a_run_is_missed(tmp_path: Any) -> None:
    """SQLite would take its name for a text."""
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    one_order(url)
    with open_order_system(url).in_one_snapshot() as run:
        assert not run.drift(orders)
        change(url, "ALTER TABLE orders DROP COLUMN comments")
        with pytest.raises(SourceSchemaChanged, match="comments"), run.snapshot() as snapshot:
            snapshot.read(orders, JANUARY, None, TODAY)


def test_one_private_duckdb_reads_all_tables_of_a_run(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:

    connected, made = scanner.connected, []

    def noted(name: str) -> Any:
        made.append(name)
        return connected(name)

    monkeypatch.setattr(scanner, "connected", noted)
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    one_order(url)
    with open_order_system(url).in_one_snapshot() as run:
        read_all(run)
    assert len(made) == 1
