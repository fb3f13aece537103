"""What the platform takes that runs itself: how soon answers follow, what idle looks cost, whether memory grows.

    python -m benchmarks.live [--only looks files crowd answers] [--advances 25] [--lines 3000 3000000]

``answers`` starts ``classic-cars dev`` on a small shop of its own, lets a day pass again and again, with nobody
clicking, and takes about half an hour. ``looks`` needs MariaDB's and PostgreSQL's server programs, or leaves them out.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psutil
import sqlalchemy as sa
from dagster._core.execution.backfill import BulkActionStatus

from benchmarks.__main__ import best, required, say, table
from benchmarks.measure import ROOT, run
from classic_cars.automation.landing_sensor import SENSOR as LANDED
from classic_cars.automation.order_system_sensor import SENSOR as CHANGES
from classic_cars.instance import open_instance
from classic_cars.settings import Settings
from classic_cars_shop import api as simulator
from classic_cars_shop import servers
from classic_cars_shop.servers import free_port

PROGRAM = Path(sys.executable).with_name("classic-cars")
FILES, RATINGS_EACH = 1_000, 20
#: Nothing takes longer.
PATIENCE = 600.0
TOTALS = (
    "SELECT (SELECT count(*) FROM warehouse.fact_orders), (SELECT sum(bookedAmount) FROM analytics.sales_by_month), "
    "(SELECT sum(bookedAmount) FROM analytics.sales_by_country)"
)


@contextmanager
def dev(settings: Settings, port: int = 0) -> Iterator[psutil.Process]:
    """``classic-cars dev`` on this home; its process."""
    port = port or free_port()
    with (settings.home / "dev.log").open("wb") as log:
        command = [str(PROGRAM), "dev", "--port", str(port)]
        process = subprocess.Popen(command, env=environment(settings), stdout=log, stderr=log, start_new_session=True)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, "CLASSIC_CARS_HOME": str(settings.home)}


def waited(what: str, found: Callable[[], Any]) -> float:
    """Seconds until it is so."""
    started = time.perf_counter()
    while not found():
        if time.perf_counter() - started > PATIENCE:
            raise SystemExit(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.3)
    return time.perf_counter() - started


def asked(settings: Settings, sql: str) -> tuple[Any, ...] | None:
    """What a reader sees; None while there is nothing, or a run writes."""
    try:
        with duckdb.connect(str(settings.home / "store" / "classic_cars.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchone()
    except duckdb.Error:
        return None


def in_the_shop(url: str) -> tuple[Any, ...]:
    """The same numbers, from the shop itself."""
    with sa.create_engine(url).connect() as connection:
        booked = "SELECT count(*), sum(CAST(round(priceEach * 100) AS INTEGER) * quantityOrdered) FROM orderdetails"
        lines, cents = connection.execute(sa.text(booked)).one()
        return lines, *[Decimal(cents) / 100] * 2


def megabytes(process: psutil.Process) -> float:
    """Memory of the process and all that it started, shared pages counted once."""
    found = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            found += each.memory_full_info().pss / 2**20
        except psutil.Error:
            continue  # ended meanwhile
    return found


def history(settings: Settings) -> tuple[int, int]:
    """Ticks of the sensor of the order system, and runs that ended."""
    with open_instance(settings) as instance:
        states = [each for each in instance.all_instigator_state() if each.instigator_name == CHANGES]
        ticks = sum(len(instance.get_ticks(each.instigator_origin_id, each.selector_id)) for each in states)
        return ticks, sum(run.is_finished for run in instance.get_runs())


def answers(advances: int, **_: Any) -> None:
    """From a day's sales to the answers, and memory meanwhile."""
    with tempfile.TemporaryDirectory(prefix="classic_cars_") as folder:
        home = Path(folder)
        settings = Settings(home=home)
        simulator.create(settings.order_system_url)
        say("answers: the first tables")
        with dev(settings) as process:
            waited("the first tables", lambda: asked(settings, TOTALS) == in_the_shop(settings.order_system_url))
            waited("ratings", lambda: asked(settings, "SELECT count(*) FROM analytics.product_ratings"))
            rest(settings, process)
            before, took = megabytes(process), []
            say(f"answers: at rest with {before:,.0f} MB, {history(settings)}")
            for number in range(advances):
                old = in_the_shop(settings.order_system_url)
                while in_the_shop(settings.order_system_url) == old:
                    simulator.advance(settings.order_system_url, 1, landing=settings.landing_location)
                wanted = in_the_shop(settings.order_system_url)
                took.append(waited("a day's sales", lambda wanted=wanted: asked(settings, TOTALS) == wanted))
                say(f"answers: {number + 1} of {advances}: {took[-1]:.1f} s, {megabytes(process):,.0f} MB")
                # At any moment between two ticks.
                time.sleep(number % 7)
            waited("200 ticks", lambda: history(settings)[0] >= 200)
            rest(settings, process)
            after, (ticks, runs) = megabytes(process), history(settings)
            idle = psutil_cpu(process, 60)
    print(f"### Answers that follow a day's sales by themselves ({advances} days)\n")
    rows = [["seconds, median", f"{statistics.median(took):.1f}"], ["seconds, worst", f"{max(took):.1f}"]]
    rows += [["MB of all processes, at rest, at first", f"{before:,.0f}"]]
    rows += [[f"MB after {ticks} ticks of the sensor and {runs} runs", f"{after:,.0f}"]]
    rows += [["cores, idle", f"{idle:.2f}"]]
    table(["What", "Figure"], rows)


