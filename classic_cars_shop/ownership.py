"""Whose tables are they? The simulator marks what it made, and touches nothing else.

The mark is one row in the table ``classic_cars_shop`` beside the eight tables of the order system. It also
keeps the shop's current day, from which time passes on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import sqlalchemy as sa

from classic_cars.contracts import order_system
from classic_cars.errors import ShopRefused
from classic_cars.sources.urls import SourceURL
from classic_cars.wording import counted

FORMAT = 1
TABLES = tuple(table.name for table in order_system.metadata.sorted_tables)

marker = sa.Table(
    "classic_cars_shop",
    sa.MetaData(),
    sa.Column("formatVersion", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("madeBy", sa.String(20), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("scale", sa.String(40), nullable=False),
    sa.Column("shopDate", sa.Date, nullable=False),
    sa.Column("createdAt", sa.String(40), nullable=False),
    sa.Column("tablesMade", sa.String(1000), nullable=False),
    comment="Written by the simulator of Classic Cars, which made the tables named here",
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)

#: Faults that were planted and what each added or changed: (kind, 0, "") for the fault itself, the key for each row.
planted = sa.Table(
    "classic_cars_planted",
    sa.MetaData(),
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("code", sa.String(50), primary_key=True),
    comment="Faults that the simulator of Classic Cars planted, to be mended by it",
    mysql_engine="InnoDB",
    mysql_charset="utf8mb4",
)


@dataclass(frozen=True)
class Mark:
    """What the simulator wrote down about a shop when it made it, and the shop's current day."""

    made_by: str
    seed: int
    scale: str
    shop_date: date
    created_at: str
    tables: tuple[str, ...] = TABLES

    @classmethod
    def now(cls, made_by: str, seed: int, scale: str, shop_date: date) -> Mark:
        return cls(made_by, seed, scale, shop_date, datetime.now(UTC).isoformat(timespec="seconds"))

    def __str__(self) -> str:
        size = f", scale {self.scale}, seed {self.seed}" if self.made_by == "create" else ""
        return f"shop {self.made_by}{size} on {self.created_at[:10]}, now at {self.shop_date}"


@dataclass(frozen=True)
class Present:
    """What is in a database under the order system's names."""

    mark: Mark | None
    tables: tuple[str, ...]
    views: tuple[str, ...]
    marker_name_taken: bool

    @property
    def foreign(self) -> tuple[str, ...]:
        """Tables that nobody marked as the simulator's."""
        mine = self.mark.tables if self.mark else ()
        return tuple(name for name in self.tables if name not in mine)


def look(connection: sa.Connection) -> Present:
    """What is there already under the names that a shop needs."""
    inspector = sa.inspect(connection)
    fold = str.lower if connection.dialect.name == "sqlite" else str
    tables = {fold(name) for name in inspector.get_table_names()}
    views = {fold(name) for name in inspector.get_view_names()}
    mark = None
    if marker.name in tables and {c["name"] for c in inspector.get_columns(marker.name)} >= set(marker.columns.keys()):
        mark = _read(connection)
    return Present(
        mark=mark,
        tables=tuple(name for name in TABLES if name in tables),
        views=tuple(name for name in (*TABLES, marker.name) if name in views),
        marker_name_taken=marker.name in tables and mark is None,
    )


def _read(connection: sa.Connection) -> Mark | None:
    row = connection.execute(sa.select(marker)).one_or_none()
    if row is None or row.formatVersion != FORMAT:
        return None
    return Mark(row.madeBy, row.seed, row.scale, row.shopDate, row.createdAt, tuple(json.loads(row.tablesMade)))


def write_mark(connection: sa.Connection, table: sa.Table, mark: Mark) -> None:
    """``table`` is :data:`marker`, or its stand-in while the shop is built elsewhere."""
    connection.execute(
        sa.insert(table).values(
            formatVersion=FORMAT,
            madeBy=mark.made_by,
            seed=mark.seed,
            scale=mark.scale,
            shopDate=mark.shop_date,
            createdAt=mark.created_at,
            tablesMade=json.dumps(mark.tables),
        )
    )


