"""Results of queries on their way out: to the screen, or whole to a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from classic_cars.cli.terminal import err
from classic_cars.errors import StoreError
from classic_cars.files import whole_file
from classic_cars.serving.formats import BINARY, FORMATS
from classic_cars.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from classic_cars.stores.base import Reading


RELEASE = click.option("--release", "number", type=int, metavar="N", help="An older release: `classic-cars releases`.")


def format_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that gives rows: ``kind`` and ``output``, for :func:`format_of` and :func:`give`."""
    output = click.option(
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write the result to FILE, whole or not at all; a file that is there is replaced.",
    )
    kind = click.option(
        "--format",
        "kind",
        type=click.Choice(["table", *FORMATS]),
        help="By default what FILE ends in, or a table on the screen.",
    )
    return kind(output(command))


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


def give(
    tables: Reading,
    reader: pa.RecordBatchReader,
    kind: str,
    output: Path | None,
    show: Callable[[pa.RecordBatchReader], None],
) -> None:
    """All rows that ``tables`` answer with: shown on the screen, or written, which is said."""
    with readable_errors(tables):
        if kind == "table":
            show(reader)
            return
        rows = write(reader, kind, output)
        if output is not None:
            err.print(f"{counted(rows, 'row')} to {escape(str(output))}", style="dim", soft_wrap=True)


def write(reader: pa.RecordBatchReader, kind: str, output: Path | None) -> int:
    """Write all rows, to standard output or to a file that appears whole; returns their number."""
    if output is None:
        sys.stdout.flush()
        return FORMATS[kind](reader, sys.stdout.buffer)
    with whole_file(_writable(output)) as file:
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


def _writable(path: Path) -> Path:
    """Where the file will be. Raises ``click.BadParameter`` when there can be none."""
    path = path.expanduser().resolve()
    if path.exists() and not path.is_file():
        raise click.BadParameter(f"{path}: is no file; name one, in a folder that is there", param_hint="--output")
    if not path.parent.is_dir():
        raise click.BadParameter(f"{path.parent}: there is no such folder; make it first", param_hint="--output")
    return path
