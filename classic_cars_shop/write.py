"""A whole shop into a database, all or nothing: create the tables, fill them, mark them, put them in place.

SQLite and PostgreSQL do it in one transaction. A SQLite file that is not there yet gets its name when it is whole.
MySQL and MariaDB cannot undo CREATE and DROP, so the new shop is built beside the old one under names that begin with
``classic_cars_shop_new_``, and then all tables are renamed in one atomic statement. Where the rows come from is the
caller's concern.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import sqlalchemy as sa

from classic_cars.contracts import order_system
from classic_cars.errors import ShopRefused, SourceMissing
from classic_cars.sources.urls import SourceURL
from classic_cars_shop import bulk, database
from classic_cars_shop.faults import refuse_during_outage
from classic_cars_shop.ownership import (
    TABLES,
    Mark,
    Present,
    look,
    marker,
    planted,
    refuse_to_overwrite,
    write_mark,
)

NEW, OLD = "classic_cars_shop_new_", "classic_cars_shop_old_"

#: Where a database has one name once, it is ours.
DATE_INDEX = "classic_cars_shop_order_date"

#: PostgreSQL's state when a table cannot be dropped because of a view, for example.
SOMETHING_DEPENDS_ON_IT = "2BP01"

#: Batches of a table's rows, by the table's name.
Rows = Callable[[str], Iterable[pa.RecordBatch]]


def write_shop(
    url: SourceURL, rows: Rows, mark: Callable[[], Mark], *, replace: bool, written: bulk.Written
) -> dict[str, int]:
    """Makes the eight tables with ``rows``; returns the rows per table. On any failure all is as it was.

    ``mark`` is asked once all rows are read. Raises ``ShopRefused`` when tables are in the
    way, or an outage is planted.
    """
    refuse_during_outage(url)
    if not database.exists(url):
        return _write_new_file(url, rows, mark, written)
    with database.transaction(url) as connection:
        refuse_during_outage(url, connection)
        present = look(connection)
        refuse_to_overwrite(url, connection, present, replace)
        build = _build_beside if connection.dialect.name in ("mysql", "mariadb") else _build_in_place
        return build(connection, present, rows, mark, written)


def _write_new_file(url: SourceURL, rows: Rows, mark: Callable[[], Mark], written: bulk.Written) -> dict[str, int]:
    """Under another name until it is whole: a kill leaves no half shop, and of two at once one is refused."""
    place = url.path.resolve()
    _make_folder(url, place.parent)
    _remove(*_beside(place))
    unfinished = place.with_name(f"{place.name}_new_{uuid4().hex[:8]}")
    try:
        with database.transaction(url, unfinished) as connection:
            counts = _build_in_place(connection, look(connection), rows, mark, written)
        _put_in_place(url, unfinished, place)
    finally:
        _remove(unfinished, *_beside(unfinished))
    return counts


def _make_folder(url: SourceURL, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceMissing(f"{url}: the folder cannot be made: {error.strerror}; choose another path") from None


def _beside(file: Path) -> list[Path]:
    """What SQLite keeps beside a file; of a file that is gone it would be taken for the next one's."""
    return [file.with_name(f"{file.name}-{kind}") for kind in ("journal", "wal", "shm")]


def _remove(*files: Path) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _put_in_place(url: SourceURL, file: Path, place: Path) -> None:
    """Raises ``ShopRefused`` when there is a file at ``place`` by now, which stays as it is."""
    try:
        os.link(file, place)
        return
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        if not place.exists():
            file.rename(place)
            return
    raise ShopRefused(
        f"{url}: another process made this file meanwhile; nothing was changed. Use what is there, or name another "
        "database in CLASSIC_CARS_SOURCE_URL"
    )


