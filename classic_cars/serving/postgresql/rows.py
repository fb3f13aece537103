"""How rows arrive in PostgreSQL: in batches, through COPY, and only those that differ stay.

A table's months are compared where the rows are, in PostgreSQL: what is there already is not written again, so that
neither tables nor indexes grow, and foreign keys are proven of new rows only. Nothing here locks readers out.
"""

from __future__ import annotations

import io
from collections.abc import Collection

import pyarrow as pa
from pyarrow import csv

from classic_cars.contracts.base import Contract
from classic_cars.serving.postgresql.connection import Connection
from classic_cars.stores.base import Reading
from classic_cars.stores.sql import among, quoted, table_name

#: Texts stand in quotes, so that an empty one is not taken for NULL.
PLAIN = csv.WriteOptions(include_header=False)
#: In a schema that only this session sees.
ARRIVED = "pg_temp.arrived"


def filled(connection: Connection, contract: Contract, release: Reading) -> int:
    """All rows of the release, in place of all that are there; how many. For tables that nobody could read so far."""
    table = table_name(contract)
    connection.execute(f"DELETE FROM {table}")
    _copy(connection, contract, table, release.query(_selected(contract)))
    connection.execute(f"ANALYZE {table}")
    return connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]


def merged(connection: Connection, contract: Contract, release: Reading, parts: Collection[str]) -> int:
    """The rows of these months as the release has them; how many were removed, changed or added.

    The others stay untouched. A row that is changed in place has its references proven only where they differ.
    """
    table = table_name(contract)
    connection.execute(f"CREATE TEMP TABLE arrived ON COMMIT DROP AS SELECT * FROM {table} WITH NO DATA")
    _copy(connection, contract, ARRIVED, release.query(f"{_selected(contract)} WHERE {among(contract, parts)}"))
    connection.execute(f"ANALYZE {ARRIVED}")
    written = sum(
        connection.execute(each).rowcount for each in _differences(contract, table, among(contract, parts, "old."))
    )
    connection.execute(f"DROP TABLE {ARRIVED}")
    return written


def _differences(contract: Contract, table: str, where: str) -> list[str]:
    """Statements that make the rows (``old``) of ``where`` those that arrived; without a key all are other rows."""
    names = contract.types.names
    same = " AND ".join(f"new.{quoted(each)} = old.{quoted(each)}" for each in contract.key) or "false"
    old = f"SELECT FROM {table} AS old WHERE {same} AND ({where})"
    removed = f"DELETE FROM {table} AS old WHERE ({where}) AND NOT EXISTS (SELECT FROM {ARRIVED} AS new WHERE {same})"
    listed = ", ".join(map(quoted, names))
    added = f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {ARRIVED} AS new WHERE NOT EXISTS ({old})"
    others = [each for each in names if each not in contract.key]
    if not contract.key or not others:
        return [removed, added]
    values = ", ".join(f"{quoted(each)} = new.{quoted(each)}" for each in others)
    changed = (
        f"UPDATE {table} AS old SET {values} FROM {ARRIVED} AS new "
        f"WHERE {same} AND ({where}) "
        f"AND {_row('new', others)} IS DISTINCT FROM {_row('old', others)}"
    )
    return [removed, changed, added]


def whole(contract: Contract, release: Reading, connection: Connection) -> tuple[list[object], list[object]]:
    """Rows, then the sum of each amount: as the release has them, and as PostgreSQL does."""
    sums = [f"sum({quoted(name)})" for name, kind in contract.types.items() if kind.is_decimal()]
    question = f"SELECT {', '.join(['count(*)', *sums])} FROM {table_name(contract)}"
    (expected,) = release.query(question).read_all().to_pylist()
    return list(expected.values()), list(connection.execute(question).fetchall()[0])


def _selected(contract: Contract) -> str:
    """Without the one character that PostgreSQL's texts cannot hold."""
    columns = (
        f"replace({quoted(name)}, chr(0), '') AS {quoted(name)}" if kind.is_string() else quoted(name)
        for name, kind in contract.types.items()
    )
    return f"SELECT {', '.join(columns)} FROM {table_name(contract)}"


def _copy(connection: Connection, contract: Contract, target: str, rows: pa.RecordBatchReader) -> None:
    names = ", ".join(map(quoted, contract.types.names))
    with connection.cursor().copy(f"COPY {target} ({names}) FROM STDIN (FORMAT csv)") as arriving:
        for batch in rows:
            text = io.BytesIO()
            csv.write_csv(batch, text, PLAIN)
            arriving.write(text.getvalue())


def _row(of: str, columns: Collection[str]) -> str:
    return f"ROW({', '.join(f'{of}.{quoted(each)}' for each in columns)})"
