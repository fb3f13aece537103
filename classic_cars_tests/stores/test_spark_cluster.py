"""A real Spark cluster that loses what it can lose, at named points: executors, the Connect server, our patience.

Executors are stopped before the table is written and so hold its tasks until somebody is killed: what happens, happens
in the middle of the table.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from classic_cars.contracts.base import Contract
from classic_cars.settings import Settings
from classic_cars.stores.iceberg.engines import spark_session
from classic_cars.stores.iceberg.engines.base import Written
from classic_cars.stores.iceberg.engines.spark import SparkEngine
from classic_cars_shop.identical import differing_tables
from classic_cars_shop.spark import QUICK, QUICK_JAVA, Spark, Workers, workers
from classic_cars_tests.command_line import PROGRAM
from classic_cars_tests.platform import SALES, change, fingerprint, run
from classic_cars_tests.programs import or_skip

pytestmark = pytest.mark.exhaustive

FACT = "warehouse/fact_orders"
#: How long a named point may take to come.
WAIT_SECONDS = 180


@pytest.fixture(scope="module")
def cluster() -> Iterator[Workers]:
    """One master and two workers."""
    with or_skip(workers(2)) as running:
        yield running


def server(cluster: Workers, port: int = 0) -> Any:
    """A Connect server of the cluster; its executors come and go with it."""
    return cluster.server(QUICK, QUICK_JAVA, port)


@pytest.fixture(scope="module")
def by_duckdb(shop_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shop, and all its tables as DuckDB makes them."""
    home = tmp_path_factory.mktemp("duckdb")
    shutil.copy(shop_file, home / "shop.sqlite")
    made = Settings(home=home, store="iceberg")
    assert run(made).success
    return made


