"""What is said of a statement that names a table that is not there: which one, and the nearest that is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

import duckdb

from classic_cars.stores.sql import tables_in

#: DuckDB's words for a table that is not there, or whose schema is not.
_NOT_THERE = re.compile(r"(?i)\btable with name .* does not exist|\bschema .* does not exist")


def of_no_table(error: duckdb.Error) -> bool:
    """Whether DuckDB says that a table is not there."""
    return isinstance(error, duckdb.CatalogException) and _NOT_THERE.search(str(error)) is not None


def what_is_wrong(sql: str, error: duckdb.Error, known: Callable[[], Iterable[str]]) -> str:
    """DuckDB's message; of a table that is not among the known (``layer/name``), that, with the nearest one.

    A statement may have been shown only the tables that it names: DuckDB then knows no near ones, and maybe no schema.
    """
    if not of_no_table(error):
        return str(error)
    there = {each.replace("/", ".") for each in known()}
    spelt = {name.casefold(): each for each in sorted(there) for name in (each, each.partition(".")[2])}
    asked = {each.replace('"', "").casefold(): each for each in sorted(tables_in(sql, qualified=True))}
    said = str(error).casefold()
    lost = [each for each in asked if each not in spelt and each.rpartition(".")[2] in said.partition("does not")[0]]
    if not lost:
        return str(error)
    name = lost[0]
    near = [
        found
        for each in (name, name.rpartition(".")[2])  # one of another layer, too
        for found in difflib.get_close_matches(each, spelt, n=1, cutoff=0.75)
    ]
    meant = f"did you mean {spelt[near[0]]}?" if near else "`classic-cars tables` lists those that there are"
    return f"table {asked[name]} does not exist; {meant}"
