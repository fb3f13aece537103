"""What is upstream of ``source/*``: the order system's tables and the landing zone, as assets that are only observed.

Their observations carry data versions, from which Dagster works out what is out of sync. Sensors observe them (in
``automation``), and whoever presses *Observe* on the web page; ``assets/source.py`` reads them. They are observable
assets, because of a plain external asset Dagster's conditions and its web page see materializations only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any

import dagster as dg

from classic_cars.contracts.landed import LandedTable
from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER
from classic_cars.months import partition_key
from classic_cars.sources.control_totals import ControlTotals
from classic_cars.sources.landing import LandedFile
from classic_cars.sources.order_system import OrderSystem
from classic_cars.tables.partitions import MONTHLY
from classic_cars.tables.table import Catalog, Table

#: Whether a file of this name is a landed table's own.
Claims = Callable[[str], bool]
#: Dagster's tag of an observation that says which version of the data was seen.
DATA_VERSION = "dagster/data_version"
#: The data version of what has no rows (any more).
EMPTY = "empty"
#: The one part of a table without months.
WHOLE = ""

#: The sensors in ``automation`` that observe what is outside, by system.
OBSERVED_BY = {"order_system": "order_system_changes", "landing": "landed_files"}
DESCRIPTIONS = {
    "order_system": "Table of the retailer's order system. Its data version is the control totals that the order "
    "system works out itself, by month where there are months.",
    "landing": "Files that partners dropped. The data version is a digest of their names, sizes and versions.",
}


def digest(found: Any) -> str:
    """Of what JSON can hold."""
    return hashlib.blake2b(json.dumps(found, sort_keys=True).encode(), digest_size=16).hexdigest()


def digest_of(files: Iterable[LandedFile]) -> str:
    """Differs when a name, a size or a version differs, whatever the order."""
    return digest(sorted(each.identity for each in files))


def versions_of(totals: Mapping[str, ControlTotals], months: Sequence[date] | None) -> dict[str, str]:
    """The data versions of the rows with these control totals: by month, ``months`` without rows among them."""
    asked = {WHOLE} if months is None else {partition_key(month) for month in months}
    return {part: totals[part].version if part in totals else EMPTY for part in sorted({*asked, *totals})}


def observed(instance: dg.DagsterInstance, key: dg.AssetKey, *, partitioned: bool) -> dict[str, str]:
    """The data versions that were last observed, by month, or under ``WHOLE`` without months."""
    if partitioned:
        found = instance.event_log_storage.get_latest_tags_by_partition(
            key, dg.DagsterEventType.ASSET_OBSERVATION, [DATA_VERSION]
        )
        return {month: tags[DATA_VERSION] for month, tags in found.items()}
    records = instance.fetch_observations(key, limit=1).records
    event = records[0].asset_observation if records else None
    return {WHOLE: event.tags[DATA_VERSION]} if event and DATA_VERSION in event.tags else {}


def observations(
    instance: dg.DagsterInstance, key: dg.AssetKey, found: Mapping[str, str], *, partitioned: bool
) -> list[dg.AssetObservation]:
    """What to record so that the last observed versions are those that were ``found``; nothing where they are."""
    known = observed(instance, key, partitioned=partitioned)
    return [
        dg.AssetObservation(key, partition=part or None, tags={DATA_VERSION: version})
        for part, version in found.items()
        if version != known.get(part, EMPTY if part else "")
    ]


def claims_of(tables: Iterable[Table]) -> dict[str, Claims]:
    """For each landed table, by name, which files at the landing zone are its own."""
    landed = {each.contract.name: each.arrives_from for each in tables if isinstance(each.arrives_from, LandedTable)}
    return {name: partial(origin.claims, others=list(landed.values())) for name, origin in landed.items()}


def external_key(table: Table) -> dg.AssetKey | None:
    """The asset outside that a table's rows arrive from; None for tables made from other tables."""
    return dg.AssetKey([table.arrives_from.system, table.contract.name]) if table.arrives_from else None


def external_assets(catalog: Catalog) -> list[Any]:
    """One asset for each table that arrives from outside."""
    claims = claims_of(catalog)
    return [
        _external(table, key, claims.get(table.contract.name))
        for table in catalog
        if (key := external_key(table)) is not None
    ]


def _external(table: Table, key: dg.AssetKey, claims: Claims | None) -> Any:
    system = key.path[0]
    read_by = {"read by": dg.MetadataValue.asset(dg.AssetKey(table.address.split("/")))}
    months = MONTHLY if table.contract.partitioned_by else None
    if (sensor := OBSERVED_BY.get(system)) is None:
        return dg.AssetSpec(
            key,
            description=f"What arrives from {system}.",
            metadata=read_by,
            group_name=system,
            tags={"layer": system},
            partitions_def=months,
        )

    @dg.observable_source_asset(
        key=key,
        description=f"{DESCRIPTIONS[system]} The sensor {sensor} observes it, and so does *Observe*; nothing "
        "materializes it.",
        metadata={**read_by, "observed by": f"sensor {sensor}"},
        group_name=system,
        tags={"layer": system},
        partitions_def=months,
        required_resource_keys={system},
    )
    def observe(context: dg.OpExecutionContext) -> dg.DataVersion | dg.DataVersionsByPartition:
        versions = _versions(table, getattr(context.resources, system), claims)
        if table.contract.partitioned_by:
            return dg.DataVersionsByPartition(versions)
        return dg.DataVersion(versions.get("", EMPTY))

    return observe


def _versions(table: Table, system: Any, claims: Claims | None) -> Mapping[str, str]:
    """What is outside now: control totals of the order system's table, or a digest of the files that landed."""
    if claims is None:
        return order_system_versions(system, [table.contract.name])[table.contract.name]
    return {WHOLE: digest_of(system.list().of(claims).files)}


def order_system_versions(order_system: OrderSystem, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The data versions of the order system's tables now, from one snapshot if it can; by table and part."""
    wanted = set(names)
    with order_system.snapshot() as snapshot:
        totals = {each.name: snapshot.control_totals(each) for each in READ_ORDER if each.name in wanted}
    return {name: versions_of(found, [] if name in PARTITIONED else None) for name, found in totals.items()}
