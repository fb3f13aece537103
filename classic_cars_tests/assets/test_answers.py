"""The answers agree with the order system, to the cent, by an independent calculation."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.settings import Settings
from classic_cars_tests.platform import (
    ask,
    expected_sales,
    order_system_frames,
    published_sales,
    run,
)
from classic_cars_tests.shops import SAID


def test_every_table_is_published_and_every_check_passes(published: Settings):
    said = json.loads((published.home / SAID).read_text())
    assert {*said["published"]} >= {each.address for each in ALL_TABLES}
    assert {*said["published"]} >= {
        f"quarantine/{each.contract.name}" for each in ALL_TABLES if each.contract.quarantines
    }
    assert said["failed"] == []
    assert said["checks"] > 80


def test_sales_agree_with_an_independent_calculation(published: Settings):
    frames = order_system_frames(published.order_system_url)
    assert published_sales(published, "sales_by_country", "country") == expected_sales(frames, "country")
    assert published_sales(published, "sales_by_product_line", "productLine") == expected_sales(frames, "productLine")


def test_the_shop_has_the_quirks_that_make_this_hard(published: Settings):
    frames = order_system_frames(published.order_system_url)
    customers = frames["customers"]
    assert customers["postalCode"].isna().any()
    assert (customers["country"] != customers["country"].str.strip()).any()
    assert customers.groupby("postalCode")["city"].nunique().max() > 1


def test_places_are_complete_also_where_the_postal_code_is_missing(published: Settings):
    customers = order_system_frames(published.order_system_url)["customers"]
    parts = customers[["postalCode", "city", "state", "country"]].apply(lambda column: column.str.strip())
    rows = ask(published, "SELECT postalCode, city, state, country FROM warehouse.dim_locations")
    assert {tuple(None if value is None else value for value in row) for row in rows} == {
        tuple(None if value != value or value is None else value for value in row)
        for row in parts.astype(object).itertuples(index=False, name=None)
    }
    assert len(rows) == ask(published, "SELECT count(DISTINCT locationKey) FROM warehouse.dim_locations")[0][0]


def test_every_order_line_is_in_the_fact_table_once(published: Settings):
    lines = order_system_frames(published.order_system_url)["orderdetails"]
    rows = ask(
        published, "SELECT orderNumber, productCode, quantityOrdered, priceEach, orderAmount FROM warehouse.fact_orders"
    )
    assert sorted(rows) == sorted(
        (number, code, quantity, price, quantity * price)
        for number, code, quantity, price in lines[
            ["orderNumber", "productCode", "quantityOrdered", "priceEach"]
        ].itertuples(index=False, name=None)
    )
    assert isinstance(rows[0][4], Decimal)


def test_the_calendar_has_every_day_of_the_facts(published: Settings):
    ((days, first, last, iso),) = ask(
        published,
        "SELECT count(*), min(date), max(date), bool_and(isoWeekName = strftime(date, '%G-W%V') "
        "AND dayName = strftime(date, '%A') AND monthName = strftime(date, '%B') "
        "AND quarterName = year || '-Q' || quarter(date) AND dayOfWeek = isodow(date)) FROM warehouse.dim_dates",
    )
    assert days == (last - first).days + 1
    assert iso
    frames = order_system_frames(published.order_system_url)
    facts = [
        *frames["orders"]["orderDate"],
        *frames["orders"]["requiredDate"],
        *frames["orders"]["shippedDate"].dropna(),
        *frames["payments"]["paymentDate"],
    ]
    assert (first, last) == (min(facts), max(facts))


def test_employees_have_their_office(published: Settings):
    frames = order_system_frames(published.order_system_url)
    expected = frames["employees"].merge(frames["offices"], on="officeCode")
    rows = ask(published, "SELECT employeeNumber, officeCity, officeCountry FROM warehouse.dim_employees")
    assert sorted(rows) == sorted(zip(expected["employeeNumber"], expected["city"], expected["country"], strict=True))


def test_payments_agree_to_the_cent(published: Settings):
    payments = order_system_frames(published.order_system_url)["payments"]
    assert ask(published, "SELECT count(*), sum(amount) FROM warehouse.fact_payments") == [
        (len(payments), sum(payments["amount"], Decimal(0)))
    ]


@pytest.mark.exhaustive
def test_an_empty_order_system_makes_empty_tables(shop: Settings):
    from classic_cars_tests.platform import change

    tables = ("payments", "orderdetails", "orders", "customers", "employees", "offices", "products", "productlines")
    change(shop.order_system_url, *(f"DELETE FROM {table}" for table in tables))
    ran = run(shop, months=("2003-01", "2003-01"))
    assert ran.success, ran.errors
    assert ask(shop, "SELECT count(*) FROM warehouse.fact_orders") == [(0,)]
    assert ask(shop, "SELECT count(*) FROM warehouse.dim_dates") == [(0,)]
