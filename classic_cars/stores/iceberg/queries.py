"""Questions in SQL: the tables that a statement names are shown to it, as they are now or as they were."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from classic_cars.errors import StoreError
from classic_cars.stores.base import AsOf
from classic_cars.stores.iceberg.engines import DuckDBEngine
from classic_cars.stores.sql import named_tables, one_query


def answer(catalog: Catalog, engine: DuckDBEngine, sql: str, as_of: AsOf | None = None) -> pa.RecordBatchReader:
    """The statement's result, in batches. Raises ``StoreError`` for a statement that is wrong or would write."""
    try:
        *before, question = one_query(sql)
        engine.forget()
        _show_tables(catalog, engine, sql, as_of)
        for each in before:
            engine.execute(each)
        return engine.execute(question).to_arrow_reader(65_536)
    except duckdb.Error as error:
        raise StoreError(str(error)) from None


def all_tables(catalog: Catalog) -> list[tuple[str, str]]:
    found = []
    for namespace in catalog.list_namespaces():
        try:
            found += [(".".join(each[:-1]), each[-1]) for each in catalog.list_tables(namespace)]
        except NoSuchNamespaceError:
            continue  # dropped meanwhile
    return sorted(found)


def _show_tables(catalog: Catalog, engine: DuckDBEngine, sql: str, as_of: AsOf | None) -> None:
    """Make views of the tables that the statement names; of all when it names none (``SHOW TABLES``)."""
    named = named_tables(sql)
    tables = {
        (layer, name): catalog.load_table((layer, name))
        for layer, name in all_tables(catalog)
        if not named or name in named or isinstance(as_of, int)
    }
    moment = _moment(tables, as_of)
    for (layer, name), table in tables.items():
        snapshot = _snapshot_of(table, as_of, moment)
        if snapshot is None or (named and name not in named):
            continue
        schema = table.schemas()[snapshot.schema_id] if snapshot.schema_id is not None else table.schema()
        tasks = table.scan(snapshot_id=snapshot.snapshot_id).plan_files()
        engine.view(layer, name, [task.file.file_path for task in tasks], schema, None)


def _moment(tables: dict[tuple[str, str], Table], as_of: AsOf | None) -> datetime | None:
    """The moment that ``as_of`` means. Raises ``StoreError`` for a snapshot that no table has."""
    if as_of is None or isinstance(as_of, datetime):
        return as_of
    for table in tables.values():
        snapshot = table.snapshot_by_id(as_of)
        if snapshot is not None:
            return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
    raise StoreError(f"no table has a snapshot {as_of}; `classic-cars lake history TABLE` lists them")


def _snapshot_of(table: Table, as_of: AsOf | None, moment: datetime | None) -> Snapshot | None:
    """The table's version then; None when it was not published yet."""
    if moment is None:
        return table.current_snapshot()
    if isinstance(as_of, int) and (found := table.snapshot_by_id(as_of)) is not None:
        return found
    return table.snapshot_as_of_timestamp(round(moment.timestamp() * 1000))
