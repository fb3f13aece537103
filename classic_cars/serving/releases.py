"""Releases: sets of table versions that belong together, numbered, each with its proof. What analysts read.

Tables are published one by one, so that after a run of some of them, or in the middle of one, their numbers need not
agree. A release is made when they do: its tables are held fast (``stores.pins``), read back and compared, and only then
shown to readers, who keep what they opened whatever is published meanwhile. Here they are read; how one is made, which
takes all that tables are compared by, is in :mod:`classic_cars.serving.release_making`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from classic_cars.errors import StoreDamaged, StoreError, TableMissing
from classic_cars.serving.completeness import ORDER_LINES, Balance
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Pinned, Store
from classic_cars.stores.pins import Pin, Shelf
from classic_cars.wording import counted, lasting

progress = logging.getLogger("classic_cars.progress")

#: How many releases are kept. Whoever has an older one open may read it some minutes longer.
KEPT = 10


class Compared(BaseModel):
    """The comparisons (``consistency.comparisons``) that a release passed, and when they last read everything (UTC)."""

    model_config = ConfigDict(frozen=True)

    by: str
    everything: datetime


class Release(BaseModel):
    """A set of table versions that agree with each other. Times in UTC, amounts in USD."""

    model_config = ConfigDict(frozen=True)

    number: int
    made: datetime
    #: The run after which it was made.
    run_id: str
    #: When the data was last proven equal to the live order system, as far as was known then.
    proven: datetime | None
    #: Rows and cents that are published, quarantined and in source.
    balances: tuple[Balance, ...]
    #: By address, where each table's rows stay.
    tables: dict[str, Pin]
    #: None: nobody knows, or by an older version of the platform.
    compared: Compared | None = None

    @classmethod
    def of(
        cls,
        number: int,
        run_id: str,
        proven: datetime | None,
        proofs: Sequence[Balance],
        pins: dict[str, Pin],
        compared: Compared,
    ) -> Release:
        """One that is made now."""
        now, lines = datetime.now(UTC).replace(microsecond=0), tuple(proofs)
        return cls(
            number=number, made=now, run_id=run_id, proven=proven, balances=lines, tables=pins, compared=compared
        )

    @property
    def order_lines(self) -> Balance:
        return next(each for each in self.balances if each.subject == ORDER_LINES.name)

    def line(self, now: datetime | None = None) -> str:
        """For people, such as ``release 12, 4 minutes old``."""
        return f"release {self.number}, {age(self.made, now)} old"


def put(store: Store, release: Release, said: str = "proven equal to source") -> bool:
    """Whether it is made: it is not where another one came since the one before it, whose tables may be newer."""
    shelf, number = store.shelf, release.number
    if newest(shelf) != number - 1 or not shelf.add(number, release.model_dump_json(indent=1)):
        return False
    with suppress(StoreError, OSError):  # the release is made; the next one tidies up
        shelf.note("")
        for old in shelf.numbers()[:-KEPT]:
            shelf.remove(old)
        store.sweep()
    progress.info("release %d: %s, %s", number, counted(len(release.tables), "table"), said)
    return True


def newest(shelf: Shelf) -> int:
    """Its number; 0 when none was made yet."""
    return max(shelf.numbers(), default=0)


def current(shelf: Shelf) -> Release | None:
    """The newest release; None when none was made yet."""
    return release_of(shelf, number) if (number := newest(shelf)) else None


def release_of(shelf: Shelf, number: int) -> Release:
    """Raises ``TableMissing`` when there is none of that number, and ``StoreDamaged`` for one that cannot be read."""
    text = shelf.read(number)
    if text is None:
        numbers = shelf.numbers()
        there = f"there are {numbers[0]} to {numbers[-1]}" if numbers else "none was made yet: `classic-cars run`"
        raise TableMissing(f"release {number}: is not kept; {there}")
    try:
        return Release.model_validate_json(text)
    except ValidationError:
        raise StoreDamaged(
            f"release {number}: its file is damaged; `classic-cars run --full` makes a new one, and older ones can be "
            "read: `classic-cars answers --release N`"
        ) from None


def all_releases(shelf: Shelf) -> list[Release]:
    """Those that can be read, newest first."""
    found = []
    for number in reversed(shelf.numbers()):
        with suppress(StoreDamaged, TableMissing):  # whoever asks for it by its number is told
            found.append(release_of(shelf, number))
    return found


@contextmanager
def opened(settings: Settings, number: int | None = None) -> Iterator[tuple[Release, Pinned] | None]:
    """A release, the current one by default, and its tables; None when there is none to be the current one.

    The store itself is not opened: nobody is waited for, and nobody waits.
    """
    with opened_in(open_store(settings, read_only=True), number) as found:
        yield found


@contextmanager
def opened_in(store: Store, number: int | None = None) -> Iterator[tuple[Release, Pinned] | None]:
    """The same, of a store that is at hand."""
    release = current(store.shelf) if number is None else release_of(store.shelf, number)
    if release is None:
        yield None
        return
    tables = store.at(release.tables)
    try:
        yield release, tables
    finally:
        tables.release()


def pending(settings: Settings) -> str:
    """Why the latest attempt made no release; empty when it did, or there was nothing new."""
    return open_store(settings, read_only=True).shelf.noted()


def last_proven(release: Release, agreed: datetime | None, held_back: str) -> datetime | None:
    """When the release was last proven equal to the live order system; ``agreed``: when the published tables were.

    While newer tables are ``held_back`` (:func:`pending`), what was proven since are those; and before it was made, the
    tables may have been others: it may be one that was gone back to.
    """
    return agreed if agreed is not None and not held_back and agreed >= release.made else release.proven


def age(moment: datetime, now: datetime | None = None) -> str:
    """Such as ``4 minutes``; how long ago something was."""
    return lasting((now or datetime.now(UTC)) - moment)
