"""SQL and Ibis must name the same home for every order date, or a row would be read for no month, or for two."""

import sqlite3
from datetime import date

import ibis
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from classic_cars.contracts.order_system import UNDATED, orders
from classic_cars.sources.conform import conform
from classic_cars.sources.home_months import at_home, home_of, months_until
from classic_cars_tests.order_systems import TODAY

near_dates = st.from_regex(r"\A(19|20)[0-9]{2}-[0-9]{1,2}-[0-9]{1,2}( [0-9:.]{0,15})?\Z")
midnights = st.builds("{} 00:00:00{}".format, st.dates(), st.sampled_from(["", ".0", ".00", ".000", ".000000", "Z"]))
any_text = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
order_dates = st.one_of(st.none(), any_text, st.dates().map(str), near_dates, midnights)


def homes_in_sql(texts: list[str | None]) -> list[str]:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE orders (orderNumber INTEGER PRIMARY KEY, orderDate TEXT)")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", list(enumerate(texts)))
        query = sa.select(home_of(orders.c.orderDate, TODAY)).order_by(orders.c.orderNumber)
        dialect = sa.create_engine("sqlite://").dialect
        sql = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        return [row[0] for row in connection.execute(sql)]


def homes_in_ibis(texts: list[str | None]) -> list[str]:
    columns = {column.name: pa.nulls(len(texts)) for column in orders.columns}
    columns |= {"orderNumber": pa.array(range(len(texts))), "orderDate": pa.array(texts, pa.string())}
    table = conform(ibis.memtable(pa.table(columns)), orders, TODAY).order_by("orderNumber")
    months = ibis.duckdb.connect().to_pyarrow(table)["orderMonth"].to_pylist()
    return [f"{month:%Y-%m}" for month in months]


@settings(deadline=None, max_examples=60)
@given(st.lists(order_dates, min_size=1, max_size=60))
def test_sql_and_ibis_agree_on_every_home(texts: list[str | None]) -> None:
    assert homes_in_sql(texts) == homes_in_ibis(texts)


def test_every_day_since_the_first_month_is_at_home_in_its_month() -> None:
    days = [date.fromordinal(ordinal) for ordinal in range(UNDATED.toordinal(), TODAY.toordinal() + 1)]
    assert homes_in_sql([str(day) for day in days]) == [f"{day:%Y-%m}" for day in days]


@pytest.mark.parametrize(
    ("today", "count", "last"), [(date(2003, 1, 1), 13, date(2004, 1, 1)), (date(2004, 12, 31), 36, date(2005, 12, 1))]
)
def test_the_possible_homes_end_a_year_ahead(today: date, count: int, last: date) -> None:
    assert len(months_until(today)) == count
    assert months_until(today)[-1] == last


def test_no_month_is_nobodys_home() -> None:
    condition = at_home(orders.c.orderDate, [], TODAY)
    assert "false" in str(condition).lower()
