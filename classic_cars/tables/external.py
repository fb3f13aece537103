"""What is upstream of ``source/*``: the order system's tables and the landing zone, as assets that are only observed.

Their observations carry data versions, from which Dagster works out what is out of sync. Sensors observe them (in
``automation``), and whoever presses *Observe* on the web page; ``assets/source.py`` reads them. They are observable
assets, because of a plain external asset Dagster's conditions and its web page see materializations only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import dagster as dg

from classic_cars.contracts.landed import LandedTable
from classic_cars.sources.landing import LandedFile
from classic_cars.tables.partitions import MONTHLY
from classic_cars.tables.table import Catalog, Table

#: Whether a file of this name is a landed table's own.
Claims = Callable[[str], bool]
#: Dagster's tag of an observation that says which version of the data was seen.
DATA_VERSION = "dagster/data_version"
#: The data version of what has no rows (any more).
EMPTY = "empty"

DESCRIPTIONS = {
    "order_system": "Table of the retailer's order system. Its data version is a fingerprint that the order system "
    "works out itself, by month where there are months.",
    "landing": "Files that partners dropped. The data version is a digest of their names, sizes and versions.",
}


def digest(found: Any) -> str:
    """Of what JSON can hold."""
    return hashlib.blake2b(json.dumps(found, sort_keys=True).encode(), digest_size=16).hexdigest()


def digest_of(files: Iterable[LandedFile]) -> str:
    """Differs when a name, a size or a version differs, whatever the order."""
    return digest(sorted(each.identity for each in files))


def claims_of(catalog: Catalog) -> dict[str, Claims]:
    """For each landed table, by name, which files at the landing zone are its own."""
    landed = {each.contract.name: each.arrives_from for each in catalog if isinstance(each.arrives_from, LandedTable)}
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

    @dg.observable_source_asset(
        key=key,
        description=DESCRIPTIONS.get(system, f"What arrives from {system}."),
        group_name=system,
        tags={"layer": system},
        partitions_def=MONTHLY if table.contract.partitioned_by else None,
        required_resource_keys={system},
    )
    def observe(context: dg.OpExecutionContext) -> dg.DataVersion | dg.DataVersionsByPartition:
        versions = _versions(table, getattr(context.resources, system), claims)
        if table.contract.partitioned_by:
            return dg.DataVersionsByPartition(versions)
        return dg.DataVersion(versions.get("", EMPTY))

    return observe


def _versions(table: Table, system: Any, claims: Claims | None) -> Mapping[str, str]:
    if claims is None:
        return system.fingerprints()[table.contract.name]
    return {"": digest_of(system.list().of(claims).files)}
