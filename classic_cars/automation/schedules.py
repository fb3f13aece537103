"""What happens at fixed times, in the time zone of the settings: the nightly proof, maintenance, the morning report.

None of them is at an hour that a change to daylight-saving time skips or repeats in any zone that people live in.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from classic_cars.automation import maintenance, report
from classic_cars.months import Months
from classic_cars.tables.live_agreement import CHECK
from classic_cars.tables.run_tags import range_tags

RECONCILIATION = "nightly_reconciliation"
#: The nightly run also makes the answers anew: what analysts read in the morning is never older than the night.
ANSWERS = "analytics"

NIGHTLY = "15 4 * * *"
MAINTENANCE = "45 4 * * *"
MORNING = "0 7 * * *"


def reconciliation_job() -> Any:
    """The live check and the answer tables; neither waits for the other."""
    return dg.define_asset_job(
        RECONCILIATION,
        selection=dg.AssetSelection.checks(CHECK) | dg.AssetSelection.groups(ANSWERS),
        description="Compares every closed month with the live order system, and makes the answers anew",
    )


def schedules(
    timezone: str, latest_months: Callable[[], Months | None], status: dg.DefaultScheduleStatus
) -> list[dg.ScheduleDefinition]:
    """All schedules. ``latest_months``: those of the answers by month that the nightly run makes anew."""

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
            name=report.JOB,
            job_name=report.JOB,
            cron_schedule=MORNING,
            execution_timezone=timezone,
            default_status=status,
            description="Every morning: what was sold, and whether the numbers can be trusted",
        ),
    ]
