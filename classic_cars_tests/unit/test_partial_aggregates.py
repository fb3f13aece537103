"""Answers summed from partial aggregates equal their full recomputation, whatever happens to orders and dimensions.

Many histories at once: each has months, customers, products, countries and product lines of its own, so that one query
compares all of them. The tables are kept as the platform keeps them: after each event the partial aggregates are made
again for the months that it touched alone, the answers as a whole.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

import ibis
import pyarrow as pa
import pytest

from classic_cars.assets import analytics
from classic_cars.assets.analytics import orders_of_lines
from classic_cars.contracts.metrics import METRICS, MONTH, PRODUCT, additive, aggregate, not_additive
from classic_cars.contracts.origins import UNKNOWN, UNKNOWN_NUMBER
from classic_cars.tables.recomputation import differing
from classic_cars.tables.table import Table

HISTORIES, EVENTS = 600, 12
MONTHS, CUSTOMERS, PRODUCTS, NAMES = 3, 3, 4, 3
STATUSES = ("Shipped", "Cancelled", "On Hold", UNKNOWN)
ANSWERS = (analytics.sales_by_product_line, analytics.sales_by_country, analytics.sales_by_month)
PARTIALS = (analytics.monthly_sales_by_customer, analytics.monthly_sales_by_product)

FACT = pa.schema(
    {
        "orderNumber": pa.int32(),
        "productCode": pa.string(),
        "customerNumber": pa.int32(),
        "orderDate": pa.date32(),
        "status": pa.string(),
        "quantityOrdered": pa.int32(),
        "buyPrice": pa.decimal128(10, 2),
        "orderAmount": pa.decimal128(18, 2),
    }
)


@dataclass
class Line:
    quantity: int
    price: Decimal
    buy_price: Decimal | None


@dataclass
class Order:
    number: int
    day: date
    customer: int | None
    status: str
    lines: dict[str, Line] = field(default_factory=dict)


class History:
    """What happens to one shop. Each event changes it, and says which months it touched."""

    def __init__(self, number: int) -> None:
        self.chance, self.number, self.created = random.Random(number), number, 0
        self.orders: dict[int, Order] = {}
        self.country = {number * CUSTOMERS + each: self._name("country") for each in range(CUSTOMERS)}
        self.line = {f"S{number}_{each}": self._name("line") for each in range(PRODUCTS)}
        self.line[f"S{number}_unknown"] = UNKNOWN  # an inferred member

    def event(self) -> set[date]:
        if not self.orders:
            return self.insert()
        kinds = (self.insert, self.edit, self.cancel, self.delete, self.delete_line, self.move_order, self.reassign)
        return self.chance.choice((*kinds, self.insert, self.move_order, self.move_customer, self.change_line))()

    def insert(self) -> set[date]:
        self.created += 1
        number = self.number * 1000 + self.created
        order = Order(number, self._day(), self._customer(), self.chance.choice(STATUSES))
        for code in self.chance.sample(sorted(self.line), self.chance.randint(1, 3)):
            order.lines[code] = self._line()
        self.orders[number] = order
        return {_month(order)}

    def edit(self) -> set[date]:
        order = self._order()
        order.lines[self.chance.choice(sorted(self.line))] = self._line()
        return {_month(order)}

    def cancel(self) -> set[date]:
        order = self._order()
        order.status = self.chance.choice(STATUSES)
        return {_month(order)}

    def delete(self) -> set[date]:
        return {_month(self.orders.pop(self._order().number))}

    def delete_line(self) -> set[date]:
        order = self._order()
        if order.lines:
            order.lines.pop(self.chance.choice(sorted(order.lines)))
        return {_month(order)}

    def move_order(self) -> set[date]:
        order = self._order()
        before, order.day = _month(order), self._day()
        return {before, _month(order)}

    def reassign(self) -> set[date]:
        order = self._order()
        order.customer = self._customer()
        return {_month(order)}

    def move_customer(self) -> set[date]:
        self.country[self.chance.choice(sorted(self.country))] = self._name("country")
        return set()

    def change_line(self) -> set[date]:
        self.line[self.chance.choice(sorted(self.line))] = self._name("line")
        return set()

    def _order(self) -> Order:
        return self.orders[self.chance.choice(sorted(self.orders))]

    def _line(self) -> Line:
        price = Decimal(self.chance.randint(0, 9999)) / 100
        return Line(self.chance.randint(1, 99), price, self.chance.choice([None, price / 2, Decimal("33.33")]))

    def _customer(self) -> int | None:
        return self.chance.choice([None, *sorted(self.country)])

    def _day(self) -> date:
        month = self.number * MONTHS + self.chance.randrange(MONTHS)
        return date(1901 + month // 12, month % 12 + 1, self.chance.randint(1, 28))

    def _name(self, kind: str) -> str:
        return self.chance.choice([f"{kind} {self.number} {each}" for each in range(NAMES)] + [UNKNOWN])


def _month(order: Order) -> date:
    return order.day.replace(day=1)


class Shops:
    """All histories, and the tables that are made of them, in one DuckDB in memory."""

    def __init__(self, histories: int = HISTORIES, partials: Mapping[str, Callable[..., ibis.Table]] | None = None):
        self.histories = [History(number) for number in range(histories)]
        self.partials = partials or {each.contract.name: each.function for each in PARTIALS}
        self.engine = ibis.duckdb.connect()
        self.tables: dict[str, ibis.Table] = {}
        self._publish()
        for name, function in self.partials.items():
            self._keep(name, function(self.tables["fact_orders"]))

    def happen(self, forget: Callable[[set[date]], set[date]] = set) -> None:
        """One event in each history. ``forget``: from the months that it touched to those that are made again."""
        touched = {month for each in self.histories for month in forget(each.event())}
        self._publish()
        fact = self.tables["fact_orders"]
        months = self.engine.create_table(
            "touched", pa.table({"month": pa.array(sorted(touched), pa.date32())}), overwrite=True
        )
        fresh = fact.semi_join(months, fact.orderDate.truncate("M") == months.month)
        for name, function in self.partials.items():
            others = self.tables[name].anti_join(months, self.tables[name][MONTH] == months.month)
            made = function(fresh)
            self._keep(name, ibis.union(others, made.select(*others.columns)))

    def answer(self, table: Table) -> ibis.Table:
        return table.function(**{name: self.tables[name] for name in table.inputs})

    def recomputed(self, table: Table) -> ibis.Table:
        function: Any = table.contract.recomputed
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        return function(**{name: self.tables[name] for name in names})

    def wrong(self, table: Table) -> list[dict[str, Any]]:
        """The groups of an answer that differ from the recomputation."""
        return differing(table.contract, self.answer(table), self.recomputed(table)).to_pyarrow().to_pylist()

    def _keep(self, name: str, rows: ibis.Table | pa.Table) -> None:
        held = rows if isinstance(rows, pa.Table) else rows.to_pyarrow()
        self.tables[name] = self.engine.create_table(name, held, overwrite=True)

    def _publish(self) -> None:
        shops = self.histories
        homes = {number: country for each in shops for number, country in each.country.items()}
        lines = {code: line for each in shops for code, line in each.line.items()}
        homes[UNKNOWN_NUMBER] = UNKNOWN
        self._keep("fact_orders", pa.Table.from_pylist([row for each in shops for row in _rows(each)], FACT))
        self._keep("dim_products", pa.table({"productCode": list(lines), "productLine": list(lines.values())}))
        places = {"locationKey": [f"key of {each}" for each in homes.values()]}
        self._keep("dim_customers", pa.table({"customerNumber": pa.array(homes, pa.int32()), **places}))
        names = sorted(set(homes.values()))
        self._keep("dim_locations", pa.table({"locationKey": [f"key of {each}" for each in names], "country": names}))


def _rows(history: History) -> list[dict[str, Any]]:
    return [
        {
            "orderNumber": order.number,
            "productCode": code,
            "customerNumber": UNKNOWN_NUMBER if order.customer is None else order.customer,
            "orderDate": order.day,
            "status": order.status,
            "quantityOrdered": line.quantity,
            "buyPrice": None if line.buy_price is None else line.buy_price.quantize(Decimal("0.01")),
            "orderAmount": line.quantity * line.price,
        }
        for order in history.orders.values()
        for code, line in order.lines.items()
    ]


def by_hand(shops: Shops, group: Callable[[History, dict[str, Any]], Any]) -> dict[Any, tuple[Any, ...]]:
    """The five metrics per group, in plain Python."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for history in shops.histories:
        for row in _rows(history):
            found.setdefault(group(history, row), []).append(row)
    return {name: _metrics(rows) for name, rows in found.items()}


