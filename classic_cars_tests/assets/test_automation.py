"""Sensors, conditions and schedules through Dagster: what is asked for, and what never is."""

from __future__ import annotations

import pickle
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from classic_cars.assets import ALL_TABLES
from classic_cars.automation import condition_sensor, first_proof, landing_sensor, order_system_sensor, schedules
from classic_cars.automation.alerts.incidents import Incident, Links, begun
from classic_cars.automation.alerts.observe import observe
from classic_cars.automation.follow import LINES
from classic_cars.automation.history import FOLLOWS, behind, rows_of_months
from classic_cars.automation.requests import CHANGED
from classic_cars.automation.staleness import recorded, stale
from classic_cars.contracts.base import Contract
from classic_cars.definitions import FULL_REFRESH, build_defs
from classic_cars.errors import SourceUnreachable, StoreBusy
from classic_cars.instance import open_instance
from classic_cars.months import Months, month_of, partition_key
from classic_cars.runs.selecting import job_of
from classic_cars.settings import Settings
from classic_cars.sources.order_system import ControlTotals
from classic_cars.stores import published
from classic_cars.stores.duckdb.store import DuckDBStore
from classic_cars.tables import asset, recomputation
from classic_cars.tables.events import key_of
from classic_cars.tables.external import observed
from classic_cars.tables.held import held
from classic_cars.tables.live_agreement import CHECK, DIFFERENCES, MonthTotals, compare, disagreement
from classic_cars.tables.partitions import add_months, known_months
from classic_cars.tables.run_tags import range_tags
from classic_cars.tables.step import Outcome, Step
from classic_cars.tables.table import Catalog
from classic_cars_shop import api as simulator
from classic_cars_tests.platform import (
    QUIET,
    ask,
    change,
    expected_sales,
    order_system_frames,
    published_sales,
    swapped,
)
from classic_cars_tests.shared import once

CATALOG = Catalog(ALL_TABLES)
CONTRACTS_OF_ALL = [each.contract for each in ALL_TABLES]
LANDED = {"source/ratings", "source/stock_counts"}


@pytest.fixture
def settings(tmp_path: Path, shop_copy: Path) -> Settings:
    return Settings(home=tmp_path / "home", source_url=f"sqlite:///{shop_copy}")


@pytest.fixture
def shop_copy(tmp_path: Path, shop_file: Path) -> Path:
    copy = tmp_path / "shop.sqlite"
    copy.write_bytes(shop_file.read_bytes())
    return copy


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


class Platform:
    """A platform that runs itself: each call is one round of the daemon, with runs in this process."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        self.defs = build_defs(settings)
        self.cursors: dict[str, str | None] = {}
        self.requests: list[dg.RunRequest] = []
        self.reasons: dict[str, str | None] = {}

    def tick(self, sensor: str) -> list[dg.RunRequest]:
        """One evaluation; the reason of a skip is kept in ``said``."""
        definition: Any = self.defs.resolve_sensor_def(sensor)
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(sensor),
            definitions=self.defs,
            sensor_name=sensor,
            resources={key: (self.defs.resources or {})[key] for key in definition.required_resource_keys},
        ) as context:
            data = definition.evaluate_tick(context)
        self.cursors[sensor], self.said = data.cursor, data.skip_message
        self.reasons[sensor] = data.skip_message
        for event in data.asset_events:
            self.instance.report_runless_asset_event(event)
        self.requests += data.run_requests or []
        return data.run_requests or []

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        return job_of(self.defs, request.asset_selection or []).execute_in_process(
            instance=self.instance,
            tags={**request.tags, **({"dagster/run_key": request.run_key} if request.run_key else {})},
            raise_on_error=False,
            run_config=QUIET,
        )

    def poll(self) -> None:
        """Polls of the order system, as many as it takes for them to agree."""
        for _ in range(3):
            self.tick(order_system_sensor.SENSOR)

    def ask(self) -> list[dg.RunRequest]:
        return self.tick(condition_sensor.SENSOR)

    def round(self) -> list[dg.RunRequest]:
        """Everything that follows from what changed, until nothing more is asked for."""
        self.tick(landing_sensor.SENSOR)
        self.poll()
        done = []
        while requests := self.ask():
            for request in requests:
                self.run(request)
                done.append(request)
            assert len(done) < 12
        return done

    def checks(self) -> list[dg.AssetCheckKey]:
        return [*self.defs.get_repository_def().asset_graph.asset_check_keys]

    def stale(self) -> set[tuple[str, str | None]]:
        """Tables and months that Dagster's web page shows as out of sync, or as missing."""
        graph = self.defs.get_repository_def().asset_graph
        months = self.instance.get_dynamic_partitions("months")
        resolver = CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))
        return {
            (key.to_user_string(), month)
            for key in graph.materializable_asset_keys
            for month in (months if graph.get(key).is_partitioned else [None])
            if resolver.get_status(key, month) != StaleStatus.FRESH
        }


