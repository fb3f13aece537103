"""A shop that never stops selling is read all the same: rows and control totals are of one moment."""

from __future__ import annotations

import itertools
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import ibis
import pytest
import sqlalchemy as sa

from classic_cars.contracts.order_system import orderdetails, orders
from classic_cars.sources.conform import conform
from classic_cars.sources.control_totals import ControlTotals
from classic_cars.sources.digests import held_totals
from classic_cars.sources.order_system import Snapshot, open_order_system
from classic_cars.sources.urls import SourceURL
from classic_cars_tests.order_systems import TODAY, line, make_tables, order, put

#: What the shop commits at least while it is read.
COMMITS_A_SECOND = 50
READS = 2
LINES, ORDERS_BEFORE = 8, 2000
#: Nobody waits longer for the shop to sell something.
PATIENCE = 20.0
FIRST_NEW = 100_000


@pytest.fixture(
    params=[
        "sqlite-wal",
        "mariadb",
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("sqlite-journal", "postgresql")),
    ]
)
def shop_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if not request.param.startswith("sqlite"):
        url = request.getfixturevalue(f"{request.param}_url")
    else:
        url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    make_tables(url)
    if request.param == "sqlite-wal":
        with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    put(url, orders, *(order(number, date(2004, number % 12 + 1, 5)) for number in range(ORDERS_BEFORE)))
    put(url, orderdetails, *(line(n, f"S{each}") for n in range(ORDERS_BEFORE) for each in range(LINES)))
    return url


@contextmanager
def selling(url: str, folder: Path) -> Iterator[Callable[[], int]]:
    """A shop that sells all the while, in a process of its own: locks of one process do not stop itself.

    Yields how often it has committed so far.
    """
    done = folder / "commits"
    done.touch()
    shop = subprocess.Popen([sys.executable, "-m", __name__, url, str(done)], stdin=subprocess.PIPE)
    try:
        while done.stat().st_size < 5 and shop.poll() is None:
            time.sleep(0.01)
        yield lambda: done.stat().st_size
    finally:
        shop.communicate()
    assert shop.returncode == 0


def sell(url: str, done: Path) -> None:
    """Commit orders with their lines, and changes of old prices, until standard input ends."""
    engine = sa.create_engine(SourceURL.parse(url).for_sqlalchemy())
    with engine.connect() as connection, done.open("ab", buffering=0) as said:
        for number in itertools.count():
            started = time.monotonic()
            connection.execute(orders.insert(), order(FIRST_NEW + number, date(2004, 3, 5)))
            connection.execute(orderdetails.insert(), line(FIRST_NEW + number))
            old = orderdetails.c.orderNumber == number % ORDERS_BEFORE
            connection.execute(orderdetails.update().where(old).values(priceEach="2.25"))
            connection.commit()
            said.write(b".")
            wait = max(0.0, 1 / COMMITS_A_SECOND - (time.monotonic() - started))
            if select.select([sys.stdin], [], [], wait)[0]:
                return


def compared(
    snapshot: Snapshot, table: sa.Table, months: list[date] | None, between: Callable[[], None]
) -> tuple[dict[str, ControlTotals], dict[str, ControlTotals], Any]:
    rows = snapshot.read(table, months, lambda arriving: conform(arriving, table, TODAY), TODAY).read_all()
    between()
    url = SourceURL.parse(open_url(snapshot))
    return held_totals(ibis.memtable(rows), table, url), snapshot.control_totals(table, months, TODAY), rows


def sells(committed: Callable[[], int]) -> None:
    """Wait until the shop has committed an order, and a change of an old price, that it began after this call."""
    before, deadline = committed(), time.monotonic() + PATIENCE
    while committed() < before + 2:
        assert time.monotonic() < deadline, "the shop sells nothing while it is read"
        time.sleep(0.005)


def open_url(snapshot: Any) -> str:
    return snapshot._database.url.url.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    "months",
    [pytest.param(None, id="whole"), pytest.param([date(2004, 3, 1)], id="month", marks=pytest.mark.exhaustive)],
)
def test_a_busy_shop_is_read_and_its_totals_agree_exactly(
    shop_url: str, months: list[date] | None, tmp_path: Path
) -> None:
    order_system = open_order_system(shop_url)
    with selling(shop_url, tmp_path) as committed:
        before, started = committed(), time.monotonic()
        for _ in range(READS):
            with order_system.snapshot() as snapshot:
                for table in (orderdetails, orders):
                    found, said, rows = compared(snapshot, table, months, lambda: sells(committed))
                    assert found == said
                    assert rows.num_rows > 0
        seconds, sold = time.monotonic() - started, committed() - before
    print(f"{shop_url.split(':')[0]}: {2 * READS} reads in {seconds:.1f} s, {sold / seconds:.0f} commits a second")
    assert sold > 0


def test_all_tables_of_a_run_are_of_one_moment_where_the_shop_is_not_hindered(shop_url: str, tmp_path: Path) -> None:
    if shop_url.startswith("mariadb"):
        pytest.skip("each statement there is a snapshot of its own")
    with selling(shop_url, tmp_path) as committed, open_order_system(shop_url).in_one_snapshot() as order_system:
        numbers = []
        for table in (orderdetails, orders):
            with order_system.snapshot() as snapshot:
                rows = compared(snapshot, table, None, lambda: sells(committed))[2]
                numbers.append(set(rows["orderNumber"].to_pylist()))
            sells(committed)
    assert numbers[0] == numbers[1]


if __name__ == "__main__":
    sell(sys.argv[1], Path(sys.argv[2]))
