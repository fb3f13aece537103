"""Control totals of both sides: equal for whatever the order system holds, and different for any other value."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from classic_cars.contracts.order_system import READ_ORDER, metadata, orderdetails, orders, payments, products
from classic_cars.contracts.source import CONTRACTS
from classic_cars.errors import SourceSchemaChanged
from classic_cars.sources.control_totals import proven
from classic_cars.sources.digests import differing_columns, held_totals
from classic_cars.sources.order_system import ControlTotals, open_order_system
from classic_cars_tests.order_systems import (
    TODAY,
    arrived,
    change,
    in_duckdb,
    line,
    make_tables,
    one_order,
    order,
    put,
    said_now,
)

#: Two rows of every table, that differ in every column.
WORDS = {"orderNumber": (1, 2), "orderDate": (date(2004, 1, 5), date(2004, 1, 6))}


@dataclass(frozen=True)
class Shop:
    """An order system, and its tables as the platform holds them."""

    url: str
    held: dict[str, pa.Table]

    def agrees(self, table: sa.Table, rows: pa.Table | None = None) -> bool:
        order_system = open_order_system(self.url)
        rows = self.held[table.name] if rows is None else rows
        return held_totals(in_duckdb(rows), table, order_system.url) == said_now(self.url, table)

    def differing(self, table: sa.Table, rows: pa.Table | None = None) -> list[str]:
        held = in_duckdb(self.held[table.name] if rows is None else rows)
        return differing_columns(open_order_system(self.url), held, table)


def with_two_rows(url: str) -> Shop:
    make_tables(url)
    for table in READ_ORDER:
        put(url, table, *({c.name: value(c, row) for c in table.columns} for row in (0, 1)))
    return Shop(url, {table.name: arrived(url, table) for table in READ_ORDER})


@pytest.fixture(scope="module", params=["sqlite", "mariadb", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """For tests that change nothing in it, an order system of each kind in turn."""
    if request.param == "sqlite":
        yield with_two_rows(f"sqlite:///{tmp_path_factory.mktemp('digests') / 'shop.sqlite'}")
    else:
        with request.getfixturevalue(f"{request.param}_server").database() as url:
            yield with_two_rows(url)


@pytest.fixture(scope="module")
def shop_in_a_file(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """For tests that change nothing in it."""
    return with_two_rows(f"sqlite:///{tmp_path_factory.mktemp('digests') / 'shop.sqlite'}")


def value(column: sa.Column, row: int) -> Any:
    if column.name in WORDS:
        return WORDS[column.name][row]
    number = 2 * len(column.name) + row  # another in each column of a type
    if isinstance(column.type, sa.Integer):
        return number
    if isinstance(column.type, sa.Numeric):
        return Decimal("12.50") + number
    if isinstance(column.type, sa.Date):
        return date(2004, 2, number)
    if isinstance(column.type, sa.LargeBinary):
        return b"\x00\xff"
    return f"{column.name[:5]} é{row}"


def another(column: sa.Column) -> str:
    """A value that no row has, as SQL."""
    if isinstance(column.type, sa.Integer):
        return "77"
    if isinstance(column.type, sa.Numeric):
        return "12.51"
    return "'2004-01-29'" if isinstance(column.type, sa.Date) else "'other'"


def one_row(table: sa.Table) -> str:
    """Condition: the first row."""
    key = next(iter(table.primary_key))
    first = value(key, 0)
    return f'"{key.name}" = {first}' if isinstance(first, int) else f"\"{key.name}\" = '{first}'"


# Nothing else is equal -------------------------------------------------------------------------------------


def test_the_platform_and_the_order_system_agree_on_what_arrived(shop: Shop) -> None:
    for table in READ_ORDER:
        assert shop.agrees(table), table.name
        assert shop.differing(table) == []


@pytest.mark.parametrize("table", READ_ORDER, ids=lambda table: table.name)
def test_one_other_value_in_any_column_differs_and_its_column_is_named(shop_in_a_file: Shop, table: sa.Table) -> None:
    """On the platform's side, where it is computed in one way whatever the order system is."""
    shop, rows = shop_in_a_file, shop_in_a_file.held[table.name]
    url, said = open_order_system(shop.url).url, said_now(shop.url, table)
    for column in proven(table):
        first, second = rows[column.name].to_pylist()
        for changed in ([second, second], [None, second], [second, first]):
            other = _with(rows, column.name, changed)
            assert held_totals(in_duckdb(other), table, url) != said, column.name
        named = shop.differing(table, other)
        # Without its key a row's other values are others, too.
        assert named if column.primary_key else named == [column.name]


