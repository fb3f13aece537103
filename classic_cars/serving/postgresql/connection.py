"""A connection to the PostgreSQL of ``CLASSIC_CARS_SERVING_URL``, and its errors in words that help."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow

from classic_cars.errors import ServingError
from classic_cars.settings import Settings
from classic_cars.sources.errors import scrubbed, without_values
from classic_cars.sources.retries import ended_after
from classic_cars.sources.urls import SourceURL
from classic_cars.wording import counted

VARIABLE = "CLASSIC_CARS_SERVING_URL"
#: Notice a server that died, or a network that drops everything, within half a minute.
DEAD = {"keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 30_000}

#: Seconds that a question takes at most.
QUESTION = 60.0

Connection = psycopg.Connection[TupleRow]

FIXES: tuple[tuple[type[psycopg.Error], str], ...] = (
    (errors.InvalidPassword, f"check user and password in {VARIABLE}; special characters are percent-encoded"),
    (errors.InsufficientPrivilege, "`classic-cars doctor` says which right is missing"),
    (errors.LockNotAvailable, "another session holds a table too long: pg_stat_activity shows it"),
    (
        errors.DependentObjectsStillExist,
        "the table changes with its contract, and views of yours need what goes: drop them, and make them again",
    ),
    (errors.ForeignKeyViolation, "tables of the release refer to members that it lacks: `classic-cars run --full`"),
    (errors.DiskFull, "free some space on the server's disk"),
)


@dataclass(frozen=True)
class Server:
    """Where PostgreSQL is and who asks. Printing it never shows the password. ``timeout``: seconds to connect."""

    url: SourceURL
    timeout: float = 4.0

    @classmethod
    def parse(cls, text: str, timeout: float) -> Server:
        """Raises ``SettingsError`` for a URL that cannot be read, and shows nothing of it."""
        return cls(SourceURL.parse(text, VARIABLE), timeout)

    @classmethod
    def of(cls, settings: Settings) -> Server:
        return cls.parse(settings.serving_url.get_secret_value(), settings.connect_timeout)

    def __str__(self) -> str:
        return str(self.url)


@contextmanager
def connected(server: Server, longest: float = QUESTION) -> Iterator[Connection]:
    """One transaction: committed at the end, rolled back by any exception. Raises ``ServingError`` for PostgreSQL's.

    ``longest``: seconds after which it is given up, even where the server is frozen and says nothing.
    """
    url = server.url
    login, late = url.credentials(), threading.Event()
    where: dict[str, Any] = {
        "dbname": login.pop("DATABASE"),
        **{key.lower(): value for key, value in login.items()},
        "connect_timeout": max(2, int(server.timeout)),
        "application_name": "classic-cars",
        "client_encoding": "UTF8",
        **DEAD,
        **url.options(),
    }
    try:
        # Not prepared: a pooler may hand each transaction another connection.
        with (
            psycopg.connect(**where, prepare_threshold=None) as connection,
            ended_after(longest, lambda: _hang_up(connection, late)),
        ):
            yield connection
    except psycopg.Error as error:
        if late.is_set():
            raise ServingError(f"{url}: not done after {counted(round(longest), 'second')}, and given up") from None
        raise ServingError(f"{url}: {scrubbed(said(error), url)}{_fix(error)}") from None


def _hang_up(connection: Connection, late: threading.Event) -> None:
    """From another thread: PostgreSQL's own timeouts need a server that still works."""
    late.set()
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def said(error: psycopg.Error) -> str:
    """PostgreSQL's message in one line, with names and without values."""
    diagnosis = error.diag
    if diagnosis.message_primary is None:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[0][:400] if lines else type(error).__name__
    named = [str(each) for each in (diagnosis.table_name, diagnosis.constraint_name) if each]
    text = without_values(diagnosis.message_primary)
    return f"{text} ({', '.join(named)})" if named else text


def _fix(error: psycopg.Error) -> str:
    for kind, fix in FIXES:
        if isinstance(error, kind):
            return f"; {fix}"
    if "password authentication failed" in str(error):
        return f"; {FIXES[0][1]}"
    if re.search(r'database "[^"]*" does not exist', str(error)):
        return f"; create it, or check its name in {VARIABLE}"
    if error.diag.message_primary is None:
        return f"; check host and port in {VARIABLE}, that the server runs and lets this machine in"
    return ""
