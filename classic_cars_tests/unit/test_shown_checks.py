"""Facts of checks as Dagster shows them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import dagster as dg

from classic_cars.checks.compared import SHOWN, Compared, Group
from classic_cars.tables.metadata import check_metadata


def records(value: object) -> list[dict]:
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def test_numbers_are_plotted_and_money_is_exact_beside_its_plot():
    shown = check_metadata({"rows": 3, "share": 0.5, "amount": Decimal("12345678901234567.89"), "key": "a, b"})
    assert shown == {
        "rows": 3,
        "share": 0.5,
        "amount": 12345678901234567.89,
        "amount, exact": "12,345,678,901,234,567.89",
        "key": "a, b",
    }


def test_rows_and_counts_are_tables_and_empty_ones_are_left_out():
    shown = check_metadata(
        {
            "by month": [{"month": "2004-01", "expected": Decimal("1.10"), "on": date(2004, 1, 2)}],
            "reasons": {"amount is negative": 3},
            "columns": ["a", "b"],
            "sample": [],
            "broken": {},
        }
    )
    assert records(shown["by month"]) == [{"month": "2004-01", "expected": "1.10", "on": "2004-01-02"}]
    assert records(shown["reasons"]) == [{"what": "amount is negative", "found": 3}]
    assert shown["columns"] == "a, b"
    assert set(shown) == {"by month", "reasons", "columns"}


def test_of_many_groups_only_those_that_differ_are_shown():
    many = [Group({"customer": number}, {"amount": (Decimal(1), Decimal(1))}) for number in range(SHOWN + 1)]
    assert "amount by customer" not in Compared.of(many).facts("by customer")
    many[7] = Group({"customer": 7}, {"amount": (Decimal(1), Decimal("1.01"))})
    facts = Compared.of(many).facts("by customer")
    assert facts["amount by customer"] == [
        {"customer": 7, "expected": Decimal(1), "actual": Decimal("1.01"), "difference": Decimal("0.01")}
    ]
    assert (facts["groups compared"], facts["groups that differ"]) == (SHOWN + 1, 1)
    assert facts["difference in amount"] == Decimal("0.01")


def test_differences_do_not_cancel_out():
    swapped = [Group({"country": name}, {"amount": pair}) for name, pair in (("USA", (1, 2)), ("Spain", (2, 1)))]
    assert Compared.of(swapped).differences == {"amount": 2}
