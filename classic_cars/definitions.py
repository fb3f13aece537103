"""The one place that composes everything: tables, store, order system, jobs. Nobody imports this module.

``dagster dev``, the command line and launched runs all load :data:`defs`. Tests build their own with
:func:`build_defs`, which swaps any part.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from classic_cars.assets import analytics, source, staging, warehouse
from classic_cars.settings import Settings, load_settings
from classic_cars.sources.order_system import OrderSystem
from classic_cars.stores.duckdb import DuckDBStore
from classic_cars.stores.io_manager import duckdb_io_manager
from classic_cars.tables.asset import build_asset
from classic_cars.tables.table import Catalog, Table

#: The job that makes every table; also what ``classic-cars run`` executes.
EVERYTHING = "everything"

MODULES = (staging, warehouse, analytics)


def all_tables() -> tuple[Table, ...]:
    """Every table of the platform: the order system's, and those that the layers' modules define."""
    defined = [each for module in MODULES for each in vars(module).values() if isinstance(each, Table)]
    return (*source.TABLES, *defined)


def open_store(settings: Settings, *, read_only: bool = False) -> DuckDBStore:
    """The store that the settings name."""
    return DuckDBStore(
        settings.store_path,
        read_only=read_only,
        wait=settings.query_wait if read_only else settings.store_wait,
        memory=settings.duckdb_memory,
        threads=settings.duckdb_threads,
    )


def build_defs(settings: Settings | None = None, tables: Iterable[Table] | None = None) -> dg.Definitions:
    """The platform's definitions for ``settings`` (default: the environment's) and ``tables`` (default: all)."""
    settings = settings or load_settings()
    catalog = Catalog(all_tables() if tables is None else tables)
    contracts = {each.address: each.contract for each in catalog}
    return dg.Definitions(
        assets=[
            build_asset(each, catalog, quarantine_max_share=settings.quarantine_max_share) for each in catalog
        ],
        resources={
            "io_manager": duckdb_io_manager(open_store(settings), contracts),
            "order_system": dg.ResourceDefinition.hardcoded_resource(
                OrderSystem(settings.order_system_url, settings.connect_timeout),
                description="The retailer's order system, read-only",
            ),
        },
        jobs=[
            dg.define_asset_job(EVERYTHING, selection=dg.AssetSelection.all(), description="Makes every table")
        ],
        # DuckDB uses all cores inside one process; a process per step would cost seconds a table.
        executor=dg.in_process_executor,
    )


defs = build_defs()
