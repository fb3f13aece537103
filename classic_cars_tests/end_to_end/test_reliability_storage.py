"""A full disk, a read-only home, a file that is no store: clear errors, and the published tables unharmed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from classic_cars.settings import Settings
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.platform import fingerprint

MEBIBYTE = 1024**2
#: Tables enough to fill what is left of a disk.
SOME = ("--select", "*/orderdetails")

#: Whatever it is read for, a file that is torn or no store is named.
READ_ALL = "SELECT count(DISTINCT t) FROM source.orderdetails AS t, analytics.sales_by_country"


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of the test's own in ``folder``; the test is skipped where that is not allowed."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"mounting needs root: {done.stderr.strip()}"
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def read_only(folder: Path, at: Path) -> Iterator[Path]:
    """``folder`` once more, at a place where it cannot be written."""
    with mounted(at, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(at)], check=True)
        yield at


@pytest.mark.parametrize("history", ["kept", "in memory"])
def test_a_full_disk_is_named_and_the_next_run_succeeds(published: Settings, tmp_path: Path, history: str) -> None:
    size = sum(file.stat().st_size for file in published.home.rglob("*") if file.is_file())
    options = [*SOME, *(["--in-memory"] if history == "in memory" else [])]
    environment = {"CLASSIC_CARS_SOURCE_URL": published.order_system_url}
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", f"size={size + 24 * MEBIBYTE}", "tmpfs") as small:
        home = small / "home"
        shutil.copytree(published.home, home)
        settings = Settings(home=home)
        before = fingerprint(settings)
        ballast = small / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(small).free))
        told = classic_cars(home, "run", *options, **environment)
        assert told.returncode == 1
        said = told.stdout + told.stderr
        assert "disk" in said
        assert "free some space" in said
        assert "Traceback" not in said
        assert fingerprint(settings) == before
        ballast.unlink()
        again = classic_cars(home, "run", *options, **environment)
        assert again.returncode == 0, again.stdout + again.stderr


def test_a_home_that_cannot_be_written_is_named_and_can_be_read(published: Settings, tmp_path: Path) -> None:
    with read_only(published.home, tmp_path / "frozen") as home:
        for options in ([], ["--in-memory"]):
            told = classic_cars(home, "run", *options)
            assert told.returncode == 1
            assert str(home) in told.stdout + told.stderr
            assert "writable" in told.stdout + told.stderr
            assert "Traceback" not in told.stdout + told.stderr
        answers = classic_cars(home, "answers")
        assert answers.returncode == 0
        assert "Classic Cars" in answers.stdout
        doctor = classic_cars(home, "doctor")
        assert doctor.returncode == 1
        assert "cannot be written" in doctor.stdout
        assert "Traceback" not in doctor.stderr


def _sqlite(path: Path) -> None:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.commit()
    connection.close()


def _torn(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


@pytest.mark.parametrize("make", [_sqlite, _torn], ids=["a SQLite database", "a torn file"])
def test_a_file_that_is_no_store_is_named_and_left_alone(published: Settings, make) -> None:
    make(published.store_path)
    before = published.store_path.read_bytes()
    for command in (["run", "--in-memory", "--select", "source/offices"], ["query", READ_ALL], ["doctor"]):
        told = classic_cars(published.home, *command)
        said = told.stdout + told.stderr
        assert told.returncode == 1, said
        assert str(published.store_path) in said
        assert "Traceback" not in said
    assert published.store_path.read_bytes() == before
