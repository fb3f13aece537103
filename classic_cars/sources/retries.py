"""The one retry policy for asking the order system: what may pass by itself is tried again for a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import retry, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from classic_cars.errors import ClassicCarsError

Result = TypeVar("Result")

#: A person waits for the answer: no attempt starts later than this.
SECONDS = 2.5
ATTEMPTS = 4


def patiently(ask: Callable[[], Result]) -> Result:
    """What ``ask`` returns; its error when that says a retry cannot help, or when none of a few did."""
    trying = retry(
        retry=retry_if_exception(lambda error: isinstance(error, ClassicCarsError) and error.retryable),
        wait=wait_random_exponential(multiplier=0.1, max=1),
        stop=stop_after_attempt(ATTEMPTS) | stop_after_delay(SECONDS),
        reraise=True,
    )
    return trying(ask)()
