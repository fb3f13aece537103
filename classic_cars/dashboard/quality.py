"""Data quality as Dagster's history has it: every table with its checks, now and over time. The store is not opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import dagster as dg

from classic_cars.assets import ALL_TABLES
from classic_cars.checks import KINDS
from classic_cars.checks.quarantine import REASONS, UNKNOWN
from classic_cars.instance import open_instance
from classic_cars.serving.incident import failed_attempts
from classic_cars.serving.status import SCHEDULED, Outcome, latest_checks
from classic_cars.settings import Settings
from classic_cars.tables.events import asset_key

#: Evaluations of each check that are shown over time.
HISTORY = 30
QUARANTINE = "quarantine"


def tables_now(settings: Settings) -> list[dict[str, Any]]:
    """One row per table: rows, freshness, and its checks counted. Nothing where there is no history yet."""
    if not settings.dagster_home.exists():
        return []
    contracts = [each.contract for each in ALL_TABLES]
    keys = {each.address: asset_key(each.address) for each in contracts}
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
    """One row per table and reason of what its quarantine check last found, those with most rows first.

    ``amount`` is None where the table has no money or none can be read, ``unknown`` counts rows whose amount cannot be
    read, and ``kept`` says whether they are kept out of the published version or refused with a newer one. A table of
    which nothing is quarantined has one row, without a reason.
    """
    if not settings.dagster_home.exists():
        return []
    found: list[dict[str, Any]] = []
    with open_instance(settings) as instance:
        for table in ALL_TABLES:
            if table.contract.quarantines:
                found += quarantined_of(instance, table.contract.address)
    return sorted(found, key=lambda each: -each["rows"])


def quarantined_of(instance: dg.DagsterInstance, address: str) -> Iterator[dict[str, Any]]:
    """Of one table: the latest evaluation; where that refused a version, also of the latest that did not."""
    for at, (when, outcome, evaluation) in enumerate(_evaluations(instance, address, QUARANTINE, HISTORY)):
        kept = outcome is not Outcome.FAILED
        if at and not kept:
            continue
        whole = {"table": address, "kept": kept, "when": when}
        yield from ({**whole, **each} for each in _reasons(evaluation.metadata))
        if kept:
            return


def _reasons(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    shown = facts.get(REASONS)
    money = "amount kept" in facts
    if not isinstance(shown, dg.TableMetadataValue):
        yield {"reason": "", "rows": 0, "amount": Decimal("0.00") if money else None, "unknown": 0}
        return
    for record in shown.records:
        rows, unknown = record.data["rows"], record.data.get(UNKNOWN) or 0
        amount = Decimal(str(record.data["amount"]).replace(",", "")) if money and unknown != rows else None
        yield {"reason": record.data["reason"], "rows": rows, "amount": amount, "unknown": unknown}


def _evaluations(
    instance: dg.DagsterInstance, address: str, name: str, limit: int
) -> Iterator[tuple[datetime, Outcome, dg.AssetCheckEvaluation]]:
    key = dg.AssetCheckKey(asset_key(address), name)
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=limit):
        evaluation = record.evaluation
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            bad = Outcome.WARNING if evaluation.severity == dg.AssetCheckSeverity.WARN else Outcome.FAILED
            when = datetime.fromtimestamp(record.create_timestamp, UTC)
            yield when, Outcome.PASSED if evaluation.passed else bad, evaluation


def dagster_link(web_url: str, address: str) -> str:
    """Where Dagster's own page shows a table with its checks."""
    return f"{web_url.rstrip('/')}/assets/{address}?view=checks"
