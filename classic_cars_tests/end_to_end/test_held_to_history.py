"""What the store holds is held to what the history of runs says, month by month, and what was refused stays away."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.errors import StoreError
from classic_cars.instance import open_instance
from classic_cars.months import Months
from classic_cars.runs import execute_what_changed, releasing
from classic_cars.runs.releasing import release_what_is_published
from classic_cars.serving.releases import current
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.publications import Publications
from classic_cars.tables.live_agreement import CHECK, DIFFERENCES, TABLES
from classic_cars_tests.end_to_end.test_what_changed import again, nothing_more, recomputed_differently
from classic_cars_tests.platform import ask, change

MARCH, AUGUST = Months.parse("2003-03"), Months.parse("2003-08")
DEARER = (
    "UPDATE orderdetails SET priceEach = priceEach + 10 "
    "WHERE orderNumber = (SELECT min(orderNumber) FROM orders WHERE orderDate LIKE '2003-03%')"
)


def released(settings: Settings) -> int:
    store = open_store(settings, read_only=True)
    try:
        found = current(store.shelf)
        return found.number if found is not None else 0
    finally:
        store.release()


def said_of_releases(settings: Settings) -> str:
    key = dg.AssetCheckKey(dg.AssetKey(["serving", "release"]), "tables_agree")
    with open_instance(settings) as instance:
        record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.evaluation is not None
    return str(record.evaluation.description)


@pytest.mark.exhaustive
def test_a_backup_of_before_a_change_is_made_again_and_never_released_with_what_was_made_since(
    made: Settings, tmp_path: Path
) -> None:
    shutil.copy(made.store_path, tmp_path / "backup")
    change(made.order_system_url, DEARER)
    again(made)
    number = released(made)
    shutil.copy(tmp_path / "backup", made.store_path)
    assert {*execute_what_changed(made, AUGUST).errors} == {"serving/release"}  # of other rows than the history says
    assert released(made) == number
    said = said_of_releases(made)
    assert "the store does not hold what the runs of this history published" in said
    assert "source/orderdetails (2003-03)" in said
    assert "`classic-cars run` makes it again" in said
    assert {"source/orderdetails", "warehouse/fact_orders"} <= set(again(made).published)
    assert released(made) > number
    assert nothing_more(made)


@pytest.mark.exhaustive  # what a killed run published last is made again: end_to_end/test_what_changed.py
def test_a_month_that_a_killed_run_published_is_made_again_whatever_was_published_since(made: Settings) -> None:
    with duckdb.connect(str(made.store_path)) as store:
        ((runs,),) = store.execute("SELECT runs FROM platform.published_by WHERE address = 'source/orders'").fetchall()
        killed = Publications.parse(runs).after(MARCH, "killed").text()
        store.execute("UPDATE platform.published_by SET runs = ? WHERE address = 'source/orders'", [killed])
        store.execute("UPDATE source.orders SET status = 'Cancelled' WHERE orderMonth = '2003-03-01'")
    assert {*execute_what_changed(made, AUGUST).errors} == {"serving/release"}  # of other rows than the history says
    report = again(made)
    assert "source/orders" in report.published
    assert str(report.months) == "2003-03"
    assert nothing_more(made)


@pytest.mark.exhaustive  # as control totals are, below
@pytest.mark.parametrize(
    ("gone", "owner"),
    [
        ("quarantine.orders", "staging/orders"),
        ("warehouse.dim_products", "warehouse/dim_products"),
        ("source.ratings_files", "source/ratings"),
    ],
)
def test_a_table_that_is_gone_is_made_again_with_what_it_is_published_with(
    made: Settings, gone: str, owner: str
) -> None:
    with duckdb.connect(str(made.store_path)) as store:
        store.execute(f"DROP TABLE {gone}")
    assert owner in again(made).published
    assert nothing_more(made)


@pytest.mark.exhaustive
def test_what_is_published_with_a_table_is_there_and_of_the_same_runs(made: Settings) -> None:
    """Control totals of products and a ledger are gone; those of customers were rolled back, by themselves."""
    with duckdb.connect(str(made.store_path)) as store:
        store.execute("DROP TABLE control.sales_by_product; DROP TABLE source.ratings_files")
        earlier = Publications().after(None, "earlier").text()
        by = "UPDATE platform.published_by SET runs = ? WHERE address = 'control/sales_by_customer'"
        store.execute(by, [earlier])
    found = again(made).published
    assert "source/ratings" in found
    assert "analytics/monthly_sales_by_product" in found
    assert "analytics/monthly_sales_by_customer" in found
    assert nothing_more(made)


@pytest.mark.exhaustive
def test_a_store_of_before_ledgers_were_said_to_be_of_a_run_is_not_made_again_for_ever(made: Settings) -> None:
    """As an older version left it: no run is known of anything, and ledgers get none until a file lands."""
    with duckdb.connect(str(made.store_path)) as store:
        store.execute("DELETE FROM platform.published_by")
    report = again(made)
    assert {"source/ratings", "source/stock_counts"} < {*report.published}
    with duckdb.connect(str(made.store_path), read_only=True) as store:
        of_ledgers = "SELECT * FROM platform.published_by WHERE address LIKE '%_files'"
        assert store.execute(of_ledgers).fetchall() == []
    number = released(made)
    assert nothing_more(made)
    assert released(made) == number


@pytest.mark.exhaustive
def test_each_month_that_a_recomputation_found_different_is_made_again(made: Settings) -> None:
    address = "analytics/monthly_sales_by_customer"
    recomputed_differently(made, address, "2003-03", "2003-08")
    assert execute_what_changed(made, AUGUST).succeeded
    report = again(made)
    assert (address in report.published, str(report.months)) == (True, "2003-03")
    assert nothing_more(made)


@pytest.mark.exhaustive
def test_what_a_reconciliation_found_different_is_read_again(made: Settings) -> None:
    with open_instance(made) as instance:
        metadata = {
            DIFFERENCES: dg.MetadataValue.json({"2003-03": {}}),
            TABLES: dg.MetadataValue.json({"payments": []}),
        }
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=CHECK.asset_key, check_name=CHECK.name, passed=False, metadata=metadata)
        )
    report = again(made)
    assert {"source/orders", "source/orderdetails", "source/payments"} <= set(report.published)
    assert str(report.months) == "2003-03"
    assert nothing_more(made)


@pytest.mark.exhaustive
def test_a_refused_month_is_not_made_of_half_of_it_because_those_beside_it_are_made(made: Settings) -> None:
    """Its order lines are refused, and its cancelled orders are not."""
    url, march = made.order_system_url, "SELECT orderNumber FROM orders WHERE orderDate LIKE '2003-03%'"
    of_march = "SELECT * FROM warehouse.fact_orders WHERE orderDate BETWEEN '2003-03-01' AND '2003-03-31' ORDER BY ALL"
    before = ask(made, of_march)
    change(
        url,
        f"UPDATE orderdetails SET quantityOrdered = -quantityOrdered WHERE orderNumber IN ({march})",
        "UPDATE orders SET status = 'Cancelled' WHERE orderDate LIKE '2003-03%'",
    )
    assert not execute_what_changed(made).succeeded
    assert ask(made, of_march) == before
    # A customer moves, of which all months are made.
    change(url, "UPDATE customers SET city = 'Graz', country = 'Austria', state = NULL, postalCode = '8010'")
    report = execute_what_changed(made)
    assert not report.succeeded
    assert "warehouse/fact_orders" in report.published
    assert "warehouse/dim_locations" not in report.not_published
    assert ask(made, of_march) == before
    change(url, f"UPDATE orderdetails SET quantityOrdered = -quantityOrdered WHERE orderNumber IN ({march})")
    again(made)
    assert nothing_more(made)


def test_it_is_said_when_no_release_can_be_made(made: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise StoreError("no place left")

    monkeypatch.setattr(releasing, "record_release", broken)
    with open_instance(made) as instance:
        said = release_what_is_published(made, [each.contract for each in ALL_TABLES], instance)
    assert said == "no release was made: no place left"
