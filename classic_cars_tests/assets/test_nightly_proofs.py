"""What is found at night and healed by day, and when schedules run."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from classic_cars.automation import first_proof, order_system_sensor, schedules
from classic_cars.definitions import FULL_REFRESH, build_defs
from classic_cars.errors import StoreBusy
from classic_cars.settings import Settings
from classic_cars.sources.order_system import ControlTotals
from classic_cars.tables import recomputation
from classic_cars.tables.events import asset_key
from classic_cars.tables.live_agreement import CHECK, DIFFERENCES, MonthTotals, compare, disagreement
from classic_cars_tests.platform import (
    QUIET,
    ask,
    change,
    expected_sales,
    order_system_frames,
    published_sales,
)
from classic_cars_tests.unattended import Platform, months_of, tables

pytestmark = pytest.mark.usefixtures("restless")


# The nightly proof -------------------------------------------------------------------------------------

TODAY = date(2004, 3, 10)


@pytest.mark.parametrize(
    ("live", "held", "differs"),
    [
        (ControlTotals(3, 500, 0), MonthTotals(3, 0, 500), False),
        (ControlTotals(3, 500, 0), MonthTotals(3, 0, 499), True),
        (ControlTotals(3, 500, 0), MonthTotals(2, 0, 500), True),
        (ControlTotals(3, 500, 0), MonthTotals(2, 1, 400), True),
        (ControlTotals(3, 500, 0), MonthTotals(2, 1, 500), False),
        (ControlTotals(3, 500, 0), MonthTotals(1, 1, 500), True),
    ],
)
def test_a_month_agrees_in_rows_and_cents(live: ControlTotals, held: MonthTotals, differs: bool) -> None:
    assert bool(compare({"2004-02": live}, {"2004-02": held}, TODAY)) is differs


def test_an_open_month_is_left_out_and_a_month_on_one_side_only_differs() -> None:
    one, here = ControlTotals(1, 1, 0), MonthTotals(1, 0, 1)
    assert compare({"2004-03": one}, {}, TODAY) == {}
    assert list(compare({"2004-01": one}, {"2004-02": here}, TODAY)) == ["2004-01", "2004-02"]


def reconcile(platform: Platform) -> dg.AssetCheckEvaluation:
    result = platform.defs.resolve_job_def(schedules.RECONCILIATION).execute_in_process(
        instance=platform.instance,
        tags={"dagster/asset_partition_range_start": "2003-08", "dagster/asset_partition_range_end": "2003-08"},
        run_config=QUIET,
    )
    (found,) = [each for each in result.get_asset_check_evaluations() if each.asset_check_key == CHECK]
    return found


@pytest.mark.exhaustive
def test_a_change_that_nobody_noticed_is_found_at_night_and_healed(filled: Platform, clock: list[float]) -> None:
    settings = filled.settings
    assert reconcile(filled).passed
    url = settings.order_system_url
    first = "SELECT strftime(orderDate, '%Y-%m'), count(*) FROM warehouse.fact_orders GROUP BY 1 ORDER BY 1 LIMIT 1"
    ((month, lines),) = ask(settings, first)
    of_month = f"(SELECT orderNumber FROM orders WHERE strftime('%Y-%m', orderDate) = '{month}')"
    change(
        url,
        f"UPDATE orderdetails SET priceEach = priceEach + 0.01 WHERE orderNumber IN {of_month}",
        # In no fact and no answer, and in a table without months.
        "UPDATE customers SET phone = phone || '0' WHERE customerNumber = (SELECT min(customerNumber) FROM customers)",
    )
    # As if somebody had deleted the run that was asked for.
    filled.poll()
    assert filled.ask()
    assert filled.round() == []
    found = reconcile(filled)
    assert not found.passed
    assert "1 of" in str(found.description)
    numbers: Any = found.metadata[DIFFERENCES].value
    assert list(numbers) == [month]
    assert numbers[month]["rows in fact_orders"] == lines
    assert "source/customers differs" in str(found.description)
    assert disagreement(filled.instance)[1] == [month, "customers"]
    request, *_ = filled.round()
    read = {each for each in tables(request) if each.startswith("source/")}
    assert read == {"source/orders", "source/orderdetails", "source/customers"}
    assert months_of(request)[0] == month
    # Whoever lost what was known of the order system, as a new daemon has, does not ask for it again and again.
    filled.cursors[order_system_sensor.SENSOR] = None
    filled.instance.daemon_cursor_storage.set_cursor_values({order_system_sensor.FINGERPRINTS: ""})
    assert len(filled.round()) <= 1
    filled.instance.daemon_cursor_storage.set_cursor_values({order_system_sensor.FINGERPRINTS: ""})
    assert filled.round() == []
    assert reconcile(filled).passed
    assert filled.round() == []
    assert published_sales(settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(url), "country"
    )


def recompute(platform: Platform) -> set[str]:
    """The tables that the nightly recomputation finds different."""
    result = platform.defs.resolve_job_def(schedules.RECOMPUTATION).execute_in_process(
        instance=platform.instance, run_config=QUIET
    )
    return {each.asset_key.to_user_string() for each in result.get_asset_check_evaluations() if not each.passed}


@pytest.mark.exhaustive
def test_partial_aggregates_that_were_tampered_with_are_found_at_night_and_healed(filled: Platform) -> None:
    settings = filled.settings
    partial, country = "analytics/monthly_sales_by_customer", "analytics/sales_by_country"
    assert recompute(filled) == set()
    assert filled.round() == []
    with duckdb.connect(str(settings.store_path)) as connection:
        connection.execute(
            "UPDATE analytics.monthly_sales_by_customer SET netSales = netSales - 1 WHERE orderMonth = '2003-04-01'"
        )
        connection.execute("UPDATE analytics.sales_by_country SET orders = orders + 1 WHERE country = 'France'")
    assert recompute(filled) == {partial, country}
    (request,) = filled.round()
    follow = {f"analytics/{name}" for name in ("sales_by_month", "customer_balances", "customer_cohorts")}
    assert {partial, country} <= tables(request) <= {partial, country, *follow}
    assert months_of(request) == ("2003-04", "2003-04")
    assert recompute(filled) == set()
    assert filled.round() == []
    assert published_sales(settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(settings.order_system_url), "country"
    )


def test_months_are_compared_at_night_although_an_input_was_made_again_as_it_was(filled: Platform) -> None:
    fact = "warehouse/fact_orders"
    again = [dg.AssetKey(["staging", "customers"])]
    assert filled.run(dg.RunRequest(asset_selection=again)).success
    with duckdb.connect(str(filled.settings.store_path)) as connection:
        connection.execute(
            "UPDATE warehouse.fact_orders SET comments = 'x' WHERE strftime(orderDate, '%Y-%m') = '2003-04'"
        )
    assert recompute(filled) >= {fact}
    found, months = recomputation.disagreement(filled.instance, asset_key(fact))
    assert found > 0
    assert months == ["2003-04"]


@pytest.mark.exhaustive
def test_a_night_that_was_broken_off_takes_back_nothing_of_the_one_before(
    filled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    fact = asset_key("warehouse/fact_orders")
    with duckdb.connect(str(filled.settings.store_path)) as connection:
        connection.execute(
            "UPDATE warehouse.fact_orders SET comments = 'x' WHERE strftime(orderDate, '%Y-%m') = '2003-04'"
        )
    recompute(filled)
    before = recomputation.disagreement(filled.instance, fact)
    assert before[1] == ["2003-04"]

    def broken(*_: object) -> dg.AssetCheckResult:
        raise MemoryError

    def busy(*_: object) -> dg.AssetCheckResult:
        raise StoreBusy("somebody has the store")

    for night in (broken, busy):
        monkeypatch.setattr(recomputation, "compared", night)
        with suppress(MemoryError):
            recompute(filled)
        assert recomputation.disagreement(filled.instance, fact) == before


@pytest.mark.exhaustive
def test_a_new_platform_is_proven_once_before_its_first_night(filled: Platform) -> None:
    requests = filled.tick(first_proof.SENSOR)
    assert {each.job_name for each in requests} == {schedules.RECONCILIATION, schedules.RECOMPUTATION}
    # Dagster launches a run key once: asked for again while it is queued, it is not launched again.
    assert {each.run_key for each in filled.tick(first_proof.SENSOR)} == {each.run_key for each in requests}
    for each in requests:
        ran = filled.defs.resolve_job_def(each.job_name or "").execute_in_process(
            instance=filled.instance, tags=dict(each.tags), run_config=QUIET
        )
        assert ran.success
    assert filled.tick(first_proof.SENSOR) == []
    assert "every night" in str(filled.said)


def test_nothing_is_proven_before_all_tables_are_there_or_while_something_runs(
    filled: Platform, platform: Platform
) -> None:
    assert platform.tick(first_proof.SENSOR) == []
    assert "not all tables" in str(platform.said)
    filled.instance.create_run_for_job(filled.defs.resolve_job_def(FULL_REFRESH), status=dg.DagsterRunStatus.STARTED)
    assert filled.tick(first_proof.SENSOR) == []
    assert "waits for run" in str(filled.said)


@pytest.mark.exhaustive
def test_what_cannot_be_healed_is_asked_for_once_a_night(filled: Platform) -> None:
    """The sales of a month that does not exist: nothing makes it again, and nothing is asked for without end."""
    with duckdb.connect(str(filled.settings.store_path)) as connection:
        connection.execute(
            "UPDATE analytics.sales_by_month SET orderMonth = '1950-01-01' WHERE orderMonth = '2003-04-01'"
        )
    assert recompute(filled) == {"analytics/sales_by_month"}
    (request,) = filled.round()
    assert (tables(request), months_of(request)) == ({"analytics/sales_by_month"}, ("2003-04", "2003-04"))
    assert filled.round() == []
    assert recompute(filled) == {"analytics/sales_by_month"}


# Schedules ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize(
    "cron", [schedules.RECOMPUTED, schedules.NIGHTLY, schedules.MAINTENANCE, schedules.REPORTED, schedules.MORNING]
)
def test_every_day_of_a_year_has_each_schedule_once_whatever_the_clocks_do(zone: str, cron: str) -> None:
    from zoneinfo import ZoneInfo

    from dagster._utils.schedules import cron_string_iterator

    start = datetime(2026, 1, 1, tzinfo=UTC)
    days = []
    for moment in cron_string_iterator(start.timestamp(), cron, zone):
        if moment >= start + timedelta(days=365):
            break
        local = moment.astimezone(ZoneInfo(zone))
        assert f"{local.minute} {local.hour} * * *" == cron
        days.append(local.date())
    assert len(days) == len(set(days)) == 365


def test_schedules_run_in_the_time_zone_of_the_settings(tmp_path: Path) -> None:
    defs = build_defs(Settings(home=tmp_path, timezone="Europe/Paris"))
    found = {each.name: each.execution_timezone for each in defs.get_repository_def().schedule_defs}
    assert found == dict.fromkeys(
        ["nightly_recomputation", "nightly_reconciliation", "maintenance", "sales_report", "morning_report"],
        "Europe/Paris",
    )


def test_the_report_and_the_upkeep_run(filled: Platform) -> None:
    for job in ("sales_report", "morning_report", "maintenance"):
        result = filled.defs.resolve_job_def(job).execute_in_process(
            instance=filled.instance, raise_on_error=False, run_config=QUIET
        )
        failed = [event.step_failure_data.error_display_string for event in result.all_events if event.is_step_failure]
        assert result.success, failed
