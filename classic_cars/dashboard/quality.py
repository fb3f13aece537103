"""Data quality as Dagster's history has it: every table with its checks, now and over time. The store is not opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import dagster as dg

from classic_cars.assets import ALL_TABLES
from classic_cars.checks import KINDS
from classic_cars.instance import open_instance
from classic_cars.serving.incident import failed_attempts
from classic_cars.serving.status import SCHEDULED, Outcome, latest_checks
from classic_cars.settings import Settings

#: Evaluations of each check that are shown over time.
HISTORY = 30
QUARANTINE = "quarantine"


def tables_now(settings: Settings) -> list[dict[str, Any]]:
    """One row per table: rows, freshness, and its checks counted. Nothing where there is no history yet."""
    if not settings.dagster_home.exists():
        return []
    contracts = [each.contract for each in ALL_TABLES]
    keys = {each.address: dg.AssetKey(each.address.split("/")) for each in contracts}
    with open_instance(settings) as instance:
        checks = latest_checks(contracts, instance)
        failures = failed_attempts(instance, [*keys.values()])
        records = {each.asset_entry.asset_key: each for each in instance.get_asset_records([*keys.values()])}
    return [
        _table(address, records.get(key), checks.get(address, {}), failures.get(key, ""))
        for address, key in keys.items()
    ]


def _table(address: str, record: Any, checks: dict[str, Outcome], failure: str) -> dict[str, Any]:
    entry = record.asset_entry.last_materialization if record is not None else None
    facts = entry.asset_materialization.metadata if entry is not None and entry.asset_materialization else {}
    count = facts.get("dagster/row_count")
    by_outcome = {each: sorted(name for name, found in checks.items() if found is each) for each in Outcome}
    return {
        "table": address,
        "rows": count.value if count is not None else None,
        "materialized": datetime.fromtimestamp(entry.timestamp, UTC) if entry is not None else None,
        "passed": len(by_outcome[Outcome.PASSED]),
        "warnings": ", ".join(by_outcome[Outcome.WARNING]),
        "failed": ", ".join([*([failure] if failure else []), *by_outcome[Outcome.FAILED]]),
    }


def over_time(settings: Settings, addresses: Iterable[str]) -> list[dict[str, Any]]:
    """One row per evaluation of every check of the tables, oldest first: when, the outcome, and what it said."""
    if not settings.dagster_home.exists():
        return []
    names = {*(kind.name for kind in KINDS), *SCHEDULED}
    with open_instance(settings) as instance:
        found = [
            {"table": address, "check": name, "when": when, "outcome": outcome, "said": evaluation.description or ""}
            for address in addresses
            for name in sorted(names)
            for when, outcome, evaluation in _evaluations(instance, address, name, HISTORY)
        ]
    return sorted(found, key=lambda each: each["when"])


def quarantined(settings: Settings) -> list[dict[str, Any]]:
    """One row per table and reason of what its quarantine check last found: rows, and the amount of all of them.

    ``reason`` is empty for a table of which nothing is quarantined.
    """
    if not settings.dagster_home.exists():
        return []
    found = []
    with open_instance(settings) as instance:
        for table in ALL_TABLES:
            if table.contract.quarantines:
                for when, _, evaluation in _evaluations(instance, table.contract.address, QUARANTINE, 1):
                    found += list(_reasons(table.contract.address, when, evaluation))
    return found


def _reasons(address: str, when: datetime, evaluation: dg.AssetCheckEvaluation) -> Iterator[dict[str, Any]]:
    facts = evaluation.metadata
    amount = _value(facts.get("amount quarantined, exact"))
    whole = {"table": address, "reason": "", "rows": _value(facts.get("rows quarantined")) or 0}
    yield whole | {"amount": Decimal(amount.replace(",", "")) if amount is not None else None, "when": when}
    reasons = facts.get("reasons")
    for record in reasons.records if isinstance(reasons, dg.TableMetadataValue) else ():
        yield {"table": address, "when": when, "amount": None, **record.data}


def _evaluations(
    instance: dg.DagsterInstance, address: str, name: str, limit: int
) -> Iterator[tuple[datetime, Outcome, dg.AssetCheckEvaluation]]:
    key = dg.AssetCheckKey(dg.AssetKey(address.split("/")), name)
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=limit):
        evaluation = record.evaluation
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            bad = Outcome.WARNING if evaluation.severity == dg.AssetCheckSeverity.WARN else Outcome.FAILED
            when = datetime.fromtimestamp(record.create_timestamp, UTC)
            yield when, Outcome.PASSED if evaluation.passed else bad, evaluation


def _value(fact: Any) -> Any:
    return None if fact is None else fact.value


def dagster_link(web_url: str, address: str, check: str = "") -> str:
    """Where Dagster's own page shows a table, or one of its checks."""
    view = f"?view=checks&checkDetail={quote(check)}" if check else "?view=checks"
    return f"{web_url.rstrip('/')}/assets/{address}{view}"
