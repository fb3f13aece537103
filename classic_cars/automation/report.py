"""The morning report: what was sold, and whether the numbers can be trusted, in a few lines for people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg

from classic_cars.contracts.base import Contract
from classic_cars.errors import SourceError, StoreError
from classic_cars.serving.completeness import Balance, balances
from classic_cars.serving.consistency import contradictions
from classic_cars.serving.sales_report.files import newest
from classic_cars.serving.status import TableStatus, table_statuses
from classic_cars.settings import Settings
from classic_cars.sources.order_system import OrderSystem, open_order_system
from classic_cars.stores import open_store
from classic_cars.stores.base import Store
from classic_cars.tables.live_agreement import CHECK, last_agreement
from classic_cars.wording import counted, lasting

JOB = "morning_report"
#: Orders may be dated ahead: they say nothing of how new the sales are.
LATEST = """
SELECT orderDate, count(DISTINCT orderNumber), sum(orderAmount) FROM warehouse.fact_orders
WHERE orderDate = (SELECT max(orderDate) FROM warehouse.fact_orders WHERE orderDate <= DATE '{today}') GROUP BY 1
"""
AHEAD = "SELECT count(DISTINCT orderNumber), max(orderDate) FROM warehouse.fact_orders WHERE orderDate > DATE '{today}'"
MONTHS = """
SELECT orderMonth, netSales FROM analytics.sales_by_month WHERE orderMonth <= DATE '{today}' ORDER BY 1 DESC LIMIT 2
"""

#: The nightly reconciliation proves the data equal to the order system; an older proof is none of this night.
PROOF = timedelta(hours=26)

#: Sends a title, a text, a level (``failure``, ``warning``, ``success``) and a file to whoever wants reports.
Send = Callable[[str, str, str, Path | None], None]


@dataclass(frozen=True)
class Report:
    """The facts of a morning; amounts in USD."""

    now: datetime
    #: Why the order system cannot be read now; None when it can.
    trouble: SourceError | None
    #: When all was last proven equal to the live order system; None when it never was.
    proven: datetime | None
    #: The newest day with sales until today; its orders, and what they booked.
    latest_day: date | None
    orders: int
    booked: Decimal
    #: Net sales of the latest two months until today, newest first.
    months: list[tuple[date, Decimal]]
    tables: Sequence[TableStatus]
    #: Rows of each quarantine table that has any, by the table's name.
    quarantined: Mapping[str, int]
    balances: Sequence[Balance] = ()
    contradictions: Sequence[str] = ()
    #: Orders of days to come, and the last of these days.
    ahead: int = 0
    last_day: date | None = None

    @property
    def failed(self) -> list[str]:
        """Checks whose latest outcome was a failure that blocks its table, as ``table: check``."""
        return [f"{table.address}: {name}" for table in self.tables for name in table.failed]

    @property
    def warnings(self) -> list[str]:
        """Checks whose latest outcome was a warning, as ``table: check``."""
        return [f"{table.address}: {name}" for table in self.tables for name in table.warnings]

    @property
    def not_made(self) -> list[str]:
        """Tables whose latest attempt failed; they keep the version before."""
        return [table.address for table in self.tables if table.failure]

    @property
    def missing(self) -> list[str]:
        return [table.address for table in self.tables if table.rows is None]

    @property
    def broken(self) -> list[str]:
        """What is wrong, in a few words, the worst first."""
        unbalanced = [each.subject for each in self.balances if not each.balanced]
        found = [
            f"order system: {self.trouble.title}" if self.trouble else "",
            _some(len(self.failed), "check failed", "checks failed"),
            _some(len(self.not_made), "table could not be made", "tables could not be made"),
            _some(len(self.missing), "table never published", "tables never published"),
            "tables contradict each other" if self.contradictions else "",
            f"{' and '.join(unbalanced)} not balanced" if unbalanced else "",
        ]
        return [each for each in found if each]

    @property
    def doubtful(self) -> list[str]:
        """What may be wrong, in a few words."""
        proven = "" if self.proven and self.now - self.proven < PROOF else "not proven equal to the order system"
        found = [
            f"{proven} for {lasting(self.now - self.proven)}" if proven and self.proven else proven,
            _some(sum(self.quarantined.values()), "row quarantined", "rows quarantined"),
            _some(len(self.warnings), "warning", "warnings"),
        ]
        return [each for each in found if each]

    @property
    def title(self) -> str:
        """All is well only when nothing is wrong, and the night proved it."""
        return f"morning report: {', '.join([*self.broken, *self.doubtful]) or 'all is well'}"

    @property
    def level(self) -> str:
        return "failure" if self.broken else "warning" if self.doubtful else "success"

    @property
    def text(self) -> str:
        """Markdown."""
        lines = [
            f"- ORDER SYSTEM {self.trouble.title}: {self.trouble}"
            if self.trouble
            else "- Order system: can be read now",
            f"- Last proven equal to the live order system: {self.proven:%Y-%m-%d %H:%M} UTC, "
            f"{lasting(self.now - self.proven)} ago"
            if self.proven
            else f"- NEVER PROVEN equal to the live order system: `{CHECK.name}` of "
            f"{CHECK.asset_key.to_user_string()} has not passed yet; the job nightly_reconciliation evaluates it",
        ]
        if self.latest_day:
            age = lasting(self.now - datetime.combine(self.latest_day, time(), UTC))
            lines.append(
                f"- Newest sale: {self.latest_day}, {age} ago; {_some(self.orders, 'order', 'orders')} that day, "
                f"{self.booked:,.2f} booked"
            )
        if self.ahead:
            lines.append(f"- {counted(self.ahead, 'order is', 'orders are')} dated ahead, up to {self.last_day}")
        lines += [f"- Net sales {month:%Y-%m}: {sales:,.2f}" for month, sales in self.months]
        lines += [f"- {each.line()}" for each in self.balances]
        lines += [f"- CONTRADICTION {each}" for each in self.contradictions]
        checks = sum(len(table.checks) for table in self.tables)
        passed = sum(len(table.passed) for table in self.tables)
        lines.append(f"- {counted(len(self.tables), 'table')}, {passed:,} of {counted(checks, 'check')} passed")
        lines += [f"- FAILED {name}" for name in self.failed]
        lines += [f"- FAILED {name}: the latest attempt; it keeps the version before" for name in self.not_made]
        lines += [f"- WARNING {name}" for name in self.warnings]
        lines += [f"- never published: {name}" for name in self.missing]
        by_table = ", ".join(f"{name} {rows:,}" for name, rows in self.quarantined.items())
        lines.append(
            f"- {counted(sum(self.quarantined.values()), 'row')} in quarantine" + (f": {by_table}" if by_table else "")
        )
        return "\n".join(lines)


def gathered(
    store: Store, contracts: Sequence[Contract], instance: dg.DagsterInstance, order_system: OrderSystem, now: datetime
) -> Report:
    """The report of what is there ``now``, a moment in UTC. Raises ``StoreError`` when nothing was published yet."""
    trouble = None
    try:
        order_system.probe()
    except SourceError as error:
        trouble = error
    latest = _rows(store, LATEST.format(today=now.date()))
    day, orders, booked = latest[0] if latest else (None, 0, Decimal(0))
    ((ahead, last_day),) = _rows(store, AHEAD.format(today=now.date()))
    return Report(
        now=now,
        trouble=trouble,
        proven=last_agreement(instance),
        latest_day=day,
        orders=orders,
        booked=booked,
        months=[(month, sales) for month, sales in _rows(store, MONTHS.format(today=now.date()))],
        tables=table_statuses(contracts, store, instance),
        quarantined=_quarantined(store),
        balances=balances(store),
        contradictions=contradictions(store),
        ahead=ahead,
        last_day=last_day,
    )


def _quarantined(store: Store) -> dict[str, int]:
    counts = store.row_counts().items()
    return {
        address.partition("/")[2]: rows
        for address, rows in sorted(counts)
        if rows and address.startswith("quarantine/")
    }


def _some(number: int, one: str, many: str) -> str:
    return counted(number, one, many) if number else ""


def _rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return [row for batch in store.query(sql) for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)]


def report_job(settings: Settings, contracts: Sequence[Contract], send: Send) -> dg.JobDefinition:
    """Gathers the report, shows it in the run and sends it."""

    @dg.op(description="Order system, newest sale, latest months, tables, checks and quarantine; the sales report")
    def report(context: dg.OpExecutionContext) -> None:
        order_system = open_order_system(settings.order_system_url, settings.connect_timeout)
        store = open_store(settings, read_only=True)
        try:
            found = gathered(store, contracts, context.instance, order_system, datetime.now(UTC))
        except StoreError as error:
            raise dg.Failure(str(error)) from None
        finally:
            store.release()
        page = newest(settings)
        text = f"{found.text}\n- Sales report: {page}" if page is not None else found.text
        context.add_output_metadata({"report": dg.MetadataValue.md(f"**{found.title}**\n\n{text}")})
        send(found.title, text, found.level, page)

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
