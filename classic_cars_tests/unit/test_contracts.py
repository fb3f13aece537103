"""Contracts: what they know, and that the audit's verdicts are pandera's own."""

from __future__ import annotations

import os
import subprocess
import sys

import ibis
import pandera.ibis as pa
import pytest
from pandera.errors import SchemaErrors

from classic_cars.assets import ALL_TABLES
from classic_cars.checks.base import Audit, measure
from classic_cars.checks.rules import Keys
from classic_cars.contracts import staging, warehouse
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import Origins, grain
from classic_cars.contracts.versions import digest
from classic_cars.contracts.vocabulary import Int, Money, Reconciliation, TableModel, Text, clean, facts, row_rule
from classic_cars.stores.base import Staged

CONTRACTS = [each.contract for each in ALL_TABLES]


class Lines(TableModel):
    """A small table with every kind of rule."""

    number: Int = pa.Field(ge=1)
    code: Text = pa.Field(isin=["a", "b"])
    name: Text = pa.Field(nullable=True, str_length={"max_value": 4})
    price: Money = pa.Field(in_range={"min_value": 0, "max_value": 100}, nullable=True)
    cost: Money = pa.Field(nullable=True)

    texts = clean("name")

    @row_rule("the price covers the cost")
    def price_covers_cost(cls, lines: ibis.Table) -> ibis.expr.types.BooleanValue:
        return lines.price >= lines.cost

    class Config:
        name = "staging/lines"
        unique = ["number"]
        metadata = facts()


GOOD = {"number": 1, "code": "a", "name": "pen", "price": "1.50", "cost": "1.50"}
BAD = {
    "number: not null": {"number": None},
    "number: greater_than_or_equal_to(1)": {"number": 0},
    "code: not null": {"code": None},
    "code: isin(['a', 'b'])": {"code": "c"},
    "name: str_length(None, 4)": {"name": "pencil"},
    "name: clean_text": {"name": " pen"},
    "price: in_range(0, 100)": {"price": "100.01"},
    "price_covers_cost": {"price": "1.49"},
}


def rows(*changes: dict) -> ibis.Table:
    contract = Contract.of(Lines)
    values = [{**GOOD, "number": number, **change} for number, change in enumerate(changes, start=1)]
    backend = ibis.duckdb.connect()
    table = backend.create_table("lines", schema=contract.types)
    for value in values:
        literals = ", ".join("NULL" if each is None else f"'{each}'" for each in value.values())
        backend.raw_sql(f"INSERT INTO lines VALUES ({literals})")
    return table


def pandera_accepts(table: ibis.Table) -> bool:
    try:
        Lines.validate(table, lazy=True)
    except SchemaErrors:
        return False
    return True


def broken_rules(table: ibis.Table) -> dict[str, int]:
    return measure(Contract.of(Lines), table, {}).broken_rules


def test_good_rows_break_nothing_for_the_audit_and_for_pandera():
    table = rows({}, {"name": None, "price": None}, {"cost": None})
    assert broken_rules(table) == {}
    assert pandera_accepts(table)


@pytest.mark.parametrize("rule", BAD)
def test_each_rule_fails_for_the_audit_as_for_pandera(rule):
    table = rows({}, BAD[rule], {})
    assert broken_rules(table) == {rule: 1}
    assert not pandera_accepts(table)


def test_a_repeated_key_fails_for_the_audit_as_for_pandera():
    contract = Contract.of(Lines)
    table = rows({}, {"number": 1}, {})
    staged = Staged(contract, None, table, None, "")
    verdict = Keys().evaluate(Audit(contract, staged, {}, Origins(None), str, ibis.memtable))
    assert not verdict.passed
    assert verdict.facts["rows with a duplicate key"] == 2
    assert verdict.facts["sample"] == [{"number": 1}]
    assert not pandera_accepts(table)


def test_a_null_breaks_only_the_rule_that_forbids_null():
    table = rows({"number": None, "code": None, "name": None, "price": None, "cost": None})
    assert broken_rules(table) == {"number: not null": 1, "code: not null": 1}


def test_a_row_that_breaks_a_rule_is_said_to_in_plain_words():
    said = {rule.name: rule.broken for rule in Contract.of(Lines).rules}
    assert said == {
        "number: not null": "number is missing",
        "number: greater_than_or_equal_to(1)": "number is not at least 1",
        "code: not null": "code is missing",
        "code: isin(['a', 'b'])": "code is not one of a, b",
        "name: str_length(None, 4)": "name is not 0 to 4 characters long",
        "name: clean_text": "name has surrounding white space, or is empty",
        "price: in_range(0, 100)": "price is not between 0 and 100",
        "price_covers_cost": "does not satisfy: the price covers the cost",
    }


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.address)
def test_no_two_rules_of_a_table_are_said_alike_and_none_as_pandera_names_it(contract):
    said = [rule.broken for rule in contract.rules]
    assert len({*said}) == len(said)
    assert not [each for each in said if "_or_equal_to" in each or "in_range" in each or "isin(" in each]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.address)
