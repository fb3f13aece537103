"""What a release takes, and readers beside runs: ``python -m benchmarks.releases HOME [--readers 50] [--runs 20]``.

HOME is a ``CLASSIC_CARS_HOME`` whose tables are published, such as those that ``python -m benchmarks`` leaves in
``bench/platform-3000000``; it is copied, and the copy is thrown away. First: the first release of all tables, one after
a month was published again, one after nothing was. Then, of the simulated shop of a new home: readers in a loop, each a
process that opens the current release again and again, beside runs of a shop that changes; how many answers, the
slowest, runs that failed or waited, and answers whose tables disagreed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from classic_cars.assets import ALL_TABLES
from classic_cars.contracts.base import Contract
from classic_cars.contracts.warehouse import FactOrders
from classic_cars.months import Months
from classic_cars.runs import execute_what_changed
from classic_cars.serving.release_making import Outcome, make_release
from classic_cars.serving.releases import opened
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Provenance
from classic_cars_shop import api as simulator

CONTRACTS = [each.contract for each in ALL_TABLES]
MONTHLY = [each for each in CONTRACTS if each.layer in ("warehouse", "analytics") and each.partitioned_by]
TOTALS = (
    "SELECT (SELECT sum(orderAmount) FROM warehouse.fact_orders), (SELECT sum(bookedAmount) FROM "
    "analytics.sales_by_month), (SELECT sum(bookedAmount) FROM analytics.sales_by_country)"
)


def timed(what: str, work: Callable[[], Any]) -> None:
    started, used = time.perf_counter(), time.process_time()
    work()
    print(f"| {what} | {time.perf_counter() - started:.2f} | {time.process_time() - used:.2f} |", flush=True)


def release(settings: Settings) -> Outcome:
    store = open_store(settings)
    store.begin_run("a benchmark")
    try:
        return make_release(store, CONTRACTS, "a benchmark")
    finally:
        store.end_run()


def one_month_again(settings: Settings) -> None:
    """Publish the latest month of every monthly table once more, with the rows that it has."""
    store = open_store(settings)
    latest = store.months(Contract.of(FactOrders))[-1]
    months = Months(latest, latest)
    for contract in MONTHLY:
        rows = store.read(contract, months).to_pyarrow()
        with store.begin(Provenance("a benchmark", contract.address)) as tx:
            tx.stage(contract, tx.receive(rows), months).publish()
    store.release()


def refresh(home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        settings = Settings(home=Path(folder))
        shutil.copytree(home / "store", settings.home / "store", ignore=shutil.ignore_patterns("releases", "spill"))
        with_rows = sum(open_store(settings, read_only=True).row_counts().values())
        print(f"{home.name}: {with_rows:,} rows in all tables\n\n| release | seconds | CPU s |\n| --- | ---: | ---: |")
        timed("the first, of all tables", lambda: release(settings))
        one_month_again(settings)
        timed("after one month was published again", lambda: release(settings))
        timed("nothing was published since", lambda: release(settings))


def read(home: Path, stop: Event, answers: Any, pause: float) -> None:
    """Ask in a loop; per answer how long it took, and whether the tables agreed."""
    settings = Settings(home=home)
    while not stop.is_set():
        started = time.perf_counter()
        with opened(settings) as found:
            if found is None:
                continue
            (row,) = found[1].query(TOTALS).read_all().to_pylist()
        answers.put((time.perf_counter() - started, len({Decimal(value) for value in row.values()}) == 1))
        stop.wait(pause)


def beside(readers: int, runs: int, pause: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder))
        simulator.create(settings.order_system_url)
        execute_what_changed(settings)
        spawn = multiprocessing.get_context("spawn")
        stop, answers = spawn.Event(), spawn.Manager().Queue()
        processes = [spawn.Process(target=read, args=(settings.home, stop, answers, pause)) for _ in range(readers)]
        for each in processes:
            each.start()
        failed, slowest = 0, 0.0
        for _ in range(runs):
            simulator.advance(settings.order_system_url, 1)
            started = time.perf_counter()
            failed += not execute_what_changed(settings).succeeded
            slowest = max(slowest, time.perf_counter() - started)
        stop.set()
        found = [answers.get() for _ in range(answers.qsize())]
        for each in processes:
            each.join()
    disagreed, longest = sum(not same for _, same in found), max((each for each, _ in found), default=0)
    print(
        f"\n{readers} readers beside {runs} runs: {len(found):,} answers, {disagreed} of tables that disagreed, the "
        f"slowest {longest:.2f} s; {failed} runs failed, the slowest took {slowest:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, nargs="?")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--pause", type=float, default=2.0, help="Seconds between two questions of a reader")
    parser.add_argument("--runs", type=int, default=20)
    asked = parser.parse_args()
    if asked.home:
        refresh(asked.home.absolute())
    if asked.readers:
        beside(asked.readers, asked.runs, asked.pause)


if __name__ == "__main__":
    main()
