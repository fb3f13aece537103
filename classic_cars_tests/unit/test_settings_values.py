"""Values of settings: what is accepted, what is an error, and what is no setting at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import serialize_value

from classic_cars.cli.main import main
from classic_cars.definitions import build_defs
from classic_cars.env_file import said_otherwise
from classic_cars.errors import SettingsError
from classic_cars.instance import open_instance, serve
from classic_cars.settings import Settings, load_settings, unknown_variables
from classic_cars.sources.urls import SourceURL


@pytest.mark.parametrize("memory", ["700MB", "2GB", "1.5GiB", "512 MiB", "1tb"])
def test_an_amount_of_memory_is_what_duckdb_takes_for_one(monkeypatch: pytest.MonkeyPatch, memory: str):
    monkeypatch.setenv("CLASSIC_CARS_DUCKDB_MEMORY", memory)
    duckdb.connect(config={"memory_limit": load_settings().duckdb_memory}).close()


@pytest.mark.parametrize("memory", ["lots", "0", "700", "80%", "-1GB", "1KB", "1e3MB", "99999999TB", "none"])
def test_anything_else_is_an_error_that_names_the_variable(monkeypatch: pytest.MonkeyPatch, memory: str):
    monkeypatch.setenv("CLASSIC_CARS_DUCKDB_MEMORY", memory)
    with pytest.raises(SettingsError, match=r"CLASSIC_CARS_DUCKDB_MEMORY: .* such as 700MB or 2GB, found"):
        load_settings()


def test_postgres_is_postgresql(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLASSIC_CARS_SOURCE_URL", "postgres://reader:pass@host/db")
    url = SourceURL.parse(load_settings().order_system_url)
    assert (url.scheme, url.credentials()["PASSWORD"]) == ("postgresql", "pass")


SECRETS = {
    "CLASSIC_CARS_SOURCE_URL": "postgres://reader:s3cret@host/db",
    "CLASSIC_CARS_SERVING_URL": "postgres://owner:s3cret@host/db",
    "CLASSIC_CARS_CATALOG_URI": "postgresql+psycopg://catalog:s3cret@host/db",
    "CLASSIC_CARS_SPARK_REMOTE": "sc://host:15002/;token=s3cret",
}


@pytest.mark.parametrize("spelled", [str.upper, str.lower])
def test_of_what_may_hold_a_password_dagster_keeps_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, spelled: Callable[[str], str]
):
    monkeypatch.setenv("CLASSIC_CARS_STORE", "iceberg")
    for name, value in SECRETS.items():
        monkeypatch.setenv(spelled(name), value)
    repository = build_defs(load_settings()).get_repository_def()
    jobs = [serialize_value(each.get_job_snapshot()) for each in repository.get_all_jobs()]
    kept = serialize_value(RepositorySnap.from_def(repository)) + "".join(jobs)
    assert [name for name in SECRETS if spelled(name) not in kept] == []
    assert "s3cret" not in kept


def test_unknown_variables_have_the_nearest_setting():
    found = unknown_variables(
        {
            "CLASSIC_CARS_STOER": "x",
            "CLASSIC_CARS_SOURCE_UR": "x",
            "classic_cars_home": "known, as pydantic reads it",
            "CLASSIC_CARS_ZZZZZZ": "x",
            "CLASSIC_CARS_TEST_KILLS": "12",
            "HOME": "/root",
        }
    )
    assert found == {
        "CLASSIC_CARS_SOURCE_UR": "CLASSIC_CARS_SOURCE_URL",
        "CLASSIC_CARS_STOER": "CLASSIC_CARS_STORE",
        "CLASSIC_CARS_ZZZZZZ": "",
    }


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch):
    """As compose files and makefiles pass on what is not set."""
    for name in ("HOME", "STORE_WAIT", "STORE", "DAGSTER_CONFIG"):
        monkeypatch.setenv(f"CLASSIC_CARS_{name}", "")
    assert load_settings() == Settings()
    assert load_settings().home == Path("var").absolute()


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("CLASSIC_CARS_HOME=elsewhere\nOTHER=1\n", "CLASSIC_CARS_HOME "),
        ("export CLASSIC_CARS_SOURCE_URL='mysql://reader:s3cret@host/db'\n", "CLASSIC_CARS_SOURCE_URL "),
        ("DAGSTER_HOME=there\nclassic_cars_home=here", "DAGSTER_HOME, classic_cars_home "),
        ("CLASSIC_CARS_HOME=here\nOTHER=1\n# CLASSIC_CARS_STORE=iceberg", ""),
        ("", ""),
    ],
)
def test_a_file_that_dagster_takes_settings_from_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: str, named: str
):
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(lines)
    said = said_otherwise(tmp_path, {"CLASSIC_CARS_HOME": "here"})
    assert named in said if named else said == ""
    assert "s3cret" not in said
    if said:
        monkeypatch.setenv("CLASSIC_CARS_HOME", "here")
        with pytest.raises(SettingsError, match=r"\.env sets .* otherwise than the environment"):
            serve(Settings())
        assert f"warning: {tmp_path}/.env sets" in CliRunner().invoke(main, ["tables"]).output.replace("\n", "")


def test_a_file_of_settings_that_is_no_text_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_bytes(b"CLASSIC_CARS_HOME=\xff\n")
    with pytest.raises(SettingsError, match=r"\.env cannot be read \(it is not UTF-8\).*mend it"):
        serve(Settings())
    assert "cannot be read" in CliRunner().invoke(main, ["tables"]).output


@pytest.mark.parametrize("name", ["at@home:x", "ha#sh", "ünïcode ' \"", "a+b&c;d", "[new\nline]*"])
def test_a_home_may_have_nearly_any_name(tmp_path: Path, name: str) -> None:
    settings = Settings(home=tmp_path / name)
    assert SourceURL.parse(settings.order_system_url).path == tmp_path / name / "shop.sqlite"
    with open_instance(settings) as instance:
        assert instance.get_dynamic_partitions("any") == []


@pytest.mark.parametrize("name", ["per%20cent", "100%", "que?stion"])
def test_a_home_that_dagster_takes_for_another_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.setenv("CLASSIC_CARS_HOME", "var")
    with pytest.raises(SettingsError, match=r"CLASSIC_CARS_HOME: .* without % and \? in .*var, found 'var'"):
        load_settings()
