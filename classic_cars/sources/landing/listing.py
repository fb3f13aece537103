"""What lies at a landing zone, and which of it counts. Pure: nothing is opened here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

#: A file that did not change for so long is complete.
SETTLE_SECONDS = 10.0
#: A time of change further in the future than this is a wrong clock's: nothing can be said from it.
CLOCK_SECONDS = 300.0
#: Names under which uploads are under way.
UNFINISHED = (".tmp", ".part", ".crdownload", "~")


class Unreadable(Exception):
    """One file cannot be read, though the place can."""


@dataclass(frozen=True, order=True)
class LandedFile:
    """A file as it was listed. Another of its name, size and ``version`` is the same file."""

    name: str
    bytes: int
    version: str
    landed: datetime = field(compare=False)
    #: How the place itself calls it.
    path: str = field(compare=False, repr=False)

    @property
    def identity(self) -> tuple[str, int, str]:
        return self.name, self.bytes, self.version


@dataclass(frozen=True)
class Listing:
    """What lies there: complete files by name, names of those still being written, folders that cannot be read."""

    files: tuple[LandedFile, ...] = ()
    growing: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def unsettled(self) -> int:
        """How many files are not complete yet."""
        return len(self.growing)

    def of(self, claims: Callable[[str], bool]) -> Listing:
        """The part whose names are claimed."""
        return Listing(
            tuple(each for each in self.files if claims(each.name)),
            tuple(filter(claims, self.growing)),
            tuple(filter(claims, self.unreadable)),
        )


def is_ignored(name: str) -> bool:
    """Whether a file of this name, folders included, is nobody's delivery: hidden, or an upload under way."""
    return any(part.startswith((".", "_")) for part in name.split("/")) or name.lower().endswith(UNFINISHED)


def is_settled(changed: float, now: float, settle_seconds: float) -> bool:
    """Whether a file that was last changed then is complete now."""
    return not now - settle_seconds < changed < now + CLOCK_SECONDS
