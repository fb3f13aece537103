"""From a real database server to the answers: the same numbers on SQLite, MariaDB and PostgreSQL."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from classic_cars.runs import execute
from classic_cars.settings import Settings
from classic_cars_shop import api as simulator
from classic_cars_tests.notebooks import notebook
from classic_cars_tests.platform import ask, expected_sales, order_system_frames, published_sales

PRODUCT_LINES = {
    "Classic Cars": "3853922.49",
    "Vintage Cars": "1797559.63",
    "Motorcycles": "1121426.12",
    "Trucks and Buses": "1024113.57",
    "Planes": "954637.54",
    "Ships": "663998.34",
    "Trains": "188532.92",
}
COUNTRIES = {
    "USA": "3273280.05",
    "Spain": "1099389.09",
    "France": "1007374.02",
    "Australia": "562582.59",
    "New Zealand": "476847.01",
    "UK": "436947.44",
    "Italy": "360616.81",
    "Finland": "295149.35",
    "Norway": "270846.30",
    "Singapore": "263997.78",
}


#: With all that they are made of.
ANSWERS = ["+sales_by_country", "+sales_by_product_line"]


@pytest.fixture
def settings(order_system_url: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", source_url=order_system_url)


def booked(settings: Settings, table: str, by: str) -> dict[str, Decimal]:
    return dict(ask(settings, f'SELECT "{by}", bookedAmount FROM analytics.{table}'))


@pytest.mark.parametrize(
    "order_system_url",
    [
        # The dashboard's tests have the real data in SQLite; what the three send is compared (test_sources).
        pytest.param("sqlite", marks=pytest.mark.exhaustive),
        "mariadb",
        pytest.param("postgresql", marks=pytest.mark.exhaustive),
    ],
    indirect=True,
)
def test_the_real_data_gives_the_known_answers(settings: Settings, real_data: Path):
    simulator.load(settings.order_system_url, real_data)
    # Every table of it from one database; what the others send is the same (test_sources), and here what is known.
    known = [] if settings.order_system_url.startswith("sqlite") else ANSWERS
    report = execute(settings, known, ephemeral=True)
    assert report.succeeded, report
    assert str(report.months) == "2003-01..2005-05"
    assert ask(
        settings,
        "SELECT count(*), count(DISTINCT orderNumber), sum(quantityOrdered)::INT, sum(orderAmount) "
        "FROM warehouse.fact_orders",
    ) == [(2996, 326, 105516, Decimal("9604190.61"))]
    assert ask(settings, "SELECT count(*) FROM warehouse.dim_locations") == [(104,)]
    countries = booked(settings, "sales_by_country", "country")
    assert len(countries) == 21
    assert {name: str(countries[name]) for name in COUNTRIES} == COUNTRIES
    lines = booked(settings, "sales_by_product_line", "productLine")
    assert {name: str(amount) for name, amount in lines.items()} == PRODUCT_LINES
    if not known:  # everything was published, so that there is a release
        beside = notebook(settings)["beside"].set_index("country")
        assert [str(each) for each in beside.loc["USA", ["right", "wrong"]]] == ["3273280.05", "13057249.77"]
        assert beside.loc["New Zealand", ["wrong"]].isna().all()


@pytest.mark.exhaustive  # assets/test_answers.py has one in SQLite, and the real data is in PostgreSQL, above
@pytest.mark.parametrize("order_system_url", ["sqlite", "postgresql"], indirect=True)
def test_a_simulated_shop_agrees_with_an_independent_calculation(settings: Settings):
    simulator.create(settings.order_system_url, scale=1, seed=3, until=date(2003, 6, 30))
    report = execute(settings, ANSWERS, ephemeral=True)
    assert report.succeeded, report
    frames = order_system_frames(settings.order_system_url)
    assert published_sales(settings, "sales_by_country", "country") == expected_sales(frames, "country")
    assert published_sales(settings, "sales_by_product_line", "productLine") == expected_sales(frames, "productLine")


@pytest.mark.exhaustive
@pytest.mark.parametrize("order_system_url", ["mariadb"], indirect=True)
def test_answers_follow_the_order_system_as_time_passes(settings: Settings):
    url = settings.order_system_url
    simulator.create(url, scale=1, seed=5, until=date(2003, 3, 31))
    assert execute(settings, ANSWERS, ephemeral=True).succeeded
    simulator.advance(url, 15)
    report = execute(settings, ANSWERS, ephemeral=True)
    assert report.succeeded, report
    assert str(report.months) == "2003-01..2003-04"
    frames = order_system_frames(url)
    assert published_sales(settings, "sales_by_country", "country") == expected_sales(frames, "country")
