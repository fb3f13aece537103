"""A platform that runs itself: its sensors one by one, in this process, with the runs that they ask for."""

from __future__ import annotations

import pickle
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from classic_cars.automation import condition_sensor, landing_sensor, order_system_sensor
from classic_cars.automation.alerts.incidents import Incident
from classic_cars.automation.alerts.observe import observe
from classic_cars.definitions import build_defs
from classic_cars.instance import open_instance
from classic_cars.runs.selecting import job_of
from classic_cars.settings import Settings
from classic_cars_tests.platform import (
    QUIET,
)
from classic_cars_tests.shared import once


@pytest.fixture
def settings(tmp_path: Path, shop_copy: Path) -> Settings:
    return Settings(home=tmp_path / "home", source_url=f"sqlite:///{shop_copy}")


@pytest.fixture
def shop_copy(tmp_path: Path, shop_file: Path) -> Path:
    copy = tmp_path / "shop.sqlite"
    copy.write_bytes(shop_file.read_bytes())
    return copy


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


class Platform:
    """A platform that runs itself: each call is one round of the daemon, with runs in this process."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        self.defs = build_defs(settings)
        self.cursors: dict[str, str | None] = {}
        self.requests: list[dg.RunRequest] = []
        self.reasons: dict[str, str | None] = {}

    def tick(self, sensor: str) -> list[dg.RunRequest]:
        """One evaluation; the reason of a skip is kept in ``said``."""
        definition: Any = self.defs.resolve_sensor_def(sensor)
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(sensor),
            definitions=self.defs,
            sensor_name=sensor,
            resources={key: (self.defs.resources or {})[key] for key in definition.required_resource_keys},
        ) as context:
            data = definition.evaluate_tick(context)
        self.cursors[sensor], self.said = data.cursor, data.skip_message
        self.reasons[sensor] = data.skip_message
        for event in data.asset_events:
            self.instance.report_runless_asset_event(event)
        self.requests += data.run_requests or []
        return data.run_requests or []

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        return job_of(self.defs, request.asset_selection or []).execute_in_process(
            instance=self.instance,
            tags={**request.tags, **({"dagster/run_key": request.run_key} if request.run_key else {})},
            raise_on_error=False,
            run_config=QUIET,
        )

    def poll(self) -> None:
        """Polls of the order system, as many as it takes for them to agree."""
        for _ in range(3):
            self.tick(order_system_sensor.SENSOR)

    def ask(self) -> list[dg.RunRequest]:
        return self.tick(condition_sensor.SENSOR)

    def round(self) -> list[dg.RunRequest]:
        """Everything that follows from what changed, until nothing more is asked for."""
        self.tick(landing_sensor.SENSOR)
        self.poll()
        done = []
        while requests := self.ask():
            for request in requests:
                self.run(request)
                done.append(request)
            assert len(done) < 12
        return done

    def checks(self) -> list[dg.AssetCheckKey]:
        return [*self.defs.get_repository_def().asset_graph.asset_check_keys]

    def stale(self) -> set[tuple[str, str | None]]:
        """Tables and months that Dagster's web page shows as out of sync, or as missing."""
        graph = self.defs.get_repository_def().asset_graph
        months = self.instance.get_dynamic_partitions("months")
        resolver = CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))
        return {
            (key.to_user_string(), month)
            for key in graph.materializable_asset_keys
            for month in (months if graph.get(key).is_partitioned else [None])
            if resolver.get_status(key, month) != StaleStatus.FRESH
        }


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rest between looks."""
    monkeypatch.setattr("classic_cars.automation.watching.SHARE", 1.0)


@pytest.fixture
def platform(settings: Settings, instance: dg.DagsterInstance) -> Platform:
    return Platform(settings, instance)


@pytest.fixture(scope="session")
def filled_once(tmp_path_factory: pytest.TempPathFactory, shop_file: Path) -> Path:
    """A platform that filled itself from nothing, with all its files in one folder; the daemon's memory beside them."""

    def make(folder: Path) -> None:
        (folder / "shop.sqlite").write_bytes(shop_file.read_bytes())
        settings = Settings(home=folder / "home", source_url=f"sqlite:///{folder / 'shop.sqlite'}")
        with pytest.MonkeyPatch.context() as patch, open_instance(settings) as instance:
            patch.setattr("classic_cars.automation.watching.SHARE", 1.0)
            filling = Platform(settings, instance)
            filling.round()
        (folder / "remembered").write_bytes(pickle.dumps((filling.cursors, filling.requests)))

    return once(tmp_path_factory, "filled", make)


@pytest.fixture
def filled(filled_once: Path, tmp_path: Path) -> Iterator[Platform]:
    """A copy of it, for one test."""
    copy = shutil.copytree(filled_once, tmp_path / "filled")
    settings = Settings(home=copy / "home", source_url=f"sqlite:///{copy / 'shop.sqlite'}")
    with open_instance(settings) as instance:
        opened = Platform(settings, instance)
        opened.cursors, opened.requests = pickle.loads((copy / "remembered").read_bytes())
        yield opened


def tables(request: dg.RunRequest) -> set[str]:
    return {key.to_user_string() for key in request.asset_selection or []}


def months_of(request: dg.RunRequest) -> tuple[str | None, str | None]:
    return tuple(request.tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))  # type: ignore[return-value]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that sensors see; it moves when somebody moves it."""
    moment = [time.time()]
    monkeypatch.setattr("classic_cars.automation.order_system_sensor.time.time", lambda: moment[0])
    return moment


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every shop counts as a large one."""
    monkeypatch.setattr("classic_cars.automation.follow.FEW_LINES", 0)


def incidents(platform: Platform) -> Sequence[Incident]:
    repository: Any = platform.defs.get_repository_def()
    specs = [spec for each in repository.assets_defs_by_key.values() for spec in each.specs]
    return observe(platform.instance, specs, repository.asset_graph.asset_check_keys, [], time.time()).incidents
