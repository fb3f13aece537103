"""Answers that are sums of the measures of the fact, compared with the star schema group by group, in the engine.

Partial aggregates, by month, are compared with the order lines. What is summed from them, of all months, is compared
with their sums: where they are not there, or differ from the order lines, with the same sums of the order lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from classic_cars.contracts.metrics import CANCELLED
from classic_cars.contracts.metrics import FACT_ORDERS as FACT
from classic_cars.serving.since import Since, rows_of
from classic_cars.stores.base import Reading
from classic_cars.stores.pins import WHOLE

#: The additive measures, and how the fact says them: the definitions of contracts/metrics.py once more, in SQL.
MEASURES = {
    "units": "sum(quantityOrdered)",
    "bookedAmount": "sum(orderAmount)",
    "netSales": f"sum(orderAmount) FILTER (status <> '{CANCELLED}')",
    "grossProfit": f"sum(orderAmount - quantityOrdered * buyPrice) FILTER (status <> '{CANCELLED}')",
}
ORDERS = "orders"
#: Numbers of orders: of groups that have each of their orders whole.
COUNTS = {
    ORDERS: "count(DISTINCT orderNumber)",
    "soldOrders": f"count(DISTINCT orderNumber) FILTER (status <> '{CANCELLED}')",
}
#: How many groups a message names.
NAMED = 3

#: The numbers of one table, or of one group of it, by measure.
Numbers = Mapping[str, Decimal]


@dataclass(frozen=True)
class Monthly:
    """A table by month, one row per ``by``: its columns, by name, as SQL of the fact's lines."""

    address: str
    by: Mapping[str, str]
    named: str
    #: Those of ``COUNTS`` that it has: none where an order may be in several groups.
    counts: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        return (*MEASURES, *self.counts)

    def lines(self, parts: Iterable[str]) -> str:
        """The measures by ``by``, from the order lines of these months."""
        terms = ", ".join(number((MEASURES | COUNTS)[name], name) for name in self.measures)
        keys = ", ".join(f"{term} AS {name}" for name, term in self.by.items())
        return f"SELECT {keys}, {terms} FROM {sql_name(FACT)} WHERE {rows_of(FACT, parts)} GROUP BY ALL"

    def contradictions(self, store: Reading, since: Since) -> list[str]:
        """At most one message: the groups of months that may have changed in which the two differ."""
        if not (parts := since.parts(self.address, FACT)):
            return []
        columns = store.query(f"FROM {sql_name(self.address)} LIMIT 0").schema.names
        if lacking := [each for each in self.measures if each not in columns]:
            return [f"{self.address} has no {', '.join(lacking)}, as an older version of the platform made it"]
        return _differing(self, store, self.lines(parts), rows_of(self.address, parts))


@dataclass(frozen=True)
class Summed:
    """A table of all months, one row per ``by``: its column, by name, as SQL over the rows of a partial aggregate.

    Those are called ``l``; ``joins`` read the tables ``dimensions``.
    """

    address: str
    by: Mapping[str, str]
    partial: Monthly
    joins: str
    dimensions: tuple[str, ...]

    @property
    def measures(self) -> tuple[str, ...]:
        return (*MEASURES, *(each for each in (ORDERS,) if each in self.partial.counts))

    @property
    def named(self) -> str:
        return ", ".join(self.by)

    def contradictions(self, store: Reading, since: Since, partials: Partials) -> list[str]:
        """At most one message: the groups in which the two differ."""
        if not since.parts(self.address, partials.read(self.partial.address), *self.dimensions):
            return []
        keys = ", ".join(f"{term} AS {name}" for name, term in self.by.items())
        sums = ", ".join(number(f"sum(l.{name})", name) for name in self.measures)
        rows = partials.rows(self.partial.address)
        return _differing(self, store, f"SELECT {keys}, {sums} FROM {rows} AS l {self.joins} GROUP BY ALL", "true")


