"""What goes wrong between here and the warehouse or the catalog, in words that say what to do.

DuckDB, PyArrow, PyIceberg, boto3 and SQLAlchemy each have their own errors for the same few causes. Their texts
name files, buckets and kinds of failure; what could hold an address with a password is not passed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import duckdb
from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.exceptions import RESTError
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from classic_cars.errors import StoreAccessDenied, StoreDamaged, StoreError, StoreUnavailable, StoreUnreachable
from classic_cars.stores.failures import is_damaged, is_full, without_places
from classic_cars.stores.iceberg.lake import Lake
from classic_cars.stores.sql import first_line

UNCHANGED = "The published tables are unchanged."
#: What is true of an error out of a commit.
PERHAPS = "What was being published may be published all the same."
_EXPIRED = re.compile("ExpiredToken|EXPIRED_TOKEN|RequestExpired|TokenRefreshRequired")
_WRONG_LOGIN = re.compile(
    "(?i)InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|AuthFailure|"
    "INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_SIGNATURE"
)
_NO_BUCKET = re.compile("NoSuchBucket|NO_SUCH_BUCKET")
_NO_LOGIN = re.compile("NoCredentials|PartialCredentials")
_DENIED = re.compile("(?i)AccessDenied|ACCESS_DENIED|HTTP 403|Forbidden|AllAccessDisabled")


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class OfLake(Protocol):
    """Whatever works on a lake."""

    @property
    def lake(self) -> Lake: ...


Self = TypeVar("Self", bound=OfLake)


def clearly(method: Callable[Concatenate[Self, Arguments], Result]) -> Callable[Concatenate[Self, Arguments], Result]:
    """The method, with every library's storage errors turned into ours."""

    @wraps(method)
    def clear(self: Self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with clear_errors(self.lake):
            return method(self, *args, **kwargs)

    return clear


@contextmanager
def clear_errors(lake: Lake, left: str = UNCHANGED) -> Iterator[None]:
    """Turn storage errors of every library into ours. ``left``: what became of the published tables."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise refusal(lake, _code(error), left) from None
    except (SQLAlchemyError, RESTError, RequestException) as error:  # before OSError, which a RequestException is too
        raise StoreUnreachable(
            f"{lake.kind} catalog at {lake.redacted}: request failed ({type(error).__name__}); check "
            f"that it runs and that CLASSIC_CARS_CATALOG_URI is right. {left}"
        ) from None
    except (
        duckdb.HTTPException,
        duckdb.IOException,
        duckdb.OutOfMemoryException,
        duckdb.FatalException,
        OSError,
    ) as error:
        raise _of_storage(lake, error, left) from None
    except duckdb.InvalidInputException as error:
        # DuckDB's word for a Parquet file that is none, and for much else that is no failure of storage.
        if not is_damaged(error):
            raise
        raise _of_storage(lake, error, left) from None


def _code(error: ClientError | BotoCoreError) -> str:
    """AWS's own word for it."""
    return (
        str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else type(error).__name__
    )


def _of_storage(lake: Lake, error: Exception, left: str) -> StoreError:
    text = first_line(str(error))
    if is_full(error):
        return StoreUnavailable(f"{lake.warehouse}: the disk is full; free some space and run again. {left} ({text})")
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreUnavailable(
            f"{lake.warehouse}: not enough memory; raise CLASSIC_CARS_DUCKDB_MEMORY. {left} ({text})"
        )
    if is_damaged(error):
        return StoreDamaged(
            f"{lake.warehouse}: found a file that is damaged ({text}), expected one that the lake wrote; restore it "
            "from a backup or an earlier version (`classic-cars lake history`, `lake rollback`), or run all months of "
            "its table again"
        )
    return refusal(lake, text, left)


def refusal(lake: Lake, text: str, left: str = UNCHANGED) -> StoreAccessDenied | StoreUnavailable | StoreUnreachable:
    """The error for what a storage library said."""
    place, words = lake.warehouse, without_places(text)
    if not lake.bucket:
        return StoreUnavailable(
            f"{place}: cannot be used ({text}); check that it exists and that this user may read and write it. {left}"
        )
    if _EXPIRED.search(words):
        return StoreAccessDenied(f"{place}: the AWS session has expired; log in again and run again. {left}")
    if found := _WRONG_LOGIN.search(words):
        return StoreAccessDenied(
            f"{place}: S3 refuses the credentials ({found[0]}); check AWS_ACCESS_KEY_ID and its secret. {left}"
        )
    if _NO_LOGIN.search(words):
        return StoreAccessDenied(f"{place}: no complete AWS credentials; set AWS_ACCESS_KEY_ID and its secret")
    if _NO_BUCKET.search(words) or text == "404":
        return StoreAccessDenied(f"{place}: there is no such bucket; create it, or correct CLASSIC_CARS_WAREHOUSE")
    if _DENIED.search(words) or text == "403":
        return StoreAccessDenied(f"{place}: S3 denies access; the credentials lack a permission on it. {left} ({text})")
    if "HTTP code 400" in text:
        # DuckDB does not pass on S3's own word for it.
        return StoreAccessDenied(
            f"{place}: S3 refuses the request (400), most likely because the AWS session has expired; log in again and "
            f"run again. {left} ({text})"
        )
    return StoreUnreachable(f"{place}: S3 request failed ({text}). {left}")
