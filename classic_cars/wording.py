"""How numbers are put into words, ``1 row``, ``2 rows``, ``1,000 rows``, and how columns of one name are told apart."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun, in the singular only for 1."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


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
