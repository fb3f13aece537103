"""What Dagster keeps of runs that it deletes, and of what no run did: all of it would grow for ever.

The latest of each kind stays, as the pages and the sensors ask for it: of each check, its months and its outcomes, and
of each table that is observed and its months.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from dagster import DagsterEventType, DagsterInstance

#: Tables of Dagster's event log, as far as they are asked here.
CHECKS = sa.table(
    "asset_check_executions",
    *map(sa.column, ("id", "run_id", "asset_key", "check_name", "partition", "execution_status")),
)
EVENTS = sa.table(
    "event_logs",
    *map(sa.column, ("id", "run_id", "dagster_event_type", "asset_key", "partition")),
    sa.column("timestamp", sa.DateTime()),
)
TAGS = sa.table("asset_event_tags", sa.column("event_id"))
#: An observation that no run made.
OF_NO_RUN = (EVENTS.c.run_id == "") & (EVENTS.c.dagster_event_type == DagsterEventType.ASSET_OBSERVATION.value)


def delete_run(instance: DagsterInstance, run_id: str) -> None:
    """Delete a run with its events and with what its steps printed."""
    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])


def delete_checks(instance: DagsterInstance, run_ids: Sequence[str]) -> None:
    """Delete what checks found in these runs, where a later run has found something."""
    found = CHECKS.c
    latest = _latest(CHECKS, found.asset_key, found.check_name, found.partition, found.execution_status)
    _execute(instance, sa.delete(CHECKS).where(found.run_id.in_(run_ids), found.id.not_in(latest)))


def delete_observations(instance: DagsterInstance, before: datetime) -> int:
    """Delete observations that no run made and that are older, where there is a later one; their number."""
    latest = _latest(EVENTS, EVENTS.c.asset_key, EVENTS.c.partition, where=OF_NO_RUN)
    moment = before.astimezone(UTC).replace(tzinfo=None)
    old = sa.select(EVENTS.c.id).where(OF_NO_RUN, EVENTS.c.timestamp < moment, EVENTS.c.id.not_in(latest))
    old = sa.select(old.subquery().c.id)
    _execute(instance, sa.delete(TAGS).where(TAGS.c.event_id.in_(old)))
    return _execute(instance, sa.delete(EVENTS).where(EVENTS.c.id.in_(old)))


def _latest(table: Any, *by: Any, where: Any = None) -> sa.Select:
    """The numbers of the last rows, of each of these."""
    latest = sa.select(sa.func.max(table.c.id).label("id")).group_by(*by)
    return sa.select((latest if where is None else latest.where(where)).subquery().c.id)


def _execute(instance: DagsterInstance, statement: sa.Delete) -> int:
    log: Any = instance.event_log_storage  # each of Dagster's own is in a database
    with log.index_connection() as connection:
        return connection.execute(statement).rowcount
