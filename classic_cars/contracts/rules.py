"""Row-level rules: each with its name, what it demands, and what is said of a row that breaks it.

Pandera's own checks have names such as ``in_range(1, 5)``; people read the plain words that are derived from them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ibis
import pandera.ibis as pa
from pandera.ibis import IbisData

from classic_cars.contracts.origins import REJECT

Condition = Callable[[ibis.Table], ibis.expr.types.BooleanValue]

#: Characters of a rule's name that people read, and values that its words list.
LONGEST_TITLE, LISTED = 100, 6
PRESENT = "a value is present"
#: The name of the rule for texts.
CLEAN = "clean_text"


@dataclass(frozen=True)
class Rule:
    """One row-level rule: its name, what it demands, and the condition that holds for good rows.

    The condition is NULL-safe: it is never NULL, and a NULL value breaks only the rule that forbids NULL,
    as in pandera (``ignore_na``). ``column``: the one that it is about, if it is about one.
    """

    #: Never changes with the wording: it is part of the contract's version.
    name: str
    #: What it demands, in plain words.
    description: str
    #: What is said of a row that breaks it, without the column.
    fault: str
    holds: Condition
    severity: str = REJECT
    column: str | None = None

    def __str__(self) -> str:
        return self.description if self.column is None else f"{self.column}: {self.description}"

    @property
    def broken(self) -> str:
        """What a row that breaks it is quarantined, refused or flagged for: ``quantityOrdered is not at least 1``."""
        return self.fault if self.column is None else f"{self.column} {self.fault}"

    @property
    def forbids_null(self) -> bool:
        return self.description == PRESENT


def not_null(column: str, severity: str) -> Rule:
    """The rule that a column has a value in every row."""
    return Rule(f"{column}: not null", PRESENT, "is missing", lambda table: table[column].notnull(), severity, column)


def rule_of(check: pa.Check, column: str | None, severity: str) -> Rule:
    """A pandera check of a column, or of a whole row."""
    title, condition = _title(check), _holds(check, column)
    if column is None:
        demand = check.description or title
        return Rule(title, demand, f"does not satisfy: {demand}", condition, severity)
    if check.name == CLEAN:
        demand, fault = "no surrounding white space, not empty", "has surrounding white space, or is empty"
        return Rule(f"{column}: {title}", demand, fault, condition, severity, column)
    if check.description:
        fault = f"breaks the rule: {check.description}"
        return Rule(f"{column}: {title}", check.description, fault, condition, severity, column)
    demand = _demand(check) or title
    return Rule(f"{column}: {title}", demand, f"is not {demand}", condition, severity, column)


def _demand(check: pa.Check) -> str:
    """What one of pandera's own checks demands of a value, in plain words; empty for any other."""
    given = {name: value for name, value in (check.statistics or {}).items() if value is not None}
    if check.name == "in_range":
        return f"between {_said(given['min_value'])} and {_said(given['max_value'])}"
    if check.name == "str_length":
        least, most = given.get("min_value", 0), given.get("max_value", "any number of")
        return f"{least if least == most else f'{least} to {most}'} characters long"
    if check.name == "isin":
        values = given["allowed_values"]
        listed = ", ".join(map(_said, values)) if len(values) <= LISTED else f"{len(values)} known values"
        return f"one of {listed}"
    bounds = {
        "greater_than_or_equal_to": ("at least", "min_value"),
        "greater_than": ("more than", "min_value"),
        "less_than_or_equal_to": ("at most", "max_value"),
        "less_than": ("less than", "max_value"),
    }
    words, bound = bounds.get(str(check.name), ("", ""))
    return f"{words} {_said(given[bound])}" if words else ""


def _said(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"  # bounds are days, to the last microsecond
    return f"{value:,}" if isinstance(value, int) else str(value)


def _title(check: pa.Check) -> str:
    """A check's name with its bounds: ``in_range(1, 100000)`` or ``clean_text``; long lists by their length."""
    title = str(check.error or check.name)
    lists = [each for each in (check.statistics or {}).values() if isinstance(each, Collection)]
    return title if len(title) <= LONGEST_TITLE else f"{check.name}({len(max(lists, key=len, default=()))} values)"


def _holds(check: pa.Check, column: str | None) -> Condition:
    """The condition of one pandera check, as pandera's Ibis backend would apply it."""

    def condition(table: ibis.Table) -> ibis.expr.types.BooleanValue:
        # In one order on every run: the version of a contract is made of its expressions.
        options = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in check._check_kwargs.items()}
        result = check._check_fn(IbisData(table, column), **options)
        if isinstance(result, ibis.Table):
            # pandera's checks return a projection of the table; the value below it can join one aggregate.
            (value,) = result.op().values.values()
            result = value.to_expr()
        return result.fill_null(True)

    return condition
