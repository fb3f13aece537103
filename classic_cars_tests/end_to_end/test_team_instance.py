"""Dagster's history in PostgreSQL, as the example for a team has it, and many runs at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from classic_cars.errors import SettingsError
from classic_cars.instance import open_instance
from classic_cars.instance.home import EVENTS_AT_ONCE
from classic_cars.runs import execute
from classic_cars.settings import Settings, load_settings
from classic_cars.sources.urls import SourceURL
from classic_cars_tests.serving import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "team"


def test_the_history_of_a_team_is_in_postgresql(
    shop_file: Path, tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLASSIC_CARS_DAGSTER_POSTGRES_URL", postgresql_url.replace("://", "+psycopg2://"))
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
    settings = Settings(home=tmp_path / "home", source_url=SecretStr(f"sqlite:///{shop_file}"), dagster_config=EXAMPLE)
    report = execute(settings, ["source/offices", "staging/offices"])
    assert report.succeeded, report
    with sa.create_engine(SourceURL.parse(postgresql_url).for_sqlalchemy()).connect() as connection:
        assert connection.scalar(sa.text("SELECT run_id FROM runs")) == report.run_id
        assert connection.scalar(sa.text("SELECT count(*) FROM asset_check_executions")) == 9
        # Not one for each statement: those of the run's thousands are kept.
        assert (
            connection.scalar(sa.text("SELECT sessions FROM pg_stat_database WHERE datname = current_database()")) < 100
        )
    with open_instance(settings) as instance:
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        assert instance.get_run_by_id(report.run_id) is not None
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == EVENTS_AT_ONCE


def test_connections_that_were_lost_are_made_anew(
    tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server was started again, say."""
    monkeypatch.setenv("CLASSIC_CARS_DAGSTER_POSTGRES_URL", postgresql_url.replace("://", "+psycopg2://"))
    engine = sa.create_engine(SourceURL.parse(postgresql_url).for_sqlalchemy(), isolation_level="AUTOCOMMIT")
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with open_instance(Settings(home=tmp_path / "home", dagster_config=EXAMPLE)) as instance, engine.connect() as other:
        assert instance.get_runs() == []
        assert other.scalar(sa.text(f"SELECT count(pg_terminate_backend(pid)) {others}")) > 0
        assert instance.get_runs() == []
        assert instance.event_log_storage.get_maximum_record_id() is None
        instance.dispose()
        wait_for("the end of all connections", lambda: other.scalar(sa.text(f"SELECT count(*) {others}")) == 0)


def test_a_folder_without_dagster_yaml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIC_CARS_DAGSTER_CONFIG", str(tmp_path))
    with pytest.raises(
        SettingsError, match=r"CLASSIC_CARS_DAGSTER_CONFIG: expected a folder that holds a dagster.yaml"
    ):
        load_settings()
