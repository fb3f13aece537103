"""What is wrong now, read from Dagster's history: checks, runs, freshness, sensors and schedules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import dagster as dg

from classic_cars.automation.alerts.incidents import Incident, Observation
from classic_cars.automation.refusals import refused_months
from classic_cars.automation.staleness import recorded, stale_parts
from classic_cars.automation.stopped import NOTICED_BY
from classic_cars.serving.incident import settled_attempts
from classic_cars.serving.release_asset import CHECK as TABLES_AGREE
from classic_cars.tables.failures import CHECK_FAILED

#: How keys of incidents of checks begin.
CHECKS = "check:"
#: A sensor or schedule is failing when so many ticks in a row failed.
TICKS = 3
#: A sensor that says in its cursor since when it cannot work is failing after so many seconds.
DEBOUNCE_SECONDS = 20.0


def observe(
    instance: dg.DagsterInstance,
    specs: Iterable[dg.AssetSpec],
    checks: Iterable[dg.AssetCheckKey],
    jobs: Iterable[str],
    moment: float,
) -> Observation:
    """Everything that is wrong at this moment. A handful of queries, however long the history is."""
    owners = {spec.key: tuple(spec.owners) for spec in specs}
    found_checks = failed_checks(instance, checks, owners)
    runs = failed_runs(instance, owners, jobs)
    return Observation(
        [
            *found_checks.incidents,
            *runs.incidents,
            *stale_tables(instance, owners),
            *failing_ticks(instance),
            *sensors_that_cannot_work(instance, moment),
        ],
        found_checks.unknown | runs.unknown,
    )


def failed_checks(
    instance: dg.DagsterInstance,
    checks: Iterable[dg.AssetCheckKey],
    owners: Mapping[dg.AssetKey, tuple[str, ...]],
) -> Observation:
    """Checks whose latest evaluation failed; in runs that succeeded as well."""
    incidents, unknown = [], set()
    for key, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks)).items():
        table = key.asset_key.to_user_string()
        name = f"{CHECKS}{table}/{key.name}"
        evaluation = record.evaluation
        if not isinstance(evaluation, dg.AssetCheckEvaluation):
            unknown.add(name)  # planned, under way, or its run never came to it
            continue
        if evaluation.passed or (key == TABLES_AGREE and evaluation.severity == dg.AssetCheckSeverity.WARN):
            continue  # what keeps tables from agreeing has an incident of its own, or is under way
        incidents.append(
            Incident(
                key=name,
                kind="source" if NOTICED_BY in evaluation.metadata else "check",
                what=f"{table}: {_failure(key.name, evaluation)}",
                since=record.create_timestamp,
                severity=evaluation.severity.value,
                owners=owners.get(key.asset_key, ()),
                run_id=record.run_id,
                numbers=_numbers(evaluation.metadata),
                details=evaluation.description or "",
            )
        )
    return Observation(incidents, frozenset(unknown))


def unfinished(instance: dg.DagsterInstance, graph: Any, keys: Iterable[str]) -> frozenset[str]:
    """Those of these incidents' keys that are not over, though the latest evaluation or run of their table passed.

    It was of other months than the one that was refused, or failed, and that waits to be made again.
    """
    tables = {key: _table_of(key) for key in keys}
    if not any(tables.values()):
        return frozenset()  # nearly always: the record is worth its queries only then
    record = recorded(instance, graph)
    # A month that a run made along with others, and that has what it should have, is no matter of theirs.
    as_made, found = replace(record, failed={}), set()
    refused = cache(lambda check: refused_months(instance, graph, record, check))
    for key, table in tables.items():
        if not table:
            continue
        if key.startswith(CHECKS):
            waiting = {*refused(key.rpartition("/")[2]).get(table, ())}
        else:
            waiting = {*record.failed.get(table, ())}.difference(refused("").get(table, ()))
        if waiting and stale_parts(as_made, table) & waiting:
            found.add(key)
    return frozenset(found)


def _table_of(key: str) -> str:
    kind, _, name = key.partition(":")
    return name.rpartition("/")[0] if kind == "check" else name if kind == "run" else ""


def _failure(name: str, evaluation: dg.AssetCheckEvaluation) -> str:
    """``schema changed`` where the order system's sensor noticed it; of all other checks, which one failed."""
    if NOTICED_BY in evaluation.metadata:
        return (evaluation.description or "").partition(":")[0]
    return f"check {name} failed"


