"""Tests of the assets once more, with their tables in an Iceberg lake: not one asset or check differs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from filelock import FileLock

from classic_cars.serving.releases import opened
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Provenance, Staged
from classic_cars.stores.iceberg.transaction import IcebergTransaction
from classic_cars.tables import failures
from classic_cars_tests.assets import (
    test_answers,
    test_compared,
    test_partitions,
    test_refused,
    test_surprises,
    test_write_audit_publish,
)
from classic_cars_tests.assets.test_releases import DEARER, attempt, released_totals, totals
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.end_to_end import test_metrics
from classic_cars_tests.platform import SALES, ask, change, run
from classic_cars_tests.shared import once
from classic_cars_tests.shops import publish_everything

# Those in which the store matters; pytest finds them by their names here.
test_everything_is_published = test_answers.test_every_table_is_published_and_every_check_passes
test_sales_agree = test_answers.test_sales_agree_with_an_independent_calculation
test_one_month = test_partitions.test_a_run_of_one_month_touches_only_that_month
test_a_failed_audit = test_write_audit_publish.test_a_failed_audit_leaves_every_byte_of_the_previous_version
test_rows_that_share_a_key = test_surprises.test_rows_that_share_a_key_are_quarantined_of_exact_copies_all_but_one
test_metrics_agree = test_metrics.test_metrics_equal_the_order_system


@pytest.mark.exhaustive  # what is refused is kept outside of the store
def test_refused_rows_are_found(published: Settings) -> None:
    test_refused.test_rows_that_block_a_publish_are_found_with_the_query_of_the_runbook(published)


@pytest.mark.exhaustive
def test_only_the_user_may_read_refused_rows(published: Settings) -> None:
    test_refused.test_only_the_user_of_the_platform_may_read_the_rows(published)


@pytest.mark.exhaustive
def test_odd_texts(published: Settings) -> None:
    test_surprises.test_odd_texts_stay_with_their_rows_and_a_new_column_is_a_warning(published)


@pytest.mark.exhaustive  # a failed audit has another
def test_a_planted_bug(published: Settings) -> None:
    test_write_audit_publish.test_a_join_on_the_postal_code_is_caught(published)


@pytest.mark.exhaustive  # a failed audit leaves it, too; of a transaction that ends in an error: test_conformance
def test_a_failing_function(published: Settings) -> None:
    test_write_audit_publish.test_a_failing_function_leaves_the_previous_version(published)


@pytest.mark.exhaustive  # rows that share a key are quarantined here, too
def test_bad_lines(published: Settings) -> None:
    test_surprises.test_each_bad_line_is_quarantined_with_its_reason_and_leaves_when_mended(published)


@pytest.mark.exhaustive
def test_an_empty_order_system(shop: Settings) -> None:
    test_answers.test_an_empty_order_system_makes_empty_tables(shop)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "kind",
    # The engine turns a table into each kind, whatever the store: assets/test_write_audit_publish.py has them all.
    [pl.DataFrame, pd.DataFrame, pa.Table],
    ids=["polars", "pandas", "arrow"],
)
def test_another_kind_of_table(published: Settings, kind: Any) -> None:
    test_write_audit_publish.test_an_author_may_drop_into_another_kind_of_table(published, kind)


def test_a_step_whose_publish_was_refused_runs_again(shop: Settings, monkeypatch: pytest.MonkeyPatch):
    """Another writer replaces the table between a step's first look at it and its publish."""
    publishing, refused = IcebergTransaction.publish, []

    def publish(tx: IcebergTransaction, staged: Staged) -> None:
        if not refused:
            refused.append(staged.contract.address)
            other = open_store(shop)
            with other.begin(Provenance("other", "source/offices")) as theirs:
                theirs.stage(staged.contract, theirs.receive(staged.rows.limit(1).to_pyarrow())).publish()
            other.end_run()
        publishing(tx, staged)

    monkeypatch.setattr(IcebergTransaction, "publish", publish)
    monkeypatch.setattr(failures, "RETRY", dg.RetryPolicy(max_retries=1, delay=0))
    ran = run(shop, select=["source/offices"])
    assert refused == ["source/offices"]
    assert ran.success, ran.errors
    assert any(event.is_step_up_for_retry for event in ran.result.all_events)
    assert ask(shop, "SELECT count(*) FROM source.offices")[0][0] > 1


@pytest.mark.exhaustive
def test_a_release_compares_each_table_that_changed(published: Settings) -> None:
    """What did not change is told by the data files: assets/test_compared.py has every kind of edit."""
    few = (test_compared.FACT, test_compared.CUSTOMERS, "warehouse/dim_products")
    test_compared.edited_one_by_one(published, {each: test_compared.EDITS[each][:1] for each in few})


def released(settings: Settings) -> set[Decimal]:
    """What the fact and the answers of the current release say was booked."""
    return {amount for _, amount in released_totals(settings)}


@pytest.mark.exhaustive
def test_going_back_to_a_release(published: Settings) -> None:
    """Its numbers and its proof are the current ones again, as a new release; the next run: test_restored_releases."""
    first = attempt(published).release
    assert first is not None
    before = released(published)
    assert before == {totals(published)[1]}
    april = "(SELECT orderNumber FROM orders WHERE orderDate BETWEEN '2003-04-01' AND '2003-04-30')"
    change(published.order_system_url, f"{DEARER} WHERE orderNumber IN {april}")
    assert run(published, months=("2003-04", "2003-04"), select=SALES).success
    assert released(published) == {totals(published)[1]} != before

    went_back = classic_cars(published.home, "releases", "restore", str(first.number), CLASSIC_CARS_STORE="iceberg")
    assert went_back.returncode == 0, went_back.stderr
    changed = {*went_back.stdout.splitlines()[0].partition(": ")[2].split(", ")}
    assert {"warehouse/fact_orders", "analytics/sales_by_country"} <= changed
    assert "warehouse/dim_customers" not in changed  # it had no other version
    assert released(published) == before
    with opened(published) as found:
        assert found is not None
        assert found[0].number == first.number + 2
        assert found[0].balances == first.balances


@pytest.fixture
def shop(shop_file: Path, tmp_path: Path) -> Settings:
    """Settings of a home of its own with a copy of the shop, and an Iceberg store."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(shop_file, home / "shop.sqlite")
    return Settings(home=home, store="iceberg")


@pytest.fixture(scope="session")
def lake_home(shop_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which every table of the shop was published, and a copy of it beside it."""

    def make(folder: Path) -> None:
        home = folder / "home"
        home.mkdir()
        shutil.copy(shop_file, home / "shop.sqlite")
        publish_everything(Settings(home=home, store="iceberg"))
        shutil.copytree(home, folder / "pristine")

    return once(tmp_path_factory, "lake", make) / "home"


@pytest.fixture
def published(lake_home: Path) -> Iterator[Settings]:
    """Settings of the home with the published tables; put back as it was, for its files know where they lie.

    So there is one for all workers, whose turns come one after the other.
    """
    with FileLock(lake_home.with_name("turn")):
        shutil.rmtree(lake_home)
        shutil.copytree(lake_home.with_name("pristine"), lake_home)
        yield Settings(home=lake_home, store="iceberg")
