"""A real ``classic-cars dev`` for tests, and how they wait for what it does by itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from classic_cars.errors import ClassicCarsError
from classic_cars_tests.command_line import PROGRAM

#: Seconds; nobody waits longer for anything on a slow machine.
PATIENCE = 600.0


@contextmanager
def dev(home: Path, **environment: str) -> Iterator[str]:
    """``classic-cars dev`` on a free port; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (home / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, "dev", "--port", str(port)],
            env={**os.environ, "CLASSIC_CARS_HOME": str(home), **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def is_up(address: str) -> bool:
    """Whether a server is there by now."""
    with suppress(OSError), urllib.request.urlopen(address, timeout=2) as found:
        return found.status == 200
    return False


def wait_for(what: str, found: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first answer that is not empty; a store that is busy is asked again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = found()
        except ClassicCarsError:
            answer = None
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.5)
