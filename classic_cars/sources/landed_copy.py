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
#: A longer line is none that was meant as a line.
LONGEST_LINE = 1024 * 1024

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
                chunks = _hashed(_chunks(raw, packed), content)
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
            return replace(found, reason=f"cannot be read: {error}", path=None)
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
        connection = self._connection.cursor()
        try:
            source = f"read_parquet({literal(str(parquet))}, hive_partitioning = false)"
            found = [row[0] for row in connection.execute(f"DESCRIBE FROM {source}").fetchall()]
            self._must_have_columns(found)
            named = ", ".join(f'"{name}"::VARCHAR AS "{name}"' for name in self._columns)
            others = [name for name in found if name not in self._columns]
            extra = "".join(f', NULL AS "{name.replace(chr(34), chr(34) * 2)}"' for name in others)
            ((rows,),) = connection.execute(
                f"COPY (SELECT {named}{extra} FROM {source}) TO {literal(str(path))} (FORMAT json)"
            ).fetchall()
            return int(rows)
        except duckdb.Error as error:
            text = str(error).splitlines()[0].replace(str(parquet), "the file")
            raise Refused(f"is damaged Parquet: {text}") from None
        finally:
            connection.close()

    def _checked_columns(self, path: Path, format_: str, lines: int) -> tuple[str, ...]:
        """The columns of the copy; raises ``Refused`` when a CSV file lacks one that is needed."""
        if not lines:
            return ()
        with path.open(encoding="utf-8", newline="\n") as copy:
            first = next((line for line in copy if line.strip()), "") if format_ != "csv" else copy.readline()
        if format_ == "csv":
            columns = [name.strip() for name in next(csv.reader([first.rstrip("\n")]), [])]
            if first.strip() or lines > 1:
                self._must_have_columns(columns)
            return tuple(columns)
        if first[:1] in ("<", "["):
            kind = "HTML or XML" if first[0] == "<" else "one JSON array"
            raise Refused(f"begins with {first[:1]!r}: {kind}, expected JSON Lines, one object a line")
        try:
            found = json.loads(first or "{}")
        except ValueError:
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


def _chunks(raw: Any, packed: bool) -> Iterator[bytes]:
    """The content, unpacked. Raises ``Damaged`` for a broken archive, ``Unreadable`` when reading fails."""
    stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
    while True:
        try:
            chunk = stream.read(CHUNK)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Damaged(f"is truncated or damaged gzip: {error}") from None
        except OSError as error:
            raise Unreadable(error.strerror or type(error).__name__) from None
        if not chunk:
            return
        yield chunk


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
    with _OurFile(path) as copy:
        for chunk in _and_the_end(chunks):
            if not begun and chunk is not None:
                if what := _what(chunk):
                    raise Refused(f"is not {'JSON Lines' if format_ == 'jsonl' else 'CSV'}{what}")
                chunk = chunk.removeprefix(codecs.BOM_UTF8)
                begun = True
            text = _decoded(decoder, chunk)
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


def _and_the_end(chunks: Iterator[bytes]) -> Iterator[bytes | None]:
    yield from chunks
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
