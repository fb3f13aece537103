"""What all commands share on the terminal: output, progress, clear errors, the published tables."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from classic_cars.cli.startup import quick_imports
from classic_cars.errors import ClassicCarsError

if TYPE_CHECKING:
    from classic_cars.serving.completeness import Balance
    from classic_cars.stores.base import Store

#: Where output is piped there is no screen to fit: wide enough for every table.
WIDTH = None if sys.stdout.isatty() else 160
out = Console(highlight=False, width=WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)


#: Exit code of a command that was told to stop, as shells have it.
INTERRUPTED = 130


class Commands(click.Group):
    """Turns every error that the platform reports on purpose into one clear message and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClassicCarsError as error:
            err.print(f"[bold red]error[/]: {escape(str(error))}", soft_wrap=True)
            sys.exit(1)
        except KeyboardInterrupt:
            err.print("[bold red]interrupted[/]")
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of use, not of the alphabet."""
        return list(self.commands)


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


class _Lines(logging.Handler):
    """Shows what the platform says of its progress; the spinner beside it shows that it lives."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "red" if record.levelno >= logging.ERROR else "dim"
        err.print(escape(record.getMessage()), style=style, soft_wrap=True)


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
