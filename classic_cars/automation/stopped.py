"""Tables of the order system that cannot be read, reported by its sensor as the check ``schema`` of ``source/*``.

It fails without a run, as soon as a column is gone, and so holds up the tables downstream of it, and nothing else
(:mod:`classic_cars.automation.follow`); it passes as soon as the table can be read again. What was reported is looked
up in Dagster's history, so that neither a lost cursor nor a failed run leaves it wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from classic_cars.errors import SourceError

CHECK = "schema"
#: Metadata of the sensor's evaluations, and of no others.
NOTICED_BY = "noticed by"


def evaluations(
    instance: dg.DagsterInstance, tables: Iterable[str], unreadable: Mapping[str, SourceError]
) -> list[dg.AssetCheckEvaluation]:
    """What Dagster does not know yet: tables that stop now or for another reason, and those that can be read again."""
    keys = {table: dg.AssetCheckKey(dg.AssetKey(["source", table]), CHECK) for table in tables}
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys.values()))
    found = []
    for table, key in keys.items():
        error = unreadable.get(table)
        wanted = None if error is None else described(error)
        if wanted != _reported(latest.get(key)):
            found.append(_evaluation(key, wanted))
    return found


def _reported(record: Any) -> str | None:
    """Why the table is stopped, as the sensor reported; None when it did not, or a run was asked for since."""
    known = record.evaluation if record is not None else None
    if not isinstance(known, dg.AssetCheckEvaluation) or known.passed or NOTICED_BY not in known.metadata:
        return None
    return known.description


def described(error: SourceError) -> str:
    return f"{error.title}: {error}"


def _evaluation(key: dg.AssetCheckKey, reason: str | None) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        check_name=key.name,
        asset_key=key.asset_key,
        passed=reason is None,
        severity=dg.AssetCheckSeverity.ERROR,
        blocking=True,
        description=reason or "the table can be read again",
        metadata={NOTICED_BY: "the sensor order_system_changes"},
    )


def noted(unreadable: Mapping[str, SourceError]) -> str:
    """For the tick: which tables are stopped, and why."""
    return "; ".join(f"{table} and all tables downstream stopped, {described(e)}" for table, e in unreadable.items())