@pytest.fixture(autouse=True)
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rest between looks."""
    monkeypatch.setattr("classic_cars.automation.watching.SHARE", 1.0)


@pytest.fixture
def platform(settings: Settings, instance: dg.DagsterInstance) -> Platform:
    return Platform(settings, instance)


@pytest.fixture(scope="module")
def filled_once(tmp_path_factory: pytest.TempPathFactory, shop_file: Path) -> Path:
    """A platform that filled itself from nothing, with all its files in one folder; the daemon's memory beside them."""

    def make(folder: Path) -> None:
        (folder / "shop.sqlite").write_bytes(shop_file.read_bytes())
        settings = Settings(home=folder / "home", source_url=f"sqlite:///{folder / 'shop.sqlite'}")
        with pytest.MonkeyPatch.context() as patch, open_instance(settings) as instance:
            patch.setattr("classic_cars.automation.watching.SHARE", 1.0)
            filling = Platform(settings, instance)
            filling.round()
        (folder / "remembered").write_bytes(pickle.dumps((filling.cursors, filling.requests)))

    return once(tmp_path_factory, "filled", make)


@pytest.fixture
def filled(filled_once: Path, tmp_path: Path) -> Iterator[Platform]:
    """A copy of it, for one test."""
    copy = shutil.copytree(filled_once, tmp_path / "filled")
    settings = Settings(home=copy / "home", source_url=f"sqlite:///{copy / 'shop.sqlite'}")
    with open_instance(settings) as instance:
        opened = Platform(settings, instance)
        opened.cursors, opened.requests = pickle.loads((copy / "remembered").read_bytes())
        yield opened


def tables(request: dg.RunRequest) -> set[str]:
    return {key.to_user_string() for key in request.asset_selection or []}


def months_of(request: dg.RunRequest) -> tuple[str | None, str | None]:
    return tuple(request.tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))  # type: ignore[return-value]


@pytest.fixture(params=["duckdb", pytest.param("iceberg", marks=pytest.mark.exhaustive)])
def from_nothing(request: pytest.FixtureRequest, tmp_path: Path, shop_copy: Path) -> Platform:
    """A platform that filled itself, on each store."""
    if request.param == "duckdb":
        return request.getfixturevalue("filled")
    settings = Settings(home=tmp_path / "home", source_url=f"sqlite:///{shop_copy}", store="iceberg")
    filling = Platform(settings, request.getfixturevalue("instance"))
    filling.round()
    return filling


