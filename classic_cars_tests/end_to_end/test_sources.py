"""The reader on real databases: everything arrives, exactly, from SQLite, MariaDB and PostgreSQL alike."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa

from classic_cars.contracts.order_system import (
    PARTITIONED,
    READ_ORDER,
    metadata,
    orderdetails,
    orders,
    payments,
    productlines,
    products,
)
from classic_cars.contracts.source import CONTRACTS
from classic_cars.errors import SourceSchemaChanged
from classic_cars.sources import scanner
from classic_cars.sources.control_totals import MONEY
from classic_cars.sources.order_system import open_order_system
from classic_cars_shop import api as simulator
from classic_cars_tests.order_systems import (
    TODAY,
    arrived,
    arrived_rows,
    change,
    line,
    make_tables,
    one_order,
    order,
    put,
    real_data,
    said_now,
)

JANUARY = date(2003, 1, 1)
#: Where rows without a usable date are at home.
UNDATED = date(1900, 1, 1)
#: Databases, and what DuckDB calls them.
SCANNERS = {"sqlite": "sqlite", "mariadb": "mysql", "postgresql": "postgres"}


@pytest.fixture(scope="module")
def real_shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """Where the real data is in a database of a kind: loaded once, for tests that change nothing in it."""
    with ExitStack() as databases:

        @cache
        def loaded(kind: str) -> str:
            if kind == "sqlite":
                url = f"sqlite:///{tmp_path_factory.mktemp('real') / 'shop.sqlite'}"
            else:
                url = databases.enter_context(request.getfixturevalue(f"{kind}_server").database())
            simulator.load(url, real_data())
            return url

        yield loaded


@pytest.fixture(params=SCANNERS)
def real_url(request: pytest.FixtureRequest, real_shop: Callable[[str], str]) -> str:
    return real_shop(request.param)


def counted(url: str, table: sa.Table, months: list[date] | None = None) -> tuple[int, int | None]:
    """Rows and cents of all months, as the order system itself counts them."""
    found = said_now(url, table, months).values()
    money = table.name in MONEY
    return sum(each.rows for each in found), sum(each.cents or 0 for each in found) if money else None


# Everything arrives ------------------------------------------------------------------------------------


def test_the_real_data_arrives_to_the_cent(real_url: str) -> None:
    lines = arrived(real_url, orderdetails).to_pylist()
    assert len(lines) == 2996
    assert sum(row["quantityOrdered"] * row["priceEach"] for row in lines) == Decimal("9604190.61")
    assert counted(real_url, orderdetails) == (2996, 960419061)
    paid = sum(row["amount"] for row in arrived(real_url, payments).to_pylist())
    assert counted(real_url, payments) == (273, int(paid * 100))


def test_every_table_of_the_real_data_arrives_whole_and_the_same_from_all_databases(
    real_shop: Callable[[str], str],
) -> None:
    """With every row, and the contract's types."""
    urls = [real_shop(kind) for kind in SCANNERS]
    for table in READ_ORDER:
        keys = [(column.name, "ascending") for column in table.primary_key]
        sent = []
        for url in urls:
            rows = arrived(url, table)
            assert rows.num_rows == counted(url, table)[0] > 0
            assert rows["_rescued_data"].null_count == rows.num_rows
            assert rows.schema.names == list(CONTRACTS[table.name].types.names)
            assert rows.schema.types == CONTRACTS[table.name].types.to_pyarrow().types
            assert not open_order_system(url).drift(table)
            sent.append(rows.sort_by(keys))
        first, *others = sent
        assert all(other.equals(first) for other in others), table.name


def test_the_months_of_the_real_data_add_up_to_it(real_url: str) -> None:
    order_system = open_order_system(real_url)
    months = order_system.months(TODAY)
    assert (months[0], months[-1], len(months)) == (JANUARY, date(2005, 5, 1), 29)
    for table in (orders, orderdetails):
        whole = said_now(real_url, table)
        assert list(whole) == [f"{month:%Y-%m}" for month in months]
        for month in [*months[::9], months[-1]]:
            key = f"{month:%Y-%m}"
            assert said_now(real_url, table, [month]) == {key: whole[key]}


