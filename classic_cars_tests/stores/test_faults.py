"""A lake on an S3 server that fails, is slow, refuses, dies and comes back: success in the end, or a clear error."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from classic_cars.errors import ClassicCarsError, StoreAccessDenied, StoreUnreachable
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Store
from classic_cars_shop.object_store import ObjectStore, SeaweedFS, killable_seaweedfs
from classic_cars_tests.command_line import PROGRAM, classic_cars
from classic_cars_tests.faulty_proxy import WRITES, Faults, faulty_proxy
from classic_cars_tests.platform import fingerprint
from classic_cars_tests.programs import or_skip
from classic_cars_tests.stores.conftest import Open
from classic_cars_tests.stores.tables import (
    FEBRUARY,
    FIRST_QUARTER,
    SALES,
    held,
    publish,
    sale,
    seen,
    stage,
)

QUARTER = [sale(1, "2004-01-31"), sale(2, "2004-02-01", "2.50"), sale(3, "2004-03-15", None, "free")]
NEW = [sale(7, "2004-02-10"), sale(8, "2004-02-11")]
AFTERWARDS = [QUARTER[0], QUARTER[2], *NEW]

#: A person waits for a clear error no longer.
PATIENCE = 30.0


@pytest.fixture
def faults(object_store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    with faulty_proxy(object_store.port) as (endpoint, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield faults
        faults.set("")


@pytest.fixture
def settings(faults: Faults, bucket: str, tmp_path: Path) -> Settings:
    """A lake whose S3 is reached through the proxy."""
    return Settings(home=tmp_path / "home", store="iceberg", warehouse=f"s3://{bucket}/lake", store_wait=5)


@pytest.fixture
def lake(store: Store) -> Store:
    """A lake with three months published."""
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    store.release()
    return store


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["InternalError", "reset", "slow"])
def test_now_and_then_a_fault_is_overcome(lake: Store, faults: Faults, open_another: Open, kind: str):
    # Rare enough that one request and both its repetitions are not hit.
    faults.set(kind, every=7)
    publish(lake, SALES, NEW, FEBRUARY)
    lake.release()
    assert held(lake, SALES) == AFTERWARDS
    assert faults.done > 0
    faults.set("")
    assert seen(open_another(read_only=True), SALES) == AFTERWARDS


@pytest.mark.parametrize("kind", ["SlowDown", "reset"])
def test_faults_without_end_are_a_clear_error_and_change_nothing(
    lake: Store, faults: Faults, open_another: Open, kind: str
):
    faults.set(kind)
    started = time.monotonic()
    with pytest.raises(StoreUnreachable, match=r"s3://.*/lake: S3 request failed"):
        publish(lake, SALES, NEW, FEBRUARY)
    assert time.monotonic() - started < PATIENCE
    faults.set("")
    lake.release()
    assert seen(open_another(read_only=True), SALES) == QUARTER
    publish(lake, SALES, NEW, FEBRUARY)
    assert held(lake, SALES) == AFTERWARDS


@pytest.mark.parametrize(
    ("kind", "said"), [("AccessDenied", "the credentials lack a permission"), ("ExpiredToken", "session has expired")]
)
def test_a_refusal_in_the_middle_is_said_soon(lake: Store, faults: Faults, open_another: Open, kind: str, said: str):
    # Reading goes on: the credentials may just not write, or no longer.
    faults.set(kind, methods=WRITES)
    started = time.monotonic()
    with pytest.raises(StoreAccessDenied, match=said):
        publish(lake, SALES, NEW, FEBRUARY)
    assert time.monotonic() - started < PATIENCE / 3
    lake.release()
    assert held(lake, SALES) == QUARTER
    faults.set("")
    assert seen(open_another(read_only=True), SALES) == QUARTER


def test_faults_while_publishing_leave_the_old_version_and_files_that_upkeep_finds(lake: Store, faults: Faults):
    new = stage(lake, SALES, NEW, FEBRUARY)
    faults.set("AccessDenied", methods=WRITES)
    with pytest.raises(ClassicCarsError):
        new.publish()
    lake.release()  # its files cannot be removed now
    faults.set("")
    assert held(lake, SALES) == QUARTER
    lake.release()
    at_once = {"keep": timedelta(days=7), "orphan_age": timedelta(0)}
    (line,) = lake.maintain([SALES], dry_run=False, **at_once)
    assert "orphan files" in line
    lake.release()
    assert held(lake, SALES) == QUARTER


def test_a_server_that_is_back_is_used_again(lake: Store, faults: Faults, settings: Settings):
    faults.set("reset")
    for _ in range(2):
        with pytest.raises(StoreUnreachable):
            open_store(settings).begin_run("a test")
    faults.set("")
    publish(lake, SALES, NEW, FEBRUARY)
    assert held(lake, SALES) == AFTERWARDS


def patiently_read(settings: Settings) -> dict[str, str]:
    """What the lake holds; a server that was just started takes objects before it finds all of the old ones."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return fingerprint(settings)
        except StoreUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


#: Tables enough for a run to be in the middle of, and no more.
SOME = ("--select", "source/order*", "--select", "staging/order*", "--select", "*/products")


READ = ("--select", "source/*", "--select", "staging/*")


@pytest.mark.exhaustive
def test_a_server_that_dies_during_a_run(shop_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends in success or in a clear error, tables are whole, and the next run needs no repair."""
    with or_skip(killable_seaweedfs()) as server:
        for name, value in server.store.environment.items():
            monkeypatch.setenv(name, value)
        home = tmp_path / "home"
        warehouse = f"s3://{server.store.new_bucket()}/lake"
        environment = {
            "CLASSIC_CARS_SOURCE_URL": f"sqlite:///{shop_file}",
            "CLASSIC_CARS_STORE": "iceberg",
            "CLASSIC_CARS_WAREHOUSE": warehouse,
        }
        settings = Settings(home=home, store="iceberg", warehouse=warehouse)
        first = classic_cars(home, "run", "--in-memory", *READ, **environment)
        assert first.returncode == 0, first.stderr
        before = fingerprint(settings)
        for comes_back in (True, False):
            returned, said = run_while_the_server_dies(server, home, environment, comes_back=comes_back)
            if not comes_back:
                assert returned == 1
                assert "S3 request failed" in said
                server.start()
            assert "Traceback" not in said
            assert patiently_read(settings) == before  # the order system did not change
        again = classic_cars(home, "run", "--in-memory", *SOME, **environment)
        assert again.returncode == 0, again.stdout + again.stderr
        assert fingerprint(settings) == before


def run_while_the_server_dies(
    server: SeaweedFS, home: Path, environment: dict[str, str], *, comes_back: bool
) -> tuple[int, str]:
    """Exit code and output of a run under which the server is killed after its first table."""
    running = subprocess.Popen(
        [PROGRAM, "run", "--in-memory", *SOME],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "CLASSIC_CARS_HOME": str(home), **environment},
    )
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith("source/") or " source/" in line:
            break
    server.kill()
    if comes_back:
        server.start()
    said = running.communicate(timeout=180)[0]
    return running.returncode, said
