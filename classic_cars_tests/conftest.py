"""Fixtures for all tests: database servers, started when the first test needs them, shops and published tables."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import psutil
import pytest

gc.disable()  # until everything is imported and collected: ``live_long``

from classic_cars_shop import servers
from classic_cars_shop.servers import Server
from classic_cars_tests import remembered, shared_sql
from classic_cars_tests.assistants import asked_shop, order_frames, personal
from classic_cars_tests.postgresql_serving import served, serving
from classic_cars_tests.programs import or_skip
from classic_cars_tests.shops import made, made_home, published, published_home, real_data, shop, shop_file

remembered.install()

__all__ = [
    "asked_shop",
    "made",
    "made_home",
    "order_frames",
    "personal",
    "published",
    "published_home",
    "real_data",
    "served",
    "serving",
    "shop",
    "shop_file",
]


#: Modules that take minutes, of which most is waiting for other processes: each begins first on a worker of its own, as
#: far as there are so many, and the rest goes on beside.
LONG = ("test_web_page.py", "test_assets_on_iceberg.py", "test_dashboard.py", "test_reliability_kill.py")
#: Folders of tests that take no time. They come last, so that no worker is left with a long one when others have none.
SHORT = ("unit",)


#: Where Linux keeps files in memory, how much room the tests need there, and how much memory beside it.
IN_MEMORY, ROOM, BESIDE = Path("/dev/shm"), 6 * 2**30, 12 * 2**30


def pytest_configure() -> None:
    """Temporary files in memory where there is room: tests commit tens of thousands of times, 4 ms each on a disk.

    ``TMPDIR`` says otherwise, if it is set. And Ctrl-C is heard, by what is started, too: shells tell what they start
    in the background to ignore it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if (
        "TMPDIR" not in os.environ
        and IN_MEMORY.is_dir()
        and shutil.disk_usage(IN_MEMORY).free > ROOM
        and psutil.virtual_memory().available > BESIDE
    ):
        os.environ["TMPDIR"], tempfile.tempdir = str(IN_MEMORY), None
    shared_sql.share()


@pytest.hookimpl(trylast=True)  # when those that do not run are gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A row of tests for each worker, all of one length: a long module, a share of the others, then short tests."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    length = -(-len(items) // workers)
    rows: list[list[pytest.Item]] = [[] for _ in range(workers)]
    modules = [list(found) for _, found in groupby(items, key=lambda item: item.path)]
    long = sorted((found for found in modules if found[0].path.name in LONG), key=_place)
    short = [found for found in modules if found[0].path.parent.name in SHORT]
    rest = [found for found in modules if found not in long and found not in short]
    for place, found in enumerate([*long, *rest]):
        rows[place % workers] += found
    left = [item for row in rows for item in row[length:]] + [item for found in short for item in found]
    for row in rows:
        missing = max(0, length - len(row))
        row[length:] = left[:missing]
        del left[:missing]
    items[:] = [item for row in rows for item in row]


def _place(module: list[pytest.Item]) -> int:
    return LONG.index(module[0].path.name)


def pytest_collection_finish() -> None:
    remembered.live_long()


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Streamlit leaves its script as the main module, which a process that is spawned later would then run."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(autouse=True, scope="session")
def brief() -> Iterator[None]:
    """Ticks of this process look once; those of a daemon stay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("classic_cars.automation.lingering.LINGER_SECONDS", 0.0)
        yield


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    with or_skip(servers.mariadb()) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    with or_skip(servers.postgresql()) as server:
        yield server


@pytest.fixture
def mariadb_url(mariadb_server: Server) -> Iterator[str]:
    """An empty MariaDB database of the test's own."""
    with mariadb_server.database() as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: Server) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own."""
    with postgresql_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def order_system_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of the test's own, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shop.sqlite'}"
    return request.getfixturevalue(f"{request.param}_url")
