"""`classic-cars run` makes what changed and nothing else, and what it leaves alone is proven to be as it was."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from classic_cars import interrupts
from classic_cars.assets import ALL_TABLES
from classic_cars.definitions import build_defs
from classic_cars.instance import open_instance
from classic_cars.months import Months
from classic_cars.runs import RunReport, changes, execute, execute_what_changed, observing
from classic_cars.serving.releases import current
from classic_cars.settings import Settings
from classic_cars.sources.order_system import open_order_system
from classic_cars.stores import open_store
from classic_cars.stores.publications import Publications
from classic_cars.tables.partitions import known_months
from classic_cars.tables.recomputation import MONTHS, NAME
from classic_cars.tables.run_tags import RANGE_END, RANGE_START
from classic_cars_shop import api as simulator
from classic_cars_tests.landed import drop, jsonl, rating
from classic_cars_tests.platform import ask, change, expected_sales, fingerprint, order_system_frames, published_sales
from classic_cars_tests.programs import ended_process

ORDERS = {"source/orders", "staging/orders", "warehouse/fact_orders", "analytics/sales_by_month"}
SHOP = {"customers", "employees", "offices", "orderdetails", "orders", "payments", "productlines", "products"}


def unsynced(settings: Settings) -> dict[str, str]:
    """What Dagster's web page shows as out of sync or missing."""
    graph = build_defs(settings).get_repository_def().asset_graph
    found = {}
    with open_instance(settings) as instance:
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        for key in graph.materializable_asset_keys:
            for part in known_months(instance) if graph.get(key).is_partitioned else [None]:
                if (status := resolver.get_status(key, part)) != StaleStatus.FRESH:
                    found[f"{key.to_user_string()} {part}"] = status.value
    return found


def is_right(settings: Settings) -> bool:
    """Whether the answers are those that plain Python works out from the order system."""
    frames = order_system_frames(settings.order_system_url)
    return all(
        published_sales(settings, table, by) == expected_sales(frames, by)
        for table, by in (("sales_by_product_line", "productLine"), ("sales_by_country", "country"))
    )


def again(settings: Settings) -> RunReport:
    report = execute_what_changed(settings)
    assert report.succeeded, (report.errors, report.failed_checks)
    assert is_right(settings)
    assert unsynced(settings) == {}
    return report


def nothing_more(settings: Settings) -> bool:
    """Whether there is nothing left to make."""
    return execute_what_changed(settings).published == []


BUSIEST = "SELECT substr(orderDate, 1, 7) FROM orders GROUP BY 1 ORDER BY count(*) DESC, 1 DESC LIMIT 1"
AN_ORDER = f"(SELECT min(orderNumber) FROM orders WHERE substr(orderDate, 1, 7) = ({BUSIEST}))"


LINE_CHANGES = "UPDATE products SET productLine = 'Ships' WHERE productCode = (SELECT min(productCode) FROM products)"
CUSTOMERS_MOVE = "UPDATE customers SET country = 'Spain', city = 'Madrid'"
PAYMENT_IS_GONE = "DELETE FROM payments WHERE checkNumber = (SELECT min(checkNumber) FROM payments)"


def test_nothing_is_made_when_nothing_changed(made: Settings) -> None:
    before = fingerprint(made)
    report = again(made)
    assert (report.published, len(report.unchanged)) == ([], report.tables)
    assert fingerprint(made) == before
    with open_instance(made) as instance:
        assert instance.get_runs_count() == 1


def test_copies_that_a_killed_run_left_go_though_nothing_is_to_be_made(made: Settings) -> None:
    left = made.home / "store" / f"order-system-{ended_process()}-k3j2"
    left.mkdir()
    assert nothing_more(made)
    assert not left.exists()


