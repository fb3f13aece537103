"""All configuration, typed, from ``CLASSIC_CARS_*`` environment variables. Nothing else reads the environment.

Each setting has a default that works on one machine with embedded parts. A wrong value is a
``SettingsError`` at start that names the variable, what it holds and what it should hold.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from classic_cars.errors import SettingsError

SOURCE_SCHEMES = ("sqlite", "mysql", "mariadb", "postgresql")


class Settings(BaseSettings):
    """The platform's configuration; build it with :func:`load_settings`."""

    model_config = SettingsConfigDict(env_prefix="CLASSIC_CARS_", extra="ignore", frozen=True, validate_default=True)

    home: Path = Field(Path("var"), description="Folder for everything the platform writes")
    source_url: SecretStr = Field(SecretStr(""), description="The order system; default: sqlite in the home")
    duckdb_memory: str = Field("700MB", description="Memory DuckDB may use before it spills to disk")
    duckdb_threads: int = Field(0, ge=0, description="Threads DuckDB may use; 0: one per core")
    store_wait: float = Field(900.0, ge=0, description="Seconds a run waits for another run to finish")
    query_wait: float = Field(30.0, ge=0, description="Seconds a reader waits for a writing step to finish")
    quarantine_max_share: float = Field(
        0.01, ge=0, le=1, description="Share of a table's rows that may be quarantined before its check blocks"
    )
    connect_timeout: float = Field(4.0, gt=0, le=60, description="Seconds to wait for the order system to answer")

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("source_url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        value = url.get_secret_value()
        if value and (value.partition("://")[0] not in SOURCE_SCHEMES or "://" not in value):
            raise ValueError(f"expected a URL that starts with {', '.join(s + '://' for s in SOURCE_SCHEMES)}")
        return url

    @cached_property
    def order_system_url(self) -> str:
        """URL of the order system, password included: hand it to ``sources``, show it nowhere."""
        return self.source_url.get_secret_value() or f"sqlite:///{self.home / 'shop.sqlite'}"

    @property
    def store_path(self) -> Path:
        """The DuckDB store's database file."""
        return self.home / "store" / "classic_cars.duckdb"

    @property
    def dagster_home(self) -> Path:
        """Folder of the Dagster instance that the CLI, ``dagster dev`` and launched runs share."""
        return self.home / "dagster"


def load_settings() -> Settings:
    """The settings of this process's environment.

    Raises ``SettingsError`` naming each variable that is wrong, without showing secret values.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = "CLASSIC_CARS_" + str(problem["loc"][0] if problem["loc"] else "").upper()
            found = "" if "url" in name.lower() else f", found {problem.get('input')!r}"
            lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}{found}")
        raise SettingsError("wrong configuration: " + "; ".join(lines)) from None
