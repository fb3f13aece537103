"""What the platform stands on, as Dagster resources: the order system, the landing zone, the store of tables.

Thin: each opens something that knows nothing of Dagster, and holds it from the first to the last step of a run. Their
configuration shows on Dagster's web page; what may hold a secret is named there by its variable. How tables are
published is in ``tables/io_manager.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr

from classic_cars import interrupts
from classic_cars.assets import ALL_TABLES
from classic_cars.compiled import recall, remember
from classic_cars.processes import end_with_parent
from classic_cars.resources.landing import LandingZone
from classic_cars.serving.postgresql.asset import serve_release
from classic_cars.serving.release_asset import release_after_run
from classic_cars.settings import Settings
from classic_cars.sources.order_system import OrderSystem, open_order_system
from classic_cars.stores.base import Store
from classic_cars.stores.duckdb import DuckDBStore
from classic_cars.tables.io_manager import StoreIOManager
from classic_cars.tables.run_tags import LATER, RELEASE

CONTRACTS = [each.contract for each in ALL_TABLES]


class OrderSystemResource(dg.ConfigurableResource, dg.IAttachDifferentObjectToOpContext):
    """The retailer's order system, read-only. Steps get one whose tables are all read from one snapshot, if it can."""

    url: str = Field(description="sqlite:///shop.db, mysql://user:password@host/db, mariadb://... or postgresql://...")
    connect_timeout: float = Field(4.0, description="Seconds to wait for the order system to answer")
    _opened: Any = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[OrderSystemResource]:  # noqa: ARG002
        with open_order_system(self.url, self.connect_timeout).in_one_snapshot() as self._opened:
            yield self

    def get_object_to_set_on_execution_context(self) -> OrderSystem:
        return self._opened


class _Tables(dg.ConfigurableIOManagerFactory):
    """Tables in a store: write, audit, publish. A run has the store from its first to its last step."""

    wait: float = Field(description="Seconds to wait for other writers")
    compiled: str = Field("", description="File that keeps the SQL of earlier runs; empty: none is kept")
    serving_url: str = Field("", description="A PostgreSQL that holds the current release; empty: none does")
    connect_timeout: float = Field(4.0, description="Seconds to wait for that PostgreSQL to answer")

    def open(self) -> Store:
        """The store; nothing is opened before it is first used."""
        raise NotImplementedError

    @property
    def is_of_one_step(self) -> bool:
        """Whether the process was started by the run's for one step."""
        return False

    def create_io_manager(self, context: dg.InitResourceContext) -> StoreIOManager:  # noqa: ARG002
        return StoreIOManager(self.open(), {each.address: each for each in CONTRACTS})

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[StoreIOManager]:
        manager, is_new = self.create_io_manager(context), False
        if context.run is not None and self.is_of_one_step:
            end_with_parent()
        with interrupts.listening():
            if context.run is not None:
                manager.store.begin_run(f"run {context.run.run_id}")
                recall(self.compiled)
            try:
                yield manager
                if context.run is not None and context.instance is not None and not _later(context.run):
                    outcome = release_after_run(
                        manager.store, CONTRACTS, manager.published, context.instance, context.run.run_id
                    )
                    is_new = outcome.is_new
            finally:
                manager.store.end_run()
                remember(self.compiled)
            if is_new and self.serving_url and context.instance is not None:
                # The store is free again: no run waits for PostgreSQL.
                serve_release(self.serving_url, self.connect_timeout, manager.store, CONTRACTS, context.instance)


def _later(run: dg.DagsterRun) -> bool:
    return run.tags.get(RELEASE) == LATER


class TablesInDuckDB(_Tables):
    """Tables in one DuckDB file: write, audit, publish.

    ``duckdb`` says which file, and DuckDB's own settings. The store opens it itself: ``DuckDBResource`` waits 100
    seconds for a locked file without a word, whatever the error.
    """

    duckdb: DuckDBResource

    def open(self) -> Store:
        return DuckDBStore(Path(self.duckdb.database), wait=self.wait, config=self.duckdb.connection_config)


