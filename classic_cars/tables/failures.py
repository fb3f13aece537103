"""How a step's failure reaches Dagster: clear, without anyone's data, and tried again only when that can help."""

from __future__ import annotations

from typing import Any, NoReturn

import dagster as dg
import duckdb
import pyarrow as pa

from classic_cars.errors import ClassicCarsError
from classic_cars.sources.errors import without_values

#: A step whose failure may pass by itself is tried again so often, after about 2, 4 and 8 seconds. It is not given to
#: the asset: Dagster would then also try an interrupted step again, and Ctrl-C would end nothing.
RETRY = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

#: What Dagster raises in a step when its process is told to end, and in one whose blocking check failed.
INTERRUPTIONS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
CHECK_FAILED = "DagsterAssetCheckFailedError"

#: How Dagster's record of an error of this platform begins, and what is said of any other.
OWN = f"{ClassicCarsError.__module__}."
UNKNOWN = "see the run on the web page"


def report(address: str, error: Exception, attempts: int) -> NoReturn:
    """Raise the error as Dagster should see it; its cause is shown too, except of engines: they quote values.

    ``attempts``: how often the step was tried before.
    """
    raise reported(address, error, attempts) from (
        None if isinstance(error, duckdb.Error | pa.ArrowException) else error
    )


def reported(address: str, error: Exception, attempts: int = 0) -> dg.Failure | dg.RetryRequested:
    """The error as Dagster should see it: clear, retried only when that can help, without anyone's data."""
    if isinstance(error, duckdb.HTTPException) or (isinstance(error, ClassicCarsError) and error.retryable):
        return dg.RetryRequested(max_retries=RETRY.max_retries, seconds_to_wait=RETRY.calculate_delay(attempts + 1))
    if isinstance(error, ClassicCarsError):
        return dg.Failure(description=str(error), allow_retries=False)
    text = str(error).strip()
    if isinstance(error, duckdb.DataError | pa.ArrowException):
        text = without_values(text.partition("\n")[0])
    return dg.Failure(description=f"{address}: {type(error).__name__}: {text}", allow_retries=False)


def reason_of(failure: Any) -> str:
    """What went wrong in a step, in one paragraph; ``failure``: the data of Dagster's event."""
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return str(failure.user_failure_data.description)
    return innermost(failure.error)


def innermost(error: Any) -> str:
    """The message of the innermost cause that is the platform's own; of others, which may quote a row, the type."""
    own = ""
    while True:
        text = str(error.message).strip()
        own = text.partition(": ")[2] if text.startswith(OWN) else own
        if error.cause is None:
            break
        error = error.cause
    if error.cls_name in INTERRUPTIONS:
        return "interrupted"
    return own or f"{error.cls_name}, {UNKNOWN}"
