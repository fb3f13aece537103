"""Results of queries on their way out: to the screen, or whole to a file."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from classic_cars.errors import StoreError
from classic_cars.serving.formats import BINARY, FORMATS

if TYPE_CHECKING:
    import pyarrow as pa

    from classic_cars.stores.base import Reading


def format_of(kind: str | None, output: Path | None) -> str:
    """The format that was asked for, or that the file's name ends in. Raises ``click.BadParameter``."""
    if kind is None and output is not None:
        kind = output.suffix.lower().removeprefix(".")
        if kind not in FORMATS:
            raise click.BadParameter(
                f"{output}: ends in none of {', '.join(f'.{each}' for each in FORMATS)}; say which with --format",
                param_hint="--output",
            )
    if kind == "table" and output is not None:
        raise click.BadParameter(
            f"a table is for the screen; a file can be {', '.join(FORMATS)}", param_hint="--format"
        )
    if kind in BINARY and output is None:
        raise click.BadParameter(f"{kind} goes to a file: name it with --output", param_hint="--format")
    return kind or "table"


def write(reader: pa.RecordBatchReader, kind: str, output: Path | None) -> int:
    """Write all rows, to standard output or to a file that appears whole; returns their number."""
    if output is None:
        sys.stdout.flush()
        return FORMATS[kind](reader, sys.stdout.buffer)
    with _replacing(output) as file:
        return FORMATS[kind](reader, file)


@contextmanager
def readable_errors(store: Reading) -> Iterator[None]:
    """While results stream, the engine's errors come as Arrow's: as sentences, with what they say of the query."""
    import duckdb
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, duckdb.Error) as error:
        raise StoreError(f"{store.place}: the query failed: {str(error).strip()}") from None


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of ``path`` when it is complete, and is gone otherwise."""
    path = path.expanduser().resolve()
    if path.exists() and not path.is_file():
        raise click.BadParameter(f"{path}: is no file; name one, in a folder that is there", param_hint="--output")
    if not path.parent.is_dir():
        raise click.BadParameter(f"{path.parent}: there is no such folder; make it first", param_hint="--output")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(path.stat().st_mode if path.exists() else 0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