@pytest.mark.exhaustive
def test_a_shop_in_the_middle_of_its_first_month(tmp_path: Path) -> None:
    """The calendar begins with its first order, after the first day of the month."""
    settings = Settings(home=tmp_path)
    simulator.create(settings.order_system_url, scale=0.1, seed=3, until=date(2003, 2, 20))
    again(settings)
    assert ask(settings, "SELECT cohort, cohortCustomers FROM analytics.customer_cohorts") == [(date(2003, 1, 1), 1)]


def test_an_edit_makes_its_month_and_what_is_made_of_it(made: Settings) -> None:
    change(made.order_system_url, f"UPDATE orders SET status = 'Cancelled' WHERE orderNumber = {AN_ORDER}")
    report = again(made)
    assert set(report.published) >= ORDERS
    assert report.months is not None
    assert report.months.first == report.months.last
    untouched = {"source/orderdetails", "source/customers", "staging/customers", "warehouse/fact_payments"}
    assert untouched <= set(report.unchanged)
    assert "analytics/product_ratings" in report.unchanged
    with open_instance(made) as instance:
        # The first one; what was read, facts and what they refer to, answers: each once it is known to be needed.
        assert instance.get_runs_count() == 4
    assert nothing_more(made)


@pytest.mark.exhaustive
def test_what_comes_out_as_it_was_is_the_end_of_it_and_one_release_is_made_of_all(made: Settings) -> None:
    """A remark on an order is read, cleaned and in the fact, and in nothing that is made of it."""
    shelf = open_store(made, read_only=True).shelf
    before = shelf.numbers()
    change(made.order_system_url, f"UPDATE orders SET comments = 'called' WHERE orderNumber = {AN_ORDER}")
    report = again(made)
    assert {"source/orders", "staging/orders", "warehouse/fact_orders"} <= set(report.published)
    assert {f"analytics/{name}" for name in ("sales_by_country", "customer_balances")} <= set(report.unchanged)
    release = current(shelf)
    assert release is not None
    assert (release.run_id, shelf.noted()) == (report.run_id, "")
    assert shelf.numbers() == [*before, release.number]  # none of a moment between two runs
    assert nothing_more(made)


def test_a_month_that_nobody_knows_yet_can_be_named(made: Settings) -> None:
    days = "orderDate = '2003-09-02', requiredDate = '2003-09-09', shippedDate = NULL"
    change(made.order_system_url, f"UPDATE orders SET {days} WHERE orderNumber = (SELECT max(orderNumber) FROM orders)")
    september = Months.parse("2003-09")
    with open_instance(made) as instance:
        assert "2003-09" not in known_months(instance)
    assert "source/orders" in execute_what_changed(made, september).published
    assert "2003-09" in {f"{day:%Y-%m}" for (day,) in ask(made, "SELECT DISTINCT orderDate FROM source.orders")}


@pytest.mark.exhaustive
def test_a_month_made_again_as_it_was_does_not_pass_for_all_of_its_version(made: Settings) -> None:
    """Facts hold nothing of a product's description, but are made of products: every month has to be looked at."""
    change(made.order_system_url, "UPDATE products SET productDescription = 'as new'")
    march, fact = Months.parse("2003-03"), "warehouse/fact_orders"
    assert fact in execute_what_changed(made, march).published
    stale = {each for each in unsynced(made) if each.startswith(fact)}
    assert f"{fact} 2003-03" not in stale
    assert stale
    report = again(made)
    assert report.months is not None
    assert {fact, "analytics/sales_by_country"} <= set(report.unchanged)


