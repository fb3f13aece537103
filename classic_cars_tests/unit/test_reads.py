"""What is said to be read of other tables is all that a table is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ibis
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.checks.hashing import hashed
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.tables.reads import columns_read
from classic_cars.tables.table import Catalog

CATALOG = Catalog(ALL_TABLES)
LAZY = [each for each in CATALOG if each.arrives_from is None and CATALOG.expression(each) is not None]

ORDERS = ibis.table({"id": "int64", "day": "date", "buyer": "int64", "note": "string"}, name="orders", database="s")
BUYERS = ibis.table({"buyer": "int64", "city": "string", "phone": "string"}, name="buyers", database="s")
EVERYTHING = {*ORDERS.columns}


@pytest.mark.parametrize(
    ("expression", "orders", "buyers"),
    [
        (ORDERS.select("id"), {"id"}, None),
        (ORDERS.filter(ORDERS.day.notnull()).select("id"), {"id", "day"}, None),
        (ORDERS.order_by("day").select("id").limit(1), {"id", "day"}, None),
        (ORDERS.order_by("day").aggregate(first=ORDERS.id.first()), {"id", "day"}, None),
        (ORDERS.aggregate(n=ORDERS.count()), set(), None),
        (ORDERS.aggregate(n=ORDERS.count(where=ORDERS.day.notnull())), {"day"}, None),
        (ORDERS.aggregate(n=ORDERS.nunique()), EVERYTHING, None),
        (ORDERS.group_by("buyer").aggregate(n=ORDERS.id.max()).select("n"), {"buyer", "id"}, None),
        (
            ORDERS.mutate(n=ORDERS.id.sum().over(group_by="buyer", order_by="day")).select("n"),
            {"id", "buyer", "day"},
            None,
        ),
        (ORDERS.distinct().select("id"), EVERYTHING, None),
        (ORDERS.limit(3).select("id"), EVERYTHING, None),
        (ORDERS.left_join(BUYERS, "buyer").select("id"), {"id", "buyer"}, {"buyer"}),
        (ORDERS.left_join(BUYERS, "buyer").select("id", "city"), {"id", "buyer"}, {"buyer", "city"}),
        (
            ORDERS.semi_join(BUYERS.filter(BUYERS.city == "Graz"), "buyer").select("id"),
            {"id", "buyer"},
            {"buyer", "city"},
        ),
        (ORDERS.filter(ORDERS.buyer.isin(BUYERS.buyer)).select("id"), {"id", "buyer"}, {"buyer"}),
        (ORDERS.filter(ORDERS.id > BUYERS.count().as_scalar()).select("id"), {"id"}, set()),
        (ORDERS.select("id", "buyer").union(ORDERS.select("id", "buyer")).select("id"), {"id"}, None),
        (
            ORDERS.select("id", "buyer").union(ORDERS.select("id", "buyer"), distinct=True).select("id"),
            {"id", "buyer"},
            None,
        ),
        (ORDERS.select("id", each=ibis.range(0, ORDERS.buyer).unnest()).select("id"), {"id", "buyer"}, None),
        (ORDERS.join(ORDERS.view(), "buyer").select("note"), {"buyer", "note"}, None),
    ],
)
def test_columns_that_decide_values_and_rows(expression: ibis.Table, orders: set[str], buyers: set[str] | None) -> None:
    found = columns_read([expression])
    assert found.get("s/orders") == orders
    assert found.get("s/buyers") == buyers


def test_a_table_made_of_nothing_else_is_the_table(published_home: Path) -> None:
    """All other columns of its inputs are empty."""
    store = open_store(Settings(home=published_home), read_only=True)
    try:
        for table in LAZY:
            expression = CATALOG.expression(table)
            assert expression is not None
            read = columns_read([expression])
            inputs = {name: store.read(each.contract) for name, each in CATALOG.inputs(table).items()}
            addresses = {name: each.address for name, each in CATALOG.inputs(table).items()}
            less = {name: _without_the_rest(rows, read[addresses[name]]) for name, rows in inputs.items()}
            columns = table.contract.types.names
            expected, made = (table.function(**each).select(*columns) for each in (inputs, less))
            assert _content(made) == _content(expected), table.address
            assert made.count().to_pyarrow().as_py() > 0 or table.address.endswith(("ratings", "stock_counts"))
    finally:
        store.release()


def _content(rows: ibis.Table) -> Any:
    """The number of rows, and the sum of their hashes."""
    return rows.aggregate(rows=rows.count(), content=hashed(*(rows[name] for name in rows.columns)).sum()).to_pyarrow()


def _without_the_rest(rows: ibis.Table, columns: frozenset[str]) -> ibis.Table:
    return rows.mutate(**{name: ibis.null(kind) for name, kind in rows.schema().items() if name not in columns})
