"""When a shop sells: growth over the months, the rush of October and November, quiet weekends.

Integer weights only; how many orders they mean is for the caller to say.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from classic_cars_shop.columns import EPOCH
from classic_cars_shop.randomness import Ints

#: Months of history that a new shop has.
MONTHS = 29

#: January to December, in percent of an ordinary month.
SEASON = np.array([95, 92, 98, 100, 100, 104, 104, 100, 108, 150, 300, 112], np.int64)

#: Monday to Sunday.
WEEKDAY = np.array([50, 56, 64, 59, 69, 17, 11], np.int64)

#: Orders of the first month, and what each month adds, in the same unit.
START, GROWTH = 600, 27


def month_index(day: date) -> int:
    """Months since year 0."""
    return day.year * 12 + day.month - 1


def month_start(index: int) -> date:
    """First day of the month with that index."""
    return date(index // 12, index % 12 + 1, 1)


def day_weights(first: date, last: date) -> Ints:
    """How busy each day from ``first`` to ``last`` is: season and weekday, without growth."""
    numbers = np.arange(first.toordinal(), last.toordinal() + 1)
    months = (numbers - EPOCH).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    return SEASON[months] * WEEKDAY[(numbers - 1) % 7]


def growing_weights(first: date, last: date) -> Ints:
    """:func:`day_weights` of a shop that opened on ``first`` and grows month by month."""
    numbers = np.arange(first.toordinal(), last.toordinal() + 1) - EPOCH
    months = numbers.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return day_weights(first, last) * (START + GROWTH * (months - months[0]))
