"""What a commit means, written down in its snapshot, and which commits are in each other's way.

A writer plans a commit from one version of a table, its base. When others have published since, what they meant
decides: out of its way, the commit is planned again on what they left; in its way, it is refused. Nothing is read
from files here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Snapshot

from classic_cars.errors import StoreConflict
from classic_cars.months import month_of, partition_key
from classic_cars.stores.publications import Publications

#: Prefix of what a snapshot says about its origin.
PREFIX = "classic_cars."
KIND, MONTHS = f"{PREFIX}change", f"{PREFIX}months"


class Kind(StrEnum):
    """Rows come beside all others; take the place of all others; or are the same ones in other files."""

    APPEND = "append"
    REPLACE = "replace"
    REWRITE = "rewrite"


@dataclass(frozen=True)
class Change:
    """What becomes of which months; of all rows when ``months`` is None."""

    kind: Kind
    months: frozenset[date] | None = None

    @classmethod
    def of(cls, kind: Kind, months: Iterable[date | None] | None) -> Change:
        """Rows without a month may be anywhere."""
        found = None if months is None else frozenset(months)
        return cls(kind, None if found is None or None in found else frozenset(filter(None, found)))

    def properties(self) -> dict[str, str]:
        """As a snapshot's summary has it."""
        months = {} if self.months is None else {MONTHS: " ".join(map(partition_key, sorted(self.months)))}
        return {KIND: str(self.kind), **months}

    def __str__(self) -> str:
        where = "all rows" if self.months is None else ", ".join(map(partition_key, sorted(self.months))) or "no month"
        return f"{self.kind} of {where}"


def meaning(snapshot: Snapshot) -> Change:
    """What a snapshot's writer meant. Of others than this platform only compaction is known to change no row."""
    facts = snapshot.summary.additional_properties if snapshot.summary is not None else {}
    if KIND in facts:
        months = frozenset(map(month_of, facts[MONTHS].split())) if MONTHS in facts else None
        return Change(Kind(facts[KIND]), months)
    operation = snapshot.summary.operation if snapshot.summary is not None else None
    known = {Operation.APPEND: Kind.APPEND, Operation.REPLACE: Kind.REWRITE}
    return Change(known.get(operation, Kind.REPLACE) if operation is not None else Kind.REPLACE)


def conflicts(mine: Change, theirs: Change) -> bool:
    """Whether ``mine`` may not follow ``theirs``, when it was made from a version without it.

    Additions are in each other's way whatever their months: what was added may be the same rows.
    """
    if Kind.REWRITE in (mine.kind, theirs.kind):
        return False
    if mine.kind == theirs.kind == Kind.APPEND:
        return True
    if frozenset() in (mine.months, theirs.months):
        return False  # nothing was added
    return mine.months is None or theirs.months is None or not mine.months.isdisjoint(theirs.months)


def since(table: Table, base: int | None) -> Iterator[Change]:
    """What was published after ``base`` (None: a table without versions), newest first.

    Raises ``LookupError`` when that is not known: the table was rolled back, or versions in between are expired.
    """
    current = table.current_snapshot()
    number = current.snapshot_id if current is not None else None
    oldest = current
    while number != base:
        found = table.snapshot_by_id(number) if number is not None else None
        if found is None:
            raise LookupError(base)
        yield meaning(found)
        number, oldest = found.parent_snapshot_id, found
    # An expired version leaves its successors without a parent, as if they were a table's first.
    if base is None and oldest is not None and oldest.sequence_number != 1:
        raise LookupError(base)


def must_be_clear(table: Table, address: str, mine: Change, base: int | None) -> None:
    """Raises ``StoreConflict`` when somebody published in the way of ``mine`` since its base."""
    try:
        for theirs in list(since(table, base)):
            if conflicts(mine, theirs):
                raise StoreConflict(
                    f"{address}: found another writer's {theirs}, published since the version that this {mine} was "
                    "made from; nothing was published: run again, from what is published now"
                )
    except LookupError:
        raise StoreConflict(
            f"{address}: the version that this {mine} was made from is no longer among the current one's: the table "
            "was rolled back, or old versions were expired meanwhile; nothing was published: run again"
        ) from None


#: In a snapshot's summary, the runs that published what the table holds.
RUNS = f"{PREFIX}runs"


def published_by(table: Table) -> Publications:
    """The runs whose rows the current version has, as its snapshot says; nobody knows what others wrote.

    Each says it of all months: those before it expire. Files that were compacted by others are no other rows.
    """
    found = table.current_snapshot()
    while found is not None:
        facts = found.summary.additional_properties if found.summary is not None else {}
        if RUNS in facts or meaning(found).kind != Kind.REWRITE:
            return Publications.parse(facts.get(RUNS, ""))
        found = table.snapshot_by_id(found.parent_snapshot_id) if found.parent_snapshot_id is not None else None
    return Publications()
