"""The morning report: what was sold, and whether the numbers can be trusted, in a few lines for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import dagster as dg

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.settings import Settings
from classic_cars.status import TableStatus, table_statuses
from classic_cars.stores import open_store
from classic_cars.stores.base import Store

JOB = "morning_report"
LATEST = """
SELECT orderDate, count(DISTINCT orderNumber), sum(orderAmount) FROM warehouse.fact_orders
WHERE orderDate = (SELECT max(orderDate) FROM warehouse.fact_orders) GROUP BY 1
"""
MONTHS = "SELECT orderMonth, netSales FROM analytics.sales_by_month ORDER BY 1 DESC LIMIT 2"

#: Sends a title and a text to whoever wants reports.
Send = Callable[[str, str], None]


@dataclass(frozen=True)
class Report:
    """The facts of a morning; amounts in USD."""

    latest_day: date | None
    orders: int
    booked: Decimal
    #: Net sales of the latest two months, newest first.
    months: list[tuple[date, Decimal]]
    tables: Sequence[TableStatus]
    quarantined: int

    @property
    def failed(self) -> list[str]:
        """Checks whose latest outcome was a failure, as ``table: check``."""
        return [f"{table.address}: {name}" for table in self.tables for name in table.failed]

    @property
    def missing(self) -> list[str]:
        return [table.address for table in self.tables if table.rows is None]

    @property
    def title(self) -> str:
        return "morning report: all is well" if not self.failed and not self.missing else "morning report: look at this"

    @property
    def text(self) -> str:
        """Markdown."""
        lines = []
        if self.latest_day:
            lines.append(
                f"- Latest day with sales, {self.latest_day}: {self.orders:,} orders, {self.booked:,.2f} booked"
            )
        lines += [f"- Net sales {month:%Y-%m}: {sales:,.2f}" for month, sales in self.months]
        checks = sum(len(table.checks) for table in self.tables)
        lines.append(f"- {len(self.tables)} tables, {checks - len(self.failed)} of {checks} checks passed")
        lines += [f"- FAILED {name}" for name in self.failed]
        lines += [f"- never published: {name}" for name in self.missing]
        lines.append(f"- {self.quarantined:,} rows in quarantine")
        return "\n".join(lines)


def gathered(store: Store, contracts: Sequence[Contract], instance: dg.DagsterInstance) -> Report:
    """The report of now. Raises ``StoreError`` when nothing was published yet."""
    latest = _rows(store, LATEST)
    months = [(month, sales) for month, sales in _rows(store, MONTHS)]
    quarantined = sum(rows for address, rows in store.row_counts().items() if address.startswith("quarantine/"))
    day, orders, booked = latest[0] if latest else (None, 0, Decimal(0))
    return Report(day, orders, booked, months, table_statuses(contracts, store, instance), quarantined)


def _rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return [row for batch in store.query(sql) for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)]


def report_job(settings: Settings, contracts: Sequence[Contract], send: Send) -> dg.JobDefinition:
    """Gathers the report, shows it in the run and sends it."""

    @dg.op(description="Sales of the latest day and months, tables, checks and quarantine")
    def report(context: dg.OpExecutionContext) -> None:
        store = open_store(settings, read_only=True)
        try:
            found = gathered(store, contracts, context.instance)
        except StoreError as error:
            raise dg.Failure(str(error)) from None
        finally:
            store.release()
        context.add_output_metadata({"report": dg.MetadataValue.md(f"**{found.title}**\n\n{found.text}")})
        send(found.title, found.text)

    @dg.job(
        name=JOB,
        description="The morning report",
        executor_def=dg.in_process_executor,
        # Its steps hand on nothing, and the store's IO manager would hold the store for the whole run.
        resource_defs={"io_manager": dg.mem_io_manager},
    )
    def morning_report() -> None:
        report()

    return morning_report
