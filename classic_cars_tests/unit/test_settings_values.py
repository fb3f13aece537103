"""Values of settings: what is accepted, what is an error, and what is no setting at all."""

from __future__ import annotations

import duckdb
import pytest

from classic_cars.errors import SettingsError
from classic_cars.settings import load_settings, unknown_variables


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
    assert load_settings().order_system_url == "postgresql://reader:pass@host/db"


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
