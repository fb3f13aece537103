"""One Dagster instance per ``CLASSIC_CARS_HOME``, whichever way Dagster is started.

Dagster keeps its files in ``DAGSTER_HOME``, which must be absolute, or, when that is not set, in a
folder it deletes on exit. ``dagster.yaml`` cannot give a default for an environment variable either.
So ``dagster.yaml`` names one of the instance classes below (``instance_class``), and they answer
Dagster's question for default places with the platform's home. Plain ``dagster dev`` in the project
folder, ``DAGSTER_HOME=<project folder> dagster ...``, the command line and the runs they launch then
share one history, and ``DAGSTER_HOME`` only says where ``dagster.yaml`` is.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml
from dagster import DagsterInstance

# Where Dagster puts what dagster.yaml does not place has no public name.
from dagster._core.instance import InstanceRef
from filelock import FileLock

from classic_cars.errors import SettingsError, StoreUnavailable
from classic_cars.instance import configured
from classic_cars.settings import Settings, load_settings

CONFIG_FILE = "dagster.yaml"
#: The pool of every asset that writes the store; dagster.yaml says how many runs may hold it.
STORE_POOL = "classic_cars_store"
STORAGES = ("run_storage", "event_log_storage", "schedule_storage")
#: Where Dagster keeps them by default, in its home.
STORAGE_FOLDERS = ("schedules", "history")
#: What SQLite says of a file that it cannot understand.
OF_DAMAGE = ("malformed", "not a database", "Could not decode")
#: In the path of the code that makes events of text.
READS_EVENTS = "/dagster_shared/serdes/"

#: Of a history in a database server: connections that a process keeps are this old at most; it may open so many more
#: while its threads need them.
RECYCLE_SECONDS, MAX_CONNECTIONS = 600, 20
#: How many events of one step, or of a run's plan, are stored in one transaction at most.
EVENTS_AT_ONCE = "500"

_opening: ContextVar[Path | None] = ContextVar("_opening", default=None)


class StockInstance(DagsterInstance):
    """A Dagster instance in the platform's home, with Dagster's own storage."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", EVENTS_AT_ONCE)  # off in Dagster by default
        super().__init__(*args, **kwargs)
        # Even with telemetry off, Dagster's services make empty folders for it in ~/.dagster otherwise.
        os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
        self._keep_connections()
        # Dagster applies ``default_limit`` to a pool only after it has let the first runs through.
        if STORE_POOL not in self.event_log_storage.get_concurrency_keys():
            self.event_log_storage.initialize_concurrency_limit_to_default(STORE_POOL)

    def _keep_connections(self) -> None:
        """A database server's storages connect anew for each of the thousands of statements of a run, otherwise."""
        self.optimize_for_webserver(statement_timeout=0, pool_recycle=RECYCLE_SECONDS, max_overflow=MAX_CONNECTIONS)
        for engine in self._engines():
            sa.event.listen(engine, "checkout", _prove_it_lives)

    def _engines(self) -> list[sa.Engine]:
        storages = (self.run_storage, self.event_log_storage, self.schedule_storage)
        return [engine for each in storages if (engine := getattr(each, "_engine", None)) is not None]

    def dispose(self) -> None:
        """Close what is open, connections that were kept included."""
        super().dispose()
        for engine in self._engines():
            engine.dispose()

    @property
    def should_start_background_run_thread(self) -> bool:
        """Runs that were forked look themselves whether they are to be cancelled, see ``launcher``."""
        return True

    @classmethod
    def config_schema(cls) -> Mapping[str, Any]:
        """Keys this class adds to dagster.yaml: none."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, Any]:  # noqa: ARG003
        """Where everything goes that dagster.yaml does not place; ``base_dir`` is Dagster's idea of it."""
        home = _opening.get() or load_settings().dagster_home
        make_storage(home)
        return InstanceRef.config_defaults(str(home))


def _prove_it_lives(connection: Any, *_: Any) -> None:
    """A connection that was kept may be lost, where the server was started again; the pool then makes another."""
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        cursor.close()
    except Exception as error:
        raise sa.exc.DisconnectionError from error


class PooledInstance(StockInstance):
    """The same files, with the event log's connections kept open: several times as fast per event."""

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, Any]:
        """Dagster's defaults, with the event log's class replaced."""
        defaults = dict(super().config_defaults(base_dir))
        stock = defaults["event_log_storage"]
        if stock is None:
            raise TypeError("Dagster no longer has a default event log: see InstanceRef.config_defaults")
        defaults["event_log_storage"] = stock._replace(
            module_name="classic_cars.instance.event_log", class_name="PooledSqliteEventLogStorage"
        )
        defaults["storage"] = stock._replace(
            module_name="dagster._core.storage.legacy_storage",
            class_name="CompositeStorage",
            config_yaml=yaml.dump({name: _parts(defaults[name]) for name in STORAGES}),
        )
        return defaults


