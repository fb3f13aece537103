"""Examine the surroundings: configuration, order system, store, release, disk, Dagster; say how to fix each."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from classic_cars.automation.alerts.deliver import accepts, addresses, numbered, scheme, unreadable
from classic_cars.automation.alerts.incidents import REPORT, Message
from classic_cars.automation.alerts.incidents import subject as titled
from classic_cars.errors import ClassicCarsError, SettingsError
from classic_cars.months import UNDATED
from classic_cars.serving.releases import opened, pending
from classic_cars.settings import Settings, load_settings, unknown_variables
from classic_cars.sources.order_system import open_order_system
from classic_cars.stores import open_engine, open_store
from classic_cars.stores.duckdb import DuckDBStore
from classic_cars.wording import counted

#: Below this, a run over a few million order lines may fill the disk.
ENOUGH_FREE_BYTES = 2 * 1024**3
FIX_ADDRESS = (
    "check user, password, host and port of this URL in CLASSIC_CARS_ALERT_URLS; special characters must be "
    "percent-encoded (@ is %40)"
)


@dataclass(frozen=True)
class Finding:
    """One thing examined: whether it is well, and what was found or is to be done."""

    subject: str
    well: bool
    text: str


def examine() -> Iterator[Finding]:
    """Findings, one by one, as they are made; never raises for something that is wrong outside."""
    try:
        settings = load_settings()
    except ClassicCarsError as error:
        yield Finding("configuration", False, str(error))
        return
    yield Finding("configuration", True, f"home {settings.home}")
    for name, nearest in unknown_variables().items():
        yield Finding("configuration", False, f"{name} is no setting{f', did you mean {nearest}?' if nearest else ''}")
    yield _python()
    for subject, check in _subjects(settings).items():
        try:
            yield Finding(subject, True, check())
        except ClassicCarsError as error:
            yield Finding(subject, False, str(error))
        except OSError as error:  # a folder that may not be entered
            yield Finding(
                subject,
                False,
                f"{error.filename or settings.home}: {error.strerror or error}; "
                "change its permissions, or name another place",
            )


def send_test_alerts() -> Iterator[Finding]:
    """Send a message to every address of the settings, one by one: whether it was accepted."""
    try:
        settings = load_settings()
    except ClassicCarsError as error:
        yield Finding("configuration", False, str(error))
        return
    urls = numbered(settings.alert_urls.get_secret_value())
    if not urls:
        yield Finding("alerts", False, "nobody is notified; CLASSIC_CARS_ALERT_URLS is not set")
    message = Message(
        titled(settings.environment, "test alert"),
        f"Sent by `classic-cars doctor --send-test-alert`: alerts arrive here.\nDagster: {settings.web_url}",
        REPORT,
    )
    for shown, url in urls.items():
        accepted = accepts(url, message)
        text = "accepted the test alert" if accepted else "did not accept the test alert"
        yield Finding(shown, accepted, text if accepted else f"{text}; {FIX_ADDRESS}")


def _python() -> Finding:
    well = (3, 11) <= sys.version_info[:2] < (3, 12)
    text = f"Python {platform.python_version()}, DuckDB {duckdb.__version__}"
    return Finding("python", well, text if well else f"{text}; Python 3.11 is supported")


def _subjects(settings: Settings) -> dict[str, Callable[[], str]]:
    return {
        "alerts": lambda: _alerts(settings),
        "home folder": lambda: _writable(settings.home),
        "disk": lambda: _free_disk(settings.home),
        "order system": lambda: _order_system(settings),
        "store": lambda: _store(settings),
        "release": lambda: _release(settings),
        **({"engine": lambda: _engine(settings)} if settings.engine == "spark" else {}),
        "dagster": lambda: _dagster(settings),
        **({"serving": lambda: _serving(settings)} if settings.serving_url.get_secret_value() else {}),
    }


def _writable(home: Path) -> str:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=home):
            pass
    except OSError as error:
        raise ClassicCarsError(
            f"{home}: cannot be written ({error.strerror}); make it writable for user {os.geteuid()}, or set "
            "CLASSIC_CARS_HOME to another folder"
        ) from None
    return f"{home} is writable"


def _free_disk(home: Path) -> str:
    folder = next(each for each in [home, *home.parents] if each.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free < ENOUGH_FREE_BYTES:
        raise ClassicCarsError(f"{text}: free some space, or set CLASSIC_CARS_HOME to a folder on a larger disk")
    return text


def _order_system(settings: Settings) -> str:
    order_system = open_order_system(settings.order_system_url, settings.connect_timeout)
    order_system.probe()
    months = order_system.months()
    dated = [each for each in months if each != UNDATED]
    span = f"orders from {dated[0]:%Y-%m} to {dated[-1]:%Y-%m}" if dated else "no orders with a date"
    undated = "; some rows have no usable order date (expected: a day, no time)" if UNDATED in months else ""
    return f"{order_system.redacted}: readable, {span}{undated}"


def _store(settings: Settings) -> str:
    if settings.store == "iceberg":
        store = open_store(settings, read_only=True)
        try:
            store.begin_run("doctor")
            return f"{store.place}: {counted(len(store.row_counts()), 'table')}"
        finally:
            store.end_run()
    if not settings.store_path.exists():
        return f"{settings.store_path}: not there yet; `classic-cars run` makes it"
    store = DuckDBStore(settings.store_path, read_only=True, wait=2)
    try:
        tables = store.row_counts()
        for address, rows in tables.items():
            # Of a file that was cut off, the ends are missing.
            store.execute(f"FROM {address.replace('/', '.')} LIMIT 1 OFFSET {max(rows - 1, 0)}").fetchall()
    finally:
        store.release()
    size = settings.store_path.stat().st_size / 1024**2
    return f"{settings.store_path}: {counted(len(tables), 'table')}, {size:.1f} MiB"


def _release(settings: Settings) -> str:
    with opened(settings) as found:
        if found is None:
            return f"none yet{f': {reasons}' if (reasons := pending(settings)) else '; `classic-cars run` makes one'}"
        release, tables = found
        for address, pin in release.tables.items():
            # As of a file that was cut off, the ends are missing.
            tables.query(f"FROM {address.replace('/', '.')} LIMIT 1 OFFSET {max(pin.rows - 1, 0)}").read_all()
        said = f"{release.line()}, {counted(len(release.tables), 'table')}"
    if reasons := pending(settings):
        raise ClassicCarsError(f"{said}; newer tables are not released: {reasons}; `classic-cars run` tries again")
    return said


def _engine(settings: Settings) -> str:
    from classic_cars.stores.iceberg.engines.managed import Managed, remote_of

    remote = remote_of(settings.spark_remote.get_secret_value())
    if isinstance(remote, Managed):
        return f"{remote.redacted}: a session is started, and paid for, by the first step that needs it; not tried here"
    if (spark := open_engine(settings)) is None:
        return "DuckDB"
    with closing(spark):
        return f"{remote.redacted}: {spark.name}"


def _dagster(settings: Settings) -> str:
    from classic_cars.instance import open_instance

    try:
        with open_instance(settings) as instance:
            return f"{settings.dagster_home}: {counted(instance.get_runs_count(), 'run')}"
    except OSError as error:
        raise ClassicCarsError(f"{settings.dagster_home}: {error.strerror}; make it writable") from None


def _serving(settings: Settings) -> str:
    from classic_cars.serving.postgresql.asset import lagging
    from classic_cars.serving.postgresql.connection import Server
    from classic_cars.serving.postgresql.rights import examined

    found = examined(Server.of(settings))
    if wrong := lagging(settings):
        raise ClassicCarsError(f"{found}; {wrong}")
    return found


def _alerts(settings: Settings) -> str:
    urls = settings.alert_urls.get_secret_value()
    if not urls:
        return "nobody is notified; CLASSIC_CARS_ALERT_URLS is not set"
    bad = unreadable(urls)
    if bad:
        raise SettingsError(
            f"CLASSIC_CARS_ALERT_URLS: {', '.join(bad)} cannot be read; expected URLs of the Apprise library, such as "
            "mailto://user:password@example.com, separated by spaces"
        )
    return f"notifies: {', '.join(scheme(url) for url in addresses(urls).values())}"
