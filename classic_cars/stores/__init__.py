"""Where tables live: the protocol, DuckDB, Iceberg, and how the one that the settings name is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from classic_cars.settings import Settings
from classic_cars.stores.base import Store

if TYPE_CHECKING:
    from classic_cars.stores.iceberg.engines import Engine


def open_store(settings: Settings, *, read_only: bool = False) -> Store:
    """The store that the settings name; nothing is opened before it is first used."""
    wait = settings.query_wait if read_only else settings.store_wait
    if settings.store == "iceberg":
        # Imported late: whoever keeps tables in DuckDB need not wait for PyIceberg to load.
        from classic_cars.stores.iceberg import IcebergStore, Lake

        lake = Lake(settings.warehouse_location, settings.catalog, settings.catalog_address, settings.s3_encryption)
        return IcebergStore(
            lake,
            scratch=settings.home / "store",
            read_only=read_only,
            wait=wait,
            config=settings.duckdb_config,
            beside=settings.refused,
            computes=None if read_only else open_engine(settings),
        )
    from classic_cars.stores.duckdb import DuckDBStore

    return DuckDBStore(
        settings.store_path,
        read_only=read_only,
        wait=wait,
        config=settings.duckdb_config,
        beside=settings.refused,
    )


def open_engine(settings: Settings) -> Engine | None:
    """The engine that the settings name, connected when first used; None for the DuckDB that a lake has anyway."""
    from classic_cars.stores.iceberg.engines import engine

    return engine(settings.engine, settings.spark_remote.get_secret_value(), settings.spark_page)


@contextmanager
def published(settings: Settings) -> Iterator[Store]:
    """The published tables, as another process than the writing one sees them."""
    store = open_store(settings, read_only=True)
    try:
        yield store
    finally:
        store.release()
