"""Reconciliation, references and quarantine, on tables small enough to check by eye."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import ibis
import pandera.ibis as pa
import pyarrow as pa_arrow
import pytest

from classic_cars.contracts.base import RESCUED, Contract, Int, Reconciliation, Reference, TableModel, Text, facts
from classic_cars.tables import audit, quarantine


def sales(**amounts: str | None) -> ibis.Table:
    return ibis.memtable(
        pa_arrow.table(
            {
                "country": [None if name == "none" else name for name in amounts],
                "rows": [1 for _ in amounts],
                "amount": pa_arrow.array(
                    [None if amount is None else Decimal(amount) for amount in amounts.values()],
                    pa_arrow.decimal128(18, 2),
                ),
            }
        )
    )


def reconcile(actual: ibis.Table, expected: ibis.Table) -> tuple[bool, dict]:
    both = Reconciliation("by country", ("country",), lambda: actual, lambda: expected)
    return audit.reconcile(both, actual, expected)


def test_equal_sides_agree():
    passed, found = reconcile(sales(USA="1.10", Spain="2.20"), sales(Spain="2.20", USA="1.10"))
    assert passed
    assert found["groups"] == 2
    assert found["totals"]["actual amount"] == Decimal("3.30")


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (sales(USA="1.10"), sales(USA="1.11")),
        (sales(USA="1.10"), sales(USA="1.10", Spain="0.00")),
        (sales(USA="1.10", none="2"), sales(USA="1.10")),
        (sales(USA="1.10", Norway="2"), sales(USA="2", Norway="1.10")),
    ],
    ids=["a cent", "a missing group", "a group without a name", "amounts swapped between groups"],
)
def test_any_difference_in_any_group_fails(actual, expected):
    passed, found = reconcile(actual, expected)
    assert not passed
    assert found["groups that differ"] >= 1
    assert found["first differences"]


def test_a_sum_of_nothing_equals_zero():
    passed, _ = reconcile(sales(USA=None), sales(USA="0.00"))
    assert passed


class Staff(TableModel):
    """Employees, who report to each other."""

    number: Int = pa.Field(ge=1, description="Number")
    manager: Int = pa.Field(nullable=True, description="Manager")
    office: Text = pa.Field(nullable=True, description="Office")

    class Config:
        name = "staging/staff"
        unique = ["number"]
        metadata = facts(
            quarantines="source/staff",
            references=[
                Reference("manager", "staging/staff", "number"),
                Reference("office", "staging/offices", "code"),
            ],
        )


STAFF = Contract.of(Staff)
OFFICES = {"staging/offices": ibis.memtable({"code": ["1", "2"]})}


def staff(*rows: tuple[int | None, int | None, str | None]) -> ibis.Table:
    columns = list(zip(*rows, strict=True))
    return ibis.memtable(
        {"number": columns[0], "manager": columns[1], "office": columns[2], RESCUED: [None] * len(rows)},
        schema={"number": "int32", "manager": "int32", "office": "string", RESCUED: "string"},
    )


def numbers(table: ibis.Table) -> list:
    return sorted(table.number.to_pyarrow().to_pylist(), key=str)


def reasons(sieved: quarantine.Sieved) -> dict:
    rows = sieved.aside.to_pyarrow().to_pylist()
    return {row["number"]: row["_reason"] for row in rows}


def test_rows_that_break_a_rule_are_set_aside_with_every_reason():
    sieved = quarantine.by_rules(STAFF, staff((1, None, "1"), (0, None, "1"), (None, None, "1")))
    assert numbers(sieved.kept) == [1]
    assert reasons(sieved) == {
        0: "number: greater_than_or_equal_to(1)",
        None: "number: not null (a value is present)",
    }


def test_a_value_that_did_not_fit_sets_its_row_aside():
    rows = staff((1, None, "1"), (2, None, "1")).mutate(
        **{RESCUED: ibis.ifelse(ibis._.number == 2, '{"office": "?"}', None)}
    )
    sieved = quarantine.by_rules(STAFF, rows)
    assert numbers(sieved.kept) == [1]
    assert "does not fit" in reasons(sieved)[2]


def test_of_equal_rows_one_stays_and_of_different_rows_with_one_key_none():
    rows = staff((1, None, "1"), (1, None, "1"), (2, None, "1"), (2, None, "2"), (3, None, "2"))
    sieved = quarantine.by_key(STAFF, quarantine.by_rules(STAFF, rows))
    assert numbers(sieved.kept) == [1, 3]
    assert numbers(sieved.aside) == [1, 2, 2]


def test_rows_that_refer_to_nothing_are_set_aside_and_so_are_those_that_refer_to_them():
    rows = staff((1, None, "1"), (2, 1, "9"), (3, 2, "1"), (4, 3, "1"))
    sieved = quarantine.by_rules(STAFF, rows)
    for _ in range(3):
        sieved = quarantine.by_references(STAFF, sieved, OFFICES)
    assert numbers(sieved.kept) == [1]
    assert numbers(sieved.aside) == [2, 3, 4]


def test_nothing_is_lost_whatever_the_sieves_do():
    rows = staff((1, None, "1"), (1, None, "1"), (2, 7, "1"), (None, None, "1"), (5, 1, None), (5, 1, "2"))
    sieved = quarantine.by_references(STAFF, quarantine.by_key(STAFF, quarantine.by_rules(STAFF, rows)), OFFICES)
    assert len(numbers(sieved.kept)) + len(numbers(sieved.aside)) == 6


def test_metadata_values_are_plain_and_exact():
    assert audit.plain(Decimal("9604190.6100")) == "9604190.61"
    assert audit.plain(date(2004, 1, 2)) == "2004-01-02"
    assert audit.plain({"a": [Decimal("0.125"), b"xy"]}) == {"a": ["0.125", "2 bytes"]}
