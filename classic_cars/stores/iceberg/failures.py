"""What goes wrong between here and the warehouse or the catalog, in words that say what to do.

DuckDB, PyArrow, PyIceberg, boto3 and SQLAlchemy each have their own errors for the same few causes. Their texts
name files, buckets and kinds of failure; what could hold an address with a password is not passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.exceptions import RESTError
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from classic_cars.errors import StoreAccessDenied, StoreUnavailable, StoreUnreachable
from classic_cars.stores.iceberg.lake import Lake
from classic_cars.stores.sql import first_line

UNCHANGED = "The published tables are unchanged."
_EXPIRED = re.compile("ExpiredToken|EXPIRED_TOKEN|RequestExpired|TokenRefreshRequired")
_WRONG_LOGIN = re.compile(
    "(?i)InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|AuthFailure|"
    "INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_SIGNATURE"
)
_NO_BUCKET = re.compile("NoSuchBucket|NO_SUCH_BUCKET")
_NO_LOGIN = re.compile("NoCredentials|PartialCredentials")
_DENIED = re.compile("(?i)AccessDenied|ACCESS_DENIED|HTTP 403|Forbidden|AllAccessDisabled")


@contextmanager
def clear_errors(lake: Lake) -> Iterator[None]:
    """Turn storage errors of every library into ours."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise StoreUnavailable(
            f"{lake.warehouse}: not enough memory; raise CLASSIC_CARS_DUCKDB_MEMORY. {UNCHANGED} "
            f"({first_line(str(error))})"
        ) from None
    except (ClientError, BotoCoreError) as error:
        raise refusal(lake, _code(error)) from None
    except (duckdb.HTTPException, duckdb.IOException, duckdb.FatalException, OSError) as error:
        raise refusal(lake, first_line(str(error))) from None
    except (SQLAlchemyError, RESTError, RequestException) as error:
        raise StoreUnreachable(
            f"{lake.kind} catalog at {lake.redacted}: does not answer as it should ({type(error).__name__}); check "
            f"that it runs and that CLASSIC_CARS_CATALOG_URI is right. {UNCHANGED}"
        ) from None


def _code(error: ClientError | BotoCoreError) -> str:
    """AWS's own word for it."""
    return (
        str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else type(error).__name__
    )


def refusal(lake: Lake, text: str) -> StoreAccessDenied | StoreUnavailable | StoreUnreachable:
    """The error for what a storage library said."""
    place = lake.warehouse
    if "No space left" in text:
        return StoreUnavailable(f"{place}: the disk is full; free some space and run again. {UNCHANGED} ({text})")
    if not lake.bucket:
        return StoreUnavailable(
            f"{place}: cannot be used ({text}); check that it exists and that this user may read and write it. "
            f"{UNCHANGED}"
        )
    if _EXPIRED.search(text):
        return StoreAccessDenied(f"{place}: the AWS session has expired; log in again and run again. {UNCHANGED}")
    if found := _WRONG_LOGIN.search(text):
        return StoreAccessDenied(
            f"{place}: S3 refuses the credentials ({found[0]}); check AWS_ACCESS_KEY_ID and its secret. {UNCHANGED}"
        )
    if _NO_LOGIN.search(text):
        return StoreAccessDenied(f"{place}: no complete AWS credentials; set AWS_ACCESS_KEY_ID and its secret")
    if _NO_BUCKET.search(text) or text == "404":
        return StoreAccessDenied(f"{place}: there is no such bucket; create it, or correct CLASSIC_CARS_WAREHOUSE")
    if _DENIED.search(text) or text == "403":
        return StoreAccessDenied(
            f"{place}: S3 denies access; the credentials lack a permission on it. {UNCHANGED} ({text})"
        )
    if "HTTP code 400" in text:
        # DuckDB does not pass on S3's own word for it.
        return StoreAccessDenied(
            f"{place}: S3 refuses the request (400), most likely because the AWS session has expired; log in again and "
            f"run again. {UNCHANGED} ({text})"
        )
    return StoreUnreachable(f"{place}: S3 does not answer as it should ({text}). {UNCHANGED}")
