"""A loaded scanner that goes from one question to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import duckdb
import pytest

from classic_cars.sources import scanner
from classic_cars.sources.order_system.sqlite_rows import SCANNER


@pytest.fixture(autouse=True)
def none_idle() -> Iterator[None]:
    scanner._idle.clear()
    yield
    scanner._idle.clear()


def file(folder: Path, value: int) -> Path:
    with closing(sqlite3.connect(folder / f"{value}.sqlite")) as connection, connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
        connection.execute("INSERT INTO t VALUES (?)", [value])
    return folder / f"{value}.sqlite"


def asked(path: Path) -> int:
    with scanner.lent(lambda idle: scanner.attached(SCANNER, str(path), connection=idle)) as connection:
        connection.execute("BEGIN TRANSACTION")
        return int(connection.execute("SELECT a FROM t").fetchall()[0][0])


def test_each_question_is_asked_of_its_own_file_with_one_scanner(tmp_path: Path) -> None:
    assert asked(file(tmp_path, 1)) == 1
    (first,) = scanner._idle
    assert asked(file(tmp_path, 2)) == 2
    assert scanner._idle == [first]
    with pytest.raises(duckdb.Error):
        first.execute("SELECT a FROM t")  # nothing stays attached


def test_after_a_failure_the_next_question_has_a_new_one(tmp_path: Path) -> None:
    path = file(tmp_path, 1)
    asked(path)
    attach = partial(scanner.attached, SCANNER, str(path))
    with pytest.raises(KeyboardInterrupt), scanner.lent(lambda idle: attach(connection=idle)) as connection:
        raise KeyboardInterrupt
    assert scanner._idle == []
    with pytest.raises(duckdb.Error, match="closed"):
        connection.execute("SELECT 1")
    assert asked(path) == 1


def test_threads_that_ask_at_once_each_have_their_own(tmp_path: Path) -> None:
    paths = [file(tmp_path, value) for value in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(asked, paths * 5)) == [0, 1, 2, 3] * 5
