"""Filters of a question: ``productLine=Planes``, ``country in USA,France``, ``month>=2004-03``, ``state=``.

Values are read as the dimension's type says and become typed literals of the expression: no text is ever put into SQL.
"""

from __future__ import annotations

import csv
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from classic_cars.contracts.cuts import DAY, EXAMPLES, Dimension
from classic_cars.errors import QuestionError

_FILTER = re.compile(r"\s*([A-Za-z]\w*)(?:\s*(!=|<=|>=|=|<|>)|\s+(in)\s)(.*)", re.DOTALL)
EXPECTED = "NAME=VALUE, NAME!=VALUE, NAME in A,B, or for time NAME>=VALUE, NAME<VALUE; nothing after = means missing"
_ORDERED: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Filter:
    """A condition on one dimension. ``values`` are of its type; None is a value that is missing."""

    dimension: Dimension
    operator: str
    values: tuple[Any, ...]

    @property
    def is_bound(self) -> bool:
        """Such as ``month>=2004-03``: its value need not be one that anything has."""
        return self.operator in _ORDERED

    def holds(self, value: ir.Value) -> ir.BooleanValue:
        """Never NULL: ``!=`` is what ``=`` is not, also where the value is missing."""
        if self.operator in _ORDERED:
            return _ORDERED[self.operator](value, ibis.literal(self.values[0])).fill_null(False)
        known = [each for each in self.values if each is not None]
        found = value.isin([ibis.literal(each) for each in known]).fill_null(False) if known else ibis.literal(False)
        if None in self.values:
            found = found | value.isnull()
        return ~found if self.operator == "!=" else found


def parsed(text: str) -> tuple[str, str, list[str]]:
    """Name, operator and texts of the values. Raises ``QuestionError``."""
    match = _FILTER.fullmatch(text)
    if match is None:
        raise QuestionError(f"filter {text!r}: expected {EXPECTED}")
    name, symbol, word, rest = match.groups()
    if word:
        try:
            (values,) = csv.reader([rest.replace("\n", " ")], skipinitialspace=True)
        except csv.Error as error:
            raise QuestionError(f"filter {text!r}: cannot be read ({error}); expected {name} in A,B") from None
        if not values:
            raise QuestionError(f"filter {text!r}: expected values after it, such as {name} in A,B")
        return name, word, [each.strip() for each in values]
    return name, symbol, [rest.strip()]


def typed(dimension: Dimension, symbol: str, texts: list[str]) -> Filter:
    """The filter. Raises ``QuestionError`` when a value is not of the dimension's type, or the type has no order."""
    if symbol in _ORDERED and dimension.key != DAY:
        raise QuestionError(f"{dimension.name} {symbol}: {dimension.name} has no order; use =, != or in")
    if symbol in _ORDERED and not texts[0]:
        raise QuestionError(f"{dimension.name} {symbol}: expected {EXAMPLES[dimension.parse]} after it")
    return Filter(dimension, symbol, tuple(_value(dimension, each) for each in texts))


def _value(dimension: Dimension, text: str) -> Any:
    if not text:
        return None
    try:
        return dimension.parse(text)
    except ValueError:
        raise QuestionError(f"{dimension.name}: found {text!r}, expected {EXAMPLES[dimension.parse]}") from None
