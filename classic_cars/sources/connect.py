"""Read-only connections to the order system for small queries of our own, with short time-outs."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from classic_cars.errors import SourceAccessDenied, SourceMissing
from classic_cars.sources.urls import SourceURL

#: Control totals of a big table take a while; a server that says nothing for so long is gone.
QUERY_SECONDS = 120
#: So much longer waits the client, so that it is the server that ends a query.
GRACE_SECONDS = 5


def read_only_engine(url: SourceURL, timeout: float, query_seconds: float = QUERY_SECONDS) -> sa.Engine:
    """An engine whose connections refuse to write and give up waiting for an answer after ``timeout`` seconds.

    A server ends a query by itself after ``query_seconds``.
    """
    if url.is_sqlite:
        return _engine(url, creator=lambda: _sqlite(url, timeout))
    if url.scheme == "postgresql":
        options = f"-c default_transaction_read_only=on -c statement_timeout={int(query_seconds * 1000)}"
        return _engine(url, connect_args={"connect_timeout": max(2, int(timeout)), "options": options})
    engine = _engine(
        url,
        connect_args={
            "connect_timeout": timeout,
            # Also the time that a server may take to greet; raised once it has.
            "read_timeout": timeout,
            "init_command": "SET SESSION TRANSACTION READ ONLY",
        },
    )
    sa.event.listen(engine, "connect", lambda connection, _record: _limit_queries(connection, query_seconds))
    return engine


def _engine(url: SourceURL, **options: Any) -> sa.Engine:
    return sa.create_engine(url.for_sqlalchemy(), poolclass=sa.NullPool, hide_parameters=True, **options)


def _sqlite(url: SourceURL, timeout: float) -> sqlite3.Connection:
    path = url.path
    _must_be_a_readable_file(path)
    connection = sqlite3.connect(f"file:{quote(path.as_posix())}?mode=ro", uri=True, timeout=timeout / 2)
    # Values that are not UTF-8 must not stop a query that only counts.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def _must_be_a_readable_file(path: Path) -> None:
    if not path.exists():
        raise SourceMissing(
            f"sqlite:///{path}: no such file; expected the order system's database there; set CLASSIC_CARS_SOURCE_URL, "
            "or make one to play with: `classic-cars shop create`"
        )
    if not path.is_file():
        raise SourceMissing(f"sqlite:///{path}: is no file; expected a SQLite database; set CLASSIC_CARS_SOURCE_URL")
    if not os.access(path, os.R_OK):
        raise SourceAccessDenied(f"sqlite:///{path}: user {os.geteuid()} may not read the file; make it readable")


def _limit_queries(connection: Any, seconds: float) -> None:
    connection._read_timeout = seconds + GRACE_SECONDS
    with connection.cursor() as cursor:
        # Each of the two servers reads the other's as a comment.
        cursor.execute(f"/*!50708 SET SESSION max_execution_time = {int(seconds * 1000)} */")
        cursor.execute(f"/*M! SET SESSION max_statement_time = {seconds} */")
