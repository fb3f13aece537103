"""Programs that a user's machine may lack: a test that needs one skips there with the reason, and fails in CI."""

from __future__ import annotations

import os
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
