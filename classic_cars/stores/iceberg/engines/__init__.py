"""What computes over the files of a lake: a protocol, and an engine for each module."""

from __future__ import annotations

from classic_cars.stores.iceberg.engines.base import Engine, Written
from classic_cars.stores.iceberg.engines.duckdb import DuckDBEngine

__all__ = ["DuckDBEngine", "Engine", "Written"]
