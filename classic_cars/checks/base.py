"""What a check is, and what it may look at: one :class:`Check` for each kind, one :class:`Audit` for each new version.

A kind says to which contracts it applies, how it is described, and what its verdict is. Everything here is
engine-independent and without Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Protocol

import ibis
import ibis.expr.types as ir

from classic_cars.checks.hashing import hashed
from classic_cars.checks.profiles import RESCUED_ROWS, ROWS, RULE, TOTAL, Profile, audited, in_all, proven_columns
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import Origins
from classic_cars.contracts.rescued import RESCUED, raw_kept
from classic_cars.contracts.vocabulary import Reference
from classic_cars.months import Months
from classic_cars.stores.base import Staged

#: From the address of a table to its rows.
Tables = Mapping[str, ibis.Table]


@dataclass(frozen=True)
class CheckOutcome:
    """The outcome of one check. ``facts`` holds counts, totals and samples as plain values."""

    check: str
    passed: bool
    summary: str
    facts: dict[str, Any] = field(default_factory=dict)
    #: A warning is shown and does not block.
    warning: bool = False


def both(one: CheckOutcome, other: CheckOutcome) -> CheckOutcome:
    """One verdict of the same check on different rows; its facts are those of the first that is not passed."""
    if one.passed or other.passed:
        return other if one.passed else one
    return replace(one, summary=f"{one.summary}; {other.summary}", warning=one.warning and other.warning)


@dataclass(frozen=True)
class Limits:
    """Above these a check blocks. Shares are of 1."""

    #: Of rows, and of money, that may be quarantined.
    quarantine_rows: float = 0.01
    quarantine_amount: float = 0.01
    #: Rows that may be quarantined whatever their share: of a small month, one row is many percent.
    quarantine_floor: int = 1
    #: Of the rows of a table or month that may be gone since the version before, and how many always may.
    shrink: float = 0.3
    shrink_rows: int = 10


@dataclass(frozen=True)
class BaseVersion:
    """The published version that is to be replaced: its rows by part (``YYYY-MM``, or ``""`` without months)."""

    rows: Mapping[str, int]
    #: By month, the months in which rows are now that this version had in it and the new one has not.
    moved: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What is known of the staged rows by themselves, and of what they refer to."""

    rows: int
    totals: dict[str, Any]
    broken_rules: dict[str, int]
    broken_references: dict[str, int]
    repaired: dict[str, int]


@dataclass
class Audit:
    """A staged version, and everything that its checks look at. What costs a query is asked once."""

    contract: Contract
    staged: Staged
    #: Other tables by address, and the staged rows under the contract's own.
    tables: Tables
    origins: Origins
    #: From a reconciliation's parameter to an address.
    address_of: Callable[[str], str]
    #: A table in memory as rows of the same engine.
    receive: Callable[[Any], ibis.Table]
    limits: Limits = field(default_factory=Limits)
    #: References to tables that hold all their rows, whatever the months of this version.
    whole_references: Sequence[Reference] = ()
    #: Rejected rows, and rows that a later one supersedes.
    rejected: ibis.Table | None = None
    superseded: ibis.Table | None = None
    #: Rows that were rejected before and stay in quarantine: those of other months.
    rejected_elsewhere: ibis.Table | None = None
    before: BaseVersion | None = None
    shrink_accepted: bool = False
    #: What only rows from outside have: see ``checks.source`` and ``checks.landed``.
    arrived: Any = None
    #: What checks that share a query keep for each other.
    memo: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> ibis.Table:
        return self.staged.rows

    @property
    def months(self) -> Months | None:
        return self.staged.months

    @cached_property
    def rejected_count(self) -> int:
        """Rejected rows."""
        return 0 if self.rejected is None else self.rejected.count().to_pyarrow().as_py()

    @property
    def parts(self) -> list[ibis.Table]:
        """What became of the rows of source: staged, rejected and superseded ones, as far as there are any."""
        rejected = self.rejected if self.rejected_count else None
        return [each for each in (self.rows, rejected, self.superseded) if each is not None]

    @cached_property
    def measured(self) -> Measured:
        return measure(self.contract, self.rows, self.tables, self.profile)

    @cached_property
    def profile(self) -> Profile:
        """Of the staged rows, by month if any: what rules, totals and the proof of columns need, in one query."""
        return audited(self.contract, self.rows, proven_columns(self.contract, self.origins))

    @cached_property
    def repeated_keys(self) -> tuple[int, int]:
        """Keys that occur twice, and rows that have one of them."""
        if proven_unique(self.rows, self.contract):
            return 0, 0
        repeated = duplicates(self.rows, self.contract)
        (found,) = repeated.aggregate(keys=repeated.count(), rows=repeated.copies.sum()).to_pyarrow().to_pylist()
        return found["keys"], int(found["rows"] or 0)


