"""The one partitioning of this platform: months of ``orderDate``, from 2003-01 to a year ahead."""

from __future__ import annotations

from dagster import MonthlyPartitionsDefinition, PartitionKeyRange

from classic_cars.contracts.order_system import MONTHS_AHEAD, UNDATED
from classic_cars.months import KEY, Months

#: The current month is a partition before it is over, and so are the months that orders may be dated ahead.
MONTHLY = MonthlyPartitionsDefinition(start_date=UNDATED.strftime(KEY), fmt=KEY, end_offset=1 + MONTHS_AHEAD)


def months_of(keys: PartitionKeyRange) -> Months:
    """The months that a range of partition keys covers."""
    return Months.parse(f"{keys.start}..{keys.end}")