def test_any_subset_of_months_arrives_alone(real_url: str) -> None:
    wanted = [date(2004, 11, 1), date(2003, 1, 1), date(2003, 3, 1)]
    for table in (orders, orderdetails):
        everything = arrived(real_url, table).to_pylist()
        rows = arrived(real_url, table, wanted).to_pylist()
        expected = [row for row in everything if row["orderMonth"] in wanted]
        assert len(rows) == len(expected) == counted(real_url, table, wanted)[0]
        assert {str(row) for row in rows} == {str(row) for row in expected}


def test_all_months_are_the_whole_table(real_url: str) -> None:
    months = open_order_system(real_url).months(TODAY)
    assert arrived(real_url, orderdetails, months).num_rows == 2996
    assert counted(real_url, orderdetails, months) == (2996, 960419061)


def test_an_empty_table_arrives_empty_with_its_columns(order_system_url: str) -> None:
    make_tables(order_system_url)
    for table in READ_ORDER:
        assert counted(order_system_url, table)[0] == 0
        for months in (None, [JANUARY]) if table.name in PARTITIONED else (None,):
            rows = arrived(order_system_url, table, months)
            assert rows.num_rows == 0
            assert rows.schema.types == CONTRACTS[table.name].types.to_pyarrow().types
    assert open_order_system(order_system_url).months(TODAY) == []


def test_no_months_are_no_rows(order_system_url: str) -> None:
    one_order(order_system_url)
    assert arrived_rows(order_system_url, orders, []) == []
    assert counted(order_system_url, orderdetails, []) == (0, 0)


def test_a_long_comment_and_strange_letters_arrive_whole(order_system_url: str) -> None:
    one_order(order_system_url)
    if order_system_url.startswith("mariadb"):
        change(order_system_url, "ALTER TABLE orders MODIFY comments LONGTEXT CHARACTER SET utf8mb4")
    comment = "🚗 '\"\\ %s é\n\t" + "x" * 2**20
    put(order_system_url, orders, order(2, date(2004, 1, 6), comments=comment))
    rows = arrived_rows(order_system_url, orders)
    assert {row["orderNumber"]: row["comments"] for row in rows} == {1: None, 2: comment}
    assert {row["orderNumber"] for row in arrived_rows(order_system_url, orders, [date(2004, 1, 1)])} == {1, 2}


def test_pictures_arrive_byte_by_byte(order_system_url: str) -> None:
    make_tables(order_system_url)
    picture = bytes(range(256)) * 1000
    put(
        order_system_url,
        productlines,
        {"productLine": "Ships", "image": picture},
        {"productLine": "Trains", "image": None},
    )
    rows = arrived_rows(order_system_url, productlines)
    assert {row["productLine"]: row["image"] for row in rows} == {"Ships": picture, "Trains": None}


def test_children_are_read_before_their_parents() -> None:
    position = {table.name: index for index, table in enumerate(READ_ORDER)}
    assert set(position) == set(metadata.tables)
    for table in READ_ORDER:
        parents = {key.column.table.name for key in table.foreign_keys} - {table.name}
        assert all(position[table.name] < position[parent] for parent in parents), table.name


# Strays ------------------------------------------------------------------------------------------------


