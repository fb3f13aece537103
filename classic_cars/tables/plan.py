"""What a step makes of what it is asked for, and what the materialization of each of its months says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from classic_cars.checks.base import CheckOutcome, both
from classic_cars.stores.base import Store
from classic_cars.stores.publications import Publications
from classic_cars.tables.data_versions import NO_ROWS, Content, of_what_was_not_held, version_of
from classic_cars.tables.events import (
    DIGEST,
    INPUTS,
    PARTITION_ROWS,
    READ,
    STAYED,
    WARNINGS,
    Made,
    latest_events,
    made_months,
    not_held,
)
from classic_cars.tables.held import held
from classic_cars.tables.kept import Inputs, Kept, inputs_of, kept
from classic_cars.tables.run_tags import may_stay
from classic_cars.tables.step import Step
from classic_cars.wording import counted


@dataclass(frozen=True)
class Plan:
    """What a step makes, and what it leaves as it is.

    ``months``: the keys of those that it is asked for; none for a table without months.
    """

    months: Sequence[str]
    #: What was made of the table before, by month.
    before: Mapping[str, Made]
    #: What the months are made of; None for what arrives from outside.
    inputs: Inputs | None
    stay: Kept
    #: Whether the store has what the history says of what is made again.
    is_held: bool

    @property
    def all_stay(self) -> bool:
        return bool(self.stay.months) and self.stay.rest is None

    def of_rows(self, rows: int) -> str:
        """What was made of them, for people."""
        stay = f"{counted(len(self.stay.months), 'month')} unchanged" if self.stay.months else ""
        return stay if self.all_stay else "; ".join(filter(None, [counted(rows, "row"), stay]))

    def version(self, content: Content, run_id: str) -> str:
        """The data version of all of them, once ``content`` was made of those that do not stay."""
        digests = {month: self._digest(month, content) for month in self.months}
        version = version_of(content, digests, self.before)
        return version if self.is_held else of_what_was_not_held(version, run_id)

    def verdicts(self, made: Iterable[CheckOutcome]) -> list[CheckOutcome]:
        """Those on what was made, and on what stays."""
        stay = {each.check: each for each in self.stay.verdicts}
        found = {each.check: both(each, stay[each.check]) if each.check in stay else each for each in made}
        return [*(stay | found).values()]

    def said(self, month: str, content: Content, made: Iterable[CheckOutcome], read: str = "") -> dict[str, Any]:
        """What the materialization of a month says of its rows; ``made``: the verdicts on those that were made.

        ``read``: the data version that they had outside.
        """
        stays = self.stay.months.get(month)
        warned = [each.check for each in (made if stays is None else self.stay.verdicts) if not each.passed]
        return {
            PARTITION_ROWS: stays.rows if stays is not None else content.rows.get(month, 0),
            DIGEST: self._digest(month, content),
            **({READ: read} if read else {}),
            **({WARNINGS: ", ".join(sorted(warned))} if warned else {}),
            **({INPUTS: self.inputs.of(month)} if self.inputs is not None else {}),
            **({STAYED: self.stay.rows_of.text()} if self.stay.months else {}),
        }

    def _digest(self, month: str, content: Content) -> str:
        stays = self.stay.months.get(month)
        return stays.digest if stays is not None else content.digests.get(month, NO_ROWS)


def plan_of(
    step: Step, store: Store, instance: dg.DagsterInstance, months: Sequence[str], tags: Mapping[str, str]
) -> Plan:
    """What the step is to make of ``months``, in a run with these tags."""
    contract = step.contract
    runs = held(store, [contract]).get(contract.address, Publications())
    if not months:
        events = latest_events(instance, {contract.address: False})[contract.address]
        return Plan((), {}, None, Kept({}, None), not not_held(events, runs))
    before = made_months(instance, contract.address)
    stay, inputs = Kept({}, step.months), None
    if step.table.arrives_from is None:
        inputs = inputs_of(step, store, instance, months)
        if may_stay(tags):
            stay = kept(step, instance, months, inputs, runs)
    again = {month: before[month].event for month in months if month in before and month not in stay.months}
    return Plan(months, before, inputs, stay, not not_held(again, runs))
