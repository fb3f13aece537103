"""Starts ``dagster dev`` (web page, daemon and code server) on the platform's instance."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from classic_cars.env_file import said_otherwise
from classic_cars.errors import SettingsError
from classic_cars.instance import ports
from classic_cars.instance.home import config_folder
from classic_cars.settings import Settings

#: Dagster advises its developers' tool instead, which is not for running a platform.
SUPERSEDED = "ignore:Function `dev_command` is superseded"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 3000) -> NoReturn:
    """Become ``dagster dev``; it stops on SIGINT or SIGTERM, however it was started.

    Raises ``SettingsError`` that names who holds the port, or already serves this home, or where Dagster's processes
    would have other settings than commands.
    """
    if found := said_otherwise(Path.cwd()):
        raise SettingsError(found)
    keep_to_one(settings.home)
    must_be_free(host, port)
    _restore_stop_signals()
    command = dev_command(host, port)
    sys.stdout.flush()
    os.execve(command[0], command, {**os.environ, **dev_environment(settings, host, port)})  # noqa: S606


def must_be_free(host: str, port: int) -> None:
    """Raises ``SettingsError`` when a server cannot listen there."""
    try:
        free = ports.is_free(host, port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"{host}:{port}: nobody can listen there ({reason}); choose others: --host, --port"
        ) from None
    if not free:
        raise SettingsError(
            f"port {port} is taken by {ports.holder(port)}; choose another (`classic-cars dev --port {port + 1}`, "
            f"`make dev PORT={port + 1}`), or stop it"
        )


def keep_to_one(home: Path) -> None:
    """Hold the home for this process, and for what it becomes, until it ends; a second daemon would run all twice.

    Raises ``SettingsError`` that names who holds it.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / "dev.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SettingsError(f"{home}: cannot be written ({error.strerror}); set CLASSIC_CARS_HOME to another") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 20).decode(errors="replace").strip()
        who = ports.process(int(pid)) if pid.isdigit() else "another process"
        raise SettingsError(
            f"{home}: `classic-cars dev` is running there already, {who}; stop it, or set CLASSIC_CARS_HOME to another"
        ) from None
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    os.set_inheritable(lock, True)


def dev_command(host: str, port: int) -> list[str]:
    """The command line of ``dagster dev`` with the project's workspace."""
    workspace = config_folder() / "workspace.yaml"
    return [
        *(sys.executable, "-W", SUPERSEDED, "-m", "dagster", "dev", "--log-level", "warning"),
        *("--workspace", str(workspace), "--host", host, "--port", str(port)),
    ]


def dev_environment(settings: Settings, host: str = "127.0.0.1", port: int = 3000) -> Mapping[str, str]:
    """What Dagster's processes need to find the same home, from whatever folder they run in.

    Somebody attends to them: sensors and schedules run in every environment. Alerts link to this page, unless the
    settings say that it has another address.
    """
    web_url = settings.web_url if "web_url" in settings.model_fields_set else f"http://{host}:{port}"
    return {
        "CLASSIC_CARS_WEB_URL": web_url,
        "DAGSTER_HOME": str(settings.dagster_config or config_folder()),
        "CLASSIC_CARS_HOME": str(settings.home),
        "CLASSIC_CARS_ATTENDED": "true",
    }


def _restore_stop_signals() -> None:
    """A shell starts background commands with SIGINT ignored, and an ignored signal stays so across exec."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
