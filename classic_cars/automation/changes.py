"""What the sensor of the order system remembers and decides. Pure: no database, no clock.

The order system is seen as fingerprints: one for each table and home month, which tell where rows changed. What is
observed there has another data version, its control totals, which whoever reads the rows knows too: what a run has
read already is not observed again. A change is observed when two polls agree, or one of a table
that is quiet, so that a burst is one observation; and what was observed and not read is observed again, ever later, for
as long as it is not. Which tables a poll is of, :mod:`classic_cars.automation.sieve` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from classic_cars.automation.watching import VERSION, PollState, answered, awaiting, is_due, requeued
from classic_cars.contracts.order_system import PARTITIONED, PICTURED
from classic_cars.tables.external import EMPTY, digest

#: Table to home month (``YYYY-MM``, or ``""`` for a table without months) to fingerprint.
Fingerprints = Mapping[str, Mapping[str, str]]
#: The same to data version.
Versions = Mapping[str, Mapping[str, str]]
#: Table to months.
Changes = Mapping[str, list[str]]

#: Between a fingerprint and what makes a fresh data version of it, for what is to be read again though it is the same.
AGAIN = "~"

#: Before a fingerprint that may be of other rows than the data version that it would stand for: it equals none.
UNSETTLED = "?"

#: Debounce: a shop that never rests is observed after so many seconds, though it is still changing.
RESTLESS_SECONDS = 60.0


@dataclass(frozen=True)
class OrderSystemPollState(PollState):
    """The sensor's cursor, and the fingerprints."""

    #: A poll that differs from what was observed, and since when; it counts when it is seen twice.
    moving: str = ""
    moving_since: float = 0.0
    #: The fingerprints that stand for what is observed, by table and month; and a digest of what that was. Not in the
    #: cursor: they grow with the months.
    fingerprints: dict[str, dict[str, str]] = field(default_factory=dict)
    stood_for: dict[str, str] = field(default_factory=dict)
    #: Of each table whose rows are known, the sign that stands for them (``automation/sieve.py``).
    signs: dict[str, str] = field(default_factory=dict)
    #: All signs at the last tick, as one digest.
    last_signs: str = ""
    #: Tables whose signs missed a change, and until when they are not relied on.
    distrusted: dict[str, float] = field(default_factory=dict)
    #: When all tables are polled next, whatever their signs say.
    proof_due: float = 0.0
    #: The first and the last month that were observed since all was read.
    span: tuple[str, ...] = ()
    #: The latest reconciliation whose findings were invalidated.
    reconciled: int = 0

    @classmethod
    def revived(cls, found: dict[str, Any]) -> dict[str, Any]:
        return found | {"span": tuple(found["span"])}

    def dump(self) -> str:
        """Without the fingerprints, which :meth:`remembered` has: Dagster keeps a cursor with each tick."""
        return PollState.dump(replace(self, fingerprints={}, stood_for={}))

    def remembered(self) -> str:
        """The fingerprints and what they stand for, together: of two ticks they would hide a change."""
        return json.dumps([VERSION, self.fingerprints, self.stood_for], separators=(",", ":"))

    def recalling(self, text: str | None) -> OrderSystemPollState:
        """The same with what was remembered; of another form, or lost, it is worked out again by a poll."""
        version, fingerprints, stood_for = json.loads(text) if text else (0, {}, {})
        known = {"fingerprints": fingerprints, "stood_for": stood_for} if version == VERSION else {}
        return replace(self, **known)


@dataclass(frozen=True)
class Poll:
    """What one poll found."""

    #: The fingerprints of what is observed, of tables of which they are known, and the fingerprints now.
    known: Fingerprints
    found: Fingerprints
    #: Tables that are quiet: one poll of them is enough.
    quiet: frozenset[str] = frozenset()
    #: Tables that may have changed and are not polled before they are quiet.
    waiting: tuple[str, ...] = ()
    #: Whether it polled nothing, because it would have been too soon.
    deferred: bool = False
    #: What was observed and not read since.
    pending: Changes = field(default_factory=dict)
    #: Runs are under way: what is pending may be about to be read.
    busy: bool = False
    #: The latest reconciliation, and what it found to differ.
    reconciled: int = 0
    differing: Changes = field(default_factory=dict)


def differences(known: Fingerprints, found: Fingerprints) -> Changes:
    """Tables and months whose fingerprints differ, appeared or vanished."""
    changes = {}
    for table in sorted({*known, *found}):
        before, now = known.get(table, {}), found.get(table, {})
        months = [month for month in sorted({*before, *now}) if before.get(month, EMPTY) != now.get(month, EMPTY)]
        if months:
            changes[table] = months
    return changes


def known(watch: OrderSystemPollState, observed: Versions) -> Fingerprints:
    """The fingerprints of what is observed, of each table of which nothing else was observed since."""
    return {
        table: found
        for table, found in watch.fingerprints.items()
        if watch.stood_for.get(table) == digest(observed.get(table, {}))
    }


