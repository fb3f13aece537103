"""The tests of the assets once more, with their tables in an Iceberg lake: not one asset or check differs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from classic_cars.settings import Settings
from classic_cars_tests.assets.test_answers import *  # noqa: F403
from classic_cars_tests.assets.test_partitions import *  # noqa: F403
from classic_cars_tests.assets.test_write_audit_publish import *  # noqa: F403
from classic_cars_tests.platform import run
from classic_cars_tests.shops import shop_file

__all__ = ["shop_file"]


@pytest.fixture
def shop(shop_file: Path, tmp_path: Path) -> Settings:
    """Settings of a home of its own with a copy of the shop, and an Iceberg store."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(shop_file, home / "shop.sqlite")
    return Settings(home=home, store="iceberg")


@pytest.fixture(scope="session")
def lake_home(shop_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which every table of the shop was published, and a copy of it beside it."""
    home = tmp_path_factory.mktemp("lake") / "home"
    home.mkdir()
    shutil.copy(shop_file, home / "shop.sqlite")
    ran = run(Settings(home=home, store="iceberg"))
    assert ran.success, ran.errors
    shutil.copytree(home, home.with_name("pristine"))
    return home


@pytest.fixture
def published(lake_home: Path) -> Iterator[Settings]:
    """Settings of the home with the published tables; put back as it was, for its files know where they lie."""
    yield Settings(home=lake_home, store="iceberg")
    shutil.rmtree(lake_home)
    shutil.copytree(lake_home.with_name("pristine"), lake_home)
