"""The same run by DuckDB and by a Spark cluster, on the Iceberg store: ``python -m benchmarks.spark``.

The cluster runs on this machine: a master, one worker or two of a core each, and a Connect server, started for each run
and ended after it; that is not counted. Seconds are those of the process that runs everything, from the start of Python
to its end; CPU seconds and memory are those of all processes that take part, its own and Spark's. Memory is the highest
sum of what they have resident, looked at twice a second. Afterwards all tables are compared with DuckDB's, row for row.
Shops are made once and kept in ``bench`` under ``CLASSIC_CARS_HOME``, or in ``--home``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.__main__ import Bench, machine, required, say, table
from benchmarks.measure import ROOT, run
from classic_cars.settings import Settings
from classic_cars_shop.identical import counted, differing_tables
from classic_cars_shop.spark import workers

LINES = (3_000_000,)
LAKE = {"CLASSIC_CARS_STORE": "iceberg"}
#: Of an executor, and of the server, which plans and sends rows: enough for ten million lines, whose biggest month is
#: sorted in pieces on disk.
EXECUTOR, DRIVER = "3g", "2g"
#: Seconds between two looks at the memory.
LOOK = 0.5


@dataclass(frozen=True)
class Took:
    """What a run and all processes that took part in it took; ``load``: of the machine, in the minute before it."""

    seconds: float
    cpu: float
    peak_mb: float
    load: float


class Watched:
    """All processes that this one started: their CPU seconds, and the peak of their memory while this lasts."""

    def __init__(self) -> None:
        self.peak, self._before = 0.0, _cpu_of_all()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            self.peak = max(self.peak, _memory_of_all())

    def cpu(self) -> float:
        """Of those that still run: one that has ended is asked of whoever waited for it."""
        return sum(spent - self._before.get(who, 0) for who, spent in _cpu_of_all().items())


def _cpu_of_all() -> dict[int, float]:
    found = {}
    for each in _all():
        try:
            found[each.pid] = sum(each.cpu_times()[:2])
        except psutil.Error:
            continue  # gone
    return found


def _memory_of_all() -> float:
    total = 0
    for each in _all():
        try:
            total += each.memory_info().rss
        except psutil.Error:
            continue
    return total / 2**20


def _all() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@contextmanager
def engine(count: int) -> Iterator[dict[str, str]]:
    """The variables that name the engine: DuckDB without workers, otherwise a Spark of so many."""
    if not count:
        yield LAKE
        return
    with workers(count, EXECUTOR) as cluster, cluster.server({"spark.driver.memory": DRIVER}) as spark:
        yield {**LAKE, "CLASSIC_CARS_ENGINE": "spark", "CLASSIC_CARS_SPARK_REMOTE": spark.address}


def measured(bench: Bench, lines: int, count: int) -> tuple[Took, Path]:
    """One run of everything from nothing, and its home."""
    say(f"{name_of(count)}, {lines:,} lines")
    home = bench.folder(f"spark-{count}", lines, empty=True)
    with engine(count) as variables, Watched() as others:
        load = os.getloadavg()[0]
        one = required(run("platform", bench.shop(lines), home, env=variables))
        took = Took(one.seconds, one.cpu + others.cpu(), max(others.peak, one.peak_mb), load)
    say(f"{took.seconds:.1f} s, {took.cpu:.1f} CPU s, {took.peak_mb:,.0f} MB, load before {took.load:.1f}")
    return took, home


def name_of(count: int) -> str:
    return f"Spark, {count} worker{'s' if count > 1 else ''}" if count else "DuckDB"


def proof(one: Path, other: Path) -> str:
    """How many tables are identical. Ends the benchmark when one is not."""
    found = differing_tables(*(Settings(home=each, store="iceberg") for each in (one, other)))
    if differing := [f"{address}: {rows:,} rows" for address, rows in found.items() if rows]:
        raise SystemExit(f"{other}: other rows than DuckDB's: {', '.join(differing)}")
    say(f"identical: {counted(found)}")
    return counted(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spark", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--lines", type=int, nargs="+", default=list(LINES), help="order lines of the shops")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="workers of the clusters, one by one")
    default = Path(os.environ.get("CLASSIC_CARS_HOME", ROOT / "var")).absolute() / "bench"
    parser.add_argument("--home", type=Path, default=default, help="where shops and results are")
    options = parser.parse_args()
    bench, rows = Bench(options.home, 1, options.lines, []), []
    print(f"{machine()}; executors of one core and {EXECUTOR}, server {DRIVER}\n", flush=True)
    for lines in options.lines:
        first, home = measured(bench, lines, 0)
        for count in (0, *options.workers):
            one, other = measured(bench, lines, count) if count else (first, home)
            rows.append(
                [
                    *(name_of(count), f"{lines:,}", f"{one.seconds:.1f}", f"{one.seconds / first.seconds:.1f}"),
                    *(f"{one.cpu:.1f}", f"{one.cpu / first.cpu:.1f}", f"{one.peak_mb:,.0f}"),
                    *(f"{one.load:.1f}", proof(home, other) if count else ""),
                ]
            )
            if count:
                shutil.rmtree(other)
    header = ["Engine", "Order lines", "Seconds", "× DuckDB", "CPU s", "× DuckDB", "Peak MB", "Load before"]
    table([*header, "Identical to DuckDB"], rows)


if __name__ == "__main__":
    main()
