"""Files that appear whole: readers, threads, kills and full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from classic_cars.files import whole_file
from classic_cars.processes import UNFINISHED

KILLED = """
import os, signal, sys
from pathlib import Path
from classic_cars import files
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
{where} = die
with files.whole_file(Path(sys.argv[1])) as file:
    file.write(b"new " * 100_000)
"""


def written(path: Path, data: bytes, mode: int = 0o666, *, replace: bool = True) -> None:
    with whole_file(path, mode, replace=replace) as file:
        file.write(data)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_writers_at_once_never_show_half_a_file(tmp_path: Path) -> None:
    path, over = tmp_path / "file", threading.Event()
    texts = [bytes([letter]) * 300_000 for letter in b"abcd"]
    written(path, texts[0])

    def read() -> set[bytes]:
        seen = set()
        while not over.is_set():
            seen.add(path.read_bytes())
        return seen

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read)
        list(pool.map(lambda index: written(path, texts[index % 4]), range(40)))
        over.set()
    assert reading.result() <= set(texts)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(("umask", "asked", "given"), [(0o022, 0o666, 0o644), (0o077, 0o666, 0o600), (0, 0o600, 0o600)])
def test_permissions_follow_the_umask_and_stay_when_a_file_is_replaced(
    tmp_path: Path, umask: int, asked: int, given: int
) -> None:
    path, before = tmp_path / "file", os.umask(umask)
    try:
        written(path, b"old", asked)
        assert mode(path) == given
        path.chmod(0o664)
        written(path, b"new", asked)
        assert (mode(path), os.umask(umask)) == (0o664, umask)
    finally:
        os.umask(before)


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    written(path, b"old")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"ne", None])

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        written(path, b"new")
    assert ([*tmp_path.iterdir()], path.read_bytes()) == ([path], b"old")


def test_one_that_is_not_replaced_is_written_by_one_of_many(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def first(index: int) -> bool:
        try:
            written(path, f"{index}".encode(), replace=False)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor() as pool:
        made = list(pool.map(first, range(8)))
    assert (made.count(True), path.read_text()) == (1, str(made.index(True)))
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("where", ["os.fsync", "files.Path.replace", "files.os.fdopen"])
def test_a_kill_leaves_what_was_there_and_the_next_writer_removes_the_rest(tmp_path: Path, where: str) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED.format(where=where), str(path)], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (tmp_path / f"{UNFINISHED}-{os.getppid()}-k3j2").touch()
    written(path, b"new")
    assert len([*tmp_path.iterdir()]) == 3  # what is new may be of another machine's process
    for each in tmp_path.iterdir():
        if str(os.getppid()) not in each.name:
            os.utime(each, (time.time() - 7200, time.time() - 7200))
    written(path, b"new")
    assert {each.name for each in tmp_path.iterdir()} == {"file", f"{UNFINISHED}-{os.getppid()}-k3j2"}