def move_mark(connection: sa.Connection, mark: Mark, day: date) -> Mark:
    """The shop's current day is now ``day``."""
    connection.execute(sa.update(marker).values(shopDate=day))
    return replace(mark, shop_date=day)


def row_counts(connection: sa.Connection, tables: tuple[str, ...]) -> list[tuple[str, int]]:
    """Rows of each table, in the given order."""
    known = order_system.metadata.tables
    return [(name, connection.scalar(sa.select(sa.func.count()).select_from(known[name])) or 0) for name in tables]


def refuse_to_overwrite(url: SourceURL, connection: sa.Connection, present: Present, replace: bool) -> None:
    """Raises ``ShopRefused`` unless the eight names are free, or may be replaced."""
    if present.views or present.marker_name_taken:
        taken = ", ".join(present.views or (marker.name,))
        kind = "views" if present.views else "a table that the simulator did not make"
        raise ShopRefused(f"{url}: {taken}: found {kind}; rename them, or use another database")
    if present.tables and not replace:
        rows = ", ".join(f"{name} ({counted(count, 'row')})" for name, count in row_counts(connection, present.tables))
        made = f"made by the simulator ({present.mark})" if present.mark else "not made by the simulator"
        if present.mark and present.foreign:
            made += f", except {', '.join(present.foreign)}"
        raise ShopRefused(
            f"{url}: found {rows}, {made}; nothing was changed. To delete these tables and create them again, "
            "use --replace; to keep them, name another database in CLASSIC_CARS_SOURCE_URL"
        )
    if references := _references_from_outside(connection):
        raise ShopRefused(
            f"{url}: {', '.join(references)}: found foreign keys of tables that are not the shop's to tables that "
            "would be deleted; nothing was changed. Drop those foreign keys first, or use another database"
        )


def owned(url: SourceURL, present: Present) -> Mark:
    """The mark of a whole shop that the simulator made; raises ``ShopRefused`` if it is anything else."""
    if present.mark is None:
        found = f"found {', '.join(present.tables)}, not made by the simulator" if present.tables else "found no shop"
        raise ShopRefused(
            f"{url}: {found}; time passes only in a shop made with `classic-cars shop create` or "
            "`classic-cars shop load`"
        )
    missing = [name for name in TABLES if name not in present.tables or name in present.foreign]
    if missing:
        raise ShopRefused(f"{url}: {', '.join(missing)}: missing, or not made by the simulator; create the shop again")
    return present.mark


def _references_from_outside(connection: sa.Connection) -> list[str]:
    """Tables other than the eight whose foreign keys point to one of them."""
    match connection.dialect.name:
        case "sqlite":
            return _references_in_sqlite(connection)
        case "postgresql":
            query = (
                "SELECT DISTINCT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' "
                "AND confrelid IN (SELECT to_regclass(name)::oid FROM unnest(CAST(:tables AS text[])) name) "
                "AND conrelid NOT IN (SELECT coalesce(to_regclass(name)::oid, 0) "
                "FROM unnest(CAST(:tables AS text[])) name) ORDER BY 1"
            )
            return list(connection.scalars(sa.text(query), {"tables": list(TABLES)}))
        case _:
            usage = (
                "SELECT DISTINCT table_schema, table_name FROM information_schema.key_column_usage "
                "WHERE referenced_table_schema = database() AND referenced_table_name IN :tables "
                "AND NOT (table_schema = database() AND table_name IN :tables) ORDER BY 1, 2"
            )
            statement = sa.text(usage).bindparams(sa.bindparam("tables", expanding=True))
            return [f"{schema}.{name}" for schema, name in connection.execute(statement, {"tables": TABLES})]


def _references_in_sqlite(connection: sa.Connection) -> list[str]:
    inspector = sa.inspect(connection)
    return [
        name
        for name in inspector.get_table_names()
        if name.lower() not in TABLES
        and any(key["referred_table"].lower() in TABLES for key in inspector.get_foreign_keys(name))
    ]
