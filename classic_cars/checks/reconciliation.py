"""Two ways to the same numbers: reconciliations of contracts, and that no row is lost between source and staging."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from inspect import signature
from typing import Any

import ibis

from classic_cars.checks.base import Audit, CheckOutcome, plain
from classic_cars.checks.columns import profiles
from classic_cars.checks.compared import SHOWN, Compared, Group
from classic_cars.checks.hashing import hashed
from classic_cars.checks.profiles import ROWS, TOTAL
from classic_cars.contracts.authoring import written
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import Origins
from classic_cars.contracts.vocabulary import Reconciliation
from classic_cars.wording import counted

CONTROL_TOTAL = "decimal(38, 4)"
#: Rows of a table from which on a cheaper comparison, that mostly suffices, is made first.
MANY = 10_000
#: What may be the reason, when nothing is wrong with the function.
OLDER = "if prices or source tables changed since the facts were made, run all months: classic-cars run"


class Reconciliations:
    """What the contract says must agree with other tables, group by group, to the cent."""

    name = "reconciliation"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return bool(contract.reconciliations)

    def describe(self, contract: Contract, origins: Origins) -> str:
        named = "; ".join(
            each.name + (f" (assumes: {each.assumes})" if each.assumes else "") for each in contract.reconciliations
        )
        return f"Two ways to the same numbers agree, to the cent: {named}"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        def rows(function: Callable[..., ibis.Table], skip: int) -> list[ibis.Table]:
            return [audit.tables[audit.address_of(name)] for name in list(signature(function).parameters)[skip:]]

        outcomes = {}
        for each in audit.contract.reconciliations:
            with written(audit.contract.address, f"reconciliation {each.name!r}"):
                actual = each.actual(audit.rows, *rows(each.actual, 1))
                expected = each.expected(*rows(each.expected, 0))
            same = proven_equal(each, actual, expected) if audit.measured.rows > MANY else None
            outcomes[each.name] = same or reconcile(each, actual, expected)
        found = verdict(self.name, outcomes)
        if found.passed or not any(each.assumes for each in audit.contract.reconciliations):
            return found
        return replace(found, summary=f"{found.summary}; {OLDER}")


class Conservation:
    """Source rows = staging rows + quarantined rows (+ superseded ones), and so are their sums; by month if any."""

    name = "reconciliation"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return bool(contract.quarantines)

    def describe(self, contract: Contract, origins: Origins) -> str:
        parts = [contract.address, contract.quarantine.address, *(["superseded rows"] if contract.latest else [])]
        return f"{contract.quarantines} = {' + '.join(parts)}"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        here, there = profiles(audit)
        names = [ROWS, *(f"{TOTAL}{name}" for name in audit.contract.totals)]
        groups = [
            Group(
                {"month": f"{month:%Y-%m}" if month else "all"},
                {
                    name.removeprefix(TOTAL): (there.get(month, {}).get(name, 0), here.get(month, {}).get(name, 0))
                    for name in names
                },
            )
            for month in sorted({*here, *there}, key=str)
        ]
        kind = "by month" if audit.contract.partitioned_by else "in all"
        return verdict(self.name, {kind: Compared.of(groups)})


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


def proven_equal(reconciliation: Reconciliation, actual: ibis.Table, expected: ibis.Table) -> Compared | None:
    """What ``reconcile`` finds of sides that have the same groups; None where they have not, or are not shown to.

    Of each side the groups are counted and their hashes added up, and each measure, exactly: a fifth of the work where
    there are a million groups, of which none would be shown.
    """
    measures = [name for name in actual.columns if name not in reconciliation.by]
    types, sides = actual.schema(), []
    for side in (actual, expected):
        numbers = {name: side[name].cast(CONTROL_TOTAL).fill_null(0) for name in measures}
        group = hashed(*(side[name].cast(types[name]) for name in reconciliation.by), *numbers.values())
        sums = {name: number.sum() for name, number in numbers.items()}
        sides.append(side.aggregate(_groups=side.count(), _hashes=group.sum(), **sums))
    here, there = ibis.union(*sides).to_pyarrow().to_pylist()
    if here != there or here["_groups"] <= SHOWN:
        return None
    return Compared(here["_groups"], 0, {name: 0 if types[name].is_integer() else Decimal(0) for name in measures}, [])


def reconcile(reconciliation: Reconciliation, actual: ibis.Table, expected: ibis.Table) -> Compared:
    """Compare both sides in the engine, whatever the number of groups; a few of them come along, see ``compared``."""
    by = reconciliation.by
    measures = [name for name in actual.columns if name not in by]
    groups = compare(actual, expected, by)
    apart = {
        name: (groups[f"actual {name}"].fill_null(0) - groups[f"expected {name}"].fill_null(0)).abs()
        for name in measures
    }
    differs = ibis.or_(*(each != 0 for each in apart.values()))
    # Over all groups, beside those that are shown: the comparison is computed once.
    groups = groups.mutate(
        _groups=groups.count().over(),
        _wrong=differs.cast("int64").sum().over(),
        _differs=differs,
        **{f"difference in {name}": each.sum().over() for name, each in apart.items()},
    )
    found = groups.order_by([ibis.desc("_differs"), *by]).limit(SHOWN).to_pyarrow().to_pylist()
    if not found:
        return Compared(0, 0, {}, [])
    types = actual.schema()

    def number(row: Mapping[str, Any], side: str, name: str) -> int | Decimal:
        value = row[f"{side} {name}"] or Decimal(0)
        return int(value) if types[name].is_integer() else value

    shown = [
        Group(
            {name: plain(row[name]) for name in by},
            {name: (number(row, "expected", name), number(row, "actual", name)) for name in measures},
        )
        for row in found
    ]
    differences = {name: number(found[0], "difference in", name) for name in measures}
    return Compared(found[0]["_groups"], found[0]["_wrong"], differences, shown)


def verdict(check: str, outcomes: Mapping[str, Compared]) -> CheckOutcome:
    """One verdict over all reconciliations of a table, by name."""
    failed = {name: each for name, each in outcomes.items() if each.wrong}
    summary = f"agrees {', '.join(outcomes)}, to the cent"
    if failed:
        summary = "does not agree " + ", ".join(
            f"{name} ({each.wrong:,} of {counted(each.groups, 'group')} with differences)"
            for name, each in failed.items()
        )
    facts: dict[str, Any] = {}
    for name, each in outcomes.items():
        facts |= each.facts(name, f"{name}: " if len(outcomes) > 1 else "")
    return CheckOutcome(check, not failed, summary, facts)
