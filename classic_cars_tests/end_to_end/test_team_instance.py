"""Dagster's history in PostgreSQL, as the example for a team has it, and many runs at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from classic_cars import doctor
from classic_cars.errors import ClassicCarsError, SettingsError
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


VARIABLE = "CLASSIC_CARS_DAGSTER_POSTGRES_URL"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, rf"{VARIABLE}: not set, and .*examples/team/dagster.yaml needs it"),
        ("postgresql+psycopg2://dagster:secret@127.0.0.1:1/dagster", r"port 1 failed: Connection refused\); check"),
        pytest.param(
            "postgresql+psycopg2://dagster:very@secret@127.0.0.1:1/dagster",
            "more than one @",
            marks=pytest.mark.exhaustive,  # Dagster tries for ten seconds, as above
        ),
        ("postgresql+psycopg2://dagster:secret@127.0.0.1:543x/dagster", "its URL cannot be read"),
        ("secret", "its URL cannot be read"),
        ("secret://dagster@127.0.0.1/dagster", "its URL cannot be read"),
    ],
)
def test_what_is_wrong_with_the_database_is_said_by_commands_and_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], url: str | None, said: str
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if url is not None:
        monkeypatch.setenv(VARIABLE, url)
    settings = Settings(home=tmp_path / "home", dagster_config=EXAMPLE)
    with pytest.raises(SettingsError, match=said) as raised, open_instance(settings):
        pass
    with pytest.raises(ClassicCarsError) as found:
        doctor._dagster(settings)
    assert str(found.value) == str(raised.value)
    assert VARIABLE in str(raised.value)
    assert "secret" not in str(raised.value) + capfd.readouterr().err


def test_a_refused_password_is_not_said(tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = sa.make_url(postgresql_url.replace("://", "+psycopg2://")).set(username="nobody", password="topsecret")
    monkeypatch.setenv(VARIABLE, url.render_as_string(hide_password=False))
    with (
        pytest.raises(SettingsError, match='"nobody"') as raised,
        open_instance(Settings(home=tmp_path, dagster_config=EXAMPLE)),
    ):
        pass
    assert "topsecret" not in str(raised.value)


def test_a_folder_without_dagster_yaml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIC_CARS_DAGSTER_CONFIG", str(tmp_path))
    with pytest.raises(
        SettingsError, match=r"CLASSIC_CARS_DAGSTER_CONFIG: expected a folder that holds a dagster.yaml"
    ):
        load_settings()
