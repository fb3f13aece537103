"""Checks that are executed by themselves: on the published version, and nothing is made."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import duckdb
import ibis
import pytest

from classic_cars.assets import ALL_TABLES, staging
from classic_cars.definitions import build_defs
from classic_cars.settings import Settings
from classic_cars_tests.landed import RATED, drop, jsonl, rating
from classic_cars_tests.platform import Ran, ask, change, fingerprint, run, swapped

FACT = "warehouse/fact_orders"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def executed(settings: Settings, instance: dg.DagsterInstance, *checks: dg.AssetCheckKey) -> Ran:
    """A run of checks alone, as *Execute* of the web page asks for it."""
    every_asset = build_defs(settings).resolve_implicit_global_asset_job_def()
    alone = every_asset.get_subset(asset_selection=set(), asset_check_selection=set(checks))
    return Ran(alone.execute_in_process(instance=instance, raise_on_error=False))


@pytest.mark.exhaustive
def test_every_check_of_a_table_that_is_made_here_can_be_executed_alone(
    published: Settings, instance: dg.DagsterInstance
):
    before = fingerprint(published)
    graph = build_defs(published).resolve_asset_graph()
    wanted = [
        key
        for table in ALL_TABLES
        if table.arrives_from is None
        for key in graph.get_check_keys_for_assets([dg.AssetKey(table.address.split("/"))])
        if not key.name.startswith("agrees_with")
    ]
    ran = executed(published, instance, *wanted)
    assert ran.success, ran.errors
    assert set(ran.checks) == {(key.asset_key.to_user_string(), key.name) for key in wanted}
    assert not ran.failed
    assert not ran.published
    assert fingerprint(published) == before


def test_control_totals_are_worked_out_anew_for_checks_that_are_executed_alone(
    published: Settings, instance: dg.DagsterInstance
):
    """Of the table that they are kept with, and of answers: what was kept may be what is wrong."""
    with duckdb.connect(str(published.store_path)) as store:
        store.execute("UPDATE control.sales_by_customer SET netSales = netSales + 1")
    country = "analytics/sales_by_country"
    tables = (country, "analytics/monthly_sales_by_customer")
    keys = [dg.AssetCheckKey(dg.AssetKey(each.split("/")), "reconciliation") for each in tables]
    ran = executed(published, instance, *keys)
    assert ran.checks.keys() == {(each, "reconciliation") for each in tables}
    assert not ran.failed
    assert run(published, select=[country]).failed == {(country, "reconciliation")}


def test_superseded_rows_are_missed_by_no_check_that_is_executed_alone(
    published: Settings, instance: dg.DagsterInstance
):
    ((customer, product),) = ask(
        published, "SELECT min(customerNumber), min(productCode) FROM staging.customers, staging.products"
    )
    earlier, later = rating(customer, product, 2, "2003-07-01T10:00:00Z"), rating(customer, product, 5)
    drop(published, "a.jsonl", jsonl(earlier, later))
    assert run(published, select=RATED[:2]).success
    assert ask(published, "SELECT productRating FROM staging.ratings") == [(5,)]
    wanted = build_defs(published).resolve_asset_graph().get_check_keys_for_assets([dg.AssetKey(RATED[1].split("/"))])
    ran = executed(published, instance, *wanted)
    assert ran.success, ran.errors
    assert (RATED[1], "reconciliation") in ran.checks
    assert not ran.failed


@pytest.mark.parametrize(
    ("planted", "check"),
    [
        ("UPDATE warehouse.fact_orders SET quantityOrdered = -1 WHERE orderNumber = 10100", "values"),
        ("INSERT INTO warehouse.fact_orders SELECT * FROM warehouse.fact_orders LIMIT 1", "keys"),
        ("UPDATE warehouse.fact_orders SET customerNumber = 999999 WHERE orderNumber = 10100", "references"),
        (
            "UPDATE warehouse.fact_orders SET orderAmount = orderAmount + 0.01 WHERE orderNumber = 10100",
            "reconciliation",
        ),
        ("DELETE FROM warehouse.fact_orders WHERE orderNumber = 10100", "completeness"),
    ],
)
def test_a_check_executed_alone_finds_what_is_wrong_with_the_published_version(
    published: Settings, instance: dg.DagsterInstance, planted: str, check: str
):
    with duckdb.connect(str(published.store_path)) as connection:
        assert connection.execute(planted).fetchall()[0][0] > 0
    ran = executed(published, instance, dg.AssetCheckKey(dg.AssetKey(FACT.split("/")), check))
    assert ran.failed == set(ran.checks) == {(FACT, check)}


PAYMENTS, QUARANTINE = "staging/payments", dg.AssetCheckKey(dg.AssetKey(["staging", "payments"]), "quarantine")
READ = ["source/payments", PAYMENTS]


@pytest.mark.exhaustive
def test_a_check_executed_alone_lifts_no_refusal(published: Settings, instance: dg.DagsterInstance):
    assert run(published, select=READ, instance=instance).success
    change(published.order_system_url, "UPDATE payments SET amount = 'much' WHERE rowid % 2 = 0")
    assert run(published, select=READ, instance=instance).failed == {(PAYMENTS, "quarantine")}
    for _ in range(2):
        ran = executed(published, instance, QUARANTINE)
        assert ran.failed == set(ran.checks) == {(PAYMENTS, "quarantine")}
        said = ran.checks[PAYMENTS, "quarantine"]
        assert "rows quarantined" in said.description
        assert "was not published; readers see an earlier one" in said.description
    change(published.order_system_url, "UPDATE payments SET amount = 1 WHERE amount = 'much'")
    assert run(published, select=READ, instance=instance).success
    assert executed(published, instance, QUARANTINE).checks[PAYMENTS, "quarantine"].passed


def test_a_run_that_never_came_to_the_checks_refused_nothing(published: Settings, instance: dg.DagsterInstance):
    def broken(payments: ibis.Table) -> ibis.Table:
        return staging.payments.function(payments.mutate(amount=(payments.amount * 10**7).cast("decimal(10, 2)")))

    assert run(published, select=READ, instance=instance).success
    assert not run(published, select=[PAYMENTS], tables=swapped(PAYMENTS, broken), instance=instance).success
    assert executed(published, instance, QUARANTINE).checks[PAYMENTS, "quarantine"].passed


def test_what_may_be_due_to_a_newer_input_does_not_block(published: Settings, instance: dg.DagsterInstance):
    assert run(published, select=READ, instance=instance).success
    change(published.order_system_url, "UPDATE payments SET amount = amount + 1")
    assert run(published, select=READ[:1], instance=instance).success
    columns = dg.AssetCheckKey(QUARANTINE.asset_key, "columns")
    ran = executed(published, instance, columns)
    assert ran.warned == {(PAYMENTS, "columns")}
    assert "source/payments was published after this version" in ran.checks[PAYMENTS, "columns"].description
    assert run(published, select=[PAYMENTS], instance=instance).success
    assert executed(published, instance, columns).checks[PAYMENTS, "columns"].passed
