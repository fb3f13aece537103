"""The ledger of landed files: which are known, and what becomes of new ones. Pure: no store, no files.

The rows themselves are the truth about what was ingested. The ledger saves reading files again, and says what became
of each. Where both disagree, after a run that died between publishing one and the other, the rows are right.

A ledger is only added to. What became of a file is said by its latest entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from classic_cars.sources.landing.copies import Copy, format_of
from classic_cars.sources.landing.listing import LandedFile

LOADED, EMPTY, REPEATED, QUARANTINED = "loaded", "empty", "repeated", "quarantined"

#: A content is ingested once, and the rows of the one that took its place are later.
PUT_BACK = (
    "has a content of before again, and the rows of the one in between count as later; send it with later times in "
    "its rows"
)


@dataclass(frozen=True)
class Entry:
    """One row of a ledger, see ``contracts.landed.LandedFiles``."""

    fileName: str
    bytes: int
    version: str
    fileHash: str | None
    format: str | None
    landedAt: datetime
    rows: int
    state: str
    reason: str | None
    loggedAt: datetime

    @property
    def identity(self) -> tuple[str, int, str]:
        return self.fileName, self.bytes, self.version

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Entry:
        """The entry in a row that is stored. Rows of earlier versions say ``taken`` for ``loaded``, and keep it."""
        return cls(**{**row, "state": LOADED if row["state"] == "taken" else row["state"]})

    def row(self) -> dict[str, Any]:
        return asdict(self)


def latest(entries: Iterable[Entry]) -> list[Entry]:
    """The latest entry of each file."""
    by_file = {each.identity: each for each in sorted(entries, key=lambda each: each.loggedAt)}
    return list(by_file.values())


def still_true(entries: Iterable[Entry], loaded: Mapping[str, int], listed: Iterable[LandedFile]) -> list[Entry]:
    """The entries without those of files that are there and must be read again.

    These could not be read at all, or count as loaded and none of their rows is there. ``loaded``: rows by hash.
    """
    there = {each.identity for each in listed}
    return [each for each in entries if each.identity not in there or not _is_to_be_read_again(each, loaded)]


def unseen(files: Iterable[LandedFile], known: Iterable[Entry]) -> list[LandedFile]:
    """The files without an entry, the one that landed first at the head."""
    seen = {each.identity for each in known}
    return sorted((each for each in files if each.identity not in seen), key=lambda each: (each.landed, each.name))


def _is_to_be_read_again(entry: Entry, loaded: Mapping[str, int]) -> bool:
    lost = entry.state in (LOADED, REPEATED) and entry.fileHash not in loaded
    return entry.fileHash is None or lost


def classify(
    copies: Sequence[Copy], rows: Sequence[int], known: Iterable[Entry], loaded: Mapping[str, int], now: datetime
) -> tuple[list[Entry], list[Copy]]:
    """An entry for each copy, and the copies whose rows are to be ingested: each content once.

    ``rows``: of each copy. ``known``: entries of before. ``loaded``: contents whose rows are there already, by hash.
    """
    contents = _Contents({}, {})
    for each in sorted(known, key=lambda each: each.landedAt):
        if each.state == LOADED:
            contents.add(each.fileHash, each.fileName, each.landedAt)
    entries, to_load = [], []
    for copy, count in zip(copies, rows, strict=True):
        state, reason = _state(copy, count, contents)
        if state == LOADED:
            contents.add(copy.hash, copy.file.name, copy.file.landed)
            if copy.hash is not None and copy.hash in loaded:
                count = loaded[copy.hash]  # a run ingested it and died before it could write this down
            else:
                to_load.append(copy)
        file = copy.file
        kept = count if state == LOADED else 0
        entries.append(
            Entry(file.name, file.bytes, file.version, copy.hash, copy.format, file.landed, kept, state, reason, now)
        )
    return entries, to_load


@dataclass(frozen=True)
class _Contents:
    """What was loaded: the name and the moment that each content landed with first, and the last content of a name."""

    first: dict[str | None, tuple[str, datetime]]
    last: dict[str, str | None]

    def add(self, content: str | None, name: str, landed: datetime) -> None:
        self.first[content] = name, landed
        self.last[name] = content

    def replaced(self, content: str | None, name: str) -> bool:
        """Whether the name had another content after this one landed, whose rows count instead."""
        last = self.last.get(name, content)
        return last != content and self.first[last][1] > self.first[content][1]


def _state(copy: Copy, rows: int, contents: _Contents) -> tuple[str, str | None]:
    if copy.reason is not None:
        return QUARANTINED, copy.reason
    if not rows:
        return EMPTY, None
    if copy.hash not in contents.first:
        return LOADED, None
    if contents.replaced(copy.hash, copy.file.name):
        return QUARANTINED, PUT_BACK
    return REPEATED, f"same content as {contents.first[copy.hash][0]}"


def rebuilt(entries: Iterable[Entry], found: Iterable[Mapping[str, Any]], now: datetime) -> list[Entry]:
    """Entries for contents whose rows are there, and whose entry a run that died could not write any more.

    ``found``: ``fileHash``, ``fileName``, ``landedAt`` and ``rows`` of each content whose rows are there.
    """
    known = {each.fileHash for each in entries if each.state == LOADED}
    return [
        Entry(
            fileName=row["fileName"],
            bytes=0,
            version=f"rows of {row['fileHash']}",
            fileHash=row["fileHash"],
            format=format_of(row["fileName"])[0],
            landedAt=row["landedAt"],
            rows=row["rows"],
            state=LOADED,
            reason="found by its rows: the run that ingested it died before it could write this down",
            loggedAt=now,
        )
        for row in found
        if row["fileHash"] not in known
    ]
