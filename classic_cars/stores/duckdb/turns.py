"""Taking turns at one DuckDB file: a run keeps it open from step to step, and hands it over when somebody waits for it.

DuckDB lets nobody in while a process has the file open for writing. Whoever finds it so says that he waits, by a lock
that goes with his process; between two steps the writer sees it, closes the file, and lets him in.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

#: Seconds that a writer stands aside for those who wait; one that is slower finds the file closed for the next step.
HAND_OVER_SECONDS = 1.0
POLL_SECONDS = 0.02


class Turns:
    """``waiting.lock`` beside the store: shared by all who wait, exclusive for nobody."""

    def __init__(self, store: Path) -> None:
        self._path = store.parent / "waiting.lock"

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While this lasts, the writer knows that somebody waits. Who may not write beside the store waits unseen."""
        with ExitStack() as stack:
            with suppress(OSError):
                fcntl.flock(stack.enter_context(self._open()), fcntl.LOCK_SH)
            yield

    def is_awaited(self) -> bool:
        try:
            with self._open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def hand_over(self) -> None:
        """Wait until those who wait have opened the file, which the caller has closed."""
        until = time.monotonic() + HAND_OVER_SECONDS
        while self.is_awaited() and time.monotonic() < until:
            time.sleep(POLL_SECONDS)

    def _open(self) -> IO[str]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self._path.open("a")
