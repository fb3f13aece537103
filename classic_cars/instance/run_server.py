"""A Python that has the platform loaded and forks a child for each run, which starts in a fraction of a second.

Dagster's code server starts runs with ``multiprocessing``'s *spawn*: each is a Python that imports everything anew,
for three seconds. Here one does, once. It forks while it has no thread of Python's and nothing is open: definitions
are pure, and whoever uses a store, a connection or Dagster's instance opens it. Its code is what it was when it was
loaded: when a file of it changes, the next run has a new server.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

PACKAGE = __name__.partition(".")[0]


class RunServer:
    """Runs of the definitions ``module``; the process starts with the first of them."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: subprocess.Popen[str] | None = None
        self._code: list[tuple[str, int, int]] = []
        self._one_at_a_time = Lock()

    def execute(self, command: Sequence[str]) -> bool:
        """Have a command line of ``dagster`` executed by a process of its own; False when there is no server for it.

        Of the first one it is known as soon as the definitions are loaded: a server that cannot load them ends. One
        that ended later has a successor.
        """
        with self._one_at_a_time:
            was_there = self._process is not None
            return self._answers(command) or (was_there and self._answers(command))

    def _answers(self, command: Sequence[str]) -> bool:
        try:
            server = self._current()
            if server.stdin is None or server.stdout is None:
                return False
            server.stdin.write(json.dumps(list(command)) + "\n")
            server.stdin.flush()
            if server.stdout.readline():
                return True
        except OSError:
            pass
        self.close()
        return False

    def close(self) -> None:
        """End the server; what it forked goes on."""
        process, self._process = self._process, None
        if process is not None:
            with process:
                process.terminate()

    def _current(self) -> subprocess.Popen[str]:
        """The server of the code as it is now."""
        code = list(_code_of(self._module))
        if self._process is not None and (code != self._code or self._process.poll() is not None):
            self.close()
        if self._process is None:
            command = [sys.executable, "-c", f"from {__name__} import serve; serve({self._module!r})"]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
            self._code = code
        return self._process


def _code_of(module: str) -> Iterator[tuple[str, int, int]]:
    """The files of the packages that a module is of, and of this one: path, size, time of change."""
    for package in sorted({PACKAGE, module.partition(".")[0]}):
        spec = find_spec(package)
        folders = spec.submodule_search_locations if spec is not None else None
        for folder in folders or ():
            for path in sorted(Path(folder).rglob("*.py")):
                found = path.stat()
                yield str(path), found.st_size, found.st_mtime_ns


def serve(module: str) -> None:
    """Load a module's definitions, and fork for each line of standard input until there are no more.

    Each child's process id is a line of standard output; whatever else is printed goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the runs; this ends with its input
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever ended is forgotten
    (dagster,) = entry_points(group="console_scripts", name="dagster")
    execute = dagster.load()
    loaded = getattr(importlib.import_module(module), "defs", None)
    if callable(loaded):
        loaded().get_repository_def()
    gc.collect()
    gc.freeze()  # pages that nobody writes stay shared
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(execute, json.loads(line), answers.fileno())
        print(child, file=answers, flush=True)


def _become(execute: object, command: list[str], answers: int) -> None:
    """In the child: execute the command line, and end, whatever happens: nothing may go on to the next request.

    The answers are the parent's: when it dies, whoever waits for one must see their end though runs go on.
    """
    code = 1
    log = os.fdopen(os.dup(2), "w")
    try:
        os.close(answers)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        # Dagster's command says all events on the one, its console logger on the other, in processes of steps, too;
        # they are in the run's log.
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        sys.argv = ["dagster", *command]
        execute()  # type: ignore[operator]
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc(file=log)
    finally:
        log.close()
        os._exit(code)
