"""A table's history: its versions and who made them, what differs between two, and the way back to one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.stores.base import Difference, TableVersion
from classic_cars.stores.iceberg import commit, tables
from classic_cars.stores.iceberg.changes import PREFIX
from classic_cars.stores.iceberg.engines import DuckDBEngine
from classic_cars.stores.sql import literal, quoted


def versions(table: Table) -> list[TableVersion]:
    """The table's snapshots, newest first."""
    current = table.current_snapshot()
    return [
        _version(each, current=current is not None and each.snapshot_id == current.snapshot_id)
        for each in sorted(table.snapshots(), key=lambda each: each.sequence_number or 0, reverse=True)
    ]


def _version(snapshot: Snapshot, *, current: bool) -> TableVersion:
    facts = snapshot.summary.additional_properties if snapshot.summary is not None else {}
    return TableVersion(
        number=snapshot.snapshot_id,
        published=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
        rows=int(facts.get("total-records", 0)),
        rows_written=int(facts.get("added-records", 0)),
        run_id=facts.get(f"{PREFIX}run_id", ""),
        contract_version=facts.get(f"{PREFIX}contract_version", ""),
        code_version=facts.get(f"{PREFIX}code_version", ""),
        current=current,
    )


def snapshot(table: Table, contract: Contract, number: int) -> Snapshot:
    """The snapshot of that number. Raises ``StoreError`` that says how to find one."""
    found = table.snapshot_by_id(number)
    if found is None:
        raise StoreError(
            f"{contract.address}: no version {number}; `classic-cars lake history {contract.address}` lists them"
        )
    return found


def at(table: Table, moment: datetime) -> Snapshot | None:
    """The version that was current then; None when there was none yet. Raises ``LookupError`` when it was expired."""
    log, then = table.history(), round(moment.timestamp() * 1000)
    place = max((number for number, each in enumerate(log, 1) if each.timestamp_ms <= then), default=0)
    found = table.snapshot_by_id(log[place - 1].snapshot_id) if place else None
    after = table.snapshot_by_id(log[place].snapshot_id) if place < len(log) else None
    if (place and found is None) or (after is not None and not _follows(table, after, found)):
        raise LookupError(moment)
    return found


def _follows(table: Table, after: Snapshot, found: Snapshot | None) -> bool:
    """Whether no version was current between the two: one that is expired is in no list of the table's any more."""
    number = after.sequence_number or 0
    if found is None:
        return number <= 1
    if number <= (found.sequence_number or 0):  # rolled back: what was published in between has higher numbers
        known = {each.sequence_number for each in table.snapshots()}
        return known >= {*range(number, getattr(table.metadata, "last_sequence_number", 0) + 1)}
    parent: Snapshot | None = after
    while parent is not None and parent.parent_snapshot_id != found.snapshot_id:
        parent = table.snapshot_by_id(parent.parent_snapshot_id) if parent.parent_snapshot_id is not None else None
    return parent is not None


def difference(
    engine: DuckDBEngine, table: Table, contract: Contract, old: int, new: int, at_most: int = 5
) -> Difference:
    """Rows added, removed and changed by key between two versions.

    Files that both versions share hold the same rows and are not read. Raises ``StoreError`` when the two have
    not the same columns of the contract.
    """
    sides = [snapshot(table, contract, number) for number in (old, new)]
    files = [set(tables.files_of(table, contract, snapshot=each)) for each in sides]
    only = [
        sorted(each.file_path for each in files[0] - files[1]),
        sorted(each.file_path for each in files[1] - files[0]),
    ]
    names = ("of the old version only", "of the new version only")
    for name, paths, side in zip(names, only, sides, strict=True):
        engine.view(contract.layer, f"{contract.name} {name}", paths, _schema_of(table, side), None)
    before, after = (f"{quoted(contract.layer)}.{quoted(f'{contract.name} {name}')}" for name in names)
    schemas = [_schema_of(table, side) for side in sides]
    was, now = ({each.name: each.field_id for each in schema.fields} for schema in schemas)
    shared = [name for name in contract.types.names if name in was and was[name] == now.get(name)]
    if not contract.key or not set(contract.key) <= set(shared):
        raise StoreError(
            f"{contract.address}: rows are compared by key ({', '.join(contract.key) or 'it has none'}), "
            "which both versions must have"
        )
    found = _compared(engine, contract, before, after, shared, at_most)
    return replace(found, columns={"added": _beyond(*reversed(schemas)), "removed": _beyond(*schemas)})