def rest(settings: Settings, process: psutil.Process) -> None:
    """Until no run was under way for 40 seconds, which is when their last processes are gone."""
    quiet = time.monotonic()
    while time.monotonic() - quiet < 40:
        with open_instance(settings) as instance:
            if any(not run.is_finished for run in instance.get_runs()) or not process.is_running():
                quiet = time.monotonic()
        time.sleep(2)


def psutil_cpu(process: psutil.Process, seconds: float) -> float:
    """Cores that the process and all that it started use, with nothing to do."""

    def used() -> float:
        found = 0.0
        for each in [process, *process.children(recursive=True)]:
            try:
                times = each.cpu_times()
            except psutil.Error:
                continue
            found += times.user + times.system
        return found

    before = used()
    time.sleep(seconds)
    return (used() - before) / seconds


def files(**_: Any) -> None:
    """Many landed files at once."""
    with tempfile.TemporaryDirectory(prefix="classic_cars_") as folder:
        settings = Settings(home=Path(folder))
        simulator.create(settings.order_system_url)
        ratings = (
            "SELECT (SELECT count(*) FROM source.ratings), count(*) FROM source.ratings_files WHERE state = 'loaded'"
        )
        with dev(settings) as process:
            waited("the first tables", lambda: asked(settings, "SELECT count(*) FROM analytics.product_ratings"))
            rest(settings, process)
            say(f"files: {FILES:,} are dropped")
            landing = settings.home / "landing"
            landing.mkdir(exist_ok=True)
            for number in range(FILES):
                lines = [
                    f'{{"customerNumber": 103, "productCode": "S10_1678", "productRating": {1 + line % 5}, '
                    f'"ratedAt": "2005-06-01T{line:02}:00:00Z", "ingestedAt": "2005-06-02T00:{number % 60:02}:00Z", '
                    f'"note": "{number}"}}\n'
                    for line in range(RATINGS_EACH)
                ]
                (landing / f"{number}.jsonl").write_text("".join(lines))
            expected = (FILES * RATINGS_EACH, FILES)
            seconds = waited("the files", lambda: asked(settings, ratings) == expected)
            with open_instance(settings) as instance:
                runs = [run for run in instance.get_run_records() if LANDED in run.dagster_run.tags.values()]
                inside = (runs[0].end_time or 0) - (runs[0].start_time or 0)
    print(f"### {FILES:,} files of {RATINGS_EACH} ratings, dropped at one moment\n")
    rows = [["seconds until they are all in source/ratings, each once", f"{seconds:.1f}"]]
    rows += [["of these after a file counts as complete, and the next look", f"{max(seconds - 10, 0):.1f}"]]
    rows += [["seconds of the run itself", f"{inside:.1f}"], ["runs", str(len(runs) - 1)]]
    table(["What", "Figure"], rows)


