"""What runs by itself where: in staging and production everything, in development when somebody attends to it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

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
