"""What a run is asked for, in its tags."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from classic_cars.months import partition_key

#: Dagster's tags of a run that makes a range of partitions.
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

#: Tag of a run that may publish tables with far fewer rows than before; the value is their addresses, such as
#: ``source/orders,source/orderdetails``.
ACCEPT_SHRINK = "classic_cars/accept_shrink"

#: Tag of a run that leaves making a release to whoever asked for it, and for others that follow: ``later``.
RELEASE, LATER = "classic_cars/release", "later"

#: Tag of a run in which a month whose inputs are what they were stays as it is: ``stay``.
UNCHANGED_MONTHS, STAY = "classic_cars/unchanged_months", "stay"


def may_stay(tags: Mapping[str, str]) -> bool:
    """Whether months whose inputs are what they were stay as they are in a run with these tags."""
    return tags.get(UNCHANGED_MONTHS) == STAY


def range_tags(first: date, last: date) -> dict[str, str]:
    """The tags of a run that makes these months, and those between."""
    return {RANGE_START: partition_key(first), RANGE_END: partition_key(last)}


def accepted_shrinks(tags: Mapping[str, str]) -> frozenset[str]:
    """The addresses of the tables that a run with these tags may publish however few rows they have."""
    listed = tags.get(ACCEPT_SHRINK, "").split(",")
    return frozenset(address.strip() for address in listed if address.strip())