def _build_in_place(
    connection: sa.Connection, present: Present, rows: Rows, mark: Callable[[], Mark], written: bulk.Written
) -> dict[str, int]:
    names = [*TABLES, marker.name, planted.name] if present.mark else list(TABLES)
    _drop(connection, names)
    late_keys = connection.dialect.name == "postgresql"
    tables = shop_tables(foreign_keys=not late_keys)
    tables.create_all(connection, checkfirst=False)
    counts = _fill(connection, tables, "", rows, written)
    if late_keys:
        # Checking three million lines in one join takes seconds; line by line it takes minutes.
        _add_foreign_keys(connection)
    write_mark(connection, tables.tables[marker.name], mark())
    return counts


def _build_beside(
    connection: sa.Connection, present: Present, rows: Rows, mark: Callable[[], Mark], written: bulk.Written
) -> dict[str, int]:
    names = [*TABLES, marker.name]
    connection.exec_driver_sql("SET SESSION foreign_key_checks = 0, unique_checks = 0")
    _drop(connection, [prefix + name for prefix in (NEW, OLD) for name in names])
    try:
        tables = shop_tables(prefix=NEW)
        tables.create_all(connection, checkfirst=False)
        counts = _fill(connection, tables, NEW, rows, written)
        write_mark(connection, tables.tables[NEW + marker.name], mark())
        # Only with these checks on do foreign keys follow a table that is renamed.
        connection.exec_driver_sql("SET SESSION foreign_key_checks = 1, unique_checks = 1")
        old = [name for name in names if name in present.tables or (name == marker.name and present.mark)]
        moves = [(name, OLD + name) for name in old] + [(NEW + name, name) for name in names]
        connection.exec_driver_sql("RENAME TABLE " + ", ".join(f"`{a}` TO `{b}`" for a, b in moves))
    except BaseException:
        with suppress(sa.exc.DBAPIError):
            _drop(connection, [NEW + name for name in names])
        raise
    _drop(connection, [*(OLD + name for name in names), planted.name])
    return counts


def _fill(
    connection: sa.Connection, tables: sa.MetaData, prefix: str, rows: Rows, written: bulk.Written
) -> dict[str, int]:
    def tell(name: str, count: int) -> None:
        written(name.removeprefix(prefix), count)

    return {name: bulk.insert(connection, tables.tables[prefix + name], rows(name), tell) for name in TABLES}


def shop_tables(prefix: str = "", foreign_keys: bool = True) -> sa.MetaData:
    """The eight tables and the marker, as the order system declares them, under names that begin with ``prefix``.

    Orders have an index on their date, as those of a real shop have.
    """
    tables = sa.MetaData()
    for table in (*order_system.metadata.sorted_tables, marker):
        sa.Table(
            prefix + table.name,
            tables,
            *(_same_column(column, prefix, foreign_keys) for column in table.columns),
            *([sa.Index(DATE_INDEX, "orderDate")] if table.name == order_system.orders.name else []),
            comment=table.comment,
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
        )
    return tables


def _same_column(column: sa.Column, prefix: str, foreign_keys: bool) -> sa.Column:
    keys = [sa.ForeignKey(prefix + key.target_fullname) for key in column.foreign_keys] if foreign_keys else []
    return sa.Column(
        column.name,
        column.type,
        *keys,
        primary_key=column.primary_key,
        nullable=column.nullable,
        autoincrement=False,
        comment=column.comment,
    )


def _add_foreign_keys(connection: sa.Connection) -> None:
    for table in shop_tables().sorted_tables:
        for key in sorted(table.foreign_key_constraints, key=lambda each: list(each.column_keys)):
            connection.execute(sa.schema.AddConstraint(key))


def _drop(connection: sa.Connection, names: Iterable[str]) -> None:
    """Children first; never what depends on them."""
    for name in reversed(list(names)):
        table = sa.Table(name, sa.MetaData())
        try:
            connection.execute(sa.schema.DropTable(table, if_exists=True))
        except sa.exc.DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != SOMETHING_DEPENDS_ON_IT:
                raise
            raise ShopRefused(
                f"{name}: found views or other objects that depend on it; nothing was changed. Drop those first, "
                "or use another database"
            ) from None
