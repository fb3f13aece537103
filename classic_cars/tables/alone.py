"""Checks that are executed by themselves, on the published version: what they may say of a table.

They can find a published version wrong, at any time. They cannot lift the refusal of a newer version, of which they
know nothing: its verdict stands. And when an input was published since, what they find may be that alone, so it does
not block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from classic_cars.checks.base import CheckOutcome
from classic_cars.tables.events import FAILED, PASSED, entries

#: Executions of a check among which that of the refused version is looked for.
LOOKED_AT = 100
#: Ends what is said of a version that was not made again.
STAYS = " (nothing that it is made of, or proven by, has changed since)"


def of_refused(instance: dg.DagsterInstance, key: dg.AssetKey, names: Iterable[str]) -> list[dg.AssetCheckResult]:
    """When the latest run that was to make the table refused it: its verdicts once more; else nothing."""
    entry = entries(instance, [key]).get(key)
    made = entry.last_materialization_record if entry else None
    if entry is None or made is None or entry.last_run_id == made.run_id:
        return []
    found = {name: _evaluation(instance, dg.AssetCheckKey(key, name), entry.last_run_id) for name in names}
    why = f"the latest version, of run {entry.last_run_id}, was not published; readers see an earlier one"
    if None in found.values():  # it never came to the checks, and so refused nothing
        return []
    return [
        dg.AssetCheckResult(
            check_name=name,
            passed=each.passed,
            severity=each.severity,
            description=f"{each.description} ({why}; materialize the table for another verdict)",
            metadata=each.metadata,
        )
        for name, each in found.items()
    ]


def repeated(instance: dg.DagsterInstance, key: dg.AssetKey, names: Iterable[str]) -> list[dg.AssetCheckResult]:
    """That these checks pass, of what was not made again because it passed as it is; the latest facts once more."""
    found = _latest(instance, key, names)
    passed = {name: each.evaluation for name, each in found.items() if getattr(each.evaluation, "passed", False)}
    return [
        dg.AssetCheckResult(
            check_name=name,
            passed=True,
            description=f"{_said(passed.get(name))}{STAYS}",
            metadata=getattr(passed.get(name), "metadata", {}),
        )
        for name in names
    ]


def _said(evaluation: Any) -> str:
    return str(evaluation.description).removesuffix(STAYS) if evaluation is not None else "passed when it was made"


def found_wrong_at(instance: dg.DagsterInstance, key: dg.AssetKey, names: Iterable[str]) -> float:
    """When a check that was executed by itself found the published version wrong (seconds since 1970); 0 if none did.

    That a later version was refused says nothing of the published one.
    """
    entry = entries(instance, [key]).get(key)
    return max(
        (
            record.event.timestamp
            for record in _latest(instance, key, names).values()
            if record.event is not None
            and isinstance(each := record.evaluation, dg.AssetCheckEvaluation)
            and not each.passed
            and each.severity == dg.AssetCheckSeverity.ERROR
            and (entry is None or record.run_id != entry.last_run_id)
        ),
        default=0,
    )


def _latest(instance: dg.DagsterInstance, key: dg.AssetKey, names: Iterable[str]) -> dict[str, Any]:
    """The latest executions that came to a verdict; one that is about to has none."""
    found: dict[str, Any] = {}
    for name in names:
        history = instance.event_log_storage.get_asset_check_execution_history
        for record in history(dg.AssetCheckKey(key, name), limit=1, status=PASSED | FAILED):
            found[name] = record
    return found


def _evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey, run_id: str) -> Any:
    """What the check found in that run; None when the run never came to it. Of a repeated verdict: of its run."""
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=LOOKED_AT):
        if record.run_id == run_id and isinstance(record.evaluation, dg.AssetCheckEvaluation):
            return record.evaluation
    return None


def newer_inputs(instance: dg.DagsterInstance, key: dg.AssetKey, inputs: Iterable[dg.AssetKey]) -> list[str]:
    """The inputs that were published after the table, by address."""
    known = entries(instance, [key, *inputs])
    made = {each: entry.last_materialization_record for each, entry in known.items()}
    own = made.pop(key, None)
    if own is None:
        return []
    return sorted(each.to_user_string() for each, other in made.items() if other and other.storage_id > own.storage_id)


def judged(verdicts: Sequence[CheckOutcome], newer: Sequence[str]) -> list[CheckOutcome]:
    """The verdicts; with newer inputs what would block is a warning that says so."""
    said = f"; {', '.join(newer)} {'was' if len(newer) == 1 else 'were'} published after this version: materialize it"
    return [
        replace(each, warning=True, summary=each.summary + said) if newer and not each.passed else each
        for each in verdicts
    ]
