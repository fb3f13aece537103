"""SQL that was compiled before is the SQL of that expression, and of no other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pytest
from ibis.backends.duckdb import Backend

from classic_cars import compiled
from classic_cars.checks.hashing import hashed
from classic_cars.compiled import CompilingOnce

T = ibis.table({"a": "int64", "b": "string", "c": "decimal(10, 2)"}, name="t")


@ibis.udf.scalar.builtin(name="upper")
def shout(text: str) -> str: ...


@ibis.udf.scalar.builtin(name="lower")
def whisper(text: str) -> str: ...


#: No two of them are the same.
EXPRESSIONS = {
    "a filter": lambda: T.filter(T.a > 1),
    "another number": lambda: T.filter(T.a > 2),
    "a number of another type": lambda: T.filter(T.a > Decimal(1)),
    "another column": lambda: T.filter(T.c > 1),
    "a text": lambda: T.filter(T.b == "1"),
    "another name": lambda: T.select(x=T.a),
    "another table": lambda: ibis.table(T.schema(), name="u").select("a"),
    "another type": lambda: T.select(x=T.a.cast("int32")),
    "a function": lambda: T.select(x=shout(T.b)),
    "another function": lambda: T.select(x=whisper(T.b)),
    "a hash": lambda: T.select(x=hashed(T.a, T.b)),
    "a hash of more": lambda: T.select(x=hashed(T.a, T.b, T.c)),
    "sums": lambda: T.group_by("b").agg(x=T.c.sum()),
    "months": lambda: T.filter(T.b.isin(["2004-01", "2004-02"])),
    "other months": lambda: T.filter(T.b.isin(["2004-01", "2004-03"])),
}


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_known", {})
    monkeypatch.setattr(compiled, "_is_new", False)


@pytest.fixture
def backend() -> Iterator[Backend]:
    with duckdb.connect() as connection:
        yield CompilingOnce.from_connection(connection)


@pytest.fixture
def stock() -> Iterator[Backend]:
    with duckdb.connect() as connection:
        yield Backend.from_connection(connection)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is compiled for real from now on."""
    found: list[Any] = []
    compiler = type(Backend.compiler)
    real = compiler.to_sqlglot

    def to_sqlglot(self: Any, expr: Any, **rest: Any) -> Any:
        found.append(expr)
        return real(self, expr, **rest)

    monkeypatch.setattr(compiler, "to_sqlglot", to_sqlglot)
    return found


