"""Nothing bad is ever published: planted bugs fail a named check, and the previous version stays."""

from __future__ import annotations

import ibis
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from classic_cars.assets import analytics, dimensions, warehouse
from classic_cars.settings import Settings
from classic_cars_tests.platform import ask, change, fingerprint, order_system_frames, rows_shown, run, swapped

FACT = "warehouse/fact_orders"
ANSWERS = ["analytics/sales_by_country", "analytics/sales_by_product_line", "analytics/sales_by_month"]
#: What changed order lines are made into.
LINES_AND_ANSWERS = [
    *("source/orderdetails", "staging/orderdetails", FACT),
    *(f"analytics/monthly_sales_by_{name}" for name in ("customer", "product")),
    *ANSWERS,
]


def joined_on_postal_code(
    orderdetails: ibis.Table, orders: ibis.Table, customers: ibis.Table, products: ibis.Table
) -> ibis.Table:
    """The classic: postalCode taken for a key."""
    lines = warehouse.fact_orders.function(orderdetails, orders, customers, products)
    return lines.left_join(customers.select("postalCode"), "postalCode").drop("postalCode_right")


def joined_inner(
    orderdetails: ibis.Table, orders: ibis.Table, customers: ibis.Table, products: ibis.Table
) -> ibis.Table:
    """The classic: an inner join that loses customers without a postal code."""
    lines = warehouse.fact_orders.function(orderdetails, orders, customers, products)
    return lines.semi_join(customers, "postalCode")


def untrimmed(customers: ibis.Table) -> ibis.Table:
    """The classic: Norway, and Norway with a space."""
    return customers


def test_a_join_on_the_postal_code_is_caught(published: Settings):
    ran = run(published, tables=swapped(FACT, joined_on_postal_code), select=[FACT])
    assert {(FACT, "columns"), (FACT, "keys"), (FACT, "reconciliation")} <= ran.failed
    assert FACT not in ran.published


def test_an_inner_join_that_loses_missing_postal_codes_is_caught(published: Settings):
    ran = run(published, tables=swapped(FACT, joined_inner), select=[FACT])
    assert ran.failed == {(FACT, "columns"), (FACT, "reconciliation"), (FACT, "completeness")}, ran.errors
    found = rows_shown(ran.checks[FACT, "reconciliation"], "bookedAmount by customer and status, from source")
    customers = order_system_frames(published.order_system_url)["customers"]
    without_code = set(customers[customers["postalCode"].isna()]["customerNumber"])
    wrong = {row["customerNumber"] for row in found if row["difference"] != "0.00"}
    assert wrong
    assert wrong <= without_code
    assert "sample of missing rows" in ran.checks[FACT, "columns"].metadata


def test_an_untrimmed_country_is_caught(published: Settings):
    ran = run(published, tables=swapped("staging/customers", untrimmed), select=["staging/customers"])
    assert ran.failed == {("staging/customers", "columns"), ("staging/customers", "quarantine")}
    assert "country has surrounding white space, or is empty" in str(
        rows_shown(ran.checks["staging/customers", "quarantine"], "reasons")
    )


def test_a_country_split_in_two_is_caught(published: Settings):
    def split(
        monthly_sales_by_customer: ibis.Table, dim_customers: ibis.Table, dim_locations: ibis.Table
    ) -> ibis.Table:
        answer = analytics.sales_by_country.function(monthly_sales_by_customer, dim_customers, dim_locations)
        return answer.mutate(country=ibis.ifelse(answer.country == "Norway", "Norwegen", answer.country))

    ran = run(published, tables=swapped("analytics/sales_by_country", split), select=["analytics/sales_by_country"])
    assert ran.failed == {("analytics/sales_by_country", "reconciliation")}


def test_a_cent_too_much_is_caught(published: Settings):
    def generous(
        orderdetails: ibis.Table, orders: ibis.Table, customers: ibis.Table, products: ibis.Table
    ) -> ibis.Table:
        lines = warehouse.fact_orders.function(orderdetails, orders, customers, products)
        cent = ibis.literal("0.01").cast("decimal(10, 2)")
        return lines.mutate(orderAmount=(lines.orderAmount + cent).cast("decimal(18, 2)"))

    ran = run(published, tables=swapped(FACT, generous), select=[FACT])
    assert {(FACT, "values"), (FACT, "columns"), (FACT, "reconciliation"), (FACT, "completeness")} == ran.failed


def test_a_dimension_that_lost_a_row_is_caught(published: Settings):
    def shorter(products: ibis.Table, productlines: ibis.Table, orderdetails: ibis.Table) -> ibis.Table:
        rows = dimensions.dim_products.function(products, productlines, orderdetails)
        return rows.filter(rows.productCode != products.productCode.max().as_scalar())

    ran = run(published, tables=swapped("warehouse/dim_products", shorter), select=["warehouse/dim_products"])
    assert ran.failed == {("warehouse/dim_products", "columns")}


