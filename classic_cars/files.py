"""Files that appear whole, and take the place of another in one step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from classic_cars.processes import UNFINISHED, remove_abandoned


@contextmanager
def whole_file(path: Path, mode: int = 0o666, *, replace: bool = True) -> Iterator[BinaryIO]:
    """A file that is ``path`` once all of it is on the disk; when anything fails, what was there stays as it was.

    ``mode``: of a file that was not there, less the umask; one that is replaced keeps its own. Raises ``OSError``,
    without ``replace`` ``FileExistsError`` for one that is there. What killed processes left in the folder is removed.
    """
    remove_abandoned(path.parent, [UNFINISHED])
    new = path.with_name(f"{UNFINISHED}-{os.getpid()}-{uuid4().hex[:8]}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            new.replace(path)
        else:
            os.link(new, path)
    finally:
        with suppress(OSError):
            new.unlink()
