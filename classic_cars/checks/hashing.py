"""Sums of hashes: whether two sets of rows hold the same values at the same keys, in one pass over each.

The hash is the engine's own of 64 bits (DuckDB's ``hash``), and both sides of a comparison are hashed by the same
engine. Each value is hashed together with its key, and the hashes are added up without loss. Two different multisets
have equal sums by chance in one of 2^64 cases: far below any rate at which a disk or a memory fails. It is no
protection against somebody who constructs a collision on purpose: who can do that can change the code as well. NULL
has a hash of its own, other than that of the empty text.
"""

from __future__ import annotations

from functools import cache
from inspect import Parameter, Signature
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

#: Wide enough for the sum of 2^63 hashes.
HASH = dt.Decimal(38, 0)


def hashed(*values: ir.Value) -> ir.DecimalValue:
    """One hash of several values; of their types too: both sides need equal types."""
    return _function(tuple(each.type().copy(nullable=True) for each in values))(*values)


@cache
def _function(types: tuple[dt.DataType, ...]) -> Any:
    """The engine's ``hash`` for arguments of these types; Ibis knows it for one argument only."""

    def hash_of(*_values: Any) -> None: ...

    hash_of.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter(f"value{index}", Parameter.POSITIONAL_ONLY) for index in range(len(types))]
    )
    return ibis.udf.scalar.builtin(hash_of, name="hash", signature=(types, HASH))