def test_every_expression_has_its_own_sql_the_first_time_and_ever_after(
    backend: Backend, stock: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {name: stock.compile(make()) for name, make in EXPRESSIONS.items()}
    really = counted(monkeypatch)
    assert {name: backend.compile(make()) for name, make in EXPRESSIONS.items()} == expected
    assert len(really) == len(EXPRESSIONS)
    assert {name: backend.compile(make()) for name, make in EXPRESSIONS.items()} == expected
    assert len(really) == len(EXPRESSIONS)


def test_a_limit_and_parameters_are_part_of_it(backend: Backend, stock: Backend) -> None:
    for limit in (None, 1, 2):
        assert backend.compile(T, limit=limit) == stock.compile(T, limit=limit)
    least = ibis.param("int64")
    asked = T.filter(T.a > least)
    for number in (1, 2):
        assert backend.compile(asked, params={least: number}) == stock.compile(asked, params={least: number})


def test_rows_of_its_own_are_not_kept(backend: Backend) -> None:
    for number in (1, 2):
        rows = ibis.memtable({"a": [number]})
        assert backend.to_pyarrow(rows.select("a"))["a"].to_pylist() == [number]
    assert compiled._known == {}


def test_functions_of_python_have_numbers_and_are_not_kept(backend: Backend) -> None:
    for more in (1, 2):

        @ibis.udf.scalar.python(name="f")
        def f(number: int, more: int = more) -> int:
            return number + more

        found = backend.to_pyarrow(ibis.range(3, 4).unnest().name("n").as_table().select(x=f(ibis._.n, more)))
        assert found["x"].to_pylist() == [3 + more]
    assert not any("f_" in sql for sql in compiled._known.values())


def test_what_is_too_deep_to_digest_is_compiled(backend: Backend, stock: Backend) -> None:
    deep = T.a
    for number in range(250):
        deep = deep + number
    with recursion(1_500):
        assert backend.compile(T.select(x=deep)) == stock.compile(T.select(x=deep))


@contextmanager
def recursion(limit: int) -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    yield
    sys.setrecursionlimit(before)


def test_options_are_part_of_it(backend: Backend, stock: Backend) -> None:
    for fuse in (True, False):
        with fused(fuse):
            asked = T.filter(T.a > 1).select("b")
            assert backend.compile(asked) == stock.compile(asked)


@contextmanager
def fused(fuse: bool) -> Iterator[None]:
    before, ibis.options.sql.fuse_selects = ibis.options.sql.fuse_selects, fuse
    yield
    ibis.options.sql.fuse_selects = before


def test_tables_of_the_same_name_and_other_columns_are_others(backend: Backend) -> None:
    backend.con.execute("CREATE TABLE t (a INTEGER)")
    assert backend.to_pyarrow(backend.table("t")).column_names == ["a"]
    backend.con.execute("CREATE OR REPLACE TABLE t (a INTEGER, b INTEGER)")
    assert backend.to_pyarrow(backend.table("t").select("b", "a")).column_names == ["b", "a"]


def test_another_process_knows_it(
    backend: Backend, stock: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "compiled.json"
    program = (
        "import sys, duckdb; from classic_cars import compiled; "
        "from classic_cars_tests.unit import test_compiled as t; "
        "backend = compiled.CompilingOnce.from_connection(duckdb.connect()); "
        "[backend.compile(make()) for make in t.EXPRESSIONS.values()]; compiled.remember(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, file], check=True)
    expected = {name: stock.compile(make()) for name, make in EXPRESSIONS.items()}
    compiled.recall(str(file))
    really = counted(monkeypatch)
    assert {name: backend.compile(make()) for name, make in EXPRESSIONS.items()} == expected
    assert really == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"libraries": {}, "sql": {"x": "y"}}', '{"sql": {"x": "y"}}'])
def test_what_is_damaged_or_of_other_versions_is_not_used(tmp_path: Path, content: str) -> None:
    file = tmp_path / "compiled.json"
    compiled.recall(str(file))
    file.write_text(content)
    compiled.recall(str(file))
    compiled.recall("")
    assert compiled._known == {}


def test_a_file_with_a_changed_digit_is_not_used(backend: Backend, tmp_path: Path) -> None:
    file = tmp_path / "compiled.json"
    backend.compile(EXPRESSIONS["a filter"]())
    compiled.remember(str(file))
    found = json.loads(file.read_text())
    found["sql"] = {key: sql.replace("SELECT", "SELECT DISTINCT") for key, sql in found["sql"].items()}
    file.write_text(json.dumps(found))
    compiled._known.clear()
    compiled.recall(str(file))
    assert compiled._known == {}


def test_what_was_not_used_for_longest_goes(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MOST", 2)
    file = tmp_path / "compiled.json"
    for name in ("a filter", "a text", "sums", "a filter"):
        backend.compile(EXPRESSIONS[name]())
    compiled.remember(str(file))
    kept = json.loads(file.read_text())["sql"].values()
    assert set(kept) == {backend.compile(EXPRESSIONS[name]()) for name in ("a filter", "sums")}
    assert [each.name for each in tmp_path.iterdir()] == ["compiled.json"]


def test_a_file_that_cannot_be_written_is_no_error_and_leaves_nothing(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "compiled.json").mkdir()
    for file in (tmp_path / "compiled.json", tmp_path / "nowhere" / "compiled.json"):
        backend.compile(EXPRESSIONS["sums"]())
        compiled.remember(str(file))
    assert [each.name for each in tmp_path.iterdir()] == ["compiled.json"]


def test_what_is_used_twice_is_not_made_whole_before_unless_it_may_differ(backend: Backend) -> None:
    used = T.group_by("b").agg(x=T.c.sum())
    assert "AS NOT MATERIALIZED (" in backend.compile(ibis.union(used.filter(used.x > 1), used.select("b", x=used.x)))
    drawn = used.mutate(x=ibis.random())
    drawn = ibis.union(drawn.filter(drawn.x > 1), drawn.order_by("b").limit(1))
    assert "WITH" in backend.compile(drawn)
    assert "MATERIALIZED" not in backend.compile(drawn)
