"""How long the order system is asked: what may pass by itself is tried again for a moment, nothing goes on for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tenacity import retry, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from classic_cars.errors import ClassicCarsError

Result = TypeVar("Result")

#: A person waits for the answer: no attempt starts later than this.
SECONDS = 2.5
ATTEMPTS = 4


def retry_transient(ask: Callable[[], Result]) -> Result:
    """What ``ask`` returns; its error when that says a retry cannot help, or when none of a few did."""
    trying = retry(
        retry=retry_if_exception(lambda error: isinstance(error, ClassicCarsError) and error.retryable),
        wait=wait_random_exponential(multiplier=0.1, max=1),
        stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(SECONDS),
        reraise=True,
    )
    return trying(ask)()


@contextmanager
def ended_after(seconds: float, end: Callable[[], None]) -> Iterator[None]:
    """Calls ``end``, from another thread, when the work takes longer."""
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
