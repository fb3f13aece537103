"""Connections and transactions: one way to open an order system for writing, whatever its database is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import sqlalchemy as sa

from classic_cars.errors import SourceUnreachable
from classic_cars.sources.errors import translate_error
from classic_cars.sources.urls import SourceURL

#: Seconds to wait for a server, and for another writer to finish.
CONNECT_TIMEOUT, LOCK_TIMEOUT = 5, 60

#: Name and number of the lock that keeps two simulators from writing the same shop at once.
LOCK_NAME, LOCK_NUMBER = "classic_cars_shop", 0x0C1A551C

#: Bulk writes go past SQLAlchemy, so drivers' errors arrive as they are.
DRIVER_ERRORS = (sa.exc.DBAPIError, sqlite3.Error, psycopg.Error, pymysql.err.MySQLError)

_CONNECT_ARGUMENTS: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": LOCK_TIMEOUT},
    "mysql": {"connect_timeout": CONNECT_TIMEOUT, "charset": "utf8mb4", "local_infile": True},
    "postgresql": {"connect_timeout": CONNECT_TIMEOUT},
}


@contextmanager
def transaction(url: SourceURL, file: Path | None = None) -> Iterator[sa.Connection]:
    """A connection in a transaction that no other simulator writes beside; undone when the block fails.

    ``file``: of SQLite, another one than the URL's, which errors name all the same.
    MySQL and MariaDB commit at every CREATE, DROP and RENAME; the caller keeps those for the end.
    Raises a ``SourceError`` that hides the password when the database refuses or breaks.
    """
    engine = _engine(url, file)
    try:
        with engine.begin() as connection:
            _lock(connection)
            yield connection
    except DRIVER_ERRORS as error:
        raise translate_error(error, url) from None
    finally:
        engine.dispose()


def exists(url: SourceURL) -> bool:
    """False for a SQLite file that nobody has made yet; connecting to it would make it."""
    return not url.is_sqlite or url.path.exists()


def is_empty(file: Path) -> bool:
    """Whether a SQLite file has nothing in it, or is not there: a shop has to be made first."""
    return not file.exists() or file.stat().st_size == 0


def _engine(url: SourceURL, file: Path | None) -> sa.Engine:
    address = url.for_sqlalchemy()
    if url.is_sqlite:
        address = address.set(database=str(file or url.path))
    arguments = _CONNECT_ARGUMENTS[address.get_backend_name()]
    engine = sa.create_engine(address, poolclass=sa.NullPool, connect_args=arguments)
    if url.is_sqlite:
        sa.event.listen(engine, "connect", _no_implicit_transactions)
        sa.event.listen(engine, "begin", _begin_immediately)
    return engine


def _no_implicit_transactions(connection: Any, _: Any) -> None:
    """Python's sqlite3 opens transactions only before some statements; DROP TABLE is not one of them."""
    connection.isolation_level = None
    connection.execute("PRAGMA cache_size = -65536")


def _begin_immediately(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _lock(connection: sa.Connection) -> None:
    """Waits for another simulator of the same shop; the lock goes with the transaction or the connection."""
    match connection.dialect.name:
        case "postgresql":
            got = _locked_in_postgresql(connection)
        case "mysql" | "mariadb":
            # The whole server knows a lock's name, which has 64 characters at most; so many a database's may have.
            name = sa.func.concat(f"{LOCK_NAME} ", sa.func.md5(sa.func.database()))
            got = connection.scalar(sa.select(sa.func.get_lock(name, LOCK_TIMEOUT))) == 1
        case _:
            got = True
    if not got:
        raise SourceUnreachable(f"another simulator has been writing for {LOCK_TIMEOUT} s; try again later")


def _locked_in_postgresql(connection: sa.Connection) -> bool:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
    try:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_NUMBER)))
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            return False
        raise
    # Tables that somebody reads for long are waited for.
    connection.exec_driver_sql("SET LOCAL lock_timeout TO DEFAULT")
    return True
