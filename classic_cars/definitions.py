"""The one place that composes everything: tables, store, order system, jobs.

``dagster dev``, the command line and launched runs all load it. Tests build their own definitions with
:func:`build_defs`, which swaps any part.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from functools import cache, partial
from typing import Any

import dagster as dg

from classic_cars.assets import ALL_TABLES
from classic_cars.automation import maintenance, report, sales_report
from classic_cars.automation.alerts import alerts_sensor, sender
from classic_cars.automation.condition_sensor import condition_sensor
from classic_cars.automation.environments import automation
from classic_cars.automation.first_proof import first_proof_sensor
from classic_cars.automation.follow import condition_of
from classic_cars.automation.landing_sensor import landing_sensor
from classic_cars.automation.maintenance import maintenance_job
from classic_cars.automation.moves import moved_orders
from classic_cars.automation.order_system_sensor import order_system_sensor
from classic_cars.automation.report import report_job
from classic_cars.automation.sales_report import sales_report_job, sales_report_spec
from classic_cars.automation.schedules import (
    RECOMPUTATION,
    RECONCILIATION,
    recomputation_job,
    reconciliation_job,
    schedules,
)
from classic_cars.checks.base import Limits
from classic_cars.contracts.base import LAYERS, Contract
from classic_cars.contracts.warehouse import FactOrders
from classic_cars.instance.home import STORE_POOL
from classic_cars.months import Months
from classic_cars.resources import resources as resources_of
from classic_cars.serving import release_asset
from classic_cars.serving.metrics.fitting import check_metrics
from classic_cars.serving.postgresql import asset as postgresql_asset
from classic_cars.serving.postgresql.asset import postgresql_check, postgresql_spec
from classic_cars.serving.release_asset import release_check, release_spec
from classic_cars.settings import Settings, load_settings
from classic_cars.sources.order_system import open_order_system
from classic_cars.stores import published
from classic_cars.tables.asset import Runtime, build_asset
from classic_cars.tables.co_published import co_published_specs
from classic_cars.tables.external import claims_of, external_assets
from classic_cars.tables.fitting import check_contracts
from classic_cars.tables.live_agreement import CHECK, Reader, reconciliation_check
from classic_cars.tables.outside import check_origins
from classic_cars.tables.recomputation import recomputation_check, recomputation_key, recomputed_tables
from classic_cars.tables.table import Catalog, Table

#: Within a tick of a sensor, which Dagster ends after a minute: seconds of a question, and orders that are looked at.
MOMENT, FEW_ORDERS = 10.0, 500_000
#: The job that rebuilds every table; also what ``classic-cars run`` executes.
FULL_REFRESH = "full_refresh"


def build_defs(
    settings: Settings | None = None,
    *,
    tables: Iterable[Table] = ALL_TABLES,
    resources: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """The platform's definitions. ``resources`` take the place of those that the settings name, by their keys."""
    settings = settings or load_settings()
    catalog = Catalog(tables)
    shared = {**resources_of(settings), **(resources or {})}
    check_contracts(catalog)
    check_origins(catalog, shared)
    check_metrics()
    with warnings.catch_warnings():
        # Single-run backfills and conditions of our own are beta; the pinned version of Dagster is tested with them.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.Definitions.merge(
            _tables(settings, catalog),
            _automation(settings, catalog),
            _operations(settings, catalog),
            dg.Definitions(
                resources=shared,
                # DuckDB, the engine of both stores, uses all cores in one process; one per step costs seconds a table.
                executor=dg.multiprocess_executor if settings.executor == "multiprocess" else dg.in_process_executor,
            ),
        )


