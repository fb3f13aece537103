"""What a column of the order system is now, compared with what it was declared to be, and how to treat it so."""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa


def kind_of(type_: sa.types.TypeEngine) -> type | None:
    """The Python type of a column's values, None when there is none."""
    if isinstance(type_, sa.Float):
        return float
    try:
        return type_.python_type
    except NotImplementedError:
        return None


def arrives_as_bytes(declared: sa.types.TypeEngine, actual: sa.types.TypeEngine) -> bool:
    """Whether a server's column holds bytes where texts were declared; their text would depend on the server."""
    return kind_of(actual) is bytes and isinstance(declared, sa.String)


def is_native(declared: sa.types.TypeEngine, actual: sa.types.TypeEngine) -> bool:
    """Whether a server's column arrives unbent as it is; otherwise it is to be sent as text."""
    kind = kind_of(actual)
    if kind is str:
        # Servers do not agree on the spaces at the end of a CHAR.
        return isinstance(actual, sa.String) and not isinstance(actual, sa.Enum | sa.CHAR)
    # PostgreSQL's numerics may be NaN, and dates anywhere may be no days.
    return kind is int and kind_of(declared) is int


def retyped(declared: sa.types.TypeEngine, actual: sa.types.TypeEngine, strict: bool) -> bool:
    """Whether a column now takes values that it was not declared for; ``strict``: its database heeds sizes."""
    if kind_of(declared) is not kind_of(actual):
        return True
    if kind_of(declared) in (date, datetime) or not strict:
        return False
    if isinstance(declared, sa.Numeric) and isinstance(actual, sa.Numeric):
        return (actual.precision, actual.scale) != (declared.precision, declared.scale)
    return isinstance(actual, sa.BigInteger)