def test_a_fact_that_refers_to_nothing_is_caught(published: Settings):
    def lost(orderdetails: ibis.Table, orders: ibis.Table, customers: ibis.Table, products: ibis.Table) -> ibis.Table:
        lines = warehouse.fact_orders.function(orderdetails, orders, customers, products)
        return lines.mutate(locationKey=lines.locationKey.substr(0, 31) + "g")

    ran = run(published, tables=swapped(FACT, lost), select=[FACT])
    assert (FACT, "references") in ran.failed
    ((lines,),) = ask(published, "SELECT count(*) FROM staging.orderdetails")
    assert rows_shown(ran.checks[FACT, "references"], "references broken") == [
        {"what": "locationKey in warehouse/dim_locations", "found": lines}
    ]


def test_a_failed_audit_leaves_every_byte_of_the_previous_version(published: Settings):
    before = fingerprint(published)
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 1")
    ran = run(published, tables=swapped(FACT, joined_inner), select=LINES_AND_ANSWERS)
    assert ran.failed == {(FACT, "columns"), (FACT, "reconciliation"), (FACT, "completeness")}
    after = fingerprint(published)
    for table in (FACT, *ANSWERS):
        assert after[table] == before[table]
    assert not ran.published & {FACT, *ANSWERS}
    assert run(published, select=[FACT]).success
    assert fingerprint(published)[FACT] != before[FACT]


def test_a_failing_function_leaves_the_previous_version(published: Settings):
    def broken(products: pd.DataFrame) -> pd.DataFrame:
        raise ValueError(f"could not convert string to float: {products['productName'].iloc[0]!r}")

    before = fingerprint(published)
    ran = run(published, tables=swapped("warehouse/dim_products", broken), select=["warehouse/dim_products"])
    # The place is told, and not the message: it may hold a row's values.
    assert "ValueError: raised in test_write_audit_publish.py, line " in ran.errors
    assert "(broken)" in ran.errors
    assert "could not convert" not in str(list(ran.result.all_events))
    assert fingerprint(published)["warehouse/dim_products"] == before["warehouse/dim_products"]


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.Table], ids=["pandas", "polars", "arrow"])
def test_an_author_may_drop_into_another_kind_of_table(published: Settings, kind):
    def names(products: kind, productlines: kind) -> kind:
        assert isinstance(products, kind)
        frame = products.to_pandas() if not isinstance(products, pd.DataFrame) else products
        lines = productlines.to_pandas() if not isinstance(productlines, pd.DataFrame) else productlines
        texts = lines.set_index("productLine")["textDescription"]
        frame = frame.drop(columns=["quantityInStock", "buyPrice", "MSRP", "_rescued_data"])
        frame["productLineDescription"] = frame["productLine"].map(texts)
        frame["isInferred"] = False
        if kind is pd.DataFrame:
            return frame
        arrow = pa.Table.from_pandas(frame, preserve_index=False)
        return pl.from_arrow(arrow) if kind is pl.DataFrame else arrow

    names.__annotations__ = {"products": kind, "productlines": kind, "return": kind}
    before = fingerprint(published)["warehouse/dim_products"]
    ran = run(published, tables=swapped("warehouse/dim_products", names), select=["warehouse/dim_products"])
    assert ran.success, ran.errors
    assert fingerprint(published)["warehouse/dim_products"] == before


def test_a_frame_of_the_wrong_shape_fails_the_schema_check(published: Settings):
    def wrong(products: pd.DataFrame, productlines: pd.DataFrame) -> pd.DataFrame:
        return products[["productCode"]].assign(extra=1)

    wrong.__annotations__ = {"products": pd.DataFrame, "productlines": pd.DataFrame}
    ran = run(published, tables=swapped("warehouse/dim_products", wrong), select=["warehouse/dim_products"])
    assert ("warehouse/dim_products", "schema") in ran.failed
    differences = ran.checks["warehouse/dim_products", "schema"].metadata["differences"].value
    assert "column productName is missing" in differences
    assert "column extra is not in the contract" in differences


def test_staging_trims_and_keeps_what_is_inside(published: Settings):
    assert ask(published, "SELECT count(*) FROM staging.customers WHERE country <> trim(country)") == [(0,)]
    assert ask(published, "SELECT count(*) FROM source.customers WHERE country <> trim(country)")[0][0] > 0


def test_a_wrong_pandas_function_has_no_lineage_and_is_caught_by_its_data(published: Settings):
    def names(products: pd.DataFrame, productlines: pd.DataFrame) -> pd.DataFrame:
        frame = products.drop(columns=["quantityInStock", "buyPrice", "MSRP", "_rescued_data"])
        texts = productlines.set_index("productLine")["textDescription"]
        described = frame.assign(productLineDescription=frame["productLine"].map(texts), isInferred=False)
        return described.assign(productVendor=described["productVendor"].str.upper())

    names.__annotations__ = {"products": pd.DataFrame, "productlines": pd.DataFrame}
    ran = run(published, tables=swapped("warehouse/dim_products", names), select=["warehouse/dim_products"])
    assert ran.failed == {("warehouse/dim_products", "columns")}
    assert "productVendor" in ran.checks["warehouse/dim_products", "columns"].description
