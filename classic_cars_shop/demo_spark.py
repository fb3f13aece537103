"""``make demo-spark``: the demo computed by a Spark cluster, and the proof that DuckDB makes the same tables.

One master, two workers and a Connect server on loopback, started for the demo and ended afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from classic_cars.settings import Settings
from classic_cars_shop.database import is_empty
from classic_cars_shop.identical import counted, differing_tables
from classic_cars_shop.servers import ProgramMissing
from classic_cars_shop.spark import QUICK, QUICK_JAVA, workers

PROGRAM = Path(sys.executable).parent / "classic-cars"


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the cluster ends with us
    home = Path(os.environ.get("CLASSIC_CARS_HOME", "var")).absolute()
    source = os.environ.get("CLASSIC_CARS_SOURCE_URL") or f"sqlite:///{home / 'shop.sqlite'}"
    homes = {name: home / f"demo-{name}" for name in ("spark", "spark-duckdb")}
    try:
        with workers() as cluster, cluster.server(QUICK, QUICK_JAVA) as spark:
            print(f"Spark Connect server at {spark.address}, two workers, page {spark.page}", flush=True)
            if not os.environ.get("CLASSIC_CARS_SOURCE_URL") and is_empty(home / "shop.sqlite"):
                _step({"CLASSIC_CARS_HOME": str(home)}, "shop", "create")
            for folder in homes.values():
                shutil.rmtree(folder, ignore_errors=True)
            common = {"CLASSIC_CARS_SOURCE_URL": source, "CLASSIC_CARS_STORE": "iceberg"}
            on_spark = {
                **common,
                "CLASSIC_CARS_HOME": str(homes["spark"]),
                "CLASSIC_CARS_ENGINE": "spark",
                "CLASSIC_CARS_SPARK_REMOTE": spark.address,
                "CLASSIC_CARS_SPARK_PAGE": spark.page or "",
            }
            _step(on_spark, "run")
            _step(on_spark, "answers")
    except ProgramMissing as missing:
        sys.exit(f"make demo-spark: {missing}")
    print("The same by DuckDB, to compare:", flush=True)
    _step({**common, "CLASSIC_CARS_HOME": str(homes["spark-duckdb"])}, "run")
    found = differing_tables(*(Settings(home=each, store="iceberg") for each in homes.values()))
    for address, rows in found.items():
        if rows:
            print(f"  {address}: {rows:,} rows differ")
    print(f"identical to DuckDB: {counted(found)}")
    sys.exit(any(found.values()))


def _step(environment: dict[str, str], *command: str) -> None:
    print("$ classic-cars " + " ".join(command), flush=True)
    subprocess.run([str(PROGRAM), *command], env={**os.environ, **environment}, check=True)


if __name__ == "__main__":
    main()
