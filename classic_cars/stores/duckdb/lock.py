"""The lock that writers of one DuckDB file take turns by: a run holds it from its first step to its last.

It goes with the process, however that ends. Readers do not need it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from filelock import FileLock, Timeout

from classic_cars.errors import StoreBusy

progress = logging.getLogger("classic_cars.progress")


class RunLock:
    """``run.lock`` beside the store. Whoever has it may take it again, and gives it back as often."""

    def __init__(self, store: Path, wait: float) -> None:
        self._store, self._wait = store, wait
        # A step's generator may be closed by another thread than the one that began it.
        self._lock = FileLock(store.parent / "run.lock", thread_local=False)
        self._holder_file = store.parent / "run.holder"

    def acquire(self, holder: str) -> None:
        """Wait until no other run writes to the store. Raises ``StoreBusy`` that names the holder."""
        self._store.parent.mkdir(parents=True, exist_ok=True)
        first = not self._lock.is_locked
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            self._contend()
        if first:
            self._holder_file.write_text(f"pid {os.getpid()}, {holder}")

    def _contend(self) -> None:
        progress.info("waiting for another run to finish: %s", self.holder())
        try:
            self._lock.acquire(timeout=self._wait, poll_interval=0.2)
        except Timeout:
            raise StoreBusy(
                f"{self._store}: held by {self.holder()}, still after {self._wait:.0f} s; wait for it to finish, or "
                "raise CLASSIC_CARS_STORE_WAIT"
            ) from None

    def release(self) -> None:
        """Give it back once; nothing happens without it."""
        if self._lock.lock_counter == 1:
            self._holder_file.unlink(missing_ok=True)
        if self._lock.is_locked:
            self._lock.release()

    def holder(self) -> str:
        """Who holds, or last held, the lock."""
        try:
            return self._holder_file.read_text()
        except OSError:
            return "another process"
