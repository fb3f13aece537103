"""Dagster's SQLite event log, with its connections kept open between events.

Dagster's own class makes a new engine and a new connection for every statement: the statement is
compiled again, and closing the last connection of a WAL file checkpoints and deletes it, which waits
for the disk. That is most of what an event costs (``benchmarks/event_log.py`` measures both). Here
only *how a connection is got* differs; tables, queries and files are Dagster's, so the stock class
reads what this one wrote and the other way round.

Durability: the files stay in WAL mode, with ``synchronous=NORMAL`` instead of ``FULL``. A committed
event is in the kernel's page cache and survives the death of the process, kill -9 included. A power
cut may take the last events with it, but never damages the file: the log is a record of runs, not
the data they made, which the store makes durable by itself.

What belongs together (a run's planned tables and months, the months one step materialized) is stored
together, in one transaction per file instead of six per event: ``DAGSTER_EVENT_BATCH_SIZE``, which
Dagster reads and ``home`` sets, says how many at most. An asset's entry, which holds the last event of a kind
whole, is then written once and not for each of its months.

What this leans on, and a test guards: ``run_connection``, ``index_connection``, ``has_table``,
``has_secondary_index``, ``_has_asset_key_col_on_connection``, ``_store_asset_event``, ``store_event``,
``store_event_batch``, ``delete_events``, ``path_for_shard``, ``conn_string_for_shard``, ``_initialized_dbs``,
``wipe`` and ``dispose`` of ``SqliteEventLogStorage``, and that reading code asks for no connection while holding
one. Which files an instance uses is decided in ``home``.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from dagster import DagsterInstance, EventLogEntry

# The class that is made faster here; storages have no public names.
from dagster._core.storage.event_log import SqliteEventLogStorage
from filelock import FileLock

from classic_cars import interrupts

#: Runs whose files stay open at once, besides the index. Each is three file descriptors.
MAX_OPEN_RUNS = 8
BUSY_TIMEOUT_SECONDS = 30  # as in the stock class
INDEX_SHARD = "index"

StockConnection = Callable[[str], AbstractContextManager[sa.Connection]]


class _OpenShard(NamedTuple):
    engine: sa.Engine
    file: tuple[int, int]


class _Together:
    """What is stored together: the transactions begun for it, in their order, and what is written at their end."""

    def __init__(self) -> None:
        self.begun: dict[str, sa.Connection] = {}
        #: By asset and type, the last event and its number, in their order.
        self.last: dict[tuple[str, str], tuple[EventLogEntry, int]] = {}


class _OpenShards:
    """One process's open databases, least recently used first. Whoever holds ``lock`` may use them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.pid = os.getpid()
        self.together: _Together | None = None
        self._shards: OrderedDict[str, _OpenShard] = OrderedDict()

    def get(self, shard: str, path: str) -> sa.Engine | None:
        """The shard's engine, unless it is not open or its file was since deleted or replaced."""
        found = self._shards.get(shard)
        if found is None:
            return None
        if found.file != _file_identity(path):
            self.close(shard)
            return None
        self._shards.move_to_end(shard)
        return found.engine

    def add(self, shard: str, path: str, engine: sa.Engine) -> None:
        file = _file_identity(path)
        if file is None:
            raise FileNotFoundError(path)
        self._shards[shard] = _OpenShard(engine, file)
        runs = [name for name in self._shards if name != INDEX_SHARD]
        for oldest in runs[:-MAX_OPEN_RUNS]:
            self.close(oldest)

    def close_all(self) -> None:
        for shard in list(self._shards):
            self.close(shard)

    def close(self, shard: str) -> None:
        if (found := self._shards.pop(shard, None)) is not None:
            found.engine.dispose()

    def __len__(self) -> int:
        return len(self._shards)


