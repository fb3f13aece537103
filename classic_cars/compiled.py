"""DuckDB through Ibis, with the SQL of expressions that were compiled before.

Ibis takes some five milliseconds to turn an expression into SQL, and a run has hundreds of them, nearly all the same as
the last time. Here an expression's SQL is kept by a digest of the expression, whole: every operation, name, type and
literal in it (its pickled form, which takes a twentieth of the time). Two expressions that differ have other digests;
equal ones mostly have the same, and at worst are compiled again. What holds rows of its own is not kept.

What an expression uses more than once, Ibis writes once, as a common table expression. DuckDB would make it once, too,
whole, in memory or on disk, before the first of its uses: of 30 million rows that took six times the question itself.
So it is told not to, unless it may come out otherwise each time.

Between processes, the SQL is kept in a file (:func:`remember`, :func:`recall`), which holds for one version of the
libraries that write SQL.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import pyarrow as pa
import sqlglot as sg
import sqlglot.expressions as sge
from ibis.backends.duckdb import Backend
from ibis.backends.sql.datatypes import DuckDBType
from ibis.common.exceptions import TableNotFound
from ibis.expr.types import Expr

from classic_cars.files import whole_file
from classic_cars.interrupts import interruptible

#: Expressions of which the SQL is kept; those that were used last.
MOST = 1_000
#: Changes when the same libraries are asked to write other SQL.
WRITTEN = "in place"
#: Rows of an answer that come together.
BATCH_ROWS = 65_536
#: What Ibis sets on its connection, and a session does not take over from another.
OF_A_SESSION = ("SET timezone = 'UTC'", "SET python_enable_replacements = false")
LIBRARIES = ("ibis-framework", "sqlglot", "duckdb")

_known: dict[str, str] = {}
_is_new = False


class CompilingOnce(Backend):
    """Ibis' DuckDB backend, whose ``compile`` remembers, and which reads each type's name once."""

    def get_schema(self, table_name: str, *, catalog: str | None = None, database: str | None = None) -> ibis.Schema:
        place = sg.table(table_name, db=database, catalog=catalog, quoted=True)
        try:
            found = self.con.sql(sge.Describe(this=place).sql(self.dialect)).fetchall()
        except duckdb.CatalogException:
            raise TableNotFound(table_name) from None
        return ibis.schema({name: _type(kind, null == "YES") for name, kind, null, *_ in found})

    def compile(
        self, expr: Expr, /, *, limit: Any = None, params: Mapping[Expr, Any] | None = None, pretty: bool = False
    ) -> str:
        global _is_new
        key = None if params else _key(expr, limit, pretty)
        sql = _known.pop(key, None) if key else None
        if sql is None:
            query = self.compiler.to_sqlglot(expr, limit=limit, params=params)
            if not expr.op().find(ops.Impure):
                for each in query.find_all(sge.CTE):
                    each.set("materialized", False)
            sql = query.sql(dialect=self.dialect, pretty=pretty, copy=False)
            _is_new = bool(key) or _is_new
        if key is None:
            return sql
        _known[key] = sql  # last, so that the first ones are those that were not used for longest
        if len(_known) > MOST:
            for oldest in list(_known)[:-MOST]:  # of a list, as other threads change it meanwhile
                _known.pop(oldest, None)
        return sql

    def answer(self, statements: Iterable[str | duckdb.Statement]) -> pa.RecordBatchReader:
        """The rows of the last one, in batches of so many that come as they are taken."""
        for each in statements:
            result = self.con.execute(each)
        return result.to_arrow_reader(BATCH_ROWS)


class SideBySide(CompilingOnce):
    """The same over tables that are only read: each question has a connection of its own.

    DuckDB gives up a result when its connection is asked the next question: what is read in batches would end early,
    without a word, and threads would take each other's answers. What is made for all questions, such as views, is made
    by ``con`` as ever, by one thread at a time.
    """

    #: What is around each question, and its rows as they come: turns errors into others.
    around: Callable[[], AbstractContextManager[Any]] = nullcontext

    @property
    def con(self) -> duckdb.DuckDBPyConnection:
        return getattr(self._asking, "con", None) or self._first

    @con.setter
    def con(self, first: duckdb.DuckDBPyConnection) -> None:
        self._first, self._asking = first, threading.local()

    @contextmanager
    def _a_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """This thread's, for one question and all that belongs to it."""
        if (asking := getattr(self._asking, "con", None)) is not None:
            yield asking
            return
        self._asking.con = interruptible(self._first.cursor())
        try:
            for each in OF_A_SESSION:
                self._asking.con.execute(each)
            with self.around():
                yield self._asking.con
        finally:
            self._asking.con = None

    def _register_in_memory_tables(self, expr: Expr) -> None:
        for each in self._verify_in_memory_tables_are_unique(expr):
            self._register_in_memory_table(each)  # each connection knows its own

    def execute(self, expr: Expr, /, **how: Any) -> Any:
        with self._a_connection():
            return super().execute(expr, **how)

    def to_pyarrow(self, expr: Expr, /, **how: Any) -> Any:
        with self._a_connection():
            return super().to_pyarrow(expr, **how)

    def to_pyarrow_batches(self, expr: Expr, /, **how: Any) -> pa.RecordBatchReader:
        with self._a_connection() as connection:
            return _held_open(super().to_pyarrow_batches(expr, **how), connection, self.around)

    def raw_sql(self, query: Any, **how: Any) -> Any:
        with self._a_connection():
            return super().raw_sql(query, **how)

    def answer(self, statements: Iterable[str | duckdb.Statement]) -> pa.RecordBatchReader:
        with self._a_connection() as connection:
            return _held_open(super().answer(statements), connection, self.around)


