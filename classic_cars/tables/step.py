"""One step: all that making one version of one table needs, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ibis

from classic_cars.checks import Audit, CheckOutcome, evaluated
from classic_cars.checks.base import Limits
from classic_cars.checks.profiles import Profile
from classic_cars.contracts.base import Contract
from classic_cars.contracts.vocabulary import ControlTotals
from classic_cars.months import Months
from classic_cars.stores.base import Staged, Transaction
from classic_cars.tables.kinds import as_kind
from classic_cars.tables.table import Catalog, Table, parameters


@dataclass(frozen=True)
class Step:
    """Everything that making one version of one table needs."""

    catalog: Catalog
    table: Table
    tx: Transaction
    run_id: str
    months: Months | None = None
    limits: Limits = field(default_factory=Limits)
    shrink_accepted: bool = False
    #: A folder for what is needed while the step works; the system's own when None.
    scratch: Path | None = None
    #: Where the quarantined rows of a refused version are kept; nowhere when None.
    refused: Path | None = None

    @property
    def contract(self) -> Contract:
        return self.table.contract

    def read(self, contract: Contract) -> ibis.Table:
        """Another table's published rows; of this step's months when both are partitioned."""
        months = self.months if contract.partitioned_by and self.contract.partitioned_by else None
        return self.tx.read(contract, months)

    def inputs(self) -> dict[str, Any]:
        """The tables that this one is made from, by the names and of the kinds that its function asks for."""
        kinds = self.table.inputs
        return {
            name: as_kind(self.read(each.contract), kinds[name])
            for name, each in self.catalog.inputs(self.table).items()
        }

    def others(self) -> dict[str, ibis.Table]:
        """The tables that the proof of this one reads."""
        return {address: self.read(each) for address, each in self.catalog.audited_against(self.table).items()}

    def control_totals(self, owner: Table, control: ControlTotals) -> ibis.Table:
        """The rows of control totals, made of what is published now; of this step's months if it has any."""
        named = [self.catalog.resolve_contract(owner, name) for name in parameters(control.of)]
        rows = control.of(*map(self.read, named))
        return rows.select(**{name: rows[name].cast(kind) for name, kind in control.contract.types.items()})

    def audit(self, staged: Staged, tables: Mapping[str, ibis.Table], **more: Any) -> Audit:
        """What the checks look at, of one staged version."""
        references = self.contract.references
        return Audit(
            contract=self.contract,
            staged=staged,
            tables={**tables, self.contract.address: staged.rows},
            origins=self.catalog.origins(self.table),
            address_of=lambda name: self.catalog.resolve_contract(self.table, name).address,
            receive=self.tx.receive,
            limits=self.limits,
            whole_references=[each for each in references if not self.catalog[each.to].contract.partitioned_by],
            shrink_accepted=self.shrink_accepted,
            **more,
        )


@dataclass(frozen=True)
class Unchanged:
    """In place of a staged version: there is nothing to publish, what is published stays as it is."""

    contract: Contract


@dataclass(frozen=True)
class Outcome:
    """A staged version and its verdicts; ``staged`` is None when nothing could be written."""

    verdicts: list[CheckOutcome]
    staged: Staged | Unchanged | None = None
    #: The ``audited`` profile of the staged rows.
    profile: Profile = field(default_factory=dict)
    rows: int = 0
    totals: dict[str, Any] = field(default_factory=dict)
    #: Rows of the tables that are published in the same step, by address.
    co_published: Mapping[str, int] = field(default_factory=dict)
    #: Data versions of what was read from outside, by month (``YYYY-MM``) or under ``""``.
    read: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, audit: Audit, co_published: Mapping[str, int] | None = None) -> Outcome:
        """The verdicts of all checks on the staged version that ``audit`` looks at."""
        measured = audit.measured
        return cls(evaluated(audit), audit.staged, audit.profile, measured.rows, measured.totals, co_published or {})

    @property
    def publishable(self) -> bool:
        return self.staged is not None and all(each.passed or each.warning for each in self.verdicts)