@pytest.mark.parametrize(
    "order_system_url",
    # SQLite's totals are computed by the platform's own code, of which the test above says the same.
    [
        pytest.param("sqlite", marks=pytest.mark.exhaustive),
        "mariadb",
        pytest.param("postgresql", marks=pytest.mark.exhaustive),
    ],
    indirect=True,
)
def test_a_value_that_changes_in_the_order_system_differs(order_system_url: str) -> None:
    shop = with_two_rows(order_system_url)
    order_system = open_order_system(shop.url)  # its tables stay as they are; only values change

    def said(table: sa.Table) -> dict[str, ControlTotals]:
        with order_system.snapshot() as snapshot:
            return snapshot.control_totals(table, None, TODAY)

    for table in READ_ORDER:
        before, row = said(table), one_row(table)
        others = [column for column in proven(table) if not column.primary_key]
        put_back: list[str] = []
        for column in others:
            change(shop.url, *put_back, f'UPDATE {table.name} SET "{column.name}" = {another(column)} WHERE {row}')
            assert said(table) != before, column.name
            put_back = [f"UPDATE {table.name} SET \"{column.name}\" = '{value(column, 0)}' WHERE {row}"]
        change(shop.url, *put_back)
        assert shop.agrees(table)
        all_of_them = ", ".join(f'"{column.name}" = {another(column)}' for column in others)
        change(shop.url, f"UPDATE {table.name} SET {all_of_them} WHERE {row}")
        assert set(shop.differing(table)) == {column.name for column in others}
        for key in reversed([column for column in proven(table) if column.primary_key]):  # by the first it is found
            change(shop.url, f'UPDATE {table.name} SET "{key.name}" = {another(key)} WHERE {row}')
            assert said(table) != before, key.name
            assert key.name in shop.differing(table)


def test_money_divided_by_a_hundred_differs(shop: Shop) -> None:
    for table, column in ((orderdetails, "priceEach"), (payments, "amount"), (products, "MSRP")):
        cents = [each / 100 for each in shop.held[table.name][column].to_pylist()]
        assert not shop.agrees(table, _with(shop.held[table.name], column, [round(each, 2) for each in cents]))


def test_a_row_lost_or_doubled_differs(shop: Shop) -> None:
    url = open_order_system(shop.url).url
    for table in READ_ORDER:
        rows, said = shop.held[table.name], said_now(shop.url, table)
        assert held_totals(in_duckdb(rows), table, url) == said
        for other in (
            rows.slice(1),
            pa.concat_tables([rows, rows.slice(1)]),
            pa.concat_tables([rows.slice(1), rows.slice(1)]),
        ):
            assert held_totals(in_duckdb(other), table, url) != said


def test_columns_that_changed_places_differ(shop: Shop) -> None:
    for table, one, other in ((products, "buyPrice", "MSRP"), (orders, "requiredDate", "shippedDate")):
        rows = shop.held[table.name]
        swapped = _with(_with(rows, one, rows[other].to_pylist()), other, rows[one].to_pylist())
        assert not shop.agrees(table, swapped)
        assert set(shop.differing(table, swapped)) == {one, other}


def test_the_empty_text_is_not_null(order_system_url: str) -> None:
    make_tables(order_system_url)
    put(order_system_url, orders, order(1, date(2004, 1, 5), comments=""), order(2, date(2004, 1, 6)))
    rows = arrived(order_system_url, orders)
    assert Shop(order_system_url, {}).agrees(orders, rows)
    comments = rows["comments"].to_pylist()
    assert sorted(comments, key=str) == ["", None]
    assert not Shop(order_system_url, {}).agrees(orders, _with(rows, "comments", comments[::-1]))


def test_a_row_in_another_month_differs(shop: Shop) -> None:
    rows = shop.held["orders"]
    assert not shop.agrees(orders, _with(rows, "orderMonth", [date(2004, 1, 1), date(2004, 2, 1)]))


def test_a_rescued_value_is_compared_as_what_it_was(order_system_url: str) -> None:
    one_order(order_system_url)
    put(order_system_url, orderdetails, line(1, "S18_1749", price="2.00"))
    kind = "VARCHAR(30)"
    if not order_system_url.startswith("sqlite"):
        alter = f'MODIFY "priceEach" {kind}' if "mariadb" in order_system_url[:8] else f'ALTER "priceEach" TYPE {kind}'
        change(order_system_url, f"ALTER TABLE orderdetails {alter}")
    change(order_system_url, "UPDATE orderdetails SET \"priceEach\" = 'dear' WHERE \"productCode\" = 'S10_1678'")
    shop, rows = Shop(order_system_url, {}), arrived(order_system_url, orderdetails)
    assert shop.agrees(orderdetails, rows)
    (total,) = said_now(order_system_url, orderdetails).values()
    assert (total.rows, total.cents) == (2, 600)  # the other row counts all the same
    rescued = [each and each.replace("dear", "deer") for each in rows["_rescued_data"].to_pylist()]
    assert shop.differing(orderdetails, _with(rows, "_rescued_data", rescued)) == ["priceEach"]
    assert not shop.agrees(orderdetails, _with(rows, "_rescued_data", [None, None]))


