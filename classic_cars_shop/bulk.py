"""Many rows into a table, the quickest safe way that each database has. Knows rows and dialects, no shops."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pymysql
import sqlalchemy as sa

from classic_cars.errors import SourceError
from classic_cars_shop.columns import cents

#: Told the table and how many rows have been written since it was told last.
Written = Callable[[str, int], None]

#: Servers say with these that LOAD DATA LOCAL is switched off.
LOCAL_INFILE_REFUSED = {1148, 2068, 3948, 4166}

ROWS_PER_INSERT = 500


def insert(connection: sa.Connection, table: sa.Table, batches: Iterable[pa.RecordBatch], written: Written) -> int:
    """Writes the batches, whose columns are those of ``table``; returns the number of rows."""
    match connection.dialect.name:
        case "sqlite":
            return _execute_many(connection, table, batches, written)
        case "postgresql":
            return _copy(connection, table, batches, written)
        case _:
            return _load_data(connection, table, batches, written)


# SQLite -------------------------------------------------------------------------------------------------


def _execute_many(
    connection: sa.Connection, table: sa.Table, batches: Iterable[pa.RecordBatch], written: Written
) -> int:
    marks = ", ".join("?" * len(table.columns))
    statement = f"INSERT INTO {_quoted(connection, table)} VALUES ({marks})"
    driver: Any = connection.connection.driver_connection
    rows = 0
    for batch in batches:
        driver.executemany(statement, zip(*map(_python_values, batch.columns), strict=True))
        rows += batch.num_rows
        written(table.name, batch.num_rows)
    return rows


def _python_values(column: pa.Array) -> list[Any]:
    """Values as SQLite keeps them: numbers, text, ISO dates; money as the nearest double, which reads back exactly."""
    kind = column.type
    if pa.types.is_decimal(kind):
        values = cents(column) / 100
        return values.tolist() if not column.null_count else _with_nulls(values, column)
    if pa.types.is_integer(kind):
        return column.to_pylist() if column.null_count else column.to_numpy().tolist()
    if pa.types.is_date32(kind):
        # Few days, many rows: spell each day once.
        encoded = column.dictionary_encode(null_encoding="encode")
        days = np.array(encoded.dictionary.cast(pa.string()).to_pylist(), object)
        return days[encoded.indices.to_numpy()].tolist()
    return column.to_numpy(zero_copy_only=False).tolist()


def _with_nulls(values: np.ndarray, column: pa.Array) -> list[Any]:
    found = values.astype(object)
    found[np.asarray(column.is_null())] = None
    return found.tolist()


# PostgreSQL ---------------------------------------------------------------------------------------------


def _copy(connection: sa.Connection, table: sa.Table, batches: Iterable[pa.RecordBatch], written: Written) -> int:
    driver: Any = connection.connection.driver_connection
    rows = 0
    with driver.cursor() as cursor, cursor.copy(f"COPY {_quoted(connection, table)} FROM STDIN") as copy:
        for batch in batches:
            copy.write(_as_text(batch, _hex_for_postgresql))
            rows += batch.num_rows
            written(table.name, batch.num_rows)
    return rows


def _hex_for_postgresql(column: pa.Array) -> pa.Array:
    return pa.array([None if value is None else f"\\\\x{value.hex()}" for value in column.to_pylist()], pa.string())


# MySQL and MariaDB --------------------------------------------------------------------------------------


def _load_data(connection: sa.Connection, table: sa.Table, batches: Iterable[pa.RecordBatch], written: Written) -> int:
    driver: Any = connection.connection.driver_connection
    rows, local_infile = 0, True
    with driver.cursor() as cursor, tempfile.TemporaryDirectory(prefix="classic_cars_") as folder:
        statement = _load_statement(connection, table, Path(folder) / "rows")
        for batch in batches:
            if local_infile:
                local_infile = _load_local(cursor, statement, Path(folder) / "rows", batch)
            if not local_infile:
                _insert_rows(connection, cursor, table, batch)
            rows += batch.num_rows
            written(table.name, batch.num_rows)
    return rows


def _load_statement(connection: sa.Connection, table: sa.Table, path: Path) -> str:
    quote = connection.dialect.identifier_preparer.quote
    names, conversions = [], []
    for column in table.columns:
        if isinstance(column.type, sa.LargeBinary):
            names.append(f"@{column.name}")
            conversions.append(f"{quote(column.name)} = UNHEX(@{column.name})")
        else:
            names.append(quote(column.name))
    conversion = f" SET {', '.join(conversions)}" if conversions else ""
    return (
        f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {_quoted(connection, table)} CHARACTER SET utf8mb4 "
        f"({', '.join(names)}){conversion}"
    )


def _load_local(cursor: Any, statement: str, path: Path, batch: pa.RecordBatch) -> bool:
    """False when the server does not take files from its clients."""
    path.write_bytes(_as_text(batch, _hex_for_mysql))
    try:
        loaded = cursor.execute(statement)
    except pymysql.err.MySQLError as error:
        if error.args and error.args[0] in LOCAL_INFILE_REFUSED:
            return False
        raise
    cursor.execute("SHOW WARNINGS")
    warnings = cursor.fetchall()
    # LOCAL turns errors into warnings: a row that does not fit would be bent or skipped in silence.
    if loaded != batch.num_rows or warnings:
        told = f": {warnings[0][2]}" if warnings else ""
        raise SourceError(f"the database took {loaded:,} of {batch.num_rows:,} rows and changed some{told}")
    return True


def _hex_for_mysql(column: pa.Array) -> pa.Array:
    return pa.array([None if value is None else value.hex() for value in column.to_pylist()], pa.string())


def _insert_rows(connection: sa.Connection, cursor: Any, table: sa.Table, batch: pa.RecordBatch) -> None:
    row = f"({', '.join(['%s'] * len(table.columns))})"
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    while part := list(islice(rows, ROWS_PER_INSERT)):
        values = ", ".join([row] * len(part))
        cursor.execute(
            f"INSERT INTO {_quoted(connection, table)} VALUES {values}",
            [value for each in part for value in each],
        )


# Text ---------------------------------------------------------------------------------------------------


def _as_text(batch: pa.RecordBatch, binary: Callable[[pa.Array], pa.Array]) -> bytes:
    r"""Rows as PostgreSQL's COPY and MySQL's LOAD DATA both read them: tabs between, ``\N`` for NULL."""
    if not batch.num_rows:
        return b""
    columns = [_text_column(column, binary) for column in batch.columns]
    lines = columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, "\t")
    return pc.binary_join_element_wise(lines, "", "\n").cast(pa.large_binary()).buffers()[2].to_pybytes()


def _text_column(column: pa.Array, binary: Callable[[pa.Array], pa.Array]) -> pa.Array:
    if pa.types.is_binary(column.type):
        text = binary(column)
    elif pa.types.is_string(column.type):
        text = _escaped(column)
    else:
        text = column.cast(pa.string())
    return text.fill_null("\\N") if text.null_count else text


def _escaped(text: pa.Array) -> pa.Array:
    if not pc.any(pc.match_substring_regex(text, r"[\\\t\n\r]")).as_py():
        return text
    for letter, code in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = pc.replace_substring(text, letter, code)
    return text


def _quoted(connection: sa.Connection, table: sa.Table) -> str:
    return connection.dialect.identifier_preparer.format_table(table)
