"""The real data set gives the known answers in a lake too, and another engine reads the same totals there."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from pyiceberg.catalog import load_catalog

from classic_cars.runs import execute
from classic_cars.settings import Settings
from classic_cars_shop import api as simulator
from classic_cars_tests.end_to_end.test_known_answers import ANSWERS, COUNTRIES, PRODUCT_LINES, booked
from classic_cars_tests.platform import ask


@pytest.mark.exhaustive
def test_the_real_data_gives_the_known_answers(folder_lake: Settings, real_data: Path):
    simulator.load(folder_lake.order_system_url, real_data)
    report = execute(folder_lake, ANSWERS, ephemeral=True)
    assert report.succeeded, report
    assert ask(folder_lake, "SELECT count(*), sum(orderAmount) FROM warehouse.fact_orders") == [
        (2996, Decimal("9604190.61"))
    ]
    countries = booked(folder_lake, "sales_by_country", "country")
    assert {name: str(countries[name]) for name in COUNTRIES} == COUNTRIES
    lines = booked(folder_lake, "sales_by_product_line", "productLine")
    assert {name: str(amount) for name, amount in lines.items()} == PRODUCT_LINES
    catalog = load_catalog("classic_cars", type="sql", uri=folder_lake.catalog_address)
    rows = catalog.load_table("analytics.sales_by_country").scan().to_arrow().to_pylist()
    assert {row["country"]: row["bookedAmount"] for row in rows} == countries
