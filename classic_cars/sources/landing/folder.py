"""A landing zone that is a folder.

Listed by own code: pyarrow.fs follows links, to any file of this machine, and gives up on the whole folder for one name
that is not UTF-8.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from classic_cars.errors import LandedFileChanged, SourceAccessDenied, SourceMissing
from classic_cars.files import whole_file
from classic_cars.sources.landing.listing import (
    CLOCK_SECONDS,
    LandedFile,
    Listing,
    Unreadable,
    is_ignored,
    is_settled,
)

#: The last second that a date can have.
LAST_MOMENT = 253_402_300_799


class Folder:
    def __init__(self, root: Path, settle_seconds: float) -> None:
        self._root, self._settle_seconds = root, settle_seconds

    def list(self, now: float) -> Listing:
        if self._root.exists() and not self._root.is_dir():
            raise SourceMissing(f"{self._root}: is a file, expected a folder; correct CLASSIC_CARS_LANDING")
        found: list[LandedFile] = []
        growing: list[str] = []
        refused: list[OSError] = []
        for folder, folders, files in os.walk(self._root, onerror=refused.append):
            folders[:] = [each for each in folders if not is_ignored(each)]
            for path in (f"{folder}{os.sep}{each}" for each in files if not is_ignored(each)):
                if (seen := _look(path)) is None:
                    continue
                if is_settled(_changed(seen, now), now, self._settle_seconds):
                    found.append(_file(self._name(path), path, seen))
                else:
                    growing.append(self._name(path))
        return Listing(tuple(sorted(found)), tuple(sorted(growing)), self._unreadable(refused))

    def _unreadable(self, errors: Iterable[OSError]) -> tuple[str, ...]:
        """Names of folders that cannot be listed. One that is not there holds nothing, or was removed meanwhile."""
        refused = [each for each in errors if not isinstance(each, FileNotFoundError)]
        for each in refused:
            if os.fspath(each.filename) == str(self._root):
                raise SourceAccessDenied(
                    f"{self._root}: cannot be listed ({each.strerror}); make it readable for user {os.geteuid()}"
                ) from None
        return tuple(sorted(self._name(each.filename) for each in refused))

    @contextmanager
    def open(self, file: LandedFile) -> Iterator[BinaryIO]:
        try:
            stream = Path(file.path).open("rb")  # noqa: SIM115  (closed below; only opening is tried here)
        except FileNotFoundError:
            raise _moved(file) from None
        except OSError as error:
            raise Unreadable(error.strerror or type(error).__name__) from None
        with stream:
            yield stream
            if _file(file.name, file.path, os.fstat(stream.fileno())) != file:
                raise _moved(file)

    def put(self, name: str, data: bytes) -> None:
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as file:
            file.write(data)

    def _name(self, path: str) -> str:
        # A name may hold any bytes; those that are no text are shown as digits after a backslash, and so is no other.
        name = os.fsencode(path[len(str(self._root)) :].lstrip(os.sep)).replace(b"\\", b"\\\\")
        return name.decode("utf-8", "backslashreplace")


def _look(path: str) -> os.stat_result | None:
    """The facts of a regular file; None for anything else.

    A pipe would be waited for. A link could show us any file of this machine, to whoever may drop files here.
    """
    try:
        seen = os.lstat(path)
    except OSError:
        return None  # removed meanwhile
    return seen if stat.S_ISREG(seen.st_mode) else None


def _changed(seen: os.stat_result, now: float) -> float:
    """When the file was last changed; by this machine's clock where the writer's is ahead."""
    return seen.st_mtime if seen.st_mtime < now + CLOCK_SECONDS else seen.st_ctime


def _file(name: str, path: str, seen: os.stat_result) -> LandedFile:
    landed = datetime.fromtimestamp(min(max(seen.st_mtime, 0), LAST_MOMENT), UTC).replace(tzinfo=None)
    return LandedFile(name, seen.st_size, str(seen.st_mtime_ns), landed, path)


def _moved(file: LandedFile) -> LandedFileChanged:
    return LandedFileChanged(f"{file.name}: changed while it was read; it is read again when it has settled")
