"""What the platform holds and how it is: rows, last materializations, last check results, per table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from classic_cars.contracts.base import Contract
from classic_cars.stores.base import Store
from classic_cars.tables.audit import concerns


@dataclass(frozen=True)
class TableStatus:
    """One table as it is now. ``rows`` is None when it was never published, ``checks`` maps name to passed."""

    address: str
    rows: int | None
    materialized: datetime | None
    checks: dict[str, bool]

    @property
    def failed(self) -> list[str]:
        return [name for name, passed in self.checks.items() if not passed]


def table_statuses(contracts: Iterable[Contract], store: Store, instance: dg.DagsterInstance) -> list[TableStatus]:
    """The status of every table of ``contracts``, in order. Reads the store once and the event log's index."""
    contracts = list(contracts)
    rows = store.row_counts()
    records = {record.asset_entry.asset_key: record for record in instance.get_asset_records(_keys(contracts))}
    checks = latest_checks(contracts, instance)
    statuses = []
    for contract in contracts:
        record = records.get(_key(contract))
        entry = record.asset_entry.last_materialization if record else None
        moment = datetime.fromtimestamp(entry.timestamp, UTC) if entry else None
        statuses.append(
            TableStatus(contract.address, rows.get(contract.address), moment, checks.get(contract.address, {}))
        )
    return statuses


def latest_checks(contracts: Iterable[Contract], instance: dg.DagsterInstance) -> dict[str, dict[str, bool]]:
    """Per address, each check's latest outcome; checks that never ran, or whose last run did not come to
    them, are left out."""
    keys = {
        dg.AssetCheckKey(_key(contract), name): contract.address
        for contract in contracts
        for name in concerns(contract)
    }
    found: dict[str, dict[str, bool]] = {}
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    for key, record in latest.items():
        evaluation = record.evaluation
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            found.setdefault(keys[key], {})[key.name] = evaluation.passed
    return found


def _key(contract: Contract) -> dg.AssetKey:
    return dg.AssetKey([contract.layer, contract.name])


def _keys(contracts: Iterable[Contract]) -> list[dg.AssetKey]:
    return [_key(contract) for contract in contracts]
