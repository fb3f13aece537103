"""Months: a run of one touches only that one; rows without a usable month have a home."""

from __future__ import annotations

import dagster as dg
import pytest

from classic_cars.definitions import build_defs
from classic_cars.runs.selecting import job_of
from classic_cars.serving.incident import incident_report
from classic_cars.settings import Settings
from classic_cars.tables.partitions import MONTHLY
from classic_cars.tables.run_tags import RANGE_END, RANGE_START
from classic_cars_tests.platform import SALES, ask, change, fingerprint, run

MONTH = ("2003-04", "2003-04")
#: Orders and their lines, up to the facts.
READ = [f"{layer}/{table}" for layer in ("source", "staging") for table in ("orders", "orderdetails")]
FACTS = [*READ, "warehouse/fact_orders"]


def months_of(settings: Settings, table: str, column: str) -> dict:
    return dict(
        ask(
            settings,
            f"SELECT date_trunc('month', {column}), count(*) || '/' || bit_xor(md5_number(t::VARCHAR)) "
            f"FROM {table} t GROUP BY 1",
        )
    )


def test_a_run_of_one_month_touches_only_that_month(published: Settings):
    before = months_of(published, "warehouse.fact_orders", "orderDate")
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 1")
    lines = ["source/orderdetails", "staging/orderdetails", "warehouse/fact_orders"]
    ran = run(published, months=MONTH, select=lines)
    assert ran.success, ran.errors
    after = months_of(published, "warehouse.fact_orders", "orderDate")
    assert {f"{month:%Y-%m}" for month in before if before[month] != after[month]} == {"2003-04"}


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({}, "source/orders: is made by month, and the run names none; give it a partition"),
        ({RANGE_START: "2003-05", RANGE_END: "2003-04"}, "found '2003-05..2003-04': the range ends before it starts"),
        ({RANGE_START: "May", RANGE_END: "May"}, "found 'May..May', expected a month such as 2004-01"),
    ],
)
def test_a_run_that_names_no_months_is_told_so(shop: Settings, tags: dict[str, str], said: str):
    """Started by hand, with Dagster's own tools."""
    defs = build_defs(shop)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(MONTHLY.name), ["2003-04", "2003-05", "May"])
        job = job_of(defs, [dg.AssetKey(["source", "orders"])])
        ran = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
        why = incident_report(instance, ran.run_id).timeline
    assert any(said in each.what for each in why), why


@pytest.mark.exhaustive
def test_running_the_same_month_again_changes_nothing(published: Settings):
    before = fingerprint(published)
    assert run(published, months=MONTH).success
    after = fingerprint(published)
    assert {name for name in before if before[name] != after[name]} == set()


@pytest.mark.exhaustive
def test_months_one_by_one_make_the_same_tables_as_all_at_once(shop: Settings, published: Settings):
    assert run(shop, months=("2003-01", "2003-02")).success
    assert run(shop, months=("2003-03", "2003-08")).success
    assert fingerprint(shop) == fingerprint(published)


def test_an_order_that_was_deleted_is_gone_after_its_month_is_run(published: Settings):
    ((number,),) = ask(published, "SELECT max(orderNumber) FROM staging.orders WHERE orderMonth = DATE '2003-04-01'")
    change(
        published.order_system_url,
        f"DELETE FROM orderdetails WHERE orderNumber = {number}",
        f"DELETE FROM orders WHERE orderNumber = {number}",
    )
    assert run(published, months=MONTH, select=FACTS).success
    assert ask(published, f"SELECT count(*) FROM warehouse.fact_orders WHERE orderNumber = {number}") == [(0,)]


def test_an_order_that_moved_to_another_month_is_not_counted_twice(published: Settings):
    ((number,),) = ask(published, "SELECT max(orderNumber) FROM staging.orders WHERE orderMonth = DATE '2003-04-01'")
    change(
        published.order_system_url,
        "UPDATE orders SET orderDate = '2003-05-01', requiredDate = '2003-05-09', shippedDate = NULL "
        f"WHERE orderNumber = {number}",
    )
    ran = run(published, months=("2003-05", "2003-05"), select=FACTS)
    assert not ran.success
    assert ("staging/orders", "keys") in ran.failed
    assert ran.checks["staging/orders", "keys"].metadata["keys also present in other partitions"].value == 1
    assert run(published, months=("2003-04", "2003-05"), select=FACTS).success


