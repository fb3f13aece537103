"""The sensor that polls the order system and observes what changed there, new rows and edits of old ones alike.

It asks for cheap signs of change, polls the tables that moved (:mod:`classic_cars.automation.sieve`) for their
fingerprints (:mod:`classic_cars.sources.fingerprints`), decides (:mod:`classic_cars.automation.changes`) and records
observations with data versions. It asks for no runs: :mod:`classic_cars.automation.follow` does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import dagster as dg

from classic_cars.automation import changes, sieve, stopped
from classic_cars.automation.changes import Changes, OrderSystemPollState, Poll
from classic_cars.automation.history import under_way, unread
from classic_cars.automation.lingering import looks
from classic_cars.automation.watching import SHARE, answered, clock, due_now, failing, poll_failed
from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER
from classic_cars.errors import SourceError
from classic_cars.months import month_of
from classic_cars.sources.order_system import OrderSystem
from classic_cars.tables.external import DATA_VERSION, observed, versions_of
from classic_cars.tables.live_agreement import disagreement
from classic_cars.tables.partitions import add_months, known_months, to_reorder
from classic_cars.wording import counted

SENSOR = "order_system_changes"
SYSTEM = "order_system"
#: Where the instance keeps what grows with the months.
FINGERPRINTS = "classic_cars/order_system/fingerprints"
#: Less than the five seconds of Dagster's own round, so that every round counts.
TICK_SECONDS = 4
#: Between two looks of a tick for signs of change; what changes no more for so long is quiet.
LOOK_SECONDS = 1.0
TABLES = [table.name for table in READ_ORDER]

#: Tables that cannot be read, and why.
Unreadable = Mapping[str, SourceError]


@dataclass(frozen=True)
class Tick:
    """What one tick leads to: the new cursor, asset events, and in words why nothing."""

    watch: OrderSystemPollState
    reason: str = ""
    events: Sequence[dg.AssetObservation | dg.AssetCheckEvaluation] = ()


def order_system_sensor(status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Observes the order system's tables and months that changed."""

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=status,
        required_resource_keys={SYSTEM},
        description="Observes what changed in the order system: new rows, edits of old ones, deletions.",
    )
    def order_system_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        memory = context.instance.daemon_cursor_storage
        remembered = memory.get_cursor_values({FINGERPRINTS}).get(FINGERPRINTS)
        watch = OrderSystemPollState.load(context.cursor).recalling(remembered)
        done = watched(watch, getattr(context.resources, SYSTEM), context.instance)
        if (known := done.watch.remembered()) != remembered:
            memory.set_cursor_values({FINGERPRINTS: known})
        return dg.SensorResult(
            asset_events=list(done.events),
            skip_reason=dg.SkipReason(done.reason) if done.reason else None,
            cursor=done.watch.dump(),
        )

    return order_system_changes


def watched(watch: OrderSystemPollState, order_system: OrderSystem, instance: dg.DagsterInstance) -> Tick:
    """A tick, and more of them while it may stay: when signs of change are others than it saw, until one observes."""
    done = tick(watch, order_system, instance)
    for _ in looks(LOOK_SECONDS, at_once=False):
        if done.events or done.watch.failing_since:
            break
        started = time.monotonic()
        try:
            signs = order_system.change_signs()
        except SourceError:
            break  # the next tick says what it is
        if time.monotonic() - started > LOOK_SECONDS * SHARE:
            break  # too dear to be asked for more than once a tick
        if done.watch.moving_since or sieve.are_new(done.watch, signs):
            done = tick(done.watch, order_system, instance)
    return done


def tick(watch: OrderSystemPollState, order_system: OrderSystem, instance: dg.DagsterInstance) -> Tick:
    """One tick: stop the tables that cannot be read, and poll the others."""
    started = time.time()
    watch = watch.at(started)
    if started < watch.not_before:
        return Tick(watch, failing(watch))
    try:
        unreadable = order_system.unreadable()
    except SourceError as error:
        return _down(watch, error)
    reported = stopped.evaluations(instance, TABLES, unreadable)
    if watch.failing_since or any(each.passed for each in reported):
        watch = due_now(watch, started)
    done = _polled(watch, order_system, instance, unreadable)
    said = "; ".join(filter(None, (stopped.noted(unreadable), done.reason)))
    return replace(done, reason=said, events=[*reported, *done.events])


def _polled(
    watch: OrderSystemPollState, order_system: OrderSystem, instance: dg.DagsterInstance, unreadable: Unreadable
) -> Tick:
    """Ask for signs of change, poll the tables that need it, and observe what changed."""
    seen = _observed(instance)
    try:
        asked = _asked(watch, order_system, instance, seen, unreadable)
    except SourceError as error:
        return _failed(watch, order_system, unreadable, error)
    now = time.time()
    watch = sieve.noted(sieve.distrusting(watch, asked.missed, now), asked.plan, asked.signs, asked.polling, now)
    before, (watch, changed, reason) = watch, changes.decided(watch, asked.poll, asked.seconds, now)
    changed = changes.in_every_table(changed, seen)
    changed = {table: months for table, months in changed.items() if table not in unreadable}
    if not _have_partitions(instance, asked.poll, changed):
        if changed:
            watch = replace(
                before, paid_off=watch.paid_off, not_before=0.0, failing_since=0.0, failures=0, trouble="", cause=""
            )
        return Tick(watch, reason or "new months become partitions when the run under way ended")
    try:
        totals = _totals(order_system, changed)
        after = order_system.change_signs() if changed else {}
    except SourceError as error:
        return _failed(before, order_system, unreadable, error)
    disproved = asked.poll.differing if watch.reconciled > before.reconciled else {}
    watch = answered(watch, time.time() - now, time.time())
    now = time.time()
    versions = changes.to_observe(changed, asked.poll, seen, totals, now, disproved)
    doubtful = sieve.doubtful(watch, asked.plan, (asked.signs, after), asked.poll, changed, versions, now)
    then = {table: {**seen.get(table, {}), **versions.get(table, {})} for table in TABLES}
    watch = sieve.concluded(watch, asked.plan, asked.signs, asked.poll, changed, then, doubtful, now)
    return _observing(watch, asked, versions, reason)