@pytest.fixture(scope="module")
def home(by_duckdb: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another home with the same shop, whose tables DuckDB made, too; from the first test on Spark makes them."""
    home = tmp_path_factory.mktemp("spark")
    shutil.copy(by_duckdb.home / "shop.sqlite", home / "shop.sqlite")
    assert run(Settings(home=home, store="iceberg")).success
    return home


def on(spark: Spark, home: Path) -> Settings:
    return Settings(home=home, store="iceberg", engine="spark", spark_remote=spark.address, spark_page=spark.page or "")


def both_shops_sell(home: Path, by_duckdb: Settings) -> None:
    """One unit more of everything; DuckDB's tables follow, Spark's not yet."""
    for each in (home, by_duckdb.home):
        change(f"sqlite:///{each / 'shop.sqlite'}", "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 1")
    assert run(by_duckdb, select=SALES).success


def must_be_identical(home: Path, by_duckdb: Settings) -> None:
    found = differing_tables(by_duckdb, Settings(home=home, store="iceberg"))
    assert len(found) > len(SALES)
    assert not any(found.values()), found


# What happens, and when ------------------------------------------------------------------------------------


class Executors:
    """The processes in which a cluster computes, by the number that Spark gave them."""

    def __init__(self, cluster: Workers, spark: Spark) -> None:
        self._cluster, self._page = cluster, f"{spark.page}/api/v1/applications"

    def processes(self) -> dict[str, psutil.Process]:
        found = {}
        for worker in self._cluster.processes:
            for each in psutil.Process(worker.pid).children(recursive=True):
                words = _command(each)
                if "--executor-id" in words:
                    found[words[words.index("--executor-id") + 1]] = each
        return found

    def asked(self, what: str) -> list[dict[str, Any]]:
        with urlopen(self._page) as answer:
            application = json.load(answer)[0]["id"]
        with urlopen(f"{self._page}/{application}/{what}") as answer:
            return json.load(answer)

    def at_work(self) -> set[str]:
        """Those that have tasks which have not ended."""
        return {each["id"] for each in self.asked("executors") if each["activeTasks"] and each["id"] != "driver"}

    def send(self, number: signal.Signals) -> None:
        for each in self.processes().values():
            each.send_signal(number)

    def both_are_there(self) -> bool:
        return len(self.processes().keys() & {each["id"] for each in self.asked("executors")}) == 2

    def kill_both(self) -> None:
        """One when it has a task, the other when it has one and the first was replaced."""
        first = wait_for(lambda: self.at_work() & self.processes().keys())
        others = self.processes()
        others.pop(killed := min(first)).kill()
        wait_for(lambda: self.processes().keys() - others.keys() - {killed})
        (other,) = others
        wait_for(lambda: other in self.at_work())
        others[other].kill()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # it ends at this moment


def wait_for(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("the moment did not come")


@contextmanager
def while_written(executors: Executors, strike: Callable[[], None]) -> Iterator[list[str]]:
    """``strike`` when the fact table is being written for the first time; what is yielded says what was seen of it."""
    original, seen = SparkEngine.write, []

    def struck() -> None:
        strike()
        seen.append("struck")

    def write(self: SparkEngine, io: Any, contract: Contract, *others: Any) -> Written:
        if contract.address != FACT or seen:
            return original(self, io, contract, *others)
        wait_for(executors.both_are_there)
        executors.send(signal.SIGSTOP)
        seen.append("written")
        thread = threading.Thread(target=struck, daemon=True)
        thread.start()
        try:
            written = original(self, io, contract, *others)
        finally:
            seen.append("over")
            thread.join(WAIT_SECONDS)
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SparkEngine, "write", write)
        yield seen


# The tests -------------------------------------------------------------------------------------------------


def test_both_executors_killed_in_the_middle_of_the_fact_table(cluster: Workers, by_duckdb: Settings, home: Path):
    with server(cluster) as spark:
        executors = Executors(cluster, spark)
        with while_written(executors, executors.kill_both) as seen:
            ran = run(on(spark, home))
        assert ran.success, ran.errors or ran.failed
    assert seen == ["written", "struck", "over"]
    must_be_identical(home, by_duckdb)


def test_after_a_new_server_came_the_step_is_tried_again(cluster: Workers, by_duckdb: Settings, home: Path):
    both_shops_sell(home, by_duckdb)
    with ExitStack() as stack:
        spark = stack.enter_context(server(cluster))
        executors = Executors(cluster, spark)

        def replaced() -> None:
            wait_for(executors.at_work)
            spark.server.kill()
            executors.send(signal.SIGCONT)
            stack.enter_context(server(cluster, spark.port))

        with while_written(executors, replaced) as seen:
            ran = run(on(spark, home), select=SALES)
        assert ran.success, ran.errors or ran.failed
    assert sorted(seen) == ["over", "struck", "written"]
    tried_again = {event.step_key for event in ran.result.all_events if event.event_type_value == "STEP_RESTARTED"}
    assert tried_again == {FACT.replace("/", "__")}
    must_be_identical(home, by_duckdb)


def test_a_server_that_is_gone_for_good(
    cluster: Workers, by_duckdb: Settings, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(spark_session, "RETRIES", 3)
    before = fingerprint(Settings(home=home, store="iceberg"))
    both_shops_sell(home, by_duckdb)
    new = fingerprint(by_duckdb)
    with server(cluster) as spark:
        executors = Executors(cluster, spark)

        def killed() -> None:
            wait_for(executors.at_work)
            spark.server.kill()
            executors.send(signal.SIGCONT)

        with while_written(executors, killed) as seen:
            ran = run(on(spark, home), select=SALES)
    assert seen[0] == "written"
    assert "struck" in seen
    assert not ran.success
    assert f"{spark.address}: the Spark server does not answer" in ran.errors
    assert "check that it runs, and whether it asks for use_ssl=true. The published tables are unchanged." in ran.errors
    attempts = [event.event_type_value for event in ran.result.all_events if event.step_key == FACT.replace("/", "__")]
    assert attempts.count("STEP_RESTARTED") == 3
    held = fingerprint(Settings(home=home, store="iceberg"))
    for address, version in held.items():
        made = address in SALES and address.startswith(("source/", "staging/", "warehouse/dim_dates"))
        assert version == (new if made else before)[address], address
    with server(cluster) as spark:
        again = run(on(spark, home), select=SALES)
    assert again.success, again.errors or again.failed
    must_be_identical(home, by_duckdb)


def test_ctrl_c_in_the_middle_of_a_query_of_spark(cluster: Workers, by_duckdb: Settings, home: Path):
    before = fingerprint(Settings(home=home, store="iceberg"))
    with server(cluster) as spark:
        executors = Executors(cluster, spark)
        wait_for(executors.both_are_there)
        executors.send(signal.SIGSTOP)
        running = subprocess.Popen(
            [PROGRAM, "run", "--select", "staging/products"],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("CLASSIC_CARS_")},
                "CLASSIC_CARS_HOME": str(home),
                "CLASSIC_CARS_STORE": "iceberg",
                "CLASSIC_CARS_ENGINE": "spark",
                "CLASSIC_CARS_SPARK_REMOTE": spark.address,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_for(executors.at_work)
            running.send_signal(signal.SIGINT)
            said, _ = running.communicate(timeout=60)
        finally:
            running.kill()
        wait_for(lambda: not executors.asked("jobs?status=running"))
        executors.send(signal.SIGCONT)
    assert "interrupted" in said
    assert running.returncode == 130
    assert fingerprint(Settings(home=home, store="iceberg")) == before
    must_be_identical(home, by_duckdb)
