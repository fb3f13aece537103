"""How a step's failure reaches Dagster: clear, without anyone's data, and tried again only when that can help."""

from __future__ import annotations

import dagster as dg
import duckdb
import pyarrow as pa

from classic_cars.errors import ClassicCarsError
from classic_cars.sources.errors import without_values

#: A step whose failure may pass by itself is tried again so often, after so many seconds.
RETRIES, RETRY_SECONDS = 3, 2


def reported(address: str, error: Exception) -> Exception:
    """The error as Dagster should see it: clear, retried only when that can help, without anyone's data."""
    if isinstance(error, duckdb.HTTPException) or (isinstance(error, ClassicCarsError) and error.retryable):
        return dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_SECONDS)
    if isinstance(error, ClassicCarsError):
        return dg.Failure(description=str(error), allow_retries=False)
    if isinstance(error, duckdb.Error | pa.ArrowException):
        text = str(error).strip()
        if isinstance(error, duckdb.DataError | pa.ArrowException):
            text = without_values(text.splitlines()[0])
        return dg.Failure(description=f"{address}: {type(error).__name__}: {text}", allow_retries=False)
    return error
