"""The Dagster IO manager: a thin adapter over a store. Handling an output is publishing, loading is reading.

What is handed over is a version that was staged and audited before (:class:`~classic_cars.stores.base.Staged`); this
is the moment at which readers see it. The platform's own tables read their inputs in the transaction of their step;
whoever else loads a table, such as an asset of another project, gets the kind of table that its annotation asks for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.stores.base import Staged, Store
from classic_cars.tables import failures
from classic_cars.tables.kinds import as_kind
from classic_cars.tables.partitions import months_of
from classic_cars.tables.step import Unchanged


class StoreIOManager(dg.IOManager):
    """Publishes tables in ``store``, and reads those of ``contracts`` (by address)."""

    def __init__(self, store: Store, contracts: Mapping[str, Contract]) -> None:
        self.store = store
        #: Addresses.
        self.published: set[str] = set()
        self._contracts = contracts

    def load_input(self, context: dg.InputContext) -> Any:
        contract = self._contract(context.asset_key)
        months = None
        if contract.partitioned_by and context.has_asset_partitions and _is_partitioned(context):
            months = months_of(contract.address, context.asset_partition_key_range)
        return as_kind(self.store.read(contract, months), context.dagster_type.typing_type)

    def handle_output(self, context: dg.OutputContext, obj: Staged | Unchanged) -> None:
        if not isinstance(obj, Staged | Unchanged):
            raise StoreError(
                f"{context.asset_key.to_user_string()}: found {type(obj).__name__}, expected a staged table; make the "
                "asset with the decorator classic_cars.tables.table.table"
            )
        contract, started = obj.contract, time.perf_counter()
        try:
            if isinstance(obj, Staged):
                obj.publish()
                self.published.add(contract.address)
        except Exception as error:
            failures.report(contract.address, error, context.step_context.previous_attempt_count)
        size = self.store.size(contract)
        # The table's rows, not those of this run: Dagster plots the one after the other, whatever months were made.
        metadata: dict[str, Any] = {
            "dagster/row_count": size.rows,
            "publish seconds": round(time.perf_counter() - started, 3),
        }
        if size.bytes is not None:
            metadata["bytes"] = size.bytes
        context.add_output_metadata(metadata)

    def _contract(self, key: dg.AssetKey) -> Contract:
        address = "/".join(key.path)
        if address not in self._contracts:
            raise StoreError(f"{address}: no contract; there are contracts for {', '.join(sorted(self._contracts))}")
        return self._contracts[address]


def _is_partitioned(context: dg.InputContext) -> bool:
    """True when the reading asset is partitioned too, and so reads only its own months."""
    return context.step_context.has_asset_partitions_for_output("result")
