"""What the sensor of the order system remembers and decides. Pure: no database, no Dagster, no clock.

The order system is seen as fingerprints: one for each table and home month. A change is a fingerprint that differs
from the one for which a run was last asked. Runs are asked for when two looks agree, so that a burst of changes is
one run, and a run that fails puts its changes back, to be asked for again after a while.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from classic_cars.automation.watching import RETRY_SECONDS, Watching, answered
from classic_cars.contracts.order_system import PARTITIONED
from classic_cars.months import Months, contiguous, month_of

#: Table to home month (``YYYY-MM``, or ``""`` for a table without months) to fingerprint.
Fingerprints = Mapping[str, Mapping[str, str]]
#: Table to the months that changed.
Changes = dict[str, list[str]]

#: The fingerprint of what is to be read again whatever it is now; no rows have it, and neither have none.
FORGOTTEN = "forgotten"

#: A shop that never rests is read after so many seconds, though it is still changing.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Part:
    """What one run is asked for: tables, and the months of those that have some (first and last, both included).

    A part that failed may span more months than changed, see :func:`settled`.
    """

    run_key: str
    changes: Changes
    first: str = ""
    last: str = ""

    def __str__(self) -> str:
        months = f" {self.first}" if self.first == self.last else f" {self.first}..{self.last}"
        return ", ".join(f"{table}{months if any(found) else ''}" for table, found in sorted(self.changes.items()))


@dataclass(frozen=True)
class Watch(Watching):
    """The sensor's cursor."""

    #: The fingerprints for which runs were asked.
    known: Fingerprints = field(default_factory=dict)
    #: A look that differs from ``known``, and since when; it counts when it is seen twice.
    moving: str = ""
    moving_since: float = 0.0
    #: Runs that were asked for and may not be finished.
    asked: tuple[Part, ...] = ()
    #: What failed runs were asked for, and when it is asked for again.
    failed: tuple[Part, ...] = ()
    retry_at: float = 0.0
    #: The latest reconciliation whose findings were asked for.
    reconciled: int = 0

    @classmethod
    def revived(cls, found: dict[str, Any]) -> dict[str, Any]:
        return found | {name: tuple(Part(**each) for each in found[name]) for name in ("asked", "failed")}


def differences(known: Fingerprints, found: Fingerprints) -> Changes:
    """Tables and months whose fingerprints differ, appeared or vanished."""
    changes = {}
    for table in sorted({*known, *found}):
        before, now = known.get(table, {}), found.get(table, {})
        months = sorted(month for month in {*before, *now} if before.get(month) != now.get(month))
        if months:
            changes[table] = months
    return changes


def digest(found: Fingerprints) -> str:
    return hashlib.blake2b(json.dumps(found, sort_keys=True).encode(), digest_size=8).hexdigest()


def parts(changes: Changes, name: str) -> list[Part]:
    """As few runs as ask for exactly these tables and months; a run has one range of months for all its tables."""
    whole = {table: [""] for table, months in changes.items() if months == [""]}
    by_month: dict[Any, set[str]] = {}
    for table, months in changes.items():
        for month in months:
            if month:
                by_month.setdefault(month_of(month), set()).add(table)
    ranges = contiguous({month: frozenset(tables) for month, tables in by_month.items()})
    found = []
    for index, (first, last, tables) in enumerate(ranges):
        inside = [f"{month:%Y-%m}" for month in sorted(by_month) if first <= month <= last]
        rest = whole if index == len(ranges) - 1 else {}
        found.append(
            Part(f"{name}-{index}", {**dict.fromkeys(tables, inside), **rest}, f"{first:%Y-%m}", f"{last:%Y-%m}")
        )
    return found or ([Part(f"{name}-0", whole)] if whole else [])


def forgotten(watch: Watch, again: Iterable[str], reconciled: int) -> Watch:
    """Months (``YYYY-MM``) and whole tables (by name) that were found to differ are read again, whatever is known."""
    found = set(again)
    months = {each for each in found if each[:1].isdigit()}
    tables = {table: {""} for table in found - months}
    return replace(
        watch,
        known=_forgetting(watch.known, {**dict.fromkeys(PARTITIONED, months), **tables}),
        reconciled=reconciled,
    )


