"""Spark Connect sessions that AWS starts: EMR Serverless and Glue, with tokens that are renewed before they expire.

Their shapes are those of boto3's service models; no session in AWS was tried (docs/aws.md).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from classic_cars.errors import EngineUnreachable, StoreAccessDenied, StoreError
from classic_cars.stores.iceberg.engines.spark_session import Remote, Server

#: A token is renewed when it has so long to live, as long as a step may take to ask its next question; one that does
#: not live twice as long, at half of its life.
RENEW_BEFORE = timedelta(minutes=10)
#: Seconds until a session that was asked for must be there, and between two looks.
START_SECONDS, POLL_SECONDS = 600, 5
#: Minutes until AWS ends a session that nobody uses.
IDLE_MINUTES = 15
NAME = "classic-cars"
TOKEN_HEADER = "x-aws-proxy-auth"  # noqa: S105
READY = ("STARTED", "IDLE", "BUSY", "READY")
COMING = ("SUBMITTED", "STARTING", "PROVISIONING")
#: What AWS calls troubles that pass; of others it says what is wrong with the request.
PASSING = ("Throttl", "TooMany", "Internal", "Unavailable", "Timeout", "Concurrent", "Conflict")
#: Options that are numbers, and the least that makes sense.
NUMBERS = {"idle": 1, "workers": 2}


def remote_of(address: str) -> Remote:
    """Where the setting says that Spark is. Raises ``StoreError`` for an address that lacks something."""
    parts = urlsplit(address)
    if parts.scheme == "sc":
        return Server(address)
    options = dict(parse_qsl(parts.query))
    if "role" not in options:
        raise StoreError(
            f"CLASSIC_CARS_SPARK_REMOTE={parts.scheme}://: found no role, expected "
            f"{parts.scheme}://{'APPLICATION' if parts.scheme == 'emr-serverless' else ''}?role=ARN"
        )
    for name, least in NUMBERS.items():
        if name in options and not (options[name].isdecimal() and int(options[name]) >= least):
            found = f"found {name}={options[name]}, expected a number from {least}"
            raise StoreError(f"CLASSIC_CARS_SPARK_REMOTE={parts.scheme}://: {found}")
    if parts.scheme == "glue":
        return Managed(Glue(options))
    if not parts.netloc:
        raise StoreError("CLASSIC_CARS_SPARK_REMOTE=emr-serverless://: found no application, expected its id after //")
    return Managed(EMRServerless(parts.netloc, options))


@dataclass(frozen=True)
class Endpoint:
    """Where a session listens, and what to show there until ``expires``."""

    host: str
    token: str = field(repr=False)
    expires: datetime

    def url(self) -> str:
        parts = urlsplit(self.host if "://" in self.host else f"sc://{self.host}")
        host = parts.netloc if parts.port else f"{parts.hostname}:443"
        return f"sc://{host}/;use_ssl=true;{TOKEN_HEADER}={quote(self.token, safe='')}"


class EMRServerless:
    """A session of one application of EMR Serverless. ``client``: boto3's, by default made when first used."""

    def __init__(self, application: str, options: Mapping[str, str], client: Any = None) -> None:
        self.place = f"emr-serverless://{application}"
        self._application, self._options, self._given = application, options, client

    @cached_property
    def _client(self) -> Any:
        return self._given or _client("emr-serverless")

    def start(self) -> str:
        return self._client.start_session(
            applicationId=self._application,
            clientToken=str(uuid.uuid4()),
            executionRoleArn=self._options["role"],
            idleTimeoutMinutes=int(self._options.get("idle", IDLE_MINUTES)),
            name=NAME,
        )["sessionId"]

    def state(self, session: str) -> str:
        return self._client.get_session(**self._named(session))["session"]["state"]

    def endpoint(self, session: str) -> Endpoint:
        found = self._client.get_session_endpoint(**self._named(session))
        return Endpoint(found["endpoint"], found["authToken"], found["authTokenExpiresAt"])

    def end(self, session: str) -> None:
        self._client.terminate_session(**self._named(session))

    def _named(self, session: str) -> dict[str, str]:
        return {"applicationId": self._application, "sessionId": session}