def _metrics(rows: list[dict[str, Any]]) -> tuple[Any, ...]:
    sold = [row for row in rows if row["status"] != "Cancelled"]
    profit = [
        row["orderAmount"] - row["quantityOrdered"] * row["buyPrice"] for row in sold if row["buyPrice"] is not None
    ]
    return (
        len({row["orderNumber"] for row in rows}),
        sum(row["quantityOrdered"] for row in rows),
        sum((row["orderAmount"] for row in rows), Decimal(0)),
        sum((row["orderAmount"] for row in sold), Decimal(0)),
        sum(profit, Decimal(0)),
    )


@cache
def settled() -> Shops:
    """A hundred shops to which everything has happened; whoever changes a table of theirs puts it back."""
    shops = Shops(100)
    for _ in range(EVENTS):
        shops.happen()
    return shops


GROUPS: dict[str, Callable[[History, dict[str, Any]], Any]] = {
    "sales_by_product_line": lambda history, row: history.line[row["productCode"]],
    "sales_by_country": lambda history, row: history.country.get(row["customerNumber"], UNKNOWN),
    "sales_by_month": lambda history, row: row["orderDate"].replace(day=1),
}


def test_answers_equal_their_recomputation_after_every_event_of_600_histories() -> None:
    shops = Shops()
    for _ in range(EVENTS):
        shops.happen()
        for answer in ANSWERS:
            assert shops.wrong(answer) == []
    for answer in ANSWERS:
        rows = shops.answer(answer).to_pyarrow().to_pylist()
        found = {next(iter(row.values())): tuple(row[each.name] for each in METRICS) for row in rows}
        assert found == by_hand(shops, GROUPS[answer.contract.name])
        assert len(found) == len(rows)
    # The histories are about something: orders of nobody, of unknown products, cancelled ones, and profit unknown.
    rows = [row for each in shops.histories for row in _rows(each)]
    assert len(rows) > 2000
    assert {row["status"] for row in rows} == set(STATUSES)
    assert any(row["customerNumber"] == UNKNOWN_NUMBER and row["buyPrice"] is None for row in rows)


