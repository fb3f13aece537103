"""A landed file, copied to a folder of ours as lines of text, hashed and examined on the way, in bounded memory.

What is read later is what was hashed, whatever happens at the landing place meanwhile. A file that is not what its
name says, is cut off or not UTF-8 is refused with the reason; it is never half taken in. Parquet becomes JSON Lines
here, so that there is one way to read rows.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import json
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import duckdb

from classic_cars.errors import LandingMoved, SourceError
from classic_cars.sources.landing import LandedFile, Landing, Unreadable
from classic_cars.sources.scanner import literal

CHUNK = 512 * 1024
#: An archive may unpack to so many times its size, and to so many bytes in any case.
MOST_UNPACKED, UNSUSPICIOUS = 200, 64 * 1024 * 1024
#: Unknown columns of a Parquet file whose names are kept.
NAMED = 20
#: A longer line is none that was meant as a line.
LONGEST_LINE = 1024 * 1024
#: Of a Parquet file; as JSON, five of them make no longer line, whatever they hold.
LONGEST_VALUE = LONGEST_LINE // 32

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
EXPECTED = "expected .jsonl, .ndjson, .json, .csv or .parquet, each also with .gz"
#: How files begin that are no text.
SIGNATURES = {
    b"PAR1": "Parquet",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive, or a workbook",
    b"\x1f\x8b": "compressed with gzip, which its name does not say",
    b"\xff\xfe": "UTF-16 text, expected UTF-8",
    b"\xfe\xff": "UTF-16 text, expected UTF-8",
}
#: A quoted field of a CSV file; its group is empty when it is not closed.
QUOTED = re.compile(r'(?:(?<=[,\n])|\A)"[^"]*+(?:""[^"]*+)*+("?)')
#: Bytes that no text holds.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


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


class Refused(Exception):
    """The content is not what it should be; says why."""


class Damaged(Refused):
    """The archive cannot be unpacked: there is no content."""


class Copier:
    """Copies files of ``landing`` to ``folder``. Safe to use from several threads."""

    def __init__(
        self, landing: Landing, folder: Path, columns: Sequence[str], connection: duckdb.DuckDBPyConnection
    ) -> None:
        self._landing, self._folder, self._columns, self._connection = landing, folder, columns, connection

    def copy(self, number: int, file: LandedFile) -> Copy | None:
        """The ``number``-th file, copied; None when it is not the one listed any more: it comes again.

        Raises ``SourceError`` when the landing place, not the file, is what is wrong.
        """
        format_, packed = format_of(file.name)
        found = Copy(file, format_)
        path = self._folder / f"{number}.lines"
        content = hashlib.sha256()
        try:
            with self._landing.open(file) as raw:
                chunks = _hashed(_chunks(raw, packed, _most(file, packed)), content)
                try:
                    if format_ is None:
                        raise Refused(f"its name does not say what it is; {EXPECTED}")
                    lines = self._copied(chunks, format_, path)
                    found = replace(found, path=path, lines=lines)
                    found = replace(found, columns=self._checked_columns(path, format_, lines))
                except Refused as refusal:
                    found = replace(found, reason=str(refusal), path=None, lines=0)
                    path.unlink(missing_ok=True)
                    if not (packed and isinstance(refusal, Damaged)) and _drained(chunks):
                        found = replace(found, hash=content.hexdigest())
                    else:
                        found = replace(found, hash=self._hash_as_it_is(file))
                    return found
        except LandingMoved:
            return None
        except Unreadable as error:
            return replace(found, reason=f"cannot be read: {error}", path=None, lines=0)
        except SourceError as error:
            raise type(error)(f"{file.name}: {error}") from None
        return replace(found, hash=content.hexdigest())

    def _copied(self, chunks: Iterator[bytes], format_: str, path: Path) -> int:
        if format_ != "parquet":
            return _copy_text(chunks, format_, path)
        parquet = path.with_suffix(".parquet")
        try:
            _copy_parquet(chunks, parquet)
            return self._parquet_as_lines(parquet, path)
        finally:
            parquet.unlink(missing_ok=True)

    def _parquet_as_lines(self, parquet: Path, path: Path) -> int:
        if not parquet.stat().st_size:
            path.touch()
            return 0
        source = f"read_parquet({literal(str(parquet))}, hive_partitioning = false)"
        connection = self._connection.cursor()
        try:
            found = [row[0] for row in self._of_parquet(connection, f"DESCRIBE FROM {source}")]
            self._must_have_columns(found)
            values = ", ".join(f'"{name}"::VARCHAR AS "{name}"' for name in self._columns)
            # Read to the end once, so that what fails afterwards is no fault of the file.
            longest = ", ".join(f'coalesce(max(strlen("{name}")), 0)' for name in self._columns)
            ((rows, *lengths),) = self._of_parquet(
                connection, f"SELECT count(*), {longest} FROM (SELECT {values} FROM {source})"
            )
            if max(lengths) > LONGEST_VALUE:
                raise Refused(f"has a value of more than {LONGEST_VALUE:,} bytes")
            others = [name for name in found if name not in self._columns]
            extra = "".join(f', NULL AS "{name.replace(chr(34), chr(34) * 2)}"' for name in others[:NAMED])
            connection.execute(f"COPY (SELECT {values}{extra} FROM {source}) TO {literal(str(path))} (FORMAT json)")
            return int(rows)
        except duckdb.Error as error:
            raise SourceError(
                f"{path.parent}: the copy cannot be written ({type(error).__name__}); free some space and run again"
            ) from None
        finally:
            connection.close()

    @staticmethod
    def _of_parquet(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query on a Parquet file. DuckDB's words about a damaged one hold values: its kind is kept."""
        try:
            return connection.execute(query).fetchall()
        except (duckdb.OutOfMemoryException, duckdb.InterruptException):
            raise
        except duckdb.Error as error:
            raise Refused(f"is damaged Parquet, or holds text that is not UTF-8 ({type(error).__name__})") from None

    def _checked_columns(self, path: Path, format_: str, lines: int) -> tuple[str, ...]:
        """The columns of the copy; raises ``Refused`` when a CSV file lacks one that is needed."""
        if not lines:
            return ()
        with path.open(encoding="utf-8", newline="\n") as copy:
            first = next((line for line in copy if line.strip()), "") if format_ != "csv" else copy.readline()
        if format_ == "csv":
            try:
                columns = [name.strip() for name in next(csv.reader([first.rstrip("\n")]), [])]
            except csv.Error:
                raise Refused("its first line cannot be taken apart as CSV") from None
            if first.strip() or lines > 1:
                self._must_have_columns(columns)
            return tuple(columns)
        begins = first.strip()[:1]
        if begins in ("<", "["):
            kind = "HTML or XML" if begins == "<" else "one JSON array"
            raise Refused(f"begins with {begins!r}: {kind}, expected JSON Lines, one object a line")
        if first.strip() == "{":
            raise Refused("is one JSON object over several lines, expected JSON Lines, one object a line")
        try:
            found = json.loads(first or "{}")
        except (ValueError, RecursionError):
            return ()
        return tuple(found) if isinstance(found, dict) else ()

    def _must_have_columns(self, found: Sequence[str]) -> None:
        missing = [name for name in self._columns if name not in found]
        if missing:
            # What stands there may be a row, with whatever the partner knows of people: only known names are said.
            known = ", ".join(name for name in self._columns if name in found)
            raise Refused(f"has no column {', '.join(missing)}; found {len(found)} columns, known: {known or 'none'}")
        twice = [name for name in self._columns if found.count(name) > 1]
        if twice:
            raise Refused(f"has column {', '.join(twice)} twice")

    def _hash_as_it_is(self, file: LandedFile) -> str:
        content = hashlib.sha256()
        with self._landing.open(file) as raw:
            _drained(_hashed(_chunks(raw, packed=False), content))
        return content.hexdigest()