def test_a_column_that_is_gone_is_named(order_system_url: str) -> None:
    one_order(order_system_url)
    change(order_system_url, "ALTER TABLE orders DROP COLUMN comments")
    with pytest.raises(SourceSchemaChanged, match="has no column comments"):
        said_now(order_system_url, orders)


# Whatever is there is equal ---------------------------------------------------------------------------------

NUMBERS = [
    "12.50",
    "12.5",
    "5",
    "5.0",
    "5.",
    "-0",
    "-0.5",
    "007.50",
    "1e2",
    "1e20",
    "1e300",
    "NaN",
    "Infinity",
    "x",
    "",
]
NUMBERS += ["99999999.99", "100000000", "99999999999.99", "1.005", "0.1299999999", "1_0", " 1", "1,5", "12.50\n", "+1"]
NUMBERS += ["2147483647", "2147483648", "-2147483648", "-2147483649", "1.00000000000000000001", "9007199254740993"]
DAYS = ["2004-01-05", "2004-01-05 00:00:00", "2004-01-05 00:00:00.000", "2004-01-05 00:00:00.00", "0000-00-00"]
DAYS += ["2004-02-29", "2003-02-29", "1900-02-29", "2000-02-29", "0004-02-29", "0000-02-29", "2004-04-31", "9999-12-31"]
DAYS += ["10000-01-01", "2004-1-5", "2004-01-05 ", "2004-01-05\n", "2004-01-05 12:00:00", "0001-01-01", "", "infinity"]
TEXTS = ["", " ", "a ", "A", "a", "é", "🚗", "\\", r"\x41", "'\"", "\t\n\r", "{}", "null", "0", "x" * 400]


@pytest.mark.parametrize("kind", ["VARCHAR(500)", pytest.param("TEXT", marks=pytest.mark.exhaustive)])
def test_any_texts_in_any_columns_are_equal(order_system_url: str, kind: str) -> None:
    make_tables(order_system_url)
    _as_texts(order_system_url, kind)
    texts = [*NUMBERS, *DAYS, *TEXTS]
    engine = open_order_system(order_system_url).engine.url
    _insert(
        engine,
        "orders",
        [{c.name: text for c in orders.columns} | {"orderNumber": str(i)} for i, text in enumerate(texts)],
    )
    _insert(
        engine,
        "orderdetails",
        [{c.name: text for c in orderdetails.columns} | {"orderNumber": str(i)} for i, text in enumerate(texts)],
    )
    _insert(engine, "payments", [dict.fromkeys(payments.columns.keys(), text) for text in texts])
    for table in (orders, orderdetails, payments):
        shop, rows = Shop(order_system_url, {}), arrived(order_system_url, table)
        assert shop.differing(table, rows) == []
        assert shop.agrees(table, rows)


def test_months_of_any_texts_are_equal_one_by_one(order_system_url: str) -> None:
    make_tables(order_system_url)
    _as_texts(order_system_url, "VARCHAR(500)")
    engine = open_order_system(order_system_url).engine.url
    _insert(
        engine,
        "orders",
        [{c.name: day for c in orders.columns} | {"orderNumber": str(i)} for i, day in enumerate(DAYS)],
    )
    order_system = open_order_system(order_system_url)
    for month in order_system.months(TODAY):
        rows = in_duckdb(arrived(order_system_url, orders, [month]))
        assert held_totals(rows, orders, order_system.url) == said_now(order_system_url, orders, [month])


@pytest.mark.parametrize(
    "kind",
    [
        *("DOUBLE PRECISION", "DECIMAL(12,4)", "DECIMAL(20,1)", "BIGINT"),
        *(pytest.param(kind, marks=pytest.mark.exhaustive) for kind in ("DECIMAL(10,2)", "REAL")),
    ],
)
@pytest.mark.parametrize("database", ["mariadb", "postgresql"])
def test_numbers_of_other_types_are_equal(request: pytest.FixtureRequest, database: str, kind: str) -> None:
    url = request.getfixturevalue(f"{database}_url")
    one_order(url)
    names = ("quantityOrdered", "priceEach", "orderLineNumber")
    alter = 'MODIFY "{}" {}' if database == "mariadb" else 'ALTER "{}" TYPE {}'
    for name in names:
        change(url, "ALTER TABLE orderdetails " + alter.format(name, kind))
    fitting = ["0", "-0.5", "0.3", "12.5", "2147483647", "-7", "9999999"]
    wide = [] if kind in ("DECIMAL(10,2)", "DECIMAL(12,4)") else ["2147483648", "99999999999"]
    for index, text in enumerate([*fitting[:4], *fitting[5:], *wide]):
        put(url, orderdetails, line(1, f"P{index}", price="1"))
        changed = ", ".join(f'"{name}" = {text}' for name in names)
        change(url, f"UPDATE orderdetails SET {changed} WHERE \"productCode\" = 'P{index}'")
    rows = arrived(url, orderdetails)
    assert Shop(url, {}).differing(orderdetails, rows) == []
    assert Shop(url, {}).agrees(orderdetails, rows)


