"""The one partitioning of this platform: months of ``orderDate``, from 2003-01 to a year ahead."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from dagster import MonthlyPartitionsDefinition, PartitionKeyRange

from classic_cars.contracts.order_system import FIRST_MONTH, MONTHS_AHEAD
from classic_cars.stores.base import Months, next_month

KEY = "%Y-%m"

#: The current month is a partition before it is over, and so are the months that orders may be dated ahead.
MONTHLY = MonthlyPartitionsDefinition(start_date=FIRST_MONTH.strftime(KEY), fmt=KEY, end_offset=1 + MONTHS_AHEAD)

#: Dagster's tags of a run that makes a range of partitions.
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def months_of(keys: PartitionKeyRange) -> Months:
    """The months that a range of partition keys covers."""
    return Months.parse(f"{keys.start}..{keys.end}")


def partition_key(month: date) -> str:
    return month.strftime(KEY)


def month_of(key: str) -> date:
    return date.fromisoformat(f"{key}-01")


def range_tags(first: date, last: date) -> dict[str, str]:
    """The tags of a run that makes these months, and those between."""
    return {RANGE_START: partition_key(first), RANGE_END: partition_key(last)}


def span(months: Iterable[date]) -> Months | None:
    """The range from the first to the last of ``months``; None when there are none."""
    found = sorted(months)
    return Months(found[0], found[-1]) if found else None


def contiguous(months: dict[date, frozenset]) -> list[tuple[date, date, frozenset]]:
    """Neighbouring months with the same content as (first, last, content), in order."""
    found: list[tuple[date, date, frozenset]] = []
    for month, content in sorted(months.items()):
        if found and found[-1][2] == content and next_month(found[-1][1]) == month:
            found[-1] = (found[-1][0], month, content)
        else:
            found.append((month, month, content))
    return found
