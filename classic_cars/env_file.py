"""A file ``.env`` where Dagster is started: its processes take settings from there, over the environment's.

Commands do not, nor can they: where both are set, Dagster prefers the file. So the two would work in other homes, or on
other order systems, and nobody would know.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

NAME = ".env"


def said_otherwise(folder: Path, environment: Mapping[str, str] = os.environ) -> str:
    """What is to be said where ``folder/.env`` differs from the environment, or cannot be read; empty if neither."""
    file = folder / NAME
    if not file.is_file():
        return ""
    from dotenv import dotenv_values  # late: there is mostly no such file

    try:
        values = dotenv_values(file)
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        return f"{file} cannot be read ({why}), and Dagster's processes stop at it: mend it, or take it away"
    found = {
        name: value
        for name, value in values.items()
        if value is not None and (name.upper().startswith("CLASSIC_CARS_") or name == "DAGSTER_HOME")
    }
    names = sorted(name for name, value in found.items() if environment.get(name) != value)
    if not names:
        return ""
    return (
        f"{file} sets {', '.join(names)} otherwise than the environment, and Dagster's processes take them from there "
        "while commands do not: put them into the environment (`set -a; . ./.env; set +a`), or take them out there"
    )
