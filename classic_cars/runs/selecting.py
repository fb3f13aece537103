"""What a run is to make: tables and months, by the names that people give them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import dagster as dg

from classic_cars.contracts.order_system import PARTITIONED
from classic_cars.contracts.source import CONTRACTS
from classic_cars.definitions import FULL_REFRESH
from classic_cars.errors import SettingsError
from classic_cars.months import UNDATED, Months
from classic_cars.sources.order_system import OrderSystem
from classic_cars.stores.base import Store
from classic_cars.tables.partitions import existing, known_months
from classic_cars.tables.recomputation import made_with


def select_tables(defs: dg.Definitions, patterns: Sequence[str]) -> list[dg.AssetKey]:
    """The asset keys that the patterns name: ``warehouse/*``, ``fact_orders``, ``source/order*+`` with all that
    is made from them, ``+fact_orders`` with all that it is made from, or Dagster's own selection syntax.

    Raises ``SettingsError`` when a pattern names nothing.
    """
    graph = defs.get_repository_def().asset_graph
    chosen: set[dg.AssetKey] = set()
    for pattern in patterns or ["*"]:
        if any(sign in pattern for sign in ':"() '):
            query = pattern
        else:
            name = pattern.strip("+")
            before, after = pattern[: pattern.index(name)], pattern[pattern.index(name) + len(name) :]
            query = f'{before}key:"{name if "/" in name or name == "*" else "*/" + name}"{after}'
        try:
            named = dg.AssetSelection.from_string(query).resolve(graph)
        except Exception as error:
            raise SettingsError(f"--select {pattern}: cannot be read ({str(error).splitlines()[0]})") from None
        # Others, such as quarantines, are published with the table that they belong to.
        found = set(named) & graph.materializable_asset_keys
        if not found:
            raise SettingsError(
                f"--select {pattern}: {_nothing_to_make(named, graph)}; there are "
                + ", ".join(sorted(key.to_user_string() for key in graph.materializable_asset_keys))
            )
        chosen |= found
    return sorted(chosen)


def _nothing_to_make(named: Iterable[dg.AssetKey], graph: Any) -> str:
    if not named:
        return "no table is called so"
    owners = {parent.to_user_string() for key in named for parent in graph.get(key).parent_keys}
    return f"is made with {', '.join(sorted(owners)) or 'nothing here'}"


def months_that_exist(order_system: OrderSystem, store: Store, *, reads: bool) -> list[date]:
    """The months that the store has, and the order system if it is to be read; the one of undated rows if none."""
    kept = {month for name in PARTITIONED for month in store.months(CONTRACTS[name])}
    return sorted({*kept, *(order_system.months() if reads else [])}) or [UNDATED]


def job_of(defs: dg.Definitions, keys: Iterable[dg.AssetKey]) -> dg.JobDefinition:
    """The job that makes these tables and audits them; nightly checks have schedules of their own."""
    chosen = set(keys)
    checks = made_with(defs.get_repository_def().asset_graph.get_check_keys_for_assets(chosen))
    return defs.resolve_job_def(FULL_REFRESH).get_subset(asset_selection=chosen, asset_check_selection=checks)


def shrinking_tables(names: Sequence[str], keys: Sequence[dg.AssetKey]) -> list[str]:
    """The addresses of the tables that ``--accept-shrink`` names (``orders`` or ``source/orders``), each once.

    Raises ``SettingsError`` when the order system has no such table, or the run of ``keys`` does not read it: a
    permission that nothing uses is a mistake.
    """
    known = {contract.address for contract in CONTRACTS.values()}
    read = {key.to_user_string() for key in keys}
    chosen: dict[str, None] = {}
    for name in names:
        address = name if "/" in name else f"source/{name}"
        if address not in known:
            listed = ", ".join(sorted(known))
            raise SettingsError(f"--accept-shrink {name}: no table of the order system; there are {listed}")
        if address not in read:
            raise SettingsError(f"--accept-shrink {name}: this run does not read {address}; see --select")
        chosen[address] = None
    return list(chosen)


def partitions_among(instance: dg.DagsterInstance, months: Months) -> Months:
    """From the first to the last of ``months`` that there is. Raises ``SettingsError`` when there is none."""
    found = existing(instance, months)
    if found is None:
        known = known_months(instance)
        raise SettingsError(
            f"--months {months}: there are no orders in it; there are months from {known[0]} to {known[-1]}"
        )
    return found
