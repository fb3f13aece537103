"""Sensors and conditions through Dagster: what a change has made, and what it never does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.automation import landing_sensor
from classic_cars.automation.follow import LINES
from classic_cars.automation.history import FOLLOWS, behind, rows_of_months
from classic_cars.automation.requests import CHANGED
from classic_cars.automation.staleness import recorded, stale
from classic_cars.contracts.base import Contract
from classic_cars.definitions import FULL_REFRESH, build_defs
from classic_cars.errors import SourceUnreachable
from classic_cars.months import Months, month_of, partition_key
from classic_cars.runs.selecting import job_of
from classic_cars.settings import Settings
from classic_cars.stores import published
from classic_cars.stores.duckdb.store import DuckDBStore
from classic_cars.tables.external import observed
from classic_cars.tables.held import held
from classic_cars.tables.live_agreement import CHECK, disagreement
from classic_cars.tables.partitions import add_months, known_months
from classic_cars.tables.run_tags import range_tags
from classic_cars.tables.table import Catalog
from classic_cars_tests.platform import (
    QUIET,
    ask,
    change,
    expected_sales,
    order_system_frames,
    published_sales,
    swapped,
)
from classic_cars_tests.unattended import Platform, incidents, months_of, tables

CATALOG = Catalog(ALL_TABLES)
CONTRACTS_OF_ALL = [each.contract for each in ALL_TABLES]
pytestmark = pytest.mark.usefixtures("restless")


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


@pytest.mark.exhaustive  # test_kept_months.py has what stays, and a run of a sensor in which it does
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


@pytest.mark.exhaustive  # the requests alone: unit/test_requests.py
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


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
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


def test_the_live_check_is_no_part_of_making_the_table(filled: Platform) -> None:
    assert disagreement(filled.instance) == (0, [])
    (request,) = [each for each in filled.requests if "warehouse/fact_orders" in tables(each)]
    assert request.asset_check_keys
    assert CHECK not in request.asset_check_keys


def test_every_table_has_an_owner_and_answers_have_a_freshness_policy(tmp_path: Path) -> None:
    defs = build_defs(Settings(home=tmp_path))
    made = defs.get_repository_def().asset_graph.materializable_asset_keys
    for spec in [each for each in defs.resolve_all_asset_specs() if each.key in made]:
        assert spec.owners
        assert spec.tags["layer"] == spec.key.path[0]
        assert (spec.freshness_policy is not None) == (spec.key.path[0] == "analytics")