def format_of(name: str) -> tuple[str | None, bool]:
    """What a file's name says it is, and whether it is packed with gzip."""
    lower = name.lower()
    packed = lower.endswith(".gz")
    suffix = Path(lower.removesuffix(".gz")).suffix
    return FORMATS.get(suffix), packed


def _chunks(raw: Any, packed: bool, most: float = math.inf) -> Iterator[bytes]:
    """The content, unpacked. Raises ``Damaged`` for a broken archive, ``Unreadable`` when reading fails.

    ``most``: bytes that it may have; with more it is no archive of ratings but an attack, ``Damaged`` too.
    """
    stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
    size = 0
    while True:
        try:
            chunk = stream.read(CHUNK)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Damaged(f"is truncated or damaged gzip: {error}") from None
        except OSError as error:
            raise Unreadable(error.strerror or type(error).__name__) from None
        if not chunk:
            return
        size += len(chunk)
        if size > most:
            raise Damaged(f"unpacks to more than {MOST_UNPACKED} times its size")
        yield chunk


def _most(file: LandedFile, packed: bool) -> float:
    return max(MOST_UNPACKED * file.bytes, UNSUSPICIOUS) if packed else math.inf


def _drained(chunks: Iterator[bytes]) -> bool:
    """Read what is left; False when it cannot be unpacked."""
    try:
        for _ in chunks:
            pass
    except Damaged:
        return False
    return True


def _hashed(chunks: Iterator[bytes], content: Any) -> Iterator[bytes]:
    for chunk in chunks:
        content.update(chunk)
        yield chunk


def _copy_parquet(chunks: Iterator[bytes], path: Path) -> None:
    with _OurFile(path) as copy:
        for index, chunk in enumerate(chunks):
            if not index and not chunk.startswith(b"PAR1"):
                raise Refused(f"is not Parquet{_what(chunk)}")
            copy.write(chunk)