@pytest.mark.parametrize("retype", ["", "CREATE TABLE t AS SELECT * FROM orderdetails", "REAL", "NONE"])
def test_whatever_sqlite_holds_is_equal_however_it_is_read(tmp_path: Any, retype: str) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    one_order(url)
    if retype in ("REAL", "NONE"):
        kind = retype if retype == "REAL" else ""
        columns = ", ".join(f"{column.name} {kind}" for column in orderdetails.columns)
        change(url, f"CREATE TABLE t ({columns})")
    elif retype:
        change(url, retype)
    if retype:
        change(url, "DROP TABLE orderdetails", "ALTER TABLE t RENAME TO orderdetails")
    reals = [0.1 + 0.2, 1.130000000000003, 9.990000000000009, 1.1299999999999999, 1e20, 1e300, 1e-5, 0.0001, -0.5, 5.0]
    reals += [99999999.995, 100000000.0, 99999999999.99, 123456789012345678.0, float("inf"), -0.0, 1e15, 1e16]
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        connection.executemany(
            "INSERT INTO orderdetails VALUES (1, ?, 3, ?, 1)", [(f"R{i}", each) for i, each in enumerate(reals)]
        )
    shop = Shop(url, {})
    assert shop.agrees(orderdetails, arrived(url, orderdetails))  # pages are scanned
    odd = [99999999999, 2**60 + 1, "12.5", "cheap", b"\x00\xff", b"12.5", "", "a\0b", None]
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        connection.executemany(
            "INSERT OR IGNORE INTO orderdetails VALUES (1, ?, ?, ?, ?)",
            [(f"O{i}", each, each, each) for i, each in enumerate(odd)],
        )
        connection.execute("UPDATE orders SET orderDate = '2004-01-05' || char(0), status = CAST(x'ff41' AS TEXT)")
    for table in (orderdetails, orders):
        rows = arrived(url, table)
        assert shop.differing(table, rows) == []
        assert shop.agrees(table, rows)


@pytest.mark.parametrize("database", ["mariadb", "postgresql"])
def test_bytes_and_padded_texts_are_equal(request: pytest.FixtureRequest, database: str) -> None:
    url = request.getfixturevalue(f"{database}_url")
    one_order(url)
    everything = bytes(range(256)).hex()
    values = [everything, b"letters".hex(), b"a\\b".hex(), b"'\"".hex(), "c3a9", ""]
    for number in range(len(values)):
        put(url, orders, order(10 + number, date(2004, 1, 5), status="On Hold"))
    if database == "mariadb":
        change(url, "ALTER TABLE orders MODIFY comments BLOB, MODIFY status CHAR(20)")
        change(url, 'ALTER TABLE orders MODIFY "customerNumber" INT(9) ZEROFILL')
    else:
        change(url, "ALTER TABLE orders ALTER comments TYPE bytea USING NULL, ALTER status TYPE CHAR(20)")
    for number, digits in enumerate(values):
        written = f"x'{digits}'" if database == "mariadb" else rf"'\x{digits}'"
        change(url, f'UPDATE orders SET comments = {written} WHERE "orderNumber" = {10 + number}')
    rows = arrived(url, orders)
    assert Shop(url, {}).differing(orders, rows) == []
    assert Shop(url, {}).agrees(orders, rows)


def _with(rows: pa.Table, name: str, values: list[Any]) -> pa.Table:
    index = rows.schema.get_field_index(name)
    return rows.set_column(index, rows.schema.field(index), pa.array(values, rows.schema.field(index).type))


def _as_texts(url: str, kind: str) -> None:
    """The tables without types, keys and rules, as a careless export leaves them."""
    kind += " CHARACTER SET utf8mb4" if url.startswith("mariadb") else ""
    for table in (orders, orderdetails, payments):
        columns = ", ".join(f'"{column.name}" {kind}' for column in table.columns)
        change(url, f"DROP TABLE {table.name}", f"CREATE TABLE {table.name} ({columns})")


def _insert(url: sa.URL, table: str, rows: list[dict[str, str]]) -> None:
    names = list(rows[0])
    plain = sa.table(table, *(sa.column(name, sa.Text()) for name in names))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(plain.insert(), rows)


def test_all_tables_have_columns_to_prove() -> None:
    for table in metadata.sorted_tables:
        names = {column.name for column in proven(table)}
        assert set(CONTRACTS[table.name].types.names) - names <= {"image", "orderMonth", "_rescued_data"}
