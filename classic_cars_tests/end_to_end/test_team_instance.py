"""Dagster's history in PostgreSQL, as the example for a team has it, and many runs at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from classic_cars.errors import SettingsError
from classic_cars.instance import open_instance
from classic_cars.runs import execute
from classic_cars.settings import Settings, load_settings
from classic_cars.sources.urls import SourceURL

EXAMPLE = Path(__file__).parents[2] / "examples" / "team"


def test_the_history_of_a_team_is_in_postgresql(
    shop_file: Path, tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLASSIC_CARS_DAGSTER_POSTGRES_URL", postgresql_url.replace("://", "+psycopg2://"))
    settings = Settings(home=tmp_path / "home", source_url=SecretStr(f"sqlite:///{shop_file}"), dagster_config=EXAMPLE)
    report = execute(settings, ["source/offices", "staging/offices"])
    assert report.succeeded, report
    with sa.create_engine(SourceURL.parse(postgresql_url).for_sqlalchemy()).connect() as connection:
        assert connection.scalar(sa.text("SELECT run_id FROM runs")) == report.run_id
        assert connection.scalar(sa.text("SELECT count(*) FROM asset_check_executions")) == 9
    with open_instance(settings) as instance:
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        assert instance.get_run_by_id(report.run_id) is not None


def test_a_folder_without_dagster_yaml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIC_CARS_DAGSTER_CONFIG", str(tmp_path))
    with pytest.raises(
        SettingsError, match=r"CLASSIC_CARS_DAGSTER_CONFIG: expected a folder that holds a dagster.yaml"
    ):
        load_settings()