def test_rows_without_a_usable_date_live_in_a_month_of_their_own_and_are_counted_there(order_system_url: str) -> None:
    make_tables(order_system_url)
    change(order_system_url, *_nullable_date(order_system_url))
    days = {1: date(2004, 1, 5), 2: date(1900, 1, 31), 3: date(2006, 6, 1), 4: date(9999, 12, 31), 5: None}
    put(order_system_url, orders, *(order(number, day) for number, day in days.items()))
    put(order_system_url, orderdetails, *(line(number) for number in [*days, 99]))
    order_system = open_order_system(order_system_url)
    assert order_system.months(TODAY) == [UNDATED, date(2004, 1, 1)]
    for months in ([UNDATED], [UNDATED, date(2003, 2, 1)]):
        assert {row["orderNumber"] for row in arrived_rows(order_system_url, orders, months)} == {2, 3, 4, 5}
        assert {row["orderNumber"] for row in arrived_rows(order_system_url, orderdetails, months)} == {2, 3, 4, 5, 99}
        assert counted(order_system_url, orderdetails, months) == (5, 5 * 375)
        assert counted(order_system_url, orders, months) == (4, None)
    assert {row["orderNumber"] for row in arrived_rows(order_system_url, orderdetails, [date(2004, 1, 1)])} == {1}
    assert arrived_rows(order_system_url, orderdetails, [date(2006, 6, 1)]) == []
    homes = {row["orderNumber"]: row["orderMonth"] for row in arrived_rows(order_system_url, orderdetails)}
    assert homes == {1: date(2004, 1, 1)} | dict.fromkeys((2, 3, 4, 5, 99), UNDATED)


@pytest.mark.exhaustive
def test_orders_of_the_next_twelve_months_have_homes_of_their_own(order_system_url: str) -> None:
    make_tables(order_system_url)
    days = {1: date(2005, 5, 31), 2: date(2005, 6, 1), 3: date(2006, 5, 31), 4: date(2006, 6, 1)}
    put(order_system_url, orders, *(order(number, day) for number, day in days.items()))
    put(order_system_url, orderdetails, *(line(number) for number in days))
    homes = {1: date(2005, 5, 1), 2: date(2005, 6, 1), 3: date(2006, 5, 1), 4: UNDATED}
    for table in (orders, orderdetails):
        assert {row["orderNumber"]: row["orderMonth"] for row in arrived_rows(order_system_url, table)} == homes
        for number, month in homes.items():
            assert [row["orderNumber"] for row in arrived_rows(order_system_url, table, [month])] == [number]
    order_system = open_order_system(order_system_url)
    assert order_system.months(TODAY) == sorted(homes.values())
    assert order_system.homes_of([1, 2, 3, 4, 99], TODAY) == homes
    assert list(order_system.fingerprints([orders], TODAY)["orders"]) == sorted(
        f"{each:%Y-%m}" for each in homes.values()
    )


@pytest.mark.parametrize(
    "first",
    [
        date(1999, 3, 5),
        date(2002, 12, 31),
        pytest.param(date(1900, 2, 1), marks=pytest.mark.exhaustive),
        pytest.param(date(1996, 2, 29), marks=pytest.mark.exhaustive),
    ],
)
def test_a_shop_begins_in_the_month_of_its_first_order(order_system_url: str, first: date) -> None:
    make_tables(order_system_url)
    put(order_system_url, orders, order(1, first), order(2, date(2004, 1, 5)))
    put(order_system_url, orderdetails, line(1), line(2))
    home = first.replace(day=1)
    assert open_order_system(order_system_url).months(TODAY) == [home, date(2004, 1, 1)]
    for table in (orders, orderdetails):
        found = {row["orderNumber"]: row["orderMonth"] for row in arrived_rows(order_system_url, table)}
        assert found == {1: home, 2: date(2004, 1, 1)}
        assert [row["orderNumber"] for row in arrived_rows(order_system_url, table, [home])] == [1]
        assert arrived_rows(order_system_url, table, [UNDATED]) == []


def _nullable_date(url: str) -> list[str]:
    if url.startswith("sqlite"):
        return ["DROP TABLE orders", _ORDERS_WITHOUT_RULES]
    if url.startswith("mariadb"):
        return ["ALTER TABLE orders MODIFY orderDate DATE NULL"]
    return ['ALTER TABLE orders ALTER "orderDate" DROP NOT NULL']


_ORDERS_WITHOUT_RULES = (
    "CREATE TABLE orders (orderNumber INTEGER, orderDate DATE, requiredDate DATE, shippedDate DATE, "
    "status VARCHAR(15), comments TEXT, customerNumber INTEGER)"
)


