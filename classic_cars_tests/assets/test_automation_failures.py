"""What is asked for, and told, when a check refuses, a read or a run fails, or a schema changes."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from classic_cars.automation import condition_sensor, order_system_sensor
from classic_cars.automation.alerts.incidents import Links, begun
from classic_cars.settings import Settings
from classic_cars.tables import asset
from classic_cars.tables.step import Outcome, Step
from classic_cars_shop import api as simulator
from classic_cars_tests.platform import (
    ask,
    change,
    expected_sales,
    order_system_frames,
    published_sales,
)
from classic_cars_tests.unattended import Platform, incidents, months_of, tables

LANDED = {"source/ratings", "source/stock_counts"}
pytestmark = pytest.mark.usefixtures("restless")


def test_nothing_follows_past_a_failed_blocking_check(filled: Platform) -> None:
    settings = filled.settings
    url = settings.order_system_url
    before = ask(settings, "SELECT sum(bookedAmount) FROM analytics.sales_by_country")
    change(url, "UPDATE orderdetails SET quantityOrdered = -1 WHERE orderNumber % 2 = 0")
    asked = filled.round()
    assert "staging/orderdetails" in tables(asked[0])
    assert ask(settings, "SELECT sum(bookedAmount) FROM analytics.sales_by_country") == before
    # Another input of the fact changes: it waits all the same, as its order lines were refused.
    change(url, "UPDATE products SET buyPrice = buyPrice + 1")
    prices = ask(settings, "SELECT sum(buyPrice) FROM warehouse.fact_orders")
    done = filled.round()
    assert any("staging/products" in tables(request) for request in done)
    assert ask(settings, "SELECT sum(buyPrice) FROM warehouse.fact_orders") == prices
    change(url, "UPDATE orderdetails SET quantityOrdered = 1 WHERE orderNumber % 2 = 0")
    filled.round()
    assert published_sales(settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(url), "country"
    )


@pytest.mark.exhaustive
def test_a_month_that_passed_says_nothing_of_one_that_was_refused(filled: Platform, tmp_path: Path) -> None:
    """Order lines of March are gone, which is refused, and its cancelled orders are not: nothing is made of both."""
    url, march = filled.settings.order_system_url, "SELECT orderNumber FROM orders WHERE orderDate LIKE '2003-03%'"
    of_march = "SELECT * FROM warehouse.fact_orders WHERE orderDate BETWEEN '2003-03-01' AND '2003-03-31' ORDER BY ALL"
    before = ask(filled.settings, of_march)
    shop = Path(url.removeprefix("sqlite:///"))
    shutil.copy(shop, tmp_path / "kept")
    change(
        url,
        f"DELETE FROM orderdetails WHERE orderNumber IN ({march}) AND orderLineNumber > 1",
        "UPDATE orders SET status = 'Cancelled' WHERE orderDate LIKE '2003-03%'",
    )
    filled.round()
    change(
        url,
        "UPDATE orderdetails SET priceEach = priceEach + 1 WHERE orderNumber = (SELECT max(orderNumber) FROM orders)",
    )
    filled.round()
    change(url, "UPDATE customers SET city = 'Graz', country = 'Austria', state = NULL, postalCode = '8010'")
    filled.round()
    assert ask(filled.settings, of_march) == before
    shutil.copy(tmp_path / "kept", shop)
    filled.round()
    assert filled.stale() == set()
    assert published_sales(filled.settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(url), "country"
    )


@pytest.mark.exhaustive
def test_a_good_month_that_was_refused_with_bad_ones_does_not_close_their_incident(filled: Platform) -> None:
    """It is read and refused in one run with them, as it lies between them, and has other rows for nobody."""
    url = filled.settings.order_system_url
    bad = "SELECT orderNumber FROM orders WHERE substr(orderDate, 1, 7) IN ('2003-02', '2003-04')"
    change(url, f"UPDATE orderdetails SET quantityOrdered = -quantityOrdered WHERE orderNumber IN ({bad})")
    (request,) = filled.round()
    assert months_of(request) == ("2003-02", "2003-04")
    assert "staging/orderdetails: check quarantine failed" in {each.what for each in incidents(filled)}
    change(url, f"UPDATE orderdetails SET quantityOrdered = -quantityOrdered WHERE orderNumber IN ({bad})")
    filled.round()
    assert (incidents(filled), filled.stale()) == ([], set())


@pytest.mark.exhaustive
def test_a_backup_of_the_store_is_not_released_with_what_is_made_since(filled: Platform, tmp_path: Path) -> None:
    settings, url = filled.settings, filled.settings.order_system_url
    shutil.copy(settings.store_path, tmp_path / "backup")
    prices = "UPDATE orderdetails SET priceEach = priceEach + 1 WHERE orderNumber = (SELECT {}(orderNumber) FROM orders"
    change(url, prices.format("min") + ")")
    filled.round()
    shutil.copy(tmp_path / "backup", settings.store_path)
    change(url, prices.format("max") + ")")
    filled.round()
    (incident,) = incidents(filled)
    assert "the store does not hold what the runs of this history published" in incident.details


@pytest.mark.exhaustive
def test_what_is_mended_as_it_was_before_it_broke_is_over(filled: Platform) -> None:
    url = filled.settings.order_system_url
    january = "SELECT orderNumber FROM orders WHERE orderDate < '2003-02-01'"
    for quantity in (2, -1, 2):
        change(url, f"UPDATE orderdetails SET quantityOrdered = {quantity} WHERE orderNumber IN ({january})")
        filled.round()
    # The newest evaluations, as the web page shows them: none failed, and none planned that never came.
    found = filled.instance.event_log_storage.get_latest_asset_check_execution_by_key(filled.checks())
    assert {
        key.to_user_string() for key, each in found.items() if not getattr(each.evaluation, "passed", False)
    } == set()
    assert filled.round() == []


@pytest.mark.exhaustive
def test_a_changed_schema_stops_what_is_made_from_that_table_and_nothing_else(filled: Platform) -> None:
    settings, url = filled.settings, filled.settings.order_system_url
    change(
        url,
        'ALTER TABLE orders RENAME COLUMN status TO "orderStatus"',
        "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 1",
        "UPDATE customers SET creditLimit = creditLimit + 1",
        "UPDATE payments SET amount = amount + 1",
    )
    graph = filled.defs.get_repository_def().asset_graph
    stopped = {
        key.to_user_string()
        for key in dg.AssetSelection.assets(dg.AssetKey(["source", "orders"])).downstream().resolve(graph)
    }
    made = {table for request in filled.round() for table in tables(request)}
    assert made >= {"source/orderdetails", "source/customers", "staging/customers", "staging/payments"}
    assert made & stopped == set()
    assert {"staging/orderdetails", "warehouse/fact_orders", "analytics/sales_by_country"} <= stopped
    said = filled.reasons[order_system_sensor.SENSOR] or ""
    assert said.startswith("orders and all tables downstream stopped, schema changed: ")
    (incident,) = incidents(filled)
    assert (incident.key, incident.what) == ("check:source/orders/schema", "source/orders: schema changed")
    for text in (said, incident.details):
        assert "table orders has no column status" in text
        assert "new there: orderStatus" in text

    change(url, 'ALTER TABLE orders RENAME COLUMN "orderStatus" TO status')
    filled.tick(order_system_sensor.SENSOR)
    assert incidents(filled) == []
    assert "warehouse/fact_orders" in {table for request in filled.round() for table in tables(request)}
    assert published_sales(settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(url), "country"
    )


@pytest.mark.parametrize(
    "planted",
    [
        {
            "duplicates": ("staging/payments", "an exact copy of another row"),
            "negatives": ("staging/orderdetails", "quantityOrdered is not between 1 and 100,000"),
        },
        {"orphans": ("staging/orderdetails", "orderNumber is not in staging/orders")},
    ],
    ids=", ".join,
)
@pytest.mark.exhaustive  # test_web_page.py plants, tells and mends the second
def test_planted_faults_are_told_with_table_reason_and_rows_and_are_over_when_mended(
    filled: Platform, planted: dict[str, tuple[str, str]]
) -> None:
    url = filled.settings.order_system_url
    rows = {kind: simulator.break_shop(url, kind)[1] for kind in planted}
    filled.round()
    told = {each.what: begun(each, time.time(), Links("", "", "test")) for each in incidents(filled)}
    assert told.keys() == {f"{table}: check quarantine failed" for table, _ in planted.values()}
    for kind, (table, reason) in planted.items():
        message = told[f"{table}: check quarantine failed"]
        assert message.level == "failure"
        assert f"): {rows[kind]:,} rows: {reason}. Above the limit: " in message.body
        assert f"refused/{table.partition('/')[2]}/" in message.body
    simulator.mend_shop(url)
    filled.round()
    assert incidents(filled) == []


def test_a_stopped_table_whose_run_failed_and_whose_cursor_was_lost_is_still_told_once(filled: Platform) -> None:
    url = filled.settings.order_system_url
    change(url, 'ALTER TABLE offices RENAME COLUMN "postalCode" TO "zip"')
    key = dg.AssetCheckKey(dg.AssetKey(["source", "offices"]), "schema")

    def told() -> Any:
        record = filled.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        return record.id, record.evaluation and record.evaluation.passed

    filled.poll()
    first, passed = told()
    assert passed is False
    filled.poll()
    assert told() == (first, False)
    assert not filled.run(dg.RunRequest(asset_selection=[key.asset_key])).success
    filled.cursors[order_system_sensor.SENSOR] = None
    filled.tick(order_system_sensor.SENSOR)
    assert told()[1] is False
    change(url, 'ALTER TABLE offices RENAME COLUMN "zip" TO "postalCode"')
    filled.cursors[order_system_sensor.SENSOR] = None
    filled.tick(order_system_sensor.SENSOR)
    assert told()[1] is True


@pytest.mark.exhaustive
def test_a_warning_stops_nothing(filled: Platform) -> None:
    settings = filled.settings
    change(
        settings.order_system_url, "ALTER TABLE orders ADD COLUMN colour TEXT", "UPDATE orders SET status = 'Shipped'"
    )
    (request,) = filled.round()
    assert "warehouse/fact_orders" in tables(request)
    assert ask(settings, "SELECT DISTINCT status FROM warehouse.fact_orders") == [("Shipped",)]


@pytest.mark.exhaustive
def test_a_failed_read_is_asked_for_again_for_as_long_as_it_differs(
    platform: Platform, settings: Settings, clock: list[float]
) -> None:
    shop = Path(settings.order_system_url.removeprefix("sqlite:///"))
    platform.poll()
    (request,) = platform.ask()
    shop.rename(shop.with_suffix(".gone"))
    assert not platform.run(request).success
    platform.tick(order_system_sensor.SENSOR)
    assert str(platform.said).startswith("order system: not there, since ")
    assert "no such file" in str(platform.said)
    shop.with_suffix(".gone").rename(shop)
    clock[0] += 11
    platform.poll()
    # What hindered it is over: at once, and no minute later.
    (again,) = platform.ask()
    wanted = tables(request) - LANDED - {"staging/ratings", "staging/stock_counts"}
    assert wanted <= tables(again) <= tables(request) - LANDED
    assert months_of(again) == months_of(request)
    due = clock[0] + 300
    for wait in (900, 3600, 3600, 3600):
        clock[0] = due - 1
        platform.poll()
        assert platform.ask() == []
        clock[0] = due
        platform.poll()
        (again,) = platform.ask()
        # What lay at the landing zone was read: that is not asked for again.
        assert wanted <= tables(again) <= tables(request) - LANDED
        assert months_of(again) == months_of(request)
        due += wait
    assert "asked again 5 times for what was not read" in str(platform.reasons[order_system_sensor.SENSOR])
    assert platform.run(again).success
    clock[0] = due
    platform.poll()
    assert platform.ask() == []


@pytest.mark.exhaustive  # end_to_end/test_what_changed.py: what fails is tried again the next time
@pytest.mark.parametrize("how", ["failed", "stopped"])
def test_what_failed_or_was_stopped_is_asked_for_again_after_a_rest(
    how: str, filled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    fact, country, moment = "warehouse/fact_orders", "analytics/sales_by_country", [time.time()]
    url, make = filled.settings.order_system_url, asset.from_tables

    def broken(step: Step) -> Outcome:
        if step.contract.address in (fact, country):
            raise MemoryError
        return make(step)

    monkeypatch.setattr("classic_cars.automation.follow.time.time", lambda: moment[0])
    monkeypatch.setattr(condition_sensor, "EVALUATE_SECONDS", -1.0)
    change(url, "UPDATE orders SET status = 'Cancelled' WHERE orderDate LIKE '2003-03%'")
    filled.poll()
    (request,) = filled.ask()
    with monkeypatch.context() as patch:
        patch.setattr(asset, "from_tables", broken)
        assert not filled.run(request).success
    run = filled.instance.get_runs(limit=1)[0]
    if how == "stopped":
        filled.instance.run_storage.handle_run_event(
            run.run_id, dg.DagsterEvent(dg.DagsterEventType.RUN_CANCELED.value, run.job_name)
        )
        assert filled.instance.get_runs(limit=1)[0].status == dg.DagsterRunStatus.CANCELED
    ended = filled.instance.get_run_records(limit=1)[0].end_time
    assert ended is not None
    for moment[0] in (ended + 1, ended + 58):
        assert filled.ask() == []
    # What is made of it waits with it, whatever else it is made of.
    change(url, "UPDATE payments SET amount = amount + 1")
    filled.poll()
    (other,) = filled.ask()
    assert "warehouse/fact_payments" in tables(other)
    assert tables(other) & {fact, country, "analytics/customer_balances"} == set()
    assert filled.run(other).success
    moment[0] = ended + 61
    (again,) = filled.ask()
    assert {fact, country, "analytics/customer_balances"} <= tables(again)
    assert tables(again) & {"source/orders", "staging/orders"} == set()
    assert months_of(again) == ("2003-03", "2003-03")
    assert filled.run(again).success
    assert filled.ask() == []
    assert filled.stale() == set()
    assert published_sales(filled.settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(url), "country"
    )


@pytest.mark.exhaustive
def test_a_change_that_was_refused_with_another_months_is_published_once_that_one_is_mended(
    filled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, moment = filled.settings.order_system_url, [time.time()]
    monkeypatch.setattr("classic_cars.automation.follow.time.time", lambda: moment[0])
    monkeypatch.setattr(condition_sensor, "EVALUATE_SECONDS", -1.0)
    lines = (
        "UPDATE orderdetails SET {} WHERE orderNumber IN (SELECT orderNumber FROM orders WHERE orderDate LIKE '{}%')"
    )
    change(
        url,
        lines.format("quantityOrdered = -quantityOrdered", "2003-03"),
        lines.format("priceEach = priceEach + 1", "2003-04"),
    )
    filled.poll()
    (request,) = filled.ask()
    assert months_of(request) == ("2003-03", "2003-04")
    assert not filled.run(request).success
    assert filled.ask() == []
    change(url, lines.format("quantityOrdered = abs(quantityOrdered)", "2003-03"))
    filled.round()
    moment[0] = time.time() + 3700
    filled.round()
    assert filled.ask() == []
    assert filled.stale() == set()
    # What is made of all months waited for that one.
    assert len(filled.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))) == 1
    assert published_sales(filled.settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(url), "country"
    )
    assert incidents(filled) == []
