"""Dagster's newer command line, ``dg``, works on the project beside ``dagster`` itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from classic_cars.assets import ALL_TABLES

DG = Path(sys.executable).parent / "dg"
PROJECT = Path(__file__).parents[2]


def dg(home: Path, *arguments: str) -> str:
    """What ``dg`` says, run in the project's folder."""
    environment = {**os.environ, "CLASSIC_CARS_HOME": str(home), "VIRTUAL_ENV": str(DG.parents[1])}
    done = subprocess.run([DG, *arguments], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _has_dg() -> None:
    assert DG.exists(), "pip install 'classic-cars[dev]'"


@pytest.mark.exhaustive  # CI validates them with `dagster definitions validate`
def test_definitions_are_checked(tmp_path: Path) -> None:
    assert "All definitions loaded successfully" in dg(tmp_path, "check", "defs")


@pytest.mark.exhaustive
def test_definitions_are_listed(tmp_path: Path) -> None:
    said = dg(tmp_path, "list", "defs", "--json")
    listed = json.loads(said[said.index("{") :])
    keys = {each["asset_key"] for each in listed["assets"]}
    assert {each.address for each in ALL_TABLES} <= keys
    assert {"order_system/orders", "quarantine/orders", "source/ratings_files"} <= keys
    assert {each["name"] for each in listed["resources"]} >= {"order_system", "landing", "io_manager"}
    assert {each["name"] for each in listed["sensors"]} >= {"order_system_changes", "landed_files", "alerts"}