@pytest.mark.exhaustive
def test_a_customer_who_moved_takes_all_sales_along(published: Settings):
    ((customer,),) = ask(
        published,
        # nobody else is at this customer's place, and most sales were in other months
        "SELECT customerNumber FROM warehouse.fact_orders WHERE locationKey IN "
        "(SELECT locationKey FROM warehouse.dim_customers GROUP BY 1 HAVING count(*) = 1) GROUP BY 1 "
        "ORDER BY sum(orderAmount) FILTER (month(orderDate) <> 4) DESC NULLS LAST LIMIT 1",
    )
    change(
        published.order_system_url,
        f"UPDATE customers SET city = 'Lagos', state = NULL, country = 'Nigeria' WHERE customerNumber = {customer}",
    )
    people = [f"{layer}/customers" for layer in ("source", "staging")]
    sales = [*SALES, *people, "warehouse/dim_customers", "warehouse/dim_locations"]
    ran = run(published, months=MONTH, select=sales)
    assert ran.success, ran.errors
    assert ask(published, "SELECT bookedAmount FROM analytics.sales_by_country WHERE country = 'Nigeria'") == ask(
        published, f"SELECT sum(orderAmount) FROM warehouse.fact_orders WHERE customerNumber = {customer}"
    )
    assert ran.warned == {("warehouse/fact_orders", "references")}
    months = ask(
        published,
        "SELECT DISTINCT strftime(orderDate, '%Y-%m') FROM warehouse.fact_orders f "
        "ANTI JOIN warehouse.dim_locations USING (locationKey) ORDER BY 1",
    )
    said = ran.checks["warehouse/fact_orders", "references"].description
    assert months
    assert f"(locationKey in warehouse/dim_locations: {', '.join(month for (month,) in months)})" in said
    whole = run(published, select=sales)
    assert whole.success
    assert not whole.warned


def test_each_row_without_a_usable_month_lives_in_a_month_of_their_own(published: Settings):
    change(
        published.order_system_url,
        "UPDATE orders SET orderDate = '9999-12-31' WHERE orderNumber = 10105",
        "UPDATE orders SET orderDate = '1900-01-01' WHERE orderNumber = 10106",
        "INSERT INTO orderdetails VALUES (99999, 'S10_0000', 1, 10, 1)",
    )
    published = published.model_copy(update={"quarantine_max_share": 0.5, "quarantine_max_amount_share": 0.5})
    ran = run(published, select=READ)
    assert ran.success, ran.errors
    rows = ask(
        published, "SELECT orderNumber, strftime(orderMonth, '%Y-%m') FROM source.orders WHERE orderNumber < 10107"
    )
    assert dict(rows)[10105] == dict(rows)[10106] == "1900-01"
    assert ask(published, "SELECT orderMonth::VARCHAR FROM source.orderdetails WHERE orderNumber = 99999") == [
        ("1900-01-01",)
    ]
    before = fingerprint(published)
    assert run(published, months=MONTH, select=READ).success
    alone = run(published, months=("1900-01", "1900-01"), select=READ)
    assert alone.success, alone.errors
    assert alone.warned == {("staging/orders", "quarantine"), ("staging/orderdetails", "quarantine")}
    ((orders,),) = ask(published, "SELECT count(*) FROM source.orders")
    assert (
        f"2 of 2 rows quarantined (100.00%), 2 of {orders} in the table"
        in alone.checks["staging/orders", "quarantine"].description
    )
    near = run(published, months=("1900-01", "2003-01"), select=READ)
    assert near.success, near.errors
    few = published.model_copy(update={"quarantine_max_share": 1 / orders})
    assert run(few, months=("1900-01", "1900-01"), select=READ).failed == {("staging/orders", "quarantine")}
    assert fingerprint(published) == {
        **before,
        **{k: v for k, v in fingerprint(published).items() if k.startswith("quarantine")},
    }
