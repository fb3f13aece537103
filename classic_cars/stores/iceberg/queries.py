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
from classic_cars.stores.iceberg import history
from classic_cars.stores.iceberg.engines import DuckDBEngine
from classic_cars.stores.iceberg.failures import clear_errors
from classic_cars.stores.missing import of_no_table, what_is_wrong
from classic_cars.stores.sql import named_tables, one_query


def answer(catalog: Catalog, engine: DuckDBEngine, sql: str, as_of: AsOf | None = None) -> pa.RecordBatchReader:
    """The statement's result, in batches. Raises ``StoreError`` for a statement that is wrong or would write, or asks
    for a version that was expired.
    """
    lacking: list[str] = []
    try:
        statements = one_query(sql)
        with engine.turn:
            engine.forget()
            lacking += _show_tables(catalog, engine, sql, as_of)
            with clear_errors(engine.lake):
                return engine.backend.answer(statements)
    except duckdb.CatalogException as error:
        wrong = what_is_wrong(sql, error, lambda: ["/".join(each) for each in all_tables(catalog)])
        raise StoreError("; ".join([*lacking, *([] if lacking and of_no_table(error) else [wrong])])) from None
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


def _show_tables(catalog: Catalog, engine: DuckDBEngine, sql: str, as_of: AsOf | None) -> list[str]:
    """Make views of the tables that the statement names; of all when it names none (``SHOW TABLES``).

    Says which have none: their version of that moment was expired, or there was none yet.
    """
    named = named_tables(sql)
    tables = {
        (layer, name): catalog.load_table((layer, name))
        for layer, name in all_tables(catalog)
        if not named or name.casefold() in named or isinstance(as_of, int)
    }
    moment, lacking = _moment(tables, as_of), []
    for (layer, name), table in tables.items():
        if named and name.casefold() not in named:
            continue
        try:
            snapshot = _snapshot_of(table, as_of, moment)
        except LookupError:
            lacking.append(
                f"{layer}/{name}: its version of {moment:%Y-%m-%d %H:%M:%S %Z} was expired by maintenance; "
                f"`classic-cars lake history {layer}/{name}` lists those that are kept"
            )
            continue
        if snapshot is None:
            if moment is not None:
                lacking.append(f"{layer}/{name}: nothing of it was published by {moment:%Y-%m-%d %H:%M:%S %Z}")
            continue
        schema = table.schemas()[snapshot.schema_id] if snapshot.schema_id is not None else table.schema()
        tasks = table.scan(snapshot_id=snapshot.snapshot_id).plan_files()
        engine.view(layer, name, [task.file.file_path for task in tasks], schema, None)
    return lacking


def _moment(tables: dict[tuple[str, str], Table], as_of: AsOf | None) -> datetime | None:
    """The moment that ``as_of`` means. Raises ``StoreError`` for a snapshot that no table has."""
    if as_of is None or isinstance(as_of, datetime):
        return as_of.astimezone(UTC) if as_of is not None else None
    for table in tables.values():
        snapshot = table.snapshot_by_id(as_of)
        if snapshot is not None:
            return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
    raise StoreError(f"no table has a snapshot {as_of}; `classic-cars lake history TABLE` lists them")


def _snapshot_of(table: Table, as_of: AsOf | None, moment: datetime | None) -> Snapshot | None:
    """The table's version then; None when it was not published yet. Raises ``LookupError`` when it was expired."""
    if moment is None:
        return table.current_snapshot()
    if isinstance(as_of, int) and (found := table.snapshot_by_id(as_of)) is not None:
        return found
    return history.at(table, moment)