def _held_open(
    batches: pa.RecordBatchReader,
    connection: duckdb.DuckDBPyConnection,
    around: Callable[[], AbstractContextManager[Any]],
) -> pa.RecordBatchReader:
    """The same stream, which keeps the connection for as long as somebody reads: it can be interrupted."""

    def passing() -> Iterator[pa.RecordBatch]:
        with around():
            yield from batches
        connection.close()

    return pa.RecordBatchReader.from_batches(batches.schema, passing())


@cache
def _type(name: str, nullable: bool) -> dt.DataType:
    return DuckDBType.from_string(name, nullable=nullable)


class _NotOfItself(Exception):
    """The SQL depends on more than the expression: rows that it holds, or a function of Python's that has a number."""


class _Digester(pickle.Pickler):
    """Writes what an expression is; never read again."""

    def reducer_override(self, found: Any) -> Any:
        if isinstance(found, ops.InMemoryTable):
            raise _NotOfItself
        if isinstance(found, Backend):
            return str, ("backend",)
        if isinstance(found, type) and issubclass(found, ops.ScalarUDF | ops.AggUDF):
            function: Any = found  # a class that was made of the function, and has no name to import it by
            if function.__input_type__ is not ops.udf.InputType.BUILTIN:
                raise _NotOfItself
            called = (function.__udf_namespace__, function.__func_name__, function.dtype)
            return str, (repr((*called, sorted(function.__config__.items()))),)
        return NotImplemented


def _key(expr: Expr, limit: Any, pretty: bool) -> str | None:
    written, how = io.BytesIO(), ibis.options.sql
    try:
        _Digester(written, protocol=pickle.HIGHEST_PROTOCOL).dump(
            (expr.op(), limit, pretty, how.default_limit, how.fuse_selects)
        )
    except (_NotOfItself, pickle.PicklingError, TypeError, AttributeError, RecursionError):
        return None
    return hashlib.blake2b(written.getbuffer(), digest_size=16).hexdigest()


def recall(file: str) -> None:
    """Know what was remembered in this file; nothing when it is not there, damaged, or of other libraries."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads(Path(file).read_text("utf-8"))
        if found["libraries"] == _libraries() and found["digest"] == _digest(found["sql"]):
            for key, sql in found["sql"].items():
                _known.setdefault(str(key), str(sql))


def remember(file: str) -> None:
    """Keep what was compiled for later processes; when the file cannot be written, they compile again."""
    global _is_new
    if not file or not _is_new:
        return
    with suppress(OSError):
        with whole_file(Path(file), 0o600) as found:
            sql = dict(_known)
            found.write(json.dumps({"libraries": _libraries(), "sql": sql, "digest": _digest(sql)}).encode())
        _is_new = False


def _digest(sql: dict[str, str]) -> str:
    """A disk that changes a digit of a statement changes numbers, and perhaps those that are to prove them."""
    return hashlib.blake2b(json.dumps(sql).encode(), digest_size=16).hexdigest()


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES} | {"written": WRITTEN}
