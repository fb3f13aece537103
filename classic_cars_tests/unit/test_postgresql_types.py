"""What a contract's types are in PostgreSQL."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import ibis.expr.datatypes as dt
import pytest

from classic_cars.errors import ContractError
from classic_cars.serving.postgresql.shape import postgresql_type


def of(kind: dt.DataType) -> str:
    contract: Any = SimpleNamespace(address="analytics/returns", types={"why": kind})
    return postgresql_type(contract, "why")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (dt.Decimal(18, 2), "numeric(18,2)"),
        (dt.Timestamp(), "timestamp(6) without time zone"),
        (dt.Timestamp(timezone="UTC", scale=9), "timestamp(6) with time zone"),
        (dt.String(), "text"),
    ],
)
def test_a_type_is_spelled_as_postgresqls_catalog_has_it(kind: dt.DataType, said: str) -> None:
    assert of(kind) == said


def test_a_type_that_it_does_not_have_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ContractError, match=r"analytics/returns.why: array<int64> has no .* one of .*date, decimal"):
        of(dt.Array(dt.int64))
