"""Turns at one DuckDB file: a run keeps it open, and lets in between two transactions whoever waits."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from classic_cars.stores.duckdb import DuckDBStore
from classic_cars.stores.duckdb.turns import Turns
from classic_cars.stores.publications import Publications
from classic_cars_tests.stores.tables import BY_TEST, SALES, arrow, sale

READ = """
import sys
from pathlib import Path
from classic_cars.stores.duckdb import DuckDBStore
store = DuckDBStore(Path(sys.argv[1]), read_only=True, wait=float(sys.argv[2]))
print(store.row_counts())
"""


def reader(path: Path, wait: float = 30.0) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", READ, str(path), str(wait)], stdout=subprocess.PIPE, text=True)


def write(store: DuckDBStore, number: int) -> None:
    with store.begin(BY_TEST) as tx:
        tx.stage(SALES, tx.receive(arrow(SALES, [sale(number, "2004-01-05")]))).publish()


@pytest.fixture
def store(tmp_path: Path) -> DuckDBStore:
    return DuckDBStore(tmp_path / "store" / "classic_cars.duckdb")


def test_a_run_opens_the_file_once(store: DuckDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    connect = DuckDBStore._connect
    monkeypatch.setattr(DuckDBStore, "_connect", lambda self: opened.append(1) or connect(self))
    store.begin_run("a test")
    for number in range(3):
        write(store, number)
    store.end_run()
    assert len(opened) == 1
    for number in range(2):
        write(store, number)
    assert len(opened) == 3  # outside of runs nobody else is kept out between two transactions


def test_whoever_waits_is_let_in_between_two_transactions_of_a_run(store: DuckDBStore) -> None:
    store.begin_run("a test")
    write(store, 1)
    waiting = reader(store.path)
    until = time.monotonic() + 30
    while not Turns(store.path).is_awaited():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert waiting.poll() is None
    write(store, 2)
    # Whoever waited was let in before the run went on: it would open the file again within milliseconds.
    assert not Turns(store.path).is_awaited()
    assert waiting.wait(timeout=10) == 0
    assert waiting.stdout is not None
    assert "'warehouse/sales': 1" in waiting.stdout.read()
    write(store, 3)
    store.end_run()


def test_a_reader_that_died_is_not_waited_for(store: DuckDBStore) -> None:
    store.begin_run("a test")
    write(store, 1)
    waiting = reader(store.path)
    while not Turns(store.path).is_awaited():
        time.sleep(0.02)
    waiting.kill()
    waiting.wait()
    assert not Turns(store.path).is_awaited()
    store.end_run()


def test_a_reader_of_the_same_process_sees_what_is_published(store: DuckDBStore) -> None:
    store.begin_run("a test")
    write(store, 1)
    inside = DuckDBStore(store.path, read_only=True)
    assert inside.row_counts() == {"warehouse/sales": 1}
    inside.release()
    write(store, 2)
    store.end_run()


def test_the_store_says_which_run_published_each_table(store: DuckDBStore) -> None:
    assert DuckDBStore(store.path, read_only=True).published_by() == {}
    write(store, 1)
    assert store.published_by() == {"warehouse/sales": Publications().after(None, BY_TEST.run_id)}
    assert store.published_by(["warehouse/other"]) == {}
    store.release()
