"""The one place that composes everything: tables, store, order system, jobs.

``dagster dev``, the command line and launched runs all load it. Tests build their own definitions with
:func:`build_defs`, which swaps any part; nothing else of the package imports this module.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import dagster as dg

from classic_cars.assets import ALL_TABLES
from classic_cars.automation import maintenance, report
from classic_cars.automation.alerts import alerts_sensor, sender
from classic_cars.automation.environments import automation
from classic_cars.automation.follow import condition_of, condition_sensors
from classic_cars.automation.landing_sensor import landing_sensor
from classic_cars.automation.maintenance import maintenance_job
from classic_cars.automation.order_system_sensor import order_system_sensor
from classic_cars.automation.report import report_job
from classic_cars.automation.schedules import reconciliation_job, schedules
from classic_cars.checks.base import Limits
from classic_cars.contracts.base import LAYERS, Contract
from classic_cars.contracts.warehouse import FactOrders
from classic_cars.instance.home import STORE_POOL
from classic_cars.months import Months
from classic_cars.settings import Settings, load_settings
from classic_cars.sources.landing import Landing
from classic_cars.sources.order_system import OrderSystem, open_order_system
from classic_cars.stores import open_store
from classic_cars.stores.base import Store
from classic_cars.tables.asset import build_asset
from classic_cars.tables.company import company_specs
from classic_cars.tables.external import claims_of, external_assets
from classic_cars.tables.io_manager import store_io_manager
from classic_cars.tables.live_agreement import CHECK, Reader, reconciliation_check
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
    contracts = [each.contract for each in catalog]
    store = store or open_store(settings)
    reader = partial(_reading, settings)
    order_system = order_system or open_order_system(settings.order_system_url, settings.connect_timeout)
    landing = landing or Landing(settings.landing_location)
    runs = automation(settings.environment, attended=settings.attended)
    landed = claims_of(catalog)
    with warnings.catch_warnings():
        # Single-run backfills and conditions of our own are beta; the pinned version of Dagster is tested with them.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = [
            build_asset(
                each,
                catalog,
                limits=_limits(settings),
                # Runs on a DuckDB file follow each other; a lake takes several writers.
                pool=STORE_POOL if settings.store == "duckdb" else None,
                kind=settings.store,
                scratch=settings.home / "store",
                condition=condition_of(each, catalog),
            )
            for each in catalog
        ]
        beside = [*external_assets(catalog), *company_specs(catalog, settings.store)]
        sensors = [
            order_system_sensor(order_system, runs.sensors),
            *([landing_sensor(landing, landed, runs.sensors)] if landed else []),
            *condition_sensors(LAYERS, runs.sensors),
            alerts_sensor(settings, [maintenance.JOB, report.JOB], runs.sensors),
        ]
    return dg.Definitions(
        assets=[*beside, *assets],
        resources={
            "io_manager": store_io_manager(store, {each.address: each.contract for each in catalog}),
            "order_system": dg.ResourceDefinition(
                lambda _: order_system.in_one_snapshot(),
                description="The retailer's order system, read-only, and one snapshot of it for a run",
            ),
            "landing": dg.ResourceDefinition.hardcoded_resource(
                landing,
                description="Where partners drop files, read-only",
            ),
        },
        asset_checks=[reconciliation_check(order_system, reader)] if "warehouse/fact_orders" in catalog else [],
        jobs=[
            dg.define_asset_job(
                EVERYTHING,
                selection=dg.AssetSelection.all() - dg.AssetSelection.checks(CHECK),
                description="Makes every table",
            ),
            reconciliation_job(),
            maintenance_job(settings, contracts),
            report_job(settings, contracts, sender(settings)),
        ],
        schedules=schedules(settings.timezone, lambda: _latest_months(reader), runs.schedules),
        sensors=sensors,
        # DuckDB, the engine of both stores, uses all cores inside one process; one per step costs seconds a table.
        executor=dg.multiprocess_executor if settings.executor == "multiprocess" else dg.in_process_executor,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        quarantine_rows=settings.quarantine_max_share,
        quarantine_amount=settings.quarantine_max_amount_share,
        shrink=settings.max_shrink,
    )


@contextmanager
def _reading(settings: Settings) -> Iterator[Store]:
    """The published tables, as another process than the writing one sees them."""
    store = open_store(settings, read_only=True)
    try:
        yield store
    finally:
        store.release()


def _latest_months(reader: Reader) -> Months | None:
    """The last month that the fact has rows in; None when there are none."""
    with reader() as store:
        found = store.months(Contract.of(FactOrders))
    return Months(found[-1], found[-1]) if found else None


defs = build_defs()
