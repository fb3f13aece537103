"""A landing zone that is a bucket, or a prefix of one. An object appears whole.

Read with boto3: pyarrow.fs does not say an object's ETag and cannot ask for just the version that was listed, so that
an object replaced by one of its size would be taken for the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

from classic_cars.errors import LandedFileChanged, SourceAccessDenied, SourceError, SourceMissing, SourceUnreachable
from classic_cars.sources.landing.listing import LandedFile, Listing, Unreadable, is_ignored

#: Seconds until a bucket that is silent counts as unreachable, and one that stops answering.
CONNECT_SECONDS, READ_SECONDS = 3, 30
#: Attempts after the first.
RETRIES = 2

NOT_THERE = ("NoSuchKey", "404")
CHANGED = ("PreconditionFailed", "412")
#: S3's words for credentials that are none, or none any more.
NO_CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed")
REFUSED = ("AccessDenied", "403", *NO_CREDENTIALS, "NoCredentialsError")
#: Refusals that concern more than the one object that was asked for, or pass by themselves.
OF_THE_PLACE = (*NO_CREDENTIALS, "NoSuchBucket", "RequestTimeout", "SlowDown", "TooManyRequests", "429")


def s3_client(
    connect_timeout: float = CONNECT_SECONDS,
    read_timeout: float = READ_SECONDS,
    retries: int = RETRIES,
    profile_name: str | None = None,
    unsigned: bool = False,
    **options: Any,
) -> Any:
    """boto3's client, safe to share between threads; ``retries`` are attempts after the first.

    What ``options`` leave out (region, endpoint, credentials) is found the standard AWS way. Raises ``ImportError``.
    """
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"max_attempts": retries, "mode": "standard"},
        max_pool_connections=32,
        signature_version=UNSIGNED if unsigned else None,
    )
    session = boto3.Session(profile_name=profile_name)
    region = options.pop("region_name", None) or session.region_name or "us-east-1"
    return session.client("s3", region_name=region, config=config, **options)


class Bucket:
    def __init__(self, location: str, make_client: Callable[[], Any] = s3_client) -> None:
        self._location = location
        self._bucket, _, prefix = location.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        self._make_client = make_client
        self._made: Any = None

    @property
    def _client(self) -> Any:
        if self._made is None:
            try:
                self._made = self._make_client()
            except ImportError:
                raise SourceError(f"{self._location}: boto3 is missing; pip install 'classic-cars[s3]'") from None
        return self._made

    def list(self, now: float) -> Listing:  # noqa: ARG002
        with self._clear_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            found = [self._file(each) for page in pages for each in page.get("Contents", [])]
        return Listing(
            tuple(sorted(each for each in found if not each.name.endswith("/") and not is_ignored(each.name)))
        )

    def _file(self, seen: dict[str, Any]) -> LandedFile:
        landed = seen["LastModified"].astimezone(UTC).replace(tzinfo=None)
        name = seen["Key"].removeprefix(self._prefix)
        return LandedFile(name, seen["Size"], seen["ETag"].strip('"'), landed, seen["Key"])

    @contextmanager
    def open(self, file: LandedFile) -> Iterator[Any]:
        with self._clear_errors(file):
            answer = self._client.get_object(Bucket=self._bucket, Key=file.path, IfMatch=file.version)
            yield answer["Body"]

    def put(self, name: str, data: bytes) -> None:
        with self._clear_errors():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data)

    @contextmanager
    def _clear_errors(self, file: LandedFile | None = None) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if file is not None and code in (*NOT_THERE, *CHANGED):
                raise LandedFileChanged(
                    f"{file.name}: changed since it was listed; it is read with the next listing"
                ) from None
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if file is not None and 400 <= status < 500 and code not in OF_THE_PLACE:
                raise Unreadable(code) from None
            raise self._refusal(code) from None
        except (BotoCoreError, HTTPClientError, OSError) as error:
            raise self._refusal(type(error).__name__) from None

    def _refusal(self, code: str) -> SourceError:
        """The error for AWS's own word."""
        if code in ("NoSuchBucket", "404"):
            return SourceMissing(
                f"{self._location}: there is no such bucket; create it, or correct CLASSIC_CARS_LANDING"
            )
        if code in REFUSED:
            return SourceAccessDenied(f"{self._location}: S3 denies access ({code}); check the AWS credentials")
        return SourceUnreachable(f"{self._location}: S3 request failed ({code})")
