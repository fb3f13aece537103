"""Two ways to the same numbers: reconciliations of contracts, and that no row is lost between source and staging."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from inspect import signature
from typing import Any

import ibis

from classic_cars.checks.base import Audit, CheckOutcome, plain_row
from classic_cars.checks.columns import profiles
from classic_cars.checks.profiles import ROWS, TOTAL
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import Origins
from classic_cars.contracts.vocabulary import Reconciliation

CONTROL_TOTAL = "decimal(38, 4)"
#: Groups that a failed check shows.
SHOWN = 5
#: What may be the reason, when nothing is wrong with the function.
OLDER = "if prices or source tables changed since the facts were made, run all months: classic-cars run"


class Reconciliations:
    """What the contract says must agree with other tables, group by group, to the cent."""

    name = "reconciliation"

    def applies(self, contract: Contract, origins: Origins) -> bool:  # noqa: ARG002
        return bool(contract.reconciliations)

    def describe(self, contract: Contract, origins: Origins) -> str:  # noqa: ARG002
        named = "; ".join(
            each.name + (f" (assumes: {each.assumes})" if each.assumes else "") for each in contract.reconciliations
        )
        return f"Two ways to the same numbers agree, to the cent: {named}"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        def rows(function: Callable[..., ibis.Table], skip: int) -> list[ibis.Table]:
            return [audit.tables[audit.address_of(name)] for name in list(signature(function).parameters)[skip:]]

        outcomes = {}
        for each in audit.contract.reconciliations:
            actual = each.actual(audit.rows, *rows(each.actual, 1))
            outcomes[each.name] = reconcile(each, actual, each.expected(*rows(each.expected, 0)))
        found = verdict(self.name, outcomes)
        if found.passed or not any(each.assumes for each in audit.contract.reconciliations):
            return found
        return replace(found, summary=f"{found.summary}; {OLDER}")


class Conservation:
    """Source rows = staging rows + quarantined rows (+ superseded ones), and so are their sums; by month if any."""

    name = "reconciliation"

    def applies(self, contract: Contract, origins: Origins) -> bool:  # noqa: ARG002
        return bool(contract.quarantines)

    def describe(self, contract: Contract, origins: Origins) -> str:  # noqa: ARG002
        parts = [contract.address, contract.quarantine.address, *(["superseded rows"] if contract.latest else [])]
        return f"{contract.quarantines} = {' + '.join(parts)}"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        here, there = profiles(audit)
        names = [ROWS, *(f"{TOTAL}{name}" for name in audit.contract.totals)]
        wrong = [
            month
            for month in sorted({*here, *there}, key=str)
            if any(here.get(month, {}).get(name, 0) != there.get(month, {}).get(name, 0) for name in names)
        ]
        facts: dict[str, Any] = {"groups": len({*here, *there}), "groups that differ": len(wrong), "totals": {}}
        for name in names:
            for label, side in (("actual", here), ("expected", there)):
                facts["totals"][f"{label} {name.removeprefix(TOTAL)}"] = sum(
                    each.get(name, 0) for each in side.values()
                )
        if wrong:
            facts["first differences"] = [f"{month:%Y-%m}" if month else "in all" for month in wrong[:SHOWN]]
        kind = "by month" if audit.contract.partitioned_by else "in all"
        return verdict(self.name, {kind: (not wrong, facts)})


def compare(actual: ibis.Table, expected: ibis.Table, by: tuple[str, ...]) -> ibis.Table:
    """One row per group: each measure of both sides, as ``actual <measure>`` and ``expected <measure>``.

    Groups that only one side has are there too, with NULL for the other; NULL is a group like any other.
    """
    measures = [name for name in actual.columns if name not in by]
    sides = [
        side.select(
            *by,
            ibis.literal(label).name("side"),
            **{name: side[name].cast(CONTROL_TOTAL) for name in measures},
        )
        for label, side in (("actual", actual), ("expected", expected))
    ]
    both = ibis.union(*sides)
    return both.group_by(list(by)).aggregate(
        **{
            f"{label} {name}": both[name].sum(where=both.side == label)
            for name in measures
            for label in ("actual", "expected")
        }
    )


def reconcile(reconciliation: Reconciliation, actual: ibis.Table, expected: ibis.Table) -> tuple[bool, dict[str, Any]]:
    """Whether both sides agree in every group, and the facts: groups, differences and the first few of them.

    Compared in the engine, whatever the number of groups.
    """
    by = reconciliation.by
    compared = compare(actual, expected, by)
    measures = [name.removeprefix("actual ") for name in compared.columns if name.startswith("actual ")]
    differs = ibis.or_(
        *(compared[f"actual {name}"].fill_null(0) != compared[f"expected {name}"].fill_null(0) for name in measures)
    )
    sides = [f"{label} {name}" for name in measures for label in ("actual", "expected")]
    (found,) = (
        compared.aggregate(
            groups=compared.count(), wrong=differs.sum(), **{name: compared[name].sum() for name in sides}
        )
        .to_pyarrow()
        .to_pylist()
    )
    wrong = int(found["wrong"] or 0)
    facts: dict[str, Any] = {
        "groups": found["groups"],
        "groups that differ": wrong,
        "totals": {name: found[name] or Decimal(0) for name in sides},
    }
    if wrong:
        shown = compared.filter(differs).order_by(list(by)).limit(SHOWN)
        facts["first differences"] = [plain_row(row) for row in shown.to_pyarrow().to_pylist()]
    return not wrong, facts


def verdict(check: str, outcomes: Mapping[str, tuple[bool, dict[str, Any]]]) -> CheckOutcome:
    """One verdict over all reconciliations of a table, by name."""
    failed = [name for name, (passed, _) in outcomes.items() if not passed]
    summary = f"agrees {', '.join(outcomes)}, to the cent"
    if failed:
        summary = "does not agree " + ", ".join(
            f"{name} ({outcomes[name][1]['groups that differ']} of {outcomes[name][1]['groups']} groups differ)"
            for name in failed
        )
    return CheckOutcome(check, not failed, summary, {name: facts for name, (_, facts) in outcomes.items()})