@pytest.mark.exhaustive
def test_named_months_are_made_in_any_case_and_no_others(made: Settings) -> None:
    url, march = made.order_system_url, Months.parse("2003-03")
    report = execute_what_changed(made, march)
    assert report.succeeded
    # Neither read nor made again: what has no months and did not change, or is made of months that are as they were.
    whole = {"source/customers", "source/payments", "staging/products", "warehouse/fact_payments"}
    assert {*whole, "warehouse/dim_customers", "analytics/sales_by_country"} <= set(report.unchanged)
    assert {*ORDERS, "source/orderdetails"} <= set(report.published)
    assert (report.months, is_right(made), unsynced(made)) == (march, True, {})
    # What changed outside of these months is left alone: of tables with months, and until the next run.
    with closing(sqlite3.connect(made.home / "shop.sqlite")) as shop:
        assert shop.execute(BUSIEST).fetchone() != ("2003-03",)
    change(url, f"UPDATE orders SET status = 'Cancelled' WHERE orderNumber = {AN_ORDER}", LINE_CHANGES)
    before = published_sales(made, "sales_by_month", "orderMonth")
    report = execute_what_changed(made, march)
    assert {"source/products", "warehouse/dim_products"} <= set(report.published)
    assert published_sales(made, "sales_by_month", "orderMonth") == before
    assert "source/orders" in again(made).published


@pytest.mark.exhaustive  # a refused month is tested with what the history says of it
def test_a_broken_month_holds_up_no_other(made: Settings) -> None:
    url, first, last = made.order_system_url, "orderDate < '2003-02-01'", "orderDate >= '2003-08-01'"
    lines = (
        "UPDATE orderdetails SET quantityOrdered = {} WHERE orderNumber IN (SELECT orderNumber FROM orders WHERE {})"
    )
    change(url, f"UPDATE orders SET status = 'Disputed' WHERE {last}")
    assert execute_what_changed(made).succeeded  # tables without months are now newer than the other months
    change(url, lines.format(-1, first))
    assert not execute_what_changed(made).succeeded
    change(url, lines.format(7, last))
    report = execute_what_changed(made)
    assert not report.succeeded
    august = f"SELECT DISTINCT quantityOrdered FROM warehouse.fact_orders WHERE {last}"
    assert ask(made, august) == [(7,)]
    again_ = execute_what_changed(made)
    assert again_.months == Months.parse("2003-01")
    change(url, lines.format(3, first))
    again(made)


@pytest.mark.exhaustive
def test_a_shop_that_was_put_back_is_noticed(made: Settings, tmp_path: Path) -> None:
    shop, backup = made.home / "shop.sqlite", tmp_path / "backup.sqlite"
    execute_what_changed(made)
    shutil.copy2(shop, backup)
    change(made.order_system_url, "UPDATE orders SET comments = 'changed' WHERE orderDate < '2003-04-01'")
    assert execute_what_changed(made, Months.parse("2003-03")).succeeded
    shutil.copyfile(backup, shop)
    shutil.copystat(backup, shop)
    assert "source/orders" in again(made).published
    assert ask(made, "SELECT count(*) FROM source.orders WHERE comments = 'changed'") == [(0,)]


@pytest.mark.exhaustive
def test_a_table_without_months_that_changed_makes_no_other_months_than_the_named(made: Settings) -> None:
    change(made.order_system_url, "UPDATE products SET buyPrice = buyPrice + 1")
    prices = "SELECT sum(buyPrice) FROM warehouse.fact_orders WHERE strftime(orderDate, '%Y-%m') {} '2003-03'"
    march, others = ask(made, prices.format("=")), ask(made, prices.format("<>"))
    report = execute_what_changed(made, Months.parse("2003-03"))
    assert {"source/products", "warehouse/fact_orders"} <= set(report.published)
    assert ask(made, prices.format("=")) > march
    assert ask(made, prices.format("<>")) == others
    again(made)
    assert ask(made, prices.format("<>")) > others


def test_a_sign_that_moved_during_the_run_is_not_kept(made: Settings) -> None:
    order_system = open_order_system(made.order_system_url)
    before = {name: sign.token for name, sign in order_system.change_signs().items()}
    with open_instance(made) as instance:
        observing.remember(instance, order_system, before, SHOP)
        kept = observing._remembered(instance)["signs"]
        assert {name: token for name, (token, _) in kept.items()} == before
        change(made.order_system_url, f"UPDATE orders SET comments = 'now' WHERE orderNumber = {AN_ORDER}")
        observing.remember(instance, order_system, dict.fromkeys(before, "of before"), SHOP)
        assert observing._remembered(instance)["signs"] == kept