def test_from_nothing_to_the_answers_and_then_only_what_changed(from_nothing: Platform) -> None:
    platform, settings = from_nothing, from_nothing.settings
    (everything,) = platform.requests
    assert tables(everything) == {each.address for each in ALL_TABLES}
    url = settings.order_system_url
    assert published_sales(settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(url), "country"
    )
    assert platform.round() == []
    assert platform.said
    assert platform.stale() == set()

    # An old order is edited: its month, and what is made from it.
    ((number, day),) = ask(settings, "SELECT orderNumber, orderDate FROM source.orders ORDER BY orderDate LIMIT 1")
    change(url, f"UPDATE orders SET status = 'Disputed' WHERE orderNumber = {number}")
    platform.poll()
    month = f"{day:%Y-%m}"
    assert platform.stale() == {("source/orders", month)}
    (request,) = platform.round()
    assert platform.stale() == set()
    assert {"source/orders", "staging/orders", "warehouse/fact_orders", "analytics/sales_by_country"} <= tables(request)
    assert months_of(request) == (month, month)
    assert f"fact_orders {month}" in request.tags[CHANGED]
    # Dimensions that infer members of orders follow them; those that do not, do not.
    others = {"source/orderdetails", "staging/customers", "staging/products", "warehouse/dim_employees"}
    assert not tables(request) & others
    assert ask(settings, f"SELECT DISTINCT status FROM warehouse.fact_orders WHERE orderNumber = {number}") == [
        ("Disputed",)
    ]

    # A price changes: a table without months, and every month of the facts made from it.
    change(url, "UPDATE products SET buyPrice = buyPrice + 1")
    (request,) = platform.round()
    assert {"source/products", "warehouse/fact_orders"} <= tables(request)
    assert not tables(request) & {"source/orders", "source/orderdetails", "staging/orders"}
    assert months_of(request)[0] == "2003-01"
    assert published_sales(settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(url), "country"
    )


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
@pytest.mark.usefixtures("large")
def test_months_far_from_each_other_are_made_before_what_is_made_of_all_months(filled: Platform) -> None:
    first, *_, last = known_months(filled.instance)
    line = "(SELECT min(orderNumber) FROM orders WHERE orderDate LIKE '{}%')"
    change(
        filled.settings.order_system_url,
        *(
            f"UPDATE orderdetails SET priceEach = priceEach + 1 WHERE orderNumber = {line.format(month)}"
            for month in (first, last)
        ),
    )
    filled.poll()
    ran = []
    while requests := filled.ask():
        ran += [filled.run(each) for each in requests]
    assert [each.success for each in ran] == [True] * 4
    assert filled.stale() == set()


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


def test_months_that_a_change_has_nothing_to_do_with_stay_as_they_are(filled: Platform) -> None:
    """Every month of facts is made of customers, of which none reads a telephone number."""

    def held() -> str:
        with published(filled.settings) as store:
            return store.published_by(["warehouse/fact_orders"])["warehouse/fact_orders"].text()

    before = held()
    change(filled.settings.order_system_url, "UPDATE customers SET phone = phone || '0'")
    assert "warehouse/fact_orders" in {table for request in filled.round() for table in tables(request)}
    assert held() == before
    assert filled.stale() == set()
    assert incidents(filled) == []


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
        pytest.param(
            {"orphans": ("staging/orderdetails", "orderNumber is not in staging/orders")}, marks=pytest.mark.exhaustive
        ),
    ],
    ids=", ".join,
)
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


def incidents(platform: Platform) -> Sequence[Incident]:
    repository: Any = platform.defs.get_repository_def()
    specs = [spec for each in repository.assets_defs_by_key.values() for spec in each.specs]
    return observe(platform.instance, specs, repository.asset_graph.asset_check_keys, [], time.time()).incidents


def test_what_somebody_made_before_its_inputs_changed_is_made_again(filled: Platform) -> None:
    """Both between two ticks, as the nightly job makes answers while orders arrive."""
    url, country = filled.settings.order_system_url, "analytics/sales_by_country"
    assert filled.ask() == []
    change(url, "UPDATE orders SET status = 'Cancelled' WHERE orderDate LIKE '2003-03%'")
    march = range_tags(*[month_of("2003-03")] * 2)
    upstream = ["source/orders", "staging/orders", "warehouse/fact_orders"]
    upstream += [f"warehouse/dim_{name}" for name in ("customers", "dates", "locations", "products")]
    upstream += [f"analytics/monthly_sales_by_{name}" for name in ("customer", "product")]
    for addresses in ([country], upstream):
        keys = [dg.AssetKey(each.split("/")) for each in addresses]
        assert filled.run(dg.RunRequest(asset_selection=keys, tags=march)).success
    (request,) = filled.ask()
    assert country in tables(request)


