"""A ``dagster.yaml`` of one's own, such as a team's: what is said where its database cannot be used.

A driver's message may quote an address, and with it a password whose special characters are not percent-encoded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from classic_cars.errors import SettingsError

STORAGES = ("storage", "run_storage", "event_log_storage", "schedule_storage")
#: What Dagster raises, and its library for the server holds, when it has tried often enough.
GAVE_UP = "DagsterPostgresException"


@contextmanager
def opening(file: Path) -> Iterator[None]:
    """Raises ``SettingsError`` where what the file says of Dagster's storage cannot be opened."""
    names = list(dict.fromkeys(_variables(file)))
    if missing := [name for name in names if name not in os.environ]:
        raise SettingsError(
            f"{', '.join(missing)}: not set, and {file} needs it to find Dagster's database; set it to its URL, as the "
            "file says, for commands and for whatever starts Dagster"
        )
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # Dagster says of each attempt why it failed
    try:
        yield
    except (sa.exc.SQLAlchemyError, ValueError) as error:
        raise SettingsError(unusable(file, error)) from None
    except Exception as error:
        if not gave_up(error):
            raise
        raise SettingsError(unusable(file, error)) from None
    finally:
        logging.disable(before)


def gave_up(error: BaseException) -> bool:
    """Whether Dagster says that its database cannot be reached."""
    return type(error).__name__ == GAVE_UP


def names_storage(file: Path) -> bool:
    """Whether the file says where the history is; otherwise it is in the home's files."""
    return any(name in _read(file) for name in STORAGES)


def unusable(file: Path, error: BaseException) -> str:
    """What is wrong with the database that the file names, and what to do; without passwords."""
    names = list(dict.fromkeys(_variables(file)))
    where = f"{', '.join(names)}, which {file} names" if names else f"the storage in {file}"
    return (
        f"Dagster's database cannot be used ({_reason(error, names)}); check user, password, host, port and database "
        f"in {where}, special characters percent-encoded (@ is %40), and whether the server runs"
    )


def _reason(error: BaseException, names: list[str]) -> str:
    if gave_up(error):
        error = error.__cause__ or error.__context__ or error
    if not isinstance(error, sa.exc.DBAPIError):
        return "its URL cannot be read"
    if any("@" in value.partition("@")[2] for name in names if (value := os.environ.get(name, ""))):
        return "its URL has more than one @"
    return str(error.orig).strip().partition("\n")[0] or type(error.orig).__name__


def _variables(file: Path) -> Iterator[str]:
    """The variables that hold something of a storage, written ``{env: NAME}``."""
    found = _read(file)
    for name in STORAGES:
        yield from _named(found.get(name))


def _read(file: Path) -> dict[str, Any]:
    with suppress(yaml.YAMLError):  # Dagster says what is wrong
        found = yaml.safe_load(file.read_text())
        return found if isinstance(found, dict) else {}
    return {}


def _named(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    if [*value] == ["env"] and isinstance(value["env"], str):
        yield value["env"]
    for each in value.values():
        yield from _named(each)
