"""Months that stay as they are: what they would be made of, and proven by, is what it was when they were made.

The materialization of a month says of what it was made: a digest of that month of its inputs, and one of the columns
that are read of tables without months. Where only the latter differ (there is a new customer, say), the rows that the
contract expects are compared with those that the month has, by their digest, which takes a part of writing and proving
them. What the rows refer to is looked up in any case. Whoever asks for a run decides whether its months may stay, by a
tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import dagster as dg
import ibis.expr.types as ir

from classic_cars.checks import descriptions, evaluated
from classic_cars.checks.base import CheckOutcome, both, broken_references
from classic_cars.checks.columns import made as made_by_contract
from classic_cars.checks.hashing import hashed
from classic_cars.checks.profiles import ALL, CONTENT, profile, proven_columns
from classic_cars.checks.rules import References, all_found
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import FLAG
from classic_cars.months import Months, month_of, next_month, previous_month, span
from classic_cars.stores.base import Store
from classic_cars.stores.publications import Publications
from classic_cars.tables.alone import found_wrong_at
from classic_cars.tables.data_versions import NO_ROWS, content_of, hexdigest
from classic_cars.tables.events import CODE_VERSION, Made, asset_key, made_months
from classic_cars.tables.held import held
from classic_cars.tables.materialize import published
from classic_cars.tables.reads import read_for_rows, read_to_compare
from classic_cars.tables.recomputation import disagreement, is_expected
from classic_cars.tables.step import Step

MISSING = "missing"


@dataclass(frozen=True)
class Inputs:
    """What the months of a step are made of, by digests: of what belongs to each, and of tables without months."""

    by_month: Mapping[str, str]
    whole: str

    def of(self, month: str) -> str:
        """To be kept with the month's materialization."""
        return f"{self.by_month[month]} {self.whole}"


@dataclass(frozen=True)
class Kept:
    """Months of a step that stay as they are, and the range of the others; None when all stay."""

    months: Mapping[str, Made]
    rest: Months | None
    #: Of the months that stay: of those checks that had something to say of them.
    verdicts: Sequence[CheckOutcome] = ()

    @property
    def rows_of(self) -> Publications:
        """The runs that made the rows of the months that stay; it says nothing of the others."""
        found: list[tuple[Months, str]] = []
        for month, each in sorted(self.months.items()):
            day, run = month_of(month), each.event.rows_of
            if found and found[-1][1] == run and not self._made_between(found[-1][0].last, day):
                found[-1] = Months(found[-1][0].first, day), run
            else:
                found.append((Months(day, day), run))
        return Publications(tuple(found))

    def _made_between(self, month: date, other: date) -> bool:
        return self.rest is not None and month < self.rest.first < other


# Inputs --------------------------------------------------------------------------------------------------


def inputs_of(step: Step, store: Store, instance: dg.DagsterInstance, months: Sequence[str]) -> Inputs:
    """What these months of the step's table would be made of, and proven by, now."""
    rows, compared = read_for_rows(step.table, step.catalog), read_to_compare(step.table, step.catalog)
    owners = {(owner := step.catalog.owner(address)).address: owner.contract for address in (*rows, *compared)}
    runs = held(store, owners.values())
    dated, whole, fixed = {}, {}, {"limits": _limits(step)}
    for address in {*rows, *compared}:
        contract = step.catalog.contract(address)
        if contract.partitioned_by:
            own = runs.get(address, Publications())
            dated[address] = _of_months(step, instance, contract, compared.get(address, frozenset()), own, months)
            continue
        if address in rows:
            whole[address] = _of_all_rows(step, contract, rows[address])
        if address in compared:
            fixed[address] = _of_all_rows(step, contract, compared[address])
    always = sorted(fixed.items())
    by_month = {m: [(a, found.get(m, NO_ROWS)) for a, found in sorted(dated.items())] for m in months}
    return Inputs({m: _digest([*always, *found]) for m, found in by_month.items()}, _digest(sorted(whole.items())))


def _limits(step: Step) -> str:
    """Those that a table which is made of others is held to."""
    limits = step.limits
    return repr((limits.quarantine_rows, limits.quarantine_amount, limits.quarantine_floor))


def _of_months(
    step: Step,
    instance: dg.DagsterInstance,
    contract: Contract,
    columns: frozenset[str],
    runs: Publications,
    months: Sequence[str],
) -> Mapping[str, str]:
    """A digest of each month's rows: as the step that made it said; worked out where another table's step did.

    ``runs``: those whose rows the store has; of others than the history's, their run is all that is known.
    """
    if contract.address in step.catalog:
        made = made_months(instance, contract.address)
        return {
            month: found.digest
            if (found := made.get(month)) is not None and found.event.rows_of == runs.run_of(month)
            else f"rows of run {runs.run_of(month)}"
            for month in months
        }
    if not step.tx.exists(contract):
        return {}
    rows = step.tx.read(contract)
    content = _hashed(contract, rows, columns) if columns else rows.count()
    return content_of(profile(contract, rows, [], more={CONTENT: content})).digests


