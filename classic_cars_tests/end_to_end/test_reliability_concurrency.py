"""Many processes on one store: runs wait for each other, readers see one whole version or wait a little."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from classic_cars.errors import StoreBusy
from classic_cars.instance import open_instance
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars_tests.command_line import PROGRAM, at_once, classic_cars
from classic_cars_tests.platform import ask, change, fingerprint

ORDERS = ("--select", "source/order*", "--select", "staging/order*", "--select", "warehouse/fact_orders")


def started(settings: Settings, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """The command line in the background, as a terminal starts it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLASSIC_CARS_")}
    return subprocess.Popen(
        [PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**clean, "CLASSIC_CARS_HOME": str(settings.home), **environment},
    )


@contextmanager
def held_open(path: Path) -> Iterator[int]:
    """Another process that has the store open to write; yields its pid."""
    code = f"import duckdb, time; c = duckdb.connect({str(path)!r}); print('open', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("count", [3, pytest.param(5, marks=pytest.mark.exhaustive)])
def test_runs_at_once_follow_each_other(published: Settings, count: int) -> None:
    """One works, and those that wait for it must not get in each other's way either: three are as good as many."""
    change(published.order_system_url, "UPDATE orderdetails SET priceEach = priceEach - 0.01")
    runs = at_once(count, published.home, "run", *ORDERS)
    assert [each.returncode for each in runs] == [0] * count, runs
    with open_instance(published) as instance:
        assert instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])) == count
        spans = []
        for each in instance.get_runs():
            moments = [
                entry.timestamp
                for entry in instance.all_logs(each.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
            ]
            spans.append((min(moments), max(moments)))
    spans.sort()
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    ((lines, facts),) = ask(
        published,
        "SELECT (SELECT sum(quantityOrdered * priceEach) FROM staging.orderdetails), "
        "(SELECT sum(orderAmount) FROM warehouse.fact_orders)",
    )
    assert lines == facts


def test_the_first_runs_of_a_home_may_start_together(shop: Settings) -> None:
    runs = at_once(4, shop.home, "run", "--select", "source/offices")
    assert [each.returncode for each in runs] == [0] * 4, runs
    assert classic_cars(shop.home, "status").returncode == 0


def test_readers_see_a_whole_version_while_a_run_writes(published: Settings) -> None:
    sql = "SELECT count(*), sum(orderAmount), sum(quantityOrdered) FROM warehouse.fact_orders"
    old = ask(published, sql)
    change(published.order_system_url, "UPDATE orderdetails SET priceEach = priceEach - 0.01, quantityOrdered = 10")
    seen = []
    with ThreadPoolExecutor() as waiting:
        running = waiting.submit(classic_cars, published.home, "run", *ORDERS)
        while not running.done():
            store = open_store(published, read_only=True)
            found = [tuple(row.values()) for batch in store.query(sql) for row in batch.to_pylist()]
            store.release()
            if not seen or seen[-1] != found:
                seen.append(found)
            time.sleep(0.05)
    assert running.result().returncode == 0, running.result()
    new = ask(published, sql)
    assert new != old
    assert seen in ([old], [old, new])


def test_a_reader_that_waited_long_enough_says_who_holds_the_store(published: Settings) -> None:
    with held_open(published.store_path) as pid:
        told = classic_cars(published.home, "query", "FROM source.offices", CLASSIC_CARS_QUERY_WAIT="0.5")
        assert told.returncode == 1
        assert f"PID {pid}" in told.stderr
        assert "try again" in told.stderr
        store = open_store(published.model_copy(update={"query_wait": 0.2}), read_only=True)
        with pytest.raises(StoreBusy, match=f"PID {pid}"):
            store.row_counts()


@pytest.mark.exhaustive
def test_a_run_that_waited_long_enough_says_who_holds_the_store(published: Settings) -> None:
    with held_open(published.store_path) as pid:
        told = classic_cars(published.home, "run", "--select", "source/offices", CLASSIC_CARS_STORE_WAIT="0.5")
        assert told.returncode == 1
        assert f"PID {pid}" in told.stdout
    first = open_store(published)
    first.begin_run("run of a test")
    try:
        told = classic_cars(published.home, "run", "--select", "source/offices", CLASSIC_CARS_STORE_WAIT="0.5")
        assert told.returncode == 1
        assert f"pid {os.getpid()}, run of a test" in told.stdout
        assert "CLASSIC_CARS_STORE_WAIT" in told.stdout
    finally:
        first.end_run()


@pytest.mark.exhaustive  # test_interrupts ends runs by day
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_stops_and_leaves_nothing_behind(published: Settings, sign: signal.Signals) -> None:
    before = fingerprint(published)
    running = started(published, "run")
    assert running.stdout is not None
    for line in running.stdout:
        if "staging/" in line:
            break
    running.send_signal(sign)
    said = running.communicate(timeout=60)[0]
    assert running.returncode not in (0, None)
    assert "interrupted" in said
    assert fingerprint(published) == before
    with open_instance(published) as instance:
        assert [each.status for each in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]
    assert classic_cars(published.home, "status").returncode == 0
    assert classic_cars(published.home, "run", "--select", "source/offices").returncode == 0
