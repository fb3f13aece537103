"""How numbers and durations are put into words (``2 rows``, ``4 minutes``), and columns of one name told apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any


def counted(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun, in the singular only for 1."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def lasting(duration: timedelta) -> str:
    """A duration in one unit, cut off: ``45 seconds``, ``1 hour``, ``47 hours``, ``3 days``; none is negative."""
    seconds = max(0, int(duration.total_seconds()))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size or (seconds >= size and unit != "day"):
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def rounded(value: Any, form: str) -> str:
    """A number as Python's ``format`` has it, but half away from zero: ``0.0385`` is ``3.9%``, ``-0.0385`` ``-3.9%``.

    Of floats what they are written as counts, so that they are rounded as the decimals that they were.
    """
    with localcontext(rounding=ROUND_HALF_UP):
        return format(Decimal(str(value)) if isinstance(value, float) else value, form)


def told_apart(names: Sequence[str]) -> list[str]:
    """The names of a result's columns, each once: of ``a, a`` the second is ``a_1``, as DuckDB has it in a subquery."""
    given, found, last = set(names), dict[str, None](), dict[str, int]()
    for name in names:
        unique = name
        while unique in found or (unique != name and unique in given):
            last[name] = last.get(name, 0) + 1
            unique = f"{name}_{last[name]}"
        found[unique] = None
    return list(found)
