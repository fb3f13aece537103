"""Tables of different runs that contradict each other are named with both numbers, from an independent calculation."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import pytest

from classic_cars.runs import execute
from classic_cars.serving.consistency import contradictions, reads_compared_tables
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars_tests.platform import SALES, change, expected_sales, order_system_frames, run

FIX = (
    "they are of different runs, or a run is under way; `classic-cars run` fixes it, and `classic-cars run --full` "
    "what was changed by hand"
)
UP_TO_THE_FACT = [
    *(f"source/{name}" for name in ("orderdetails", "orders", "customers", "products")),
    *(f"staging/{name}" for name in ("orders", "orderdetails", "customers", "products")),
    "warehouse/dim_dates",
    "warehouse/fact_orders",
]


def found(settings: Settings) -> list[str]:
    store = open_store(settings, read_only=True)
    try:
        return contradictions(store)
    finally:
        store.release()


def sales(settings: Settings, by: str) -> dict[str, dict[str, Any]]:
    return expected_sales(order_system_frames(settings.order_system_url), by)


def totals(settings: Settings) -> str:
    """The four totals as a message says them."""
    rows = sales(settings, "country").values()
    units, *amounts = (
        sum((row[name] for row in rows), Decimal(0)) for name in ("units", "bookedAmount", "netSales", "grossProfit")
    )
    booked, net, profit = (f"{each:,.2f}" for each in amounts)
    return f"units {units:,}, bookedAmount {booked}, netSales {net}, grossProfit {profit}"


def test_tables_of_one_run_agree(published: Settings) -> None:
    assert found(published) == []


@pytest.mark.exhaustive
def test_an_answer_of_a_later_run_contradicts_the_others(published: Settings) -> None:
    before = totals(published)
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 10")
    partials = [f"analytics/monthly_sales_by_{name}" for name in ("customer", "product")]
    made = [*UP_TO_THE_FACT, *partials, "analytics/sales_by_country"]
    ran = run(published, select=made)
    assert ran.success, ran.errors
    assert found(published) == [
        f"{before} in analytics/sales_by_product_line, analytics/sales_by_month, "
        f"but {totals(published)} in analytics/sales_by_country, warehouse/fact_orders; {FIX}"
    ]
    run(published, select=[each for each in SALES if each not in made])
    assert found(published) == []


@pytest.mark.exhaustive
def test_only_the_measures_that_differ_are_named(published: Settings) -> None:
    """Other buy prices change the gross profit and nothing else."""
    before = totals(published).partition("grossProfit")
    change(published.order_system_url, "UPDATE products SET buyPrice = buyPrice + 1")
    ran = run(published, select=UP_TO_THE_FACT)
    assert ran.success, ran.errors
    after = totals(published).partition("grossProfit")
    assert before[0] == after[0]
    (message,) = found(published)
    assert message.startswith(f"grossProfit{before[2]} in analytics/")
    assert f"but grossProfit{after[2]} in warehouse/fact_orders" in message


def test_a_customer_who_moved_contradicts_the_countries_though_totals_agree(published: Settings) -> None:
    before = sales(published, "country")
    moved = order_system_frames(published.order_system_url)["customers"].set_index("customerNumber")["country"]
    number = next(each for each, country in moved.items() if country.strip() == "France")
    change(published.order_system_url, f"UPDATE customers SET country = 'New Zealand' WHERE customerNumber = {number}")
    after = sales(published, "country")
    assert before != after
    places = [f"{layer}/customers" for layer in ("source", "staging")]
    ran = run(published, select=[*places, "warehouse/dim_customers", "warehouse/dim_locations"])
    assert ran.success, ran.errors
    said = "; ".join(
        f"{country}: units {before.get(country, {}).get('units', 0):,} and {after.get(country, {}).get('units', 0):,}"
        for country in ("France", "New Zealand")
    )
    assert found(published) == [
        "analytics/sales_by_country differs from warehouse/fact_orders, warehouse/dim_customers, "
        f"warehouse/dim_locations by country ({said}); {FIX}"
    ]


def test_an_order_that_moved_contradicts_the_months_though_totals_agree(published: Settings) -> None:
    frames = order_system_frames(published.order_system_url)
    number = frames["orders"][frames["orders"]["orderDate"].map("{:%Y-%m}".format) == "2003-02"]["orderNumber"].iloc[0]
    change(
        published.order_system_url,
        "UPDATE orders SET orderDate = '2003-03-02', requiredDate = '2003-03-30', shippedDate = '2003-03-09' "
        f"WHERE orderNumber = {number}",
    )
    ran = run(published, select=UP_TO_THE_FACT)
    assert ran.success, ran.errors
    message, *others = found(published)
    assert [each.split()[0] for each in others][:2] == [
        f"analytics/monthly_sales_by_{name}" for name in ("customer", "product")
    ]
    assert message.startswith("analytics/sales_by_month differs from warehouse/fact_orders by orderMonth (2003-02-01: ")
    assert "; 2003-03-01: " in message


@pytest.mark.parametrize(
    ("table", "column", "said"),
    [
        ("sales_by_country", "orders", "by country (Australia: orders 5 and 4"),
        ("sales_by_month", "orders", "by orderMonth (2003-01-01: orders "),
        ("monthly_sales_by_product", "units", "differs from warehouse/fact_orders by month and product ("),
        ("product_ratings", "ratings", "differs from warehouse/fact_ratings, warehouse/dim_products in "),
        ("customer_balances", "payments", "differs from warehouse/fact_orders, warehouse/fact_payments, "),
        ("customer_cohorts", "customers", "differs from warehouse/fact_orders in "),
        ("stock_cover", "unitsSold", "differs from warehouse/fact_orders, warehouse/dim_products in "),
        ("stock_cover", "monthsCounted", "differs from warehouse/fact_orders, warehouse/dim_products in "),
        ("sales_by_product_line", "orders", "differs from warehouse/fact_orders, warehouse/dim_products in "),
        (
            "monthly_sales_by_customer",
            "orders",
            "differs from warehouse/fact_orders by month and customer (",
        ),
    ],
)
def test_what_totals_do_not_tell_is_compared_group_by_group(
    published: Settings, table: str, column: str, said: str
) -> None:
    with duckdb.connect(str(published.store_path)) as tampered:
        tampered.execute(f"UPDATE analytics.{table} SET {column} = {column} + 1")
    (message,) = found(published)
    assert message.startswith(f"analytics/{table} ")
    assert said in message


@pytest.mark.parametrize("column", ["productName", "productLine"])
def test_the_names_of_rated_products_are_those_of_the_dimension(published: Settings, column: str) -> None:
    with duckdb.connect(str(published.store_path)) as tampered:
        tampered.execute(
            f"UPDATE analytics.product_ratings SET {column} = 'Renamed' "
            "WHERE productCode = (SELECT min(productCode) FROM warehouse.dim_products)"
        )
    against = "warehouse/fact_ratings, warehouse/dim_products"
    assert found(published) == [f"analytics/product_ratings differs from {against} in 1 product; {FIX}"]


@pytest.mark.parametrize(
    ("fact", "column", "dimension"),
    [
        ("fact_orders", "shippedDate", "dim_dates"),
        ("fact_payments", "locationKey", "dim_locations"),
        ("dim_employees", "reportsTo", "dim_employees"),
    ],
)
def test_a_reference_to_nothing_in_the_release_is_a_contradiction(
    published: Settings, fact: str, column: str, dimension: str
) -> None:
    nowhere = {"shippedDate": "DATE '1999-12-31'", "locationKey": "'nowhere'", "reportsTo": "-99"}[column]
    with duckdb.connect(str(published.store_path)) as tampered:
        tampered.execute(f"UPDATE warehouse.{fact} SET {column} = {nowhere} WHERE {column} IS NOT NULL")
    lost = f"warehouse/{fact} refers by {column} to 1 value that warehouse/{dimension} does not have"
    assert found(published) == [f"{lost}; {FIX}"]


def test_a_partial_aggregate_of_an_older_version_is_named_and_nothing_else(published: Settings) -> None:
    """What is summed from it is compared with the order lines."""
    with duckdb.connect(str(published.store_path)) as older:
        older.execute("ALTER TABLE analytics.monthly_sales_by_customer DROP COLUMN soldOrders")
    lacking = "analytics/monthly_sales_by_customer has no soldOrders, as an older version of the platform made it"
    assert found(published) == [f"{lacking}; {FIX}"]


@pytest.mark.exhaustive
def test_tables_that_were_never_published_are_left_out(shop: Settings) -> None:
    assert found(shop) == []
    assert execute(shop, ["+sales_by_month"], ephemeral=True).succeeded
    assert found(shop) == []
    before = totals(shop)
    change(shop.order_system_url, "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 1")
    run(shop, select=UP_TO_THE_FACT)
    assert found(shop) == [f"{before} in analytics/sales_by_month, but {totals(shop)} in warehouse/fact_orders; {FIX}"]


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT * FROM analytics.sales_by_country", True),
        ('SELECT * FROM "warehouse"."fact_orders"', True),
        ("select 1 from WAREHOUSE . dim_dates", True),
        ("SELECT * FROM source.orders", False),
        ("SELECT 'analytics' AS word", False),
    ],
)
def test_statements_that_read_what_is_compared(sql: str, reads: bool) -> None:
    assert reads_compared_tables(sql) is reads
