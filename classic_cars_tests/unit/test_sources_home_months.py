"""SQL and Ibis must name the same home for every order date, or a row would be read for no month, or for two."""

import sqlite3
from datetime import date

import ibis
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from classic_cars.contracts.order_system import orders
from classic_cars.months import FIRST_MONTH, UNDATED
from classic_cars.sources.conform import conform
from classic_cars.sources.home_months import OrderDate, at_home, home_of, home_of_text, others
from classic_cars_tests.order_systems import TODAY

near_dates = st.from_regex(r"\A(19|20)[0-9]{2}-[0-9]{1,2}-[0-9]{1,2}( [0-9:.]{0,15})?\Z")
midnights = st.builds("{} 00:00:00{}".format, st.dates(), st.sampled_from(["", ".0", ".00", ".000", ".000000", "Z"]))
any_text = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
order_dates = st.one_of(st.none(), any_text, st.dates().map(str), near_dates, midnights)


def homes_in_sql(texts: list[str | None]) -> list[str]:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE orders (orderNumber INTEGER PRIMARY KEY, orderDate TEXT)")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", list(enumerate(texts)))
        query = sa.select(home_of(OrderDate(orders.c.orderDate), TODAY)).order_by(orders.c.orderNumber)
        dialect = sa.create_engine("sqlite://").dialect
        sql = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        return [row[0] for row in connection.execute(sql)]


def homes_in_ibis(texts: list[str | None]) -> list[str]:
    columns = {column.name: pa.nulls(len(texts)) for column in orders.columns}
    columns |= {"orderNumber": pa.array(range(len(texts))), "orderDate": pa.array(texts, pa.string())}
    table = conform(ibis.memtable(pa.table(columns)), orders, TODAY).order_by("orderNumber")
    months = ibis.duckdb.connect().to_pyarrow(table)["orderMonth"].to_pylist()
    return [f"{month:%Y-%m}" for month in months]


def homes_in_python(texts: list[str | None]) -> list[str]:
    return [f"{home_of_text(text, TODAY):%Y-%m}" for text in texts]


@settings(deadline=None, max_examples=60)
@given(st.lists(order_dates, min_size=1, max_size=60))
def test_sql_and_ibis_agree_on_every_home(texts: list[str | None]) -> None:
    assert homes_in_sql(texts) == homes_in_ibis(texts) == homes_in_python(texts)


def test_a_week_is_no_day() -> None:
    week = ["2004-W20-1"]
    assert homes_in_sql(week) == homes_in_ibis(week) == homes_in_python(week) == [f"{UNDATED:%Y-%m}"]


def test_every_day_since_the_first_month_is_at_home_in_its_month() -> None:
    days = [date.fromordinal(ordinal) for ordinal in range(FIRST_MONTH.toordinal(), TODAY.toordinal() + 1)]
    assert homes_in_sql([str(day) for day in days]) == [f"{day:%Y-%m}" for day in days]


def test_every_day_of_a_century_is_at_home_in_its_month_and_no_other_text_is() -> None:
    texts = [
        f"{year}-{month:02d}-{day:02d}" for year in (1900, 1999, 2000, 2004) for month in range(14) for day in range(33)
    ]
    expected = []
    for text in texts:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            day = UNDATED
        expected.append(f"{day if day >= FIRST_MONTH else UNDATED:%Y-%m}")
    assert homes_in_sql(texts) == homes_in_ibis(texts) == expected


def test_orders_of_a_year_ahead_are_at_home_and_later_ones_are_not() -> None:
    texts = ["2006-05-31", "2006-06-01", "1900-01-31", "1900-02-01"]
    assert homes_in_sql(texts) == ["2006-05", "1900-01", "1900-01", "1900-02"]


@pytest.mark.parametrize("is_date", [True, False])
def test_no_month_of_the_past_is_listed_in_a_query(is_date: bool) -> None:
    months = [UNDATED, *(date(year, month, 1) for year in range(1950, 2005) for month in range(1, 13))]
    condition = at_home(OrderDate(orders.c.orderDate, is_date), months, TODAY)
    assert len(str(condition.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))) < 1500


def test_an_index_on_dates_can_be_used() -> None:
    condition = at_home(OrderDate(orders.c.orderDate, is_date=True), [date(2004, 2, 1)], TODAY)
    sql = str(condition.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
    assert """orders."orderDate" >= '2004-02-01' AND orders."orderDate" < '2004-03-01'""" in sql


def test_others_are_the_gaps_between_months() -> None:
    found = others([date(1900, 2, 1), date(2004, 1, 1), date(2004, 2, 1), date(2006, 5, 1), date(2007, 1, 1)], TODAY)
    assert found == [(date(1900, 3, 1), date(2003, 12, 1)), (date(2004, 3, 1), date(2006, 4, 1))]


def test_no_month_is_nobodys_home() -> None:
    condition = at_home(OrderDate(orders.c.orderDate), [], TODAY)
    assert "false" in str(condition.compile(dialect=postgresql.dialect())).lower()