def test_partial_aggregates_equal_their_recomputation() -> None:
    shops = settled()
    for each in PARTIALS:
        found = shops.tables[each.contract.name]
        assert differing(each.contract, found, shops.recomputed(each)).count().to_pyarrow().as_py() == 0


def test_a_month_that_an_order_left_and_that_is_not_made_again_is_seen() -> None:
    shops = Shops(100)
    for _ in range(EVENTS):
        shops.happen(forget=lambda months: {max(months)} if months else set())
    assert all(shops.wrong(answer) for answer in ANSWERS)


def test_orders_of_a_product_line_are_no_sum_over_its_products() -> None:
    assert [each.name for each in not_additive(PRODUCT)] == ["orders"]
    assert "orders" not in {each.name for each in additive(PRODUCT)}
    shops = settled()
    fact, products = shops.tables["fact_orders"], shops.tables["dim_products"]
    by_product = aggregate(fact, "productCode").left_join(products, "productCode")
    summed = by_product.group_by("productLine").aggregate(
        **{each.name: by_product[each.name].sum() for each in METRICS}
    )
    answer = analytics.sales_by_product_line
    wrong = differing(answer.contract, summed, shops.recomputed(answer)).to_pyarrow().to_pylist()
    assert wrong
    assert all(each["found units"] == each["expected units"] for each in wrong)
    assert all(each["found orders"] > each["expected orders"] for each in wrong)


@pytest.mark.parametrize("metric", [each.name for each in METRICS])
def test_a_value_of_a_partial_aggregate_that_changed_is_seen_in_the_answers(metric: str) -> None:
    shops, name = settled(), "monthly_sales_by_customer"
    before, rows = shops.tables[name].to_pyarrow(), shops.tables[name]
    first = rows.filter(rows[MONTH] == rows[MONTH].min())
    changed = ibis.ifelse(rows[MONTH] == first[MONTH].min().as_scalar(), rows[metric] + 1, rows[metric])
    shops._keep(name, rows.mutate(**{metric: changed.cast(rows[metric].type())}))
    try:
        (found,) = shops.wrong(analytics.sales_by_month)
        assert found[f"found {metric}"] > found[f"expected {metric}"]
        assert shops.wrong(analytics.sales_by_country)
        assert shops.wrong(analytics.sales_by_product_line) == []
    finally:
        shops._keep(name, before)


def test_orders_of_more_product_lines_than_a_number_has_bits() -> None:
    engine = ibis.duckdb.connect()
    products = "SELECT range::VARCHAR AS productCode, 'line ' || range % 200 AS productLine FROM range(1000)"
    lines = "SELECT (hash(range) % 500)::INT AS orderNumber, (hash(range + 1) % 1000)::VARCHAR AS productCode"
    names, fact = engine.sql(products), engine.sql(f"{lines} FROM range(6000)")
    found = orders_of_lines(fact, names).to_pyarrow().to_pylist()
    expected = engine.con.execute(
        f"SELECT productLine, count(DISTINCT orderNumber) FROM ({lines} FROM range(6000)) JOIN ({products}) "
        "USING (productCode) GROUP BY 1"
    ).fetchall()
    assert len(expected) == 200
    assert {row["productLine"]: row["orders"] for row in found} == dict(expected)
