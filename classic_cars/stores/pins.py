"""Versions that are held fast: what a release keeps of each table, and the shelf that releases stand on.

A pin says where a table's rows stay readable, whatever is published later: a snapshot of a lake's table, or files
beside a DuckDB file. Knows nothing of what a release is or when one is made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from classic_cars.errors import StoreUnavailable
from classic_cars.files import whole_file

SUFFIX = ".json"
NOTE = "pending.txt"
#: Parts of a table that are no month: all of it, and rows without a date.
WHOLE, UNDATED = "", "none"


class Part(BaseModel):
    """The rows of one month of a table, or of all of a table without months."""

    model_config = ConfigDict(frozen=True)

    rows: int
    #: Another one for each time that the rows were published.
    stamp: str
    #: Below the folder of copies, with their sizes in bytes.
    files: dict[str, int]


class Pin(BaseModel):
    """One version of one table. ``parts``, by month (``YYYY-MM``), of a DuckDB store; ``snapshot`` of a lake."""

    model_config = ConfigDict(frozen=True)

    rows: int
    snapshot: int | None = None
    parts: dict[str, Part] = {}


#: By address.
Pins = Mapping[str, Pin]


def changed(now: Mapping[str, str], before: Mapping[str, str] | None) -> set[str]:
    """The parts whose marks (``Pinned.marks``) differ; all of the table when nobody knows what was there."""
    if before is None:
        return {WHOLE}
    return {part for part in {*now, *before} if now.get(part) != before.get(part)}


class Shelf(Protocol):
    """Numbered texts that are written once and never changed: JSON, that holds the pins of a release as ``tables``."""

    def numbers(self) -> list[int]:
        """Those that are taken, sorted."""
        ...

    def read(self, number: int) -> str | None:
        """None when there is none of that number."""
        ...

    def add(self, number: int, text: str) -> bool:
        """Whole or not at all; False when another process took the number first."""
        ...

    def remove(self, number: int) -> None: ...

    def note(self, text: str) -> None:
        """Why the latest attempt put nothing on the shelf; takes the place of the note before. Empty: it did."""
        ...

    def noted(self) -> str: ...


class _Named(BaseModel):
    tables: dict[str, Pin]


def named_on(shelf: Shelf) -> list[Pins]:
    """The pins of every text on the shelf; a damaged one names nothing that could be read."""
    return [pins for text in map(shelf.read, shelf.numbers()) for pins in named_in(text)]


def named_in(text: str | None) -> list[Pins]:
    try:
        return [_Named.model_validate_json(text or "").tables]
    except ValidationError:
        return []


class FolderShelf:
    """One file each, in a folder. Raises ``StoreUnavailable`` when it cannot be read or written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def numbers(self) -> list[int]:
        try:
            names = [*self._folder.iterdir()]  # unlike for ``glob``, what may not be listed is no empty folder
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unread(self._folder, error) from None
        return sorted(int(each.stem) for each in names if each.suffix == SUFFIX and each.stem.isdecimal())

    def read(self, number: int) -> str | None:
        try:
            # What is no text is no JSON either, and then its reader says that it is damaged.
            return self._path(number).read_text("utf-8", errors="backslashreplace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unread(self._path(number), error) from None

    def add(self, number: int, text: str) -> bool:
        self._make()
        try:
            with whole_file(self._path(number), replace=False) as file:
                file.write(text.encode())
        except FileExistsError:
            return False
        except OSError as error:
            raise self._refusal(error) from None
        return True

    def remove(self, number: int) -> None:
        """From now on, and not before, whoever has it open may read it some minutes more: see ``copies.sweep``."""
        try:
            for pins in named_in(self.read(number)):
                for folder in {Path(file).parts[0] for pin in pins.values() for each in pin.parts.values()
                               for file in each.files}:  # fmt: skip
                    with suppress(FileNotFoundError):
                        os.utime(self._folder / folder)
            self._path(number).unlink(missing_ok=True)
        except OSError as error:
            raise self._refusal(error) from None

    def note(self, text: str) -> None:
        if text == self.noted():
            return
        self._make()
        try:
            with whole_file(self._folder / NOTE) as file:
                file.write(text.encode())
        except OSError as error:
            raise self._refusal(error) from None

    def noted(self) -> str:
        try:
            return (self._folder / NOTE).read_text("utf-8", errors="replace")
        except OSError:
            return ""

    def _make(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error) from None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08}{SUFFIX}"

    def _unread(self, path: Path, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"{path}: releases cannot be read there ({error.strerror or error}); let this user read the folder and all "
            "that is in it"
        )

    def _refusal(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._folder}: releases cannot be kept there ({error.strerror or error}); make the folder writable and "
            "free some space on its disk. The published tables are whole."
        )
