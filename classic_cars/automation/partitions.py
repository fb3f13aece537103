"""The one partitioning of this platform: months of ``orderDate``, from 2003-01 to the current month."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from dagster import MonthlyPartitionsDefinition, PartitionKeyRange

from classic_cars.contracts.order_system import FIRST_MONTH
from classic_cars.stores.base import Months

KEY = "%Y-%m"

#: ``end_offset=1``: the current month is a partition before it is over.
MONTHLY = MonthlyPartitionsDefinition(start_date=FIRST_MONTH.strftime(KEY), fmt=KEY, end_offset=1)


def months_of(keys: PartitionKeyRange) -> Months:
    """The months that a range of partition keys covers."""
    return Months.parse(f"{keys.start}..{keys.end}")


def partition_key(month: date) -> str:
    return month.strftime(KEY)


def span(months: Iterable[date]) -> Months | None:
    """The range from the first to the last of ``months``; None when there are none."""
    found = sorted(months)
    return Months(found[0], found[-1]) if found else None