def _numbers(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Counts of a check's metadata; text could quote somebody."""
    values = {name: getattr(each, "value", None) for name, each in metadata.items()}
    return {name: value for name, value in values.items() if isinstance(value, int | float) and value is not None}


def failed_runs(
    instance: dg.DagsterInstance, owners: Mapping[dg.AssetKey, tuple[str, ...]], jobs: Iterable[str]
) -> Observation:
    """Tables whose latest run raised, one incident for those of one run, and jobs without tables that failed.

    Not tables that were found up to date since: that is over.
    """
    latest: dict[str, list[dg.AssetKey]] = {}
    settled = settled_attempts(instance)
    for entry in (record.asset_entry for record in instance.get_asset_records(list(owners))):
        if entry.last_run_id and entry.last_run_id != settled.get(entry.asset_key):
            latest.setdefault(entry.last_run_id, []).append(entry.asset_key)
    runs = instance.get_run_records(dg.RunsFilter(run_ids=list(latest))) if latest else []
    incidents, unknown = [], set()
    for found in runs:
        run, keys = found.dagster_run, latest[found.dagster_run.run_id]
        if not run.is_finished:
            unknown |= {_run_key(key) for key in keys}
        if run.status != dg.DagsterRunStatus.FAILURE:
            continue
        raised, refused = _failed_steps(instance, run.run_id)
        failed = sorted(key for key in keys if _step(key) in raised)
        if not failed and not raised and not refused:
            failed = sorted(keys)  # it broke before its first step, or its process died
        if failed:
            incidents.append(_run_incident(found, failed, owners))
    for job in jobs:
        incidents += _failed_job(instance, job)
    return Observation(incidents, frozenset(unknown))


def _run_incident(record: Any, failed: list[dg.AssetKey], owners: Mapping[dg.AssetKey, tuple[str, ...]]) -> Incident:
    names = ", ".join(key.to_user_string() for key in failed[:5]) + (", ..." if len(failed) > 5 else "")
    return Incident(
        key=_run_key(failed[0]),
        kind="run",
        what=f"run failed: {names}" if len(failed) == 1 else f"run failed: {len(failed)} tables ({names})",
        since=record.end_time or record.start_time or record.create_timestamp.timestamp(),
        owners=tuple(sorted({owner for key in failed for owner in owners.get(key, ())})),
        run_id=record.dagster_run.run_id,
        details="The tables keep their previous version.",
    )


def _run_key(key: dg.AssetKey) -> str:
    return f"run:{key.to_user_string()}"


def _step(key: dg.AssetKey) -> str:
    return "__".join(key.path)


def _failed_steps(instance: dg.DagsterInstance, run_id: str) -> tuple[set[str], set[str]]:
    """Steps of a run that raised, and those that a failed check ended: they are reported as checks."""
    raised: set[str] = set()
    refused: set[str] = set()
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records:
        event: Any = record.event_log_entry.dagster_event
        error = event.step_failure_data.error
        names = {each.cls_name for each in (error, error.cause if error else None) if each}
        (refused if CHECK_FAILED in names else raised).add(event.step_key)
    return raised, refused


def _failed_job(instance: dg.DagsterInstance, job: str) -> list[Incident]:
    finished = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    for record in instance.get_run_records(dg.RunsFilter(job_name=job, statuses=finished), limit=1):
        if record.dagster_run.status == dg.DagsterRunStatus.FAILURE:
            since = record.end_time or record.create_timestamp.timestamp()
            return [Incident(f"run:{job}", "run", f"job {job} failed", since, run_id=record.dagster_run.run_id)]
    return []


def stale_tables(instance: dg.DagsterInstance, owners: Mapping[dg.AssetKey, tuple[str, ...]]) -> list[Incident]:
    """Tables that are older than their freshness policy allows."""
    return [
        Incident(
            key=f"stale:{key.to_user_string()}",
            kind="stale",
            what=f"{key.to_user_string()} is stale",
            since=record.updated_at.timestamp(),
            severity="ERROR" if record.freshness_state.value == "FAIL" else "WARN",
            owners=owners.get(key, ()),
            details="It was not rebuilt in time, so what analysts read is old.",
        )
        for key, record in instance.get_freshness_state_records(list(owners)).items()
        if record.freshness_state.value in ("FAIL", "WARN")
    ]


def failing_ticks(instance: dg.DagsterInstance) -> list[Incident]:
    """Sensors and schedules whose latest ticks all failed."""
    incidents = []
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=TICKS)
        if len(ticks) == TICKS and all(tick.status.value == "FAILURE" for tick in ticks):
            kind = state.instigator_type.value.lower()
            incidents.append(
                Incident(
                    key=f"{kind}:{state.instigator_name}",
                    kind="sensor",
                    what=f"{kind} {state.instigator_name} keeps failing",
                    since=min(tick.timestamp for tick in ticks),
                    numbers={"ticks in a row, at least": TICKS},
                )
            )
    return incidents


def sensors_that_cannot_work(instance: dg.DagsterInstance, moment: float) -> list[Incident]:
    """Sensors of ours that say in their cursor since when they cannot do their work."""
    incidents = []
    for state in instance.all_instigator_state():
        since, trouble, cause = _trouble(getattr(state.instigator_data, "cursor", None))
        if since and moment - since > DEBOUNCE_SECONDS:
            incidents.append(
                Incident(
                    key=f"sensor:{state.instigator_name}",
                    kind="source",
                    what=trouble or f"sensor {state.instigator_name} cannot work",
                    since=since,
                    details=f"{cause}. Nothing new is read until it is over; what was published stays.".lstrip(". "),
                )
            )
    return incidents


def _trouble(cursor: str | None) -> tuple[float, str, str]:
    """Since when a sensor's cursor says that it cannot work, what is wrong, and why."""
    try:
        found = json.loads(cursor or "{}")
        return float(found.get("failing_since") or 0.0), str(found.get("trouble", "")), str(found.get("cause", ""))
    except (ValueError, AttributeError, TypeError):
        return 0.0, "", ""
