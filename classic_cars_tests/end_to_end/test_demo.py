"""``make demo`` begins with a shop, and makes one where there is none. Here a script only notes what it is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from classic_cars_shop.database import is_empty

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home beside a virtual environment that is ready, as far as make can tell."""
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    (tmp_path / "venv" / ".ready").touch()
    (programs / "classic-cars").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "told"}\n')
    (programs / "classic-cars").chmod(0o755)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def told(home: Path) -> list[str]:
    """What ``make demo`` tells the program to do."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CLASSIC_CARS_", "MAKE"))}
    command = ["make", "-C", str(ROOT), "demo", f"VENV={home.parent / 'venv'}", f"CLASSIC_CARS_HOME={home}"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return (home.parent / "told").read_text().splitlines()


def test_where_there_is_no_shop_one_is_made(home: Path) -> None:
    assert told(home) == ["shop create", "run", "answers"]


def test_an_empty_file_is_no_shop(home: Path) -> None:
    (home / "shop.sqlite").touch()
    assert told(home) == ["shop create", "run", "answers"]
    assert is_empty(home / "shop.sqlite")


def test_a_shop_that_is_there_is_kept(home: Path) -> None:
    assert is_empty(home / "shop.sqlite")
    (home / "shop.sqlite").write_text("a shop")
    assert told(home) == ["run", "answers"]
    assert not is_empty(home / "shop.sqlite")
