"""A landed file, copied to a folder of ours as lines of text, hashed and examined on the way, in bounded memory.

What is read later is what was hashed, whatever happens at the landing zone meanwhile. A file that is not what its
name says, is cut off or lacks a column is refused with the reason; it is never half ingested.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from classic_cars.errors import LandedFileChanged, SourceError
from classic_cars.sources.landing.listing import LandedFile, Unreadable
from classic_cars.sources.landing.parquet import copy_parquet
from classic_cars.sources.landing.place import Landing
from classic_cars.sources.landing.text import Refused, copy_text
from classic_cars.wording import counted

CHUNK = 512 * 1024
#: An archive may unpack to so many times its size, and to so many bytes in any case.
MOST_UNPACKED, UNSUSPICIOUS = 200, 64 * 1024 * 1024

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
EXPECTED = "expected .jsonl, .ndjson, .json, .csv or .parquet, each also with .gz"


@dataclass(frozen=True)
class Copy:
    """A landed file and what was found in it. Refused when it has a ``reason``; then it has no ``path``.

    ``hash``: of its content, unpacked; None when it could not be read.
    """

    file: LandedFile
    format: str | None
    hash: str | None = None
    reason: str | None = None
    path: Path | None = None
    #: Lines of the copy, the header of a CSV file included.
    lines: int = 0
    #: Columns by name, in order; of JSON Lines those of the first one.
    columns: tuple[str, ...] = ()


class Copier:
    """Copies files of ``landing`` to ``folder``. Safe to use from several threads."""

    def __init__(
        self, landing: Landing, folder: Path, columns: Sequence[str], connection: duckdb.DuckDBPyConnection
    ) -> None:
        self._landing, self._folder, self._columns, self._connection = landing, folder, columns, connection

    def copy(self, number: int, file: LandedFile) -> Copy | None:
        """The ``number``-th file, copied; None when it is not the one listed any more: it comes again.

        Raises ``SourceError`` when the landing zone, not the file, is what is wrong.
        """
        try:
            with self._landing.open(file) as raw:
                found = self._examined(raw, file, self._folder / f"{number}.lines")
            return found if found.hash is not None else self._damaged(found)
        except LandedFileChanged:
            return None
        except Unreadable as error:
            return Copy(file, format_of(file.name)[0], reason=f"cannot be read: {error}")
        except SourceError as error:
            raise type(error)(f"{file.name}: {error}") from None

    def _examined(self, raw: Any, file: LandedFile, path: Path) -> Copy:
        format_, packed = format_of(file.name)
        content = Content(raw, max(MOST_UNPACKED * file.bytes, UNSUSPICIOUS) if packed else None)
        try:
            lines = self._copied(content, format_, path)
            columns = self._checked_columns(path, format_, lines)
            return Copy(file, format_, content.hash(), None, path, lines, columns)
        except Refused as refusal:
            path.unlink(missing_ok=True)
            return Copy(file, format_, content.hash(), str(refusal))

    def _damaged(self, found: Copy) -> Copy:
        """Of an archive that cannot be unpacked, the bytes are what tells it from others."""
        with self._landing.open(found.file) as raw:
            return Copy(found.file, found.format, Content(raw).hash(), found.reason)

    def _copied(self, content: Content, format_: str | None, path: Path) -> int:
        if format_ is None:
            raise Refused(f"its name does not say what it is; {EXPECTED}")
        if format_ == "parquet":
            return copy_parquet(content, path, self._columns, self._connection, self._must_have)
        return copy_text(content, format_, path)

    def _checked_columns(self, path: Path, format_: str | None, lines: int) -> tuple[str, ...]:
        """The columns of the copy; raises ``Refused`` when a CSV file lacks one of them, or others have none."""
        with path.open(encoding="utf-8", newline="\n") as copy:
            first = copy.readline() if format_ == "csv" else next((line for line in copy if line.strip()), "")
        if format_ != "csv":
            columns = _keys(first.strip())
            if columns and not {*columns} & {*self._columns}:
                raise Refused(f"has none of the columns {', '.join(self._columns)} in its first object")
            return columns
        columns = _header(first)
        if first.strip() or lines > 1:
            self._must_have(columns)
        return columns

    def _must_have(self, found: Sequence[str]) -> None:
        missing = [name for name in self._columns if name not in found]
        if missing:
            # What stands there may be a row, with whatever the partner knows of people: only known names are said.
            known = ", ".join(name for name in self._columns if name in found)
            raise Refused(
                f"has no column {', '.join(missing)}; found {counted(len(found), 'column')}, known: {known or 'none'}"
            )
        twice = [name for name in self._columns if found.count(name) > 1]
        if twice:
            raise Refused(f"has column {', '.join(twice)} twice")


class Content:
    """The bytes of a landed file, unpacked, and hashed as they go by; can be gone through once, in parts.

    ``most``: bytes that an archive may have; with more it is no delivery but an attack. None: it is no archive.
    Raises ``Refused`` for a broken archive, ``Unreadable`` when reading fails.
    """

    def __init__(self, raw: Any, most: int | None = None) -> None:
        self._stream: Any = raw if most is None else gzip.GzipFile(fileobj=raw)
        self._most = math.inf if most is None else most
        self._hash, self._size, self._damaged = hashlib.sha256(), 0, False

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._read():
            yield chunk

    def hash(self) -> str | None:
        """Of all of it, what was not read yet included; None when it cannot be unpacked."""
        try:
            while not self._damaged and self._read():
                pass
        except Refused:
            return None
        return None if self._damaged else self._hash.hexdigest()

    def _read(self) -> bytes:
        try:
            chunk: bytes = self._stream.read(CHUNK)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self._damaged = True
            raise Refused(f"is truncated or damaged gzip: {error}") from None
        except OSError as error:
            raise Unreadable(error.strerror or type(error).__name__) from None
        self._size += len(chunk)
        if self._size > self._most:
            self._damaged = True
            raise Refused(f"unpacks to more than {MOST_UNPACKED} times its size")
        self._hash.update(chunk)
        return chunk


def format_of(name: str) -> tuple[str | None, bool]:
    """What a file's name says it is, and whether it is packed with gzip."""
    lower = name.lower()
    return FORMATS.get(Path(lower.removesuffix(".gz")).suffix), lower.endswith(".gz")


def _header(line: str) -> tuple[str, ...]:
    try:
        return tuple(name.strip() for name in next(csv.reader([line.rstrip("\n")]), []))
    except csv.Error:
        raise Refused("its first line cannot be taken apart as CSV") from None


def _keys(line: str) -> tuple[str, ...]:
    """The keys of a JSON line; none when it is a bad line, and ``Refused`` when the file is no JSON Lines at all."""
    if line[:1] in ("<", "["):
        kind = "HTML or XML" if line[0] == "<" else "one JSON array"
        raise Refused(f"begins with {line[0]!r}: {kind}, expected JSON Lines, one object a line")
    if line == "{":
        raise Refused("is one JSON object over several lines, expected JSON Lines, one object a line")
    try:
        found = json.loads(line or "{}")
    except (ValueError, RecursionError):
        return ()
    return tuple(found) if isinstance(found, dict) else ()
