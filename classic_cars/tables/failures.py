"""How a step's failure reaches Dagster: clear, without anyone's data, and tried again only when that can help."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any, NoReturn

import dagster as dg
import duckdb
import pyarrow as pa

from classic_cars.errors import ClassicCarsError
from classic_cars.sources.errors import without_values

progress = logging.getLogger("classic_cars.progress")

#: A step whose failure may pass by itself is tried again so often, after about 2, 4 and 8 seconds. It is not given to
#: the asset: Dagster would then also try an interrupted step again, and Ctrl-C would end nothing.
RETRY = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

#: What DuckDB says of names, statements and machines. Whatever else it says may quote a row, in quotes or without.
SAY_NO_VALUE = (
    duckdb.CatalogException,
    duckdb.BinderException,
    duckdb.ParserException,
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.TransactionException,
    duckdb.ConnectionException,
    duckdb.FatalException,
    duckdb.InternalException,
)

#: What Dagster raises in a step when its process is told to end, and in one whose blocking check failed.
INTERRUPTIONS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
CHECK_FAILED = "DagsterAssetCheckFailedError"

#: How Dagster's record of an error of this platform begins, and what is said of any other.
OWN = f"{ClassicCarsError.__module__}."
UNKNOWN = "see the run on the web page"


def report(address: str, error: Exception, attempts: int) -> NoReturn:
    """Raise the error as Dagster should see it, with its cause if that is the platform's own: any other quotes values.

    ``attempts``: how often the step was tried before.
    """
    raise reported(address, error, attempts) from _own(error)


def _own(error: Exception) -> Exception | None:
    """The error without what caused it, which its message says as far as it may be read; None if it is not our own."""
    if not isinstance(error, ClassicCarsError):
        return None
    error.__cause__, error.__suppress_context__ = None, True
    return error


def reported(address: str, error: Exception, attempts: int = 0) -> dg.Failure | dg.RetryRequested:
    """The error as Dagster should see it: clear, retried only when that can help, without anyone's data."""
    if isinstance(error, duckdb.HTTPException) or (isinstance(error, ClassicCarsError) and error.retryable):
        wait = RETRY.calculate_delay(attempts + 1)
        if attempts < RETRY.max_retries:
            said = str(error) if isinstance(error, ClassicCarsError) else type(error).__name__
            progress.warning("%s: %s; tried again in %.0f s", address, said, wait)
        return dg.RetryRequested(max_retries=RETRY.max_retries, seconds_to_wait=wait)
    if isinstance(error, ClassicCarsError):
        return dg.Failure(description=str(error), allow_retries=False)
    if isinstance(error, duckdb.DataError | duckdb.IntegrityError | pa.ArrowException):
        said = without_values(str(error).strip().partition("\n")[0])
    elif isinstance(error, SAY_NO_VALUE):
        said = str(error).strip()
    else:
        said = f"raised {_place(error)}; its message may hold a row's values, and is not kept"
    return dg.Failure(description=f"{address}: {type(error).__name__}: {said}", allow_retries=False)


def _place(error: Exception) -> str:
    """The last line on the way to it that is in no library: ``in shop.py, line 7 (cleaned)``."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return f"in {Path(ours[-1].filename).name}, line {ours[-1].lineno} ({ours[-1].name})" if ours else "nowhere"


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
