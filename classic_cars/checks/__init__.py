"""Every check that a table can have: one class per kind, one list, one loop.

Every table that a kind of :data:`KINDS` applies to has it: in Dagster, in ``status``, in the audit. One that is added
goes into :data:`ADDED`.
"""

from __future__ import annotations

from collections.abc import Collection

from classic_cars.checks.base import Audit, Check, CheckOutcome
from classic_cars.checks.columns import Columns
from classic_cars.checks.completeness import Completeness
from classic_cars.checks.landed import Files, LedgerAgrees
from classic_cars.checks.quarantine import Quarantine
from classic_cars.checks.reconciliation import Conservation, Reconciliations
from classic_cars.checks.rules import Keys, References, Schema, Values
from classic_cars.checks.source import Moved, OrderSystemAgrees, Volume
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import Origins
from classic_cars.contracts.versions import digest

#: Kinds of your own. Each is part of the code version of the tables that it applies to: the next run makes these again,
#: so that the kind judges what was published before it was there.
ADDED: tuple[Check, ...] = ()
#: All, in the order in which they are shown.
KINDS: tuple[Check, ...] = (
    Schema(),
    Values(),
    Keys(),
    References(),
    Columns(),
    Quarantine(),
    Volume(),
    Moved(),
    Files(),
    Conservation(),
    Reconciliations(),
    OrderSystemAgrees(),
    LedgerAgrees(),
    Completeness(),
    *ADDED,
)


def checks_of(contract: Contract, origins: Origins) -> list[Check]:
    """The checks that a table of this contract has."""
    return [kind for kind in KINDS if kind.applies(contract, origins)]


def added(contract: Contract, origins: Origins) -> str:
    """A digest of the added kinds that a table of this contract has; empty without any."""
    found = [(each.name, type(each).evaluate) for each in ADDED if each.applies(contract, origins)]
    return digest(found) if found else ""


def descriptions(contract: Contract, origins: Origins) -> dict[str, str]:
    """The same by name, with what each demands."""
    return {each.name: each.describe(contract, origins) for each in checks_of(contract, origins)}


def evaluated(audit: Audit, names: Collection[str] | None = None) -> list[CheckOutcome]:
    """The verdicts of all checks, or of those with these names, on one version."""
    return [
        each.evaluate(audit) for each in checks_of(audit.contract, audit.origins) if names is None or each.name in names
    ]


def not_examined(contract: Contract, origins: Origins, problems: list[str]) -> list[CheckOutcome]:
    """The verdicts on rows that could not be staged, because they do not have the contract's columns."""
    return [
        CheckOutcome(each.name, False, "; ".join(problems), {"differences": problems})
        if isinstance(each, Schema)
        else CheckOutcome(each.name, False, "not examined: the columns are not those of the contract")
        for each in checks_of(contract, origins)
    ]
