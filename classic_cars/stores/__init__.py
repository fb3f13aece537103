"""Where tables live: the protocol, DuckDB, and the Dagster IO manager over them."""

from __future__ import annotations

from classic_cars.settings import Settings
from classic_cars.stores.duckdb import DuckDBStore


def open_store(settings: Settings, *, read_only: bool = False) -> DuckDBStore:
    """The store that the settings name; nothing is opened before it is first used."""
    return DuckDBStore(
        settings.store_path,
        read_only=read_only,
        wait=settings.query_wait if read_only else settings.store_wait,
        memory=settings.duckdb_memory,
        threads=settings.duckdb_threads,
    )
