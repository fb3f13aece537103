"""How numbers are put into words: ``1 row``, ``2 rows``, ``1,000 rows``."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun, in the singular only for 1."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
