"""What is outside the platform, observed for a run: the order system's tables, and what landed.

Whether a table of the order system is what it was is answered by its sign of change, if that is exact, with its rows
and cents; otherwise by every value.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import dagster as dg

from classic_cars.automation.changes import AGAIN
from classic_cars.automation.landing_sensor import unread_files
from classic_cars.contracts.order_system import PARTITIONED, PICTURED, READ_ORDER, metadata
from classic_cars.errors import SourceError
from classic_cars.months import Months, partition_key
from classic_cars.resources import resources
from classic_cars.runs.selecting import months_that_exist
from classic_cars.settings import Settings
from classic_cars.sources.landing import Landing
from classic_cars.sources.order_system import OrderSystem
from classic_cars.sources.order_system.brief import brief, brief_totals
from classic_cars.stores import published
from classic_cars.tables.external import (
    EMPTY,
    WHOLE,
    Claims,
    digest,
    digest_of,
    observations,
    observed,
    order_system_versions,
)
from classic_cars.tables.partitions import add_months, known_months
from classic_cars.wording import counted

progress = logging.getLogger("classic_cars.progress")

SYSTEM, LANDING, SOURCE = "order_system", "landing", "source"
#: What the instance remembers of the order system: the signs of change that stand for what is observed, and
#: fingerprints of tables with pictures.
REMEMBERED = "classic_cars/order_system"


def observe_order_system(
    instance: dg.DagsterInstance,
    order_system: OrderSystem,
    settings: Settings,
    names: list[str],
    unreadable: Collection[str] = (),
    months: Months | None = None,
) -> dict[str, str]:
    """Record what these tables of the order system hold now; of those that are read anyway their reading will say it.

    Of a table with an exact sign of change that did not move, rows and cents are compared; of all others every value.
    A table whose pictures changed, which no total counts, gets a fresh version, and so is out of date until it is read.
    ``months``: those that are made in any case; which others there are is asked when one of them is not known.
    Returns the signs that stand for what is observed, and read, from now on.
    """
    signs = order_system.change_signs()
    pictures = order_system.fingerprints(
        [table for table in READ_ORDER if table.name in PICTURED and table.name not in unreadable]
    )
    remembered = _remembered(instance)
    before, shown = remembered.get("signs", {}), remembered.get("pictures", pictures)
    repainted = {name for name, found in pictures.items() if found != shown.get(name)}
    seen = {name: _seen(instance, name) for name in names}
    same = {
        name
        for name in set(names) - repainted  # a picture may have changed after the sign was taken
        if name in signs
        and signs[name].exact
        and [signs[name].token, digest(seen[name])] == before.get(name)
        and _has_the_totals(order_system, name, seen[name])
    }
    versions = order_system_versions(order_system, [name for name in names if name not in same])
    if set(names) >= PARTITIONED:
        add_months(instance, {month for name in PARTITIONED for month in versions.get(name, seen[name])})
    elif not PARTITIONED & set(unreadable) and not _are_known(instance, months):
        with published(settings) as store:
            add_months(instance, map(partition_key, months_that_exist(order_system, store, reads=True)))
    for name, found in versions.items():
        noted = _to_observe(found, seen[name], fresh=name in repainted)
        for each in observations(instance, _outside(name), noted, partitioned=name in PARTITIONED):
            instance.report_runless_asset_event(each)
    noticed = {name: found for name, found in pictures.items() if name in versions}
    _set_remembered(instance, remembered | {"pictures": {**shown, **noticed}})
    return {name: sign.token for name, sign in signs.items()}


def _are_known(instance: dg.DagsterInstance, months: Months | None) -> bool:
    return months is not None and {*map(partition_key, months)} <= {*known_months(instance)}


def _to_observe(found: Mapping[str, str], seen: Mapping[str, str], *, fresh: bool) -> dict[str, str]:
    """The versions to record: ``fresh`` ones, or those that were; what was to be read again still is."""
    if fresh:
        found = {part: f"{version}{AGAIN}{time.time():.0f}" for part, version in found.items()}
    again = {part: before for part, before in seen.items() if before.partition(AGAIN)[0] == found.get(part)}
    return {**dict.fromkeys(seen, EMPTY), **found, **again}


def remember(
    instance: dg.DagsterInstance, order_system: OrderSystem, signs: Mapping[str, str], names: Iterable[str]
) -> None:
    """Keep the signs that are still the same, with the versions that they stand for: what was observed or read since.

    What somebody else observes later has other versions, for which they do not stand.
    """
    with suppress(SourceError):
        still = {name: sign.token for name, sign in order_system.change_signs().items()}
        same = [name for name in names if name in signs and still.get(name) == signs[name]]
        _keep_signs(instance, {name: [signs[name], digest(_seen(instance, name))] for name in same})


def _keep_signs(instance: dg.DagsterInstance, now: Mapping[str, list[str]]) -> None:
    remembered = _remembered(instance)
    _set_remembered(instance, remembered | {"signs": remembered.get("signs", {}) | now})


def _seen(instance: dg.DagsterInstance, name: str) -> dict[str, str]:
    return dict(observed(instance, _outside(name), partitioned=name in PARTITIONED))


def _remembered(instance: dg.DagsterInstance) -> dict[str, Any]:
    return json.loads(instance.daemon_cursor_storage.get_cursor_values({REMEMBERED}).get(REMEMBERED, "{}"))


def _set_remembered(instance: dg.DagsterInstance, found: Mapping[str, Any]) -> None:
    instance.daemon_cursor_storage.set_cursor_values({REMEMBERED: json.dumps(found)})


def _has_the_totals(order_system: Any, name: str, seen: Mapping[str, str]) -> bool:
    """Whether the table has the rows and cents now that it had when it was observed."""
    expected = brief(version for version in seen.values() if version != EMPTY)
    return expected is not None and brief_totals(order_system, metadata.tables[name]) == expected


def _outside(name: str) -> dg.AssetKey:
    return dg.AssetKey([SYSTEM, name])


def observe_landing(instance: dg.DagsterInstance, settings: Settings, claims: Mapping[str, Claims]) -> dict[str, str]:
    """Which files lie there for each table; returns what is wrong, by address, where they cannot be listed."""
    if not claims:
        return {}
    landing: Landing = resources(settings)[LANDING].get_object_to_set_on_execution_context()
    try:
        listing = landing.list()
    except SourceError as error:
        return {f"{SOURCE}/{name}": str(error) for name in claims}
    for name, claimed in claims.items():
        theirs = listing.of(claimed)
        if theirs.growing:
            waiting = counted(theirs.unsettled, "file")
            progress.info("landing/%s: %s still being written; a later run reads what is complete", name, waiting)
        found = {WHOLE: digest_of(theirs.files)}
        for each in observations(instance, dg.AssetKey([LANDING, name]), found, partitioned=False):
            instance.report_runless_asset_event(each)
    return {}


def unread(instance: dg.DagsterInstance, claims: Iterable[str]) -> Iterator[str]:
    """Tables of landed files some of which could not be read the last time."""
    for name in claims:
        if unread_files(instance, name):
            yield f"{SOURCE}/{name}"