def make_storage(home: Path) -> None:
    """Make Dagster's SQLite files in ``home``, whole or not at all, once; nothing happens when they are there.

    Dagster makes them where it finds none, table by table: two processes that start together both stamp the
    schema's version, and one that is killed leaves half of them; either way nobody can open them any more.
    Raises ``StoreUnavailable`` when the folder cannot be written.
    """
    if _has_storage(home):
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home.with_name(f"{home.name}.lock")):
            if not _has_storage(home):
                _make_storage(home)
    except OSError as error:
        raise StoreUnavailable(
            f"{home}: Dagster's files cannot be made there ({error.strerror or error}); make the folder writable "
            "and free some space on its disk, or set CLASSIC_CARS_HOME to another folder"
        ) from None


def _make_storage(home: Path) -> None:
    made = home.with_name(f"{home.name}.new")
    shutil.rmtree(made, ignore_errors=True)  # of a process that was killed here
    defaults = InstanceRef.config_defaults(str(made))
    for name in STORAGES:
        data = defaults[name]
        if data is not None:
            storage: Any = data.rehydrate()
            storage.dispose()
    for folder in STORAGE_FOLDERS:
        if not (home / folder).exists():
            (made / folder).rename(home / folder)
    shutil.rmtree(made)


def _has_storage(home: Path) -> bool:
    return all((home / folder).exists() for folder in STORAGE_FOLDERS)


@contextmanager
def open_instance(settings: Settings, *, ephemeral: bool = False) -> Iterator[DagsterInstance]:
    """The home's instance, closed on exit; an ``ephemeral`` one keeps its runs in memory and forgets them.

    Raises ``SettingsError`` when the database that a ``dagster.yaml`` names cannot be opened, and ``StoreUnavailable``,
    then or later, when Dagster's files, or that database, cannot be read or written.
    """
    try:
        with DagsterInstance.ephemeral() if ephemeral else _opened(settings) as opened:
            yield opened
    except Exception as error:
        if not isinstance(error, sa.exc.DatabaseError) and not configured.gave_up(error) and not _of_damage(error):
            raise
        raise StoreUnavailable(f"{_unusable(settings, error)}. The published tables are whole.") from None


def _opened(settings: Settings) -> DagsterInstance:
    if settings.dagster_config is None:
        return DagsterInstance.from_ref(_instance_ref(settings))
    with configured.opening(settings.dagster_config / CONFIG_FILE):
        return DagsterInstance.from_ref(_instance_ref(settings))


def _of_damage(error: Exception) -> bool:
    """Whether an event could not be understood: SQLite gives out changed bytes as it finds them."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(READS_EVENTS in each.filename and each.name.startswith("deserialize") for each in frames)


def _unusable(settings: Settings, error: Exception) -> str:
    if settings.dagster_config is not None and configured.names_storage(settings.dagster_config / CONFIG_FILE):
        return configured.unusable(settings.dagster_config / CONFIG_FILE, error)
    is_of_damage = _of_damage(error)
    # No text of the history is quoted.
    said = "an event is no longer what was written" if is_of_damage else str(getattr(error, "orig", error))
    said = said.partition(" with text ")[0]
    if is_of_damage or any(each in said for each in OF_DAMAGE):
        return (
            f"{settings.dagster_home}: Dagster's files are damaged ({said}); restore the home from a backup, or move "
            "this folder away and run again: its runs are forgotten, and the tables are made and proven anew"
        )
    return (
        f"{settings.dagster_home}: Dagster's files cannot be used ({said}); make the folder writable and free some "
        "space on its disk"
    )


def config_folder() -> Path:
    """The folder that holds ``dagster.yaml`` and ``workspace.yaml``: the checkout's, or the installed copy's."""
    checkout = Path(__file__).parents[2]
    installed = Path(sysconfig.get_path("data")) / "share" / "classic-cars"
    for folder in (checkout, installed):
        if (folder / CONFIG_FILE).is_file():
            return folder
    raise SettingsError(f"{CONFIG_FILE} is neither in {checkout} nor in {installed}: run from the project's checkout")


def _instance_ref(settings: Settings) -> InstanceRef:
    token = _opening.set(settings.dagster_home)
    try:
        return InstanceRef.from_dir(
            str(settings.dagster_home), config_dir=str(settings.dagster_config or config_folder())
        )
    finally:
        _opening.reset(token)


def _parts(data: Any) -> dict[str, str] | None:
    return None if data is None else data._asdict()
