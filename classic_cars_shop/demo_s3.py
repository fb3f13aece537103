"""``make demo-s3``: the demo with its tables on a real S3 server, started on loopback and ended afterwards.

Shows that others read the tables too: the totals come from polars, which knows nothing of this platform.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from classic_cars_shop.database import is_empty
from classic_cars_shop.object_store import seaweedfs

PROGRAM = Path(sys.executable).parent / "classic-cars"
OTHER_ENGINE = """
import os, polars
from classic_cars.settings import load_settings
from classic_cars.stores import open_store

catalog = open_store(load_settings(), read_only=True).catalog
options = {
    "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
    "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
    "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
    "aws_region": os.environ["AWS_REGION"],
}
table = catalog.load_table(("warehouse", "fact_orders"))
orders = polars.scan_iceberg(table, storage_options=options, reader_override="native")
print(orders.select(polars.len().alias("rows"), polars.col("orderAmount").sum()).collect())
"""


def main() -> None:
    home = Path(os.environ.get("CLASSIC_CARS_HOME", "var")).absolute()
    with seaweedfs() as server:
        bucket = server.new_bucket()
        environment = {
            **os.environ,
            **server.environment,
            "CLASSIC_CARS_HOME": str(home / "demo-s3"),
            "CLASSIC_CARS_SOURCE_URL": os.environ.get("CLASSIC_CARS_SOURCE_URL") or f"sqlite:///{home / 'shop.sqlite'}",
            "CLASSIC_CARS_STORE": "iceberg",
            "POLARS_ICEBERG_PLANNER": "pyiceberg",
            "CLASSIC_CARS_WAREHOUSE": f"s3://{bucket}/warehouse",
            "CLASSIC_CARS_CATALOG_URI": f"sqlite:///{home / 'demo-s3' / f'{bucket}.db'}",
        }

        def step(*command: str) -> None:
            print("$ " + " ".join([Path(command[0]).name, *command[1:]][:4]), flush=True)
            subprocess.run(command, env=environment, check=True)

        print(f"S3 server at {server.endpoint}, bucket {bucket}", flush=True)
        if not os.environ.get("CLASSIC_CARS_SOURCE_URL") and is_empty(home / "shop.sqlite"):
            step(str(PROGRAM), "shop", "create")
        step(str(PROGRAM), "run")
        step(str(PROGRAM), "answers")
        step(str(PROGRAM), "lake", "history", "fact_orders")
        print("The same table, read from S3 by polars:", flush=True)
        subprocess.run([sys.executable, "-c", OTHER_ENGINE], env=environment, check=True)
    print("The S3 server has ended and its bucket is gone. Your own: README.md, docs/stores.md")


if __name__ == "__main__":
    main()
