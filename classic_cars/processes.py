"""Processes of this machine: which of them live, and what killed ones leave behind: folders, files, and their children.

A folder or file that is one process's, while it works, has its number in its name: ``order-system-4711-k3j2``.
Whoever needs one removes those of processes that are gone, which may hold personal data.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

#: Seconds that the clock may have been put forward while a process lived.
CLOCK_STEP_SECONDS = 10.0
#: Folders with copies: of the order system's file, and of files that landed.
ORDER_SYSTEM, LANDING = "order-system", "landing"
#: Files and folders that are to take the place of others beside them. Where somebody else's machine writes, too, its
#: processes are not known here: they are left for so long.
UNFINISHED, SHARED_SECONDS = ".classic-cars-unfinished", 3600
#: What earlier versions called a folder with a copy, without a number: after so many seconds no run reads it any more.
UNNUMBERED, LONGEST_RUN_SECONDS = re.compile(rf"{ORDER_SYSTEM}-[a-z0-9_]{{8}}"), 24 * 3600
COPY = "copy.sqlite"


def living(pid: int, named: float) -> psutil.Process | None:
    """The process, if it is not over and had begun when it was named."""
    import psutil  # imported late: most commands find no folder of another process

    try:
        process = psutil.Process(pid)
        over = process.status() == psutil.STATUS_ZOMBIE or process.create_time() > named + CLOCK_STEP_SECONDS
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return process  # somebody else's, of which nothing is told
    return None if over else process


def end_with_parent() -> None:
    """From now on this process ends, on the spot, with the one that started it by ``multiprocessing``, if one did.

    Otherwise it would go on, and at its end wait for ever for somebody to read what it has to say.
    """
    if (parent := multiprocessing.parent_process()) is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, daemon=True, name="parent").start()


@contextmanager
def own_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder of this process that only its user may read, removed on exit; copies of killed ones are removed now."""
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path, names: Iterable[str] = (ORDER_SYSTEM, LANDING)) -> None:
    """Remove the folders and files of these names whose process is gone."""
    for name in names:
        for each in parent.glob(f"{name}-*"):
            with suppress(OSError):  # another process removes it, too, or it is somebody else's
                if _is_abandoned(each, name):
                    shutil.rmtree(each, ignore_errors=True) if name != UNFINISHED or each.is_dir() else each.unlink()


def _is_abandoned(folder: Path, name: str) -> bool:
    since = folder.stat().st_mtime
    if numbered := re.match(r"(\d+)(-|$)", folder.name.removeprefix(f"{name}-")):
        is_known = name != UNFINISHED or time.time() - since > SHARED_SECONDS
        return is_known and living(int(numbered[1]), since) is None
    if not UNNUMBERED.fullmatch(folder.name) or time.time() - since < LONGEST_RUN_SECONDS:
        return False
    return all(each.name.startswith(COPY) for each in folder.iterdir())
