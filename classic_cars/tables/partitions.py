"""The one partitioning of this platform: the months of ``orderDate`` that there are, as the data says.

Dagster keeps the keys; polls and runs add them. They are kept in chronological order, because a range of partitions
means the keys between its ends in the order in which Dagster lists them. Which months a run makes is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

import dagster as dg

from classic_cars.errors import PartitionsError
from classic_cars.instance.event_log import at_once
from classic_cars.months import Months, month_of

#: ``YYYY-MM``; the month of rows without a usable date among them.
MONTHLY = dg.DynamicPartitionsDefinition(name="months")


def months_of(address: str, keys: dg.PartitionKeyRange | None) -> Months:
    """The months of a table that a range of partition keys covers. Raises ``PartitionsError`` when it is none."""
    if keys is None:
        raise PartitionsError(
            f"{address}: is made by month, and the run names none; give it a partition or a range of them, or use "
            "`classic-cars run`, which knows the months that there are"
        )
    try:
        return Months.parse(f"{keys.start}..{keys.end}")
    except ValueError as error:
        raise PartitionsError(
            f"{address}: cannot be made for the partitions that the run names; {error}; launch it again for others"
        ) from None


def known_months(instance: dg.DagsterInstance) -> list[str]:
    """The keys that there are, in order."""
    return list(instance.get_dynamic_partitions(str(MONTHLY.name)))


def to_reorder(existing: Sequence[str], wanted: Iterable[str]) -> tuple[list[str], list[str]]:
    """The keys to delete, and those to add then, so that ``wanted`` are among them and all are in order.

    New keys go to the end: those after an earlier new month, or after one that is out of order, are taken out and added
    again behind it. What was materialized stays.
    """
    ordered = sorted({*existing, *wanted})
    kept = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(existing, ordered, strict=False)))
    return list(existing[kept:]), ordered[kept:]


def add_months(instance: dg.DagsterInstance, wanted: Iterable[str]) -> None:
    """Make partitions of these months."""
    wanted, name = set(wanted), str(MONTHLY.name)
    if to_reorder(known_months(instance), wanted) == ([], []):
        return
    with at_once(instance, "months"):
        delete, add = to_reorder(known_months(instance), wanted)
        for key in delete:
            instance.delete_dynamic_partition(name, key)
        instance.add_dynamic_partitions(name, add)


def existing(instance: dg.DagsterInstance, months: Months) -> Months | None:
    """From the first to the last of these months that is a partition; None when none is."""
    found = [month for key in known_months(instance) if months.first <= (month := month_of(key)) <= months.last]
    return Months(found[0], found[-1]) if found else None