def _tables(settings: Settings, catalog: Catalog) -> dg.Definitions:
    """Every table with its checks, what is upstream of it outside, what is published with it, and the job for all."""
    runtime = Runtime(
        limits=_limits(settings),
        # Runs on a DuckDB file follow each other; a lake takes several writers.
        pool=STORE_POOL if settings.store == "duckdb" else None,
        kind=settings.store,
        scratch=settings.home / "store",
        refused=settings.refused,
    )
    assets = [build_asset(each, catalog, runtime, condition_of(each, catalog)) for each in catalog]
    full_refresh = dg.define_asset_job(
        FULL_REFRESH,
        selection=dg.AssetSelection.all() - dg.AssetSelection.checks(*_nightly(settings, catalog)),
        description="Reads, rebuilds, checks and publishes every table",
    )
    nightly = [recomputation_check(each, catalog, runtime.pool) for each in recomputed_tables(catalog)]
    outside, co_published = external_assets(catalog), co_published_specs(catalog, settings.store)
    serving = [release_spec([each.contract for each in catalog])]
    checks = [release_check(partial(published, settings))]
    if settings.serving_url.get_secret_value():
        serving.append(postgresql_spec())
        checks.append(postgresql_check(settings))
    return dg.Definitions(
        assets=[*outside, *assets, *co_published, *serving],
        asset_checks=[*nightly, *checks],
        jobs=[full_refresh],
    )


def _nightly(settings: Settings, catalog: Catalog) -> list[dg.AssetCheckKey]:
    """The checks that are evaluated at times of their own."""
    live = [CHECK] if "warehouse/fact_orders" in catalog else []
    served = [postgresql_asset.CHECK] if settings.serving_url.get_secret_value() else []
    return [*live, release_asset.CHECK, *served, *map(recomputation_key, recomputed_tables(catalog))]


def _automation(settings: Settings, catalog: Catalog) -> dg.Definitions:
    """What notices changes and makes tables by itself; whether it runs, the environment says."""
    status = automation(settings.environment, attended=settings.attended).sensors
    landed = claims_of(catalog)
    polls = [order_system_sensor(status), *([landing_sensor(landed, status)] if landed else [])]

    def moved(months: Mapping[str, Collection[str]]) -> Collection[tuple[str, str]]:
        order_system = open_order_system(settings.order_system_url, settings.connect_timeout, MOMENT)
        reading = settings.model_copy(update={"query_wait": min(settings.query_wait, MOMENT)})
        return moved_orders(reading, order_system, months, at_most=FEW_ORDERS)

    return dg.Definitions(sensors=[*polls, condition_sensor(LAYERS, moved, status)])


def _operations(settings: Settings, catalog: Catalog) -> dg.Definitions:
    """What watches over it: the live check, maintenance, reports, alerts, and when they run."""
    contracts, reader = [each.contract for each in catalog], partial(published, settings)
    recomputed = list(map(recomputation_key, recomputed_tables(catalog)))
    live = [CHECK] if "warehouse/fact_orders" in catalog else []
    runs = automation(settings.environment, attended=settings.attended)
    nightly = [reconciliation_job(recomputed), *([recomputation_job(recomputed)] if recomputed else [])]
    return dg.Definitions(
        assets=[sales_report_spec()],
        asset_checks=[reconciliation_check(reader)] if live else [],
        jobs=[
            *nightly,
            maintenance_job(settings, contracts),
            sales_report_job(settings),
            report_job(settings, contracts, sender(settings)),
        ],
        schedules=schedules(
            settings.timezone, lambda: _latest_months(reader), runs.schedules, recomputes=bool(recomputed)
        ),
        sensors=[
            alerts_sensor(settings, [maintenance.JOB, sales_report.JOB, report.JOB], runs.sensors),
            first_proof_sensor(
                {RECONCILIATION: live, RECOMPUTATION: recomputed},
                nightly,
                lambda: _latest_months(reader),
                runs.sensors,
            ),
        ],
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        quarantine_rows=settings.quarantine_max_share,
        quarantine_amount=settings.quarantine_max_amount_share,
        quarantine_floor=settings.quarantine_floor,
        shrink=settings.max_shrink,
    )


def _latest_months(reader: Reader) -> Months | None:
    """The last month that the fact has rows in; None when there are none."""
    with reader() as store:
        found = store.months(Contract.of(FactOrders))
    return Months(found[-1], found[-1]) if found else None


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster's processes load; whoever composes definitions of his own need not build these too."""
    return _built()


@cache
def _built() -> dg.Definitions:
    """Built once: a process that forks runs has them ready."""
    return build_defs()
