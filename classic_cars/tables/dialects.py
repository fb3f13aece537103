"""Compilation rules that Ibis lacks for some engines, so that one asset function serves all of them.

Ibis 12 defines ``hexdigest`` for DuckDB and Spark only; Trino (and with it Athena) and Snowflake have the
functions but no rule. Importing this module adds the rules.
"""

from __future__ import annotations

import ibis.expr.operations as ops
import sqlglot.expressions as sge
from ibis.backends.sql.compilers import SnowflakeCompiler, TrinoCompiler


def _trino_hexdigest(self: TrinoCompiler, _op: ops.HexDigest, *, arg: sge.Expression, how: str) -> sge.Expression:
    digest = self.f.anon[how](self.f.anon.to_utf8(arg))
    return self.f.lower(self.f.anon.to_hex(digest))


def _snowflake_hexdigest(
    self: SnowflakeCompiler, _op: ops.HexDigest, *, arg: sge.Expression, how: str
) -> sge.Expression:
    if how.startswith("sha"):
        return self.f.anon.sha2(arg, int(how.removeprefix("sha")))
    return self.f.anon[how](arg)


# Ibis marks what a compiler lacks with a method of the same name that raises: these two replace it.
TrinoCompiler.visit_HexDigest = _trino_hexdigest
SnowflakeCompiler.visit_HexDigest = _snowflake_hexdigest
