"""Ibis on Spark: what its own backend writes or fetches otherwise than DuckDB's, mended here and tested row for row.

Nothing here is a matter of taste: each rule is a difference that changed rows, silently, or a way around pandas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import ibis.expr.operations as ops
import pyarrow as pa
import sqlglot.expressions as sge
from ibis.backends.pyspark import Backend
from ibis.backends.sql.compilers import PySparkCompiler
from ibis.backends.sql.dialects import PySpark
from ibis.expr.types import Expr
from pyspark.sql.connect.plan import SQL
from pyspark.sql.connect.session import SparkSession


class SparkSQL(PySpark):
    r"""Spark's SQL without the escapes that SQLGlot believes in: to Spark ``'\v'`` is the letter v, and TRIM ate it."""


for _letter in "\a\f\v":
    SparkSQL.ESCAPED_SEQUENCES.pop(_letter, None)

#: Spark's words for units to which a date is truncated.
UNITS: Mapping[str, str] = {"D": "DAY", "W": "WEEK", "M": "MM", "Q": "QUARTER", "Y": "YEAR"}


class SparkCompiler(PySparkCompiler):
    """Expressions as Spark's SQL."""

    __slots__ = ()
    dialect = SparkSQL

    def visit_DateTruncate(self, _op: ops.DateTruncate, *, arg: sge.Expression, unit: Any) -> sge.Expression:  # noqa: N802
        # DATE_TRUNC makes a timestamp of a date.
        return self.f.anon.trunc(arg, UNITS[unit.short]) if unit.short != "D" else arg

    def visit_ScalarUDF(self, op: ops.ScalarUDF, **arguments: sge.Expression) -> sge.Expression:  # noqa: N802
        """DuckDB's functions that expressions call by name, where Spark has another."""
        instead = self.NAMED.get(str(self.__sql_name__(op)))
        if instead is None:
            return super().visit_ScalarUDF(op, **arguments)
        return instead(self, *arguments.values())

    def _hash(self, *values: sge.Expression) -> sge.Expression:
        """64 bits, as the sum of millions needs. Spark passes over NULLs: which values are NULL is hashed as well."""
        marked = [each for value in values for each in (value.copy(), self.f.isnull(value.copy()))]
        return sge.Cast(this=self.f.anon.xxhash64(*marked), to=sge.DataType.build("DECIMAL(38, 0)"))

    def _json_text(self, text: sge.Expression) -> sge.Expression:
        """Spark writes no text alone as JSON, but as a list of one."""
        listed = self.f.anon.to_json(self.f.anon.array(text.copy()))
        member = self.f.anon.substring(listed, 2, self.f.anon.length(listed.copy()) - 2)
        return self.if_(text.is_(sge.null()), sge.null(), member)

    NAMED: ClassVar[Mapping[str, Callable[..., sge.Expression]]] = {"hash": _hash, "to_json": _json_text}


class SparkBackend(Backend):
    """Ibis' PySpark backend over a Connect session, fetching Arrow; ``clearly`` turns Spark's errors into ours."""

    compiler = SparkCompiler()

    def __init__(self, session: SparkSession, clearly: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self.register_options()
        self._clearly = clearly
        self.use(session)

    def use(self, session: SparkSession) -> None:
        """From now on this session is asked."""
        self._mode, self._session = "batch", session

    def to_pyarrow(
        self, expr: Expr, /, *, params: Any = None, limit: int | str | None = None, **_options: Any
    ) -> pa.Table:
        """The result, without the detour through pandas, which loses types."""
        table = expr.as_table()
        wanted = table.schema().to_pyarrow()
        with self._clearly():
            self._run_pre_execute_hooks(table)
            # Spark's own sql() would ask the server to analyse the statement first: a call more for each question.
            plan, client = SQL(self.compile(table, params=params, limit=limit)), self._session.client
            found, *_ = client.to_table(plan.to_proto(client), plan.observations)
        return expr.__pyarrow_result__(found.rename_columns(wanted.names).cast(wanted))

    def execute(self, expr: Expr, /, *, params: Any = None, limit: int | str | None = None, **options: Any) -> Any:
        with self._clearly():
            return super().execute(expr, params=params, limit=limit, **options)
