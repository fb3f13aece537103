"""The story of a run that failed: what went wrong first, what it kept from being made, what is good all the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from classic_cars.errors import SettingsError
from classic_cars.tables.failures import CHECK_FAILED, innermost, reason_of

#: What the instance remembers: runs that did not make tables which were up to date all the same.
SETTLED = "classic_cars/settled_attempts"


@dataclass(frozen=True)
class TimelineEvent:
    """One line of the timeline."""

    when: datetime
    what: str
    bad: bool = False


@dataclass(frozen=True)
class Affected:
    """A table that the run should have made and did not, with the version that readers still see."""

    table: str
    #: ``failed``, or ``not made`` because of another table.
    how: str
    materialized: datetime | None = None
    run_id: str = ""
    rows: int | None = None


@dataclass(frozen=True)
class IncidentReport:
    """All of it."""

    run_id: str
    status: str
    #: What asked for the run: a sensor, a schedule, a person.
    launched_by: str
    timeline: list[TimelineEvent] = field(default_factory=list)
    affected: list[Affected] = field(default_factory=list)

    @property
    def first(self) -> TimelineEvent | None:
        """What went wrong first."""
        return next((each for each in self.timeline if each.bad), None)


def incident_report(instance: dg.DagsterInstance, run_id: str) -> IncidentReport:
    """The story of a run, by its id or the beginning of it. Raises ``SettingsError`` when there is no such run."""
    run = _find(instance, run_id)
    timeline: list[TimelineEvent] = []
    wanted: set[dg.AssetKey] = set()
    made: set[dg.AssetKey] = set()
    failed: set[str] = set()
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        moment = datetime.fromtimestamp(entry.timestamp, UTC)
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED and event.asset_key is not None:
            wanted.add(event.asset_key)
        if event.is_step_materialization and event.asset_key is not None:
            made.add(event.asset_key)
        if event.is_step_failure and event.step_key:
            failed.add(event.step_key)
        said = _said(event)
        if said:
            timeline.append(TimelineEvent(moment, *said))
    return IncidentReport(
        run.run_id,
        run.status.value,
        _launched_by(run),
        timeline,
        [_affected(instance, key, failed) for key in sorted(wanted - made)],
    )


def _find(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    found = instance.get_run_by_id(run_id)
    if found is not None:
        return found
    alike = [run for run in instance.get_runs(limit=5_000) if run.run_id.startswith(run_id)] if run_id else []
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise SettingsError(f"run {run_id}: {len(alike)} runs begin so; give more of the id")
    raise SettingsError(f"run {run_id}: Dagster's history has no such run; its web page lists them all")


def _said(event: dg.DagsterEvent) -> tuple[str, bool] | None:
    """What an event means for the report, and whether something went wrong; None when it does not matter."""
    kind = event.event_type
    if kind == dg.DagsterEventType.RUN_START:
        return "the run started", False
    if kind == dg.DagsterEventType.RUN_SUCCESS:
        return "the run succeeded", False
    if kind == dg.DagsterEventType.RUN_FAILURE:
        return "the run failed", False
    if kind == dg.DagsterEventType.RUN_CANCELED:
        return "the run was ended by somebody", True
    if kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return _check(event.asset_check_evaluation_data)
    if kind == dg.DagsterEventType.STEP_RESTARTED and event.step_key:
        return f"{_table(event.step_key)} was tried again", False
    if kind == dg.DagsterEventType.STEP_FAILURE and event.step_key:
        return _failure(event)
    if event.is_resource_init_failure:
        return f"the run could not begin: {_why_not_begun(event)}", True
    return None


def _check(evaluation: dg.AssetCheckEvaluation) -> tuple[str, bool] | None:
    if evaluation.passed:
        return None
    kind = "check" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warning of check"
    said = f"{evaluation.asset_key.to_user_string()}: {kind} {evaluation.check_name}: {evaluation.description}"
    return said, evaluation.severity == dg.AssetCheckSeverity.ERROR


def _failure(event: dg.DagsterEvent) -> tuple[str, bool] | None:
    failure: Any = event.step_failure_data
    if failure.error is not None and failure.error.cls_name == CHECK_FAILED:
        return None  # reported as its check
    return f"{_table(event.step_key or '')} failed: {reason_of(failure)}", True


def _why_not_begun(event: dg.DagsterEvent) -> str:
    error = event.engine_event_data.error
    return innermost(error) if error is not None else "a resource failed"


def failed_attempts(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> dict[dg.AssetKey, str]:
    """Tables whose latest run raised before it made them, and why; not those that a check refused, nor those that
    were found up to date since.
    """
    tried: dict[str, list[dg.AssetKey]] = {}
    settled = settled_attempts(instance)
    for key, run_id in _missed(instance, keys).items():
        if settled.get(key) != run_id:
            tried.setdefault(run_id, []).append(key)
    if not tried:
        return {}
    failed = dg.RunsFilter(run_ids=list(tried), statuses=[dg.DagsterRunStatus.FAILURE])
    found: dict[dg.AssetKey, str] = {}
    for run in instance.get_runs(failed):
        reasons = _reasons(instance, run.run_id)
        whole_run = reasons.get("", "" if reasons else "the run ended before its first step")
        why = {key: reasons.get("__".join(key.path), whole_run) for key in tried[run.run_id]}
        found |= {key: reason for key, reason in why.items() if reason}
    return found


def _missed(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> dict[dg.AssetKey, str]:
    """The latest run of each table that did not make it."""
    entries = [record.asset_entry for record in instance.get_asset_records(keys)]
    made = {each.asset_key: each.last_materialization.run_id for each in entries if each.last_materialization}
    tried = {each.asset_key: each.last_run_id for each in entries if each.last_run_id}
    return {key: run_id for key, run_id in tried.items() if run_id != made.get(key)}


def settle(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> None:
    """These tables are up to date as they are: that their latest run did not make them is no failure any more."""
    if not (missed := _missed(instance, keys)):
        return
    over = dg.RunsFilter(run_ids=[*{*missed.values()}], statuses=[dg.DagsterRunStatus.FAILURE])
    failed = {run.run_id for run in instance.get_runs(over)}
    settled = {key.to_string(): run_id for key, run_id in missed.items() if run_id in failed}
    if settled:
        instance.daemon_cursor_storage.set_cursor_values({SETTLED: json.dumps(settled)})


def settled_attempts(instance: dg.DagsterInstance) -> dict[dg.AssetKey, str]:
    """By table, the run that did not make it, where it was found up to date since."""
    found = json.loads(instance.daemon_cursor_storage.get_cursor_values({SETTLED}).get(SETTLED, "{}"))
    return {key: run_id for text, run_id in found.items() if (key := dg.AssetKey.from_db_string(text)) is not None}


def _reasons(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    """Why steps failed, by step; ``""`` for the whole run. Empty texts for those that a check refused."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RESOURCE_INIT_FAILURE}
    found: dict[str, str] = {}
    for entry in instance.all_logs(run_id, of_type=kinds):
        event: Any = entry.dagster_event
        if event.is_resource_init_failure:
            found[""] = _why_not_begun(event)
        elif event.step_failure_data.error is not None and event.step_failure_data.error.cls_name == CHECK_FAILED:
            found[event.step_key] = ""
        else:
            found[event.step_key] = reason_of(event.step_failure_data)
    return found


def _table(step_key: str) -> str:
    return step_key.replace("__", "/")


def _launched_by(run: dg.DagsterRun) -> str:
    for tag, kind in (("dagster/sensor_name", "sensor"), ("dagster/schedule_name", "schedule")):
        if tag in run.tags:
            changed = run.tags.get("classic_cars/changed")
            return f"{kind} {run.tags[tag]}" + (f" ({changed})" if changed else "")
    return "a person"


def _affected(instance: dg.DagsterInstance, key: dg.AssetKey, failed: set[str]) -> Affected:
    how = "failed" if "__".join(key.path) in failed else "not made"
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        return Affected(key.to_user_string(), how)
    rows: Any = event.asset_materialization.metadata.get("dagster/row_count")
    return Affected(
        key.to_user_string(),
        how,
        datetime.fromtimestamp(event.timestamp, UTC),
        event.run_id,
        int(rows.value) if rows is not None else None,
    )
