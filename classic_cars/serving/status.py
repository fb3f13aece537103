"""What the platform holds and how it is: rows, last materializations, last check results, per table."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import dagster as dg

from classic_cars.checks import KINDS
from classic_cars.contracts.base import Contract
from classic_cars.serving.incident import failed_attempts
from classic_cars.stores.base import Store
from classic_cars.tables import live_agreement, recomputation
from classic_cars.tables.events import FAILED, PASSED

#: Checks that are evaluated on a schedule of their own, beside those that a table's contract has.
SCHEDULED = (live_agreement.CHECK.name, recomputation.NAME)


class Outcome(StrEnum):
    """How a check ended: one that did not pass has failed when it blocks its table, and is a warning otherwise."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class TableStatus:
    """One table as it is now. ``rows`` is None when it was never published; ``checks``: latest outcomes, by name."""

    address: str
    rows: int | None
    materialized: datetime | None
    checks: dict[str, Outcome]
    #: Why the latest attempt to make it failed, where no check says it; the rows are those of the version before.
    failure: str = ""

    @property
    def failed(self) -> list[str]:
        return self._that(Outcome.FAILED)

    @property
    def warnings(self) -> list[str]:
        return self._that(Outcome.WARNING)

    @property
    def passed(self) -> list[str]:
        return self._that(Outcome.PASSED)

    def _that(self, outcome: Outcome) -> list[str]:
        return [name for name, each in self.checks.items() if each is outcome]


def table_statuses(contracts: Iterable[Contract], store: Store, instance: dg.DagsterInstance) -> list[TableStatus]:
    """The status of every table of ``contracts``, in order. Reads the store once and the event log's index."""
    contracts = list(contracts)
    rows = store.row_counts()
    records = {record.asset_entry.asset_key: record for record in instance.get_asset_records(_keys(contracts))}
    checks, failures = latest_checks(contracts, instance), failed_attempts(instance, _keys(contracts))
    statuses = []
    for contract in contracts:
        record = records.get(_key(contract))
        entry = record.asset_entry.last_materialization if record else None
        moment = datetime.fromtimestamp(entry.timestamp, UTC) if entry else None
        statuses.append(
            TableStatus(
                contract.address,
                rows.get(contract.address),
                moment,
                checks.get(contract.address, {}),
                failures.get(_key(contract), ""),
            )
        )
    return statuses


def latest_checks(contracts: Collection[Contract], instance: dg.DagsterInstance) -> dict[str, dict[str, Outcome]]:
    """Per address, each check's latest outcome, which stands until there is another one: a run that did not come to
    the check takes nothing back. Checks that never ran are left out."""
    addresses = {_key(contract): contract.address for contract in contracts}
    # Every kind of check for every table: those that a table does not have have no evaluations.
    names = {*(kind.name for kind in KINDS), *SCHEDULED}
    keys = {dg.AssetCheckKey(key, name): address for key, address in addresses.items() for name in names}
    found: dict[str, dict[str, Outcome]] = {}
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    for key, record in latest.items():
        evaluation = record.evaluation
        if not isinstance(evaluation, dg.AssetCheckEvaluation):
            evaluation = _evaluation(instance, key)
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            found.setdefault(keys[key], {})[key.name] = _outcome(evaluation)
    return found


def _evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> Any:
    """The latest one, of a check that is about to be evaluated, or was to be in a run that ended before."""
    history = instance.event_log_storage.get_asset_check_execution_history
    return next((each.evaluation for each in history(key, limit=1, status=PASSED | FAILED)), None)


def _outcome(evaluation: dg.AssetCheckEvaluation) -> Outcome:
    if evaluation.passed:
        return Outcome.PASSED
    return Outcome.WARNING if evaluation.severity == dg.AssetCheckSeverity.WARN else Outcome.FAILED


def _key(contract: Contract) -> dg.AssetKey:
    return dg.AssetKey([contract.layer, contract.name])


def _keys(contracts: Iterable[Contract]) -> list[dg.AssetKey]:
    return [_key(contract) for contract in contracts]
