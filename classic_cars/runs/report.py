"""What came of a run: what was published, which checks failed, and why steps did."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg

from classic_cars import interrupts
from classic_cars.months import Months, month_of, span
from classic_cars.tables.events import stayed
from classic_cars.tables.failures import innermost, reason_of
from classic_cars.tables.metadata import UNCHANGED

progress = logging.getLogger("classic_cars.progress")

#: Dagster's own log goes to its web page; people read the progress log.
QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class FailedCheck:
    """A check that did not pass; ``blocking`` ones kept their table from being published."""

    table: str
    check: str
    summary: str
    blocking: bool


@dataclass(frozen=True)
class RunReport:
    """What came of what was asked for: of one run, or of several that followed from each other."""

    run_id: str
    succeeded: bool
    #: From the first to the last month that was to be made of tables with months, and of which rows were made.
    months: Months | None = None
    made: Months | None = None
    published: list[str] = field(default_factory=list)
    not_published: list[str] = field(default_factory=list)
    failed_checks: list[FailedCheck] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    #: Rows that its tables were made of; of a table with months only those of the months that were made.
    rows: int = 0
    events: int = 0
    interrupted: bool = False
    #: Tables that were not made because nothing changed that they are made of.
    unchanged: list[str] = field(default_factory=list)
    #: Why PostgreSQL does not hold the release; empty when it does, or none is served.
    not_served: str = ""

    @property
    def tables(self) -> int:
        """Tables that it is about."""
        return len({*self.published, *self.not_published, *self.unchanged})


def executed(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    months: Months | None,
    tags: Mapping[str, str],
) -> RunReport:
    """Execute the job that makes ``keys``, in this process; says first how many steps are to come."""
    progress.info("%d steps", len(keys), extra={"planned": len(keys)})
    result = job.execute_in_process(instance=instance, tags=dict(tags), raise_on_error=False, run_config=QUIET)
    return report_of(result, keys, months)


def report_of(result: dg.ExecuteInProcessResult, keys: Sequence[dg.AssetKey], months: Months | None) -> RunReport:
    """The report of one run that was to make ``keys``."""
    rows: dict[str, int] = {}
    failed_checks: list[FailedCheck] = []
    errors: dict[str, str] = {}
    unchanged: set[str] = set()
    made: set[date] = set()
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key is not None:
            shown = event.step_materialization_data.materialization.metadata
            if UNCHANGED in shown:
                unchanged.add(event.asset_key.to_user_string())
            elif event.partition and not stayed(shown, event.partition):
                made.add(month_of(event.partition))
            count = shown.get("rows in this run", shown.get("dagster/row_count"))
            rows[event.asset_key.to_user_string()] = int(str(count.value)) if count is not None else 0
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            if not event.asset_check_evaluation_data.passed:
                failed_checks.append(_failed(event.asset_check_evaluation_data))
        elif event.is_step_failure and event.step_failure_data.error is not None:
            if event.step_failure_data.error.cls_name == "DagsterAssetCheckFailedError":
                continue  # reported as a check, once
            errors[str(event.step_key).replace("__", "/")] = reason_of(event.step_failure_data)
        elif event.is_resource_init_failure and event.engine_event_data.error is not None:
            # Before the first step: the store is held by another run, or cannot be written.
            errors["store"] = innermost(event.engine_event_data.error)
    wanted = [key.to_user_string() for key in keys]
    return RunReport(
        run_id=result.run_id,
        succeeded=result.success,
        months=months,
        made=span(made),
        published=[name for name in wanted if name in rows and name not in unchanged],
        not_published=[name for name in wanted if name not in rows],
        failed_checks=failed_checks,
        errors=errors,
        rows=sum(rows.get(name, 0) for name in wanted),
        events=len(result.all_events),
        interrupted=interrupts.requested(),
        unchanged=[name for name in wanted if name in unchanged],
    )


def _failed(check: dg.AssetCheckEvaluation) -> FailedCheck:
    return FailedCheck(
        check.asset_key.to_user_string(),
        check.check_name,
        check.description or "",
        check.severity == dg.AssetCheckSeverity.ERROR,
    )
