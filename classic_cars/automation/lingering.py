"""Ticks that stay and look again: Dagster evaluates sensors every five seconds, which is long for whoever waits."""

from __future__ import annotations

import time
from collections.abc import Iterator

#: How long a tick may stay: less than Dagster's round, so that the next one is on time.
LINGER_SECONDS = 4.0
#: Between two looks of a tick.
LOOK_SECONDS = 0.5


def looks(pause: float = LOOK_SECONDS, *, at_once: bool = True) -> Iterator[None]:
    """Look ``at_once``, and then every ``pause`` seconds for as long as a tick may stay."""
    until = time.monotonic() + LINGER_SECONDS
    if at_once:
        yield
    while time.monotonic() + pause < until:
        time.sleep(pause)
        yield