def test_orphans_alone_make_the_month_of_undated_rows(order_system_url: str) -> None:
    one_order(order_system_url)
    assert open_order_system(order_system_url).months(TODAY) == [date(2004, 1, 1)]
    put(order_system_url, orderdetails, line(99))
    assert open_order_system(order_system_url).months(TODAY) == [UNDATED, date(2004, 1, 1)]


def test_a_date_that_sqlite_finds_equal_to_another_has_a_home_of_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.sqlite"
    make_tables(url)
    columns = _ORDERS_WITHOUT_RULES.replace("orderDate DATE", "orderDate TEXT COLLATE RTRIM")
    change(url, "DROP TABLE orders", columns, "CREATE INDEX by_date ON orders (orderDate)")
    put(url, orders, order(1, date(2004, 1, 5)), order(2, date(2004, 1, 5)))
    change(url, "UPDATE orders SET orderDate = orderDate || ' ' WHERE orderNumber = 2")
    assert open_order_system(url).months(TODAY) == [UNDATED, date(2004, 1, 1)]
    assert {row["orderNumber"] for row in arrived_rows(url, orders, [date(2004, 1, 1)])} == {1}
    assert {row["orderNumber"] for row in arrived_rows(url, orders, [UNDATED])} == {2}


def test_an_order_number_that_occurs_twice_does_not_multiply_its_lines(order_system_url: str) -> None:
    make_tables(order_system_url, orderdetails)
    change(order_system_url, _unkeyed_orders(order_system_url))
    put(order_system_url, orders, order(1, date(2004, 3, 5)), order(1, date(2004, 1, 5)), order(2, date(2004, 3, 1)))
    put(order_system_url, orderdetails, line(1), line(1, "S18_1749"), line(2))
    assert arrived(order_system_url, orders).num_rows == 3
    assert arrived(order_system_url, orderdetails).num_rows == 3
    assert counted(order_system_url, orderdetails) == (3, 3 * 375)
    january, march = [date(2004, 1, 1)], [date(2004, 3, 1)]
    assert [row["orderNumber"] for row in arrived_rows(order_system_url, orderdetails, january)] == [1, 1]
    assert [row["orderNumber"] for row in arrived_rows(order_system_url, orderdetails, march)] == [2]
    assert counted(order_system_url, orderdetails, january) == (2, 2 * 375)


def _unkeyed_orders(url: str) -> str:
    quoted = (
        _ORDERS_WITHOUT_RULES.replace("Number ", 'Number" ').replace("Date D", 'Date" D')
        if url.startswith("postgresql")
        else _ORDERS_WITHOUT_RULES
    )
    if url.startswith("postgresql"):
        for name in ("order", "required", "shipped", "customer"):
            quoted = quoted.replace(f'{name}Number"', f'"{name}Number"').replace(f'{name}Date"', f'"{name}Date"')
    return quoted


# Values that are not what was declared -------------------------------------------------------------------

Surprise = tuple[list[str], str, object, str | None]


def surprised(url: str, table: sa.Table, column: str) -> tuple[object, str | None]:
    """What arrives of one column, read whole and by month; both must agree."""
    (row,) = arrived_rows(url, table)
    if table.name in PARTITIONED:
        assert arrived_rows(url, table, [row["orderMonth"]]) == [row]
        months = open_order_system(url).months(TODAY)
        assert months == [row["orderMonth"]]
    assert counted(url, table)[0] == 1
    return row[column], json.loads(row["_rescued_data"] or "{}").get(column)


