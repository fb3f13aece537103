"""Partial aggregates through Dagster: a run of one month, and the nightly recomputation that sees tampering."""

from __future__ import annotations

from typing import Any

import dagster as dg
import duckdb
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.automation import schedules
from classic_cars.definitions import FULL_REFRESH, build_defs
from classic_cars.runs import job_of
from classic_cars.settings import Settings
from classic_cars.tables.recomputation import DIFFERENCES, MONTHS, NAME, recomputed_tables
from classic_cars.tables.table import Catalog
from classic_cars_tests.platform import (
    QUIET,
    SALES,
    ask,
    change,
    expected_sales,
    fingerprint,
    order_system_frames,
    published_sales,
    run,
)

MONTH = ("2003-04", "2003-04")
COHORTS, BALANCES = "analytics/customer_cohorts", "analytics/customer_balances"
BY_CUSTOMER, BY_PRODUCT = "analytics/monthly_sales_by_customer", "analytics/monthly_sales_by_product"
ROWS = (FACTS := "warehouse/fact_orders", "staging/orders", "staging/orderdetails")
COUNTRY, LINE, BY_MONTH = (
    f"analytics/{name}" for name in ("sales_by_country", "sales_by_product_line", "sales_by_month")
)


def tamper(settings: Settings, statement: str) -> None:
    """Change what is published behind the platform's back."""
    with duckdb.connect(str(settings.store_path)) as connection:
        connection.execute(statement)


