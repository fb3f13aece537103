"""All configuration, typed, from ``CLASSIC_CARS_*`` environment variables. Nothing else reads the environment.

Each setting has a default that works on one machine with embedded parts. A wrong value is a
``SettingsError`` at start that names the variable, what it holds and what it should hold.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from classic_cars.errors import SettingsError
from classic_cars.machine import SMALLEST_MEMORY, amount_of_memory, share_of_memory
from classic_cars.web_values import Address, HeaderName, Keys, Password, Sites

Environment = Literal["development", "staging", "production"]


POSTGRESQL_SCHEMES = ("postgresql", "postgres")
SOURCE_SCHEMES = ("sqlite", "mysql", "mariadb", *POSTGRESQL_SCHEMES)
#: Where a Spark Connect server is: at an address, or in a session that AWS starts.
SPARK_SCHEMES = ("sc", "emr-serverless", "glue")
#: A Connect server as its client reads it: what stands in the wrong place would be shown, or left out without a word.
SPARK_SERVER = re.compile(r"sc://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{1,5}))?(/(;[^?#/\s]*)?)?")

PREFIX = "CLASSIC_CARS_"
#: Variables that the platform's tests, tools and example configurations read; all others are settings.
NO_SETTINGS = (
    "CLASSIC_CARS_TEST_",
    "CLASSIC_CARS_SCREENSHOTS",
    "CLASSIC_CARS_REAL_DATA",
    "CLASSIC_CARS_INTERLEAVINGS",
    "CLASSIC_CARS_DAGSTER_POSTGRES_URL",
)


class Settings(BaseSettings):
    """The platform's configuration; build it with :func:`load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, validate_default=True
    )

    home: Path = Field(Path("var"), description="Folder for everything the platform writes")
    environment: Environment = Field(
        "development", description="Where this runs; in staging and production sensors and schedules run by themselves"
    )
    attended: bool = Field(
        False, description="Whether sensors and schedules run in development too; `classic-cars dev` sets it"
    )
    source_url: SecretStr = Field(SecretStr(""), description="The order system; default: sqlite in the home")
    store: Literal["duckdb", "iceberg"] = Field("duckdb", description="What kind of store the tables live in")
    warehouse: str = Field("", description="The Iceberg store's s3://bucket/prefix or folder; default: in the home")
    catalog: Literal["sql", "rest", "glue"] = Field("sql", description="What knows the Iceberg store's tables")
    catalog_uri: SecretStr = Field(SecretStr(""), description="Address of the catalog; default: SQLite in the home")
    s3_encryption: str = Field("none", description="Server-side encryption: none, AES256 or aws:kms:<key id>")
    engine: Literal["duckdb", "spark"] = Field(
        "duckdb", description="What computes the tables made from other tables; spark needs an Iceberg store"
    )
    spark_remote: SecretStr = Field(
        SecretStr(""),
        description="The Spark Connect server: sc://host:port/;token=..., emr-serverless:// or glue://",
    )
    spark_page: str = Field("", description="Address of Spark's web page, as materializations link to it")
    executor: Literal["in_process", "multiprocess"] = Field(
        "in_process", description="How launched runs work: multiprocess runs steps side by side, on an Iceberg store"
    )
    duckdb_memory: str = Field(
        "",
        description="Memory DuckDB may use before it spills to disk; default: an eighth of the machine's, 0.7 to 2 GB",
    )
    duckdb_threads: int = Field(0, ge=0, le=4096, description="Threads DuckDB may use; 0: one per core")
    store_wait: float = Field(900.0, ge=0, description="Seconds a run waits for another run to finish")
    query_wait: float = Field(30.0, ge=0, description="Seconds a reader waits for a writing step to finish")
    landing: str = Field("", description="Folder or s3://bucket/prefix where partners drop files; default: in the home")
    quarantine_max_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of rows, of a run and a table, that may be quarantined before its check blocks",
    )
    quarantine_max_amount_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of money, of a run and a table, that may be quarantined before its check blocks",
    )
    quarantine_floor: int = Field(
        1, ge=0, description="Rows of a run or table that may be quarantined whatever their share, such as 1 of 50"
    )
    max_shrink: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Share of a source table's or month's rows that may be gone before its check blocks",
    )
    serving_url: SecretStr = Field(
        SecretStr(""), description="A PostgreSQL that holds the current release, for BI tools: postgresql://..."
    )
    dagster_config: Path | None = Field(None, description="Folder of another dagster.yaml; default: the project's")
    alert_urls: SecretStr = Field(SecretStr(""), description="Who is notified: Apprise URLs (mailto://, slack://, ...)")
    web_url: str = Field("http://127.0.0.1:3000", description="Dagster's web page, as alerts link to it")
    runbook_url: str = Field("docs/operations.md", description="The runbook, as alerts link to it")
    proxy_header: HeaderName = Field("", description="Header in which an identity proxy names who asks; docs/access.md")
    password: Password = Field(SecretStr(""), description="What pages ask for that are not on loopback; docs/access.md")
    embed_key: Keys = Field(SecretStr(""), description="What signs links for customers; several: the first signs")
    embed_url: Address = Field("http://127.0.0.1:3002", description="Where links for customers lead to")
    embed_ancestors: Sites = Field("'self'", description="Sites that may show a customer's page in a frame")
    timezone: str = Field("UTC", description="Time zone of the schedules, such as Europe/Paris")
    keep_days: int = Field(90, ge=1, le=36_500, description="Days that runs and replaced versions are kept")
    connect_timeout: float = Field(4.0, gt=0, le=60, description="Seconds to wait for the order system to answer")

    @field_validator("home")
    @classmethod
    def _usable(cls, home: Path) -> Path:
        home = home.expanduser().absolute()
        if {"%", "?"} & {*str(home)}:  # which it writes into URLs as they are
            raise ValueError(f"expected a folder that Dagster can keep its files in, without % and ? in {home}")
        return home

    @field_validator("source_url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        scheme, found, _ = url.get_secret_value().partition("://")
        if (found or scheme) and not (found and scheme in SOURCE_SCHEMES):
            raise ValueError(f"expected a URL that starts with {', '.join(s + '://' for s in SOURCE_SCHEMES)}")
        return url

    @field_validator("serving_url")
    @classmethod
    def _postgresql(cls, url: SecretStr) -> SecretStr:
        scheme, found, _ = url.get_secret_value().partition("://")
        if (found or scheme) and not (found and scheme in POSTGRESQL_SCHEMES):
            raise ValueError("expected a URL that starts with postgresql://")
        return url

    @field_validator("duckdb_memory")
    @classmethod
    def _amount_of_memory(cls, memory: str) -> str:
        memory = memory.strip()
        if memory and not SMALLEST_MEMORY <= amount_of_memory(memory) < 2**60:
            raise ValueError("expected an amount of memory of at least 16MB, such as 700MB or 2GB")
        return memory

    @field_validator("dagster_config")
    @classmethod
    def _holds_dagster_yaml(cls, folder: Path | None) -> Path | None:
        if folder is None or str(folder) in ("", "."):
            return None
        folder = folder.expanduser().absolute()
        if not (folder / "dagster.yaml").is_file():
            raise ValueError("expected a folder that holds a dagster.yaml")
        return folder

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("expected a time zone of the IANA list, such as UTC or Europe/Paris") from None
        return timezone

    @field_validator("warehouse", "landing")
    @classmethod
    def _bucket_or_folder(cls, place: str) -> str:
        if "://" in place and not place.startswith(("s3://", "file:///")):
            raise ValueError("expected s3://bucket/prefix or a folder")
        if place.startswith("s3://") and not place.removeprefix("s3://").strip("/"):
            raise ValueError("expected s3://bucket/prefix, with the name of the bucket")
        return place.rstrip("/")

    @field_validator("s3_encryption")
    @classmethod
    def _known_encryption(cls, encryption: str) -> str:
        prefix, _, key = encryption.rpartition("aws:kms:")
        if encryption not in ("none", "AES256") and (prefix or not key or key == encryption):
            raise ValueError("expected none, AES256 or aws:kms:<key id>")
        return encryption

    @model_validator(mode="after")
    def _catalog_is_complete(self) -> Settings:
        if self.store == "iceberg" and self.catalog == "rest" and not self.catalog_uri.get_secret_value():
            raise ValueError("CLASSIC_CARS_CATALOG=rest needs the server's address in CLASSIC_CARS_CATALOG_URI")
        return self

    @field_validator("spark_remote")
    @classmethod
    def _known_remote(cls, remote: SecretStr) -> SecretStr:
        value = remote.get_secret_value()
        scheme, found, rest = value.partition("://")
        if value and (scheme not in SPARK_SCHEMES or not found or not rest.strip("/")):
            raise ValueError(f"expected an address that starts with {', '.join(s + '://' for s in SPARK_SCHEMES)}")
        if scheme == "sc" and (not (server := SPARK_SERVER.fullmatch(value)) or int(server["port"] or 0) > 65_535):
            raise ValueError(
                "expected sc://host:port, and where the server asks for a token sc://host:port/;token=... with a slash "
                "before the semicolon, and /, ?, # and ; in the token percent-encoded"
            )
        return remote

    @model_validator(mode="after")
    def _spark_is_complete(self) -> Settings:
        if self.engine != "spark":
            return self
        if self.store != "iceberg":
            raise ValueError("CLASSIC_CARS_ENGINE=spark: Spark computes on a lake only; set CLASSIC_CARS_STORE=iceberg")
        if not self.spark_remote.get_secret_value():
            raise ValueError("CLASSIC_CARS_ENGINE=spark needs the server's address in CLASSIC_CARS_SPARK_REMOTE")
        return self

    @model_validator(mode="after")
    def _several_processes_may_write(self) -> Settings:
        if self.store == "duckdb" and self.executor == "multiprocess":
            raise ValueError(
                "CLASSIC_CARS_EXECUTOR=multiprocess: DuckDB lets one process write; set CLASSIC_CARS_STORE=iceberg, or "
                "leave it in_process, which uses all cores too"
            )
        return self

    @cached_property
    def order_system_url(self) -> str:
        """URL of the order system, password included: hand it to ``sources``, show it nowhere."""
        return self.source_url.get_secret_value() or f"sqlite:///{self.home / 'shop.sqlite'}"

    @property
    def store_path(self) -> Path:
        """The DuckDB store's database file."""
        return self.home / "store" / "classic_cars.duckdb"

    @property
    def duckdb_config(self) -> dict[str, str | int]:
        """DuckDB's own settings, wherever it works."""
        threads = {"threads": self.duckdb_threads} if self.duckdb_threads else {}
        return {"memory_limit": self.duckdb_memory or f"{share_of_memory() // 10**6}MB", **threads}

    @property
    def refused(self) -> Path:
        """Folder of the quarantined rows of versions that were refused."""
        return self.home / "refused"

    @property
    def warehouse_location(self) -> str:
        """The Iceberg store's warehouse as a location: ``s3://bucket/prefix`` or ``file:///folder``."""
        return _location(self.warehouse, self.home / "store" / "lake")

    @property
    def landing_location(self) -> str:
        """Where files of ratings land: ``s3://bucket/prefix`` or ``file:///folder``."""
        return _location(self.landing, self.home / "landing")

    @cached_property
    def catalog_address(self) -> str:
        """Where the Iceberg store's catalog is, password included: show it nowhere."""
        default = f"sqlite:///{self.home / 'store' / 'catalog.db'}" if self.catalog == "sql" else ""
        return self.catalog_uri.get_secret_value() or default

    @property
    def dagster_home(self) -> Path:
        """Folder of the Dagster instance that the CLI, ``dagster dev`` and launched runs share."""
        return self.home / "dagster"


def unknown_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that look like settings and are none, each with the nearest setting's name; empty if none is near."""
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    unknown = sorted(
        name
        for name in environment
        if name.upper().startswith(PREFIX) and name.upper() not in known and not name.startswith(NO_SETTINGS)
    )
    return {name: "".join(difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.75)) for name in unknown}


def _location(place: str, default: Path) -> str:
    if place.startswith(("s3://", "file://")):
        return place
    return f"file://{Path(place).expanduser().absolute() if place else default}"


def load_settings() -> Settings:
    """The settings of this process's environment.

    Raises ``SettingsError`` naming each variable that is wrong, without showing secret values.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            message = problem["msg"].removeprefix("Value error, ")
            if not problem["loc"]:
                lines.append(message)
                continue
            setting = str(problem["loc"][0])
            secret = Settings.model_fields[setting].annotation is SecretStr
            found = "" if secret else f", found {problem.get('input')!r}"
            lines.append(f"CLASSIC_CARS_{setting.upper()}: {message}{found}")
        raise SettingsError("wrong configuration: " + "; ".join(lines)) from None
