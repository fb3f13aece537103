"""The one place that composes everything: tables, store, order system, jobs.

``dagster dev``, the command line and launched runs all load it. Tests build their own definitions with
:func:`build_defs`, which swaps any part; nothing else of the package imports this module.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import dagster as dg

from classic_cars.assets import ALL_TABLES
from classic_cars.automation.landing_sensor import landing_sensor
from classic_cars.instance.home import STORE_POOL
from classic_cars.settings import Settings, load_settings
from classic_cars.sources.landing import Landing
from classic_cars.sources.order_system import OrderSystem
from classic_cars.stores import open_store
from classic_cars.stores.base import Store
from classic_cars.stores.io_manager import store_io_manager
from classic_cars.tables.asset import build_asset
from classic_cars.tables.table import Catalog, Table

#: The job that makes every table; also what ``classic-cars run`` executes.
EVERYTHING = "everything"


def build_defs(
    settings: Settings | None = None,
    *,
    tables: Iterable[Table] = ALL_TABLES,
    store: Store | None = None,
    order_system: OrderSystem | None = None,
    landing: Landing | None = None,
) -> dg.Definitions:
    """The platform's definitions; every part that is not given is the one that the settings name."""
    settings = settings or load_settings()
    catalog = Catalog(tables)
    landing = landing or Landing(settings.landing_location)
    with warnings.catch_warnings():
        # Single-run backfills are marked beta; the pinned version of Dagster is tested with them.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = [
            build_asset(
                each,
                catalog,
                quarantine_max_share=settings.quarantine_max_share,
                # Runs on a DuckDB file follow each other; a lake takes several writers.
                pool=STORE_POOL if settings.store == "duckdb" else None,
                kind=settings.store,
                scratch=settings.home / "store",
            )
            for each in catalog
        ]
    return dg.Definitions(
        assets=assets,
        resources={
            "io_manager": store_io_manager(
                store or open_store(settings), {each.address: each.contract for each in catalog}
            ),
            "order_system": dg.ResourceDefinition.hardcoded_resource(
                order_system or OrderSystem(settings.order_system_url, settings.connect_timeout),
                description="The retailer's order system, read-only",
            ),
            "landing": dg.ResourceDefinition.hardcoded_resource(
                landing,
                description="Where partners drop files of ratings, read-only",
            ),
        },
        sensors=[landing_sensor(settings, landing)] if "source/ratings" in catalog else [],
        jobs=[dg.define_asset_job(EVERYTHING, selection=dg.AssetSelection.all(), description="Makes every table")],
        # DuckDB, the engine of both stores, uses all cores inside one process; one per step costs seconds a table.
        executor=dg.multiprocess_executor if settings.executor == "multiprocess" else dg.in_process_executor,
    )


defs = build_defs()
