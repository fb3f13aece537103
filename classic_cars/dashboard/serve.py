"""Starting the dashboard's server: where it may listen, and what Streamlit is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from classic_cars.dashboard.theme import DARK, LIGHT, SHARED
from classic_cars.errors import SettingsError
from classic_cars.serving.access import may_listen
from classic_cars.settings import Settings

APP = Path(__file__).with_name("app.py")

#: Modules that are above the libraries which take longest to import, and need no running server.
HEAVY = ("trust", "quality", "maps", "shapes", "downloads")

#: Nothing leaves this machine, nothing on disk is watched, and errors are told by the pages themselves.
OPTIONS = {
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "viewer",
    "logger.level": "warning",
    "server.enableStaticServing": "true",
    "server.fileWatcherType": "none",
    "server.headless": "true",
    "server.showEmailPrompt": "false",
}


def command(host: str, port: int, settings: Settings) -> list[str]:
    """What Streamlit's command line is told. Raises ``SettingsError`` for an address that anybody could reach."""
    may_listen(host, settings)
    if importlib.util.find_spec("streamlit") is None:
        raise SettingsError("the dashboard needs Streamlit: pip install 'classic-cars[dashboard]'")
    themes = {"theme": SHARED, "theme.light": LIGHT, "theme.dark": DARK}
    colours = {f"{section}.{name}": value for section, theme in themes.items() for name, value in theme.items()}
    options = {"server.address": host, "server.port": str(port), **OPTIONS, **colours}
    return ["run", str(APP), *(f"--{name}={value}" for name, value in options.items())]


def stay_on_this_machine() -> None:
    """Streamlit asks a server on the internet for this machine's address when a page of another site knocks."""
    network: Any = importlib.import_module("streamlit.net_util")
    network.get_external_ip = lambda: None


def serve(host: str, port: int, settings: Settings) -> None:
    """Be the server, until it is interrupted.

    Libraries are imported before anybody looks: it takes seconds.
    """
    arguments = command(host, port, settings)
    for name in HEAVY:
        importlib.import_module(f"classic_cars.dashboard.{name}")
    stay_on_this_machine()
    streamlit = importlib.import_module("streamlit.web.cli")
    streamlit.main(arguments, prog_name="streamlit")
