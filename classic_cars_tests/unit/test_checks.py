"""Every kind of check seen passing and failing, and what quarantine does, on tables small enough to check by eye."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import ibis
import pandera.ibis as pa
import pyarrow as pa_arrow
import pytest

from classic_cars.checks import KINDS, Audit, base, checks_of, columns, landed, not_examined, reconciliation
from classic_cars.checks.base import BaseVersion, Limits, measure, plain
from classic_cars.checks.compared import SHOWN
from classic_cars.checks.completeness import Completeness
from classic_cars.checks.profiles import audited
from classic_cars.checks.quarantine import Quarantine
from classic_cars.checks.reconciliation import Conservation, Reconciliations, proven_equal, reconcile
from classic_cars.checks.rules import Keys, References, Schema, Values
from classic_cars.checks.source import Moved, OrderSystemAgrees, SourceRead, Volume
from classic_cars.contracts.base import RESCUED, Contract
from classic_cars.contracts.order_system import READ_ORDER
from classic_cars.contracts.origins import EXPECTED, FLAG, REPAIRED, UNKNOWN, copied, derived, grain, spelled
from classic_cars.contracts.vocabulary import (
    Complete,
    Date,
    Int,
    Money,
    Reconciliation,
    Reference,
    TableModel,
    Text,
    facts,
)
from classic_cars.months import Months
from classic_cars.sources.control_totals import proven
from classic_cars.stores.base import Staged
from classic_cars.tables import origins, quarantine
from classic_cars.tables.data_versions import content_of


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


def reconciled(actual: ibis.Table, expected: ibis.Table) -> tuple[bool, dict]:
    named = Reconciliation("by country", ("country",), lambda: actual, lambda: expected)
    found = reconcile(named, actual, expected)
    return not found.wrong, found.facts(named.name)


class MonthlySales(TableModel):
    """Sales by day, partitioned by month."""

    day: Date = pa.Field(nullable=False)
    units: Int = pa.Field(ge=1, nullable=False)

    class Config:
        name = "staging/monthly"
        unique = ["day"]
        metadata = facts(partitioned_by="day", totals={"units": lambda rows: rows.units.sum()})


@pytest.mark.parametrize("wrong", range(3))
def test_rules_and_totals_are_those_of_all_months_of_a_run(wrong):
    contract, days = Contract.of(MonthlySales), [date(2004, month, 1) for month in (1, 2, 3)]
    units = [-5 if index == wrong else 10 for index in range(3)]
    found = measure(contract, ibis.memtable(pa_arrow.table({"day": days, "units": units})), {})
    assert (found.rows, found.totals) == (3, {"units": 15})
    assert list(found.broken_rules.values()) == [1]


def test_equal_sides_agree():
    passed, found = reconciled(sales(USA="1.10", Spain="2.20"), sales(Spain="2.20", USA="1.10"))
    assert passed
    assert found["groups compared"] == 2
    assert found["difference in amount"] == 0
    same = {"difference": Decimal(0)}
    assert found["amount by country"] == [
        {"country": "Spain", "expected": Decimal("2.20"), "actual": Decimal("2.20")} | same,
        {"country": "USA", "expected": Decimal("1.10"), "actual": Decimal("1.10")} | same,
    ]
    assert "rows by country" not in found


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
    passed, found = reconciled(actual, expected)
    assert not passed
    assert found["groups that differ"] >= 1
    shown = [row for name in ("rows by country", "amount by country") for row in found.get(name, ())]
    assert any(row["difference"] for row in shown)


def test_of_many_groups_those_that_differ_are_shown_and_all_are_counted():
    """By name those that agree come first; half of the others are too high by 1, half too low."""
    wrong = SHOWN + 10
    names = [f"{number:03}" for number in range(SHOWN + wrong)]
    off = [0] * SHOWN + [1, -1] * (wrong // 2)
    actual = {name: f"{10 + more}.00" for name, more in zip(names, off, strict=True)}
    passed, found = reconciled(sales(**actual), sales(**dict.fromkeys(names, "10.00")))
    assert not passed
    assert (found["groups compared"], found["groups that differ"]) == (SHOWN + wrong, wrong)
    assert found["difference in amount"] == wrong
    shown = [(row["country"], row["difference"]) for row in found["amount by country"]]
    assert shown == list(zip(names, off, strict=True))[SHOWN : 2 * SHOWN]


MANY_GROUPS = {f"{number:03}": "10.00" for number in range(SHOWN)}


def test_many_groups_that_agree_are_proven_by_their_hashes():
    sides = [{**MANY_GROUPS, "USA": None, "none": "-1.10"}, {"none": "-1.10", "USA": "0.00", **MANY_GROUPS}]
    named = Reconciliation("by country", ("country",), lambda: None, lambda: None)
    actual, expected = (sales(**side) for side in sides)
    assert proven_equal(named, actual, expected) == replace(reconcile(named, actual, expected), shown=[])
    few = sales(**dict(list(MANY_GROUPS.items())[:SHOWN]))
    assert proven_equal(named, few, few) is None


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ({"USA": "1.10"}, {"USA": "1.11"}),
        ({"USA": "1.10"}, {"USA": "1.10", "Spain": "0.00"}),
        ({"none": "2"}, {"": "2"}),
        ({"USA": "1.10", "Norway": "2"}, {"USA": "2", "Norway": "1.10"}),
        ({"USA": "1.10"}, {"Usa": "1.10"}),
    ],
    ids=["a cent", "a missing group", "a group without a name", "swapped", "other names"],
)
def test_many_groups_with_one_difference_are_compared_group_by_group(actual, expected):
    named = Reconciliation("by country", ("country",), lambda: None, lambda: None)
    assert proven_equal(named, sales(**MANY_GROUPS, **actual), sales(**MANY_GROUPS, **expected)) is None


@pytest.mark.parametrize(("amount", "passes"), [("10.00", True), ("10.01", False)])
def test_a_large_table_is_compared_group_by_group_only_where_it_differs(monkeypatch, amount, passes):
    asked = []
    monkeypatch.setattr(reconciliation, "MANY", 0)
    monkeypatch.setattr(reconciliation, "reconcile", lambda *sides: asked.append(1) or reconcile(*sides))
    rows = sales(**MANY_GROUPS, USA="10.00")
    named = Reconciliation("by country", ("country",), lambda rows: rows, lambda: sales(**MANY_GROUPS, USA=amount))
    audit = SimpleNamespace(
        rows=rows,
        tables={},
        measured=SimpleNamespace(rows=1),
        contract=SimpleNamespace(address="analytics/sales", reconciliations=[named]),
    )
    found = Reconciliations().evaluate(audit)
    assert (found.passed, bool(asked)) == (passes, not passes)
    assert found.facts["groups compared"] == SHOWN + 1


def test_a_sum_of_nothing_equals_zero():
    passed, _ = reconciled(sales(USA=None), sales(USA="0.00"))
    assert passed


class Staff(TableModel):
    """Employees, who report to each other."""

    number: Int = pa.Field(ge=1, description="Number")
    manager: Int = pa.Field(nullable=True, description="Manager")
    office: Text = pa.Field(nullable=True, description="Office")
    level: Int = pa.Field(ge=1, nullable=True, description="Level", metadata=REPAIRED)
    role: Text = pa.Field(
        isin=["Sales", "Boss"],
        raise_warning=True,
        nullable=True,
        description="Role",
        metadata=EXPECTED | spelled(["Sales", "Boss"]),
    )

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


def staff(*rows: tuple[int | None, int | None, str | None], **more: Any) -> ibis.Table:
    values = list(zip(*rows, strict=True))
    given = {"level": 1, "role": "Sales", RESCUED: None} | more
    return ibis.memtable(
        {"number": values[0], "manager": values[1], "office": values[2]}
        | {name: value if isinstance(value, list) else [value] * len(rows) for name, value in given.items()},
        schema=dict(STAFF.types.items()),
    )


def numbers(table: ibis.Table) -> list:
    return sorted(table.number.to_pyarrow().to_pylist(), key=str)


def reasons(screened: quarantine.Screened) -> dict:
    rows = screened.rejected.to_pyarrow().to_pylist()
    return {row["number"]: row["_reason"] for row in rows}


def test_rows_that_break_a_rule_are_rejected_with_every_reason():
    screened = quarantine.by_rules(STAFF, staff((1, None, "1"), (0, None, "1"), (None, None, "1")))
    assert numbers(screened.accepted) == [1]
    assert reasons(screened) == {
        0: "number is not at least 1",
        None: "number is missing",
    }


def test_a_value_that_did_not_fit_rejects_its_row_only_where_a_row_cannot_be_counted_without_it():
    rows = staff((None, None, "1"), (2, None, "1"), **{RESCUED: ['{"number": "x"}', '{"manager": "y"}']})
    screened = quarantine.by_rules(STAFF, quarantine.repaired(STAFF, rows))
    assert numbers(screened.accepted) == [2]
    assert reasons(screened)[None] == "number does not fit its type, the raw value is in _rescued_data"


def test_a_value_that_is_repaired_is_kept_beside_its_row():
    rows = staff((1, None, "1"), (2, None, "1"), (3, None, "1"), level=[1, -5, 0], role=["Sales", "BOSS", "Clerk"])
    rows = rows.mutate(**{RESCUED: ibis.ifelse(rows.number == 3, '{"office": "a \\"b\\""}', None)})
    mended = quarantine.repaired(STAFF, rows).order_by("number").to_pyarrow().to_pylist()
    assert [row["level"] for row in mended] == [1, None, None]
    assert [row["role"] for row in mended] == ["Sales", "Boss", "Clerk"]
    assert [row[RESCUED] for row in mended] == [
        None,
        '{"level": "-5", "role": "BOSS"}',
        '{"office": "a \\"b\\"", "level": "0"}',
    ]


def test_of_equal_rows_one_stays_and_of_different_rows_with_one_key_none():
    rows = staff((1, None, "1"), (1, None, "1"), (2, None, "1"), (2, None, "2"), (3, None, "2"))
    screened = quarantine.by_key(STAFF, quarantine.by_rules(STAFF, rows))
    assert numbers(screened.accepted) == [1, 3]
    assert numbers(screened.rejected) == [1, 2, 2]


def test_rows_that_refer_to_nothing_are_rejected_and_so_are_those_that_refer_to_them():
    rows = staff((1, None, "1"), (2, 1, "9"), (3, 2, "1"), (4, 3, "1"))
    screened = quarantine.by_rules(STAFF, rows)
    for _ in range(3):
        screened = quarantine.by_references(STAFF, screened, OFFICES)
    assert numbers(screened.accepted) == [1]
    assert numbers(screened.rejected) == [2, 3, 4]


def test_nothing_is_lost_whatever_is_rejected():
    rows = staff((1, None, "1"), (1, None, "1"), (2, 7, "1"), (None, None, "1"), (5, 1, None), (5, 1, "2"))
    screened = quarantine.by_references(STAFF, quarantine.by_key(STAFF, quarantine.by_rules(STAFF, rows)), OFFICES)
    assert len(numbers(screened.accepted)) + len(numbers(screened.rejected)) == 6


def test_metadata_values_are_plain_and_exact():
    assert plain(Decimal("9604190.6100")) == "9604190.61"
    assert plain(date(2004, 1, 2)) == "2004-01-02"
    assert plain({"a": [Decimal("0.125"), b"xy"]}) == {"a": ["0.125", "2 bytes"]}


# Every kind of check, passing and failing ---------------------------------------------------------------


@dataclass(frozen=True)
class Totals:
    """Control totals, as the order system and the rows here have them."""

    rows: int
    cents: int | None = None
    digest: int = 0


class Lines(TableModel):
    """Order lines; one row per number."""

    number: Int = pa.Field(ge=1, description="Number")
    day: Date = pa.Field(description="Day")
    price: Money = pa.Field(ge=0, description="Price")
    customer: Int = pa.Field(description="Customer")
    name: Text = pa.Field(description="Name", metadata=copied("staging/customers.called", missing=UNKNOWN))
    twice: Money = pa.Field(
        description="Twice the price",
        metadata=derived("staging/lines.price", by=lambda row: (row.price * 2).cast("decimal(10, 2)")),
    )

    class Config:
        name = "warehouse/lines"
        unique = ["number"]
        metadata = facts(
            totals={"amount": lambda lines: lines.price.sum()},
            complete=Complete("lines", lambda rows: (rows.day, rows.price), lambda rows: (rows.day, rows.price)),
            references=[Reference("customer", "warehouse/customers", "customer")],
            reconciliations=[
                Reconciliation(
                    "in all",
                    ("all",),
                    lambda lines: lines.aggregate(amount=lines.price.sum()).mutate(all=ibis.literal("all")),
                    lambda source_lines: source_lines.aggregate(amount=source_lines.price.sum()).mutate(
                        all=ibis.literal("all")
                    ),
                )
            ],
        )


class Customers(TableModel):
    """Customers; one row per customer."""

    customer: Int = pa.Field(description="Customer")
    called: Text = pa.Field(description="Name")

    class Config:
        name = "staging/customers"
        unique = ["customer"]
        metadata = facts()


LINES = Contract.of(Lines)
RAW = Contract.of(
    pa.DataFrameSchema(
        {name: LINES.schema.columns[name] for name in ("number", "day", "price", "customer")},
        name="staging/lines",
        unique=["number"],
    )
)
PLAN = origins.planned(LINES, [RAW, Contract.of(Customers)])
GOOD = [
    (1, date(2004, 1, 31), "1.50", 7, "Toys", "3.00"),
    (2, date(2004, 2, 1), "2.50", 8, "Unknown", "5.00"),
    (3, date(2004, 2, 2), "4.00", 7, "Toys", "8.00"),
]


def lines(*rows: tuple) -> ibis.Table:
    return ibis.memtable(
        [dict(zip(LINES.types.names, row, strict=True)) for row in rows] or {name: [] for name in LINES.types.names},
        schema=ibis.schema({name: "string" if kind.is_decimal() else kind for name, kind in LINES.types.items()}),
    ).cast(dict(LINES.types.items()))


def audit(*rows: tuple, **more: Any) -> Audit:
    """The audit of these rows, made from the good ones."""
    raw = lines(*GOOD).select("number", "day", "price", "customer")
    staged = more.pop("staged") if "staged" in more else lines(*rows)
    tables: Mapping[str, ibis.Table] = {
        "staging/lines": raw,
        "source/lines": raw,
        "quarantine/lines": raw.filter(ibis.literal(False)),
        "staging/customers": ibis.memtable(
            {"customer": [7], "called": ["Toys"]}, schema={"customer": "int32", "called": "string"}
        ),
        "warehouse/customers": ibis.memtable({"customer": [7, 8]}, schema={"customer": "int32"}),
    } | more.pop("tables", {})
    given = {
        "contract": LINES,
        "staged": Staged(LINES, None, staged, None, ""),
        "tables": {**tables, more.get("contract", LINES).address: staged},
        "origins": PLAN,
        "address_of": lambda name: name.replace("_", "/", 1),
        "receive": ibis.memtable,
    }
    return Audit(**(given | more))


def changed(index: int, **values: Any) -> list[tuple]:
    """The good rows, one of them changed."""
    rows = [dict(zip(LINES.types.names, row, strict=True)) for row in GOOD]
    rows[index] |= values
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize("check", checks_of(LINES, PLAN), ids=lambda check: check.name)
def test_good_rows_pass(check):
    verdict = check.evaluate(audit(*GOOD))
    assert verdict.passed, verdict.summary


#: Planted in a row: the checks that must see it.
PLANTED = {
    "another price": (changed(0, price="1.51", twice="3.02"), {"columns", "reconciliation", "completeness"}),
    "a derived value": (changed(0, twice="3.01"), {"columns"}),
    "a name of another table": (changed(0, name="Toy"), {"columns"}),
    "no stand-in for a missing name": (changed(1, name=""), {"columns"}),
    "prices of two rows swapped": (
        [*changed(0, price="4.00", twice="8.00")[:1], GOOD[1], *changed(2, price="1.50", twice="3.00")[2:]],
        {"columns", "completeness"},
    ),
    "a day of another month": (changed(0, day=date(2004, 2, 1)), {"columns", "completeness"}),
    "a lost row": (GOOD[:2], {"columns", "reconciliation", "completeness"}),
    "a row twice": ([*GOOD, GOOD[0]], {"keys", "columns", "reconciliation", "completeness"}),
    "a rule broken": (
        changed(0, price="-1.50", twice="-3.00"),
        {"values", "columns", "reconciliation", "completeness"},
    ),
    "a reference to nothing": (changed(0, customer=99), {"references", "columns"}),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_planted_is_seen_by_each_check_that_should_see_it(planted):
    rows, expected = PLANTED[planted]
    verdicts = [check.evaluate(audit(*rows)) for check in checks_of(LINES, PLAN)]
    assert {each.check for each in verdicts if not each.passed} == expected
    assert not any(each.warning for each in verdicts if not each.passed)


@pytest.mark.parametrize("number", [1, None])
def test_a_key_that_occurs_twice_is_counted_and_so_is_one_that_is_missing(number):
    rows = lines(*[(number, *row[1:]) for row in GOOD])
    verdict = Keys().evaluate(audit(staged=rows))
    assert (verdict.facts["duplicate keys"], verdict.facts["rows with a duplicate key"]) == (1, 3)


def test_keys_of_one_hash_are_not_taken_for_one_key(monkeypatch):
    monkeypatch.setattr(base, "hashed", lambda *values: values[0] * 0)
    assert Keys().evaluate(audit(*GOOD)).passed
    assert Keys().evaluate(audit(*GOOD, GOOD[0])).facts["duplicate keys"] == 1


@pytest.mark.parametrize("name", LINES.types.names)
def test_the_content_is_another_one_when_any_column_is_proven_or_not(name):
    rows = lines(*GOOD)
    was, is_now = (
        content_of(audited(LINES, each, [])).version
        for each in (rows, rows.mutate(**{name: ibis.null(LINES.types[name])}))
    )
    assert was == content_of(audited(LINES, lines(*reversed(GOOD)), LINES.types.names)).version != is_now


def test_the_column_the_month_and_the_keys_that_differ_are_named():
    partitioned = facts(partitioned_by="day")
    contract = Contract.of(
        pa.DataFrameSchema(LINES.schema.columns, name="warehouse/lines", unique=["number"], metadata=partitioned)
    )
    plan = origins.planned(contract, [RAW, Contract.of(Customers)])
    verdict = columns.Columns().evaluate(audit(*changed(1, name="Toys"), contract=contract, origins=plan))
    assert verdict.summary == "not what the contract says they come from: name (2004-02)"
    assert verdict.facts["sample name"] == [{"number": 2}]


@pytest.mark.parametrize(("each", "said"), [(True, "called"), (False, "all columns")])
def test_a_hash_tells_null_from_empty_and_swapped_from_not(each, said):
    def profiled(*values: Any) -> columns.Profile:
        rows = ibis.memtable(
            {"customer": [1, 2], "called": list(values)}, schema={"customer": "int32", "called": "string"}
        )
        return columns.profile(Contract.of(Customers), rows, ["customer", "called"], each=each)

    seen = [profiled(*values) for values in [("a", "b"), ("b", "a"), ("a", None), ("a", ""), (None, None), ("", "")]]
    assert all(columns.differing(one, two) == {said: [""]} for one in seen for two in seen if one is not two)


def test_a_table_of_other_columns_fails_the_schema_whatever_staged_it():
    wrong = lines(*GOOD).drop("name").mutate(price=ibis.literal(1))
    verdict = Schema().evaluate(audit(staged=wrong))
    assert verdict.facts["differences"] == ["column name is missing", "column price is int8, expected decimal(10, 2)"]
    assert not verdict.passed
    assert not any(each.passed for each in not_examined(LINES, PLAN, ["column name is missing"]))


def test_flagged_and_repaired_values_are_warnings_with_counts():
    rows = staff((1, None, "1"), (2, None, "1"), role=["Clerk", None], **{RESCUED: ['{"level": "-5"}', None]})
    verdict = Values().evaluate(audit(contract=STAFF, staged=rows, tables=OFFICES))
    assert (verdict.passed, verdict.warning) == (False, True)
    assert verdict.facts["rules broken"] == {
        "role is missing": 1,
        "role is not one of Sales, Boss": 1,
    }
    assert verdict.facts["columns repaired"] == {"level": 1}
    assert [verdict.facts[name] for name in ("rows flagged", "values repaired")] == [2, 1]


def test_a_flagged_reference_warns_and_another_one_blocks():
    flagged = Contract.of(
        pa.DataFrameSchema(
            {"number": STAFF.schema.columns["number"], "office": STAFF.schema.columns["office"]},
            name="staging/staff",
            unique=["number"],
            metadata=facts(
                quarantines="source/staff", references=[Reference("office", "staging/offices", "code", FLAG)]
            ),
        )
    )
    rows = staff((1, None, "9")).select("number", "office", RESCUED)
    verdict = References().evaluate(audit(contract=flagged, staged=rows, tables=OFFICES))
    assert (verdict.passed, verdict.warning) == (False, True)
    assert "1 row without office in staging/offices" in verdict.summary
    strict = References().evaluate(audit(contract=STAFF, staged=staff((1, None, "9")), tables=OFFICES))
    assert (strict.passed, strict.warning) == (False, False)


def rejected(*prices: str | None) -> ibis.Table:
    """Rejected lines."""
    rows = ibis.memtable(
        {"number": list(range(len(prices))), "price": list(prices), "_reason": ["bad"] * len(prices)},
        schema={"number": "int32", "price": "string", "_reason": "string"},
    )
    return rows.mutate(price=rows.price.cast("decimal(10, 2)"))


CLEANED = Contract.of(
    pa.DataFrameSchema(
        {name: LINES.schema.columns[name] for name in ("number", "day", "price", "customer")},
        name="staging/lines",
        unique=["number"],
        metadata=facts(
            quarantines="source/lines",
            totals={"amount": lambda rows: rows.price.sum()},
            money=lambda rows: rows.price,
        ),
    )
)


def kept(*rows: tuple) -> ibis.Table:
    """Accepted lines."""
    return lines(*rows).select("number", "day", "price", "customer").mutate(**{RESCUED: ibis.null("string")})


@pytest.mark.parametrize(
    ("prices", "limits", "passed", "warning", "said"),
    [
        ([], (0.01, 0.01), True, False, "no row had to be quarantined"),
        (["0.50"], (0.3, 0.1), False, True, "1 of 4 rows quarantined (25.00%; 0.50): 1 row: bad"),
        (
            ["0.50"],
            (0.2, 0.1),
            False,
            False,
            ". Above the limit: 1 of 4 rows of the table (25.00%), limit 20.00% (CLASSIC_CARS_QUARANTINE_MAX_SHARE)",
        ),
        (
            ["9.00"],
            (0.3, 0.1),
            False,
            False,
            ". Above the limit: 9.00 of 17.00 of the money of the table (52.94%), limit 10.00% "
            "(CLASSIC_CARS_QUARANTINE_MAX_AMOUNT_SHARE)",
        ),
        ([None], (0.3, 0.3), False, True, "(25.00%; 0.00, and 1 of unknown amount)"),
        ([None], (0.3, 0.2), False, False, "CLASSIC_CARS_QUARANTINE_MAX_AMOUNT_SHARE"),
        (["9.00", "-9.00"], (0.5, 0.1), False, False, "CLASSIC_CARS_QUARANTINE_MAX_AMOUNT_SHARE"),
    ],
    ids=[
        "nothing",
        "little",
        "too many rows",
        "too much money",
        "a price that could not be read",
        "too many of them",
        "amounts that cancel out",
    ],
)
def test_what_is_quarantined_warns_and_above_a_limit_blocks(prices, limits, passed, warning, said):
    strict = Limits(*limits, quarantine_floor=0)
    given = audit(contract=CLEANED, staged=kept(*GOOD), rejected=rejected(*prices), limits=strict)
    verdict = Quarantine().evaluate(given)
    assert (verdict.passed, verdict.warning) == (passed, warning)
    assert said in verdict.summary


def many(count: int, price: str = "10.00") -> ibis.Table:
    """Lines that are good but for what is asked here: how many, and how much money."""
    rows = ibis.memtable({"number": range(count)}, schema={"number": "int32"})
    return rows.mutate(
        day=ibis.date(2004, 1, 1),
        price=ibis.literal(price).cast("decimal(10, 2)"),
        customer=ibis.literal(7, "int32"),
        **{RESCUED: ibis.null("string")},
    )


def bad(count: int, price: str = "10.00") -> ibis.Table:
    return many(count, price).mutate(_reason=ibis.literal("bad"))


JANUARY = Months.parse("2004-01")
ROWS, MONEY = "CLASSIC_CARS_QUARANTINE_MAX_SHARE", "CLASSIC_CARS_QUARANTINE_MAX_AMOUNT_SHARE"


@pytest.mark.parametrize(
    ("good", "now", "others", "before", "said"),
    [
        (49, bad(1), many(5_000), bad(0), None),
        (
            49,
            bad(1, "9000.00"),
            many(5_000),
            bad(0),
            f"9,000.00 of 59,490.00 of the money of the table (15.13%), limit 1.00% ({MONEY})",
        ),
        (49, bad(1, "90.00"), None, None, None),
        (
            199,
            bad(1, "90.00"),
            None,
            None,
            f"90.00 of 2,080.00 of the money of the table (4.33%), limit 1.00% ({MONEY})",
        ),
        (
            48,
            bad(2, "0.00"),
            many(5_000),
            bad(0),
            f"2 of 50 rows of this run (4.00%), limit 1.00% ({ROWS})",
        ),
        (
            0,
            bad(7, "0.00"),
            None,
            None,
            f"7 of 7 rows of the table (100.00%), limit 1.00% ({ROWS})",
        ),
        (72, bad(328, "0.00"), many(50_000), bad(0), f"328 of 400 rows of this run (82.00%), limit 1.00% ({ROWS})"),
        (
            397,
            bad(3, "90.00"),
            many(50_000),
            bad(0),
            f"270.00 of 4,240.00 of the money of this run (6.37%), limit 1.00% ({MONEY})",
        ),
        (49, bad(1), many(2_950), bad(29), None),
        (
            49,
            bad(1, "0.00"),
            many(2_950),
            bad(30, "0.00"),
            f"31 of 3,030 rows of the table (1.02%), limit 1.00% ({ROWS})",
        ),
        (
            49,
            bad(1),
            many(5_000),
            bad(1, "9000.00"),
            f"9,010.00 of 59,500.00 of the money of the table (15.14%), limit 1.00% ({MONEY})",
        ),
        (50, bad(0), many(2_950), bad(40), None),
    ],
    ids=[
        "one of a small month",
        "one of a small month that is much of all money",
        "one of a small table",
        "one of a table with enough rows that is much of its money",
        "two of a small month",
        "all of a small table",
        "most of a run of a big table",
        "money of the run",
        "a table that is just good enough",
        "a table that got worse by a row a run",
        "much of all money is quarantined in other months",
        "a good run of a bad table",
    ],
)
def test_a_share_is_judged_of_the_run_and_of_the_table(good, now, others, before, said):
    staged = Staged(CLEANED, JANUARY, many(good), others, "")
    given = audit(contract=CLEANED, staged=staged.rows, rejected=now, rejected_elsewhere=before)
    verdict = Quarantine().evaluate(replace(given, staged=staged))
    if said is None:
        assert verdict.passed or verdict.warning
        assert "Above the limit" not in verdict.summary
    else:
        assert (verdict.passed, verdict.warning) == (False, False)
        assert verdict.summary.endswith(f". Above the limit: {said}")


def test_reasons_are_named_with_their_rows_and_the_rarest_summed_up():
    reasons = [name for index, name in enumerate("abcdefg") for _ in range(10 - index)] + ["a; b"] * 20
    several = bad(len(reasons)).drop("_reason").mutate(_reason=ibis.array(reasons)[ibis.row_number()])
    verdict = Quarantine().evaluate(audit(contract=CLEANED, staged=many(5_000), rejected=several))
    shown = "20 rows: a and b; 10 rows: a; 9 rows: b; 8 rows: c; 7 rows: d; 15 rows: other reasons"
    assert f": {shown}. Above the limit: 69 of 5,069 rows" in verdict.summary


def test_reasons_have_their_money_and_those_of_the_table_those_of_other_months():
    unread = bad(3).mutate(price=ibis.ifelse(ibis.row_number() == 0, None, ibis.literal("1.25")).cast("decimal(10, 2)"))
    elsewhere = ibis.union(bad(2, "-0.10"), bad(1, "7.00").mutate(_reason=ibis.literal("worse")))
    staged = Staged(CLEANED, JANUARY, many(5_000), many(9), "")
    given = audit(contract=CLEANED, staged=staged.rows, rejected=unread, rejected_elsewhere=elsewhere)
    facts = Quarantine().evaluate(replace(given, staged=staged)).facts
    assert [tuple(each.values()) for each in facts["reasons"]] == [("bad", 3, Decimal("2.50"), 1)]
    assert [tuple(each.values()) for each in facts["reasons in the table"]] == [
        ("bad", 5, Decimal("2.30"), 1),
        ("worse", 1, Decimal("7.00"), 0),
    ]

    good = audit(contract=CLEANED, staged=staged.rows, rejected=bad(0), rejected_elsewhere=elsewhere)
    verdict = Quarantine().evaluate(replace(good, staged=staged))
    assert verdict.passed
    assert [each["rows"] for each in verdict.facts["reasons in the table"]] == [2, 1], "they are still kept out"


def test_many_reasons_add_up_to_all_rows_and_all_money():
    several = many(60, "0.10").mutate(_reason=(ibis.row_number() % 30).cast("string"))
    facts = Quarantine().evaluate(audit(contract=CLEANED, staged=many(5_000), rejected=several)).facts
    shown = facts["reasons in the table"]
    assert (len(shown), shown[-1]["reason"]) == (21, "other reasons")
    assert sum(each["rows"] for each in shown) == 60
    assert sum(each["amount"] for each in shown) == Decimal("6.00")


@pytest.mark.parametrize(
    ("months", "dated", "blocks"),
    [("1900-01", 0, False), ("1900-01..1900-03", 0, False), ("1900-01..2004-01", 3, True), ("2004-01", 3, True)],
)
def test_rows_without_a_date_are_of_no_run_but_of_the_table(months, dated, blocks):
    """Of all rows without a date none is accepted: one is not all orders, however few months are read with it."""
    by_month = replace(CLEANED, partitioned_by="day")
    undated = 0 if months == "2004-01" else 2
    aside = ibis.union(bad(dated), bad(undated).mutate(day=ibis.date(1900, 1, 1)), distinct=False)
    alone = Staged(by_month, Months.parse(months), many(0), many(1_000), "")
    given = audit(contract=by_month, staged=alone.rows, rejected=aside, rejected_elsewhere=bad(0))
    verdict = Quarantine().evaluate(replace(given, staged=alone))
    assert not verdict.passed
    assert verdict.warning is not blocks
    rows = dated + undated
    assert f"{rows} of {rows} rows quarantined" in verdict.summary
    assert f", {rows} of {1_000 + rows:,} in the table" in verdict.summary
    assert ("3 of 3 rows of this run" in verdict.summary) is blocks


def conserved(staged: ibis.Table) -> base.CheckOutcome:
    """Of the good rows of source, with nothing quarantined."""
    aside = staged.filter(ibis.literal(False)).mutate(_reason=ibis.literal(""))
    raw = Contract.of(pa.DataFrameSchema(CLEANED.schema.columns, name="source/lines"))
    plan = origins.planned(CLEANED, [raw])
    source = {"source/lines": kept(*GOOD)}
    return Conservation().evaluate(audit(contract=CLEANED, staged=staged, rejected=aside, origins=plan, tables=source))


def test_a_row_that_is_in_neither_part_is_missed():
    verdict = conserved(kept(*GOOD[:2]))
    assert not verdict.passed
    assert verdict.facts["rows in all"] == [{"month": "all", "expected": 3, "actual": 2, "difference": -1}]


def test_a_cent_is_missed_though_no_row_is():
    verdict = conserved(kept(*changed(0, price="1.51")))
    assert not verdict.passed
    assert (verdict.facts["difference in rows"], verdict.facts["difference in amount"]) == (0, Decimal("0.01"))


def test_completeness_counts_what_is_quarantined_and_warns():
    aside = lines(GOOD[2]).select("number", "day", "price", "customer")
    verdict = Completeness().evaluate(audit(*GOOD[:2], tables={"quarantine/lines": aside}))
    assert (verdict.passed, verdict.warning) == (False, True)
    assert verdict.facts["amount quarantined"] == Decimal("4.00")
    assert verdict.facts["rows source"] == 3
    assert verdict.summary == "published 2 rows, 4.00; quarantined 1 row, 4.00 (of 2004-02)"


def test_completeness_counts_quarantined_rows_whose_money_cannot_be_read():
    aside = lines(GOOD[2]).select("number", "day", "price", "customer").mutate(price=ibis.null("decimal(10, 2)"))
    verdict = Completeness().evaluate(audit(*GOOD[:2], tables={"quarantine/lines": aside}))
    assert verdict.facts["rows of unknown amount"] == 1
    assert ", and 1 of unknown amount" in verdict.summary


def arrived(found: Mapping[str, Totals], expected: Mapping[str, Totals]) -> SourceRead:
    return SourceRead(found, expected, lambda: ["price"], "sqlite:///shop.sqlite", rescued=1)


@pytest.mark.parametrize(
    "other",
    [{"2004-01": Totals(2, 100, 5)}, {"2004-01": Totals(1, 101, 5)}, {"2004-01": Totals(1, 100, 6)}, {}],
    ids=["rows", "cents", "a value", "a month"],
)
def test_what_differs_from_the_order_system_blocks_whatever_was_rescued(other):
    mine = {"2004-01": Totals(1, 100, 5)}
    assert OrderSystemAgrees().evaluate(audit(*GOOD, arrived=arrived(mine, mine))).passed
    verdict = OrderSystemAgrees().evaluate(audit(*GOOD, arrived=arrived(mine, other)))
    assert not verdict.passed
    assert not verdict.warning
    assert "2004-01" in verdict.summary
    assert verdict.facts["columns that differ"] == ["price"]


@pytest.mark.parametrize(
    ("before", "accepted", "passed", "warning"),
    [(13, False, True, False), (4, False, True, False), (100, False, False, False), (100, True, True, False)],
    ids=["ten rows fewer", "few rows", "nearly all", "accepted"],
)
def test_a_table_that_shrank_blocks_until_somebody_accepts_it(before, accepted, passed, warning):
    source = Contract.of(pa.DataFrameSchema(RAW.schema.columns, name="source/lines"))
    limits = Limits(shrink=0.3, shrink_rows=11)
    verdict = Volume().evaluate(
        audit(
            *GOOD,
            contract=source,
            before=BaseVersion({"": before}),
            shrink_accepted=accepted,
            limits=limits,
            arrived=arrived({"": Totals(3)}, {}),
        )
    )
    assert (verdict.passed, verdict.warning) == (passed, warning)
    if not passed:
        assert f"{before:,} rows before, 3 now" in verdict.summary


@pytest.mark.parametrize(
    ("before", "passed"),
    [({"2004-01": 4}, True), ({"": 4}, False), ({"2004-01": 6, "2004-02": 6}, False)],
    ids=["a month of few rows", "a whole table", "months of few rows that were many together"],
)
def test_what_is_empty_now_blocks_unless_it_was_one_small_month(before, passed):
    source = Contract.of(pa.DataFrameSchema(RAW.schema.columns, name="source/lines"))
    emptied = audit(*GOOD, contract=source, before=BaseVersion(before), limits=Limits(), arrived=arrived({}, {}))
    assert Volume().evaluate(emptied).passed is passed


def test_an_order_that_moved_to_a_month_that_is_not_read_blocks_and_names_both():
    before = BaseVersion({}, {"2005-05": {"2005-04": 1}})
    verdict = Moved().evaluate(audit(*GOOD, before=before))
    assert not verdict.passed
    assert "1 order of 2005-05 now in 2005-04" in verdict.summary
    assert "--months 2005-04..2005-05" in verdict.summary
    assert Moved().evaluate(audit(*GOOD, before=BaseVersion({}))).passed


@dataclass(frozen=True)
class Entry:
    fileName: str
    fileHash: str
    rows: int
    state: str
    reason: str | None = None


@dataclass(frozen=True)
class Listing:
    files: tuple = ()
    unsettled: int = 0
    unreadable: tuple = ()


def test_a_file_whose_rows_are_not_those_of_the_ledger_blocks_and_a_refused_one_warns():
    contract = Contract.of(pa.DataFrameSchema(RAW.schema.columns, name="source/ratings", metadata=facts(beside=[RAW])))
    entry, bad = Entry("a.csv", "1f", 3, "loaded"), Entry("b.csv", "2f", 0, "quarantined", "is not Parquet")

    def verdicts(found: dict[str, int], *new: Entry, values: int = 5) -> list:
        known = landed.Landed(found, [entry], new, Listing(), {}, {"1f": values}, {"1f": 5})
        return [
            each.evaluate(audit(contract=contract, arrived=known)) for each in (landed.Files(), landed.LedgerAgrees())
        ]

    assert [each.passed for each in verdicts({"1f": 3})] == [True, True]
    assert [(each.passed, each.warning) for each in verdicts({"1f": 2}, bad)] == [(False, True), (False, False)]
    assert not verdicts({"1f": 3, "3f": 1})[1].passed
    assert "1 file with other values" in verdicts({"1f": 3}, values=6)[1].summary


def test_every_kind_is_seen_failing_above():
    seen = {Schema, Values, Keys, References, columns.Columns, Quarantine, Volume, Moved, landed.Files, Conservation}
    seen |= {Reconciliations, OrderSystemAgrees, landed.LedgerAgrees, Completeness}
    assert {type(each) for each in KINDS} == seen


def test_the_limits_are_those_of_the_settings():
    from classic_cars.definitions import _limits
    from classic_cars.settings import Settings

    chosen = Settings(quarantine_max_share=0.2, quarantine_max_amount_share=0.3, quarantine_floor=50, max_shrink=0.4)
    assert _limits(chosen) == Limits(
        quarantine_rows=0.2, quarantine_amount=0.3, quarantine_floor=50, shrink=0.4, shrink_rows=10
    )


@pytest.mark.parametrize("table", READ_ORDER, ids=lambda table: table.name)
def test_the_digest_has_every_column_but_pictures(table):
    assert {column.name for column in proven(table)} == set(table.columns.keys()) - {"image"}


# Origins at load time -----------------------------------------------------------------------------------


def test_a_column_that_nobody_knows_where_it_comes_from_is_named():
    from classic_cars.errors import ContractError

    with pytest.raises(ContractError, match=r"warehouse/lines: no input has a column customer; say in the contract"):
        origins.planned(
            LINES,
            [
                Contract.of(
                    pa.DataFrameSchema(
                        {n: RAW.schema.columns[n] for n in ("number", "day", "price")},
                        name="staging/lines",
                        unique=["number"],
                    )
                )
            ],
        )


def test_the_convention_reaches_columns_through_keys():
    assert PLAN.grain == grain("staging/lines")
    assert [(each.table, each.key) for each in PLAN.lookups] == [("staging/customers", ("customer",))]
    assert PLAN.copied["name"] == ("staging/customers", "called")
    assert PLAN.made_of["twice"] == {("staging/lines", "price")}
