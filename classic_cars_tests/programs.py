"""Other programs: one that a machine may lack is skipped with the reason, and fails in CI; one that is over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import pytest

from classic_cars_shop.servers import ProgramMissing

Running = TypeVar("Running")


@contextmanager
def or_skip(server: AbstractContextManager[Running]) -> Iterator[Running]:
    """The running server."""
    try:
        entered = server.__enter__()
    except ProgramMissing as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    try:
        yield entered
    finally:
        server.__exit__(None, None, None)


def ended_process() -> int:
    """The number of a process that is over."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
