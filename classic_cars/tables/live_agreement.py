"""The nightly proof against the live order system itself: every closed month of the star schema, and all of ``source``.

The fact with its quarantine is compared in rows and cents; the tables of ``source/*`` in every value, by digest. It
goes past all layers between, and so notices what no check on the way can: a change that was never noticed, a month
that was never rebuilt. What differs is asked for again by the sensor of the order system.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import dagster as dg

from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER, orderdetails
from classic_cars.contracts.source import CONTRACTS
from classic_cars.errors import StoreError
from classic_cars.sources.control_totals import ControlTotals
from classic_cars.sources.digests import held_totals
from classic_cars.sources.order_system import OrderSystem
from classic_cars.stores.base import Store
from classic_cars.tables.events import last_verdict

CHECK = dg.AssetCheckKey(dg.AssetKey(["warehouse", "fact_orders"]), "agrees_with_order_system")
#: Metadata of the check: the months that differ, with the numbers of both sides.
DIFFERENCES = "months that differ"
#: Metadata of the check: the tables of ``source`` that differ, with their months; ``""`` for tables without.
TABLES = "source tables that differ"

HELD = """
SELECT month, sum(rows)::BIGINT, sum(quarantined)::BIGINT, sum(cents)::BIGINT FROM (
    SELECT strftime(orderDate, '%Y-%m') AS month, count(*) AS rows, 0 AS quarantined, sum(orderAmount) * 100 AS cents
    FROM warehouse.fact_orders GROUP BY 1
    UNION ALL
    SELECT strftime(orderMonth, '%Y-%m'), 0, count(*), sum(quantityOrdered::DECIMAL(19, 0) * priceEach) * 100
    FROM quarantine.orderdetails GROUP BY 1
) GROUP BY month ORDER BY month
"""

#: Table to control totals by home month.
Totals = Mapping[str, Mapping[str, ControlTotals]]
#: Table to its months that differ, ``""`` for tables without.
Differing = Mapping[str, list[str]]

#: Months that a message names.
NAMED = 6

#: Evaluations among which the last proof is looked for.
NIGHTS = 100

#: Opens the published tables for reading, and lets go of them.
Reader = Callable[[], AbstractContextManager[Store]]


@dataclass(frozen=True)
class MonthTotals:
    """What the platform has of a month: order lines in the fact and in quarantine, and their cents together."""

    rows: int = 0
    quarantined: int = 0
    cents: int = 0


def closed_before(today: date) -> str:
    """The first month (``YYYY-MM``) that is still open."""
    return f"{today:%Y-%m}"


def compare(
    live: Mapping[str, ControlTotals], held: Mapping[str, MonthTotals], today: date
) -> dict[str, dict[str, Any]]:
    """Closed months that differ, with the numbers of both sides.

    Rows that were quarantined count, with their amounts: on either side, those of rows whose price and quantity fit
    their types.
    """
    found = {}
    for month in sorted({*live, *held}):
        if month >= closed_before(today):
            continue
        there, here = live.get(month, ControlTotals(0, 0, 0)), held.get(month, MonthTotals())
        if (here.rows + here.quarantined, here.cents) != (there.rows, there.cents or 0):
            found[month] = {
                "rows in the order system": there.rows,
                "rows in fact_orders": here.rows,
                "rows in quarantine": here.quarantined,
                "amount in the order system": _amount(there.cents or 0),
                "amount here": _amount(here.cents),
            }
    return found


def compare_tables(live: Totals, held: Totals, today: date) -> dict[str, list[str]]:
    """Tables of ``source`` that differ in any row or value, with their closed months; ``""`` for tables without."""
    found = {}
    for table in sorted(live):
        there, here = live[table], held.get(table, {})
        months = [
            month
            for month in sorted({*there, *here})
            if there.get(month) != here.get(month) and month < closed_before(today)
        ]
        if months:
            found[table] = months
    return found


def held_by_month(store: Store) -> dict[str, MonthTotals]:
    """What the published tables hold, by month."""
    rows = [row for batch in store.query(HELD) for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)]
    return {
        month: MonthTotals(int(count), int(quarantined), int(cents or 0)) for month, count, quarantined, cents in rows
    }


def evaluate(
    live: Mapping[str, ControlTotals], held: Mapping[str, MonthTotals], tables: Differing, today: date
) -> dg.AssetCheckResult:
    """The check's result; ``tables``: those of ``source`` that differ."""
    differing = compare(live, held, today)
    closed = [each for month, each in live.items() if month < closed_before(today)]
    rows, cents = sum(each.rows for each in closed), sum(each.cents or 0 for each in closed)
    said = (
        f"{len(closed)} closed months, {rows:,} order lines, {_amount(cents)}, and every value of all source tables "
        "agree with the live order system"
    )
    if differing or tables:
        said = "; ".join(
            [
                *(
                    [f"{len(differing)} of {len(closed)} closed months differ: {_named(differing)}"]
                    if differing
                    else []
                ),
                *(
                    f"source/{table} differs{f' in {_named(months)}' if any(months) else ''}"
                    for table, months in tables.items()
                ),
            ]
        )
        said = f"not as in the live order system: {said}"
    return dg.AssetCheckResult(
        passed=not differing and not tables,
        description=said,
        metadata={
            "months compared": len(closed),
            "order lines": rows,
            "amount": _amount(cents),
            "months differing": len(differing),
            DIFFERENCES: dg.MetadataValue.json(differing),
            TABLES: dg.MetadataValue.json(dict(tables)),
        },
    )


