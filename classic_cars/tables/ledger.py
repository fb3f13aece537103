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
    first_name = {each.fileHash: each.fileName for each in known if each.state == LOADED}
    entries, to_load = [], []
    for copy, count in zip(copies, rows, strict=True):
        state, reason = _state(copy, count, first_name)
        if state == LOADED:
            first_name[copy.hash] = copy.file.name
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


def _state(copy: Copy, rows: int, first_name: Mapping[str | None, str]) -> tuple[str, str | None]:
    if copy.reason is not None:
        return QUARANTINED, copy.reason
    if not rows:
        return EMPTY, None
    if copy.hash in first_name:
        return REPEATED, f"same content as {first_name[copy.hash]}"
    return LOADED, None


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
