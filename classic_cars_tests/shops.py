"""Fixtures: a small simulated shop in SQLite and its published tables, made once and copied for each test."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from classic_cars.instance import open_instance
from classic_cars.runs import execute_what_changed
from classic_cars.settings import Settings
from classic_cars_shop import api as simulator
from classic_cars_tests import order_systems
from classic_cars_tests.platform import Ran, run
from classic_cars_tests.shared import once

#: Months of the simulated shops; the last one is not complete.
UNTIL = date(2003, 8, 20)


#: In a home that was published once for all tests: what its run said.
SAID = "said.json"


def publish_everything(settings: Settings) -> Ran:
    """Run every table, and leave in the home what the run said."""
    ran = run(settings)
    assert ran.success, ran.errors
    said = {"published": sorted(ran.published), "failed": sorted(ran.failed | ran.warned), "checks": len(ran.checks)}
    (settings.home / SAID).write_text(json.dumps(said))
    return ran


@pytest.fixture(scope="session")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of eight months, with customers enough for every quirk."""

    def make(folder: Path) -> None:
        simulator.create(f"sqlite:///{folder / 'shop.sqlite'}", scale=1.5, seed=7, until=UNTIL)

    return once(tmp_path_factory, "shop", make) / "shop.sqlite"


@pytest.fixture
def shop(shop_file: Path, tmp_path: Path) -> Settings:
    """Settings of a home of its own with a copy of the shop, that the test may change."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(shop_file, home / "shop.sqlite")
    return Settings(home=home)


@pytest.fixture(scope="session")
def published_home(shop_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which every table of the shop was published."""

    def make(home: Path) -> None:
        shutil.copy(shop_file, home / "shop.sqlite")
        publish_everything(Settings(home=home))

    return once(tmp_path_factory, "published", make)


@pytest.fixture
def published(published_home: Path, tmp_path: Path) -> Settings:
    """Settings of a home of its own with the shop and its published tables, that the test may change."""
    home = tmp_path / "published"
    shutil.copytree(published_home, home)
    return Settings(home=home)


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a smaller shop after one run of everything, which Dagster's history knows."""

    def make(home: Path) -> None:
        simulator.create(f"sqlite:///{home}/shop.sqlite", scale=0.3, seed=3, until=date(2003, 8, 31))
        report = execute_what_changed(Settings(home=home))
        assert report.succeeded
        assert len(report.published) == report.tables
        assert report.unchanged == []
        # There was no store to ask for the record of versions.
        with open_instance(Settings(home=home)) as instance:
            assert instance.get_latest_materialization_event(dg.AssetKey(["warehouse", "fact_orders"])) is not None

    return once(tmp_path_factory, "made", make)


@pytest.fixture
def made(made_home: Path, tmp_path: Path) -> Settings:
    """Settings of a home of its own like it, that the test may change."""
    shutil.copytree(made_home, tmp_path / "made")
    return Settings(home=tmp_path / "made", max_shrink=0.9)  # of months of a few orders


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real data set as CSV files; not shipped with the project, so that its tests may have to skip."""
    return order_systems.real_data()
