"""What two releases say differently: their metrics, of everything or by group."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from classic_cars.contracts.metrics import FACT_ORDERS as FACT
from classic_cars.serving.groups import MEASURES
from classic_cars.stores.base import Reading

#: What releases can be compared by: the table that has it, and its column.
BY = {
    "productLine": ("analytics.sales_by_product_line", "productLine"),
    "country": ("analytics.sales_by_country", "country"),
    "month": ("analytics.sales_by_month", "orderMonth"),
}


@dataclass(frozen=True)
class Change:
    """One metric of one group (empty: of everything) in two releases."""

    group: str
    metric: str
    old: Decimal
    new: Decimal

    @property
    def difference(self) -> Decimal:
        return self.new - self.old


def compared(old: Reading, new: Reading, by: str | None = None) -> list[Change]:
    """Metrics of both, by the groups of ``by`` (a key of ``BY``); of groups only those that differ."""
    before, after = _metrics(old, by), _metrics(new, by)
    nothing = dict.fromkeys(["orders", *MEASURES], Decimal(0))
    changes = [
        Change(group, metric, before.get(group, nothing)[metric], after.get(group, nothing)[metric])
        for group in sorted({*before, *after})
        for metric in nothing
    ]
    return changes if by is None else [each for each in changes if each.difference]


def _metrics(tables: Reading, by: str | None) -> dict[str, dict[str, Decimal]]:
    if by is None:
        terms = {"orders": "count(DISTINCT orderNumber)", **MEASURES}
        group, source = "''", FACT.replace("/", ".")
    else:
        source, column = BY[by]
        terms, group = {name: name for name in ("orders", *MEASURES)}, f"{column}::VARCHAR"
    listed = ", ".join(f"coalesce({term}, 0)::DECIMAL(38, 2) AS {name}" for name, term in terms.items())
    rows = tables.query(f"SELECT {group} AS name, {listed} FROM {source}").read_all().to_pylist()
    return {row.pop("name"): row for row in rows}
