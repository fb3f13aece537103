"""How a step's failure reaches Dagster: clear, without anyone's data, and tried again only when that can help."""

from __future__ import annotations

from typing import NoReturn

import dagster as dg
import duckdb
import pyarrow as pa

from classic_cars.errors import ClassicCarsError
from classic_cars.sources.errors import without_values

#: A step whose failure may pass by itself is tried again so often, after about 2, 4 and 8 seconds.
RETRY = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def report(address: str, error: Exception) -> NoReturn:
    """Raise the error as Dagster should see it; its cause is shown too, except of engines: they quote values."""
    raise reported(address, error) from (None if isinstance(error, duckdb.Error | pa.ArrowException) else error)


def reported(address: str, error: Exception) -> dg.Failure:
    """The error as Dagster should see it: clear, retried only when that can help, without anyone's data."""
    if isinstance(error, ClassicCarsError):
        return dg.Failure(description=str(error), allow_retries=error.retryable)
    text = str(error).strip()
    if isinstance(error, duckdb.DataError | pa.ArrowException):
        text = without_values(text.partition("\n")[0])
    return dg.Failure(
        description=f"{address}: {type(error).__name__}: {text}", allow_retries=isinstance(error, duckdb.HTTPException)
    )
