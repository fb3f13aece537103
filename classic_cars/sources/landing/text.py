"""A landed text file, copied as lines: UTF-8, each line ended by a newline, none empty, each CSV record one line.

A file that holds anything else is refused with the reason; it is never half copied. Works in bounded memory, whatever
the file's size, and in chunks that may end anywhere.

Lines are made here and not by DuckDB's readers. ``read_csv`` does not number the rows that it accepts; it passes over
empty lines, takes the rest of the file for one rejected row where a quote is not closed, and refuses a file whose lines
end in more than one way. ``read_json`` turns a malformed line into NULLs, without its text, rounds long numbers and
drops the zeros of 4.50. What DuckDB does read (:mod:`classic_cars.sources.landing.lines`) is these lines, raw.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from classic_cars.errors import SourceError

#: A longer line is none that was meant as a line.
LONGEST_LINE = 1024 * 1024
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


class Refused(Exception):
    """The content is not what it should be; says why."""


def copy_text(chunks: Iterable[bytes], format_: str, path: Path) -> int:
    """Copy ``jsonl`` or ``csv`` to ``path``; the number of lines, a CSV file's header included."""
    texts = _decoded(chunks, "JSON Lines" if format_ == "jsonl" else "CSV")
    lines, unfinished = 0, 0
    with OurFile(path) as copy:
        for text in _ended(_records(texts) if format_ == "csv" else texts):
            if CONTROLS.search(text):
                raise Refused("is not text: it holds bytes that no text does")
            # DuckDB passes over empty lines, and the lines after them would get wrong numbers.
            data = _without_empty_lines(text, at_start=not unfinished).encode()
            first, last = data.find(b"\n"), data.rfind(b"\n")
            if unfinished + (first if first >= 0 else len(data)) > LONGEST_LINE:
                raise Refused(f"line {lines + 1} is longer than {LONGEST_LINE:,} bytes")
            unfinished = len(data) - 1 - last if last >= 0 else unfinished + len(data)
            lines += data.count(b"\n")
            copy.write(data)
    return lines


def what_it_is(chunk: bytes) -> str:
    """In words, what a file is that begins like this; nothing when it may be text."""
    return next((f": it is {kind}" for start, kind in SIGNATURES.items() if chunk.startswith(start)), "")


def _decoded(chunks: Iterable[bytes], expected: str) -> Iterator[str]:
    """The text, without a byte order mark, lines ended by a newline each."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    begun = False
    try:
        for chunk in chunks:
            if not begun and (kind := what_it_is(chunk)):
                raise Refused(f"is not {expected}{kind}")
            begun = True
            yield decoder.decode(chunk)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        found = error.object[error.start : error.start + 1]
        raise Refused(f"is not UTF-8: it holds the byte 0x{found.hex()}; write it again in UTF-8") from None


def _ended(texts: Iterable[str]) -> Iterator[str]:
    """The same, the last line ended too."""
    end = "\n"
    for text in filter(None, texts):
        end = text[-1]
        yield text
    if end != "\n":
        yield "\n"


def _without_empty_lines(text: str, at_start: bool) -> str:
    """Empty lines get a blank; ``at_start``: the text begins a line."""
    if at_start and text.startswith("\n"):
        text = " " + text
    while "\n\n" in text:
        text = text.replace("\n\n", "\n \n")
    return text


def _records(texts: Iterable[str]) -> Iterator[str]:
    """One line for each CSV record: a line break in a quoted field becomes a blank.

    What stands in somebody's quoted comment must never be taken for rows of its own.
    """
    held, lines = "", 0
    for text in texts:
        text = held + text
        cut = text.rfind("\n") + 1
        done = text[:cut]
        if not _is_plain(done):
            joined, closed = _joined(text, len(text) - 1)
            # Joining keeps every character's place.
            cut = joined.rfind("\n", 0, closed) + 1
            done = joined[:cut]
        held = text[cut:]
        if len(held) > LONGEST_LINE:
            line = lines + done.count("\n") + 1
            raise Refused(f"line {line} is longer than {LONGEST_LINE:,} bytes, or a quote in it is not closed")
        lines += done.count("\n")
        yield done
    yield held if _is_plain(held) else _joined(held, len(held))[0]


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
            certain = min(certain, field.start())
        return field[0].replace("\n", " ") if field[1] else field[0]

    return QUOTED.sub(join, text), certain


class OurFile:
    """A file to write to; that it cannot be written is an error of the machine, not of the landed file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> OurFile:
        self._file = self._path.open("wb")
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
