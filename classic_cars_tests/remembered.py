"""What comes out the same for every run of a test process, and costs more than the run itself: worked out once.

A process of the platform carries out one run, a process of tests hundreds. Nothing here changes a result: the first
run in a process works everything out as it always does, and programs that tests start know nothing of this.
"""

from __future__ import annotations

import gc
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any

import duckdb
import pymysql
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

# What an ephemeral instance keeps its events in; storages have no public names.
from dagster._core.storage.event_log.in_memory import InMemoryEventLogStorage

from classic_cars import compiled
from classic_cars.assets import ALL_TABLES
from classic_cars.tables.table import Catalog, Table

#: What a catalog works out of its tables, by address.
WORKED_OUT = ("_expressions", "_origins", "_audited", "_code_versions")
#: As everywhere else.
connect = duckdb.connect


def install() -> None:
    open_databases_for_little()
    share_catalogs()
    keep_events_in_memory_over_one_connection()
    read_certificates_once()
    read_migrations_once()
    compiled.MOST = 50_000  # a process of tests comes upon more expressions than the platform has


def live_long() -> None:
    """Modules live as long as the process: the garbage collector need not look at them again, nor so often.

    Whoever calls this does best without the collector until then: each look takes a second.
    """
    gc.freeze()  # a fork then shares these objects' memory
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


def work_out_the_catalog() -> None:
    """Before the first run needs it: for a process whose forks carry the runs out."""
    catalog = Catalog(ALL_TABLES)
    for each in ALL_TABLES:
        catalog.code_version(each)
        catalog.audited_against(each)


def open_databases_for_little() -> None:
    """Every ``LOAD`` hashes tens of megabytes to prove a signature: 0.1 s each time that an order system is read.

    ``end_to_end/test_extensions.py`` proves the signatures. And DuckDB wakes its other threads for each query, though
    tables of less than 122,880 rows are read by one: a twentieth of a run. A program that is started anew has them all.
    """

    @wraps(connect)
    def connected(database: Any = ":memory:", read_only: bool = False, config: Any = None, **more: Any) -> Any:
        little = {"threads": 1, "allow_unsigned_extensions": True}
        return connect(database, read_only, {**(config or {}), **little}, **more)

    duckdb.connect = connected


def share_catalogs() -> None:
    """A catalog of the platform's own tables finds what the first one worked out of them.

    With a function swapped, all but what is worked out of that function: the rest depends on the table's own function
    and on contracts.
    """
    made, first = Catalog.__init__, Catalog(ALL_TABLES)
    contracts = {each.address: each.contract for each in ALL_TABLES}

    @wraps(made)
    def knowing(self: Catalog, tables: Iterable[Table]) -> None:
        made(self, tables)
        if {each.address: id(each.contract) for each in self} != {name: id(each) for name, each in contracts.items()}:
            return
        same = {each.address for each in self if each is first[each.address]}
        for name in WORKED_OUT:
            known = getattr(first, name)
            setattr(self, name, known if len(same) == len(contracts) else {k: known[k] for k in same & known.keys()})

    Catalog.__init__ = knowing  # type: ignore[method-assign]


def keep_events_in_memory_over_one_connection() -> None:
    """Dagster's event log in memory opens a connection for each of the thousands of statements of a run.

    It holds one anyway, and a lock that lets no two statements in at once.
    """
    look_up = InMemoryEventLogStorage.has_table

    @contextmanager
    def held(self: InMemoryEventLogStorage) -> Iterator[sa.Connection]:
        with self._db_lock, self._held_conn.begin():
            yield self._held_conn

    def has_table(self: InMemoryEventLogStorage, table_name: str) -> bool:
        found: dict[str, bool] = self.__dict__.setdefault("_tables_there", {})
        if table_name not in found:
            found[table_name] = look_up(self, table_name)
        return found[table_name]

    InMemoryEventLogStorage._connect = held  # type: ignore[method-assign]
    InMemoryEventLogStorage.has_table = has_table  # type: ignore[method-assign]


def read_certificates_once() -> None:
    """PyMySQL reads all authorities of the machine, 25 ms, for each connection, though it then trusts any server."""
    make = pymysql.connections.Connection._create_ssl_ctx
    by_default = cache(lambda: make(None, {}))

    def remembered(self: pymysql.connections.Connection, sslp: dict[str, Any]) -> ssl.SSLContext:
        return make(self, sslp) if sslp else by_default()

    pymysql.connections.Connection._create_ssl_ctx = remembered


def read_migrations_once() -> None:
    """A new database of Dagster's is marked as the newest: its 89 migrations are loaded, 25 ms, to learn which that is.

    Each run in memory has two such databases.
    """
    load = ScriptDirectory.from_config
    loaded: dict[str | None, ScriptDirectory] = {}

    def remembered(config: Config) -> ScriptDirectory:
        folder = config.get_main_option("script_location")
        if folder not in loaded:
            loaded[folder] = load(config)
        return loaded[folder]

    ScriptDirectory.from_config = remembered  # type: ignore[method-assign,assignment]
