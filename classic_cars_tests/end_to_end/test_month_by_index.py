"""One month is read by an index on the date of orders and by the key of lines: plans, and equal rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa

from classic_cars.contracts.order_system import orderdetails, orders
from classic_cars.months import UNDATED
from classic_cars.sources.near_dates import PLAIN_CHARACTERS
from classic_cars.sources.order_system import open_order_system
from classic_cars.sources.order_system.selecting import Selection, together
from classic_cars.sources.order_system.sqlite_rows import account_and_rows
from classic_cars.sources.texts import MIDNIGHTS
from classic_cars.sources.urls import SourceURL
from classic_cars_shop import api as simulator
from classic_cars_tests.order_systems import TODAY, arrived, change, line, make_tables, one_order, order, put

JUNE = date(2004, 6, 1)
#: So many that no database finds it cheaper to scan them.
ORDERS, LINES = 6_000, 6
INDEX = 'CREATE INDEX by_date ON orders ("orderDate")'

#: Days, texts that are nearly days, and others that sort among them.
HOSTILE = [
    "2004-06-05", "2004-06-01", "2004-06-30", "2004-07-01", "2004-05-31", "2004-06-05 00:00:00", "2004-06-31",
    "2004-06-30 00:00:00.000", "2004-06-05 12:30:00", "2004-6-5", "2004-06-5", " 2004-06-05", "2004-06-05 ", "2004-06",
    "20040605", "garbage", "2004-06-05x", "2004-06-\u0660\u0665", "\uff12004-06-05", "2004\u201006-05", "",
    "1900-01-31", "1900-02-01", "2006-05-31", "2006-06-01", "9999-12-31", "0000-00-00", "2004-02-29", "2003-02-29",
    "1999-12-31", "2000-01-01",
]  # fmt: skip


def many_orders(url: str) -> None:
    """One order a day at most in each month from 1997-01 to 2004-12, each with its lines; and an index on the date."""
    make_tables(url)
    months = [date(1997 + index // 12, index % 12 + 1, 1) for index in range(96)]
    put(url, orders, *(order(number, months[number % 96].replace(day=number % 28 + 1)) for number in range(ORDERS)))
    put(url, orderdetails, *(line(number, f"S{each}") for number in range(ORDERS) for each in range(LINES)))
    change(url, INDEX)


def counted_by_the_database(url: str) -> None:
    statement = "ANALYZE" if not url.startswith("m") else "ANALYZE TABLE orders, orderdetails"
    with sa.create_engine(SourceURL.parse(url).for_sqlalchemy(), isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(statement)


@pytest.fixture(scope="module", params=["sqlite", "mariadb", "postgresql"])
def shop_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A shop that is big enough for indexes; its tests change nothing but the type of the date."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('months') / 'shop.sqlite'}"
        many_orders(url)
        yield url
        return
    with request.getfixturevalue(f"{request.param}_server").database() as url:
        many_orders(url)
        counted_by_the_database(url)
        yield url


# Plans ---------------------------------------------------------------------------------------------------


def scanned(url: str, table: sa.Table, months: list[date], **known: Any) -> list[str]:
    """The tables that the database goes through from end to end to find the rows to read.

    ``known``: what is known of the orders, instead of what the order system knows.
    """
    order_system: Any = open_order_system(url)
    selection = order_system.selection(table, months, TODAY)
    selection = replace(selection, orders=replace(selection.orders, **known))
    query = order_system.sql(together(selection.queries(lambda _: list(table.columns))))
    with order_system.engine.connect() as connection:
        if url.startswith("sqlite"):
            steps = [row[3].split() for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
            found = [step[1] for step in steps if step[0] == "SCAN"]
        elif url.startswith("postgresql"):
            (tree,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {query}".replace("%", "%%")).scalar_one()
            found = [node["Relation Name"] for node in nodes(tree["Plan"]) if "Seq Scan" in node["Node Type"]]
        else:
            rows = connection.exec_driver_sql(f"EXPLAIN {query}".replace("%", "%%")).mappings()
            found = [row["table"] for row in rows if row["type"] in ("ALL", "index")]
    return sorted("orders" if name.startswith("orders") else name for name in found)


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from nodes(child)


def retyped(url: str, server_type: str, *, index: str = INDEX) -> None:
    """The date of orders in a column of another type, with a new index."""
    if url.startswith("m"):
        change(url, "DROP INDEX by_date ON orders", f"ALTER TABLE orders MODIFY orderDate {server_type}", index)
    elif url.startswith("postgresql"):
        using = f'ALTER TABLE orders ALTER "orderDate" TYPE {server_type} USING "orderDate"::text::{server_type}'
        change(url, "DROP INDEX by_date", using, index)
    counted_by_the_database(url)


def test_a_month_is_found_by_the_index_on_dates_and_its_lines_by_key(shop_url: str) -> None:
    assert scanned(shop_url, orders, [JUNE]) == []
    assert scanned(shop_url, orderdetails, [JUNE]) == []
    assert len(arrived(shop_url, orderdetails, [JUNE])) == len(arrived(shop_url, orders, [JUNE])) * LINES > 0


def test_a_condition_on_the_text_of_the_date_alone_would_scan_all_orders(shop_url: str) -> None:
    """So that the tests above would notice it."""
    assert scanned(shop_url, orders, [JUNE], near=None, is_dated=False) == ["orders"]
    assert scanned(shop_url, orderdetails, [JUNE], near=None, is_dated=False) == ["orders"]


def test_undated_rows_cost_one_scan_of_orders_and_one_of_the_keys_of_lines(shop_url: str) -> None:
    assert scanned(shop_url, orders, [UNDATED]) == ["orders"]
    if not shop_url.startswith("postgresql"):  # which guesses that half of all orders are undated
        assert scanned(shop_url, orderdetails, [UNDATED]) == ["orderdetails", "orders"]


@pytest.mark.parametrize("kind", ["DATETIME", "VARCHAR(30)"])
def test_an_index_on_moments_and_texts_is_used_too(shop_url: str, kind: str) -> None:
    if shop_url.startswith("sqlite"):
        pytest.skip("a column there holds anything")
    is_text = kind.startswith("V")
    if shop_url.startswith("postgresql"):
        kind = kind.replace("DATETIME", "TIMESTAMP")
    retyped(shop_url, kind, index=INDEX.replace(")", ' COLLATE "C")') if is_text and "postg" in shop_url else INDEX)
    try:
        for table in (orders, orderdetails):
            assert scanned(shop_url, table, [JUNE]) == []
            assert scanned(shop_url, table, [JUNE], near=None) == ["orders"]
    finally:
        retyped(shop_url, "DATE")


def test_without_an_index_orders_alone_are_scanned(shop_url: str) -> None:
    change(shop_url, "DROP INDEX by_date ON orders" if shop_url.startswith("m") else "DROP INDEX by_date")
    try:
        assert scanned(shop_url, orders, [JUNE]) == scanned(shop_url, orderdetails, [JUNE]) == ["orders"]
    finally:
        change(shop_url, INDEX)


def test_lines_are_found_by_key_before_the_server_has_counted_them(mariadb_url: str) -> None:
    """It takes tables that were just filled for empty ones, and would join all lines to all orders of the month."""
    simulator.create(mariadb_url, scale=1)
    uncounted = (
        "UPDATE mysql.innodb_table_stats SET n_rows = 0, clustered_index_size = 1 WHERE database_name = DATABASE()"
    )
    change(mariadb_url, uncounted, "FLUSH TABLES orders, orderdetails")
    assert scanned(mariadb_url, orderdetails, [JUNE]) == []
    assert scanned(mariadb_url, orderdetails, [JUNE], lines_index=None) == ["orderdetails"]


# The same rows ---------------------------------------------------------------------------------------------

KINDS = {
    "mariadb": ["DATE", "DATETIME", "TIMESTAMP NULL", "VARCHAR(40)", "CHAR(40)", "VARBINARY(40)", "TEXT"]
    + [f"VARCHAR(40) CHARACTER SET {name}" for name in ("latin1", "latin7", "ucs2")]
    + [f"VARCHAR(40) COLLATE utf8mb4_{name}" for name in ("bin", "uca1400_ai_ci", "swedish_ci")],
    "postgresql": ["DATE", "TIMESTAMP", "TIMESTAMPTZ", "TEXT", "VARCHAR(40)", "CHAR(40)", 'TEXT COLLATE "und-x-icu"'],
}
ASKED = [
    *([month] for month in (JUNE, date(2004, 5, 1), date(2004, 7, 1), date(1900, 2, 1), date(2006, 5, 1), UNDATED)),
    [date(1999, 12, 1), date(2004, 6, 1), date(2004, 7, 1)],
    [UNDATED, JUNE],
]


def kept(url: str, declared: str) -> None:
    """Hostile orders in a column of this type, those that it takes, each with a line; and an orphan line."""
    change(url, "DROP TABLE orders")
    change(url, f'CREATE TABLE orders ("orderNumber" INTEGER PRIMARY KEY, "orderDate" {declared})', INDEX)
    engine = sa.create_engine(SourceURL.parse(url).for_sqlalchemy(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for number, text in enumerate([*HOSTILE, None]):
            try:
                connection.execute(sa.text("INSERT INTO orders VALUES (:n, :t)"), {"n": number, "t": text})
            except sa.exc.DBAPIError:
                continue
            connection.execute(orderdetails.insert(), line(number))
        connection.execute(orderdetails.insert(), line(999))


def chosen(url: str, table: sa.Table, months: list[date] | None, **known: Any) -> list[int]:
    order_system: Any = open_order_system(url)
    selection = Selection(table, replace(order_system.orders, **known), months, TODAY)
    found = order_system.ask(*selection.queries(lambda _: [table.c.orderNumber]))
    return sorted(row[0] for rows in found for row in rows)


@pytest.mark.parametrize(("database", "kind"), [(name, kind) for name, kinds in KINDS.items() for kind in kinds])
def test_the_range_changes_no_row_that_is_read(request: pytest.FixtureRequest, database: str, kind: str) -> None:
    url = request.getfixturevalue(f"{database}_url")
    make_tables(url)
    kept(url, kind)
    read = 0
    for months in ASKED:
        for table in (orders, orderdetails):
            expected = chosen(url, table, months, near=None, is_dated=False, lines_index=None)
            assert chosen(url, table, months) == expected, (table.name, months)
            read += len(expected)
    assert read > 5


def test_texts_are_looked_for_by_a_range_only_where_digits_are_sorted_as_numbers(mariadb_url: str) -> None:
    make_tables(mariadb_url)
    for characters, is_known in (("utf8mb4", True), ("latin7", False)):
        change(mariadb_url, f"ALTER TABLE orders MODIFY orderDate VARCHAR(30) CHARACTER SET {characters}")
        order_system: Any = open_order_system(mariadb_url)
        assert (order_system.orders.near is not None) is is_known


@pytest.mark.exhaustive
def test_all_collations_of_mariadb_that_are_taken_for_plain_sort_months_as_numbers(mariadb_url: str) -> None:
    days = [f"{y}-{m:02d}-{d:02d}" for y in (1900, 1999, 2004) for m in range(1, 13) for d in (1, 9, 10, 19, 28)]
    texts = ", ".join(f"('{day}{midnight}')" for day in days for midnight in MIDNIGHTS)
    months = [(f"{y}-{m:02d}", f"{y + m // 12}-{m % 12 + 1:02d}") for y in (1900, 1999, 2004) for m in range(1, 13)]
    counts = " UNION ALL ".join(f"SELECT count(*) FROM t WHERE d >= '{a}' AND d < '{b}'" for a, b in months)
    with sa.create_engine(SourceURL.parse(mariadb_url).for_sqlalchemy()).connect() as connection:
        names = connection.exec_driver_sql(
            "SELECT full_collation_name, character_set_name "
            "FROM information_schema.collation_character_set_applicability"
        ).all()
        plain = [(name, characters) for name, characters in names if characters in PLAIN_CHARACTERS]
        for name, characters in plain:
            connection.exec_driver_sql(
                f"CREATE TABLE t (d VARCHAR(40) CHARACTER SET {characters} COLLATE {name}, KEY (d))"
            )
            connection.exec_driver_sql(f"INSERT INTO t VALUES {texts}")
            found = [row[0] for row in connection.exec_driver_sql(counts)]
            assert found == [5 * len(MIDNIGHTS)] * len(months), name
            connection.exec_driver_sql("DROP TABLE t")
    assert len(plain) > 100


# Nothing else is read --------------------------------------------------------------------------------------


def test_undated_rows_and_orphans_are_not_read_with_the_only_month_there_is(order_system_url: str) -> None:
    def numbers(table: sa.Table) -> list[int]:
        with open_order_system(order_system_url).snapshot() as snapshot:
            found = snapshot.read(table, [date(2004, 1, 1)], None, TODAY).read_all()
        return [int(number) for number in found["orderNumber"].to_pylist() if number is not None]

    one_order(order_system_url)
    put(order_system_url, orders, order(2, date(1899, 1, 1)))
    put(order_system_url, orderdetails, line(2), line(3))
    assert numbers(orders) == numbers(orderdetails) == [1]
    change(order_system_url, 'DELETE FROM orders WHERE "orderNumber" = 2')
    assert numbers(orders) == numbers(orderdetails) == [1]
    assert len(arrived(order_system_url, orderdetails, [UNDATED])) == 2
    assert len(arrived(order_system_url, orderdetails, [UNDATED, date(2004, 1, 1)])) == 3


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_month_of_a_sqlite_file_makes_no_copy_of_it(tmp_path: Path, journal: str) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    one_order(url)
    put(url, orders, order(2, date(2004, 6, 5)))
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
    (tmp_path / "scratch").mkdir()

    def copies() -> list[Path]:
        return list((tmp_path / "scratch").rglob("*.sqlite"))

    with open_order_system(url).snapshot(tmp_path / "scratch") as snapshot:
        for table in (orderdetails, orders):
            assert snapshot.read(table, [date(2004, 1, 1)], None, TODAY).read_all().num_rows == 1
            assert copies() == []
        assert snapshot.read(orderdetails, None, None, TODAY).read_all().num_rows == 1
        assert len(copies()) == 1


def test_a_shop_without_a_write_ahead_log_can_commit_while_a_month_is_taken(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    one_order(url)
    put(url, orders, order(2, date(2004, 6, 5)))
    with open_order_system(url).snapshot(tmp_path) as snapshot:
        rows = snapshot.read(orders, [JUNE], None, TODAY)
        with sqlite3.connect(tmp_path / "shop.sqlite", timeout=0) as connection:
            connection.execute("DELETE FROM orders")
        assert rows.read_all().num_rows == 1
        assert snapshot.control_totals(orders, [JUNE], TODAY)["2004-06"].rows == 1


def test_more_rows_than_memory_may_hold_are_read_from_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classic_cars.sources.order_system.streams.HELD_BYTES", 1)
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    one_order(url)
    put(url, orders, order(2, date(2004, 6, 5)))
    (tmp_path / "scratch").mkdir()
    with open_order_system(url).snapshot(tmp_path / "scratch") as snapshot:
        assert snapshot.read(orders, [JUNE], None, TODAY).read_all().num_rows == 1
        assert len(list((tmp_path / "scratch").rglob("*.sqlite"))) == 1


def test_a_month_that_a_busy_shop_does_not_let_be_read_is_read_from_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def locked_at_first(database: Any, *rest: Any) -> Any:
        attempts.append(database)
        if len(attempts) == 1:
            raise duckdb.Error("database is locked")
        return account_and_rows(database, *rest)

    monkeypatch.setattr("classic_cars.sources.order_system.sqlite.account_and_rows", locked_at_first)
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    one_order(url)
    put(url, orders, order(2, date(2004, 6, 5)))
    with open_order_system(url).snapshot() as snapshot:
        assert snapshot.read(orders, [JUNE], None, TODAY).read_all().num_rows == 1
    assert attempts[1].path.name == "copy.sqlite"


def test_all_homes_together_are_all_rows_of_a_shop_with_hostile_dates(order_system_url: str) -> None:
    """Each row has one home, whichever way it is looked for."""
    make_tables(order_system_url)
    kept(order_system_url, "VARCHAR(40)")
    homes = open_order_system(order_system_url).months(TODAY)
    for table in (orders, orderdetails):
        one_by_one = sorted(number for month in homes for number in chosen(order_system_url, table, [month]))
        assert one_by_one == chosen(order_system_url, table, None)
        assert len(one_by_one) > len(HOSTILE) - 5
