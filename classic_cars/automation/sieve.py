"""Which tables a poll of the order system is of, by cheap signs of change. Pure: no database, no clock.

A sign (:mod:`classic_cars.sources.order_system.change_signs`) stands for the fingerprints that were worked out after it
was taken. Tables whose sign is still the same are not polled; what they hold is what was observed. The signs are not
relied on alone: now and then all tables are polled, and a table whose sign missed a change is polled without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from classic_cars.automation.changes import (
    AGAIN,
    RESTLESS_SECONDS,
    UNSETTLED,
    Changes,
    Fingerprints,
    OrderSystemPollState,
    Poll,
    Versions,
    differences,
)
from classic_cars.automation.watching import SHARE, affordable_at, clock
from classic_cars.contracts.order_system import PARTITIONED
from classic_cars.sources.order_system import Sign
from classic_cars.tables.external import EMPTY, digest

#: Between two polls of all tables. They take half of the budget at most.
PROOF_SECONDS = 900.0
#: The poll of all tables that follows a change: a transaction may end after the sign of another was taken for both.
AFTER_CHANGE_SECONDS = 60.0
#: How long a sign that missed a change is not relied on.
DISTRUST_SECONDS = 86_400.0
#: Of a digest, so many digits are enough to notice a difference.
DIGITS = 12

Signs = Mapping[str, Sign]


@dataclass(frozen=True)
class Plan:
    """What a tick polls."""

    tables: tuple[str, ...] = ()
    #: Tables that may have changed and wait until they are quiet; tables of which one poll is enough.
    waiting: tuple[str, ...] = ()
    quiet: frozenset[str] = frozenset()
    #: Tables whose signs say that nothing changed.
    vouched: frozenset[str] = frozenset()
    #: Whether all tables are polled, and when the budget allows a poll that it does not allow now.
    proof: bool = False
    later: str = ""


def planned(watch: OrderSystemPollState, signs: Signs, known: Fingerprints, tables: Iterable[str], now: float) -> Plan:
    """What to poll; ``known``: the fingerprints of what is observed."""
    tables = tuple(tables)
    trusted = {table for table in tables if table in signs and watch.distrusted.get(table, 0.0) <= now}
    vouched = frozenset(table for table in trusted if table in known and watch.signs.get(table) == signs[table].token)
    is_same = watch.last_signs == _digest(signs)
    quiet = frozenset(table for table in trusted - vouched if is_same or signs[table].resting)
    waiting = tuple(t for t in tables if t in trusted - vouched - quiet and _waits(watch, t, signs[t], now))
    needed = tuple(table for table in tables if table not in vouched and table not in waiting)
    if needed and now < affordable_at(watch):
        moved = tuple(table for table in tables if table in trusted - vouched)
        return Plan(waiting=moved, vouched=vouched, later=f"polls again at {clock(affordable_at(watch))}")
    if now >= watch.proof_due and (needed or now >= watch.paid_off):
        return Plan(tables, (), quiet, vouched, proof=True)
    return Plan(needed, waiting, quiet, vouched)


def _waits(watch: OrderSystemPollState, table: str, sign: Sign, now: float) -> bool:
    """For the database to say that it is quiet, but not for ever; if it never says so, for the next tick's sign."""
    if table not in watch.signs:
        return False
    if sign.resting is None:
        return not watch.moving_since
    return now - (watch.moving_since or now) < RESTLESS_SECONDS


def are_new(watch: OrderSystemPollState, signs: Signs) -> bool:
    """Whether these are other signs than those of the last tick."""
    return watch.last_signs != _digest(signs)


def suspects(plan: Plan, poll: Poll) -> frozenset[str]:
    """Tables that changed, though their signs said that they did not; or just after their signs were taken."""
    return plan.vouched.intersection(differences(poll.known, poll.found))


def distrusting(watch: OrderSystemPollState, missed: Iterable[str], now: float) -> OrderSystemPollState:
    """Signs that missed a change are not relied on for a while. Order lines have months, and signs, by their orders."""
    missed = set(missed)
    until = dict.fromkeys(missed | (PARTITIONED if missed & PARTITIONED else set()), now + DISTRUST_SECONDS)
    return replace(watch, distrusted={t: end for t, end in watch.distrusted.items() if end > now} | until)


def noted(watch: OrderSystemPollState, plan: Plan, signs: Signs, seconds: float, now: float) -> OrderSystemPollState:
    """The signs of this tick, and when the next proof is due."""
    due = now + max(PROOF_SECONDS, 2 * seconds / SHARE) if plan.proof else watch.proof_due
    return replace(watch, last_signs=_digest(signs), proof_due=due)


def doubtful(
    watch: OrderSystemPollState,
    plan: Plan,
    signs: tuple[Signs, Signs],
    poll: Poll,
    changed: Changes,
    versions: Versions,
    now: float,
) -> dict[str, set[str]]:
    """Months of which other rows may have been seen by the poll than by the totals; the next poll compares them again.

    ``signs``: those before the poll and those after the totals; where they are the same, nothing changed between the
    two. Else it is so of what is observed, and of what differs for the first time though its totals do not.
    """
    before, after = signs
    moved, found = differences(poll.known, poll.found), {}
    for table in changed:
        is_trusted = table in before and watch.distrusted.get(table, 0.0) <= now
        if table in plan.tables and is_trusted and table in after and before[table].token == after[table].token:
            continue
        known = poll.known.get(table, {})
        first = {each for each in moved.get(table, ()) if not known.get(each, "").startswith(UNSETTLED)}
        new = {each for each, version in versions.get(table, {}).items() if AGAIN not in version}
        if months := new | first.intersection(changed[table]):
            found[table] = months
    return found


def concluded(
    watch: OrderSystemPollState,
    plan: Plan,
    signs: Signs,
    poll: Poll,
    changed: Changes,
    observed: Versions,
    doubtful: Mapping[str, Collection[str]],
    now: float,
) -> OrderSystemPollState:
    """What is known of the tables that were polled; of those whose change is not observed yet, nothing new.

    ``observed``: the data versions with those that this tick observes. ``doubtful``: months whose fingerprints may not
    stand for them.
    """
    moved = differences(poll.known, poll.found)
    done = [table for table in plan.tables if {*moved.get(table, ())} <= {*changed.get(table, ())}]
    marks = {table: signs[table].token for table in done if table in signs}
    due = min(watch.proof_due, now + AFTER_CHANGE_SECONDS) if moved.keys() & {*done} else watch.proof_due
    # A table that is observed again has another version for the same rows: what is known of them is still so.
    same = {*done, *(table for table in changed if table in poll.known)}
    found = {table: dict(poll.found.get(table, {})) for table in done}
    for table in same.intersection(doubtful):
        seen = poll.found.get(table, {})
        marks_of = {month: f"{UNSETTLED}{seen.get(month, EMPTY)}" for month in doubtful[table]}
        found[table] = {**found.get(table, watch.fingerprints.get(table, {})), **marks_of}
    return replace(
        watch,
        signs={**{t: m for t, m in watch.signs.items() if t not in done}, **marks},
        fingerprints=watch.fingerprints | found,
        stood_for=watch.stood_for | {table: digest(observed.get(table, {})) for table in same},
        proof_due=due,
    )


def _digest(signs: Signs) -> str:
    return digest({table: sign.token for table, sign in signs.items()})[:DIGITS]
