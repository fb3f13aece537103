"""PostgreSQL holds one release, whole: the next one comes in one transaction, and no reader waits or sees both."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import dagster as dg
import psycopg
import pyarrow
import pyarrow.compute
import pytest

from classic_cars.cli.catalog import contracts
from classic_cars.contracts.base import Contract
from classic_cars.errors import ServingError
from classic_cars.serving.postgresql import patience, rows
from classic_cars.serving.postgresql.asset import KEY, postgresql_check
from classic_cars.serving.postgresql.connection import Server, connected
from classic_cars.serving.postgresql.patience import Patience
from classic_cars.serving.postgresql.reader import READER
from classic_cars.serving.postgresql.refresh import refresh
from classic_cars.serving.release_making import make_release
from classic_cars.serving.releases import current, opened
from classic_cars.settings import Settings
from classic_cars.sources.urls import SourceURL
from classic_cars.stores import open_store, pins
from classic_cars.stores.sql import quoted, table_name
from classic_cars.stores.transfer import export_tables, import_tables
from classic_cars_shop.servers import PASSWORD
from classic_cars_tests.assets.test_releases import by_hand
from classic_cars_tests.command_line import PROGRAM, classic_cars
from classic_cars_tests.platform import SALES, change, run
from classic_cars_tests.postgresql_serving import (
    CONTRACTS,
    DEARER,
    DEARER_IN_MAY,
    FACT,
    TOTALS,
    asked,
    connect,
    done,
    in_postgresql,
    must_be_equal,
    refreshed,
    verdict,
)

HURRIED = Patience(turn=1, longest=60)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


# One release, and the next ---------------------------------------------------------------------------------


def test_every_value_is_that_of_the_release(served: Settings) -> None:
    must_be_equal(served)
    assert len(in_postgresql(served, FACT)) > 500
    again = refreshed(served)
    assert again.tables == {}
    ((proof,),) = asked(served, "SELECT proof FROM platform.release")
    assert proof.splitlines()[0].startswith("order lines: ")


@pytest.mark.exhaustive  # the reader in a loop sees months that changed
def test_a_run_brings_the_months_that_changed_and_open_transactions_stay_where_they_are(
    served: Settings, instance: dg.DagsterInstance
) -> None:
    lines = 'SELECT ("orderNumber", "productCode")::text, xmin::text, "orderDate" FROM warehouse.fact_orders'
    customers = "SELECT xmin::text FROM warehouse.dim_customers"
    change(served.order_system_url, DEARER_IN_MAY)
    with connect(served) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        totals, before, untouched = (reader.execute(each).fetchall() for each in (TOTALS, lines, customers))
        ran = run(served, select=SALES, instance=instance)
        assert ran.success, ran.errors
        assert reader.execute(TOTALS).fetchall() == totals
    must_be_equal(served)
    ((number, amount, *_),) = asked(served, TOTALS)
    assert number == totals[0][0] + 1
    assert amount > totals[0][1]
    written = [day for _, _, day in set(asked(served, lines)) - set(before)]
    assert {f"{day:%Y-%m}" for day in written} == {"2003-05"}
    assert len(written) == sum(f"{day:%Y-%m}" == "2003-05" for _, _, day in before)
    assert asked(served, customers) == untouched
    assert verdict(instance).passed
    event = instance.get_latest_materialization_event(KEY)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["release"].value == number


def test_a_reader_in_a_loop_sees_no_mix_and_is_never_blocked(served: Settings) -> None:
    seen, stop = set(), threading.Event()
    wrong: list[Exception] = []

    def read() -> None:
        try:
            # Reads every table first, and keeps its locks while a release comes.
            with connect(served, options="-c lock_timeout=1ms") as reader:
                while not stop.is_set():
                    reader.execute("BEGIN")
                    for each in CONTRACTS:
                        reader.execute(f"SELECT count(*) FROM {table_name(each)}")
                    seen.update(reader.execute(TOTALS).fetchall())
                    time.sleep(0.02)
                    reader.execute("COMMIT")
        except Exception as error:
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for each in readers:
        each.start()
    try:
        # Rows are gone, new, and others than they were.
        change(
            served.order_system_url,
            DEARER,
            "DELETE FROM orderdetails WHERE orderLineNumber = 2 AND orderNumber % 10 = 0",
            "UPDATE orders SET orderDate = '2003-02-03' "
            "WHERE orderNumber = (SELECT min(orderNumber) FROM orders WHERE orderDate LIKE '2003-07%')",
        )
        ran = run(served, select=SALES)
        assert ran.success, ran.errors
        time.sleep(0.2)
    finally:
        stop.set()
        for each in readers:
            each.join()
    assert wrong == []
    assert len(seen) == 2
    assert all(fact == country == month for _, fact, country, month in seen)
    must_be_equal(served)


# What is refused, and what is killed ------------------------------------------------------------------------


@contextmanager
def in_the_way(settings: Settings) -> Iterator[psycopg.Connection]:
    """A session that lets everybody read and nobody write the last table."""
    with connect(settings) as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {table_name(CONTRACTS[-1])} IN SHARE ROW EXCLUSIVE MODE")
        yield connection


@pytest.mark.exhaustive
def test_killed_in_the_middle_it_holds_the_release_before(serving: Settings) -> None:
    first, last = refreshed(serving), CONTRACTS[-1]
    done(serving, f"UPDATE {table_name(last)} SET {quoted(last.types.names[-1])} = {quoted(last.types.names[-1])}")
    change(serving.order_system_url, DEARER)
    ran = run(serving.model_copy(update={"serving_url": Settings().serving_url}), select=SALES)
    assert ran.success, ran.errors
    before = {each.address: in_postgresql(serving, each) for each in CONTRACTS}
    environment = {
        **os.environ,
        "CLASSIC_CARS_HOME": str(serving.home),
        "CLASSIC_CARS_SERVING_URL": serving.serving_url.get_secret_value(),
    }
    with in_the_way(serving) as session:
        process = subprocess.Popen([PROGRAM, "releases", "serve"], env=environment, stderr=subprocess.PIPE)
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'classic-cars' "
        waiting += "AND datname = current_database()"
        while not asked(serving, waiting):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.kill()
        process.communicate()
        assert session.execute("SELECT number FROM platform.release").fetchall() == [(first.release.number,)]
    while asked(serving, waiting.replace("wait_event_type = 'Lock' AND", "")):
        time.sleep(0.02)
    assert {each.address: in_postgresql(serving, each) for each in CONTRACTS} == before
    healed = classic_cars(serving.home, "releases", "serve", **environment)
    assert (healed.returncode, f"holds release {first.release.number + 1}: " in healed.stdout) == (0, True)
    must_be_equal(serving)


@pytest.mark.exhaustive
def test_a_server_that_is_away_fails_neither_run_nor_release(
    served: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next release heals it."""
    merged = rows.merged

    def broken(connection: Any, *rest: Any) -> Any:
        done(served, f"SELECT pg_terminate_backend({connection.info.backend_pid})")
        return merged(connection, *rest)

    before = asked(served, TOTALS)
    monkeypatch.setattr(rows, "merged", broken)
    change(served.order_system_url, DEARER)
    ran = run(served, select=SALES, instance=instance)
    assert ran.success, ran.errors
    release = current(open_store(served, read_only=True).shelf)
    assert release is not None
    assert asked(served, TOTALS) == before
    assert not verdict(instance).passed
    said = str(verdict(instance).description)
    assert "terminating connection" in said
    assert "`classic-cars releases serve`" in said
    assert PASSWORD not in said
    checked = postgresql_check(served)()
    assert not checked.passed
    assert f"PostgreSQL holds release {before[0][0]}, the current one is {release.number}" in str(checked.description)
    monkeypatch.undo()
    by_hand(served, "UPDATE warehouse.fact_orders SET comments = 'new'")
    assert run(served, select=["analytics/sales_by_month"], instance=instance).success
    ((number, *_),) = asked(served, TOTALS)
    assert number == release.number + 1
    must_be_equal(served)
    assert verdict(instance).passed
    assert postgresql_check(served)().passed