def _copy_text(chunks: Iterator[bytes], format_: str, path: Path) -> int:
    """Copy UTF-8 text; each line ends in a newline, and none is empty. The number of lines."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), translate=True)
    lines, unfinished, begun = 0, 0, False
    records = _Records() if format_ == "csv" else None
    with _OurFile(path) as copy:
        for chunk in _and_the_end(chunks):
            if not begun and chunk is not None:
                if what := _what(chunk):
                    raise Refused(f"is not {'JSON Lines' if format_ == 'jsonl' else 'CSV'}{what}")
                chunk = chunk.removeprefix(codecs.BOM_UTF8)
                begun = True
            text = _decoded(decoder, chunk)
            if records is not None:
                text = records.lines(text, lines, final=chunk is None)
            if chunk is None and unfinished + len(text):
                text += "" if text.endswith("\n") or (not text and not unfinished) else "\n"
            if CONTROLS.search(text):
                raise Refused("is not text: it holds bytes that no text does")
            # DuckDB passes over empty lines, and the lines after them would get wrong numbers.
            text = _without_empty_lines(text, at_start=not unfinished)
            data = text.encode()
            first, last = data.find(b"\n"), data.rfind(b"\n")
            longest = unfinished + (first if first >= 0 else len(data))
            unfinished = len(data) - 1 - last if last >= 0 else unfinished + len(data)
            if longest > LONGEST_LINE:
                raise Refused(f"line {lines + 1} is longer than {LONGEST_LINE:,} bytes")
            lines += data.count(b"\n")
            copy.write(data)
    return lines


class _Records:
    """Makes one line of each CSV record: a line break in a quoted field becomes a blank.

    What stands in somebody's quoted comment must never be taken for rows of its own.
    """

    def __init__(self) -> None:
        self._held = ""

    def lines(self, text: str, before: int, *, final: bool) -> str:
        """The records that are complete by now; the others are held back. ``before``: lines so far."""
        text = self._held + text
        if final:
            self._held = ""
            return text if _is_plain(text) else _joined(text, len(text))[0]
        cut = text.rfind("\n") + 1
        if _is_plain(text[:cut]):
            done = text[:cut]
        else:
            joined, closed = _joined(text, len(text) - 1)
            cut = joined.rfind("\n", 0, closed) + 1
            done = joined[:cut]
        self._held = text[cut:]
        if len(self._held) > LONGEST_LINE:
            line = before + done.count("\n") + 1
            raise Refused(f"line {line} is longer than {LONGEST_LINE:,} bytes, or a quote in it is not closed")
        return done


def _is_plain(text: str) -> bool:
    """Whether each line has its quotes in pairs."""
    parts = text.split('"')
    return len(parts) % 2 == 1 and "\n" not in "".join(parts[1::2])


def _joined(text: str, known: int) -> tuple[str, int]:
    """Records as lines, and up to where that is certain: a quoted field that ends after ``known`` may go on."""
    certain = len(text)

    def join(field: re.Match[str]) -> str:
        nonlocal certain
        if not field[1] or field.end() > known:
            certain = field.start()
        return field[0].replace("\n", " ") if field[1] else field[0]

    return QUOTED.sub(join, text), certain


def _and_the_end(chunks: Iterator[bytes]) -> Iterator[bytes | None]:
    # Not ``yield from``: it would close the chunks when the lines are refused, and the rest would not be hashed.
    for chunk in chunks:  # noqa: UP028
        yield chunk
    yield None


def _decoded(decoder: io.IncrementalNewlineDecoder, chunk: bytes | None) -> str:
    try:
        return decoder.decode(b"", final=True) if chunk is None else decoder.decode(chunk)
    except UnicodeDecodeError as error:
        found = error.object[error.start : error.start + 1]
        raise Refused(f"is not UTF-8: it holds the byte 0x{found.hex()}; write it again in UTF-8") from None


def _without_empty_lines(text: str, at_start: bool) -> str:
    """Empty lines get a blank; ``at_start``: the text begins a line."""
    if at_start and text.startswith("\n"):
        text = " " + text
    while "\n\n" in text:
        text = text.replace("\n\n", "\n \n")
    return text


def _what(chunk: bytes) -> str:
    return next((f": it is {kind}" for start, kind in SIGNATURES.items() if chunk.startswith(start)), "")


class _OurFile:
    """A file to write to; that it cannot be written is an error of the machine, not of the landed file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> _OurFile:
        self._file: BinaryIO = self._path.open("wb")
        return self

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise SourceError(
                f"{self._path.parent}: cannot be written ({error.strerror}); it takes a copy of what landed: free some "
                "space and run again"
            ) from None

    def __exit__(self, *_: object) -> None:
        self._file.close()
