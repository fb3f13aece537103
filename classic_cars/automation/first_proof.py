"""The nightly proofs of a platform that is new: asked for once, as soon as there is something to prove.

Until then their checks would have no verdict before the first night.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from classic_cars.automation.history import under_way
from classic_cars.months import Months
from classic_cars.tables.run_tags import range_tags

SENSOR = "first_proof"
TICK_SECONDS = 30


#: What is asked for, or why nothing is.
Asked = list[dg.RunRequest] | dg.SkipReason


def first_proof_sensor(
    proofs: Mapping[str, Sequence[dg.AssetCheckKey]],
    jobs: Sequence[Any],
    latest_months: Callable[[], Months | None],
    status: dg.DefaultSensorStatus,
) -> dg.SensorDefinition:
    """``proofs``: the names of the nightly ``jobs``, with their checks; ``latest_months``: of the answers by month."""

    @dg.sensor(
        name=SENSOR,
        jobs=jobs,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=status,
        description="Requests each nightly proof once, before the first night, when all of its tables are there.",
    )
    def first_proof(context: dg.SensorEvaluationContext) -> Any:
        return asked(context.instance, proofs, latest_months)

    return first_proof


def asked(
    instance: dg.DagsterInstance,
    proofs: Mapping[str, Sequence[dg.AssetCheckKey]],
    latest_months: Callable[[], Months | None],
) -> Asked:
    """The proofs that were never evaluated, while nothing else runs.

    The run key lets Dagster launch each at most once, whatever becomes of it: the night asks again.
    """
    checks = [check for each in proofs.values() for check in each]
    known = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    new = [job for job, own in proofs.items() if own and not any(check in known for check in own)]
    if not new:
        return dg.SkipReason("all proofs have been evaluated; every night repeats them")
    if run := under_way(instance):
        return dg.SkipReason(f"waits for run {run}")
    tables = {check.asset_key for check in checks}
    made = instance.get_latest_materialization_events(tables)
    months = latest_months() if all(made.get(each) is not None for each in tables) else None
    if months is None:
        return dg.SkipReason("not all tables are published yet")
    return [
        dg.RunRequest(run_key=f"{SENSOR} {job}", job_name=job, tags=range_tags(months.first, months.last))
        for job in new
    ]