def _named(months: Iterable[str]) -> str:
    found = list(months)
    return ", ".join(found[:NAMED]) + (", ..." if len(found) > NAMED else "")


def reconciliation_check(reader: Reader) -> dg.AssetChecksDefinition:
    """The check on ``warehouse/fact_orders``. It is not part of making the table: it has a schedule of its own."""

    @dg.asset_check(
        asset=CHECK.asset_key,
        name=CHECK.name,
        required_resource_keys={"order_system"},
        description="Every closed month agrees with the live order system, to the cent and to the line, and so do "
        "all values of the source tables: no change was missed. What differs is read again.",
    )
    def agrees_with_order_system(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        order_system: OrderSystem = context.resources.order_system
        today = date.today()
        with order_system.snapshot() as snapshot:
            live = {table.name: snapshot.control_totals(table, today=today) for table in READ_ORDER}
        try:
            with reader() as store:
                fact = held_by_month(store)
                held = {
                    table.name: held_totals(store.read(CONTRACTS[table.name]), table, order_system.url)
                    for table in READ_ORDER
                }
        except StoreError as error:
            return dg.AssetCheckResult(passed=False, description=str(error))
        return evaluate(live[orderdetails.name], fact, compare_tables(live, held, today), today)

    return agrees_with_order_system


def disagreement(instance: dg.DagsterInstance) -> tuple[int, list[str]]:
    """The latest reconciliation (its number, 0 when there was none), and what is to be read again after it.

    Months (``YYYY-MM``), and the names of tables without months.
    """
    record = last_verdict(instance, CHECK, DIFFERENCES)
    if record is None:
        return 0, []
    if record.evaluation.passed:
        return record.id, []
    months, tables = (_json(record.evaluation, name) for name in (DIFFERENCES, TABLES))
    again = {*months} | {month for table in PARTITIONED for month in tables.get(table, [])}
    return record.id, sorted(again | (tables.keys() - PARTITIONED))


def disagreed_at(instance: dg.DagsterInstance) -> float:
    """When the latest reconciliation was, in seconds since 1970."""
    record = last_verdict(instance, CHECK, DIFFERENCES)
    return record.create_timestamp if record is not None else 0.0


def last_agreement(instance: dg.DagsterInstance) -> datetime | None:
    """When the data was last proven equal to the live order system; None when none of the latest nights did so."""
    for record in instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=NIGHTS):
        if isinstance(record.evaluation, dg.AssetCheckEvaluation) and record.evaluation.passed:
            return datetime.fromtimestamp(record.create_timestamp, UTC)
    return None


def _json(evaluation: dg.AssetCheckEvaluation, name: str) -> dict[str, Any]:
    found: Any = evaluation.metadata.get(name)
    return found.value if found is not None else {}


def _amount(cents: int) -> str:
    return f"{Decimal(cents) / 100:,.2f}"