class TablesInALake(_Tables):
    """Tables in an Apache Iceberg lake: write, audit, publish."""

    warehouse: str = Field(description="file:///folder or s3://bucket/prefix; region and credentials the AWS way")
    catalog: str = Field(description="What knows the tables: sql, rest or glue")
    catalog_uri: str = Field(description="Address of the catalog")
    s3_encryption: str = Field(description="Server-side encryption: none, AES256 or aws:kms:<key id>")
    scratch: str = Field(description="Folder for what does not fit in memory")
    connection_config: dict[str, Any] = Field(description="DuckDB's own settings")
    engine: str = Field("duckdb", description="What computes the tables made from other tables: duckdb or spark")
    spark_remote: str = Field("", description="Address of the Spark Connect server")
    spark_page: str = Field("", description="Address of Spark's web page")
    executor: str = Field("in_process", description="How steps work: multiprocess gives each a process of its own")

    @property
    def is_of_one_step(self) -> bool:
        return self.executor == "multiprocess"

    def open(self) -> Store:
        # Imported late: whoever keeps tables in DuckDB need not wait for PyIceberg to load.
        from classic_cars.stores.iceberg import IcebergStore, Lake
        from classic_cars.stores.iceberg.engines import engine

        lake = Lake(self.warehouse, self.catalog, self.catalog_uri, self.s3_encryption)
        computes = engine(self.engine, self.spark_remote, self.spark_page)
        return IcebergStore(
            lake, scratch=Path(self.scratch), wait=self.wait, config=self.connection_config, computes=computes
        )


def resources(settings: Settings) -> dict[str, Any]:
    """All that the settings name, by the keys that assets and sensors ask for."""
    return {
        "order_system": OrderSystemResource(
            url=_named("CLASSIC_CARS_SOURCE_URL", settings.order_system_url), connect_timeout=settings.connect_timeout
        ),
        "landing": _landing(settings),
        "io_manager": _tables(settings),
    }


def _landing(settings: Settings) -> LandingZone:
    if settings.landing_location.startswith("s3://"):
        # Imported late: whoever has a folder need not wait for boto3 to load.
        from classic_cars.resources.s3 import S3, LandingBucket

        return LandingBucket(location=settings.landing_location, s3=S3())
    return LandingZone(location=settings.landing_location)


def _tables(settings: Settings) -> _Tables:
    shared: dict[str, Any] = {
        "wait": settings.store_wait,
        "compiled": str(settings.home / "compiled.json"),
        "serving_url": _named("CLASSIC_CARS_SERVING_URL", settings.serving_url.get_secret_value()),
        "connect_timeout": settings.connect_timeout,
    }
    if settings.store == "duckdb":
        duckdb = DuckDBResource(database=str(settings.store_path), connection_config=settings.duckdb_config)
        return TablesInDuckDB(duckdb=duckdb, **shared)
    return TablesInALake(
        warehouse=settings.warehouse_location,
        catalog=settings.catalog,
        catalog_uri=_named("CLASSIC_CARS_CATALOG_URI", settings.catalog_address),
        s3_encryption=settings.s3_encryption,
        scratch=str(settings.home / "store"),
        connection_config=settings.duckdb_config,
        engine=settings.engine,
        spark_remote=_named("CLASSIC_CARS_SPARK_REMOTE", settings.spark_remote.get_secret_value()),
        spark_page=settings.spark_page,
        executor=settings.executor,
        **shared,
    )


def _named(variable: str, value: str) -> str:
    """The variable's name, if the value is from there: the web page and the history have the name, not the value.

    ``variable`` as the settings have it: they do not mind its case.
    """
    names = (name for name, held in os.environ.items() if (name.upper(), held) == (variable, value))
    return dg.EnvVar(found) if (found := next(names, None)) else value
