"""What shop is wanted: its size, its first and last day, and which of its orders go wrong.

A ``ShopPlan`` is everything that the rows of a new shop follow from. Deterministic, small, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from math import isfinite, isqrt

import numpy as np

from classic_cars.errors import ClassicCarsError
from classic_cars_shop.columns import day_number
from classic_cars_shop.randomness import Ints, stream
from classic_cars_shop.seasons import MONTHS, growing_weights, month_index, month_start

#: Rows of a shop of scale 1, as many as the real shop had.
CUSTOMERS, PRODUCTS, ORDERS, REPRESENTATIVES = 122, 110, 326, 17

#: Small shops still need something to sell, to somebody.
FEWEST_CUSTOMERS, FEWEST_PRODUCTS = 30, 40

#: Keeps order numbers within 32 bits.
LARGEST_SCALE = 1_000_000

#: Last day of the default shop.
LAST_DAY = date(2005, 5, 31)

#: No shop lives longer: later days are not meant by anybody.
LAST_DAY_OF_ALL = date(2099, 12, 31)

#: No shop begins before this month.
FIRST_MONTH = date(2003, 1, 1)


class ShopInputError(ClassicCarsError):
    """What the simulator was asked for, or a file that it was given, is unusable."""


@dataclass(frozen=True)
class Trouble:
    """A kind of order that goes wrong: how many of 326, and how old they are in days on the last day."""

    kind: str
    share: int
    youngest: int
    oldest: int | None = None


#: In this order each takes positions that the ones before left.
TROUBLES = (
    Trouble("Disputed", 3, youngest=16, oldest=48),
    Trouble("On Hold", 4, youngest=20, oldest=200),
    Trouble("Late", 1, youngest=75),
    Trouble("Cancelled", 4, youngest=90),
    Trouble("Cancelled yet shipped", 2, youngest=90),
    Trouble("Resolved", 4, youngest=60),
)


@dataclass(frozen=True)
class ShopPlan:
    """A shop of some size that opened on ``first`` and has lived until ``last``."""

    scale: float
    seed: int
    first: date
    last: date

    @classmethod
    def make(cls, scale: float = 1, seed: int = 0, until: date | None = None) -> ShopPlan:
        """29 months that end on ``until``; fewer if they would begin before 2003-01."""
        last = until or LAST_DAY
        if not isfinite(scale) or not 0 < scale <= LARGEST_SCALE:
            raise ShopInputError(f"scale: found {scale}, expected a number above 0, {LARGEST_SCALE:,} at most")
        if not FIRST_MONTH + timedelta(days=30) <= last <= LAST_DAY_OF_ALL:
            raise ShopInputError(f"until: found {last}, expected a day from 2003-01-31 to {LAST_DAY_OF_ALL}")
        first = max(FIRST_MONTH, month_start(month_index(last) - MONTHS + 1))
        return cls(scale, seed, first, last)

    @cached_property
    def customers(self) -> int:
        return max(FEWEST_CUSTOMERS, round(CUSTOMERS * self.scale))

    @cached_property
    def products(self) -> int:
        """Grows with the square root of the scale: a larger shop sells more of each model."""
        return max(FEWEST_PRODUCTS, isqrt(int(PRODUCTS * PRODUCTS * self.scale)))

    @cached_property
    def representatives(self) -> int:
        return REPRESENTATIVES * max(1, isqrt(int(self.scale)))

    @cached_property
    def orders(self) -> int:
        """In proportion to the part of the 29 months that the shop has lived."""
        full = growing_weights(self.first, month_start(month_index(self.first) + MONTHS) - timedelta(days=1))
        return max(1, round(ORDERS * self.scale * int(self._passed[-1]) / int(full.sum())))

    @cached_property
    def _passed(self) -> Ints:
        """How much of the business is done at the end of each day."""
        return np.cumsum(growing_weights(self.first, self.last))

    def order_days(self, positions: Ints) -> Ints:
        """Days of orders; orders are numbered by day."""
        # The i-th of N orders falls somewhere in the i-th of N equal parts of the business. Quotient and
        # remainder are apart because i * business overflows in large shops.
        business = int(self._passed[-1])
        part, rest = divmod(business, self.orders)
        start = positions * part + positions * rest // self.orders
        jitter = stream(self.seed, "order days", int(positions[0])).integers(0, max(part, 1), len(positions))
        return day_number(self.first) + np.searchsorted(self._passed, np.minimum(start + jitter, business - 1), "right")

    def first_order_after(self, day: date) -> int:
        """Position of the first order that is surely younger than ``day``."""
        before = int(self._passed[(day - self.first).days]) if day >= self.first else 0
        return min(self.orders, -(-before * self.orders // int(self._passed[-1])))

    @cached_property
    def troubles(self) -> dict[str, Ints]:
        """Sorted positions of the orders of each kind of trouble, in the real shop's proportions."""
        taken: set[int] = set()
        found = {}
        for trouble in TROUBLES:
            rng = stream(self.seed, f"trouble {trouble.kind}")
            found[trouble.kind] = self._spread(rng, trouble, taken)
        return found

    def _spread(self, rng: np.random.Generator, trouble: Trouble, taken: set[int]) -> Ints:
        oldest = self.last - timedelta(days=trouble.oldest) if trouble.oldest else self.first - timedelta(days=1)
        low = self.first_order_after(oldest)
        high = self.first_order_after(self.last - timedelta(days=trouble.youngest))
        wanted = min(round(trouble.share * self.orders / ORDERS), max(0, high - low - len(TROUBLES)))
        starts = low + (np.arange(wanted, dtype=np.int64) * (high - low)) // max(wanted, 1)
        jitter = rng.integers(0, max(1, (high - low) // max(wanted, 1)), wanted)
        positions = []
        for position in (starts + jitter).tolist():
            while position in taken:
                position = low + (position + 1 - low) % (high - low)
            taken.add(position)
            positions.append(position)
        return np.array(sorted(positions), np.int64)
