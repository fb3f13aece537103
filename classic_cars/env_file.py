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
    """What is to be said where ``folder/.env`` has settings otherwise than the environment; empty if it has not."""
    file = folder / NAME
    if not file.is_file():
        return ""
    from dotenv import dotenv_values  # late: there is mostly no such file

    found = {
        name: value
        for name, value in dotenv_values(file).items()
        if value is not None and (name.upper().startswith("CLASSIC_CARS_") or name == "DAGSTER_HOME")
    }
    names = sorted(name for name, value in found.items() if environment.get(name) != value)
    if not names:
        return ""
    return (
        f"{file} sets {', '.join(names)} otherwise than the environment, and Dagster's processes take them from there "
        "while commands do not: put them into the environment (`set -a; . ./.env; set +a`), or take them out there"
    )