BY_MONTH = {"orderMonth": "date_trunc('month', orderDate)::DATE"}
SALES_BY_MONTH = Monthly("analytics/sales_by_month", BY_MONTH, named="orderMonth", counts=(ORDERS,))
#: What answers are summed from: by month and customer, and by month and product.
BY_CUSTOMER, BY_PRODUCT = (
    Monthly(f"analytics/monthly_sales_by_{name}", BY_MONTH | {key: key}, named=f"month and {name}", counts=counts)
    for name, key, counts in (("customer", "customerNumber", tuple(COUNTS)), ("product", "productCode", ()))
)
PARTIALS = {each.address: each for each in (BY_CUSTOMER, BY_PRODUCT)}
SUMMED = (
    Summed(
        "analytics/sales_by_product_line",
        by={"productLine": "p.productLine"},
        partial=BY_PRODUCT,
        joins="LEFT JOIN warehouse.dim_products AS p ON p.productCode = l.productCode",
        dimensions=("warehouse/dim_products",),
    ),
    Summed(
        "analytics/sales_by_country",
        by={"country": "p.country"},
        partial=BY_CUSTOMER,
        joins="LEFT JOIN warehouse.dim_customers AS c ON c.customerNumber = l.customerNumber "
        "LEFT JOIN warehouse.dim_locations AS p ON p.locationKey = c.locationKey",
        dimensions=("warehouse/dim_customers", "warehouse/dim_locations"),
    ),
)


@dataclass(frozen=True)
class Partials:
    """Where rows by month and customer, or by month and product, are read.

    ``proven``: addresses of partial aggregates that are what the order lines say. In place of another one the order
    lines themselves are read.
    """

    proven: frozenset[str]

    def read(self, address: str) -> str:
        """The table that is read."""
        return address if address in self.proven else FACT

    def rows(self, address: str) -> str:
        """SQL of the rows."""
        return sql_name(address) if address in self.proven else f"({PARTIALS[address].lines({WHOLE})})"


def _differing(answer: Monthly | Summed, store: Reading, expected: str, where: str) -> list[str]:
    """``expected``: SQL of one row per group, from the star schema."""
    published = ", ".join([*answer.by, *(number(name, name) for name in answer.measures)])
    keys = (f"coalesce(coalesce(published.{key}, expected.{key})::VARCHAR, 'none')" for key in answer.by)
    name = f"concat_ws(' ', {', '.join(keys)})"
    same = " AND ".join(f"published.{key} IS NOT DISTINCT FROM expected.{key}" for key in answer.by)
    both = ", ".join(
        f"coalesce({side}.{name}, 0) AS {side}_{name}" for side in ("published", "expected") for name in answer.measures
    )
    differs = " OR ".join(f"coalesce(published.{m}, 0) <> coalesce(expected.{m}, 0)" for m in answer.measures)
    question = f"""
        WITH published AS (SELECT {published} FROM {sql_name(answer.address)} WHERE {where}), expected AS ({expected})
        SELECT {name} AS name, {both}, count(*) OVER () AS groups
        FROM published FULL JOIN expected ON {same}
        WHERE {differs} ORDER BY 1 LIMIT {NAMED}"""
    rows = store.query(question).read_all().to_pylist()
    if not rows:
        return []
    said = [f"{row['name']}: {_both(row, answer.measures)}" for row in rows]
    more = [f"{rows[0]['groups'] - NAMED} more"] if rows[0]["groups"] > NAMED else []
    against = ", ".join((FACT, *answer.dimensions))
    return [f"{answer.address} differs from {against} by {answer.named} ({'; '.join([*said, *more])})"]


def fact_terms() -> str:
    return ", ".join(number(term, name) for name, term in MEASURES.items())


def number(term: str, name: str) -> str:
    return f"coalesce({term}, 0)::DECIMAL(38, 2) AS {name}"


def sql_name(address: str) -> str:
    return address.replace("/", ".")


def shown(numbers: Numbers, name: str) -> str:
    return f"{numbers[name]:,.{0 if name in ('units', *COUNTS) else 2}f}"


def _both(row: Numbers, measures: Iterable[str]) -> str:
    """The first measure that differs, as both sides have it."""
    name = next(name for name in measures if row[f"published_{name}"] != row[f"expected_{name}"])
    sides = [shown({name: row[f"{side}_{name}"]}, name) for side in ("published", "expected")]
    return f"{name} {' and '.join(sides)}"
