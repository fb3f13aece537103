"""Contracts: what they know, and that the audit's verdicts are pandera's own."""

from __future__ import annotations

import ibis
import pandera.ibis as pa
import pytest
from pandera.errors import SchemaErrors

from classic_cars.assets import ALL_TABLES
from classic_cars.contracts import staging, warehouse
from classic_cars.contracts.base import Contract, Int, Money, TableModel, Text, clean, facts, row_rule
from classic_cars.tables import audit

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
    return audit.measure(Contract.of(Lines), table, {}).broken_rules


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
    from classic_cars.stores.base import Staged

    contract = Contract.of(Lines)
    table = rows({}, {"number": 1}, {})
    verdict = audit.key_verdict(contract, Staged(contract, None, table, None, ""))
    assert not verdict.passed
    assert verdict.facts["rows with a repeated key"] == 2
    assert verdict.facts["sample"] == [{"number": 1}]
    assert not pandera_accepts(table)


def test_a_null_breaks_only_the_rule_that_forbids_null():
    table = rows({"number": None, "code": None, "name": None, "price": None, "cost": None})
    assert broken_rules(table) == {"number: not null": 1, "code: not null": 1}


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


def test_a_quarantine_table_takes_every_column_and_says_why():
    contract = Contract.of(staging.Orders)
    aside = contract.quarantine
    assert aside.address == "quarantine/orders"
    assert set(contract.types.names) < set(aside.types.names)
    assert {"_reason", "_contract_version", "_run_id", "_rescued_data"} < set(aside.types.names)
    assert aside.partitioned_by == contract.partitioned_by
