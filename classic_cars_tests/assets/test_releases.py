"""A release is made when all tables agree, and only then; readers get one whole, whatever is published meanwhile."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import ibis
import pandera.ibis
import pyarrow as pa
import pytest

from classic_cars import doctor
from classic_cars.assets import ALL_TABLES
from classic_cars.automation.alerts.observe import failed_checks
from classic_cars.contracts.base import RELEASED, Contract
from classic_cars.contracts.vocabulary import Int
from classic_cars.errors import StoreDamaged, StoreError, StoreUnavailable, TableMissing
from classic_cars.runs import execute, execute_what_changed
from classic_cars.serving import release_making, releases
from classic_cars.serving import restored as going_back
from classic_cars.serving.compared import whole
from classic_cars.serving.differences import compared
from classic_cars.serving.release_asset import CHECK, KEY
from classic_cars.serving.release_making import Outcome, make_release
from classic_cars.serving.releases import (
    KEPT,
    Release,
    all_releases,
    current,
    opened,
    opened_in,
)
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Provenance, Store
from classic_cars.stores.duckdb import DuckDBStore, copies
from classic_cars.stores.iceberg import IcebergStore
from classic_cars.stores.pins import Pin
from classic_cars.tables.run_tags import ACCEPT_SHRINK
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.platform import SALES, change, expected_sales, order_system_frames, run, swapped

CONTRACTS = [each.contract for each in ALL_TABLES]
#: A table of its own, for what has to do with releases alone.
DAYS = Contract.of(
    pandera.ibis.DataFrameSchema({"number": pandera.ibis.Column(Int())}, name="warehouse/days", description="Days")
)
DEARER = "UPDATE orderdetails SET priceEach = priceEach + 1"


def attempt(settings: Settings) -> Outcome:
    store = open_store(settings)
    store.begin_run("a test")
    try:
        return make_release(store, CONTRACTS, "a-run")
    finally:
        store.end_run()


def again(store: Store, release: Release, tables: dict[str, Pin] | None = None) -> int:
    """The number of the same release, or one of other tables, made once more."""
    number = releases.newest(store.shelf) + 1
    assert releases.put(store, release.model_copy(update={"number": number, "tables": tables or release.tables}))
    return number


def shelved(settings: Settings) -> list[int]:
    return open_store(settings, read_only=True).shelf.numbers()


def totals(settings: Settings) -> tuple[int, Decimal]:
    """Lines and booked amount of the order system, worked out from its own rows."""
    lines = order_system_frames(settings.order_system_url)["orderdetails"]
    return len(lines), sum((q * p for q, p in zip(lines.quantityOrdered, lines.priceEach, strict=True)), Decimal(0))


def released_totals(settings: Settings, number: int | None = None) -> set[tuple[int, Decimal]]:
    """What the fact and the answers of a release say, each by itself."""
    found: set[tuple[int, Decimal]] = set()
    with opened(settings, number) as release:
        assert release is not None
        for table, units, amount in (
            ("warehouse.fact_orders", "quantityOrdered", "orderAmount"),
            *((f"analytics.sales_by_{name}", "units", "bookedAmount") for name in ("country", "product_line", "month")),
        ):
            (batch,) = release[1].query(f"SELECT sum({units})::BIGINT AS u, sum({amount}) AS a FROM {table}")
            found.add(tuple(batch.to_pylist()[0].values()))
    return found


def by_hand(settings: Settings, statement: str) -> None:
    """Change a published table, in a store from before there were stamps: what it is in is copied anew."""
    with duckdb.connect(str(settings.store_path)) as connection:
        connection.execute("DROP TABLE IF EXISTS platform.published_months")
        connection.execute(statement)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def verdict(instance: dg.DagsterInstance) -> dg.AssetCheckEvaluation:
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK])[CHECK]
    assert isinstance(record.evaluation, dg.AssetCheckEvaluation)
    return record.evaluation


# Made, and not made ----------------------------------------------------------------------------------------


def test_a_run_ends_in_a_release_with_its_proof(published: Settings, instance: dg.DagsterInstance) -> None:
    before = shelved(published)
    change(published.order_system_url, DEARER)
    ran = run(published, select=SALES, instance=instance)
    assert ran.success, ran.errors
    release = current(open_store(published, read_only=True).shelf)
    assert release is not None
    assert release.number == (before[-1] if before else 0) + 1
    lines, amount = totals(published)
    proof = release.order_lines
    assert (proof.source.rows, proof.source.amount) == (lines, amount)
    assert proof.published + proof.quarantined == proof.source
    assert {address.partition("/")[0] for address in release.tables} == set(RELEASED)
    event = instance.get_latest_materialization_event(KEY)
    assert event is not None
    assert event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    assert shown["release"].value == release.number
    assert shown["amount compared with source, exact"].value == f"{amount:,.2f}"
    assert shown["made by run"].value == ran.result.run_id == release.run_id
    assert verdict(instance).passed
    (totals_released,) = {amount for _, amount in released_totals(published)}
    assert totals_released == amount


def test_tables_of_different_runs_make_no_release(published: Settings, instance: dg.DagsterInstance) -> None:
    first = attempt(published).release
    assert first is not None
    before = released_totals(published)
    change(published.order_system_url, DEARER)
    made = [each for each in SALES if not each.startswith("analytics/sales_by_c")]
    ran = run(published, select=made, instance=instance)
    assert ran.success, ran.errors
    assert shelved(published)[-1] == first.number
    assert released_totals(published) == before
    assert not verdict(instance).passed
    assert failed_checks(instance, [CHECK], {}).incidents == []
    said = str(verdict(instance).description)
    assert "analytics/sales_by_country" in said
    assert said.endswith(f"release {first.number} stays the current one")
    answered = classic_cars(published.home, "answers")
    assert answered.returncode == 0
    assert f"release {first.number}, " in answered.stderr
    assert "newer tables are not released" in answered.stderr
    assert f"{next(iter(before))[1]:,.2f}" in answered.stdout
    rest = [each for each in SALES if each not in made]
    assert run(published, select=rest, instance=instance).success
    assert shelved(published)[-1] == first.number + 1
    assert verdict(instance).passed
    assert "not released" not in classic_cars(published.home, "answers").stderr


def test_rows_that_are_missing_make_no_release(published: Settings, instance: dg.DagsterInstance) -> None:
    first = attempt(published).release
    assert first is not None
    change(published.order_system_url, "DELETE FROM orderdetails WHERE orderLineNumber > 1")
    accepted = {ACCEPT_SHRINK: "source/orderdetails"}
    ran = run(published, select=["source/orderdetails"], instance=instance, tags=accepted)
    assert ran.success, ran.errors
    # What was only read is on its way: no verdict, or every change would be an alarm.
    assert not instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK])
    run(published, select=["analytics/product_ratings"], instance=instance)
    assert shelved(published)[-1] == first.number
    assert "NOT BALANCED" in str(verdict(instance).description)


def test_nothing_new_makes_no_release(published: Settings) -> None:
    first = attempt(published)
    assert attempt(published) == Outcome(first.release)


def test_a_table_that_was_never_published_makes_no_release(tmp_path: Path, published: Settings) -> None:
    empty = published.model_copy(update={"home": tmp_path / "empty"})
    run(empty, select=["source/offices"])
    outcome = attempt(empty)
    assert outcome.release is None
    assert "warehouse/fact_orders" in outcome.reasons[0]
    assert "never published" in outcome.reasons[0]


@pytest.mark.exhaustive
def test_a_table_that_fails_and_copies_broken_by_a_power_cut_keep_no_other_table_back(
    published: Settings, instance: dg.DagsterInstance
) -> None:
    first = attempt(published).release
    assert first is not None
    (part,) = first.tables["warehouse/dim_customers"].parts.values()
    (file,) = part.files
    path = published.store_path.parent / "releases" / file
    path.write_bytes(bytes(part.files[file]))

    def broken(source_offices: ibis.Table) -> ibis.Table:
        return source_offices.filter(ibis.literal(1) / 0 > source_offices.city.cast("int64"))

    change(published.order_system_url, DEARER)
    tables = swapped("staging/offices", broken)
    ran = run(published, select=[*SALES, "staging/offices"], tables=tables, instance=instance)
    assert not ran.success
    assert ran.published >= set(SALES)
    assert shelved(published)[-1] == first.number + 1
    assert {amount for _, amount in released_totals(published)} == {totals(published)[1]}
    # The copies were made again.
    with opened(published) as release:
        assert release is not None
        assert release[0].number == first.number + 1
        assert release[1].query("FROM warehouse.dim_customers").read_all().num_rows == part.rows


# Restored (what that does to tables: stores/test_restored_releases.py) -----------------------------------------


class Versions:
    """A store's, in which each table has but one."""

    def roll_back(self, contract: Contract, snapshot: int) -> None:
        raise AssertionError(f"{contract.address} rolled back to {snapshot}")