class PooledSqliteEventLogStorage(SqliteEventLogStorage):
    """``SqliteEventLogStorage`` over one open connection per shard, at most ``MAX_OPEN_RUNS`` runs at a time.

    Threads of a process take turns, as they do in the stock class; processes share the files through
    SQLite's own locks, waiting up to ``BUSY_TIMEOUT_SECONDS`` for one another. Ctrl-C waits for the end of a
    transaction: the pool would lose its only connection.
    """

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._open = _OpenShards()  # first: the parent's constructor already connects
        self._inherited: list[_OpenShards] = []
        #: Tables, migrations and columns that were found in the index: they stay.
        self._found: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> PooledSqliteEventLogStorage:
        """Called by Dagster with the ``config`` of dagster.yaml."""
        return cls(inst_data=inst_data, **config_value)

    def run_connection(self, run_id: str | None = None) -> Any:
        """A transaction on one run's events."""
        if run_id is None:
            raise ValueError("the event log keeps a file per run: say which run")
        return self._transaction(run_id, super().run_connection)

    def index_connection(self) -> AbstractContextManager[sa.Connection]:
        """A transaction on what is known across runs: assets, checks, partitions, concurrency."""
        return self._transaction(INDEX_SHARD, lambda _: super(PooledSqliteEventLogStorage, self).index_connection())

    def has_table(self, table_name: str) -> bool:
        """Whether the index has the table; looked up once, as tables that are there stay."""
        look_up = super().has_table
        return self._is_there(f"table {table_name}", lambda: look_up(table_name))

    def has_secondary_index(self, name: str) -> bool:
        """Whether that migration was made; looked up once, as none is taken back."""
        look_up = super().has_secondary_index
        return self._is_there(f"index {name}", lambda: look_up(name))

    def _has_asset_key_col_on_connection(self, conn: sa.Connection, column_name: str) -> bool:
        """Whether the assets have that column; looked up once, where Dagster reads the schema for every event."""
        look_up = super()._has_asset_key_col_on_connection
        return self._is_there(f"column {column_name}", lambda: look_up(conn, column_name))

    def store_event(self, event: EventLogEntry) -> None:
        """Store the event in one transaction per file, then touch the run's file."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store all events or, when one fails, none: one transaction per file. Then touch the runs' files.

        The web page that follows a run waits for that file to change, and with connections kept open
        events land in the ``-wal`` file next to it.
        """
        with self.together():
            for event in events:
                super().store_event(event)
        for run_id in {event.run_id for event in events}:
            with suppress(FileNotFoundError):
                os.utime(self.path_for_shard(run_id))

    def _store_asset_event(self, conn: sa.Connection, event: EventLogEntry, event_id: int) -> None:
        """What the asset's entry holds of the event; of events stored together, of the last one of each type.

        Which columns are written depends on the type alone, so that the earlier ones would be written over.
        """
        together, said = self._shards_of_this_process().together, event.dagster_event
        if together is None or said is None or said.asset_key is None:
            super()._store_asset_event(conn, event, event_id)
            return
        which = said.asset_key.to_string(), said.event_type_value
        together.last.pop(which, None)
        together.last[which] = event, event_id

    def delete_events(self, run_id: str) -> None:
        """Delete the run's events and its file, in which no other run would write."""
        super().delete_events(run_id)
        shards = self._shards_of_this_process()
        with shards.lock:
            shards.close(run_id)
            for end in ("", "-wal", "-shm"):
                Path(f"{self.path_for_shard(run_id)}{end}").unlink(missing_ok=True)

    def wipe(self) -> None:
        """Delete every event; files are closed first, because they are deleted too."""
        self._close_connections()
        self._found.clear()
        super().wipe()

    def dispose(self) -> None:
        """Close what is open. A later use opens it again."""
        super().dispose()
        self._close_connections()

    def _is_there(self, what: str, look_up: Callable[[], bool]) -> bool:
        if what not in self._found and look_up():
            self._found.add(what)
        return what in self._found

    @contextmanager
    def together(self) -> Iterator[None]:
        """What asks for transactions meanwhile gets one per shard; they are committed at the end, in their order."""
        shards = self._shards_of_this_process()
        with interrupts.held(), shards.lock:
            together = shards.together = _Together()
            try:
                yield
                for event, number in together.last.values():
                    super()._store_asset_event(together.begun[INDEX_SHARD], event, number)
                for connection in together.begun.values():
                    connection.commit()
            finally:
                shards.together = None
                for connection in together.begun.values():
                    connection.close()  # rolls back what was not committed

    @contextmanager
    def _transaction(self, shard: str, stock_connection: StockConnection) -> Iterator[sa.Connection]:
        shards = self._shards_of_this_process()
        with interrupts.held(), shards.lock:
            if shards.together is None:
                with self._engine_of(shard, stock_connection).begin() as connection:
                    yield connection
                return
            begun = shards.together.begun
            if shard not in begun:
                begun[shard] = self._engine_of(shard, stock_connection).connect()
                begun[shard].begin()
            yield begun[shard]

    def _engine_of(self, shard: str, stock_connection: StockConnection) -> sa.Engine:
        shards = self._open
        path = self.path_for_shard(shard)
        engine = shards.get(shard, path)
        if engine is None:
            if not Path(path).exists():
                self._initialized_dbs.discard(shard)  # somebody deleted the run
            with stock_connection(shard):
                pass  # Dagster's own way in creates the file and its tables when they are missing
            engine = _engine(self.conn_string_for_shard(shard))
            shards.add(shard, path, engine)
        return engine

    def _shards_of_this_process(self) -> _OpenShards:
        """SQLite forbids a forked child to use, or even close, its parent's connections: keep them, open new ones."""
        if self._open.pid != os.getpid():
            self._inherited.append(self._open)
            self._open = _OpenShards()
        return self._open

    def _close_connections(self) -> None:
        shards = self._shards_of_this_process()
        with shards.lock:
            shards.close_all()


@contextmanager
def at_once(instance: DagsterInstance, lock: str) -> Iterator[None]:
    """What is stored meanwhile is seen whole or not at all, by one process at a time of those that take this lock.

    Where the instance is in somebody else's database, neither is so.
    """
    log = instance.event_log_storage
    if not isinstance(log, PooledSqliteEventLogStorage):
        yield
        return
    with FileLock(Path(instance.root_directory) / f"{lock}.lock"), log.together():
        yield


def _engine(url: str) -> sa.Engine:
    engine = sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", _wait_for_the_disk_at_checkpoints_only)
    return engine


def _wait_for_the_disk_at_checkpoints_only(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL").close()


def _file_identity(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