class Glue:
    """An interactive session of Glue."""

    place = "glue://"

    def __init__(self, options: Mapping[str, str], client: Any = None) -> None:
        self._options, self._given = options, client

    @cached_property
    def _client(self) -> Any:
        return self._given or _client("glue")

    def start(self) -> str:
        more = {"GlueVersion": self._options["version"]} if "version" in self._options else {}
        return self._client.create_session(
            Id=f"{NAME}-{uuid.uuid4()}",
            Role=self._options["role"],
            Command={"Name": "glueetl", "PythonVersion": "3"},
            SessionType="SPARK_CONNECT",
            IdleTimeout=int(self._options.get("idle", IDLE_MINUTES)),
            NumberOfWorkers=int(self._options.get("workers", "2")),
            WorkerType=self._options.get("worker_type", "G.1X"),
            **more,
        )["Session"]["Id"]

    def state(self, session: str) -> str:
        return self._client.get_session(Id=session)["Session"]["Status"]

    def endpoint(self, session: str) -> Endpoint:
        found = self._client.get_session_endpoint(SessionId=session)["SparkConnect"]
        return Endpoint(found["Url"], found["AuthToken"], found["AuthTokenExpirationTime"])

    def end(self, session: str) -> None:
        self._client.stop_session(Id=session)


class Managed:
    """A session that is started when it is first needed, and ended with the run."""

    def __init__(self, service: EMRServerless | Glue) -> None:
        self._service = service
        self._session: str | None = None
        self._endpoint: Endpoint | None = None
        self._renew = datetime.max.replace(tzinfo=UTC)

    @property
    def redacted(self) -> str:
        return self._service.place

    def url(self) -> str:
        """Raises ``EngineUnreachable`` when the session does not come, ``StoreAccessDenied``, and ``StoreError`` for a
        request that AWS will never carry out.
        """
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            if self._session is None:
                self._session = self._service.start()
                self._wait(self._session)
            now = datetime.now(UTC)
            if self._endpoint is None or now >= self._renew:
                self._endpoint = self._service.endpoint(self._session)
                left = self._endpoint.expires - now
                self._renew = self._endpoint.expires - min(RENEW_BEFORE, left / 2)
        except ClientError as error:
            raise _refused(self.redacted, error.response.get("Error", {}).get("Code", "unknown")) from None
        except HTTPClientError as error:
            raise EngineUnreachable(f"{self.redacted}: AWS cannot be reached ({type(error).__name__})") from None
        except BotoCoreError as error:  # such as a parameter that its model does not allow, or no region
            raise StoreError(
                f"{self.redacted}: AWS cannot be asked ({type(error).__name__}): {' '.join(str(error).split())}"
            ) from None
        return self._endpoint.url()

    def _wait(self, session: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while (state := self._service.state(session)) not in READY:
            if state not in COMING or time.monotonic() > deadline:
                self.close()
                raise EngineUnreachable(f"{self.redacted}: the session is {state}, expected it ready; its log says why")
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        session, self._session, self._endpoint = self._session, None, None
        if session is not None:
            try:
                self._service.end(session)
            except (ClientError, BotoCoreError):
                return  # it ends by itself when it was idle for a while


def _refused(place: str, code: str) -> StoreError:
    if "Denied" in code or "Unauthorized" in code:
        return StoreAccessDenied(f"{place}: AWS refuses a session of Spark ({code}); docs/aws.md names the permissions")
    if any(each in code for each in PASSING):
        return EngineUnreachable(f"{place}: AWS gives no session of Spark now ({code})")
    return StoreError(f"{place}: AWS gives no session of Spark ({code}); check CLASSIC_CARS_SPARK_REMOTE: docs/aws.md")


def _client(service: str) -> Any:
    import boto3

    return boto3.client(service)