def test_every_column_and_table_is_described(contract):
    assert contract.description
    assert [name for name in contract.types.names if not contract.describe(name)] == []


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.address)
def test_samples_never_hold_personal_columns(contract):
    assert not any(contract.is_personal(name) for name in contract.sample_columns)


def test_fact_orders_has_the_columns_that_analysts_were_promised():
    promised = """
        orderNumber orderLineNumber productCode customerNumber postalCode locationKey salesRepEmployeeNumber
        orderDate requiredDate shippedDate status comments quantityOrdered priceEach buyPrice MSRP orderAmount
    """
    assert " ".join(Contract.of(warehouse.FactOrders).types.names) == " ".join(promised.split())


def test_money_is_decimal_in_every_layer():
    money = {"priceEach", "buyPrice", "MSRP", "orderAmount", "amount", "creditLimit", "bookedAmount", "netSales"}
    found = {
        (contract.address, name): kind
        for contract in CONTRACTS
        for name, kind in contract.types.items()
        if name in money
    }
    assert len(found) > 15
    assert [key for key, kind in found.items() if not kind.is_decimal() or kind.scale != 2] == []


def numbers_from(least: int, description: str) -> Contract:
    column = pa.Column(Int(), checks=pa.Check.ge(least), description=description)
    return Contract.of(pa.DataFrameSchema({"number": column}, name="staging/numbers", unique=["number"]))


def test_the_version_follows_the_rules_and_not_the_wording():
    assert numbers_from(1, "a number").version == numbers_from(1, "another wording").version
    assert numbers_from(1, "a number").version != numbers_from(2, "a number").version


def demanding(**metadata: object) -> str:
    """The version of a contract with these facts."""
    columns = {"number": pa.Column(Int()), "other": pa.Column(Int())}
    schema = pa.DataFrameSchema(columns, name="staging/numbers", unique=["number"], metadata=facts(**metadata))
    return Contract.of(schema).version


def test_the_version_follows_what_a_hand_written_rule_does():
    def ruled(least: int) -> str:
        rule = pa.Check(lambda data: data.table[data.key] > least, name="positive")
        return Contract.of(pa.DataFrameSchema({"number": pa.Column(Int(), checks=rule)}, name="staging/n")).version

    assert ruled(0) == ruled(0)
    assert ruled(0) != ruled(1_000_000)


def test_the_version_follows_totals_reconciliations_origins_and_severities():
    def reconciled(factor: int) -> str:
        both = Reconciliation("by number", ("number",), lambda rows: rows, lambda numbers: numbers * factor)
        return demanding(reconciliations=[both])

    def totalled(name: str) -> str:
        return demanding(totals={"sum": lambda rows: rows[name].sum()})

    assert reconciled(1) == reconciled(1) != reconciled(2)
    assert totalled("number") == totalled("number") != totalled("other")
    assert demanding(grain=grain("source/a")) != demanding(grain=grain("source/b")) != demanding()
    flagged, strict = (
        Contract.of(
            pa.DataFrameSchema({"n": pa.Column(Int(), checks=pa.Check.ge(1, raise_warning=each))}, name="staging/n")
        )
        for each in (True, False)
    )
    assert flagged.version != strict.version


def helper() -> int:
    return 1


def test_the_digest_of_a_function_follows_what_it_calls_and_not_its_wording(monkeypatch: pytest.MonkeyPatch):
    def one(rows):
        """Some words."""
        return rows + helper()

    def other(rows):
        """Other words."""
        return rows + helper()

    before = digest(one)
    assert before == digest(other)
    monkeypatch.setitem(globals(), "helper", lambda: 2)
    assert digest(one) != before


def test_versions_are_the_same_in_every_process():
    script = "from classic_cars.assets import ALL_TABLES; print([each.contract.version for each in ALL_TABLES])"
    seen = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_a_quarantine_table_takes_every_column_and_says_why():
    contract = Contract.of(staging.Orders)
    aside = contract.quarantine
    assert aside.address == "quarantine/orders"
    assert set(contract.types.names) < set(aside.types.names)
    assert {"_reason", "_contract_version", "_run_id", "_rescued_data"} < set(aside.types.names)
    assert aside.partitioned_by == contract.partitioned_by
