"""Pieces of DuckDB's SQL that both stores write: names, texts, types and the condition of some months."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Sequence
from functools import cache
from typing import TYPE_CHECKING

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
from ibis.backends.duckdb import Backend
from ibis.backends.sql.datatypes import DuckDBType
from ibis.common.exceptions import TableNotFound

from classic_cars.contracts.differences import schema_differences
from classic_cars.errors import ContractError, StoreError
from classic_cars.months import Months, month_of, spans
from classic_cars.stores.pins import UNDATED, WHOLE

if TYPE_CHECKING:
    from classic_cars.contracts.base import Contract

#: What DuckDB takes before it spills to disk, unless it is told otherwise.
MEMORY = "700MB"

#: The schema of what a DuckDB store keeps beside the tables: which runs published what each of them holds.
OWN = "platform"
PUBLICATIONS = f"{OWN}.published_by"
PUBLICATIONS_TABLE = (
    f"CREATE SCHEMA IF NOT EXISTS {OWN}; "
    f"CREATE TABLE IF NOT EXISTS {PUBLICATIONS} (address VARCHAR PRIMARY KEY, runs VARCHAR)"
)
#: Which months of which table were published when: what need not be copied again.
PUBLISHED_MONTHS = f"{OWN}.published_months"
PUBLISHED_MONTHS_TABLE = (
    f"CREATE SCHEMA IF NOT EXISTS {OWN}; CREATE TABLE IF NOT EXISTS {PUBLISHED_MONTHS} "
    "(number BIGINT, address VARCHAR, first DATE, last DATE, stamp VARCHAR)"
)


#: DuckDB's own lists only the tables of one schema, in which there is none.
_SHOW_TABLES = re.compile(r"\s*SHOW\s+(?:ALL\s+)?TABLES\s*;?\s*", re.IGNORECASE)
SHOW_ALL_TABLES = (
    "SELECT table_schema AS layer, table_name AS name FROM information_schema.tables "
    f"WHERE table_schema NOT IN ('main', '{OWN}') ORDER BY ALL"
)
_EXPLAIN = re.compile(r"\s*EXPLAIN(?:\s+ANALYZE)?\b", re.IGNORECASE)


@cache
def _nothing() -> duckdb.DuckDBPyConnection:
    """An empty database to read SQL with: where there are views DuckDB stumbles over theirs.

    It may not reach outside: to parse IMPORT it reads files.
    """
    return duckdb.connect(config={"enable_external_access": False, "threads": 1})


def one_query(sql: str) -> list[duckdb.Statement]:
    """The statements of one question: SELECT, FROM, DESCRIBE, SUMMARIZE, SHOW, PIVOT, or EXPLAIN of one of them.

    DuckDB makes several of a PIVOT: the types of its columns, which have no text of their own, and a SELECT. Raises
    ``StoreError`` for anything else, and ``duckdb.Error`` for what is no SQL.
    """
    if asks_for_tables(sql):
        sql = SHOW_ALL_TABLES
    with _nothing().cursor() as apart:
        statements = apart.extract_statements(sql)
    explained = _EXPLAIN.match(sql)
    if explained and len(statements) == 1 and statements[0].type == duckdb.StatementType.EXPLAIN:
        one_query(sql[explained.end() :])
        return statements
    asked = [each for each in statements if each.query or each.type == duckdb.StatementType.SELECT]
    if len(asked) != 1:
        raise StoreError(f"found {len(asked)} SQL statements, expected one")
    if statements[-1].type != duckdb.StatementType.SELECT or any(
        each.type != duckdb.StatementType.CREATE or each.query for each in statements[:-1]
    ):
        raise StoreError(
            "queries are read-only: one SELECT, SHOW, DESCRIBE, SUMMARIZE or PIVOT; "
            f"this would do something else ({statements[-1].type.name})"
        )
    return statements


def asks_for_tables(sql: str) -> bool:
    """Whether the statement is ``SHOW TABLES``."""
    return _SHOW_TABLES.fullmatch(sql) is not None


def named_tables(sql: str) -> set[str]:
    """The names, without schemas and casefolded, of the tables that a statement names; empty when it names none, or
    cannot be told.
    """
    return {each.partition(" ")[0].strip('"').casefold() for each in tables_in(sql, qualified=False)}


def tables_in(sql: str, *, qualified: bool) -> set[str]:
    """The tables that a statement names, ``qualified`` with their schemas, as they are written; empty when it names
    none, or cannot be told.
    """
    try:
        with _nothing().cursor() as apart:
            return apart.get_table_names(sql, qualified=qualified)
    except (duckdb.BinderException, duckdb.InvalidInputException, duckdb.PermissionException):
        return set()  # DuckDB looks for names without columns, and stumbles over JOIN ... USING and PIVOT


def stamped(address: str, first: str, last: str) -> str:
    """The statement that notes that the table has other rows from a day to before a day, or from NULL to NULL all."""
    return (
        f"INSERT INTO {PUBLISHED_MONTHS} SELECT coalesce(max(number), 0) + 1, {literal(address)}, {first}, {last}, "
        f"{literal(uuid.uuid4().hex)} FROM {PUBLISHED_MONTHS}"
    )


def same_columns(contract: Contract, rows: ibis.Table) -> None:
    """Raises ``ContractError`` when ``rows`` lack a column of the contract, or have it with another type."""
    found = ibis.schema({name: kind for name, kind in rows.schema().items() if name in contract.types})
    if problems := schema_differences(contract, found):
        raise ContractError(
            f"{contract.address}: {'; '.join(problems)}; change the asset's function or its contract so that both agree"
        )


def found_table(backend: Backend, contract: Contract) -> ibis.Table | None:
    """The table with the columns that it has in the database; None when it is not there."""
    try:
        return backend.table(contract.name, database=contract.layer)
    except TableNotFound:
        return None


def made_table(backend: Backend, contract: Contract) -> ibis.Table:
    """The table that was just made with the contract's columns, of which the database need not be asked."""
    schema, layer = ibis.schema(plain(contract.types)), ops.Namespace(database=contract.layer)
    return ops.DatabaseTable(contract.name, schema=schema, source=backend, namespace=layer).to_expr()


def plain(schema: ibis.Schema) -> dict[str, dt.DataType]:
    """Names and types, whatever is known of NULLs."""
    return {name: kind.copy(nullable=True) for name, kind in schema.items()}


def duckdb_type(kind: dt.DataType) -> str:
    return DuckDBType.to_string(kind)


def in_months(contract: Contract, months: Months) -> str:
    column = quoted(contract.partitioned_by or "")
    return f"{column} >= DATE '{months.first}' AND {column} < DATE '{months.end}'"


def among(contract: Contract, parts: Collection[str], of: str = "") -> str:
    """Condition: the row (``of`` a table such as ``old.``) is in these parts (``stores.pins``); for PostgreSQL, too."""
    if WHOLE in parts or not contract.partitioned_by:
        return "true"
    column = f"{of}{quoted(contract.partitioned_by)}"
    together = spans(month_of(part) for part in parts if part != UNDATED)
    months = [f"({column} >= DATE '{each.first}' AND {column} < DATE '{each.end}')" for each in together]
    return " OR ".join([*months, *([f"{column} IS NULL"] if UNDATED in parts else [])])


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