def _forgetting(known: Fingerprints, again: Mapping[str, Iterable[str]]) -> Fingerprints:
    """``known``, with these tables' months as changed: also those of which the order system has no rows any more."""
    unknown = {table: dict.fromkeys(months, FORGOTTEN) for table, months in again.items()}
    return {table: {**known.get(table, {}), **unknown.get(table, {})} for table in sorted({*known, *unknown})}


def settled(watch: Watch, failed: Iterable[str], now: float) -> Watch:
    """All runs that were asked for have ended; ``failed`` are the keys of those whose changes are to be asked again."""
    again = set(failed)
    parts = [part for part in watch.asked if part.run_key in again]
    span = _span(watch.asked)
    watch = replace(watch, asked=())
    if not parts:
        return watch if watch.failed else replace(watch, failed_requests=0)
    if watch.failed_requests >= len(RETRY_SECONDS):
        return replace(watch, failed_requests=0)  # given up: it counts as known until it changes
    wait = RETRY_SECONDS[watch.failed_requests]
    return replace(
        watch,
        failed=(*watch.failed, _together(parts, span)),
        failed_requests=watch.failed_requests + 1,
        retry_at=now + wait,
    )


def _span(asked: Iterable[Part]) -> tuple[str, str]:
    """The first and the last month of all; empty when there is none."""
    dated = [part for part in asked if part.first]
    return min((part.first for part in dated), default=""), max((part.last for part in dated), default="")


def _together(failed: list[Part], span: tuple[str, str]) -> Part:
    """What failed, as one part over all months of its request, those of its successful runs included.

    An order that moved to another month fails the run of the month that it left, however often that month is read
    alone: the one that it moved to, read before and sound, must be read in the same run.
    """
    changed: Changes = {}
    for part in failed:
        for table, months in part.changes.items():
            changed[table] = sorted({*changed.get(table, []), *months})
    first, last = span if any(part.first for part in failed) else ("", "")
    return Part(failed[0].run_key, dict(sorted(changed.items())), first, last)


def put_back(watch: Watch, now: float) -> Watch:
    """What failed counts as changed again once its time has come; meanwhile other changes are read as ever.

    All months between the first and the last that failed do, so that they are read in one run.
    """
    if not watch.failed or now < watch.retry_at:
        return watch
    again: dict[str, list[str]] = {}
    for part in watch.failed:
        again |= {table: [""] for table, months in part.changes.items() if months == [""]}
    first, last = _span(watch.failed)
    if first:
        months = [f"{month:%Y-%m}" for month in Months(month_of(first), month_of(last))]
        dated = {table: found for part in watch.failed for table, found in part.changes.items() if any(found)}
        one_run = len(watch.failed) == 1 and all(found == months for found in dated.values())
        # Otherwise both tables with months: with the same tables in each month it is one run.
        again |= dict.fromkeys(dated if one_run else PARTITIONED, months)
    return replace(watch, known=_forgetting(watch.known, again), failed=())


def looked(watch: Watch, found: Fingerprints, seconds: float, now: float) -> tuple[Watch, list[Part], str]:
    """What follows from a look that took ``seconds``: the new watch, runs to ask for, and why there are none."""
    watch = answered(watch, seconds, now)
    changes = differences(watch.known, found)
    if not changes:
        return replace(watch, moving="", moving_since=0.0), [], "nothing changed"
    seen = digest(found)
    since = watch.moving_since if watch.moving else now
    if watch.moving != seen and now - since < PATIENCE_SECONDS:
        return replace(watch, moving=seen, moving_since=since), [], f"{described(changes)}; waits until it is quiet"
    name = f"{watch.began:.0f}-{watch.requests}"
    asked = parts(changes, name)
    return (
        replace(
            watch,
            known=found,
            requests=watch.requests + 1,
            asked=tuple(asked),
            moving="",
            moving_since=0.0,
        ),
        asked,
        "",
    )


def described(changes: Changes) -> str:
    """``orders changed in 2 months, products changed``"""
    said = []
    for table, months in changes.items():
        if months == [""]:
            said.append(f"{table} changed")
        else:
            said.append(f"{table} changed in {months[0] if len(months) == 1 else f'{len(months)} months'}")
    return ", ".join(said)
