"""Folders of one process: those of processes that are gone are removed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from classic_cars.contracts.order_system import orderdetails
from classic_cars.processes import (
    CLOCK_STEP_SECONDS,
    COPY,
    LANDING,
    LONGEST_RUN_SECONDS,
    ORDER_SYSTEM,
    SHARED_SECONDS,
    UNFINISHED,
    living,
    own_folder,
    remove_abandoned,
)
from classic_cars.settings import Settings
from classic_cars.sources.order_system import open_order_system
from classic_cars.stores.folders import own, replacing
from classic_cars_tests.programs import ended_process

#: Starts a child as Dagster starts those of its steps, says its number, and waits.
PARENT = """
import multiprocessing, sys, time
from classic_cars.processes import end_with_parent
def child(numbers):
    end_with_parent()
    numbers.put(multiprocessing.current_process().pid)
    time.sleep(600)
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    numbers = context.Queue()
    process = context.Process(target=child, args=(numbers,))
    process.start()
    print(numbers.get(), flush=True)
    time.sleep(600)
"""
DIES = """
import os, sys
from pathlib import Path
from classic_cars.contracts.order_system import orderdetails
from classic_cars.sources.order_system import open_order_system
with open_order_system(sys.argv[1]).snapshot(Path(sys.argv[2])) as snapshot:
    snapshot.read(orderdetails).read_next_batch()
    os.kill(os.getpid(), 9)
"""


def folder(path: Path, age: float = 0.0, *names: str) -> Path:
    path.mkdir()
    for name in names:
        (path / name).touch()
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_a_folder_is_its_process_s_and_gone_when_it_is_not_needed(tmp_path: Path) -> None:
    with own_folder(tmp_path / "store", ORDER_SYSTEM) as found:
        assert found.name.startswith(f"order-system-{os.getpid()}-")
        assert found.stat().st_mode & 0o077 == 0
        remove_abandoned(found.parent)
        assert found.exists()
    assert [*(tmp_path / "store").iterdir()] == []


def test_what_killed_processes_left_goes_with_the_next_and_what_others_keep_there_stays(tmp_path: Path) -> None:
    for name in ("spill", LANDING, UNFINISHED):
        folder(tmp_path / f"{name}-{ended_process()}-x", SHARED_SECONDS + 60, "rows")
    kept = {
        tmp_path / name for name in ("order-system-20261128-backup.sqlite", "landing-2024-05.csv", "spill-1999.csv")
    }
    for each in kept:
        each.touch()
        os.utime(each, (time.time() - SHARED_SECONDS - 60,) * 2)
    own(tmp_path, "spill")
    with replacing(tmp_path / "export") as new, own_folder(tmp_path, LANDING):
        (new / "rows").touch()
    assert {*tmp_path.iterdir()} == {*kept, tmp_path / "export"}


@pytest.mark.parametrize("name", [ORDER_SYSTEM, LANDING])
def test_folders_of_processes_that_are_gone_are_removed_by_whoever_needs_one(tmp_path: Path, name: str) -> None:
    left = folder(tmp_path / f"{name}-{ended_process()}-k3j2", 0, COPY)
    used = folder(tmp_path / f"{name}-{os.getppid()}-k3j2")
    with own_folder(tmp_path, LANDING):
        assert (left.exists(), used.exists()) == (False, True)


def test_a_process_that_was_given_the_number_later_does_not_keep_a_folder(tmp_path: Path) -> None:
    began = time.time() - (time.monotonic() + CLOCK_STEP_SECONDS + 3600)  # before this machine did
    left = folder(tmp_path / f"order-system-{os.getpid()}-k3j2", time.time() - began)
    remove_abandoned(tmp_path)
    assert not left.exists()


def test_copies_without_a_number_are_removed_once_no_run_can_read_them(tmp_path: Path) -> None:
    """Earlier versions called them so."""
    old = folder(tmp_path / "order-system-ab_d1234", LONGEST_RUN_SECONDS + 60, COPY, f"{COPY}-journal")
    young = folder(tmp_path / "order-system-ab_d1235", LONGEST_RUN_SECONDS - 60, COPY)
    others = folder(tmp_path / "order-system-ab_d1236", LONGEST_RUN_SECONDS + 60, "notes.txt")
    longer = folder(tmp_path / "order-system-of-mine", LONGEST_RUN_SECONDS + 60)
    remove_abandoned(tmp_path)
    assert [each.exists() for each in (old, young, others, longer)] == [False, True, True, True]


def test_the_copy_of_a_reader_that_was_killed_goes_with_the_next(shop: Settings, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    command = [sys.executable, "-c", DIES, shop.order_system_url, str(scratch)]
    assert subprocess.run(command, check=False).returncode == -9
    (left,) = scratch.iterdir()
    assert (left / COPY).stat().st_size > 0
    with open_order_system(shop.order_system_url).snapshot(scratch) as snapshot:
        snapshot.read(orderdetails).read_all()
        assert not left.exists()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_of_a_step_ends_with_the_run_s(tmp_path: Path, method: str) -> None:
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    with subprocess.Popen([sys.executable, program, method], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, since = int(parent.stdout.readline()), time.time()
        assert living(pid, since) is not None
        parent.kill()
    deadline = time.monotonic() + 10
    while living(pid, since) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