def test_a_restored_release_says_what_it_is(
    published: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = attempt(published).release
    assert first is not None
    monkeypatch.setattr(going_back, "versions_of", lambda _store: Versions())
    progress = logging.Logger("of this test", logging.INFO)  # what ran before may have silenced the one of all
    progress.addHandler(caplog.handler)
    monkeypatch.setattr(releases, "progress", progress)
    release, changed = going_back.restored(open_store(published), CONTRACTS, first.number)
    assert (release.tables, changed) == (first.tables, [])
    tables = f"{len(first.tables)} tables"
    assert f"release {release.number}: {tables}, restored from release {first.number}" in caplog.messages


def test_a_release_that_would_not_be_made_now_is_not_restored(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = attempt(published).release
    assert first is not None
    monkeypatch.setattr(going_back, "versions_of", lambda _store: Versions())
    with duckdb.connect(str(published.store_path)) as tampered:
        tampered.execute("UPDATE analytics.stock_cover SET monthsCounted = monthsCounted - 1")
    store = open_store(published)
    older = {address: pin for address, pin in first.tables.items() if address != "analytics/stock_cover"}
    mixed = store.pin([each for each in CONTRACTS if each.address in first.tables], {})
    offices = next(each for each in CONTRACTS if each.address == "warehouse/dim_locations")
    with store.begin(Provenance("a test", offices.address)) as tx:
        schema = pandera.ibis.DataFrameSchema(
            {**offices.schema.columns, "of_before": pandera.ibis.Column(Int(), nullable=True)}, name=offices.address
        )
        more = Contract.of(schema)
        tx.stage(more, tx.read(offices).mutate(of_before=ibis.null("int32"))).publish()
    longer = {**first.tables, **store.pin([more], {})}
    store.end_run()
    for tables, said in (
        (older, "it has no analytics/stock_cover"),
        (mixed, "analytics/stock_cover differs from "),
        (longer, "warehouse/dim_locations: .* column of_before is not in the contract"),
    ):
        number = again(store, first, tables)
        with pytest.raises(StoreError, match=f"release {number}: is not restored, .*: {said}"):
            going_back.restored(store, CONTRACTS, number)
        assert store.shelf.numbers()[-1] == number


# Attacked --------------------------------------------------------------------------------------------------


def test_a_copy_that_lacks_a_row_is_never_released(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shelved(published)
    written = copies._write

    def lossy(store: DuckDBStore, contract: Contract, *rest: Any, **more: Any) -> Any:
        if contract.name == "dim_customers":
            store.execute("DELETE FROM warehouse.dim_customers WHERE rowid = 0")
        return written(store, contract, *rest, **more)

    def damaged(_shelf: object, number: int) -> Release:
        raise StoreDamaged(f"release {number}: all is copied anew")

    monkeypatch.setattr(copies, "_write", lossy)
    monkeypatch.setattr(release_making, "release_of", damaged)
    with pytest.raises(StoreError, match="warehouse/dim_customers: its copy has"):
        attempt(published)
    assert shelved(published) == before


def test_a_full_disk_leaves_the_release_before(
    published: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = attempt(published).release
    assert first is not None

    def full(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(copies, "_write", full)
    change(published.order_system_url, DEARER)
    ran = run(published, select=SALES, instance=instance)
    assert ran.success, ran.errors
    assert "the disk is full" in str(verdict(instance).description)
    assert verdict(instance).severity == dg.AssetCheckSeverity.ERROR
    assert [each.key for each in failed_checks(instance, [CHECK], {}).incidents] == [
        "check:serving/release/tables_agree"
    ]
    assert shelved(published)[-1] == first.number
    monkeypatch.undo()
    assert attempt(published).is_new


@pytest.mark.parametrize("how", ["what changed", pytest.param("by name", marks=pytest.mark.exhaustive)])
def test_a_run_whose_release_could_not_be_written_has_failed(
    made: Settings, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """All tables are published; analysts go on reading those of before."""

    def full(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(copies, "_write", full)
    change(made.order_system_url, "UPDATE offices SET city = 'Nantes' WHERE officeCode = '1'")
    offices = ["source/offices", "staging/offices", "warehouse/dim_locations", "warehouse/dim_employees"]
    report = execute_what_changed(made) if how == "what changed" else execute(made, offices)
    assert {"staging/offices", "warehouse/dim_employees"} <= {*report.published}
    assert not report.succeeded
    assert "no release was made: the disk is full" in report.errors["serving/release"]
    monkeypatch.undo()
    report = execute_what_changed(made)
    assert report.succeeded
    assert {*report.published} <= {"staging/employees"}  # which is held against offices


def test_an_error_that_nobody_foresaw_shows_no_values(
    published: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("Atelier graphique")

    monkeypatch.setattr(copies, "_write", broken)
    assert run(published, select=["analytics/sales_by_month"], instance=instance).success
    assert verdict(instance).description == "no release was made: unexpected KeyError while the release was made"


def test_a_table_of_before_its_contract_changed_is_named_and_not_released(published: Settings) -> None:
    first = attempt(published).release
    with duckdb.connect(published.store_path) as connection:
        connection.execute("ALTER TABLE warehouse.dim_locations RENAME COLUMN city TO town")
        connection.execute("ALTER TABLE analytics.sales_by_month ADD COLUMN of_before INTEGER")
    outcome = attempt(published)
    assert (outcome.release, outcome.is_new) == (first, False)
    assert outcome.reasons == (
        "warehouse/dim_locations: its contract changed since it was published: column city is missing; "
        "run `classic-cars run` first",
    )
    assert run(published, select=["warehouse/dim_locations"]).success
    assert attempt(published).reasons == ()


@pytest.mark.parametrize("how", ["cut", "no text"])
def test_a_damaged_release_is_said(published: Settings, how: str) -> None:
    first = attempt(published).release
    assert first is not None
    store = open_store(published, read_only=True)
    text = store.shelf.read(first.number)
    store.shelf.remove(first.number)
    store.shelf.add(first.number, str(text)[:-40])
    if how == "no text":
        file = next(each for each in published.home.rglob("*.json") if each.stem.endswith(f"0{first.number}"))
        file.write_bytes(str(text).encode().replace(b'"rows"', b'"row\xff"'))
    with pytest.raises(StoreDamaged, match=f"release {first.number}: its file is damaged"):
        current(store.shelf)
    with pytest.raises(TableMissing, match="release 99: is not kept; there are"):
        releases.release_of(store.shelf, 99)
    assert first.number not in [each.number for each in all_releases(store.shelf)]
    again = attempt(published)
    assert again.is_new
    assert current(store.shelf) == again.release


def test_doctor_goes_on_past_a_folder_that_may_not_be_entered(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> bool:
        raise PermissionError(13, "Permission denied", "/a/store")

    monkeypatch.setenv("CLASSIC_CARS_HOME", str(published.home))
    expected = [each.subject for each in doctor.examine()]
    monkeypatch.setattr(doctor, "_store", refused)
    found = [*doctor.examine()]
    assert [each.subject for each in found] == expected
    said = "/a/store: Permission denied; change its permissions, or name another place"
    assert said in {each.text for each in found if not each.well}


def test_doctor_reads_the_release(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> doctor.Finding:
        return next(each for each in doctor.examine() if each.subject == "release")

    monkeypatch.setenv("CLASSIC_CARS_HOME", str(published.home))
    for number in open_store(published).shelf.numbers():
        open_store(published).shelf.remove(number)
    assert found() == doctor.Finding("release", True, "none yet; `classic-cars run` makes one")
    made = attempt(published).release
    assert made is not None
    well = found()
    assert well.well
    assert re.fullmatch(rf"release {made.number}, \d+ seconds? old, {len(made.tables)} tables", well.text)
    open_store(published).shelf.note("sales: 1 and 2 orders")
    noted = found()
    assert not noted.well
    assert noted.text.endswith("; newer tables are not released: sales: 1 and 2 orders; `classic-cars run` tries again")
    (part, *_) = made.tables["warehouse/fact_orders"].parts.values()
    (copy,) = (open_store(published).copies / each for each in part.files)
    os.truncate(copy, copy.stat().st_size // 2)
    damaged = found()
    assert not damaged.well
    assert str(copy.name) in damaged.text


def test_old_releases_go(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = attempt(published).release
    assert first is not None
    store = open_store(published)
    for _ in range(KEPT + 2):
        again(store, first)
    kept = [each.number for each in all_releases(store.shelf)]
    assert kept == list(range(first.number + KEPT + 2, first.number + 2, -1))


def test_of_two_that_take_the_same_number_one_is_begun_again(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = attempt(published).release
    assert first is not None
    store = open_store(published)
    shelf = type(store.shelf)
    seen, numbers = iter([[first.number]]), shelf.numbers
    store.shelf.add(first.number + 1, "{}")
    monkeypatch.setattr(shelf, "numbers", lambda self: next(seen, None) or numbers(self))
    assert not releases.put(store, first.model_copy(update={"number": first.number + 1}))
    assert shelved(published) == [first.number, first.number + 1]


@pytest.fixture
def two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, Store]]:
    """Stores of two runs over one lake; there is nothing to prove, so that one small table is all there is."""
    monkeypatch.setattr(release_making, "balances", lambda _store: [])
    monkeypatch.setattr(release_making, "contradicting", lambda *_: [])
    settings = Settings(home=tmp_path, store="iceberg")
    stores = open_store(settings), open_store(settings)
    yield stores
    for each in stores:
        each.end_run()


def released_day(store: Store) -> int:
    """The one that the current release has."""
    with opened_in(store) as release:
        assert release is not None
        (row,) = release[1].query("FROM warehouse.days").read_all().to_pylist()
        return int(row["number"])


def publish_day(store: Store, number: int) -> None:
    rows = pa.Table.from_pylist([{"number": number}], schema=DAYS.types.to_pyarrow())
    with store.begin(Provenance(f"run {number}", DAYS.address)) as tx:
        tx.stage(DAYS, tx.receive(rows)).publish()


def test_an_older_release_never_overtakes_a_newer_one(
    two_runs: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one run compares what it held fast, another one publishes newer rows and makes a release of them."""
    slow, quick = two_runs
    publish_day(slow, 1)

    def overtaken(*_: object) -> list[str]:
        monkeypatch.setattr(release_making, "contradicting", lambda *_: [])
        publish_day(quick, 2)
        assert make_release(quick, [DAYS], "quick").is_new
        return []

    monkeypatch.setattr(release_making, "contradicting", overtaken)
    outcome = make_release(slow, [DAYS], "slow")
    assert (outcome.is_new, outcome.reasons) == (False, ())
    assert released_day(slow) == 2
    assert slow.shelf.numbers() == [1]


def test_a_release_that_is_always_overtaken_is_left_to_the_others(
    two_runs: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, _ = two_runs
    publish_day(slow, 1)

    def overtaken(*_: object) -> list[str]:
        again(slow, releases.Release.of(0, "quick", None, (), {}, whole(datetime.now(UTC))))
        return []

    monkeypatch.setattr(release_making, "contradicting", overtaken)
    outcome = make_release(slow, [DAYS], "slow")
    assert not outcome.is_new
    assert outcome.reasons == ("other runs made releases meanwhile, 5 times; run again when they have finished",)
    assert slow.shelf.noted() == outcome.reasons[0]


def test_whoever_makes_a_release_while_one_is_restored_has_it_restored_again(
    two_runs: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    going, quick = two_runs
    monkeypatch.setattr(going_back, "_outdated", lambda *_: [])
    for number in (1, 2):
        publish_day(going, number)
        assert make_release(going, [DAYS], "a-run").is_new
    rolled_back = IcebergStore.roll_back

    def overtaken(store: IcebergStore, contract: Contract, version: int) -> None:
        rolled_back(store, contract, version)
        monkeypatch.setattr(IcebergStore, "roll_back", rolled_back)
        publish_day(quick, 3)
        assert make_release(quick, [DAYS], "quick").is_new

    monkeypatch.setattr(IcebergStore, "roll_back", overtaken)
    release, changed = going_back.restored(going, [DAYS], 1)
    assert (release.number, changed) == (4, [DAYS.address])
    going.release()
    assert released_day(going) == 1
    assert going.read(DAYS).number.max().to_pyarrow().as_py() == 1


def test_readers_see_one_release_whole_while_a_run_publishes(published: Settings) -> None:
    attempt(published)
    known, wrong, stop = {*released_totals(published)}, [], threading.Event()
    looks = 0

    def read() -> None:
        nonlocal looks
        while not stop.is_set():
            found = released_totals(published)
            looks += 1
            if len(found) != 1:
                wrong.append(found)
            stop.wait(0.1)

    assert len(known) == 1
    readers = [threading.Thread(target=read) for _ in range(2)]
    for each in readers:
        each.start()
    try:
        change(published.order_system_url, DEARER)
        ran = run(published, select=SALES)
        assert ran.success, ran.errors
    finally:
        stop.set()
        for each in readers:
            each.join()
    assert looks > 2
    assert wrong == []
    assert released_totals(published) != known


# Asked -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_releases(published_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, int]:
    """A home, and the number of its first release; all lines are dearer and larger in the next. Only to be read."""
    home = shutil.copytree(published_home, tmp_path_factory.mktemp("two") / "home")
    settings = Settings(home=home)
    first = attempt(settings).release
    assert first is not None
    change(settings.order_system_url, DEARER, "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 1")
    assert run(settings, select=SALES).success
    return settings, first.number


@pytest.mark.exhaustive
def test_releases_are_compared_by_metric_and_group(two_releases: tuple[Settings, int], shop_file: Path) -> None:
    settings, first = two_releases
    expected = expected_sales(order_system_frames(f"sqlite:///{shop_file}"), "country")
    frames = order_system_frames(settings.order_system_url)
    after = expected_sales(frames, "country")
    with opened(settings, first) as old, opened(settings) as new:
        assert old is not None
        assert new is not None
        changes = compared(old[1], new[1], "country")
        totals_of = {each.metric: each for each in compared(old[1], new[1])}
    assert {(each.group, each.metric): (each.old, each.new) for each in changes} == {
        (country, metric): (expected[country][metric], after[country][metric])
        for country in expected
        for metric in expected[country]
        if expected[country][metric] != after[country][metric]
    }
    assert totals_of["units"].difference == len(frames["orderdetails"])
    assert totals_of["orders"].difference == 0


def test_the_commands(two_releases: tuple[Settings, int], shop_file: Path) -> None:
    settings, first = two_releases
    second, home = first + 1, settings.home
    listed = classic_cars(home, "releases")
    numbers = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert numbers[:2] == [str(second), str(first)]
    shown = classic_cars(home, "releases", "show", str(first))
    assert f"release {first}, made" in shown.stdout
    assert releases.release_of(open_store(settings, read_only=True).shelf, first).run_id in shown.stdout
    assert "warehouse/fact_orders" in shown.stdout
    difference = classic_cars(home, "releases", "compare", str(first), str(second)).stdout
    more = totals(settings)[1] - totals(Settings(home=home, source_url=f"sqlite:///{shop_file}"))[1]
    assert f"{more:,.2f}" in next(line for line in difference.splitlines() if "bookedAmount" in line)
    sql = "SELECT sum(bookedAmount) AS amount FROM analytics.sales_by_country"
    old = classic_cars(home, "query", sql, "--release", str(first), "--format", "json")
    new = classic_cars(home, "query", sql, "--format", "json")
    live = classic_cars(home, "query", "SELECT count(*) AS n FROM source.orders", "--format", "json")
    before, after = (Decimal(str(json.loads(each.stdout)[0]["amount"])) for each in (old, new))
    assert after - before == more
    assert f"release {second}, " in new.stderr
    assert "release" not in live.stderr
    missing = classic_cars(home, "answers", "--release", "99")
    assert (missing.returncode, "release 99: is not kept" in missing.stderr) == (1, True)
    refused = classic_cars(home, "releases", "restore", str(first))
    assert (refused.returncode, "a DuckDB store keeps no versions" in refused.stderr) == (1, True)


def test_a_question_is_answered_while_a_run_holds_the_store(published: Settings) -> None:
    attempt(published)
    store = open_store(published)
    with store.begin(Provenance("a-run", "warehouse/fact_orders")) as writing:
        assert writing.exists(CONTRACTS[0])
        assert classic_cars(published.home, "answers", CLASSIC_CARS_QUERY_WAIT="0").returncode == 0
        asked = classic_cars(published.home, "query", "FROM source.offices", CLASSIC_CARS_QUERY_WAIT="0")
        assert (asked.returncode, "held by" in asked.stderr) == (1, True)


# What went wrong once --------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_partial_aggregate_of_another_time_makes_no_release(published: Settings) -> None:
    """An order that changes its customer within a country changes no total, and no answer by country."""
    attempt(published)
    before = shelved(published)
    frames = order_system_frames(published.order_system_url)
    customers, orders = frames["customers"], frames["orders"]
    homes = customers.set_index("customerNumber")["country"].str.strip()
    number = orders.iloc[0]
    other = next(
        each
        for each in orders["customerNumber"]
        if each != number["customerNumber"] and homes[each] == homes[number["customerNumber"]]
    )
    change(
        published.order_system_url,
        f"UPDATE orders SET customerNumber = {other} WHERE orderNumber = {number['orderNumber']}",
    )
    made = ["source/orders", "staging/orders", "warehouse/fact_orders"]
    ran = run(published, select=made)
    assert ran.success, ran.errors
    assert shelved(published) == before
    reason = open_store(published, read_only=True).shelf.noted()
    assert "monthly_sales_by_customer differs from warehouse/fact_orders by month and customer" in reason
    run(published, select=[each for each in SALES if each.startswith("analytics")])
    assert len(shelved(published)) == len(before) + 1


@pytest.mark.exhaustive
def test_a_release_that_could_not_be_made_is_tried_again(made: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shelved(made)

    def full(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(copies, "_write", full)
        change(made.order_system_url, DEARER)
        assert {*execute_what_changed(made).errors} == {"serving/release"}
    assert shelved(made) == before
    assert "the disk is full" in open_store(made, read_only=True).shelf.noted()
    again = execute_what_changed(made)
    assert (again.succeeded, again.published) == (True, [])
    assert len(shelved(made)) == len(before) + 1
    assert open_store(made, read_only=True).shelf.noted() == ""


#: A run whose process dies when the copies are written, and nothing names them yet.
KILLED = """
import os, signal
from pathlib import Path
from classic_cars.runs import execute_what_changed
from classic_cars.settings import Settings
from classic_cars.stores.pins import FolderShelf
FolderShelf.add = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
execute_what_changed(Settings(home=Path({home!r})))
"""


@pytest.mark.exhaustive
def test_a_run_that_is_killed_while_it_makes_a_release_leaves_the_one_before(made: Settings) -> None:
    before, expected = shelved(made), released_totals(made)
    change(made.order_system_url, DEARER)
    killed = subprocess.run([sys.executable, "-c", KILLED.format(home=str(made.home))], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert shelved(made) == before
    assert released_totals(made) == expected
    again = execute_what_changed(made)
    assert (again.succeeded, again.published) == (True, [])
    assert len(shelved(made)) == len(before) + 1
    assert {amount for _, amount in released_totals(made)} == {totals(made)[1]}


def test_a_store_from_before_there_were_stamps_is_copied_anew(published: Settings) -> None:
    by_hand(published, "UPDATE warehouse.dim_customers SET customerName = 'new'")
    assert attempt(published).is_new
    by_hand(published, "UPDATE warehouse.dim_customers SET customerName = 'old'")
    assert attempt(published).is_new
    with opened(published) as release:
        assert release is not None
        (batch,) = release[1].query("SELECT DISTINCT customerName FROM warehouse.dim_customers")
    assert batch.to_pylist() == [{"customerName": "old"}]


def test_whoever_has_a_release_open_keeps_it_when_it_goes(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who may not read the store may not read its copies."""
    monkeypatch.setattr(releases, "KEPT", 1)
    attempt(published)
    folder = published.store_path.parent / "releases"
    for each in folder.iterdir():
        os.utime(each, (0, time.time() - 86_400))
    published.store_path.chmod(0o600)
    folder.chmod(0o755)
    with opened(published) as release:
        assert release is not None
        by_hand(published, "UPDATE warehouse.fact_orders SET comments = 'new'")
        assert attempt(published).is_new
        assert shelved(published) == [release[0].number + 1]
        rows = release[1].query("FROM warehouse.fact_orders").read_all().num_rows
        assert rows == release[0].tables["warehouse/fact_orders"].rows
        assert not release[1].query("FROM warehouse.fact_orders WHERE comments = 'new'").read_all().num_rows
    assert folder.stat().st_mode & 0o777 == 0o700


def test_another_run_that_publishes_meanwhile_gives_no_proof(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = attempt(published).release
    assert before is not None
    change(published.order_system_url, DEARER)
    run(published, select=[each for each in SALES if each.startswith(("source", "staging"))])
    monkeypatch.setattr(release_making, "balances", lambda _store: list(before.balances))
    run(published, select=[each for each in SALES if not each.startswith(("source", "staging"))])
    assert shelved(published)[-1] == before.number
    assert "another run published meanwhile" in open_store(published, read_only=True).shelf.noted()


def test_each_reader_spills_where_no_other_does(published: Settings) -> None:
    attempt(published)
    asked = "SELECT current_setting('temp_directory') AS folder"
    folders = set()
    with opened(published) as one, opened(published) as other:
        assert one is not None
        assert other is not None
        store = open_store(published, read_only=True)
        for each in (one[1], other[1], store):
            folders.add(each.query(asked).read_all().to_pylist()[0]["folder"])
        store.release()
    assert len(folders) == 3
    assert not any(folder.startswith(str(published.store_path.parent / "releases")) for folder in folders)


def test_names_of_tables_may_be_written_as_they_come(published: Settings) -> None:
    attempt(published)
    asked = classic_cars(published.home, "query", "SELECT count(*) AS n FROM WAREHOUSE.Fact_Orders", "--format", "json")
    assert json.loads(asked.stdout) == [{"n": totals(published)[0]}]


def test_a_file_that_is_no_release_and_one_that_cannot_be_removed_stop_nothing(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = attempt(published).release
    assert first is not None
    folder = published.store_path.parent / "releases"
    (folder / "00000001 copy.json").write_text("{}")

    removing, kept = Path.unlink, []

    def locked(path: Path, **more: Any) -> None:
        if folder not in path.parents:
            return removing(path, **more)
        kept.append(path)
        raise PermissionError

    monkeypatch.setattr(releases, "KEPT", 1)
    monkeypatch.setattr(Path, "unlink", locked)
    by_hand(published, "UPDATE warehouse.fact_orders SET comments = 'new'")
    assert attempt(published).is_new
    monkeypatch.undo()
    assert kept
    assert shelved(published)[-1] == first.number + 1


@pytest.mark.exhaustive
def test_a_step_in_a_process_of_its_own_says_nothing_of_steps_under_way(
    published: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(published)
    change(published.order_system_url, DEARER)
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object())
    run(published, select=[each for each in SALES if not each.startswith("analytics/sales")], instance=instance)
    assert not instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK])
    run(published, select=SALES, instance=instance)
    assert verdict(instance).passed


def test_maintenance_that_changes_nothing_makes_no_release(published: Settings) -> None:
    before = shelved(published)
    store = open_store(published)
    for number in before:
        store.shelf.remove(number)
    assert classic_cars(published.home, "lake", "maintain").returncode == 0
    assert shelved(published) == []
    assert classic_cars(published.home, "lake", "maintain", "--apply").returncode == 0
    assert len(shelved(published)) == 1
