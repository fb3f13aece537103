"""What runs by itself where: in staging and production everything, in development when somebody attends to it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import dagster as dg
import pytest

from classic_cars.automation import landing_sensor, order_system_sensor
from classic_cars.automation.environments import AUTOMATION
from classic_cars.definitions import build_defs
from classic_cars.errors import SettingsError
from classic_cars.instance.dev import dev_environment
from classic_cars.settings import Environment, Settings, load_settings


def running(settings: Settings) -> set[str]:
    repository = build_defs(settings).get_repository_def()
    return {
        each.name
        for each in [*repository.sensor_defs, *repository.schedule_defs]
        if each.default_status.value == "RUNNING"
    }


#: Dagster's page has each description in one line, however narrow the window is.
ONE_LINE = 110


def test_what_runs_by_itself_is_described_in_a_line_of_the_page(tmp_path: Path) -> None:
    repository = build_defs(Settings(home=tmp_path)).get_repository_def()
    described = {each.name: each.description or "" for each in [*repository.sensor_defs, *repository.schedule_defs]}
    assert {name: text for name, text in described.items() if not 0 < len(text) <= ONE_LINE} == {}


def test_assets_outside_say_which_sensor_observes_them(tmp_path: Path) -> None:
    repository = build_defs(Settings(home=tmp_path)).get_repository_def()
    observing = {"order_system": order_system_sensor.SENSOR, "landing": landing_sensor.SENSOR}
    outside = [each for each in repository.asset_graph.asset_nodes if each.key.path[0] in observing]
    assert len(outside) == 10
    for each in outside:
        sensor = observing[each.key.path[0]]
        assert sensor in (each.description or "")
        assert each.metadata["observed by"] == f"sensor {sensor}"
        assert each.metadata["read by"] == dg.MetadataValue.asset(dg.AssetKey(["source", each.key.path[1]]))


EVERYTHING = {
    *(
        "order_system_changes",
        "landed_files",
        "tables_automation_condition_sensor",
    ),
    *(
        "alerts",
        "first_proof",
        "nightly_recomputation",
        "nightly_reconciliation",
        "maintenance",
        "sales_report",
        "morning_report",
    ),
}


@pytest.mark.parametrize(
    ("environment", "attended", "expected"),
    [("development", False, set()), ("development", True, EVERYTHING), ("staging", False, EVERYTHING)],
)
def test_what_runs_by_itself(tmp_path: Path, environment: Environment, attended: bool, expected: set[str]) -> None:
    assert running(Settings(home=tmp_path, environment=environment, attended=attended)) == expected


def test_every_environment_is_in_the_mapping() -> None:
    assert set(AUTOMATION) == set(get_args(Environment))
    assert AUTOMATION["production"] == AUTOMATION["staging"] != AUTOMATION["development"]


def test_the_environment_is_one_of_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIC_CARS_ENVIRONMENT", "prod")
    with pytest.raises(SettingsError, match=r"CLASSIC_CARS_ENVIRONMENT: .*'production'.*, found 'prod'"):
        load_settings()


def test_classic_cars_dev_is_attended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in dev_environment(Settings(home=tmp_path)).items():
        monkeypatch.setenv(name, value)
    assert load_settings().attended
