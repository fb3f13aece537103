"""Tables that are published together with another one: the ledgers of landed files, and quarantines, as assets.

Each is an external asset. It has no step of its own, so nobody can select it and make it apart from the table that it
belongs to; the step of that table reports it as materialized once both are published (``tables/asset.py``).
"""

from __future__ import annotations

import dagster as dg

from classic_cars.contracts.base import Contract
from classic_cars.tables.asset import OWNERS
from classic_cars.tables.events import asset_key
from classic_cars.tables.metadata import column_schema
from classic_cars.tables.table import Catalog, Table


def co_published_specs(catalog: Catalog, kind: str) -> list[dg.AssetSpec]:
    """The assets of all tables that are published with another one. ``kind`` of store, for people."""
    return [_spec(table, contract, kind) for table in catalog for contract in table.contract.co_published]


def _spec(table: Table, contract: Contract, kind: str) -> dg.AssetSpec:
    personal = any(contract.is_personal(column) for column in contract.types.names)
    return dg.AssetSpec(
        key=asset_key(contract.address),
        deps=[asset_key(table.address)],
        description=f"{contract.description}\n\nPublished with {table.address}, in one step.",
        group_name=contract.layer,
        kinds={kind},
        owners=[OWNERS[table.contract.layer]],
        tags={"layer": contract.layer, **({"personal_data": ""} if personal else {})},
        metadata={"dagster/column_schema": column_schema(contract), "contract version": contract.version},
    )
