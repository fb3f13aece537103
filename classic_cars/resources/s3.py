"""A landing zone in a bucket, as a Dagster resource. Imported only where there is one: boto3 takes a second to load."""

from __future__ import annotations

from typing import Any

from dagster_aws.s3 import S3Resource
from pydantic import Field

from classic_cars.resources.landing import LandingZone
from classic_cars.sources.landing import Landing
from classic_cars.sources.landing.bucket import CONNECT_SECONDS, READ_SECONDS, RETRIES, s3_client


class S3(S3Resource):
    """``S3Resource`` with time-outs: without them a bucket that is gone holds a sensor for minutes."""

    max_attempts: int = Field(default=RETRIES, description="Attempts after the first")
    connect_timeout: float = Field(default=CONNECT_SECONDS, description="Seconds to wait for a connection")
    read_timeout: float = Field(default=READ_SECONDS, description="Seconds to wait for bytes")

    def get_client(self) -> Any:
        return s3_client(
            self.connect_timeout,
            self.read_timeout,
            retries=self.max_attempts,
            profile_name=self.profile_name,
            unsigned=self.use_unsigned_session,
            region_name=self.region_name,
            endpoint_url=self.endpoint_url,
            use_ssl=self.use_ssl,
            verify=self.verify,
            aws_access_key_id=self.aws_access_key_id,
            aws_secret_access_key=self.aws_secret_access_key,
            aws_session_token=self.aws_session_token,
        )


class LandingBucket(LandingZone):
    """Where partners drop files: a bucket, or a prefix of one. What ``s3`` leaves out is found the standard AWS way."""

    s3: S3

    def get_object_to_set_on_execution_context(self) -> Landing:
        return Landing(self.location, s3=self.s3.get_client)