def _of_all_rows(step: Step, contract: Contract, columns: frozenset[str]) -> str:
    """A digest of these columns."""
    if not step.tx.exists(contract):
        return MISSING
    rows = step.tx.read(contract)
    content = _hashed(contract, rows, columns) if columns else rows.count()
    (found,) = rows.aggregate(rows=rows.count(), content=content).to_pyarrow().to_pylist()
    return str(sorted(found.items()))


def _hashed(contract: Contract, rows: ir.Table, columns: frozenset[str]) -> ir.Value:
    return hashed(*(rows[name] for name in contract.types.names if name in columns)).sum()


def _digest(parts: Iterable[Any]) -> str:
    return hexdigest(repr(list(parts)))


# Months --------------------------------------------------------------------------------------------------


def kept(step: Step, instance: dg.DagsterInstance, months: Sequence[str], now: Inputs, runs: Publications) -> Kept:
    """Which of the months that the step is asked for stay as they are; those that are made are one range.

    ``now``: what they would be made of; ``runs``: those whose rows the store has.
    """
    before, stays, may_stay = made_months(instance, step.contract.address), set[str](), set[str]()
    for month in _that_stand(step, instance, months, before, runs):
        by_month, _, whole = before[month].inputs.partition(" ")
        if by_month == now.by_month[month]:
            (stays if whole == now.whole else may_stay).add(month)
    expected = _expected(step) if may_stay else None
    if expected is not None:
        stays |= {month for month in may_stay if expected.get(month, NO_ROWS) == before[month].digest}
    rest = span(month_of(month) for month in months if month not in stays)
    found = Kept({m: before[m] for m in months if rest is None or not rest.first <= month_of(m) <= rest.last}, rest)
    found = replace(found, verdicts=_verdicts(step, found)) if found.months else found
    if any(not each.passed and not each.warning for each in found.verdicts):
        return Kept({}, step.months)  # whatever is wrong with them is said by making them
    return found


def _that_stand(
    step: Step, instance: dg.DagsterInstance, months: Iterable[str], before: Mapping[str, Made], runs: Publications
) -> list[str]:
    """Months that this code made, that the store has as they were made, and that nothing found wrong since."""
    key, code_version = asset_key(step.contract.address), step.catalog.code_version(step.table)
    wrong = found_wrong_at(instance, key, descriptions(step.contract, step.catalog.origins(step.table)))
    disproved_at, disproved = disagreement(instance, key)
    return [
        month
        for month in months
        if (made := before.get(month)) is not None
        and made.event.tags.get(CODE_VERSION) == code_version
        and made.event.rows_of == runs.run_of(month)
        and made.timestamp > wrong
        and not (month in disproved and made.timestamp < disproved_at)
    ]


def _expected(step: Step) -> Mapping[str, str] | None:
    """A digest of each month's rows as the contract expects them; None where it does not say so of every column."""
    contract, origins = step.contract, step.catalog.origins(step.table)
    if contract.quarantines or not is_expected(step.table, step.catalog):
        return None
    names = proven_columns(contract, origins)
    expected = profile(contract, made_by_contract(contract, origins, step.others()), names)
    return content_of({month: {**sums, CONTENT: sums[ALL]} for month, sums in expected.items()}).digests


def _verdicts(step: Step, found: Kept) -> list[CheckOutcome]:
    """Of the checks that warned when months that stay were made, and of what those refer to."""
    contract, verdicts = step.contract, dict[str, CheckOutcome]()
    for months in _ranges(step, found):
        audit = published(replace(step, months=months))
        names = {name for each in found.months.values() for name in each.warnings} - {References.name}
        lost = broken_references(audit.whole_references, audit.rows, audit.tables)
        # Flagged ones of months beside those that are made are looked up with these.
        if lost and (found.rest is None or any(each.otherwise != FLAG for each in lost)):
            names.add(References.name)
        elif contract.references and found.rest is None:
            verdicts[References.name] = all_found(contract)
        for each in evaluated(audit, names) if names else ():
            verdicts[each.check] = both(verdicts[each.check], each) if each.check in verdicts else each
    return [*verdicts.values()]


def _ranges(step: Step, found: Kept) -> Iterator[Months]:
    """The months that stay, before and after those that are made."""
    if step.months is None or found.rest is None:
        yield from filter(None, [step.months])
        return
    if step.months.first < found.rest.first:
        yield Months(step.months.first, previous_month(found.rest.first))
    if found.rest.last < step.months.last:
        yield Months(next_month(found.rest.last), step.months.last)