BACKFILL = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on PythonError { message } } }"""
PLACE = "{ workspaceOrError { ... on Workspace { locationEntries { name } } } }"
#: Every table with months.
MONTHLY = ["source/orders", "source/orderdetails", "staging/orders", "staging/orderdetails", "warehouse/fact_orders"]
MONTHLY += [f"analytics/{name}" for name in ("monthly_sales_by_customer", "monthly_sales_by_product", "sales_by_month")]
RUNS, MONTHS = 10, 24


def crowd(**_: Any) -> None:
    """Ten runs and a backfill of 24 months, all asked for at one moment, as the web page asks for them."""
    with tempfile.TemporaryDirectory(prefix="classic_cars_") as folder:
        settings, port = Settings(home=Path(folder)), free_port()
        simulator.create(settings.order_system_url)

        def ask(query: str, **variables: Any) -> Any:
            body = json.dumps({"query": query, "variables": variables}).encode()
            address = f"http://127.0.0.1:{port}/graphql"
            request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["data"]

        with dev(settings, port) as process:
            waited("the first tables", lambda: asked(settings, TOTALS) == in_the_shop(settings.order_system_url))
            rest(settings, process)
            with open_instance(settings) as instance:
                before = len(instance.get_runs())
            (place,) = ask(PLACE)["workspaceOrError"]["locationEntries"]
            selector = {"repositoryLocationName": place["name"], "repositoryName": "__repository__"}
            keys = [{"path": each.split("/")} for each in MONTHLY]
            months = [f"{2003 + month // 12}-{month % 12 + 1:02}" for month in range(MONTHS)]
            say(f"crowd: {RUNS} runs and a backfill of {MONTHS} months")
            for month in months[:RUNS]:
                span = [{"key": f"dagster/asset_partition_range_{end}", "value": month} for end in ("start", "end")]
                made = ask(
                    LAUNCH,
                    params={
                        "selector": {**selector, "jobName": "full_refresh", "assetSelection": keys},
                        "executionMetadata": {"tags": span},
                    },
                )
                assert made["launchRun"]["__typename"] == "LaunchRunSuccess", made
            made = ask(BACKFILL, params={"assetSelection": keys, "partitionNames": months})
            assert made["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", made
            backfill = made["launchPartitionBackfill"]["backfillId"]

            def is_over() -> bool:
                with open_instance(settings) as instance:
                    found = instance.get_backfill(backfill)
                    return all(each.is_finished for each in instance.get_runs()) and (
                        found is not None and found.status not in (BulkActionStatus.REQUESTED,)
                    )

            seconds = waited("all of them", is_over)
            rest(settings, process)
            with open_instance(settings) as instance:
                runs = instance.get_runs()[: -before or None]
                status = instance.get_backfill(backfill)
            same = asked(settings, TOTALS) == in_the_shop(settings.order_system_url)
    states = Counter(run.status.value for run in runs)
    print(f"### {RUNS} runs and a backfill of {MONTHS} months, asked for together\n")
    rows = [["runs, those that followed included", ", ".join(f"{count} {state}" for state, count in states.items())]]
    rows += [["backfill", status.status.value if status else "lost"], ["seconds", f"{seconds:.0f}"]]
    rows += [["the tables agree with the shop", "yes" if same else "NO"]]
    table(["What", "Figure"], rows)


def looks(lines: list[int], **_: Any) -> None:
    """What one look at an order system costs when nothing changed."""
    rows = []
    for count in lines:
        with ExitStack() as stack:
            for name, url in order_systems(stack):
                say(f"looks: filling {name} with {count:,} lines")
                simulator.create(url, scale=count / 3000)
                one = best(required(run("look", url)) for _ in range(2))
                signs, seconds = f"{1000 * one.facts['signs']:.1f}", f"{one.facts['seconds']:.2f}"
                rows.append([name, f"{count:,}", signs, seconds, f"{one.facts['peak_mb']:,.0f}"])
    print("### One look at an order system in which nothing changed: signs of change, and all fingerprints\n")
    table(["Order system", "Order lines", "Signs: ms", "Fingerprints: s", "Peak MB of the process"], rows)


def order_systems(stack: ExitStack) -> Iterator[tuple[str, str]]:
    """An empty one of each kind whose program is there."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="classic_cars_"))
    yield "SQLite", f"sqlite:///{folder}/shop.sqlite"
    for name, server in (("MariaDB", servers.mariadb), ("PostgreSQL", servers.postgresql)):
        try:
            yield name, stack.enter_context(stack.enter_context(server()).database())
        except servers.ProgramMissing as reason:
            say(f"looks: no {name}: {reason}")


SECTIONS: dict[str, Callable[..., None]] = {each.__name__: each for each in (looks, files, crowd, answers)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--advances", type=int, default=25)
    parser.add_argument("--lines", nargs="+", type=int, default=[3_000, 3_000_000])
    options = parser.parse_args()
    os.chdir(ROOT)
    for name in options.only:
        SECTIONS[name](advances=options.advances, lines=options.lines)


if __name__ == "__main__":
    main()