@pytest.mark.parametrize(
    ("value", "column", "expected", "kept"),
    [
        ("99999999999", "customerNumber", None, "99999999999"),
        ("1.5", "customerNumber", None, "1.5"),
        ("'abc'", "customerNumber", None, "abc"),
        ("'1_000'", "customerNumber", None, "1_000"),
        ("'garbage'", "orderDate", None, "garbage"),
        ("''", "orderDate", None, ""),
        ("'2004-1-5'", "orderDate", None, "2004-1-5"),
        ("'2004-01-05 12:30:00'", "orderDate", None, "2004-01-05 12:30:00"),
        ("'2004-01-05 00:00:00'", "orderDate", date(2004, 1, 5), None),
        ("'2004-02-30'", "orderDate", None, "2004-02-30"),
        ("'0000-00-00'", "orderDate", None, "0000-00-00"),
        ("'infinity'", "orderDate", None, "infinity"),
        ("'2004-02-20 (BC)'", "orderDate", None, "2004-02-20 (BC)"),
        ("1073260800", "orderDate", None, "1073260800"),
        ("2453009.5", "orderDate", None, "2453009.5"),
        ("x'00FF'", "orderDate", None, "x00FF"),
        ("CAST(x'FF41' AS TEXT)", "comments", None, "xFF41"),
        ("x'00FF'", "comments", None, "x00FF"),
        ("'a' || char(0) || 'b'", "comments", "a\0b", None),
        ("12.5", "comments", "12.5", None),
    ],
)
def test_sqlite_keeps_whatever_its_columns_hold(
    tmp_path: Path, value: str, column: str, expected: object, kept: str | None
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    one_order(url)
    change(url, f"UPDATE orders SET {column} = {value}")
    assert surprised(url, orders, column) == (expected, kept)


@pytest.mark.parametrize(
    ("value", "column", "expected", "kept"),
    [
        ("'abc'", "priceEach", None, "abc"),
        ("1.005", "priceEach", None, "1.005"),
        ("0.1 + 0.2", "priceEach", Decimal("0.30"), None),
        ("1e300", "priceEach", None, None),
        ("'x'", "quantityOrdered", None, "x"),
        ("CAST(x'FF' AS TEXT)", "productCode", None, "xFF"),
    ],
)
def test_sqlite_keeps_whatever_order_lines_hold(
    tmp_path: Path, value: str, column: str, expected: object, kept: str | None
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    one_order(url)
    change(url, f"UPDATE orderdetails SET {column} = {value}")
    if value == "1e300":  # written as 1e+300 or 1.0e+300, depending on the way it came
        (row,) = arrived_rows(url, orderdetails)
        assert row["priceEach"] is None
        assert float(json.loads(row["_rescued_data"])["priceEach"]) == 1e300
        return
    assert surprised(url, orderdetails, column) == (expected, kept)


@pytest.mark.parametrize(
    ("statements", "column", "expected", "kept"),
    [
        (["UPDATE orders SET orderDate = '0000-00-00'"], "orderDate", None, "0000-00-00"),
        (["UPDATE orders SET orderDate = '2004-05-00'"], "orderDate", None, "2004-05-00"),
        (["UPDATE orders SET orderDate = '2004-02-31'"], "orderDate", None, "2004-02-31"),
        (["ALTER TABLE orders MODIFY customerNumber TINYINT(1)"], "customerNumber", 7, None),
        (["ALTER TABLE orders MODIFY orderDate DATETIME"], "orderDate", date(2004, 1, 5), None),
        (
            ["ALTER TABLE orders MODIFY orderDate DATETIME", "UPDATE orders SET orderDate = '2004-01-05 12:30:00'"],
            "orderDate",
            None,
            "2004-01-05 12:30:00",
        ),
        (
            ["ALTER TABLE orders MODIFY orderDate VARCHAR(30)", "UPDATE orders SET orderDate = 'garbage'"],
            "orderDate",
            None,
            "garbage",
        ),
        (
            ["ALTER TABLE orders MODIFY customerNumber BIGINT", "UPDATE orders SET customerNumber = 9999999999"],
            "customerNumber",
            None,
            "9999999999",
        ),
        (
            ["ALTER TABLE orders MODIFY customerNumber VARCHAR(9)", "UPDATE orders SET customerNumber = 'abc'"],
            "customerNumber",
            None,
            "abc",
        ),
        (["ALTER TABLE orders MODIFY status ENUM('Shipped', 'Lost')"], "status", "Shipped", None),
        (
            ["ALTER TABLE orders MODIFY comments TEXT CHARACTER SET latin1", "UPDATE orders SET comments = 'café'"],
            "comments",
            "café",
            None,
        ),
        (["ALTER TABLE orders MODIFY status BLOB"], "status", "Shipped", None),
    ],
)
def test_mariadb_keeps_whatever_its_columns_hold(
    mariadb_url: str, statements: list[str], column: str, expected: object, kept: str | None
) -> None:
    one_order(mariadb_url)
    change(mariadb_url, *statements)
    assert surprised(mariadb_url, orders, column) == (expected, kept)


@pytest.mark.parametrize(
    ("statements", "column", "expected", "kept"),
    [
        (["UPDATE orders SET \"orderDate\" = 'infinity'"], "orderDate", None, "infinity"),
        (["UPDATE orders SET \"orderDate\" = '0044-03-15 BC'"], "orderDate", None, "0044-03-15 BC"),
        (["UPDATE orders SET \"orderDate\" = '20000-03-15'"], "orderDate", None, "20000-03-15"),
        (['ALTER TABLE orders ALTER "orderDate" TYPE TIMESTAMP'], "orderDate", date(2004, 1, 5), None),
        (
            ['ALTER TABLE orders ALTER "orderDate" TYPE TEXT', "UPDATE orders SET \"orderDate\" = 'garbage'"],
            "orderDate",
            None,
            "garbage",
        ),
        (["ALTER TABLE orders ALTER \"customerNumber\" TYPE NUMERIC USING 'NaN'"], "customerNumber", None, "NaN"),
        (['ALTER TABLE orders ALTER "customerNumber" TYPE BOOLEAN USING true'], "customerNumber", None, "true"),
        (
            ["CREATE TYPE state AS ENUM ('Shipped')", "ALTER TABLE orders ALTER status TYPE state USING status::state"],
            "status",
            "Shipped",
            None,
        ),
        (["ALTER TABLE orders ALTER status TYPE bytea USING '\\xff00'"], "status", None, r"\xFF\x00"),
    ],
)
def test_postgresql_keeps_whatever_its_columns_hold(
    postgresql_url: str, statements: list[str], column: str, expected: object, kept: str | None
) -> None:
    one_order(postgresql_url)
    change(postgresql_url, *statements)
    assert surprised(postgresql_url, orders, column) == (expected, kept)


@pytest.mark.parametrize("table", READ_ORDER, ids=lambda table: table.name)
def test_a_bad_value_in_the_first_row_of_sqlite_stops_nothing(tmp_path: Path, table: sa.Table) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    make_tables(url)
    names = list(table.columns.keys())
    for number, bad in enumerate(("not a date", b"\xff", 12.5, "", "2004-01-05 12:00:00")):
        with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
            # An INTEGER PRIMARY KEY, the one column of SQLite that heeds its type, stays a number.
            row = [
                number if column.primary_key and isinstance(column.type, sa.Integer) else bad
                for column in table.columns
            ]
            connection.execute(f"DELETE FROM {table.name}")
            connection.execute(f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(names))})", row)
        order_system = open_order_system(url)
        order_system.probe()
        assert arrived(url, table).num_rows == 1
        assert order_system.months(TODAY) == ([UNDATED] if table.name in PARTITIONED else [])


