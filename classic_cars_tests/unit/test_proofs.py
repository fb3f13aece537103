"""The proofs of metrics, over the order system as it never should be: what each sums up another way is the same."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from inspect import signature
from typing import Any

import duckdb
import ibis
import pytest

from classic_cars.contracts import proofs
from classic_cars.contracts.control_totals import SALES_BY_CUSTOMER, SALES_BY_PRODUCT

COLUMNS = {
    "orderdetails": "orderNumber INT, productCode VARCHAR, quantityOrdered INT, priceEach DECIMAL(10, 2), "
    "orderMonth DATE",
    "orders": "orderNumber INT, customerNumber INT, status VARCHAR",
    "products": "productCode VARCHAR, productLine VARCHAR, buyPrice DECIMAL(10, 2)",
    "customers": "customerNumber INT, country VARCHAR",
}
VALUES = {
    "orderdetails": (
        [1, 2, 3, 4, 5, 9, None],
        ["A", " A ", "B", "C", "", None],
        [1, 5, None, -3],
        ["2.50", None],
        [date(2004, 1, 1), date(2004, 2, 1), date(1900, 1, 1), None],
    ),
    "orders": ([1, 2, 3, 4, 5, None], [1, 2, 9, None], ["Shipped", " CANCELLED", "", None]),
    "products": (["A", "B ", "C", None], ["Cars", " Cars", "Planes", "Unknown", None], ["1.00", "-2.00", None]),
    "customers": ([1, 2, None], ["USA", " USA", "France", None]),
}
ROWS = {"orderdetails": 30, "orders": 10, "products": 5, "customers": 3}


def shop(seed: int) -> tuple[Any, dict[str, list[tuple]]]:
    """Rows of the source, and of the quarantine copies of some: by table as ``source_orders``."""
    luck, engine = random.Random(seed), duckdb.connect()
    rows: dict[str, list[tuple]] = {}
    for name, columns in COLUMNS.items():
        source = [tuple(luck.choice(each) for each in VALUES[name]) for _ in range(ROWS[name])]
        copies = [row for row in source if luck.random() < 0.2]
        for layer, found in (("source", source), ("quarantine", copies)):
            rows[f"{layer}_{name}"] = found
            engine.execute(f"CREATE SCHEMA IF NOT EXISTS {layer}; CREATE TABLE {layer}.{name} ({columns})")
            if found:
                places = ", ".join("?" * len(found[0]))
                engine.executemany(f"INSERT INTO {layer}.{name} VALUES ({places})", found)
    shop = ibis.duckdb.from_connection(engine)
    shop.raw_sql("CREATE SCHEMA control")
    for control in (SALES_BY_CUSTOMER, SALES_BY_PRODUCT):
        shop.create_table(control.contract.name, made(shop, control.of), database="control")
    return shop, rows


def made(engine: Any, function: Any) -> ibis.Table:
    tables = [name.split("_", 1) for name in signature(function).parameters]
    return function(*(engine.table(name, database=layer) for layer, name in tables))


def proven(engine: Any, proof: Any) -> list[dict[str, Any]]:
    return made(engine, proof).to_pyarrow().to_pylist()


def left(rows: dict[str, list[tuple]], name: str) -> list[tuple]:
    """The rows of a table without one for each of their quarantined copies."""
    found = list(rows[f"source_{name}"])
    for copy in rows[f"quarantine_{name}"]:
        found.remove(copy)
    return found


def clean(text: str | None) -> str | None:
    return (text or "").strip() or None


def first_of(values: Iterable[Any]) -> Any:
    return min((each for each in values if each is not None), default=None)


def by_product_line(rows: dict[str, list[tuple]]) -> dict[str, tuple]:
    """Orders, units, booked amount, net sales and gross profit of each product line, row by row."""
    found: dict[str, list[Any]] = {}
    for number, code, units, price, _ in left(rows, "orderdetails"):
        named = [each for each in left(rows, "products") if code and clean(each[0]) == clean(code)]
        line = first_of(clean(each[1]) for each in named) or "Unknown"
        cost = first_of(Decimal(each[2]) if each[2] else None for each in named)
        said = first_of(clean(each[2]) for each in left(rows, "orders") if number is not None and each[0] == number)
        sums = found.setdefault(line, [set(), 0, Decimal(0), Decimal(0), Decimal(0)])
        sums[0].add(number)
        sums[1] += units or 0
        if units is None or price is None:
            continue
        sums[2] += units * Decimal(price)
        if (said or "").lower() != "cancelled":
            sums[3] += units * Decimal(price)
            sums[4] += units * (Decimal(price) - cost) if cost is not None and cost >= 0 else 0
    return {line: (len(sums[0]), *sums[1:]) for line, sums in found.items()}


MEASURES = ("units", "bookedAmount", "netSales", "grossProfit")


@pytest.mark.parametrize("seed", range(8))
def test_every_proof_sums_up_what_rows_one_by_one_do(seed: int) -> None:
    engine, rows = shop(seed)
    expected = by_product_line(rows)
    found = {
        each["productLine"]: (each["orders"], *(each[name] or 0 for name in MEASURES))
        for each in proven(engine, proofs.by_product_line)
    }
    assert found == expected
    in_all = [sum(sums[index] for sums in expected.values()) for index in range(1, 5)]
    (sums,) = proven(engine, proofs.in_all)
    assert [sums[name] for name in ("units", "bookedAmount", "grossProfit")] == [in_all[0], in_all[1], in_all[3]]
    for proof in (
        proofs.by_month_and_product,
        proofs.by_month,
        proofs.by_month_and_customer,
        proofs.by_customer_and_status,
        proofs.by_country,
    ):
        groups = proven(engine, proof)
        assert [sum(each[name] or 0 for each in groups) for name in MEASURES] == in_all, proof.__name__
