"""Plan and execute runs in this process, on the same Dagster instance as the web page's.

What is run, for which months, and what came of it. How it is shown is the command line's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import dagster as dg

from classic_cars import interrupts
from classic_cars.assets import ALL_TABLES
from classic_cars.contracts.base import RELEASED
from classic_cars.contracts.order_system import orderdetails
from classic_cars.definitions import build_defs
from classic_cars.instance import fail_dead_runs, open_instance
from classic_cars.months import Months, partition_key
from classic_cars.processes import remove_abandoned
from classic_cars.runs.changes import make_what_changed
from classic_cars.runs.releasing import release_what_is_published, serve_what_is_released
from classic_cars.runs.report import FailedCheck, RunReport, executed
from classic_cars.runs.selecting import (
    job_of,
    months_that_exist,
    partitions_among,
    select_tables,
    shrinking_tables,
)
from classic_cars.serving.postgresql.asset import not_served
from classic_cars.serving.release_asset import failed_release
from classic_cars.settings import Settings
from classic_cars.sources.order_system import open_order_system
from classic_cars.stores import published
from classic_cars.tables.partitions import add_months
from classic_cars.tables.run_tags import ACCEPT_SHRINK, LATER, RELEASE, accepted_shrinks, range_tags

CONTRACTS = [each.contract for each in ALL_TABLES]

__all__ = ["FailedCheck", "RunReport", "execute", "execute_what_changed"]


def execute(
    settings: Settings,
    patterns: Sequence[str] = (),
    months: Months | None = None,
    *,
    ephemeral: bool = False,
    accept_shrink: Sequence[str] = (),
) -> RunReport:
    """Make the tables that ``patterns`` name (default: all) for ``months`` (default: all), whatever changed.

    ``accept_shrink``: tables of the order system that may have far fewer rows than before, by address or name.
    A table of the order system whose schema changed fails, and holds up what is made from it and nothing else. Raises
    ``ClassicCarsError`` when the run cannot start, and ``KeyboardInterrupt`` when it was told to stop before its first
    step; a run that fails is a report that says so.
    """
    defs = build_defs(settings)
    keys = select_tables(defs, patterns)
    tags = _tags(accept_shrink, keys)
    graph = defs.get_repository_def().asset_graph
    order_system = open_order_system(settings.order_system_url, settings.connect_timeout)
    reads = any(key.path[0] == "source" for key in keys)
    unreadable = order_system.unreadable() if reads else {}
    if any(graph.get(key).is_partitioned for key in keys):
        with published(settings) as store:
            asked = (months is None or reads) and orderdetails.name not in unreadable  # nor are the dates of orders
            there = months_that_exist(order_system, store, reads=asked)
    else:
        months, there = None, []
    with interrupts.listening(), _stopping(), open_instance(settings, ephemeral=ephemeral) as instance:
        _clear_up(settings, instance)
        if there:
            add_months(instance, map(partition_key, there))
            months = partitions_among(instance, months or Months(there[0], there[-1]))
            tags |= range_tags(months.first, months.last)
        report = executed(job_of(defs, keys), instance, keys, months, tags)
        # Where the run published nothing that analysts read, it has not tried to make a release.
        if ephemeral or report.interrupted:
            return report
        if _publishes_for_analysts(report):
            return _after_its_release(settings, report, instance)
        return _released(settings, report, instance)


def execute_what_changed(
    settings: Settings, months: Months | None = None, *, accept_shrink: Sequence[str] = ()
) -> RunReport:
    """Make every table and month that is out of date, and nothing else; ``accept_shrink`` as in :func:`execute`.

    ``months``: of tables with months these are made, changed or not, and no others. A table of the order system whose
    schema changed fails, and holds up what is made from it and nothing else. Raises ``ClassicCarsError`` when it cannot
    start; a run that fails is a report that says so.
    """
    defs = build_defs(settings)
    tags = _tags(accept_shrink, select_tables(defs, ()))
    order_system = open_order_system(settings.order_system_url, settings.connect_timeout)
    unreadable = order_system.unreadable()
    with interrupts.listening(), _stopping(), open_instance(settings, ephemeral=False) as instance:
        _clear_up(settings, instance)
        again = accepted_shrinks(tags)
        tags |= {RELEASE: LATER}  # there may be several runs: what they publish belongs together
        report = make_what_changed(settings, defs, order_system, instance, tags, again, months, unreadable)
        if report.interrupted:
            return report
        run_id = report.run_id if _publishes_for_analysts(report) else ""
        return _released(settings, report, instance, run_id)


def _clear_up(settings: Settings, instance: dg.DagsterInstance) -> None:
    """What killed runs left: in the history, and copies of what they read."""
    fail_dead_runs(instance)
    remove_abandoned(settings.home / "store")


def _after_its_release(settings: Settings, report: RunReport, instance: dg.DagsterInstance) -> RunReport:
    """The same, with what became of the release that the run itself tried to make, and to serve."""
    report = _without_release(report, failed_release(instance, report.run_id))
    return replace(report, not_served=not_served(instance) if settings.serving_url.get_secret_value() else "")


def _released(settings: Settings, report: RunReport, instance: dg.DagsterInstance, run_id: str = "") -> RunReport:
    report = _without_release(report, release_what_is_published(settings, CONTRACTS, instance, run_id))
    return replace(report, not_served=serve_what_is_released(settings, CONTRACTS, instance))


def _without_release(report: RunReport, broken: str) -> RunReport:
    """The same where a release could not be written: the tables are published, and analysts do not have them."""
    if not broken:
        return report
    return replace(report, succeeded=False, errors={**report.errors, "serving/release": broken})


def _publishes_for_analysts(report: RunReport) -> bool:
    return any(address.partition("/")[0] in RELEASED for address in report.published)


def _tags(accept_shrink: Sequence[str], keys: Sequence[dg.AssetKey]) -> dict[str, str]:
    shrinking = shrinking_tables(accept_shrink, keys)
    return {ACCEPT_SHRINK: ",".join(shrinking)} if shrinking else {}


@contextmanager
def _stopping() -> Iterator[None]:
    """Raises ``KeyboardInterrupt`` where the process was told to stop, whatever error hides it."""
    try:
        yield
    except Exception:
        if interrupts.requested():
            raise KeyboardInterrupt from None
        raise