MONEY_SURPRISES = [
    pytest.param("DECIMAL(20,4)", "1.2500", Decimal("1.25"), None, 375, marks=pytest.mark.exhaustive),
    ("DECIMAL(20,4)", "1.2345", None, "1.2345", 0),
    ("DECIMAL(10,2)", "99999999.99", Decimal("99999999.99"), None, 29999999997),
    pytest.param("VARCHAR(30)", "1.25", Decimal("1.25"), None, 375, marks=pytest.mark.exhaustive),
    ("VARCHAR(30)", "abc", None, "abc", 0),
    ("DOUBLE PRECISION", "1.25", Decimal("1.25"), None, 375),
]


@pytest.mark.parametrize(("kind", "value", "expected", "kept", "cents"), MONEY_SURPRISES)
@pytest.mark.parametrize("database", ["mariadb", "postgresql"])
def test_money_of_another_type_arrives_exactly_or_is_kept(
    request: pytest.FixtureRequest,
    database: str,
    kind: str,
    value: str,
    expected: Decimal | None,
    kept: str | None,
    cents: int,
) -> None:
    url = request.getfixturevalue(f"{database}_url")
    one_order(url)
    alter = f'MODIFY "priceEach" {kind}' if database == "mariadb" else f'ALTER "priceEach" TYPE {kind}'
    change(url, f"ALTER TABLE orderdetails {alter}", f"UPDATE orderdetails SET \"priceEach\" = '{value}'")
    assert surprised(url, orderdetails, "priceEach") == (expected, kept)
    assert counted(url, orderdetails) == (1, cents)
    assert bool(open_order_system(url).drift(orderdetails)) is (kind != "DECIMAL(10,2)")


