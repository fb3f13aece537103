"""Pieces of DuckDB's SQL that both stores write: names, texts, types and the condition of some months."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import ibis
import ibis.expr.datatypes as dt
from ibis.backends.sql.datatypes import DuckDBType

from classic_cars.contracts.base import Contract
from classic_cars.errors import ContractError
from classic_cars.months import Months

#: What DuckDB takes before it spills to disk, unless it is told otherwise.
MEMORY = "700MB"

#: The schema of what a DuckDB store keeps beside the tables: which run published the current version of each.
OWN = "platform"
PUBLICATIONS = f"{OWN}.publications"


def same_columns(contract: Contract, rows: ibis.Table) -> None:
    """Raises ``ContractError`` when ``rows`` lack a column of the contract, or have it with another type."""
    found = ibis.schema({name: kind for name, kind in rows.schema().items() if name in contract.types})
    if plain(found) != plain(contract.types):
        raise ContractError(
            f"{contract.address}: found {listed(found)}, expected {listed(contract.types)}; change the asset's "
            "function or its contract so that both agree"
        )


def plain(schema: ibis.Schema) -> dict[str, dt.DataType]:
    """Names and types, whatever is known of NULLs."""
    return {name: kind.copy(nullable=True) for name, kind in schema.items()}


def listed(schema: ibis.Schema) -> str:
    """Columns and types, for an error message."""
    return ", ".join(f"{name} {kind}" for name, kind in schema.items())


def duckdb_type(kind: dt.DataType) -> str:
    return DuckDBType.to_string(kind)


def in_months(contract: Contract, months: Months) -> str:
    column = quoted(contract.partitioned_by or "")
    return f"{column} >= DATE '{months.first}' AND {column} < DATE '{months.end}'"


def only_reach(connection: duckdb.DuckDBPyConnection, places: Sequence[str]) -> None:
    """Statements see these folders or prefixes from now on, and nothing else of the machine."""
    listed = ", ".join(literal(each.rstrip("/") + "/") for each in places)
    connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")


def table_name(contract: Contract) -> str:
    return f"{quoted(contract.layer)}.{quoted(contract.name)}"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300] if text.strip() else "no message"
