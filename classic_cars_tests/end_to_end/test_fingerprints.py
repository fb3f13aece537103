"""The order system seen as fingerprints: every change of any row shows, in its month, on every database."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from classic_cars.automation.changes import differences
from classic_cars.contracts.order_system import metadata, orderdetails, orders, productlines, products
from classic_cars.errors import SourceMissing
from classic_cars.sources.order_system import open_order_system
from classic_cars_tests.order_systems import TODAY, change, line, make_tables, order, put


@pytest.fixture
def shop(order_system_url: str) -> str:
    make_tables(order_system_url)
    put(
        order_system_url,
        orders,
        order(1, date(2004, 1, 5)),
        order(2, date(2004, 2, 6), comments="late"),
        order(3, date(2004, 2, 7), comments=""),
    )
    put(order_system_url, orderdetails, line(1), line(2), line(3, "S18_1", 5, "9.99"), line(2, "S18_1"))
    put(order_system_url, productlines, {"productLine": "Trains", "image": b"\x00\xff\x01"})
    return order_system_url


def look(url: str) -> dict[str, dict[str, str]]:
    return open_order_system(url).fingerprints(today=TODAY)


def test_two_looks_at_the_same_rows_are_the_same(shop: str) -> None:
    found = look(shop)
    assert found == look(shop)
    assert list(found["orders"]) == list(found["orderdetails"]) == ["2004-01", "2004-02"]
    assert found["payments"] == {}
    assert list(found["productlines"]) == [""]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("""UPDATE orders SET status = 'On Hold' WHERE "orderNumber" = 2""", {"orders": ["2004-02"]}),
        ("""UPDATE orders SET comments = NULL WHERE "orderNumber" = 3""", {"orders": ["2004-02"]}),
        ("""UPDATE orders SET "shippedDate" = '2004-02-09' WHERE "orderNumber" = 3""", {"orders": ["2004-02"]}),
        ("""UPDATE orderdetails SET "priceEach" = 1.26 WHERE "orderNumber" = 1""", {"orderdetails": ["2004-01"]}),
        (
            # The sums of quantities and of amounts stay as they are.
            """UPDATE orderdetails SET "quantityOrdered" = 8 - "quantityOrdered" WHERE "productCode" = 'S18_1'""",
            {"orderdetails": ["2004-02"]},
        ),
        (
            """DELETE FROM orderdetails WHERE "orderNumber" = 2 AND "productCode" = 'S18_1'""",
            {"orderdetails": ["2004-02"]},
        ),
        (
            """UPDATE orders SET "orderDate" = '2004-03-01' WHERE "orderNumber" = 1""",
            {"orderdetails": ["2004-01", "2004-03"], "orders": ["2004-01", "2004-03"]},
        ),
        (
            """DELETE FROM orders WHERE "orderNumber" = 1""",
            # Its lines live on, without a month of their own.
            {"orderdetails": ["1900-01", "2004-01"], "orders": ["2004-01"]},
        ),
        ("""UPDATE productlines SET "textDescription" = 'Puff'""", {"productlines": [""]}),
        ("""UPDATE productlines SET image = NULL""", {"productlines": [""]}),
    ],
)
def test_a_change_shows_where_it_was_made(shop: str, statement: str, expected: dict[str, list[str]]) -> None:
    before = look(shop)
    change(shop, statement)
    assert differences(before, look(shop)) == expected


def test_texts_that_change_places_between_columns_and_rows_show(shop: str) -> None:
    product = {
        "productCode": "A",
        "productName": "red",
        "productLine": "Trains",
        "productScale": "1:18",
        "productVendor": "V",
        "productDescription": "blue",
        "quantityInStock": 1,
        "buyPrice": 1,
        "MSRP": 2,
    }
    put(shop, products, product, {**product, "productCode": "B", "productName": "blue", "productDescription": "red"})
    before = look(shop)
    swap = """UPDATE products SET "productName" = CASE "productCode" WHEN 'A' THEN 'blue' ELSE 'red' END,
        "productDescription" = CASE "productCode" WHEN 'A' THEN 'red' ELSE 'blue' END"""
    change(shop, swap)
    assert differences(before, look(shop)) == {"products": [""]}


def test_a_column_that_should_keep_the_moment_of_the_last_change_is_not_relied_on(shop: str) -> None:
    """Nobody may fill it, and a foreign key that cascades changes a row without it."""
    change(shop, f'ALTER TABLE orders ADD COLUMN "updatedAt" {"DATETIME" if "mariadb" in shop else "TIMESTAMP"}')
    before = look(shop)
    change(shop, "UPDATE orders SET status = 'On Hold' WHERE \"orderNumber\" = 1")
    assert differences(before, look(shop)) == {"orders": ["2004-01"]}


def test_collations_that_find_texts_equal_hide_no_change(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    put(postgresql_url, orders, order(1, date(2004, 1, 5), status="shipped", comments="a"))
    change(
        postgresql_url,
        "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "ALTER TABLE orders ALTER status TYPE text COLLATE blind",
    )
    before = look(postgresql_url)
    change(postgresql_url, "UPDATE orders SET status = 'Shipped', comments = 'A'")
    assert differences(before, look(postgresql_url)) == {"orders": ["2004-01"]}
    change(postgresql_url, 'ALTER TABLE orders ALTER comments TYPE text COLLATE "C"')
    assert look(postgresql_url)["orders"].keys() == {"2004-01"}  # of two collations


def test_a_picture_too_large_to_be_sent_is_compared_too(mariadb_url: str) -> None:
    make_tables(mariadb_url)
    put(mariadb_url, productlines, {"productLine": "Trains"})
    change(mariadb_url, "UPDATE productlines SET image = repeat('a', 9000000)")
    before = look(mariadb_url)
    change(mariadb_url, "UPDATE productlines SET image = repeat('b', 9000000)")
    assert differences(before, look(mariadb_url)) == {"productlines": [""]}


def test_a_look_asks_one_aggregate_query_a_table_and_locks_nothing(shop: str) -> None:
    order_system = open_order_system(shop)
    order_system.fingerprints(today=TODAY)
    asked: list[str] = []
    sa.event.listen(order_system.engine, "before_cursor_execute", lambda _c, _k, text, *_: asked.append(text))
    order_system.fingerprints(today=TODAY)
    if shop.startswith("sqlite"):
        assert asked == []  # DuckDB reads the file
        return
    assert sum("count(*)" in text for text in asked) == len(metadata.tables)
    assert all(text.lstrip().startswith(("SELECT", "SHOW")) and "FOR UPDATE" not in text for text in asked)


def test_an_order_system_that_takes_too_long_is_told_to_stop(shop: str) -> None:
    if shop.startswith("sqlite"):
        pytest.skip("a file is read by this process itself")
    values = ", ".join(f"('{number}')" for number in range(500))
    change(shop, "CREATE TABLE numbers (n VARCHAR(9))", f"INSERT INTO numbers VALUES {values}")
    slow = open_order_system(shop, query_seconds=0.2).engine
    with slow.connect() as connection, pytest.raises(sa.exc.OperationalError):
        connection.exec_driver_sql("SELECT count(*) FROM numbers a, numbers b, numbers c, numbers d")


def test_an_order_system_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="no such file"):
        look(f"sqlite:///{tmp_path / 'gone.sqlite'}")


def test_bytes_that_are_no_text_are_compared_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    make_tables(url)
    put(url, orders, order(1, date(2004, 1, 5)))
    change(url, "UPDATE orders SET status = CAST(x'ff41' AS TEXT)")
    before = look(url)
    change(url, "UPDATE orders SET status = CAST(x'fe41' AS TEXT)")
    assert differences(before, look(url)) == {"orders": ["2004-01"]}