def recompute(settings: Settings) -> dict[str, dg.AssetCheckEvaluation]:
    """What the nightly recomputation says of each table."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(settings).resolve_job_def(schedules.RECOMPUTATION)
        result = job.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
        assert result.success
        assert not [event for event in result.all_events if event.is_step_materialization]
        return {each.asset_key.to_user_string(): each for each in result.get_asset_check_evaluations()}


def differences(evaluation: dg.AssetCheckEvaluation) -> list[dict[str, Any]]:
    found: Any = evaluation.metadata[DIFFERENCES].value
    return found


def assert_answers_agree(settings: Settings) -> None:
    frames = order_system_frames(settings.order_system_url)
    for table, by in (("sales_by_country", "country"), ("sales_by_product_line", "productLine")):
        assert published_sales(settings, table, by) == expected_sales(frames, by)
    found = recompute(settings)
    assert all(found[address].passed for address in {*found} - {*ROWS})


def test_a_run_of_one_month_updates_the_answers_exactly_and_no_other_month_of_the_partial_aggregates(
    published: Settings,
) -> None:
    others = f"SELECT * FROM {{}} WHERE strftime(orderMonth, '%Y-%m') <> '{MONTH[0]}' ORDER BY ALL"
    before = {each: ask(published, others.format(each.replace("/", "."))) for each in (BY_CUSTOMER, BY_PRODUCT)}
    prints = fingerprint(published)
    change(
        published.order_system_url,
        "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 1 WHERE orderNumber IN "
        f"(SELECT orderNumber FROM orders WHERE strftime('%Y-%m', orderDate) = '{MONTH[0]}')",
        # These cost no month of any partial aggregate.
        "UPDATE products SET productLine = (SELECT max(productLine) FROM productlines) WHERE productCode = "
        "(SELECT min(productCode) FROM orderdetails)",
        "UPDATE customers SET country = 'Norway' WHERE customerNumber = (SELECT min(customerNumber) FROM orders)",
    )
    who_and_what = [f"{layer}/{name}" for layer in ("source", "staging") for name in ("customers", "products")]
    dimensions = [f"warehouse/dim_{name}" for name in ("customers", "locations", "products")]
    ran = run(published, months=MONTH, select=[*SALES, *who_and_what, *dimensions])
    assert ran.success, ran.errors
    for each in (BY_CUSTOMER, BY_PRODUCT):
        assert ask(published, others.format(each.replace("/", "."))) == before[each]
        assert fingerprint(published)[each] != prints[each]
    assert_answers_agree(published)


@pytest.mark.exhaustive
def test_an_order_that_moved_to_another_month_is_in_the_answers_once(published: Settings) -> None:
    ((number,),) = ask(
        published, "SELECT min(orderNumber) FROM warehouse.fact_orders WHERE strftime(orderDate, '%Y-%m') = '2003-04'"
    )
    change(
        published.order_system_url,
        "UPDATE orders SET orderDate = '2003-05-02', requiredDate = '2003-05-30', shippedDate = '2003-05-09' "
        f"WHERE orderNumber = {number}",
    )
    ran = run(published, months=("2003-04", "2003-05"), select=SALES)
    assert ran.success, ran.errors
    assert_answers_agree(published)


def test_every_table_of_metrics_is_recomputed_at_night_and_by_no_run(published: Settings) -> None:
    found = recompute(published)
    assert set(found) == {BY_CUSTOMER, BY_PRODUCT, COUNTRY, LINE, BY_MONTH, COHORTS, BALANCES, *ROWS}
    assert all(each.passed for each in found.values())
    defs = build_defs(published)
    assert {each.address for each in recomputed_tables(Catalog(ALL_TABLES))} == set(found)
    tables = defs.get_repository_def().asset_graph.materializable_asset_keys
    jobs = [job_of(defs, tables), *map(defs.resolve_job_def, (FULL_REFRESH, schedules.RECONCILIATION))]
    assert not [node.name for job in jobs for node in job.nodes if NAME in node.name]


def test_rows_of_a_month_that_were_tampered_with_are_named(published: Settings) -> None:
    """Each in a month of its own: facts changed and lost, and what they come from."""
    for statement in (
        "UPDATE warehouse.fact_orders SET comments = 'tampered' WHERE month(orderDate) = 3",
        "DELETE FROM warehouse.fact_orders WHERE comments IS NULL AND month(orderDate) = 4",
        "UPDATE staging.orders SET comments = 'tampered' WHERE month(orderDate) = 5",
        "UPDATE staging.orderdetails SET orderLineNumber = 99 WHERE month(orderMonth) = 6",
    ):
        tamper(published, statement)
    found = {table: each for table, each in recompute(published).items() if not each.passed}
    assert set(found) >= {FACTS, "staging/orders"}
    assert found[FACTS].metadata[MONTHS].value == ["2003-03", "2003-04", "2003-05", "2003-06"]
    assert found["staging/orders"].metadata[MONTHS].value == ["2003-05"]
    assert "not what the contract says they come from" in str(found[FACTS].description)


@pytest.mark.parametrize(
    "metric",
    [
        "grossProfit",
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("orders", "units", "bookedAmount", "netSales")),
    ],
)
def test_a_partial_aggregate_that_was_tampered_with_is_named(published: Settings, metric: str) -> None:
    row = f"SELECT customerNumber, {metric} FROM {BY_CUSTOMER.replace('/', '.')} WHERE orderMonth = '2003-04-01'"
    customer, value = ask(published, f"{row} ORDER BY 1 LIMIT 1")[0]
    tamper(
        published,
        f"UPDATE {BY_CUSTOMER.replace('/', '.')} SET {metric} = {metric} + 1 "
        f"WHERE orderMonth = '2003-04-01' AND customerNumber = {customer}",
    )
    found = recompute(published)
    assert {table for table, each in found.items() if not each.passed} == {BY_CUSTOMER}
    assert differences(found[BY_CUSTOMER]) == [
        {
            "table": BY_CUSTOMER,
            "group": {"orderMonth": "2003-04-01", "customerNumber": customer},
            "column": metric,
            "expected": value if isinstance(value, int) else str(value),
            "found": value + 1 if isinstance(value, int) else str(value + 1),
        }
    ]
    assert found[BY_CUSTOMER].metadata[MONTHS].value == ["2003-04"]
    assert f"{metric} of orderMonth 2003-04-01, customerNumber {customer}" in str(found[BY_CUSTOMER].description)
    # What is summed from it is refused by the proof from source, and what was published stays.
    before = fingerprint(published)[COUNTRY]
    assert run(published, select=[COUNTRY]).failed >= {(COUNTRY, "reconciliation")}
    assert fingerprint(published)[COUNTRY] == before
    # The months that it names, made again.
    assert run(published, select=[BY_CUSTOMER, COUNTRY], months=MONTH).success
    assert_answers_agree(published)


DIFFERENT = (
    {
        COUNTRY: ("DELETE FROM analytics.sales_by_country WHERE country = 'France'", "rows"),
        LINE: ("UPDATE analytics.sales_by_product_line SET orders = orders + 1", "orders"),
        BY_MONTH: ("UPDATE analytics.sales_by_month SET netSales = netSales - 0.01", "netSales"),
        BY_PRODUCT: ("DELETE FROM analytics.monthly_sales_by_product WHERE orderMonth = '2003-04-01'", "rows"),
        BALANCES: ("UPDATE analytics.customer_balances SET netSales = netSales + 1", "netSales"),
        COHORTS: ("UPDATE analytics.customer_cohorts SET soldOrders = soldOrders + 1", "soldOrders"),
    },
    {
        COUNTRY: ("INSERT INTO analytics.sales_by_country VALUES ('Nowhere', 0, 0, 0, 0, 0)", "rows"),
        BY_PRODUCT: ("UPDATE analytics.monthly_sales_by_product SET grossProfit = NULL", "grossProfit"),
    },
    {
        COUNTRY: ("INSERT INTO analytics.sales_by_country FROM analytics.sales_by_country LIMIT 1", "rows"),
        BY_PRODUCT: ("UPDATE control.sales_by_product SET unitsSold = 0 WHERE orderMonth = '2003-04-01'", "unitsSold"),
    },
)


@pytest.mark.parametrize("tampered", DIFFERENT, ids=["gone or other", "more or nothing", "twice or of control totals"])
def test_any_other_difference_is_seen_too(published: Settings, tampered: dict[str, tuple[str, str]]) -> None:
    """In each table by itself: what is made of a table that was tampered with is held to the facts."""
    for statement, _ in tampered.values():
        tamper(published, statement)
    found = recompute(published)
    assert {address for address, each in found.items() if not each.passed} == set(tampered)
    for table, (_, column) in tampered.items():
        assert {each["column"] for each in differences(found[table])} == {column}, table


@pytest.mark.exhaustive
def test_the_fact_made_again_without_the_answers_is_seen(published: Settings) -> None:
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 1")
    upstream = [f"{layer}/{name}" for layer in ("source", "staging") for name in ("orders", "orderdetails")]
    assert run(published, select=[*upstream, "warehouse/fact_orders"]).success
    found = recompute(published)
    assert {address for address, each in found.items() if each.passed} == {*ROWS}
    assert len(differences(found[BY_PRODUCT])) == 10


@pytest.mark.exhaustive
def test_control_totals_that_were_tampered_with_let_no_answer_pass_and_are_made_again(published: Settings) -> None:
    tamper(published, "UPDATE control.sales_by_customer SET netSales = netSales - 1 WHERE orderMonth = '2003-04-01'")
    before = fingerprint(published)
    answers = [COUNTRY, COHORTS, BALANCES]
    assert run(published, select=answers).failed >= {(each, "reconciliation") for each in answers}
    assert fingerprint(published) == before
    found = recompute(published)
    assert {address for address, each in found.items() if not each.passed} == {BY_CUSTOMER}
    assert {each["table"] for each in differences(found[BY_CUSTOMER])} == {"control/sales_by_customer"}
    assert found[BY_CUSTOMER].metadata[MONTHS].value == ["2003-04"]
    assert run(published, select=[BY_CUSTOMER, *answers], months=MONTH).success
    assert_answers_agree(published)


def test_an_answer_made_of_what_source_no_longer_says_is_refused(published: Settings) -> None:
    """Control totals are of source as it was: that it is still so is asked of all order lines and today's costs."""
    change(
        published.order_system_url,
        "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 1 "
        "WHERE orderNumber = (SELECT min(orderNumber) FROM orderdetails)",
    )
    assert run(published, select=["source/orderdetails", "staging/orderdetails"]).success
    assert run(published, select=[COUNTRY, LINE]).failed >= {(COUNTRY, "reconciliation"), (LINE, "reconciliation")}
    assert run(published, select=[FACTS, BY_CUSTOMER, BY_PRODUCT, COUNTRY, LINE]).success
    change(published.order_system_url, "UPDATE products SET buyPrice = buyPrice + 1")
    assert run(published, select=["source/products", "staging/products"]).success
    assert run(published, select=[COUNTRY, LINE]).failed >= {(COUNTRY, "reconciliation"), (LINE, "reconciliation")}


def test_a_table_that_was_never_published_is_said(shop: Settings) -> None:
    found = recompute(shop)
    assert not any(each.passed for each in found.values())
    assert "analytics/sales_by_country" in str(found[COUNTRY].description)
