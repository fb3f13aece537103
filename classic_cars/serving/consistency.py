"""Consistency: tables of different runs must not give different answers to the same question.

Each table is published by itself, so a run of some tables, or one that failed half-way, leaves old and new versions
side by side. Every one of them is right by itself; their numbers tell that they do not belong together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from classic_cars.contracts.metrics import CANCELLED
from classic_cars.serving.recounted import FACT, RECOUNTED, Recounted
from classic_cars.serving.references import broken_references
from classic_cars.stores.base import Reading
from classic_cars.wording import counted

#: The additive measures, and how the fact says them: the definitions of contracts/metrics.py once more, in SQL.
MEASURES = {
    "units": "sum(quantityOrdered)",
    "bookedAmount": "sum(orderAmount)",
    "netSales": f"sum(orderAmount) FILTER (status <> '{CANCELLED}')",
    "grossProfit": f"sum(orderAmount - quantityOrdered * buyPrice) FILTER (status <> '{CANCELLED}')",
}
ORDERS = "orders"
FIX = "they are of different runs, or a run is under way; `classic-cars run` fixes it"
#: How many groups a message names.
NAMED = 3

#: SQL that reads a table of one of the layers compared here.
_READS = re.compile(r"\b(analytics|warehouse)\"?\s*\.", re.IGNORECASE)

#: SQL that reads a table of another one.
_READS_OTHERS = re.compile(r"\b(source|staging|quarantine|ledger|information_schema)\"?\s*\.", re.IGNORECASE)

#: The numbers of one table, or of one group of it, by measure.
Numbers = Mapping[str, Decimal]


@dataclass(frozen=True)
class Answer:
    """An answer table, one row per ``by``, and where the star schema has the same groups.

    ``group``: SQL of the group, over the sums of the fact by its column ``key``, called ``l``, and ``joins``, which
    read the tables ``dimensions``.
    """

    address: str
    by: str
    key: str
    group: str
    joins: str = ""
    dimensions: tuple[str, ...] = ()
    #: Whether an order is in one group only, so that orders can be counted, too.
    whole_orders: bool = False

    @property
    def measures(self) -> tuple[str, ...]:
        return (*MEASURES, ORDERS) if self.whole_orders else tuple(MEASURES)

    @property
    def expected(self) -> str:
        """One row per group, from the star schema. Summed by key first, so that millions of rows are not joined."""
        sums = ", ".join(_number(f"sum(l.{name})", name) for name in self.measures)
        orders = f", {_number('count(DISTINCT orderNumber)', ORDERS)}" if self.whole_orders else ""
        by_key = f"SELECT {self.key}, {_fact_terms()}{orders} FROM {_sql(FACT)} GROUP BY ALL"
        return f"SELECT ({self.group})::VARCHAR AS name, {sums} FROM ({by_key}) AS l {self.joins} GROUP BY 1"


ANSWERS = (
    Answer(
        "analytics/sales_by_product_line",
        by="productLine",
        key="productCode",
        group="p.productLine",
        joins="LEFT JOIN warehouse.dim_products AS p ON p.productCode = l.productCode",
        dimensions=("warehouse/dim_products",),
    ),
    Answer(
        "analytics/sales_by_country",
        by="country",
        key="customerNumber",
        group="p.country",
        joins="LEFT JOIN warehouse.dim_customers AS c ON c.customerNumber = l.customerNumber "
        "LEFT JOIN warehouse.dim_locations AS p ON p.locationKey = c.locationKey",
        dimensions=("warehouse/dim_customers", "warehouse/dim_locations"),
        whole_orders=True,
    ),
    Answer(
        "analytics/sales_by_month",
        by="orderMonth",
        key="orderDate",
        group="date_trunc('month', l.orderDate)::DATE",
        whole_orders=True,
    ),
)
#: What answers are summed from: by month and customer, and by month and product.
PARTIAL = tuple(
    Answer(
        f"analytics/monthly_sales_by_{name}",
        by=f"concat_ws(' ', orderMonth, {key})",
        key=f"date_trunc('month', orderDate)::DATE AS orderMonth, {key}",
        group=f"concat_ws(' ', l.orderMonth, l.{key})",
        whole_orders=name == "customer",
    )
    for name, key in (("customer", "customerNumber"), ("product", "productCode"))
)


def contradictions(store: Reading) -> list[str]:
    """One message for each disagreement of published tables about units or amounts (USD, to the cent); none when
    all agree.

    Compared are the totals of the three answers and of the fact; when those agree, each answer and partial aggregate
    with the star schema group by group, the other answers row by row, and that what refers to another table exists
    there. Tables never published are left out. Raises ``StoreError`` when a table cannot be read.
    """
    there = store.row_counts()
    compared = [address for address in (*(each.address for each in ANSWERS), FACT) if address in there]
    if len(compared) < 2:
        return []
    found = _contradicting_totals(_numbers(store, map(_totals_of, compared)))
    return found or [
        *(
            message
            for answer in (*ANSWERS, *PARTIAL)
            if {answer.address, FACT, *answer.dimensions} <= there.keys()
            for message in _contradicting_groups(store, answer)
        ),
        *(
            message
            for answer in RECOUNTED
            if {answer.address, *answer.tables} <= there.keys()
            for message in _contradicting_rows(store, answer)
        ),
        *(f"{each}; {FIX}" for each in broken_references(store, there.keys())),
    ]


def _contradicting_rows(store: Reading, answer: Recounted) -> list[str]:
    (row,) = (row for batch in store.query(answer.differing) for row in batch.to_pylist())
    (rows,) = row.values()
    against = ", ".join(answer.tables)
    return [f"{answer.address} differs from {against} in {counted(rows, answer.rows)}; {FIX}"] if rows else []


def reads_compared_tables(sql: str) -> bool:
    """Whether a statement seems to read a table of the warehouse or an answer; at worst they are compared in vain."""
    return _READS.search(sql) is not None


def reads_released_tables(sql: str) -> bool:
    """Whether a statement seems to read tables of the warehouse or answers, and no others."""
    return reads_compared_tables(sql) and _READS_OTHERS.search(sql) is None


def _contradicting_totals(totals: Mapping[str, Numbers]) -> list[str]:
    """At most one message: tables that agree in everything are named together, with all that they say differently."""
    sides: dict[tuple[Decimal, ...], list[str]] = {}
    for address, numbers in totals.items():
        sides.setdefault(tuple(numbers[name] for name in MEASURES), []).append(address)
    if len(sides) < 2:
        return []
    differing = [name for name in MEASURES if len({numbers[name] for numbers in totals.values()}) > 1]
    said = [f"{_said(totals[tables[0]], differing)} in {', '.join(tables)}" for tables in sides.values()]
    return [f"{', but '.join(said)}; {FIX}"]


def _contradicting_groups(store: Reading, answer: Answer) -> list[str]:
    """At most one message: the groups in which the answer differs from the star schema; compared in the engine."""
    published = ", ".join(_number(name, name) for name in answer.measures)
    both = ", ".join(
        f"coalesce({side}.{name}, 0) AS {side}_{name}" for side in ("published", "expected") for name in answer.measures
    )
    differs = " OR ".join(f"coalesce(published.{m}, 0) <> coalesce(expected.{m}, 0)" for m in answer.measures)
    question = f"""
        WITH published AS (SELECT ({answer.by})::VARCHAR AS name, {published} FROM {_sql(answer.address)}),
        expected AS ({answer.expected})
        SELECT coalesce(published.name, expected.name) AS name, {both}, count(*) OVER () AS groups
        FROM published FULL JOIN expected ON published.name IS NOT DISTINCT FROM expected.name
        WHERE {differs} ORDER BY 1 LIMIT {NAMED}"""
    rows = [row for batch in store.query(question) for row in batch.to_pylist()]
    if not rows:
        return []
    said = [f"{row['name']}: {_both(row, answer.measures)}" for row in rows]
    more = [f"{rows[0]['groups'] - NAMED} more"] if rows[0]["groups"] > NAMED else []
    against = ", ".join((FACT, *answer.dimensions))
    by = "month and customer" if "customer" in answer.key else "month and product"
    named = answer.by if answer in ANSWERS else by
    return [f"{answer.address} differs from {against} by {named} ({'; '.join([*said, *more])}); {FIX}"]


def _numbers(store: Reading, queries: Iterable[str]) -> dict[str, Numbers]:
    """By name, the measures that these queries return."""
    found: dict[str, Numbers] = {}
    for batch in store.query(" UNION ALL ".join(queries)):
        found |= {row.pop("name"): row for row in batch.to_pylist()}
    return found


def _totals_of(address: str) -> str:
    terms = _fact_terms() if address == FACT else ", ".join(_number(f"sum({name})", name) for name in MEASURES)
    return f"SELECT '{address}' AS name, {terms} FROM {_sql(address)}"


def _fact_terms() -> str:
    return ", ".join(_number(term, name) for name, term in MEASURES.items())


def _number(term: str, name: str) -> str:
    return f"coalesce({term}, 0)::DECIMAL(38, 2) AS {name}"


def _sql(address: str) -> str:
    return address.replace("/", ".")


def _said(numbers: Numbers, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {_shown(numbers, name)}" for name in names)


def _both(row: Mapping[str, Decimal], measures: Iterable[str]) -> str:
    """The first measure that differs, as both sides have it."""
    name = next(name for name in measures if row[f"published_{name}"] != row[f"expected_{name}"])
    sides = [_shown({name: row[f"{side}_{name}"]}, name) for side in ("published", "expected")]
    return f"{name} {' and '.join(sides)}"


def _shown(numbers: Numbers, name: str) -> str:
    return f"{numbers[name]:,.{0 if name in ('units', ORDERS) else 2}f}"
