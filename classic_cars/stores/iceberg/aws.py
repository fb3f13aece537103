"""The standard AWS way to region, endpoint and credentials: environment, profile or role, through boto3.

What is found stays in memory: it is handed to DuckDB and to PyIceberg's own file access, and appears in no
file, message or log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from classic_cars.errors import StoreAccessDenied
from classic_cars.stores.sql import literal

#: Seconds until a server that is silent counts as unreachable.
CONNECT_SECONDS, READ_SECONDS = 3, 10
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True)
class S3Access:
    """How to reach S3 now. ``endpoint`` is None for AWS itself; temporary credentials are others after a while."""

    region: str
    endpoint: str | None
    key: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(repr=False, default=None)

    def for_pyiceberg(self) -> dict[str, str]:
        """Properties of PyIceberg's file access."""
        found = {
            "s3.region": self.region,
            "s3.access-key-id": self.key,
            "s3.secret-access-key": self.secret,
            "s3.session-token": self.token,
            "s3.endpoint": self.endpoint,
            "s3.connect-timeout": str(CONNECT_SECONDS),
            "s3.request-timeout": str(READ_SECONDS),
        }
        return {name: value for name, value in found.items() if value}

    def for_duckdb(self, bucket: str, kms_key: str | None) -> str:
        """The statement that lets DuckDB reach the bucket, while its process lives."""
        options = {
            "KEY_ID": self.key,
            "SECRET": self.secret,
            "SESSION_TOKEN": self.token,
            "REGION": self.region,
            "KMS_KEY_ID": kms_key,
        }
        if self.endpoint:
            place = urlsplit(self.endpoint)
            options |= {"ENDPOINT": place.netloc + place.path.rstrip("/"), "URL_STYLE": "path"}
        settings = "".join(f", {name} {literal(value)}" for name, value in options.items() if value)
        if self.endpoint:
            settings += f", USE_SSL {str(self.endpoint.startswith('https')).lower()}"
        return f"CREATE OR REPLACE SECRET warehouse (TYPE s3, SCOPE {literal(f's3://{bucket}')}{settings})"


class S3:
    """The bucket of a warehouse, reached with whatever credentials the process has."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self._session = boto3.Session()

    def access(self) -> S3Access:
        """Region, endpoint and credentials as they are now; boto3 renews temporary ones.

        Raises ``StoreAccessDenied`` when there are none.
        """
        try:
            credentials = self._session.get_credentials()
            frozen = credentials.get_frozen_credentials() if credentials else None
            endpoint = str(self.client.meta.endpoint_url)
        except BotoCoreError as error:
            raise StoreAccessDenied(f"s3://{self.bucket}: AWS settings cannot be read ({error})") from None
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise StoreAccessDenied(
                f"s3://{self.bucket}: no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "AWS_PROFILE, or run under a role"
            )
        host = urlsplit(endpoint).hostname or ""
        return S3Access(
            region=self._session.region_name or DEFAULT_REGION,
            endpoint=None if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else endpoint,
            key=frozen.access_key,
            secret=frozen.secret_key,
            token=frozen.token,
        )

    def probe(self) -> None:
        """Ask the bucket one question, so that what is wrong is said clearly and at once.

        Raises boto3's errors.
        """
        self.client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)

    def encrypts_by_default(self) -> str:
        """The algorithm with which the bucket encrypts unless a request says otherwise. Raises boto3's errors."""
        answer = self.client.get_bucket_encryption(Bucket=self.bucket)
        (rule, *_) = answer["ServerSideEncryptionConfiguration"]["Rules"]
        return str(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"])

    @cached_property
    def client(self) -> Any:
        """boto3's own, with short time-outs; making one takes a twentieth of a second."""
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS / 2,
            retries={"total_max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": "auto"},
        )
        return self._session.client("s3", region_name=self._session.region_name or DEFAULT_REGION, config=config)
