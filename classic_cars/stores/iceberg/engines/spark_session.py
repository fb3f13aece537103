"""A session of a Spark Connect server: opened with the settings that make Spark's rows equal DuckDB's, and its errors.

What a server says may quote a value of a row, and an address may hold a token: neither reaches a message of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from classic_cars.errors import EngineUnreachable, StoreAccessDenied, StoreError

#: Versions of the server that the tests prove, and the client's with them.
VERSION = "4.0"
INSTALL = f"pip install 'classic-cars[spark]' (pyspark-client {VERSION})"
#: Without these, rows differ from DuckDB's or columns are read by name.
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.parquet.fieldId.read.enabled": "true",
    "spark.sql.parquet.fieldId.write.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
}
#: How often a call is tried again while the server does not answer: some 20 seconds in all.
RETRIES, MOST_WAIT_MS = 7, 5_000
#: A server that is asked something and says nothing for so long is asked whether it is there; when it does not even
#: answer that, it is lost. A server that works speaks every two minutes, and takes offence at less than five.
KEEPALIVE = {
    "grpc.keepalive_time_ms": 360_000,
    "grpc.keepalive_timeout_ms": 60_000,
    "grpc.http2.max_pings_without_data": 0,
}
#: Words of gRPC for what went wrong: nobody was heard, and somebody said no.
LOST, DENIED = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"), ("UNAUTHENTICATED", "PERMISSION_DENIED")
#: Conditions under which the server has forgotten the session, or was started anew.
SESSION_GONE = ("INVALID_HANDLE", "INVALID_CURSOR", "SESSION")
UNCHANGED = "The published tables are unchanged."


class Remote(Protocol):
    """Where a Spark Connect server is, and how to log in there."""

    @property
    def redacted(self) -> str:
        """The address without what is secret."""
        ...

    def url(self) -> str:
        """The address as Spark's client takes it, with the token of this moment. Raises ``StoreError``."""
        ...

    def close(self) -> None:
        """End what was started for us; the next address is that of another one."""
        ...


@dataclass(frozen=True)
class Server:
    """A server that runs already; ``address``: ``sc://host:port/;token=...``, which is shown nowhere."""

    address: str = field(repr=False)

    @property
    def redacted(self) -> str:
        return f"sc://{re.split('[/;?#]', self.address.removeprefix('sc://'))[0].rpartition('@')[2]}"

    def url(self) -> str:
        return self.address

    def close(self) -> None:
        pass


def connected(remote: Remote, url: str) -> Any:
    """A session at ``url``, with its settings. Raises ``StoreError`` for a server of another version.

    Raises ``EngineUnreachable`` when nobody answers, and ``StoreAccessDenied``.
    """
    session_of, policy, channel = _client()
    with clear_errors(remote):
        try:
            session = session_of(channel(url, [*KEEPALIVE.items()]))
        except ValueError as error:
            raise StoreError(
                f"{remote.redacted}: is no address of a Spark Connect server ({type(error).__name__}); set "
                "CLASSIC_CARS_SPARK_REMOTE=sc://host:port, with /;token=... where the server asks for one"
            ) from None
        session.client.set_retry_policies([policy(max_retries=RETRIES, max_backoff=MOST_WAIT_MS)])
        _must_be_supported(remote, session.version)
        for name, value in SETTINGS.items():
            session.conf.set(name, value)
    return session


def _client() -> tuple[Any, Any, Any]:
    """Spark's client: its session, its way to try again, and its channel. Imported late: it is an extra.

    Raises ``StoreError`` when it is missing, or of another version.
    """
    try:
        import pyspark

        _must_be_supported_client(pyspark.__version__)
        from pyspark.sql.connect.client import DefaultChannelBuilder
        from pyspark.sql.connect.client.retries import DefaultPolicy
        from pyspark.sql.connect.session import SparkSession
    except ImportError as error:
        raise StoreError(f"CLASSIC_CARS_ENGINE=spark: Spark's client is not installed ({error}); {INSTALL}") from None

    class Session(SparkSession):
        def __del__(self) -> None:
            """Closing shuts a pool that all sessions share: the engine does it, never the garbage collector."""

    return Session, DefaultPolicy, DefaultChannelBuilder


def _must_be_supported_client(found: str) -> None:
    if not found.startswith(f"{VERSION}."):
        raise StoreError(f"Spark's client is of version {found}, expected {VERSION}; {INSTALL}")


def _must_be_supported(remote: Remote, found: str) -> None:
    if not found.startswith(f"{VERSION}."):
        raise StoreError(
            f"{remote.redacted}: found Spark {found}, expected {VERSION}; use a server of that version, or "
            "CLASSIC_CARS_ENGINE=duckdb"
        )


@contextmanager
def clear_errors(remote: Remote) -> Iterator[None]:
    """Turn the errors of Spark's client into ours."""
    from grpc import RpcError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, RpcError) as error:
        raise _ours(remote, error) from None


def _ours(remote: Remote, error: Exception) -> StoreError:
    condition = str(getattr(error, "getCondition", lambda: None)() or "")
    kind = condition or _status(error) or type(error).__name__
    if kind in DENIED:
        return StoreAccessDenied(
            f"{remote.redacted}: the Spark server refuses us ({kind}); check the token in CLASSIC_CARS_SPARK_REMOTE, "
            f"and what it may do. {UNCHANGED}"
        )
    if is_lost(error, condition):
        return EngineUnreachable(
            f"{remote.redacted}: the Spark server does not answer, or has ended the session ({kind}); check that it "
            f"runs, and whether it asks for use_ssl=true. {UNCHANGED}"
        )
    return StoreError(
        f"{remote.redacted}: Spark could not do it ({kind}); its own log says more. Values may stand in its message, "
        f"which is therefore not shown here. {UNCHANGED}"
    )


def is_lost(error: Exception, condition: str) -> bool:
    """Whether another try, in a session of its own, can help."""
    from grpc import RpcError
    from pyspark.errors.exceptions.base import RetriesExceeded

    if isinstance(error, RetriesExceeded | RpcError) or any(each in condition for each in SESSION_GONE):
        return True
    # A call that broke off in the middle has no condition, only gRPC's word for it.
    broken_off = any(each in str(error) for each in ("Connection reset", "Socket closed"))
    return not condition and (broken_off or _status(error) in LOST)


def _status(error: Exception) -> str:
    """gRPC's word for what went wrong, in a message of which nothing else may be passed on; empty without one."""
    from grpc import StatusCode

    said = str(error)
    return next((each.name for each in StatusCode if re.search(rf"StatusCode\.{each.name}\b", said)), "")