@pytest.mark.parametrize(
    ("database", "kind", "value", "expected", "kept"),
    [
        ("mariadb", "FLOAT", "35.10", Decimal("35.10"), None),
        ("mariadb", "FLOAT", "0", Decimal("0.00"), None),
        # Six digits, which the server shows, are those of another number.
        ("mariadb", "FLOAT", "120166.58", None, "120166.578125"),
        ("mariadb", "FLOAT(10,2)", "80000.09", Decimal("80000.09"), None),
        ("postgresql", "REAL", "120166.58", Decimal("120166.58"), None),
    ],
)
def test_money_in_single_precision_is_shown_with_all_its_digits(
    request: pytest.FixtureRequest, database: str, kind: str, value: str, expected: Decimal | None, kept: str | None
) -> None:
    url = request.getfixturevalue(f"{database}_url")
    one_order(url)
    if database == "postgresql":
        change(url, BY_DEFAULT.format("extra_float_digits = 0"))
    alter = f'MODIFY "priceEach" {kind}' if database == "mariadb" else f'ALTER "priceEach" TYPE {kind}'
    change(url, f"ALTER TABLE orderdetails {alter}", f'UPDATE orderdetails SET "priceEach" = {value}')
    assert surprised(url, orderdetails, "priceEach") == (expected, kept)
    order_system = open_order_system(url)
    before = order_system.fingerprints(today=TODAY), said_now(url, orderdetails)
    change(url, 'UPDATE orderdetails SET "priceEach" = "priceEach" + 0.41')
    assert order_system.fingerprints(today=TODAY) != before[0]
    assert said_now(url, orderdetails) != before[1]


#: What a database has from its administrator.
BY_DEFAULT = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {}', current_database()); END $$"


def test_the_way_a_server_writes_dates_by_default_is_no_matter(postgresql_url: str) -> None:
    one_order(postgresql_url)
    change(postgresql_url, BY_DEFAULT.format("datestyle = ''SQL, DMY''"))
    assert surprised(postgresql_url, orders, "orderDate") == (date(2004, 1, 5), None)
    with_options = f"{postgresql_url}?options=-c%20application_name%3Dit%27s"
    assert surprised(with_options, orders, "orderDate") == (date(2004, 1, 5), None)


def test_postgresqls_money_arrives_to_the_cent(postgresql_url: str) -> None:
    one_order(postgresql_url)
    put(postgresql_url, orderdetails, line(1, "S18_1749", 2, price="-0.10"))
    put(postgresql_url, payments, {**PAYMENT, "amount": "1234567.89"})
    change(
        postgresql_url,
        'ALTER TABLE orderdetails ALTER "priceEach" TYPE money',
        "ALTER TABLE payments ALTER amount TYPE money",
    )
    open_order_system(postgresql_url).probe()
    prices = {row["productCode"]: row["priceEach"] for row in arrived_rows(postgresql_url, orderdetails)}
    assert prices == {"S10_1678": Decimal("1.25"), "S18_1749": Decimal("-0.10")}
    assert counted(postgresql_url, orderdetails) == (2, 375 - 20)
    assert arrived_rows(postgresql_url, payments)[0]["amount"] == Decimal("1234567.89")
    assert counted(postgresql_url, payments) == (1, 123456789)
    (drift,) = open_order_system(postgresql_url).drift(payments).retyped
    assert drift == "amount is MONEY, was NUMERIC(10, 2)"


