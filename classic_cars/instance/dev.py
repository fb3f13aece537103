"""Starts ``dagster dev`` (web page, daemon and code server) on the platform's instance."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

from classic_cars.instance.home import config_folder
from classic_cars.settings import Settings

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 3000) -> NoReturn:
    """Become ``dagster dev``; it stops on SIGINT or SIGTERM, however it was started."""
    _restore_stop_signals()
    command = dev_command(host, port)
    os.execve(command[0], command, {**os.environ, **dev_environment(settings)})  # noqa: S606


def dev_command(host: str, port: int) -> list[str]:
    """The command line of ``dagster dev`` with the project's workspace."""
    workspace = config_folder() / "workspace.yaml"
    return [
        *(sys.executable, "-m", "dagster", "dev"),
        *("--workspace", str(workspace), "--host", host, "--port", str(port)),
    ]


def dev_environment(settings: Settings) -> Mapping[str, str]:
    """What Dagster's processes need to find the same home, from whatever folder they run in.

    Somebody attends to them: sensors and schedules run in every environment.
    """
    return {
        "DAGSTER_HOME": str(settings.dagster_config or config_folder()),
        "CLASSIC_CARS_HOME": str(settings.home),
        "CLASSIC_CARS_ATTENDED": "true",
    }


def _restore_stop_signals() -> None:
    """A shell starts background commands with SIGINT ignored, and an ignored signal stays so across exec."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