@pytest.mark.exhaustive
def test_a_run_that_is_told_to_stop_asks_nothing_more(made: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    change(made.order_system_url, LINE_CHANGES, CUSTOMERS_MOVE)
    executed, asked = changes._executed, changes._record
    done: list[RunReport] = []

    def interrupted(*_: object) -> None:
        raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")

    monkeypatch.setattr(changes, "_executed", lambda *given: (done.append(executed(*given)), done[-1])[1])
    monkeypatch.setattr(changes, "_record", lambda *given: interrupted() if done else asked(*given))
    monkeypatch.setattr(interrupts, "requested", lambda: bool(done))
    report = execute_what_changed(made)
    assert report.interrupted
    assert len(done) == 1
    # The same before the first step: not the error of the query that was interrupted.
    monkeypatch.setattr(changes, "_record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute_what_changed(made)
    monkeypatch.undo()
    again(made)


@pytest.mark.exhaustive
def test_named_months_that_have_to_wait_are_made(made: Settings) -> None:
    report = execute_what_changed(made, Months.parse("2003-03"), accept_shrink=["customers"])
    assert report.succeeded
    assert {"source/customers", "warehouse/fact_orders", "analytics/sales_by_month"} <= set(report.published)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        pytest.param(
            [
                "UPDATE orders SET orderDate = '2003-03-03', requiredDate = '2003-03-13', shippedDate = NULL "
                f"WHERE orderNumber = {AN_ORDER}"
            ],
            {"source/orders", "source/orderdetails", "warehouse/fact_orders"},
            id="an order moves to another month",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            [LINE_CHANGES, CUSTOMERS_MOVE, PAYMENT_IS_GONE],
            {
                *("source/products", "source/customers", "source/payments", "warehouse/fact_payments"),
                *("analytics/sales_by_product_line", "analytics/sales_by_country"),
            },
            id="tables without months change",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            [LINE_CHANGES],
            {"source/products", "analytics/sales_by_product_line"},
            id="a product changes its line",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            [CUSTOMERS_MOVE],
            {"source/customers", "analytics/sales_by_country"},
            id="customers move",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            [PAYMENT_IS_GONE],
            {"source/payments", "warehouse/fact_payments"},
            id="a payment is gone",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            ["UPDATE productlines SET image = x'00ff'"],
            {"source/productlines"},
            id="pictures alone",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_every_kind_of_change_is_followed(made: Settings, statements: list[str], expected: set[str]) -> None:
    change(made.order_system_url, *statements)
    report = again(made)
    assert expected <= set(report.published)
    assert "source/employees" in report.unchanged
    assert nothing_more(made)


@pytest.mark.exhaustive
@pytest.mark.parametrize("back", [False, True])
def test_undated_rows_do_not_widen_a_run(made: Settings, *, back: bool) -> None:
    ((number, day),) = ask(made, "SELECT orderNumber, orderDate FROM staging.orders ORDER BY ALL DESC LIMIT 1")
    change(
        made.order_system_url,
        f"UPDATE orders SET orderDate = 'one day' WHERE orderNumber = {number}",
        "INSERT INTO orderdetails SELECT 999999, productCode, 1, 1, 1 FROM products LIMIT 1",
    )
    patient = {"quarantine_max_share": 1.0, "quarantine_max_amount_share": 1.0}
    report = execute_what_changed(made.model_copy(update=patient))
    assert report.succeeded, (report.errors, report.failed_checks)
    with open_instance(made) as instance:
        runs = instance.get_runs()[:-1]  # the first one made everything
        ranges = [(run.tags[RANGE_START], run.tags[RANGE_END]) for run in runs if RANGE_START in run.tags]
    assert ("1900-01", "1900-01") in ranges
    assert all(first == last for first, last in ranges)
    if not back:
        return
    # It gets its date back, and the line its order.
    change(
        made.order_system_url,
        f"UPDATE orders SET orderDate = '{day}' WHERE orderNumber = {number}",
        "INSERT INTO orders SELECT 999999, '2003-04-05', '2003-04-15', NULL, 'In Process', NULL, min(customerNumber) "
        "FROM customers",
    )
    with open_instance(made) as instance:
        before = len(instance.get_runs())
        report = execute_what_changed(made)
        assert report.succeeded, (report.errors, report.failed_checks)
        runs = instance.get_runs()[:-before]
        assert all(run.tags.get(RANGE_START) == run.tags.get(RANGE_END) for run in runs)
    assert nothing_more(made)


@pytest.mark.exhaustive
def test_a_store_that_is_gone_restored_or_another_is_filled_again(made: Settings, made_home: Path) -> None:
    made.store_path.unlink()
    assert len(again(made).published) == len(ALL_TABLES)
    # The store of before an edit comes back.
    change(made.order_system_url, "UPDATE orders SET comments = 'called'")
    assert execute_what_changed(made).published
    shutil.copy(made_home / made.store_path.relative_to(made.home), made.store_path)
    assert set(again(made).published) >= ORDERS
    assert nothing_more(made)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("orders", "status"),
        pytest.param("productlines", "image", marks=pytest.mark.exhaustive),
        pytest.param("payments", "amount", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.exhaustive
def test_a_changed_schema_holds_up_its_table_what_is_made_from_it_and_nothing_else(
    made: Settings, table: str, column: str
) -> None:
    url, before = made.order_system_url, fingerprint(made)
    change(url, f"ALTER TABLE {table} RENAME COLUMN {column} TO renamed")
    change(url, "UPDATE offices SET territory = 'EMEA' WHERE officeCode = '1'")
    for report in (execute_what_changed(made), execute(made)):
        assert not report.succeeded
        assert set(report.errors) == {f"source/{table}"}
        assert column in report.errors[f"source/{table}"]
        assert {f"source/{table}", f"staging/{table}"} <= set(report.not_published)
        assert {"source/offices", "staging/offices", "warehouse/dim_employees"} <= set(report.published)
        assert all(fingerprint(made)[address] == before[address] for address in report.not_published)
    change(url, f"ALTER TABLE {table} RENAME COLUMN renamed TO {column}")
    assert execute_what_changed(made).succeeded
    assert is_right(made)
    assert unsynced(made) == {}


def test_what_fails_keeps_its_version_and_is_tried_again_the_next_time(made: Settings) -> None:
    before = published_sales(made, "sales_by_country", "country")
    change(
        made.order_system_url, "CREATE TABLE kept AS SELECT * FROM payments", "DELETE FROM payments WHERE amount > 100"
    )
    for _ in range(2):
        report = execute_what_changed(made)
        assert not report.succeeded
        assert {(each.table, each.check) for each in report.failed_checks} == {("source/payments", "volume")}
        assert {"source/payments", "warehouse/fact_payments"} <= set(report.not_published)
        assert "source/orders" in report.unchanged
    assert published_sales(made, "sales_by_country", "country") == before
    assert execute_what_changed(made, accept_shrink=["payments"]).succeeded
    assert nothing_more(made)


def test_rows_that_change_without_a_sign_are_found_by_their_totals(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from classic_cars.sources.order_system import Sign
    from classic_cars.sources.order_system.sqlite import SQLite

    monkeypatch.setattr(SQLite, "change_signs", lambda *_: {table: Sign("the same") for table in SHOP})
    assert nothing_more(made)
    change(made.order_system_url, "UPDATE orderdetails SET priceEach = priceEach + 0.01 WHERE orderLineNumber = 1")
    assert "source/orderdetails" in again(made).published


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("observed", "late"),
    [(["productlines"], False), (["productlines"], True), (["offices"], False)],
    ids=["and the run was killed", "after the signs were taken", "when others were asked for"],
)
def test_pictures_that_were_seen_and_not_read_are_read_the_next_time(
    made: Settings, monkeypatch: pytest.MonkeyPatch, observed: list[str], late: bool
) -> None:
    assert nothing_more(made)  # the signs of now are known
    order_system = open_order_system(made.order_system_url)
    before = order_system.change_signs()
    change(made.order_system_url, "UPDATE productlines SET image = x'01'")
    with open_instance(made) as instance, monkeypatch.context() as patched:
        if late:
            patched.setattr(order_system, "change_signs", lambda: before)
        observing.observe_order_system(instance, order_system, made, observed)
    assert "source/productlines" in again(made).published
    assert nothing_more(made)


def test_files_that_landed_are_ingested_and_what_a_run_published_that_died_before_it_said_so_is_made_again(
    made: Settings,
) -> None:
    with duckdb.connect(str(made.store_path)) as store:
        died = Publications().after(None, "died").text()
        store.execute(f"UPDATE platform.published_by SET runs = '{died}' WHERE address = 'staging/customers'")
    product = ask(made, "SELECT min(productCode) FROM staging.products")[0][0]
    customer = ask(made, "SELECT min(customerNumber) FROM staging.customers")[0][0]
    drop(made, "ratings-1.jsonl", jsonl(rating(customer, product, 4)))
    found = set(again(made).published)
    assert "staging/customers" in found
    assert {"source/ratings", "warehouse/fact_ratings", "analytics/product_ratings"} <= found
    assert ask(made, "SELECT count(*) FROM warehouse.fact_ratings") == [(1,)]
    assert nothing_more(made)


@pytest.mark.exhaustive
def test_where_files_lie_cannot_be_listed_and_what_has_nothing_to_do_with_them_is_made(made: Settings) -> None:
    before = ask(made, "SELECT count(*) FROM warehouse.fact_ratings")
    change(made.order_system_url, "UPDATE offices SET city = 'Nantes'")
    report = execute_what_changed(made.model_copy(update={"landing": str(made.home / "shop.sqlite")}))
    assert "is a file, expected a folder" in report.errors["source/ratings"]
    assert not report.succeeded
    assert "staging/offices" in report.published
    assert ask(made, "SELECT count(*) FROM warehouse.fact_ratings") == before
    assert {*again(made).published} <= {"staging/ratings", "warehouse/fact_ratings"}  # which waited for it


def recomputed_differently(settings: Settings, address: str, *months: str) -> None:
    """As a nightly recomputation says it."""
    with open_instance(settings) as instance:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(address.split("/")),
                check_name=NAME,
                passed=False,
                metadata={MONTHS: dg.MetadataValue.json(list(months))},
            )
        )


@pytest.mark.exhaustive  # test_held_to_history has more than one month, of which another run makes one
def test_what_a_recomputation_found_different_is_made_again(made: Settings) -> None:
    address, month = "analytics/monthly_sales_by_customer", "2003-04"
    recomputed_differently(made, address, month)
    report = again(made)
    assert (address in report.published, str(report.months)) == (True, month)
    assert nothing_more(made)


@pytest.mark.exhaustive
def test_everything_is_made_when_it_is_asked_for(made: Settings) -> None:
    report = execute(made)
    assert len(report.published) == report.tables == len(ALL_TABLES)
    # The same rows, read and made again: nothing follows.
    assert nothing_more(made)


@pytest.mark.exhaustive
def test_sqlite_is_told_apart_from_a_copy_of_the_shop_with_other_rows(made: Settings, tmp_path: Path) -> None:
    shop = made.home / "shop.sqlite"
    with sqlite3.connect(shop) as connection:
        connection.execute(
            "UPDATE orders SET comments = 'other' WHERE orderNumber = (SELECT max(orderNumber) FROM orders)"
        )
    connection.close()
    assert "source/orders" in again(made).published
