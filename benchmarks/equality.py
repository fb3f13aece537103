"""Whether two DuckDB files hold the same tables: variants are only compared when they did the same work."""

from __future__ import annotations

from pathlib import Path

import duckdb

LAYERS = ("source", "staging", "warehouse", "analytics")
TABLES = 26
#: Made from files that partners drop, which the benchmarks have none of.
OWN = ("_rescued_data", "isInferred")
RATED = ("ratings", "ratings_files", "stock_counts", "stock_counts_files", "fact_ratings", "product_ratings")
#: Answers of the platform alone.
OTHERS = ("customer_cohorts", "customer_balances", "stock_cover")
#: Partial aggregates: how the platform comes to its answers, which others come to in their own ways.
PARTIAL = ("monthly_sales_by_customer", "monthly_sales_by_product")


def differences(store: Path, other: Path, *, exact: bool) -> list[str]:
    """What differs between the platform's tables and the other's; empty when nothing does.

    ``exact``: all rows of all tables, every column that both have. Otherwise rows of all tables and the
    answers' amounts, rounded to a cent: for variants whose money is float.
    """
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{store}' AS ours (READ_ONLY)")
        connection.execute(f"ATTACH '{other}' AS theirs (READ_ONLY)")
        names = [f"{layer}.{name}" for layer, name in _tables(connection, "ours")]
        if len(names) != TABLES or set(names) != {f"{layer}.{name}" for layer, name in _tables(connection, "theirs")}:
            return [f"found other tables than {', '.join(names)}"]
        compare = _contents if exact else _answers
        return [name for name in names if compare(connection, f"ours.{name}") != compare(connection, f"theirs.{name}")]


def _tables(connection: duckdb.DuckDBPyConnection, database: str) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? AND list_contains(?, schema_name) "
        "AND NOT list_contains(?, table_name)",
        [database, list(LAYERS), [*RATED, *PARTIAL, *OTHERS]],
    ).fetchall()


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """The names of all columns but the platform's own, in an order of their own."""
    described = connection.execute(f"DESCRIBE {table}").fetchall()
    return sorted(f'"{row[0]}"' for row in described if row[0] not in OWN)


def _contents(connection: duckdb.DuckDBPyConnection, table: str) -> object:
    """Names and types of the columns, rows, and a checksum that does not depend on the rows' order."""
    columns = _columns(connection, table)
    types = connection.execute(
        f"SELECT {', '.join(f'typeof({name})' for name in columns)} FROM {table} LIMIT 1"
    ).fetchone()
    rows = connection.execute(f"SELECT count(*), sum(hash({', '.join(columns)})::HUGEINT) FROM {table}").fetchone()
    return columns, types, rows


def _answers(connection: duckdb.DuckDBPyConnection, table: str) -> object:
    rows = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    if ".analytics." not in table:
        return rows
    amounts = ", ".join(f'round("{name}"::DECIMAL(20, 4), 2)' for name in ("bookedAmount", "netSales", "grossProfit"))
    return rows, connection.execute(
        f"SELECT orders::BIGINT, units::BIGINT, {amounts} FROM {table} ORDER BY ALL"
    ).fetchall()
