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

import duckdb

from classic_cars.settings import Settings
from classic_cars.stores import published
from classic_cars_shop.servers import ProgramMissing
from classic_cars_shop.spark import cluster

PROGRAM = Path(sys.executable).parent / "classic-cars"
#: Differ between two runs over the same rows: which run it was, and when.
OF_A_RUN = ("_run_id", "loggedAt")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the cluster ends with us
    home = Path(os.environ.get("CLASSIC_CARS_HOME", "var")).absolute()
    source = os.environ.get("CLASSIC_CARS_SOURCE_URL") or f"sqlite:///{home / 'shop.sqlite'}"
    homes = {name: home / f"demo-{name}" for name in ("spark", "spark-duckdb")}
    try:
        with cluster() as spark:
            print(f"Spark Connect server at {spark.address}, two workers, page {spark.page}", flush=True)
            if not os.environ.get("CLASSIC_CARS_SOURCE_URL") and not (home / "shop.sqlite").exists():
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
    same, tables = identical(homes["spark"], homes["spark-duckdb"])
    print(f"identical to DuckDB: {same} of {tables} tables")
    sys.exit(same != tables)


def identical(one: Path, other: Path) -> tuple[int, int]:
    """How many tables of two homes hold the same rows, each as often, and how many there are."""
    same = 0
    with (
        published(Settings(home=one, store="iceberg")) as here,
        published(Settings(home=other, store="iceberg")) as there,
    ):
        addresses = sorted({*here.row_counts(), *there.row_counts()})
        for address in addresses:
            sides = []
            for store in (here, there):
                rows = store.query(f"FROM {address.replace('/', '.')}").read_all()
                sides.append(rows.select([name for name in rows.column_names if name not in OF_A_RUN]))
            connection = duckdb.connect()
            connection.register("one", sides[0])
            connection.register("other", sides[1])
            both = "(FROM one EXCEPT ALL FROM other) UNION ALL (FROM other EXCEPT ALL FROM one)"
            differing = connection.execute(f"SELECT count(*) FROM ({both})").fetchall()[0][0]
            same += not differing
            if differing:
                print(f"  {address}: {differing:,} rows differ")
    return same, len(addresses)


def _step(environment: dict[str, str], *command: str) -> None:
    print("$ classic-cars " + " ".join(command), flush=True)
    subprocess.run([str(PROGRAM), *command], env={**os.environ, **environment}, check=True)


if __name__ == "__main__":
    main()
