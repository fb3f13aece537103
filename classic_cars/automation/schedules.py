"""What happens at fixed times, in the time zone of the settings: the nightly proof, maintenance, reports.

None of them is at an hour that a change to daylight-saving time skips or repeats in any zone that people live in.
"""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from classic_cars.automation import maintenance, report, sales_report
from classic_cars.months import Months
from classic_cars.tables.live_agreement import CHECK
from classic_cars.tables.run_tags import range_tags

RECONCILIATION, RECOMPUTATION = "nightly_reconciliation", "nightly_recomputation"
#: The nightly run also rebuilds the answers: what analysts read in the morning is never older than the night.
ANSWERS = "analytics"

RECOMPUTED = "5 4 * * *"
NIGHTLY = "15 4 * * *"
MAINTENANCE = "45 4 * * *"
REPORTED = "45 6 * * *"
MORNING = "0 7 * * *"


def recomputation_job(checks: Sequence[dg.AssetCheckKey]) -> Any:
    """The recomputations. A job of its own, so that they judge what is published and not what the night makes."""
    return dg.define_asset_job(
        RECOMPUTATION,
        selection=dg.AssetSelection.checks(*checks),
        description="Recomputes the answers and their partial aggregates wholly, and compares every value",
    )


def reconciliation_job(elsewhere: Sequence[dg.AssetCheckKey] = ()) -> Any:
    """The live check and the answer tables; neither waits for the other. ``elsewhere``: checks of another job."""
    answers = dg.AssetSelection.groups(ANSWERS)
    return dg.define_asset_job(
        RECONCILIATION,
        selection=dg.AssetSelection.checks(CHECK)
        | (answers - dg.AssetSelection.checks(*elsewhere) if elsewhere else answers),
        description="Compares every closed month with the live order system, and rebuilds the answers",
    )


def schedules(
    timezone: str,
    latest_months: Callable[[], Months | None],
    status: dg.DefaultScheduleStatus,
    *,
    recomputes: bool = True,
) -> list[dg.ScheduleDefinition]:
    """All schedules. ``latest_months``: those of the answers by month that the nightly run rebuilds."""

    @dg.schedule(
        name=RECOMPUTATION,
        job_name=RECOMPUTATION,
        cron_schedule=RECOMPUTED,
        execution_timezone=timezone,
        default_status=status,
        description="Every night: the answers against their recomputation from all order lines",
    )
    def recomputation(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return dg.RunRequest() if latest_months() else dg.SkipReason("nothing was published yet")

    @dg.schedule(
        name=RECONCILIATION,
        job_name=RECONCILIATION,
        cron_schedule=NIGHTLY,
        execution_timezone=timezone,
        default_status=status,
        description="Every night: every closed month against the live order system; what differs is read again",
    )
    def nightly(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        months = latest_months()
        if months is None:
            return dg.SkipReason("nothing was published yet")
        return dg.RunRequest(tags=range_tags(months.first, months.last))

    return [
        *([recomputation] if recomputes else []),
        nightly,
        dg.ScheduleDefinition(
            name=maintenance.JOB,
            job_name=maintenance.JOB,
            cron_schedule=MAINTENANCE,
            execution_timezone=timezone,
            default_status=status,
            description="Every night: old runs, old versions and small files",
        ),
        dg.ScheduleDefinition(
            name=sales_report.JOB,
            job_name=sales_report.JOB,
            cron_schedule=REPORTED,
            execution_timezone=timezone,
            default_status=status,
            description="Every morning: the sales report of each month, from the current release",
        ),
        dg.ScheduleDefinition(
            name=report.JOB,
            job_name=report.JOB,
            cron_schedule=MORNING,
            execution_timezone=timezone,
            default_status=status,
            description="Every morning: what was sold, and whether the numbers can be trusted",
        ),
    ]
