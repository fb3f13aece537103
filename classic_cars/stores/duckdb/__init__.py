"""Tables in one DuckDB database file: the embedded default."""

from __future__ import annotations

from classic_cars.stores.duckdb.store import DuckDBStore

__all__ = ["DuckDBStore"]
