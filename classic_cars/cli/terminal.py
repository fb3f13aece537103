"""What all commands share on the terminal: output, progress, clear errors, the published tables."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

import classic_cars
from classic_cars.cli.startup import quick_imports
from classic_cars.errors import ClassicCarsError

if TYPE_CHECKING:
    from classic_cars.serving.completeness import Balance
    from classic_cars.serving.releases import Release
    from classic_cars.stores.base import Reading, Store

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


PACKAGE = Path(classic_cars.__file__).parent
#: Errors whose text is about code, and not about values.
OF_CODE = (SyntaxError, ImportError, NameError, AttributeError, TypeError)

#: Exit code of a command that was told to stop, as shells have it.
INTERRUPTED = 130


class Commands(click.Group):
    """Turns every error into one message and exit code 1; python's development mode (``-X dev``) shows where it was."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises ``click.UsageError`` for bytes that no message could show and no database takes."""
        if sys.stdout is None:
            raise click.UsageError("standard output is closed", ctx)
        for each in args:
            if "\0" in each or each != each.encode(errors="replace").decode():
                raise click.UsageError(f"{ascii(each)[:100]} is no text in UTF-8", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            returned = super().invoke(ctx)
            sys.stdout.flush()  # a full disk is an error of the command, not of the interpreter's end
            return returned
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            err.print("[bold red]interrupted[/]")
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            _forget(sys.stdout)
            sys.exit(1)
        except Exception as error:
            if sys.flags.dev_mode:
                raise
            _forget(sys.stdout)
            err.print(f"[bold red]error[/]: {escape(message_of(error))}", soft_wrap=True)
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of use, not of the alphabet."""
        return list(self.commands)


def message_of(error: Exception) -> str:
    """What a person is told of an error; of one that nobody foresaw only where it was, its text may hold values."""
    if isinstance(error, ClassicCarsError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{place}{error.strerror[:1].lower()}{error.strerror[1:]}; name another place or change its permissions"
    if place := _where_loading_failed(error):
        said = f": {error.msg if isinstance(error, SyntaxError) else error}" if isinstance(error, OF_CODE) else ""
        return f"{place}: {type(error).__name__}{said}; nothing was loaded: correct this module"
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "classic_cars" in each.filename]
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return (
        f"unexpected {type(error).__name__}{place}; this is a bug of the platform: please report it with the command, "
        "and what `PYTHONDEVMODE=1 classic-cars ...` shows"
    )


def _where_loading_failed(error: Exception) -> str:
    """The line of a module of ours that could not be imported; empty when the error came later, out of our code."""
    if isinstance(error, SyntaxError) and error.filename:
        return _line(error.filename, error.lineno)
    frames = list(traceback.walk_tb(error.__traceback__))
    imported = [
        file
        for frame, _ in frames
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__"
        if (file := frame.f_code.co_filename).startswith(str(PACKAGE))
    ]
    lines = [line for frame, line in frames if imported and frame.f_code.co_filename == imported[-1]]
    return _line(imported[-1], lines[-1]) if imported else ""


def _line(file: str, line: int | None) -> str:
    path = Path(file)
    return f"{path.relative_to(PACKAGE.parent) if path.is_relative_to(PACKAGE) else path}:{line or 1}"


def _forget(stream: Any) -> None:
    """What a stream that cannot be written still holds would be tried again, and complained of, at Python's end."""
    with suppress(OSError, ValueError):
        stream.flush()
        return
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def published(settings: Any = None) -> Iterator[Store]:
    """The published tables, read-only; says who is waited for."""
    with quick_imports():
        from classic_cars.settings import load_settings
        from classic_cars.stores import open_store

    store = open_store(settings or load_settings(), read_only=True)
    with progress("opening the store"):
        store.row_counts()
    try:
        yield store
    finally:
        store.release()


@contextmanager
def released(number: int | None = None) -> Iterator[tuple[Release, Reading] | None]:
    """A release, the current one by default, and its tables; None when there is none yet. Waits for nobody."""
    with quick_imports():
        from classic_cars.serving.releases import opened
        from classic_cars.settings import load_settings

    with opened(load_settings(), number) as found:
        yield found


def show_release(release: Release) -> None:
    """On stderr: which release was asked, how old it is, and why there is no newer one, if that is so."""
    from classic_cars.serving.releases import pending
    from classic_cars.settings import load_settings

    err.print(f"{release.line()}: {escape(release.order_lines.line())}", style="dim", soft_wrap=True)
    if reasons := pending(load_settings()):
        err.print(f"[yellow]newer tables are not released[/]: {escape(reasons)}", soft_wrap=True)


@contextmanager
def agreeing(number: int | None = None) -> Iterator[tuple[Reading, Release | None]]:
    """Tables that agree with each other: a release, the current one by default; says on stderr which.

    Where there is none yet, the published tables; when those contradict each other, says so, and ends with exit code 1.
    """
    with released(number) as found:
        if found is not None:
            release, tables = found
            yield tables, release
            show_release(release)
            return
    from classic_cars.serving.consistency import contradictions

    with published() as store:
        yield store, None
        contradicting = contradictions(store)
    show_contradictions(contradicting)
    if contradicting:
        sys.exit(1)


class _Lines(logging.Handler):
    """Shows what the platform says of its progress; the spinner beside it shows that it lives.

    Records may count: ``planned`` steps are to come, ``step`` names one that ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self._started = time.monotonic()
        self._planned = 0
        self._ended: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        planned, step = getattr(record, "planned", 0), getattr(record, "step", None)
        if planned:
            self._planned += planned
            return
        text = record.getMessage()
        if step is not None:
            self._ended.add(step)
            text = f"{len(self._ended)} of {self._planned} steps, {_clock(time.monotonic() - self._started)}: {text}"
        style = "red" if record.levelno >= logging.ERROR else "dim"
        err.print(escape(text), style=style, soft_wrap=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


@contextmanager
def progress(what: str) -> Iterator[Any]:
    """Shows progress on stderr; yields a callable ``(what, done, total)`` for work that counts itself."""
    logger = logging.getLogger("classic_cars.progress")
    handler = _Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with err.status(f"{what} ...") as spinner:
            yield lambda what, done, total: spinner.update(f"{what}: {done:,} of {total:,}")
    finally:
        logger.removeHandler(handler)


def show_balance(balance: Balance) -> None:
    """The line of a balance: dim when the published totals are complete, and not to be missed otherwise."""
    style = "dim" if balance.complete else "yellow" if balance.balanced else "bold red"
    out.print(escape(balance.line()), style=style, soft_wrap=True)


def show_contradictions(messages: list[str]) -> None:
    """On stderr, so that results on stdout stay what a program can read."""
    for each in messages:
        err.print(f"[bold red]contradiction[/]: {escape(each)}", soft_wrap=True)
