"""What computes over the files of a lake: a protocol, and an engine for each module."""

from __future__ import annotations

from classic_cars.stores.iceberg.engines.base import Engine, Written
from classic_cars.stores.iceberg.engines.duckdb import DuckDBEngine

__all__ = ["DuckDBEngine", "Engine", "Written", "engine"]


def engine(kind: str, remote: str, page: str = "") -> Engine | None:
    """The engine of steps that make tables of other tables; None for the DuckDB that the store has anyway.

    Connected when first used. ``remote`` may hold a token; ``page``: Spark's web page.
    """
    if kind == "duckdb":
        return None
    # Imported late: the client of Spark is an extra.
    from classic_cars.stores.iceberg.engines.managed import remote_of
    from classic_cars.stores.iceberg.engines.spark import SparkEngine

    return SparkEngine(remote_of(remote), page or None)