def test_whoever_may_only_read_keeps_no_load_waiting(served: Settings) -> None:
    done(served, "UPDATE platform.held SET marks = NULL")
    with connect(served) as reader:
        reader.execute(f"SET ROLE {READER}")
        reader.execute("SELECT pg_advisory_lock(hashtext('classic-cars'))")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
            reader.execute(patience.LOCK)
        started = time.monotonic()
        assert refresh(Server.of(served), open_store(served, read_only=True), CONTRACTS, patience=HURRIED) is not None
        assert time.monotonic() - started < 60


def test_a_load_within_a_run_waits_seconds_for_another_and_says_so(
    served: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "classic_cars.progress")
    with connect(served) as another, another.transaction():
        another.execute(patience.LOCK)
        with pytest.raises(ServingError, match="another load was not done after 1 s"):
            refresh(Server.of(served), open_store(served, read_only=True), CONTRACTS, patience=HURRIED)
    assert "waiting for another load" in caplog.text
    assert refreshed(served).tables == {}


@contextmanager
def frozen(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_load_by_a_server_that_is_frozen_is_given_up(served: Settings) -> None:
    """It neither answers nor goes away."""
    started = time.monotonic()
    with (
        pytest.raises(ServingError, match="not done after 1 second, and given up"),
        connected(Server.of(served), longest=1) as connection,
        frozen(connection.info.backend_pid),
    ):
        connection.execute("SELECT 1")
    assert time.monotonic() - started < 10


def test_a_database_that_is_read_only_by_default_is_written(served: Settings) -> None:
    ((name,),) = asked(served, "SELECT current_database()")
    done(served, "UPDATE platform.held SET marks = NULL")
    done(served, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    refreshed(served)
    must_be_equal(served)


def test_a_row_that_gets_lost_on_the_way_is_noticed(served: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = rows._copy

    def lossy(connection: Any, contract: Contract, target: str, arriving: pyarrow.RecordBatchReader) -> None:
        table = arriving.read_all()
        copy(connection, contract, target, table.slice(1).to_reader() if contract is FACT else table.to_reader())

    before = asked(served, TOTALS)
    done(served, "UPDATE platform.held SET marks = NULL")
    monkeypatch.setattr(rows, "_copy", lossy)
    with pytest.raises(ServingError, match="warehouse/fact_orders: PostgreSQL would have"):
        refreshed(served)
    assert asked(served, TOTALS) == before


def test_a_release_that_refers_to_nothing_is_refused_by_name(served: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, ((product,),) = rows._copy, asked(served, 'SELECT min("productCode") FROM warehouse.fact_orders')

    def without_a_product(connection: Any, contract: Contract, target: str, arriving: Any) -> None:
        table = arriving.read_all()
        if contract.name == "dim_products":
            table = table.filter(pyarrow.compute.field("productCode") != product)
        copy(connection, contract, target, table.to_reader())

    done(served, "UPDATE platform.held SET marks = NULL WHERE address = 'warehouse/dim_products'")
    monkeypatch.setattr(rows, "_copy", without_a_product)
    with pytest.raises(ServingError, match="fact_orders_productCode_fkey") as refused:
        refreshed(served)
    assert product not in str(refused.value)


def test_a_wrong_password_is_said_without_it(serving: Settings) -> None:
    url = SourceURL.parse(serving.serving_url.get_secret_value()).url
    secret = "s3cret%2Fand%40more"
    text = f"postgres://owner:{secret}@127.0.0.1:{url.port}/{url.database}"
    wrong = serving.model_copy(update={"serving_url": Settings(serving_url=text).serving_url})
    with pytest.raises(ServingError, match="password authentication failed") as refused:
        refreshed(wrong)
    shown = [str(refused.value), str(wrong), str(Server.of(wrong))]
    answered = classic_cars(serving.home, "releases", "serve", CLASSIC_CARS_SERVING_URL=text)
    examined = classic_cars(serving.home, "doctor", CLASSIC_CARS_SERVING_URL=text)
    assert (answered.returncode, "not served" in answered.stderr) == (1, True)
    shown += [answered.stdout, answered.stderr, examined.stdout, examined.stderr]
    assert not any("s3cret" in each for each in shown)
    assert "CLASSIC_CARS_SERVING_URL" in str(refused.value)


def test_tables_of_somebody_else_are_left_alone(serving: Settings) -> None:
    done(serving, "CREATE SCHEMA analytics", "CREATE TABLE analytics.sales_by_month (mine text)")
    with pytest.raises(ServingError, match="has analytics/sales_by_month already, which the platform did not make"):
        refreshed(serving)
    assert asked(serving, "SELECT to_regclass('platform.release'), to_regclass('warehouse.fact_orders')") == [
        (None, None)
    ]


def test_commands_say_what_is_missing(published: Settings) -> None:
    answered = classic_cars(published.home, "releases", "serve")
    assert (answered.returncode, "CLASSIC_CARS_SERVING_URL is not set" in answered.stderr) == (1, True)
    refused = classic_cars(published.home, "releases", CLASSIC_CARS_SERVING_URL="mysql://me:s3cret@host/db")
    assert (refused.returncode, "starts with postgresql://" in refused.stderr) == (1, True)
    assert "s3cret" not in refused.stderr


# Two homes, and a home that is behind ------------------------------------------------------------------------


def test_the_release_of_another_home_is_named_and_replaced_only_when_told(served: Settings) -> None:
    environment = {"CLASSIC_CARS_SERVING_URL": served.serving_url.get_secret_value()}
    for other in ("run = 'of another home', made = made - interval '1 hour'", "number = number + 900"):
        done(served, f"UPDATE platform.release SET {other}")
        assert "which this home did not make" in str(postgresql_check(served)().description), other
        there = asked(served, TOTALS)
        with pytest.raises(ServingError, match="releases serve --take-over"):
            refreshed(served)
        examined = classic_cars(served.home, "doctor", **environment)
        assert "which this home did not make" in examined.stdout + examined.stderr
        assert asked(served, TOTALS) == there
        assert classic_cars(served.home, "releases", "serve", **environment).returncode == 1
        taken = classic_cars(served.home, "releases", "serve", "--take-over", **environment)
        assert taken.returncode == 0, taken.stderr
        must_be_equal(served)


def test_what_was_not_served_is_said_and_a_run_that_needs_nothing_else_serves_it(served: Settings) -> None:
    url = served.serving_url.get_secret_value()
    away = f"{url.rpartition('/')[0]}/absent"
    home = {"CLASSIC_CARS_SOURCE_URL": served.order_system_url, "CLASSIC_CARS_SERVING_URL": url}
    change(served.order_system_url, DEARER_IN_MAY)
    ran = classic_cars(served.home, "run", **home | {"CLASSIC_CARS_SERVING_URL": away})
    assert (ran.returncode, "not served: " in ran.stderr) == (0, True), ran.stdout + ran.stderr
    examined = classic_cars(served.home, "doctor", **home)
    assert "the current one is 2" in examined.stdout + examined.stderr
    assert examined.returncode == 1
    again = classic_cars(served.home, "run", **home)
    assert "no run was needed" in again.stdout
    assert "not served" not in again.stderr
    must_be_equal(served)
    assert "holds release 2" in classic_cars(served.home, "doctor", **home).stdout


# On a lake --------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_of_a_lake_only_months_with_other_files_are_loaded(serving: Settings, tmp_path: Any) -> None:
    lake = serving.model_copy(update={"home": tmp_path / "lake", "store": "iceberg"})
    everything = contracts()
    list(export_tables(open_store(serving, read_only=True), everything, tmp_path / "export"))
    store = open_store(lake)
    store.begin_run("a test")
    list(import_tables(store, everything, tmp_path / "export"))
    assert make_release(store, everything, "import").is_new
    store.end_run()
    assert len(refreshed(lake).tables) == len(CONTRACTS)
    must_be_equal(lake)
    with opened(lake) as found:
        assert found is not None
        marks = found[1].marks(FACT)
    assert {"2003-01", "2003-08"} <= set(marks)
    assert pins.changed({**marks, "2003-05": "other"}, marks) == {"2003-05"}
    assert refreshed(lake).tables == {}
    done(lake, 'UPDATE warehouse.fact_orders SET "orderAmount" = 0 WHERE "orderDate" >= \'2003-05-01\'')
    assert refreshed(lake).tables[FACT.address] > 0
    must_be_equal(lake)
    assert Decimal(0) < asked(lake, TOTALS)[0][1]