PAYMENT = {"customerNumber": 7, "checkNumber": "A1", "paymentDate": date(2004, 1, 5), "amount": "1.00"}


def test_postgresqls_not_a_number_is_no_price_of_zero(postgresql_url: str) -> None:
    one_order(postgresql_url)
    put(postgresql_url, orderdetails, line(1, "S18_1749", price="2.00"))
    change(postgresql_url, "UPDATE orderdetails SET \"priceEach\" = 'NaN' WHERE \"productCode\" = 'S10_1678'")
    rows = {row["productCode"]: row for row in arrived_rows(postgresql_url, orderdetails)}
    assert rows["S10_1678"]["priceEach"] is None
    assert json.loads(rows["S10_1678"]["_rescued_data"]) == {"priceEach": "NaN"}
    assert rows["S18_1749"]["priceEach"] == Decimal("2.00")
    assert counted(postgresql_url, orderdetails) == (2, 600)


# Columns that change -----------------------------------------------------------------------------------------


def test_a_renamed_column_is_named_with_its_likely_new_name(order_system_url: str) -> None:
    one_order(order_system_url)
    change(order_system_url, 'ALTER TABLE orders RENAME COLUMN "customerNumber" TO "clientNumber"')
    order_system = open_order_system(order_system_url)
    message = (
        "table orders has no column customerNumber; found orderNumber, orderDate, requiredDate, shippedDate, status, "
        "comments, clientNumber; new there: clientNumber, is one of them its new name?"
    )
    for ask in (order_system.probe, lambda: order_system.drift(orders), lambda: arrived(order_system_url, orders)):
        with pytest.raises(SourceSchemaChanged) as changed:
            ask()
        assert message in str(changed.value)
        assert not changed.value.retryable


def test_a_new_column_is_not_read_and_reported(order_system_url: str) -> None:
    one_order(order_system_url)
    before = arrived(order_system_url, orders)
    change(order_system_url, "ALTER TABLE orders ADD COLUMN extra INTEGER DEFAULT 5")
    drift = open_order_system(order_system_url).drift(orders)
    assert (drift.added, drift.retyped, drift.reordered) == (("extra",), (), False)
    assert arrived(order_system_url, orders).equals(before)


def test_another_order_of_columns_has_no_effect(order_system_url: str) -> None:
    one_order(order_system_url)
    before = arrived(order_system_url, orderdetails)
    reordered = sa.Table("orderdetails", sa.MetaData(), *(c._copy() for c in reversed(list(orderdetails.columns))))
    change(order_system_url, "DROP TABLE orderdetails")
    make_tables(order_system_url, reordered)
    put(order_system_url, orderdetails, line(1))
    drift = open_order_system(order_system_url).drift(orderdetails)
    assert (bool(drift), drift.reordered) == (False, True)
    assert arrived(order_system_url, orderdetails).equals(before)


# Reading only ---------------------------------------------------------------------------------------------------


def test_neither_connection_can_write(order_system_url: str) -> None:
    one_order(order_system_url)
    order_system = open_order_system(order_system_url)
    delete = "DELETE FROM orderdetails"
    with pytest.raises(sa.exc.DBAPIError, match=r"(?i)read.?only"), order_system.engine.begin() as connection:
        connection.exec_driver_sql(delete)
    with closing(order_system.attached()) as connection:
        with pytest.raises(duckdb.Error, match=r"(?i)read.?only"):
            connection.execute(delete)
        with pytest.raises(duckdb.Error):
            connection.execute(scanner.pushed_down(SCANNERS[order_system.url.scheme], delete)).fetchall()
    assert counted(order_system_url, orderdetails)[0] == 1


def test_a_sqlite_database_may_be_of_any_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'my shop #1 100% & more.sqlite'}"
    engine = sa.create_engine(sa.URL.create("sqlite", database=open_order_system(url).url.path.as_posix()))
    metadata.create_all(engine)
    engine.dispose()
    open_order_system(url).probe()
    assert arrived(url, products).num_rows == 0
