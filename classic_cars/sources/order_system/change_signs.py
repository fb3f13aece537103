"""Cheap signs of change: what a database says of its tables without reading their rows.

As long as a table's sign is the same, its database knows of no change; a sign that moved means that there may be one.
Signs are a sieve in front of fingerprints, which are the proof. What may not be relied on has no sign:

SQLite: the header's change counter, and the head of the write-ahead log's index, which counts transactions.
One sign for all tables; exact.

MariaDB, MySQL: ``update_time``, in whole seconds, of InnoDB and MyISAM (Aria's lags behind), with the number of rows
and the size, because TRUNCATE does not move it. InnoDB takes it from the moment at which a transaction first wrote.
So of two transactions that began in the same second, the second one's commit does not move it: that is left to the
proof. It is in memory and NULL after a restart; then the server's counter of transactions stands for all tables.

PostgreSQL: the snapshot of transactions that a query sees. It decides which rows are visible; exact, at once, and
moved by every transaction that writes anywhere on the server. The statistics of a table (``pg_stat_user_tables``) come
up to ten seconds late, or when an idle transaction ends. A standby tells how far it has replayed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from classic_cars.sources.order_system.database import Database
from classic_cars.sources.order_system.selecting import LINES, ORDERS

#: A change so long ago is over: ``update_time`` counts whole seconds, and is set a moment before a change shows.
REST_SECONDS = 2
#: Where a SQLite file has its change counter, and the part of a write-ahead log's index that tells its content.
COUNTER = slice(24, 28)
INDEX_BYTES = 48
LOG_HEADER_BYTES = 32
#: What a server of MariaDB or MySQL counts up with each transaction that writes; the first that it has.
TRANSACTIONS = ("innodb_max_trx_id", "innodb_redo_log_current_lsn")


@dataclass(frozen=True)
class Sign:
    """What a database says of a table; ``token`` is the same for as long as it knows of no change."""

    token: str
    #: Whether the last change is some seconds ago; None when the database does not say when that was.
    resting: bool | None = None
    #: Whether it moves with every change; one that does not is told apart by a proof now and then.
    exact: bool = True


@dataclass(frozen=True)
class _Said:
    """What a database says of one table alone."""

    facts: tuple[Any, ...]
    resting: bool | None = None
    exact: bool = True


def of_file(path: Path) -> _Said:
    """Of all tables of a SQLite file."""
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    facts = [*_stat(path), _head(path, COUNTER.stop)[COUNTER]]
    return _Said((*facts, *_stat(log), _head(log, LOG_HEADER_BYTES), _head(index, INDEX_BYTES)))


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        return b""


def of_mariadb(database: Database, tables: Sequence[sa.Table]) -> dict[str, _Said]:
    def ask() -> dict[str, _Said]:
        with database.engine.connect() as connection:
            is_mariadb = getattr(connection.dialect, "is_mariadb", True)
            connection.exec_driver_sql("SET time_zone = '+00:00'")
            if not is_mariadb and connection.dialect.server_version_info >= (8,):  # type: ignore[operator]
                connection.exec_driver_sql("SET SESSION information_schema_stats_expiry = 0")
            schema = "information_schema" if is_mariadb else "performance_schema"
            status = connection.execute(sa.text(STATUS.format(schema=schema)), {"names": ["uptime", *TRANSACTIONS]})
            found = {name.lower(): (value, started) for name, value, started in status}
            if "uptime" not in found:
                return {}
            server = (found["uptime"][1], *connection.exec_driver_sql("SELECT @@hostname, @@port").one())
            writes = next((found[name][0] for name in TRANSACTIONS if name in found), None)
            rows = connection.execute(TABLES, {"names": _names(tables)})
            said = {name: _of_innodb(engine, server, writes, *rest) for name, engine, *rest in rows}
            return {name: each for name, each in said.items() if each}

    return database.retry_transient(ask)


#: When the server was started is the same only when both moments are of one statement.
STATUS = (
    "SELECT variable_name, variable_value, CASE lower(variable_name) WHEN 'uptime' "
    "THEN CAST(unix_timestamp(now()) - variable_value AS SIGNED) END "
    "FROM {schema}.global_status WHERE lower(variable_name) IN :names"
)
TABLES = sa.text(
    "SELECT table_name, engine, now(6), timestampdiff(SECOND, update_time, now()), update_time, create_time, "
    "table_rows, data_length FROM information_schema.tables WHERE table_schema = database() AND table_name IN :names"
).bindparams(sa.bindparam("names", expanding=True))


def _of_innodb(
    engine: str | None, server: tuple[Any, ...], writes: str | None, now: Any, age: int | None, *facts: Any
) -> _Said | None:
    """None for a view, and for an engine whose word is not known to be good."""
    if age is not None and engine in ("InnoDB", "MyISAM"):
        # A table that was changed just now, or in the future, may change once more in that second.
        resting = age >= REST_SECONDS
        return _Said((server, engine, facts, None if resting else now), resting, exact=False)
    if engine == "InnoDB" and writes is not None:
        return _Said((server, engine, facts, writes), exact=False)
    return None


def of_postgresql(database: Database, tables: Sequence[sa.Table]) -> dict[str, _Said]:
    """A table, not a view: what a view shows may come from anywhere, and so may a table with foreign parts."""

    def ask() -> dict[str, _Said]:
        with database.engine.connect() as connection:
            server = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
            if int(server) < SNAPSHOTS_SINCE:
                return {}
            state = tuple(connection.execute(SNAPSHOT).one())
            rows = connection.execute(RELATIONS, {"names": [f'"{name}"' for name in _names(tables)]})
            return {name: _Said((*state, *facts)) for name, *facts in rows}

    return database.retry_transient(ask)


SNAPSHOTS_SINCE = 130_000
SNAPSHOT = sa.text(
    "SELECT CAST(pg_current_snapshot() AS text), pg_postmaster_start_time(), "
    "CASE WHEN pg_is_in_recovery() THEN CAST(pg_last_wal_replay_lsn() AS text) END"
)
RELATIONS = sa.text(
    "SELECT relname, oid, pg_relation_filenode(oid) FROM pg_class "
    "WHERE oid IN (SELECT to_regclass(name) FROM unnest(CAST(:names AS text[])) AS name) AND relkind IN ('r', 'p') "
    "AND NOT (relhassubclass AND EXISTS (SELECT FROM pg_foreign_table))"
)


def signs(
    database: Database, said: Mapping[str, _Said], tables: Sequence[sa.Table], today: date | None
) -> dict[str, Sign]:
    """A sign of each table, if there is one of all that its fingerprint is worked out from."""
    found = {}
    for table in tables:
        # In which months order lines are at home, their orders say; and which dates are good, the current day.
        behind = [said.get(each.name) for each in ((table, ORDERS) if table is LINES else (table,))]
        if all(behind):
            resting = [each.resting for each in behind if each]
            facts = repr((database.redacted, today or date.today(), [each.facts for each in behind if each]))
            token = hashlib.blake2b(facts.encode(), digest_size=6).hexdigest()
            is_resting = False if False in resting else None if None in resting else True
            found[table.name] = Sign(token, is_resting, all(each.exact for each in behind if each))
    return found


def _names(tables: Sequence[sa.Table]) -> list[str]:
    return sorted({ORDERS.name, *(table.name for table in tables)})
