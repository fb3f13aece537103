"""Killed at any moment, a run leaves every table whole, old or new, and the next run needs no repair.

``CLASSIC_CARS_TEST_KILLS=60`` kills more often than a quick suite can.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from classic_cars.settings import Settings
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.platform import change, expected_sales, fingerprint, order_system_frames, published_sales

ROOT = Path(__file__).parents[2]
SEED = 20031
KILLS = int(os.environ.get("CLASSIC_CARS_TEST_KILLS", "2"))
#: Tables that one run of the orders makes.
ORDERS = ["source/order*+"]


class Shops:
    """Two states of the shop, and the versions of every table that they make."""

    def __init__(self, folder: Path, shop_file: Path) -> None:
        self.urls = []
        for name in ("old", "new"):
            path = folder / f"{name}.sqlite"
            shutil.copy(shop_file, path)
            self.urls.append(f"sqlite:///{path}")
        change(
            self.urls[1],
            "UPDATE orderdetails SET priceEach = priceEach - 0.01, quantityOrdered = quantityOrdered + 1",
            "UPDATE orders SET comments = 'a new version' WHERE orderNumber % 2 = 0",
            "UPDATE customers SET customerName = customerName || ' Ltd'",
            "UPDATE payments SET amount = amount + 1",
        )


def carried_out(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "classic_cars_tests.end_to_end.killing"],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_kills_in_a_row_leave_every_table_whole(tmp_path: Path, shop_file: Path, published_home: Path) -> None:
    shops = Shops(tmp_path, shop_file)
    home, clean = tmp_path / "home", tmp_path / "clean"
    for each in (home, clean):
        shutil.copytree(published_home, each)  # the old shop's tables
    dice = random.Random(SEED)
    plan: list[dict[str, Any]] = []
    for index in range(KILLS * 2 // 3):  # from outside, at random moments
        plan.append({"after": dice.uniform(0.2, 1.4), "select": ORDERS})
        if index % 4 == 0:
            plan[-1] = {"after": dice.uniform(0.3, 3.0), "persistent": index % 8 == 0}
    for index in range(KILLS // 3):  # on purpose, inside a publish
        moment = ("before", "while", "after")[index % 3]
        plan.append(
            {"publish": dice.randint(1, 8), "moment": moment, "seconds": dice.uniform(0, 0.005), "select": ORDERS}
        )
    dice.shuffle(plan)
    for index, attempt in enumerate(plan):
        attempt |= {"home": str(home), "source_url": shops.urls[1 - index % 2]}
    old = {"held": fingerprint(Settings(home=home))}
    new, *attempts = carried_out([{"home": str(clean), "source_url": shops.urls[1]}, *plan])
    assert new["outcome"] == "exit 0"
    assert new["held"].keys() == old["held"].keys()
    changed = {table for table in old["held"] if old["held"][table] != new["held"][table]}
    assert {"source/orders", "warehouse/fact_orders", "analytics/sales_by_country"} <= changed
    killed = sum(each["outcome"] == "killed" for each in attempts)
    inside = sum(each["outcome"] == "killed" and "publish" in how for each, how in zip(attempts, plan, strict=True))
    assert killed >= KILLS * 4 // 5, [(each["outcome"], how) for each, how in zip(attempts, plan, strict=True)]
    assert inside >= KILLS // 4
    for attempt, how in zip(attempts, plan, strict=True):
        # Quarantine holds run ids; it is empty here, and so the same in all versions.
        for table, version in attempt["held"].items():
            assert version in (old["held"][table], new["held"][table]), f"{table} is torn after {how}"
        assert attempt["held"].keys() == old["held"].keys()
    # The last run, from the command line and on the history that was killed too: nothing to repair.
    settings = Settings(home=home)
    last = classic_cars(home, "run", CLASSIC_CARS_SOURCE_URL=shops.urls[1])
    assert last.returncode == 0, last.stdout + last.stderr
    assert fingerprint(settings) == new["held"]
    expected = expected_sales(order_system_frames(shops.urls[1]), "country")
    assert published_sales(settings, "sales_by_country", "country") == expected
    assert classic_cars(home, "status").returncode == 0
    assert classic_cars(home, "doctor", CLASSIC_CARS_SOURCE_URL=shops.urls[1]).returncode == 0


@pytest.mark.exhaustive
def test_killed_writers_of_a_lake_leave_readers_on_whole_versions(tmp_path: Path, shop_file: Path) -> None:
    shops = Shops(tmp_path, shop_file)
    dice = random.Random(SEED)
    plan: list[dict[str, Any]] = [{"after": dice.uniform(0.3, 2.5)} for _ in range(KILLS // 5)]
    for index in range(KILLS // 5):
        moment = ("before", "while", "after")[index % 3]
        plan.append({"publish": dice.randint(1, 8), "moment": moment, "seconds": dice.uniform(0, 0.05)})
    dice.shuffle(plan)
    home = {"home": str(tmp_path / "home"), "store": "iceberg"}
    clean = [
        {"home": str(tmp_path / f"clean{index}"), "source_url": url, "store": "iceberg"}
        for index, url in enumerate(shops.urls)
    ]
    for index, attempt in enumerate(plan):
        attempt |= {**home, "source_url": shops.urls[1 - index % 2], "select": ORDERS}
    last = {**home, "source_url": shops.urls[1]}
    old, new, first, *attempts, healed = carried_out([*clean, {**home, "source_url": shops.urls[0]}, *plan, last])
    assert first["outcome"] == healed["outcome"] == "exit 0"
    assert sum(each["outcome"] == "killed" for each in attempts) >= KILLS // 4
    for attempt, how in zip(attempts, plan, strict=True):
        assert attempt["held"].keys() == old["held"].keys()
        for table, version in attempt["held"].items():
            assert version in (old["held"][table], new["held"][table]), f"{table} is torn after {how}"
    assert healed["held"] == new["held"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_first_run_that_is_killed_is_simply_run_again(tmp_path: Path, shop_file: Path, moment: str) -> None:
    shops = Shops(tmp_path, shop_file)
    home = tmp_path / "home"
    attempt = {"home": str(home), "source_url": shops.urls[0], "publish": 1, "moment": moment, "persistent": True}
    (killed,) = carried_out([attempt])
    assert killed["outcome"] == "killed"
    assert list(killed["held"]) == ([] if moment == "before" else ["source/orderdetails"])
    again = classic_cars(home, "run", CLASSIC_CARS_SOURCE_URL=shops.urls[0])
    assert again.returncode == 0, again.stdout + again.stderr