@pytest.mark.exhaustive
def test_a_warning_stops_nothing(filled: Platform) -> None:
    settings = filled.settings
    change(
        settings.order_system_url, "ALTER TABLE orders ADD COLUMN colour TEXT", "UPDATE orders SET status = 'Shipped'"
    )
    (request,) = filled.round()
    assert "warehouse/fact_orders" in tables(request)
    assert ask(settings, "SELECT DISTINCT status FROM warehouse.fact_orders") == [("Shipped",)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that sensors see; it moves when somebody moves it."""
    moment = [time.time()]
    monkeypatch.setattr("classic_cars.automation.order_system_sensor.time.time", lambda: moment[0])
    return moment


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


@pytest.mark.exhaustive
def test_a_month_before_all_others_is_noticed_and_read_and_so_are_rows_without_one(filled: Platform) -> None:
    settings = filled.settings
    ((number,),) = ask(settings, "SELECT min(orderNumber) FROM source.orders WHERE orderMonth = '2003-02-01'")
    change(settings.order_system_url, f"UPDATE orders SET orderDate = '2002-11-05' WHERE orderNumber = {number}")
    filled.round()
    months = "SELECT DISTINCT strftime(orderDate, '%Y-%m') FROM warehouse.fact_orders ORDER BY 1"
    assert ask(settings, months)[0] == ("2002-11",)
    # An order line without an order is of no month: it comes before all of them.
    line = "SELECT 9999, productCode, quantityOrdered, priceEach, orderLineNumber FROM orderdetails LIMIT 1"
    change(settings.order_system_url, f"INSERT INTO orderdetails {line}")
    filled.round()
    assert ask(settings, "SELECT _reason FROM quarantine.orderdetails") == [("orderNumber is not in staging/orders",)]
    assert known_months(filled.instance) == sorted(known_months(filled.instance))


@pytest.mark.exhaustive
def test_an_order_that_moved_in_a_small_shop_is_one_run_of_both_months(filled: Platform) -> None:
    ((number,),) = ask(filled.settings, "SELECT min(orderNumber) FROM source.orders WHERE orderMonth = '2003-02-01'")
    days = "orderDate = '2003-06-15', requiredDate = '2003-06-25', shippedDate = NULL"
    change(filled.settings.order_system_url, f"UPDATE orders SET {days} WHERE orderNumber = {number}")
    (request,) = filled.round()
    assert months_of(request) == ("2003-02", "2003-06")
    assert filled.stale() == set()


@pytest.mark.usefixtures("large")
def test_an_order_that_moved_in_a_large_shop_is_read_by_one_run_that_nobody_refuses(filled: Platform) -> None:
    settings = filled.settings
    ((number,),) = ask(settings, "SELECT min(orderNumber) FROM source.orders WHERE orderMonth = '2003-02-01'")
    change(
        settings.order_system_url,
        "UPDATE orders SET orderDate = '2003-07-15', requiredDate = '2003-07-25', shippedDate = NULL "
        f"WHERE orderNumber = {number}",
    )
    filled.poll()
    (read,) = filled.ask()
    assert months_of(read) == ("2003-02", "2003-07")
    assert filled.run(read).success
    filled.round()
    assert ask(
        settings,
        f"SELECT DISTINCT strftime(orderDate, '%Y-%m') FROM warehouse.fact_orders WHERE orderNumber = {number}",
    ) == [("2003-07",)]
    assert filled.stale() == set()


@pytest.mark.exhaustive
@pytest.mark.usefixtures("large")
def test_where_it_is_not_known_whether_orders_moved_the_refused_months_are_read_together(
    filled: Platform, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> set[tuple[str, str]]:
        raise SourceUnreachable("away for a moment")

    settings = filled.settings
    ((number,),) = ask(settings, "SELECT min(orderNumber) FROM source.orders WHERE orderMonth = '2003-02-01'")
    days = "orderDate = '2003-06-15', requiredDate = '2003-06-25', shippedDate = NULL"
    change(settings.order_system_url, f"UPDATE orders SET {days} WHERE orderNumber = {number}")
    filled.poll()
    with monkeypatch.context() as patch:
        patch.setattr("classic_cars.definitions.moved_orders", unknown)
        apart = filled.ask()
    assert [months_of(each) for each in apart] == [("2003-02", "2003-02"), ("2003-06", "2003-06")]
    assert [filled.run(each).success for each in apart] == [False, True]
    clock[0] += 61
    filled.poll()  # the order left a month that was not read with the one that it is in now
    (together,) = filled.ask()
    assert months_of(together) == ("2003-02", "2003-06")
    assert filled.run(together).success
    filled.round()
    assert filled.stale() == set()


@pytest.mark.exhaustive
@pytest.mark.usefixtures("large")
def test_an_order_that_lost_its_date_in_a_large_shop_is_read_where_it_is_now_first(filled: Platform) -> None:
    url = filled.settings.order_system_url
    ((number,),) = ask(filled.settings, "SELECT min(orderNumber) FROM source.orders WHERE orderMonth = '2003-07-01'")
    change(url, f"UPDATE orders SET orderDate = '' WHERE orderNumber = {number}")
    for first, last in (("1900-01", "2003-07"), ("2003-07", "1900-01")):
        filled.poll()
        read = filled.ask()
        assert [months_of(each) for each in read] == [(first, first), (last, last)]
        assert [filled.run(each).success for each in read] == [True, True]
        filled.round()
        change(url, f"UPDATE orders SET orderDate = '2003-07-03' WHERE orderNumber = {number}")
    assert filled.stale() == set()


def test_a_change_that_is_observed_while_a_month_is_published_is_read_afterwards(
    filled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, size, edits = filled.settings.order_system_url, DuckDBStore.size, ["first"]

    def edit(comments: str) -> None:
        change(url, f"UPDATE orders SET comments = '{comments}' WHERE orderDate LIKE '2003-03%'")
        filled.poll()

    def meanwhile(store: DuckDBStore, contract: Contract) -> Any:
        """The rows are published; Dagster has not been told so yet."""
        if contract.address == "source/orders" and edits == ["first"]:
            edits.append("second")
            edit("second")
        return size(store, contract)

    edit("first")
    (request,) = filled.ask()
    monkeypatch.setattr(DuckDBStore, "size", meanwhile)
    assert filled.run(request).success
    assert edits == ["first", "second"]
    with published(filled.settings) as store:
        record = recorded(filled.instance, filled.defs.get_repository_def().asset_graph, held(store, CONTRACTS_OF_ALL))
    assert stale(record)["source/orders"] == {"2003-03"}
    filled.round()
    said = "SELECT DISTINCT comments FROM warehouse.fact_orders WHERE orderDate BETWEEN '2003-03-01' AND '2003-03-31'"
    assert ask(filled.settings, said) == [("second",)]


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
    moment[0] = ended + 61
    (again,) = filled.ask()
    assert {fact, country} <= tables(again)
    assert tables(again) & {"source/orders", "staging/orders"} == set()
    assert months_of(again) == ("2003-03", "2003-03")
    assert filled.run(again).success
    assert filled.ask() == []
    assert filled.stale() == set()
    assert published_sales(filled.settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(url), "country"
    )


def test_one_change_ends_before_the_next_is_asked_for(platform: Platform, instance: dg.DagsterInstance) -> None:
    platform.poll()
    full_refresh = platform.defs.resolve_job_def(FULL_REFRESH)
    made = instance.create_run_for_job(full_refresh, tags={FOLLOWS: "x"}, status=dg.DagsterRunStatus.STARTED)
    assert platform.ask() == []
    assert str(platform.said) == f"waits for run {made.run_id}, which makes what changed before"
    instance.delete_run(made.run_id)
    assert platform.ask()
    assert platform.ask() == []
    assert platform.said == "nothing new"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every shop counts as a large one."""
    monkeypatch.setattr("classic_cars.automation.follow.FEW_LINES", 0)


@pytest.mark.usefixtures("large")
def test_a_large_shop_reads_what_changed_and_then_makes_what_follows_from_what_came_out(filled: Platform) -> None:
    url = filled.settings.order_system_url
    assert (
        rows_of_months(filled.instance, LINES) == ask(filled.settings, "SELECT count(*) FROM source.orderdetails")[0][0]
    )
    # Two months far from each other, and a product, of which all months are made.
    first, last = known_months(filled.instance)[0], known_months(filled.instance)[-1]
    change(
        url,
        f"UPDATE orders SET comments = 'large' WHERE substr(orderDate, 1, 7) IN ('{first}', '{last}')",
        "UPDATE products SET buyPrice = buyPrice + 1",
    )
    one, other, follows = filled.round()
    assert (tables(one), months_of(one)) == ({"source/orders"}, (first, first))
    assert (tables(other), months_of(other)) == ({"source/orders", "source/products"}, (last, last))
    assert not any(each.startswith("source/") for each in tables(follows))
    assert months_of(follows) == (first, last)
    assert filled.stale() == set()
    assert published_sales(filled.settings, "sales_by_country", "country") == expected_sales(
        order_system_frames(url), "country"
    )


def test_a_deployed_fix_does_not_wait_for_its_inputs_to_move(filled: Platform) -> None:
    mended = swapped(
        "staging/orders",
        lambda orders: CATALOG["staging/orders"].function(orders.mutate(comments=orders.comments.upper())),
    )
    filled.defs = build_defs(filled.settings, tables=mended)
    (request,) = filled.ask()
    assert {"staging/orders", "warehouse/fact_orders", "analytics/sales_by_month"} <= tables(request)
    assert not tables(request) & {"staging/customers", "staging/payments"}
    assert months_of(request) == ("2003-01", "2003-08")
    assert filled.ask() == []


def test_whoever_observes_by_hand_sees_the_same_versions(platform: Platform, instance: dg.DagsterInstance) -> None:
    platform.tick(landing_sensor.SENSOR)
    platform.poll()
    every = platform.defs.resolve_implicit_global_asset_job_def()
    for key in (dg.AssetKey(["order_system", "products"]), dg.AssetKey(["landing", "ratings"])):
        before = observed(instance, key, partitioned=False)
        job = every.get_subset(asset_selection={key})
        assert job.execute_in_process(instance=instance, run_config=QUIET).success
        assert observed(instance, key, partitioned=False) == before


@pytest.mark.exhaustive
def test_what_changed_while_nobody_watched_is_seen_at_the_first_look(platform: Platform, settings: Settings) -> None:
    full_refresh = platform.defs.resolve_job_def(FULL_REFRESH)
    add_months(platform.instance, map(partition_key, Months.parse("2003-01..2003-08")))
    months = {"dagster/asset_partition_range_start": "2003-01", "dagster/asset_partition_range_end": "2003-08"}
    done = full_refresh.execute_in_process(instance=platform.instance, tags=months, run_config=QUIET)
    assert done.success
    # Read again, and nothing made of it: as if the daemon had died then.
    source = [dg.AssetKey(["source", "orders"])]
    march = {"dagster/asset_partition_range_start": "2003-03", "dagster/asset_partition_range_end": "2003-03"}
    change(settings.order_system_url, "UPDATE orders SET status = 'Disputed' WHERE orderDate LIKE '2003-03%'")
    again = job_of(platform.defs, source)
    assert again.execute_in_process(instance=platform.instance, tags=march, run_config=QUIET).success
    (request,) = platform.ask()
    assert "staging/orders" in tables(request)
    assert months_of(request) == ("2003-03", "2003-03")
    platform.run(request)
    disputed = "SELECT DISTINCT status FROM warehouse.fact_orders WHERE orderDate BETWEEN '2003-03-01' AND '2003-03-31'"
    assert ask(settings, disputed) == [("Disputed",)]
    assert platform.ask() == []


@pytest.mark.parametrize(
    ("own", "made", "partitioned", "found"),
    [
        ({}, {}, False, set()),
        ({}, {"": 3}, False, {""}),
        ({"": 4}, {"": 3}, False, set()),
        ({"": 4}, {"2003-01": 3, "2003-02": 5}, False, {""}),
        ({"2003-01": 4, "2003-02": 4}, {"2003-01": 3, "2003-02": 5, "2003-03": 1}, True, {"2003-02", "2003-03"}),
        ({"2003-01": 4, "2003-02": 6}, {"": 5}, True, {"2003-01"}),
        ({}, {"": 5}, True, set()),
    ],
)
def test_what_is_older_than_an_input_is_behind(
    own: dict[str, int], made: dict[str, int], partitioned: bool, found: set[str]
) -> None:
    assert behind(own, made, partitioned=partitioned) == found


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
    found, months = recomputation.disagreement(filled.instance, key_of(fact))
    assert found > 0
    assert months == ["2003-04"]


def test_a_night_that_was_broken_off_takes_back_nothing_of_the_one_before(
    filled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    fact = key_of("warehouse/fact_orders")
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


def test_the_live_check_is_no_part_of_making_the_table(filled: Platform) -> None:
    assert disagreement(filled.instance) == (0, [])
    (request,) = [each for each in filled.requests if "warehouse/fact_orders" in tables(each)]
    assert request.asset_check_keys
    assert CHECK not in request.asset_check_keys


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


def test_every_table_has_an_owner_and_answers_have_a_freshness_policy(tmp_path: Path) -> None:
    defs = build_defs(Settings(home=tmp_path))
    made = defs.get_repository_def().asset_graph.materializable_asset_keys
    for spec in [each for each in defs.resolve_all_asset_specs() if each.key in made]:
        assert spec.owners
        assert spec.tags["layer"] == spec.key.path[0]
        assert (spec.freshness_policy is not None) == (spec.key.path[0] == "analytics")