def _failed(watch: OrderSystemPollState, order_system: OrderSystem, unreadable: Unreadable, error: SourceError) -> Tick:
    """Says what ``classic-cars doctor`` would say, if it finds something: a poll's own error may name no column."""
    try:
        if order_system.unreadable().keys() - unreadable.keys():
            return Tick(watch, "a schema changed during the poll; polls again at once")
    except SourceError as found:
        error = found
    return _down(watch, error)


def _down(watch: OrderSystemPollState, error: SourceError) -> Tick:
    watch = poll_failed(watch, time.time(), "order system", error)
    return Tick(watch, failing(watch))


@dataclass(frozen=True)
class _Asked:
    """What the order system answered, and how many seconds it took: all of it, and the poll alone."""

    signs: sieve.Signs
    plan: sieve.Plan
    poll: Poll
    missed: list[str]
    seconds: float
    polling: float


def _asked(
    watch: OrderSystemPollState,
    order_system: OrderSystem,
    instance: dg.DagsterInstance,
    seen: changes.Versions,
    unreadable: Unreadable,
) -> _Asked:
    started, known = time.time(), changes.known(watch, seen)
    signs = order_system.change_signs()
    readable = [table for table in TABLES if table not in unreadable]
    plan = sieve.planned(watch, signs, known, readable, time.time())
    polling = time.time()
    found = order_system.fingerprints([t for t in READ_ORDER if t.name in plan.tables]) if plan.tables else {}
    polled = time.time()
    poll = _poll(instance, known, found, plan, unreadable)
    missed = _missed(order_system, signs, sieve.suspects(plan, poll))
    return _Asked(signs, plan, poll, missed, polled - started, polled - polling)


def _observing(watch: OrderSystemPollState, asked: _Asked, versions: changes.Versions, reason: str) -> Tick:
    observing = {table: sorted(months) for table, months in versions.items()}
    said = [f"{changes.described(observing)}: observed" if observing else reason, asked.plan.later]
    said = [each for each in (*said, _said_of(asked.missed)) if each] or ["nothing changed"]
    return Tick(watch, f"{_trouble(watch)}{'; '.join(said)}", _observations(versions))


def _totals(order_system: OrderSystem, changed: Changes) -> changes.Versions:
    """The data versions that these tables and months have now."""
    if not changed:
        return {}
    months = {table: [month_of(each) for each in found if each] for table, found in changed.items()}
    with order_system.snapshot() as snapshot:
        return {
            table.name: versions_of(snapshot.control_totals(table, months[table.name] or None), months[table.name])
            for table in READ_ORDER
            if table.name in changed
        }


def _observed(instance: dg.DagsterInstance) -> changes.Versions:
    return {
        table: observed(instance, dg.AssetKey([SYSTEM, table]), partitioned=table in PARTITIONED) for table in TABLES
    }


def _poll(
    instance: dg.DagsterInstance,
    known: changes.Fingerprints,
    found: changes.Fingerprints,
    plan: sieve.Plan,
    unreadable: Unreadable,
) -> Poll:
    readable = [table for table in TABLES if table not in unreadable]
    pending = unread(instance, SYSTEM, readable, frozenset(PARTITIONED))
    reconciled, again = disagreement(instance)
    differing = changes.by_table(again)
    if unreadable.keys() & differing.keys():
        reconciled, differing = 0, {}  # once all of it can be read
    return Poll(
        known,
        {table: found.get(table, known.get(table, {})) for table in TABLES},
        quiet=plan.quiet,
        waiting=plan.waiting,
        deferred=bool(plan.later),
        pending=pending,
        busy=bool(pending and under_way(instance)),
        reconciled=reconciled,
        differing=differing,
    )


def _missed(order_system: OrderSystem, signs: sieve.Signs, suspects: frozenset[str]) -> list[str]:
    """Tables whose signs are still the same, though their rows are not."""
    now = order_system.change_signs() if suspects else {}
    return sorted(table for table in suspects if table in now and now[table].token == signs[table].token)


def _said_of(missed: list[str]) -> str:
    hours = sieve.DISTRUST_SECONDS / 3600
    return f"no sign was seen of a change of {', '.join(missed)}, polled for {hours:.0f} h without" if missed else ""


def _have_partitions(instance: dg.DagsterInstance, poll: Poll, changed: Changes) -> bool:
    """Make partitions of all months that the order system has; false while they have to wait for a run under way.

    It would miss the months that are put behind an earlier new one. They are not requested of Dagster: in one tick it
    refuses to delete and to add the same keys, and it forgets observations of months that are no partitions yet.
    """
    wanted = {month for seen in (poll.found, changed) for table in PARTITIONED for month in seen.get(table, ())}
    delete, _ = to_reorder(known_months(instance), wanted)
    if delete and under_way(instance):
        return False
    add_months(instance, wanted)
    return True


def _observations(versions: changes.Versions) -> list[dg.AssetObservation]:
    return [
        dg.AssetObservation(dg.AssetKey([SYSTEM, table]), partition=month or None, tags={DATA_VERSION: version})
        for table, months in versions.items()
        for month, version in months.items()
    ]


def _trouble(watch: OrderSystemPollState) -> str:
    if watch.retries:
        return f"asked again {counted(watch.retries, 'time')} for what was not read, next at {clock(watch.retry_at)}; "
    return ""
