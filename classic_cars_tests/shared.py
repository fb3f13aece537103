"""What is made once for all tests of a session, whatever worker runs them, and then copied by each that changes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of this name, made by the first worker that asks; the others wait for it. Not to be changed."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the session's; each worker has one in it
    folder, ready = base / name, base / f".{name}.ready"
    with FileLock(base / f".{name}.lock"):
        if not ready.exists():
            # What a worker left behind that failed, or was ended, while it made it.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            ready.touch()
    return folder
