"""Two sides of a comparison, group by group, as tables for people: group, expected, actual, difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

#: Groups that a table shows at most, those that differ first: five years of months.
SHOWN = 60

Number = int | Decimal


@dataclass(frozen=True)
class Group:
    """One group: what it is called by, and by measure the pair (expected, actual)."""

    by: Mapping[str, Any]
    measures: Mapping[str, tuple[Number, Number]]

    @property
    def differs(self) -> bool:
        return any(expected != actual for expected, actual in self.measures.values())


@dataclass(frozen=True)
class Compared:
    """What a comparison found: groups, those that differ, and by measure the absolute differences of all groups."""

    groups: int
    wrong: int
    differences: Mapping[str, Any]
    #: Those that differ; all of them when they are few.
    shown: Sequence[Group]

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Compared:
        """Of groups in memory."""
        differences: dict[str, Any] = {}
        for group in groups:
            for name, (expected, actual) in group.measures.items():
                differences[name] = differences.get(name, 0) + abs(actual - expected)
        return cls(len(groups), sum(each.differs for each in groups), differences, groups)

    def facts(self, name: str, start: str = "") -> dict[str, Any]:
        """As facts of a check; ``name`` says by what it compares."""
        numbers = {f"{start}groups compared": self.groups, f"{start}groups that differ": self.wrong}
        differences = {f"{start}difference in {measure}": value for measure, value in self.differences.items()}
        return numbers | differences | {f"{measure} {name}": rows for measure, rows in self._tables().items()}

    def _tables(self) -> dict[str, list[dict[str, Any]]]:
        """By measure, its value in each group that is shown: of money, and of whatever differs."""
        found: dict[str, list[dict[str, Any]]] = {}
        for group in sorted(self.shown, key=lambda each: not each.differs)[:SHOWN]:
            if self.groups > SHOWN and not group.differs:
                break
            for name, (expected, actual) in group.measures.items():
                row = {**group.by, "expected": expected, "actual": actual, "difference": actual - expected}
                found.setdefault(name, []).append(row)
        return {
            name: rows
            for name, rows in found.items()
            if any(isinstance(row["expected"], Decimal) or row["difference"] for row in rows)
        }
