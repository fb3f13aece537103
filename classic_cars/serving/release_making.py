"""Making a release: what is published is held fast, read back and compared, and put after the one before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from classic_cars.contracts.base import RELEASED, Contract
from classic_cars.errors import StoreDamaged, StoreError, TableMissing
from classic_cars.serving.compared import contradicting, proves, whole
from classic_cars.serving.completeness import Balance, balances, published_tally
from classic_cars.serving.releases import Release, newest, put, release_of
from classic_cars.stores.base import Reading, Store
from classic_cars.stores.columns import of_other_columns
from classic_cars.stores.pins import Pins, Shelf
from classic_cars.stores.sql import quoted, table_name

#: How often one is begun before it is left to the runs that make others.
ATTEMPTS = 5


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt: the current release, if there is one, and why there is no newer one, if that is so."""

    release: Release | None
    is_new: bool = False
    reasons: tuple[str, ...] = ()
    #: Whether that is because some table was never published yet.
    missing: bool = False
    #: Whether it is because something broke, such as a full disk, and not because tables do not agree.
    failed: bool = False


def make_release(
    store: Store,
    contracts: Iterable[Contract],
    run_id: str,
    proven: datetime | None = None,
    now: datetime | None = None,
) -> Outcome:
    """Make a release of what is published, if it agrees with itself and with source, and is not the current one.

    ``contracts``: of all tables; those of ``RELEASED`` are released. Where another run makes one meanwhile it is begun
    again: what was held fast before may be older. Raises ``StoreError`` when the store cannot be read, or a copy
    differs from its table; the current release then stays.
    """
    wanted, before = [each for each in contracts if each.layer in RELEASED], None
    for _ in range(ATTEMPTS):
        number = newest(store.shelf)
        with suppress(StoreDamaged, TableMissing):  # a sound one takes its place
            before = release_of(store.shelf, number) if number else None
        outcome = _attempted(store, wanted, number, before, run_id, proven, now or datetime.now(UTC))
        if outcome is not None:
            return outcome
        store.release()
    reason = f"other runs made releases meanwhile, {ATTEMPTS} times; run again when they have finished"
    return _refused(store.shelf, before, [reason])


def _attempted(
    store: Store,
    wanted: Sequence[Contract],
    number: int,
    before: Release | None,
    run_id: str,
    proven: datetime | None,
    now: datetime,
) -> Outcome | None:
    """None when another release was made since ``before``, which has that ``number``."""
    shelf = store.shelf
    if missing := sorted({each.address for each in wanted} - store.row_counts().keys()):
        return replace(_refused(shelf, before, [f"{', '.join(missing)} never published"]), missing=True)
    if of_before := of_other_columns(store, wanted):
        return _refused(shelf, before, of_before)
    proofs = balances(store)
    if unbalanced := [each.line() for each in proofs if not each.balanced]:
        return _refused(shelf, before, unbalanced)
    known = before.tables if before is not None else {}
    pins = store.pin(wanted, known)
    if pins == known:
        shelf.note("")
        return Outcome(before)
    compared = before.compared if before is not None and proves(before.compared, now) else None
    try:
        reasons = _examined(store, pins, wanted, known, proofs, known if compared else {})
    except StoreError:
        if not known:
            raise
        pins, compared = store.pin(wanted, {}), None  # a copy that was there may be damaged
        reasons = _examined(store, pins, wanted, {}, proofs, {})
    if reasons:
        store.sweep()
        return _refused(shelf, before, reasons)
    release = Release.of(number + 1, run_id, proven, proofs, pins, compared or whole(now))
    return Outcome(release, is_new=True) if put(store, release) else None


def _examined(
    store: Store, pins: Pins, wanted: Iterable[Contract], known: Pins, proofs: Iterable[Balance], passed: Pins
) -> list[str]:
    """What is wrong with what was held fast. Raises ``StoreError`` when it cannot be read, or is not the store's.

    ``known``: what has the store's rows. ``passed``: what agrees with itself by the comparisons that are made now.
    """
    held = store.at(pins)
    try:
        _must_be_equal(store, held, [each for each in wanted if known.get(each.address) != pins[each.address]])
        for proof in proofs:
            found = published_tally(held, proof.subject)
            if found != proof.published:  # several runs may publish to a lake at once
                return [f"{proof.subject}: another run published meanwhile ({found} and {proof.published})"]
        return contradicting(store, held, pins, passed)
    finally:
        held.release()


def _refused(shelf: Shelf, before: Release | None, reasons: Sequence[str]) -> Outcome:
    shelf.note("; ".join(reasons))
    return Outcome(before, reasons=tuple(reasons))


def _must_be_equal(store: Reading, held: Reading, contracts: Iterable[Contract]) -> None:
    """What was held fast has the rows of the published table, and the sum of each of its amounts."""
    for contract in contracts:
        sums = [f"sum({quoted(name)})" for name, kind in contract.types.items() if kind.is_decimal()]
        question = f"SELECT {', '.join(['count(*)', *sums])} FROM {table_name(contract)}"
        found, expected = _row(held, question), _row(store, question)
        if found != expected:
            raise StoreError(
                f"{contract.address}: its copy has {found}, expected {expected} (rows, then the sum of each amount); "
                "no release was made. Another run published meanwhile, or a file is damaged: run again"
            )


def _row(tables: Reading, question: str) -> list[Any]:
    (row,) = tables.query(question).read_all().to_pylist()
    return list(row.values())