def _beyond(one: Schema, other: Schema) -> list[str]:
    """The columns that the other schema does not have; nor has it one of another type that only has the name."""
    known = {field.field_id for field in other.fields}
    return [f"{field.name} ({field.field_type})" for field in one.fields if field.field_id not in known]


def _compared(
    engine: DuckDBEngine, contract: Contract, before: str, after: str, columns: list[str], at_most: int
) -> Difference:
    key = [quoted(name) for name in contract.key]
    same_key = " AND ".join(f"b.{name} IS NOT DISTINCT FROM a.{name}" for name in key)
    values = [quoted(name) for name in columns if name not in contract.key]
    changed = " OR ".join(f"b.{name} IS DISTINCT FROM a.{name}" for name in values) or "false"
    kinds = (
        f"CASE WHEN b.{key[0]} IS NULL THEN 'added' WHEN a.{key[0]} IS NULL THEN 'removed' "
        f"WHEN {changed} THEN 'changed' END"
    )
    shown = ", ".join(f"coalesce(a.{name}, b.{name}) AS {name}" for name in key)
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE differences AS SELECT {kinds} AS kind, {shown} "
        f"FROM {before} AS b FULL JOIN {after} AS a ON {same_key} WHERE {kinds} IS NOT NULL"
    )
    counts: dict[str, int] = dict(
        engine.execute("SELECT kind, count(*) FROM temp.differences GROUP BY kind").fetchall()
    )
    samples: dict[str, list[dict[str, Any]]] = {}
    columns_shown = [name for name in contract.sample_columns if name in contract.key]
    for kind in counts:
        if columns_shown:
            listed = ", ".join(map(quoted, columns_shown))
            rows = engine.execute(
                f"SELECT {listed} FROM temp.differences WHERE kind = {literal(kind)} ORDER BY ALL LIMIT {at_most}"
            ).fetchall()
            samples[kind] = [dict(zip(columns_shown, row, strict=True)) for row in rows]
    engine.execute("DROP TABLE temp.differences")
    return Difference(counts.get("added", 0), counts.get("removed", 0), counts.get("changed", 0), samples)


def _schema_of(table: Table, side: Snapshot) -> Schema:
    return table.schemas()[side.schema_id] if side.schema_id is not None else table.schema()


def roll_back(table: Table, contract: Contract, number: int, wait: float) -> None:
    """Make an earlier version the current one, in one commit; every version stays in the history.

    Raises ``StoreError`` for one with columns that the table has no more, and ``StoreConflict`` when others keep
    publishing.
    """

    def attempt() -> None:
        _must_have_its_columns(table.refresh(), contract, number)
        table.manage_snapshots().set_current_snapshot(snapshot_id=number).commit()

    commit.commit_with_retries(contract.address, wait, attempt)


def _must_have_its_columns(table: Table, contract: Contract, number: int) -> None:
    """Rows are read by the table's columns: those of others would be gone, or NULL in every row."""
    if gone := _beyond(_schema_of(table, snapshot(table, contract, number)), table.schema()):
        raise StoreError(
            f"{contract.address}: version {number} has columns that the table has no more, and cannot be published "
            f"again: {', '.join(gone)}; it can be read: `classic-cars query --as-of {number}`. To have such columns "
            "again, go back to the code that has them and `classic-cars run --full`"
        )