def decided(
    watch: OrderSystemPollState, poll: Poll, seconds: float, now: float
) -> tuple[OrderSystemPollState, Changes, str]:
    """What follows from a poll that took ``seconds``: the new state, what to observe, and in words why nothing."""
    watch = awaiting(answered(watch, seconds, now), now, pending=bool(poll.pending))
    if not poll.pending:
        watch = replace(watch, span=())
    watch, changes, reason = _debounced(watch, poll, now)
    if poll.reconciled > watch.reconciled:
        watch, changes = replace(watch, reconciled=poll.reconciled), merged(changes, poll.differing)
    if is_due(watch, now) and not poll.busy:
        watch, changes = requeued(watch, now), merged(changes, _spanning(poll, watch.span))
    return replace(watch, span=_span(watch.span, changes)), changes, reason


def _debounced(watch: OrderSystemPollState, poll: Poll, now: float) -> tuple[OrderSystemPollState, Changes, str]:
    since = watch.moving_since or now
    if poll.deferred:
        return replace(watch, moving_since=since if watch.moving or poll.waiting else 0.0), {}, "nothing is polled"
    changes = differences(poll.known, poll.found)
    still = replace(watch, moving="", moving_since=since if poll.waiting else 0.0)
    if not changes:
        waits = f"{', '.join(poll.waiting)} may have changed; waits until it is quiet"
        return still, {}, waits if poll.waiting else "nothing changed"
    if changes.keys() <= poll.quiet:
        return still, changes, ""
    seen = digest(poll.found)
    if watch.moving != seen and now - since < RESTLESS_SECONDS:
        return replace(watch, moving=seen, moving_since=since), {}, f"{described(changes)}; waits until it is quiet"
    return still, changes, ""


def merged(*some: Changes) -> Changes:
    found: dict[str, set[str]] = {}
    for changes in some:
        for table, months in changes.items():
            found.setdefault(table, set()).update(months)
    return {table: sorted(months) for table, months in sorted(found.items())}


def in_every_table(changes: Changes, observed: Versions) -> Changes:
    """With the months that only one of the tables with months has: another one is observed to have no rows in them.

    What is made from both waits for both: an order line without an order is of no month, and so may be alone in it.
    """
    months = {m for table in PARTITIONED for m in (*observed.get(table, ()), *changes.get(table, ()))}
    return merged(changes, {t: new for t in PARTITIONED if (new := sorted(months - {*observed.get(t, ())}))})


def _spanning(poll: Poll, span: tuple[str, ...]) -> Changes:
    """What is pending, with all months of its request in one piece, those that were read included.

    An order that moved to another month fails the read of the month that it left, however often that month is read
    alone: the one that it moved to, read before and accepted, must be read in the same run.
    """
    first, *_, last = _span(span, poll.pending) or ("", "")
    if first == last:
        return poll.pending
    months = {month for seen in (poll.known, poll.found) for table in PARTITIONED for month in seen.get(table, {})}
    return merged(poll.pending, {table: sorted(m for m in months if first <= m <= last) for table in PARTITIONED})


def _span(span: tuple[str, ...], changes: Changes) -> tuple[str, ...]:
    months = [*span, *(month for found in changes.values() for month in found if month)]
    return (min(months), max(months)) if months else ()


def to_observe(
    changes: Changes, poll: Poll, observed: Versions, totals: Versions, now: float, disproved: Changes | None = None
) -> Versions:
    """The data versions to observe; ``totals``: those that tables and months have now.

    What has the version that was observed is observed again where it is to be read again, because a run failed or a
    reconciliation, since the last tick, has ``disproved`` it, and where a picture may differ, which no total counts;
    not where a run, or this poll's totals, saw the same change already.
    """
    moved = differences(poll.known, poll.found)
    found: dict[str, dict[str, str]] = {}
    disproved = disproved or {}
    for table, months in changes.items():
        for month in months:
            before, version = observed.get(table, {}).get(month, ""), totals.get(table, {}).get(month, EMPTY)
            if version != before.partition(AGAIN)[0]:
                found.setdefault(table, {})[month] = version
            elif (
                month not in moved.get(table, ())
                or month in disproved.get(table, ())
                or (table in PICTURED and table in poll.known and _is_other(poll, table, month))
            ):
                found.setdefault(table, {})[month] = f"{version}{AGAIN}{now:.0f}"
    return found


def _is_other(poll: Poll, table: str, month: str) -> bool:
    """Whether the fingerprint is another one than before, settled or not."""
    before, now = (seen.get(table, {}).get(month, EMPTY) for seen in (poll.known, poll.found))
    return before.removeprefix(UNSETTLED) != now


def by_table(again: Iterable[str]) -> Changes:
    """Months (``YYYY-MM``) as changes of both tables with months, and names of tables as changes of them."""
    found = set(again)
    months = sorted(each for each in found if each[:1].isdigit())
    return {**(dict.fromkeys(sorted(PARTITIONED), months) if months else {}), **{t: [""] for t in found - {*months}}}


def described(changes: Changes) -> str:
    """``orders changed in 2 months, products changed``"""
    said = []
    for table, months in changes.items():
        if months == [""]:
            said.append(f"{table} changed")
        else:
            said.append(f"{table} changed in {months[0] if len(months) == 1 else f'{len(months)} months'}")
    return ", ".join(said)
