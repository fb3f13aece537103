"""Folders that appear whole, and take the place of another in one step."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from classic_cars.processes import UNFINISHED, remove_abandoned

AT_FDCWD, RENAME_EXCHANGE = -100, 2
#: What a file system says that cannot exchange two names.
CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def own(parent: Path, name: str, *, shared: bool = False) -> Path:
    """A folder of one connection of this process, not made yet; those of processes that are gone are removed.

    ``shared``: of all its connections, for a file that DuckDB opens once a process, with one configuration.

    DuckDB names its temporary files the same in every process, and who closes removes those of all: in a folder that
    two connections share, one reads what the other wrote.
    """
    remove_abandoned(parent, [name])
    return parent / (f"{name}-{os.getpid()}" + ("" if shared else f"-{uuid.uuid4().hex[:8]}"))


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder`` that takes its place, and what it held, when all went well; otherwise it is gone.

    ``folder`` must hold nothing that is to stay. Raises ``OSError``; before it yields, if the folder cannot be renamed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = own(folder.parent, UNFINISHED)
    new.mkdir(0o700 if folder.exists() else 0o777)
    try:
        _must_be_movable(folder, new)
        yield new
        if folder.exists():
            new.chmod(folder.stat().st_mode)
            _exchange(new, folder)
        else:
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _must_be_movable(folder: Path, beside: Path) -> None:
    """Try to rename the folder to one that is not empty: that always fails, and its reason says what a rename would."""
    if not folder.exists():
        return
    occupied = beside / "occupied"
    occupied.mkdir()
    try:
        folder.rename(beside)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise OSError(error.errno, f"it cannot be renamed: {error.strerror}", str(folder)) from None
    occupied.rmdir()


def _exchange(one: Path, other: Path) -> None:
    """Each gets the other's name, so that there is always a folder of either name. Linux has it, Python has not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        return
    if ctypes.get_errno() not in CANNOT:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
    aside = one.with_name(f"{one.name}.old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)
