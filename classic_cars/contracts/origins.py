"""Where a column comes from, and which rows a table has: the part of a contract that the proof goes by.

A column comes, unless its contract says otherwise, from the column of its own name: in the table that gives this
one its rows (the grain), or in a table that is reached from there through that table's key. What is renamed,
derived or has a stand-in for missing values says so in its field's ``metadata``. Nothing here reads data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ibis
import ibis.expr.types as ir

#: What stands in the warehouse for a text that is missing, and for a reference that is: Kimball's unknown member.
UNKNOWN, UNKNOWN_NUMBER = "Unknown", -1

#: Column of the expected rows of a table with inferred members: whether the row is one.
INFERRED = "_inferred"

ORIGIN, ON_VIOLATION, SPELLINGS, EXPECTED_VALUE = "origin", "on_violation", "spellings", "expected value"

#: From the expected row, with every column that can be reached by its name, to the value of a derived column.
Formula = Callable[[ibis.Table], ir.Value]


@dataclass(frozen=True)
class ColumnOrigin:
    """``columns``: ``layer/table.column`` of each column that the values are made of.

    ``derived``: made of them, by ``formula`` if there is one; otherwise copied from the only one, or by name when
    there is none. ``missing``: what stands for NULL.
    """

    columns: tuple[str, ...] = ()
    derived: bool = False
    formula: Formula | None = None
    missing: Any = None


def copied(column: str = "", *, missing: Any = None) -> dict[str, Any]:
    """Field metadata: the values of ``layer/table.column``, by default of the column of the same name."""
    return {ORIGIN: ColumnOrigin((column,) if column else (), missing=missing)}


def derived(*columns: str, by: Formula | None = None, missing: Any = None) -> dict[str, Any]:
    """Field metadata: made of exactly these ``layer/table.column``.

    ``by``: how, in the contract's own words; without it the table must have another proof of the column.
    """
    return {ORIGIN: ColumnOrigin(columns, derived=True, formula=by, missing=missing)}


@dataclass(frozen=True)
class Inferred:
    """Members are inferred from ``column`` of ``table`` (``layer/name``) that refer to no row."""

    table: str
    column: str


@dataclass(frozen=True)
class Grain:
    """The rows of a table: one for each row of ``table`` (``layer/name``), or for each distinct one.

    ``inferred``: and one for each value of these references that the table's key does not have. ``where``: only the
    expected rows that satisfy it. ``unknown``: key of the member that a missing reference means.
    """

    table: str
    inferred: tuple[Inferred, ...] = ()
    distinct: bool = False
    where: Callable[[ibis.Table], ir.BooleanValue] | None = None
    unknown: Any = None


def grain(
    table: str,
    *inferred: str,
    distinct: bool = False,
    where: Callable[[ibis.Table], ir.BooleanValue] | None = None,
    unknown: Any = None,
) -> Grain:
    """``inferred``: references as ``layer/table.column``."""
    return Grain(table, tuple(Inferred(*split(each)) for each in inferred), distinct, where, unknown)


def split(column: str) -> tuple[str, str]:
    """``layer/table.column`` as (``layer/table``, ``column``)."""
    table, _, name = column.rpartition(".")
    return table, name


# The plan of a table's proof, made of its contract and those of its inputs --------------------------------

#: ``(layer/table, column)``
Column = tuple[str, str]


@dataclass(frozen=True)
class Lookup:
    """A table that is reached through its key: ``columns``, in the order of its key, hold the values."""

    table: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Origins:
    """Where the columns of one table come from. Without ``grain`` the data is proven by reconciliations alone."""

    grain: Grain | None
    #: In the order in which they are reached.
    lookups: tuple[Lookup, ...] = ()
    #: Copied columns: where their values are.
    copied: Mapping[str, Column] = field(default_factory=dict)
    #: All columns: of what they are made.
    made_of: Mapping[str, frozenset[Column]] = field(default_factory=dict)


# What becomes of a value that breaks a rule of its column ------------------------------------------------

#: The row cannot be counted: it is quarantined.
REJECT = "reject"
#: The value becomes NULL; the raw one is kept in ``_rescued_data``, the row stays.
REPAIR = "repair"
#: The value stays as it is, and is counted as a warning.
FLAG = "flag"

#: Field metadata: a value that breaks a rule of the column becomes NULL. The column is nullable.
REPAIRED = {ON_VIOLATION: REPAIR}
#: Field metadata: a value is expected; a missing one is counted as a warning, and the row stays.
EXPECTED = {EXPECTED_VALUE: True}


def spelled(spellings: Iterable[str]) -> dict[str, Any]:
    """Field metadata: a text that differs from one of these only in upper and lower case becomes it."""
    return {SPELLINGS: tuple(spellings)}
