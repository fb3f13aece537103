"""The file of a SQLite order system: whether it is there and can be read, in words that say what to do."""

from __future__ import annotations

import os
from pathlib import Path

from classic_cars.errors import SourceAccessDenied, SourceMissing


def must_be_readable(path: Path) -> None:
    """Raises ``SourceMissing`` or ``SourceAccessDenied``."""
    if not path.exists():
        raise SourceMissing(
            f"sqlite:///{path}: no such file; expected the order system's database there; set CLASSIC_CARS_SOURCE_URL, "
            "or make one to play with: `classic-cars shop create`"
        )
    if not path.is_file():
        raise SourceMissing(f"sqlite:///{path}: is no file; expected a SQLite database; set CLASSIC_CARS_SOURCE_URL")
    if not os.access(path, os.R_OK):
        raise SourceAccessDenied(f"sqlite:///{path}: user {os.geteuid()} may not read the file; make it readable")
