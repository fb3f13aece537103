"""What a transaction of a DuckDB store wrote itself is read in ranges of rows, one for each thread."""

from __future__ import annotations

from pathlib import Path

import duckdb
import ibis.expr.operations as ops
import pyarrow as pa
import pytest

from classic_cars.stores.base import Staged, Transaction
from classic_cars.stores.duckdb import DuckDBStore
from classic_cars.stores.duckdb.transaction import ROW_GROUP
from classic_cars_tests.stores.tables import BY_TEST, PLACES

MANY = 4 * ROW_GROUP + 1


def places(rows: int) -> pa.Table:
    question = f"SELECT 'place ' || range AS place, (range % 1000)::INT AS visitors FROM range({rows})"
    return duckdb.sql(question).to_arrow_table()


def staged(store: DuckDBStore, tx: Transaction, rows: int) -> Staged:
    found = tx.stage(PLACES, tx.receive(places(rows)))
    assert store.backend.con.execute("SELECT count(*) FROM staging.places").fetchone() == (rows,)
    return found


@pytest.mark.parametrize("threads", [2, 3, 64])
def test_each_range_has_rows_and_all_have_each_row_once(tmp_path: Path, threads: int) -> None:
    store = DuckDBStore(tmp_path / "store.duckdb")
    with store.begin(BY_TEST) as tx:
        store.execute(f"SET threads = {threads}")
        rows = staged(store, tx, MANY).rows
        ranges = _ranges(rows.op())
        counts = [each.to_expr().count().to_pyarrow().as_py() for each in ranges]
        assert len(counts) == min(threads, 5)
        assert min(counts) > 0
        assert sum(counts) == MANY
        found = rows.aggregate(places=rows.place.nunique(), visitors=rows.visitors.sum()).to_pyarrow().to_pylist()
        assert found == [{"places": MANY, "visitors": sum(number % 1000 for number in range(MANY))}]
        plan = store.backend.con.execute(f"EXPLAIN {store.backend.compile(rows.count().as_table())}").fetchall()[0][1]
        assert plan.count("SEQ_SCAN") == len(counts)
    store.release()


@pytest.mark.parametrize(("threads", "rows"), [(1, MANY), (2, MANY - 2)])
def test_one_thread_or_few_rows_are_one_range(tmp_path: Path, threads: int, rows: int) -> None:
    store = DuckDBStore(tmp_path / "store.duckdb")
    with store.begin(BY_TEST) as tx:
        store.execute(f"SET threads = {threads}")
        assert isinstance(staged(store, tx, rows).rows.op(), ops.DatabaseTable)
    store.release()


def _ranges(found: ops.Node) -> list[ops.Relation]:
    return [*_ranges(found.left), *_ranges(found.right)] if isinstance(found, ops.Union) else [found]  # type: ignore
