"""What a release was compared by: what the next one can rely on.

A release that passed the same comparisons proves them for every row that is still there. Such proofs are built on each
other for a day: then everything is compared again, so that rows that changed where they lie are found, too.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from classic_cars.serving.consistency import comparisons, contradictions
from classic_cars.serving.releases import Compared
from classic_cars.serving.since import EVERYTHING, changed_since
from classic_cars.stores.base import Pinned, Store
from classic_cars.stores.pins import Pins

#: How long proofs are built on each other.
RELIED_ON = timedelta(days=1)


def whole(now: datetime) -> Compared:
    """That everything was compared now, by what is compared today."""
    return Compared(by=comparisons(), everything=now)


def proves(compared: Compared | None, now: datetime) -> bool:
    """Whether what was compared so need not be compared again."""
    return (
        compared is not None and compared.by == comparisons() and timedelta(0) <= now - compared.everything < RELIED_ON
    )


def contradicting(store: Store, held: Pinned, pins: Pins, passed: Pins) -> list[str]:
    """What contradicts itself in the tables that are held by ``pins``. Raises ``StoreError`` when one cannot be read.

    ``passed``: pins of a release that passed the same comparisons; without any everything is compared.
    """
    if not passed:
        return contradictions(held, EVERYTHING)
    before = store.at(passed)
    try:
        return contradictions(held, changed_since(before, passed, held, pins))
    finally:
        before.release()
