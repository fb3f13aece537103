"""SQL that one process of a test session compiled, for all of them: in a file that only grows, a line for each.

A worker carries out a quarter of the tests, and without it would compile nearly everything that the others do, too; a
forked command would compile the same anew each time. The SQL is that of ``classic_cars.compiled``, by its keys.
"""

from __future__ import annotations

import atexit
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from classic_cars import compiled, resources

#: Names the file to every process of the session.
VARIABLE = "TESTS_COMPILED_SQL"


class SharedSQL(dict[str, str]):
    """What is known in this process; whatever is missing is looked for in the file first."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._lines, self._at = os.open(file, os.O_RDWR | os.O_APPEND), 0
        self._written: set[str] = set()

    def pop(self, key: str, *default: Any) -> Any:
        if key not in self:
            self.catch_up()
        return super().pop(key, *default)

    def __setitem__(self, key: str, sql: str) -> None:
        super().__setitem__(key, sql)
        if key not in self._written:
            # All of it at once, and on a line of its own though the one before was killed while it wrote.
            os.write(self._lines, b"\n" + json.dumps([key, sql]).encode() + b"\n")
            self._written.add(key)

    def catch_up(self) -> None:
        """Read the lines that came since the last time."""
        if (missing := os.fstat(self._lines).st_size - self._at) <= 0:
            return
        # The last line may not be whole yet.
        whole, newline, _ = os.pread(self._lines, missing, self._at).rpartition(b"\n")
        self._at += len(whole) + len(newline)
        for line in whole.splitlines():
            with suppress(ValueError):
                key, sql = json.loads(line)
                self.setdefault(key, sql)
                self._written.add(key)


def share() -> None:
    """From now on in this process, and in those that tests start and that ask for it; the file goes with the first."""
    if VARIABLE not in os.environ:
        handle, name = tempfile.mkstemp(prefix="classic-cars-tests-", suffix=".sql")
        os.close(handle)
        os.environ[VARIABLE], owner = name, os.getpid()
        atexit.register(lambda: Path(name).unlink(missing_ok=True) if os.getpid() == owner else None)
    with suppress(FileNotFoundError):  # the session is over
        compiled._known = SharedSQL(os.environ[VARIABLE])
        keep = resources.remember
        # Each home's own file is for programs that are started anew: written by the first run there, not by hundreds.
        resources.remember = lambda file: None if not file or Path(file).exists() else keep(file)
        resources.recall = lambda _: None


def catch_up() -> None:
    """For a process that forks: what others compiled meanwhile need not be read by each child."""
    if isinstance(compiled._known, SharedSQL):
        compiled._known.catch_up()
