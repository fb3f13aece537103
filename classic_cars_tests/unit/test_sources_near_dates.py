"""The range that an index answers must hold every row of its months, whatever SQLite's column holds."""

from __future__ import annotations

import sqlite3
from datetime import date
from functools import cache
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from classic_cars.contracts.order_system import orders
from classic_cars.months import UNDATED
from classic_cars.sources.home_months import OrderDate, at_home, away
from classic_cars.sources.near_dates import anything, moments, texts
from classic_cars_tests.order_systems import TODAY
from classic_cars_tests.unit.test_sources_home_months import any_text, midnights, near_dates

DECLARED = [
    "DATE",
    "TEXT",
    "",
    "INTEGER",
    "REAL",
    "TEXT COLLATE NOCASE",
    "TEXT COLLATE RTRIM",
    "TEXT COLLATE backwards",
]
MONTHS = [
    [date(2004, 6, 1)],
    [date(1999, 12, 1)],
    [date(2006, 5, 1)],
    [date(2004, 1, 1), date(2004, 3, 1), date(2004, 4, 1)],
    [UNDATED],
    [UNDATED, date(2004, 6, 1)],
    [date(1900, 2, 1)],
]
days = st.one_of(
    st.dates(date(2004, 1, 1), date(2004, 7, 2)), st.dates(date(1999, 11, 29), date(2000, 1, 2)), st.dates()
).map(str)
texts_of_dates = st.one_of(days, midnights, near_dates, any_text)
numbers = st.one_of(st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.integers(19000101, 20061231))
values = st.one_of(st.none(), texts_of_dates, texts_of_dates.map(str.encode), st.binary(max_size=12), numbers)
UTF_16 = st.builds(str.encode, days, st.sampled_from(["utf-16-le", "utf-16-be", "utf-16"]))


def shop(declared: str, encoding: str, held: list[Any]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"PRAGMA encoding = '{encoding}'")
    connection.create_collation("backwards", lambda one, other: (one < other) - (one > other))
    connection.execute(f"CREATE TABLE orders (orderNumber INTEGER PRIMARY KEY, orderDate {declared})")
    connection.execute("CREATE INDEX by_date ON orders (orderDate)")
    connection.executemany("INSERT INTO orders VALUES (?, ?)", list(enumerate(held)))
    return connection


def sql(condition: sa.ColumnElement[bool]) -> str:
    query = sa.select(orders.c.orderNumber).where(condition)
    dialect = sa.create_engine("sqlite://").dialect
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


@cache
def both_ways() -> list[tuple[str, str]]:
    """Queries by the text of the date alone, and by the range beside it."""
    by_text, by_range = OrderDate(orders.c.orderDate), OrderDate(orders.c.orderDate, near=anything)
    return [
        (sql(condition(by_text, months, TODAY)), sql(condition(by_range, months, TODAY)))
        for months in MONTHS
        for condition in (at_home, away)
    ]


@pytest.mark.parametrize("declared", DECLARED)
@settings(deadline=None, max_examples=25)
@given(st.sampled_from(["UTF-8", "UTF-16le", "UTF-16be"]), st.lists(st.one_of(values, UTF_16), min_size=1, max_size=40))
def test_the_range_leaves_no_row_of_sqlite_out(declared: str, encoding: str, held: list[Any]) -> None:
    connection = shop(declared, encoding, held)
    for by_text, by_range in both_ways():
        assert set(connection.execute(by_range)) == set(connection.execute(by_text)), by_range
    connection.close()


def test_away_is_the_rest_of_at_home() -> None:
    held = ["2004-06-05", "2004-06-31", None, b"2004-06-05", 20040605, "2004-07-01 00:00:00", "x", "1900-01-05"]
    connection = shop("", "UTF-8", held)
    for months in MONTHS:
        inside, outside = (
            {row[0] for row in connection.execute(sql(condition(OrderDate(orders.c.orderDate), months, TODAY)))}
            for condition in (at_home, away)
        )
        assert inside | outside == set(range(len(held)))
        assert not inside & outside


def test_a_blob_that_is_a_day_is_found_by_the_index() -> None:
    condition = at_home(OrderDate(orders.c.orderDate, near=anything), [date(2004, 6, 1)], TODAY)
    connection = shop("DATE", "UTF-8", [b"2004-06-05", "2004-06-06", "2004-07-06", 7])
    assert sorted(connection.execute(sql(condition))) == [(0,), (1,)]
    plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql(condition)}"))
    assert "SEARCH orders" in plan
    assert "SCAN" not in plan


def test_moments_are_looked_for_a_day_around_their_months() -> None:
    """Where clocks are set back at midnight, a moment of the month may sort before its first midnight."""
    found = sql(moments(orders.c.orderDate, [(date(2004, 2, 1), date(2004, 2, 1))]))
    assert "'2004-01-31'" in found
    assert "'2004-03-02'" in found


def test_no_spans_hold_nothing() -> None:
    connection = shop("TEXT", "UTF-8", ["2004-06-05"])
    assert list(connection.execute(sql(texts(orders.c.orderDate, [])))) == []