class Check(Protocol):
    """One kind of check. ``name`` is that of its Dagster check."""

    name: str

    def applies(self, contract: Contract, origins: Origins) -> bool:
        """Whether the table of this contract, whose columns come from ``origins``, has the check."""
        ...

    def describe(self, contract: Contract, origins: Origins) -> str:
        """What it demands of the table, for people."""
        ...

    def evaluate(self, audit: Audit) -> CheckOutcome:
        """The verdict on one staged version."""
        ...


def orphaned(rows: ibis.Table, reference: Reference, tables: Tables) -> ir.BooleanValue:
    """Condition: the row's reference is set and does not exist. Never NULL."""
    column = rows[reference.column]
    known = tables[reference.to][reference.to_column]
    return column.notnull() & ~column.isin(known).fill_null(False)


def proven_unique(rows: ibis.Table, contract: Contract) -> bool:
    """Whether the hashes of the keys, which are cheaper to tell apart, are as many as the rows.

    Equal keys have equal hashes: then no key occurs twice. Otherwise nothing is known: two keys may share a hash.
    """
    hashes = hashed(*(rows[name] for name in contract.key)).nunique()
    (found,) = rows.aggregate(rows=rows.count(), hashes=hashes).to_pyarrow().to_pylist()
    return found["rows"] == found["hashes"]


def duplicates(rows: ibis.Table, contract: Contract) -> ibis.Table:
    """The keys that occur more than once, with ``copies``: how often."""
    counted = rows.group_by(list(contract.key)).aggregate(copies=rows.count())
    return counted.filter(counted.copies > 1)


def measure(contract: Contract, rows: ibis.Table, tables: Tables, known: Profile | None = None) -> Measured:
    """Rows, totals, and the rows that break each rule or reference. ``known``: the ``audited`` profile of the rows."""
    found = in_all(audited(contract, rows, []) if known is None else known)

    def named(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}

    orphans = {
        each: rows.filter(orphaned(rows, each, tables)).count().to_pyarrow().as_py()
        for each in broken_references(contract.references, rows, tables)
    }
    return Measured(
        found.get(ROWS, 0),
        dict.fromkeys(contract.totals, 0) | named(TOTAL),
        {name: int(value) for name, value in named(RULE).items() if value},
        {str(each): count for each, count in orphans.items()},
        _repaired(contract, rows) if found.get(RESCUED_ROWS) else {},
    )


def broken_references(references: Sequence[Reference], rows: ibis.Table, tables: Tables) -> list[Reference]:
    """Those with a value that does not exist, in one query: over values, of which columns have few, not over rows."""
    counts = []
    for index, each in enumerate(references):
        values = rows.select(each.column).distinct()
        lost = values.filter(orphaned(values, each, tables))
        counts.append(lost.aggregate(reference=ibis.literal(index), lost=lost.count()))
    if not counts:
        return []
    found = ibis.union(*counts).to_pyarrow() if len(counts) > 1 else counts[0].to_pyarrow()
    return [references[row["reference"]] for row in found.to_pylist() if row["lost"]]


def _repaired(contract: Contract, rows: ibis.Table) -> dict[str, int]:
    """By column, the rows that keep a raw value of it beside the row."""
    kept = {name: raw_kept(rows, name).sum() for name in contract.types.names if name != RESCUED}
    (found,) = rows.aggregate(**kept).to_pyarrow().to_pylist()
    return {name: int(count) for name, count in found.items() if count}


def sample(contract: Contract, rows: ibis.Table, at_most: int = 5) -> list[dict[str, Any]]:
    """The keys of a few of the rows, as plain values; nothing personal."""
    columns = [name for name in contract.sample_columns if name in rows.columns]
    if not columns:
        return []
    found = rows.select(*columns).order_by(columns).limit(at_most).to_pyarrow().to_pylist()
    return [plain_row(row) for row in found]


def plain(value: Any) -> Any:
    """A value as JSON can hold it, exactly: decimals and dates become text."""
    if isinstance(value, Decimal):
        return str(value.quantize(Decimal("0.01"))) if value == round(value, 2) else str(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return value


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in row.items()}
