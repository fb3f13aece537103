"""The nightly proof: every closed month of the star schema against the live order system itself, rows and cents.

It goes past all layers between, and so notices what no check on the way can: a change that was never noticed, a
month that was never made again. What differs is asked for again by the sensor of the order system.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import dagster as dg

from classic_cars.contracts.order_system import orderdetails
from classic_cars.errors import StoreError
from classic_cars.sources.order_system import ControlTotals, OrderSystem
from classic_cars.stores.base import Store

CHECK = dg.AssetCheckKey(dg.AssetKey(["warehouse", "fact_orders"]), "agrees_with_order_system")
#: Metadata of the check: the months that differ, with the numbers of both sides.
DIFFERENCES = "months that differ"

HELD = """
SELECT month, sum(rows)::BIGINT, sum(aside)::BIGINT, sum(cents)::BIGINT FROM (
    SELECT strftime(orderDate, '%Y-%m') AS month, count(*) AS rows, 0 AS aside, sum(orderAmount) * 100 AS cents
    FROM warehouse.fact_orders GROUP BY 1
    UNION ALL
    SELECT strftime(orderMonth, '%Y-%m'), 0, count(*), sum(quantityOrdered * priceEach) * 100
    FROM quarantine.orderdetails GROUP BY 1
) GROUP BY month ORDER BY month
"""

#: Opens the published tables for reading, and lets go of them.
Reader = Callable[[], AbstractContextManager[Store]]


@dataclass(frozen=True)
class Held:
    """What the platform has of a month: order lines in the fact and in quarantine, and their cents together."""

    rows: int = 0
    aside: int = 0
    cents: int = 0


def closed_before(today: date) -> str:
    """The first month (``YYYY-MM``) that is still open."""
    return f"{today:%Y-%m}"


def compare(live: Mapping[str, ControlTotals], held: Mapping[str, Held], today: date) -> dict[str, dict[str, Any]]:
    """Closed months that differ, with the numbers of both sides.

    Rows that were set aside count; their amounts may be what is wrong with them, and then only rows are compared.
    """
    found = {}
    for month in sorted({*live, *held}):
        if month >= closed_before(today):
            continue
        there, here = live.get(month, ControlTotals(0, 0)), held.get(month, Held())
        same_cents = here.cents == (there.cents or 0) or here.aside > 0
        if here.rows + here.aside != there.rows or not same_cents:
            found[month] = {
                "rows in the order system": there.rows,
                "rows in fact_orders": here.rows,
                "rows in quarantine": here.aside,
                "amount in the order system": _amount(there.cents or 0),
                "amount here": _amount(here.cents),
            }
    return found


def held_by_month(store: Store) -> dict[str, Held]:
    """What the published tables hold, by month."""
    rows = [row for batch in store.query(HELD) for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)]
    return {month: Held(int(count), int(aside), int(cents or 0)) for month, count, aside, cents in rows}


def evaluate(live: Mapping[str, ControlTotals], held: Mapping[str, Held], today: date) -> dg.AssetCheckResult:
    """The check's result."""
    differing = compare(live, held, today)
    closed = [each for month, each in live.items() if month < closed_before(today)]
    rows, cents = sum(each.rows for each in closed), sum(each.cents or 0 for each in closed)
    said = f"{len(closed)} closed months, {rows:,} order lines, {_amount(cents)} agree with the live order system"
    if differing:
        said = f"{len(differing)} of {len(closed)} closed months differ from the live order system: "
        said += ", ".join(list(differing)[:6]) + (", ..." if len(differing) > 6 else "")
    return dg.AssetCheckResult(
        passed=not differing,
        description=said,
        metadata={
            "months compared": len(closed),
            "order lines": rows,
            "amount": _amount(cents),
            "months differing": len(differing),
            DIFFERENCES: dg.MetadataValue.json(differing),
        },
    )


def reconciliation_check(order_system: OrderSystem, reader: Reader) -> dg.AssetChecksDefinition:
    """The check on ``warehouse/fact_orders``. It is not part of making the table: it has a schedule of its own."""

    @dg.asset_check(
        asset=CHECK.asset_key,
        name=CHECK.name,
        description="Every closed month agrees with the live order system, to the cent and to the line: no change was "
        "missed since the month was made. What differs is read again.",
    )
    def agrees_with_order_system() -> dg.AssetCheckResult:
        live = order_system.monthly_totals(orderdetails)
        try:
            with reader() as store:
                held = held_by_month(store)
        except StoreError as error:
            return dg.AssetCheckResult(passed=False, description=str(error))
        return evaluate(live, held, date.today())

    return agrees_with_order_system


def disagreement(instance: dg.DagsterInstance) -> tuple[int, list[str]]:
    """The latest reconciliation (its number, 0 when there was none) and the months that differed in it."""
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([CHECK]).get(CHECK)
    evaluation = record.evaluation if record is not None else None
    if record is None or not isinstance(evaluation, dg.AssetCheckEvaluation):
        return 0, []
    found: Any = evaluation.metadata.get(DIFFERENCES)
    return record.id, sorted(found.value) if found is not None and not evaluation.passed else []


def _amount(cents: int) -> str:
    return f"{Decimal(cents) / 100:,.2f}"
