"""What a question about metrics takes in process, on published tables, as a table for docs/performance.md.

    python -m benchmarks.questions HOME [HOME ...]

Each HOME is a ``CLASSIC_CARS_HOME`` whose tables are published, such as those that ``python -m benchmarks`` leaves in
``bench/platform-3000``. Median of ten, from the words of the question to the rows in memory, with an open store; CPU
seconds tell more than seconds on a machine that is not ours alone.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

ROUNDS = 10

QUESTIONS: dict[str, dict[str, Any]] = {
    "net sales by country and month": {"measures": ["netSales"], "by": ["country", "month"]},
    "net sales of a line by country and month, a year, with the year before": {
        "measures": ["netSales"],
        "by": ["country", "month"],
        "where": ["productLine=Planes"],
        "period": "2004",
        "compare": "year",
    },
    "headlines of a year, with the year before": {
        "measures": ["netSales", "orders", "margin", "averageOrderValue"],
        "period": "2004",
        "compare": "year",
    },
    "orders by product line": {"measures": ["orders"], "by": ["productLine"]},
    "net sales and margin by sales representative": {"measures": ["netSales", "margin"], "by": ["salesRep"]},
    "the ten biggest customers": {"measures": ["netSales"], "by": ["customer"], "top": 10},
    "on-time shipment by month": {"measures": ["onTimeShipmentShare"], "by": ["month"]},
    "balance by country": {"measures": ["balance"], "by": ["country"]},
    "balance at the end of each month": {"measures": ["balance"], "by": ["month"]},
}


def timed(home: Path) -> dict[str, tuple[float, float]]:
    """Seconds and CPU seconds of each question, medians."""
    from classic_cars.serving.metrics import ask, expression
    from classic_cars.settings import Settings
    from classic_cars.stores import published

    found = {}
    with published(Settings(home=home)) as store:
        for what, words in QUESTIONS.items():
            rounds = []
            for _ in range(ROUNDS + 1):
                started, used = time.perf_counter(), time.process_time()
                expression(ask(**words), store.read).to_pyarrow()
                rounds.append((time.perf_counter() - started, time.process_time() - used))
            seconds, cpu = zip(*rounds[1:], strict=True)  # the first one reads the file
            found[what] = (median(seconds), median(cpu))
    return found


def lines(home: Path) -> int:
    from classic_cars.settings import Settings
    from classic_cars.stores import published

    with published(Settings(home=home)) as store:
        return store.row_counts()["warehouse/fact_orders"]


def main() -> None:
    print("| question | lines | seconds | CPU s |\n| --- | ---: | ---: | ---: |")
    for home in map(Path, sys.argv[1:]):
        number = lines(home)
        for what, (seconds, cpu) in timed(home).items():
            print(f"| {what} | {number:,} | {seconds:.2f} | {cpu:.2f} |", flush=True)


if __name__ == "__main__":
    main()
