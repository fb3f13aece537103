"""Every store in turn: a DuckDB file, an Iceberg lake in a folder, and one on a real S3 server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Store
from classic_cars_shop.object_store import ObjectStore, seaweedfs
from classic_cars_tests.programs import or_skip

#: Opens one more store over the same tables, as another process would: a writing one, or a reader.
Open = Callable[..., Store]


@pytest.fixture(scope="module")  # it takes a twentieth of a processor while nobody asks, and a second to start
def object_store() -> Iterator[ObjectStore]:
    with or_skip(seaweedfs()) as running:
        yield running


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket on the S3 server, which the process reaches the standard AWS way."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    name = object_store.new_bucket()
    yield name
    object_store.remove_bucket(name)


@pytest.fixture
def folder_lake(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", store="iceberg")


@pytest.fixture
def s3_lake(tmp_path: Path, bucket: str) -> Settings:
    return Settings(home=tmp_path / "home", store="iceberg", warehouse=f"s3://{bucket}/lake")


def settings_of(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """``duckdb``, ``folder`` or ``s3``."""
    return Settings(home=tmp_path / "home") if kind == "duckdb" else request.getfixturevalue(f"{kind}_lake")


@pytest.fixture(params=["duckdb", "folder", pytest.param("s3", marks=pytest.mark.exhaustive)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Each store in turn; the lake on S3 at night, where what the store itself does is tested on it always."""
    return settings_of(request.param, request, tmp_path)


@pytest.fixture
def open_another(settings: Settings) -> Iterator[Open]:
    opened: list[Store] = []

    def open_one(*, read_only: bool = False) -> Store:
        opened.append(open_store(settings, read_only=read_only))
        return opened[-1]

    yield open_one
    for each in opened:
        each.end_run()


@pytest.fixture
def store(open_another: Open) -> Store:
    return open_another()
