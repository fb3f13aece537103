"""Faults to practise with: planted in a shop that the simulator made, removed as if they had never been there.

Each is something that happens to order systems. What was planted is remembered in the shop, row by row, so that
another process can mend it, days later, and mends nothing else. Everything is done in the database's own SQL, in one
transaction where it has such; MySQL commits at every change of a table's form, so there the note is written first and
mending can be done twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from classic_cars.contracts import order_system as shop
from classic_cars.errors import ShopRefused, SourceMissing
from classic_cars.months import next_month
from classic_cars.sources.urls import SourceURL
from classic_cars_shop import database
from classic_cars_shop.ownership import TABLES, Mark, look, owned, planted

#: Numbers of planted orders and lines are so much higher than those they were copied from.
LATE_FROM, ORPHANS_FROM = 2_000_000, 4_000_000
LATE_BY = timedelta(days=120)
RENAMED = ("status", "orderStatus")
AWAY = "_away"


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    #: What happens, for people.
    what: str
    #: Which check or error of the platform is to notice it.
    noticed_by: str
    plant: Callable[[sa.Connection, Mark], None]
    mend: Callable[[sa.Connection], None]


def break_shop(url: str, kind: str) -> tuple[Kind, int]:
    """Plant a fault; the kind and the number of rows that were added or changed.

    Raises ``ShopRefused`` when the shop was not made by the simulator, this fault is planted already, or an outage is.
    """
    source = SourceURL.parse(url)
    found = KINDS[kind]
    refuse_during_outage(source)
    if not database.exists(source):
        raise SourceMissing(f"{source}: no such file; make a shop with `classic-cars shop create`")
    with database.transaction(source) as connection:
        refuse_during_outage(source, connection)
        mark = owned(source, look(connection))
        planted.create(connection, checkfirst=True)
        if kind in _kinds(connection):
            raise ShopRefused(f"{source}: {kind} is planted already; `classic-cars shop mend {kind}` removes it")
        if kind == "outage" and source.is_sqlite:
            rows = 0
        else:
            connection.execute(planted.insert().values(kind=kind, number=0, code=""))
            found.plant(connection, mark)
            rows = _planted_rows(connection, kind)
    if kind == "outage" and source.is_sqlite:
        source.path.rename(_away(source))
    return found, rows


def mend_shop(url: str, kind: str | None = None) -> list[str]:
    """Remove one fault, or all that are planted; their kinds. Raises ``ShopRefused`` when it is not planted."""
    source = SourceURL.parse(url)
    mended = []
    if _is_file_away(source):
        if kind not in (None, "outage"):
            refuse_during_outage(source)
        if source.path.exists():
            raise ShopRefused(
                f"{source}: there is another shop by now, and the one of before the outage is {_away(source).name} "
                "beside it; nothing was changed. Move one of them away"
            )
        _away(source).rename(source.path)
        mended.append("outage")
        if kind == "outage":
            return mended
    if not database.exists(source):
        raise SourceMissing(f"{source}: no such file; make a shop with `classic-cars shop create`")
    with database.transaction(source) as connection:
        there = _kinds(connection)
        if kind is not None and kind not in there:
            raise ShopRefused(f"{source}: {kind} is not planted; planted: {', '.join(there) or 'nothing'}")
        if kind not in (None, "outage"):
            refuse_during_outage(source, connection)
        # Tables come back first.
        for each in sorted(there, key=list(KINDS).index, reverse=True) if kind is None else [kind]:
            KINDS[each].mend(connection)
            connection.execute(sa.delete(planted).where(planted.c.kind == each))
            mended.append(each)
    return mended


def refuse_during_outage(source: SourceURL, connection: sa.Connection | None = None) -> None:
    """Raises ``ShopRefused`` while an outage is planted: a file moved away, or, with ``connection``, tables."""
    if _is_file_away(source) or (connection is not None and "outage" in _kinds(connection)):
        raise ShopRefused(f"{source}: an outage is planted; first `classic-cars shop mend outage`")


def refuse_while_drifted(source: SourceURL, connection: sa.Connection) -> None:
    """Raises ``ShopRefused`` while a column is renamed: time cannot pass."""
    if "drift" in _kinds(connection):
        raise ShopRefused(f"{source}: drift is planted, so the shop cannot work; first `classic-cars shop mend drift`")


def _kinds(connection: sa.Connection) -> list[str]:
    if not sa.inspect(connection).has_table(planted.name):
        return []
    return list(connection.scalars(sa.select(planted.c.kind).where(planted.c.number == 0)))


def _planted_rows(connection: sa.Connection, kind: str) -> int:
    rows = sa.select(sa.func.count()).select_from(planted).where(planted.c.kind == kind, planted.c.number != 0)
    return connection.scalar(rows) or 0


def _remember(connection: sa.Connection, keys: sa.Select) -> None:
    """Note rows by (kind, number, code) of ``keys``, before they are added or changed."""
    connection.execute(planted.insert().from_select(list(planted.columns), keys))


def _is_planted(kind: str, number: sa.ColumnElement, code: sa.ColumnElement | None = None) -> sa.ColumnElement[bool]:
    """Whether the row with this key was noted."""
    theirs = [planted.c.kind == kind, planted.c.number == number, planted.c.number != 0]
    return sa.exists().where(*theirs, *([] if code is None else [planted.c.code == code]))


# The kinds --------------------------------------------------------------------------------------------


def _rename_column(connection: sa.Connection, old: str, new: str) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    if old in {column["name"] for column in sa.inspect(connection).get_columns("orders")}:
        connection.exec_driver_sql(f"ALTER TABLE orders RENAME COLUMN {quote(old)} TO {quote(new)}")


def _drift(connection: sa.Connection, _mark: Mark) -> None:
    _rename_column(connection, *RENAMED)


def _mend_drift(connection: sa.Connection) -> None:
    _rename_column(connection, *reversed(RENAMED))


def _duplicates(connection: sa.Connection, _mark: Mark) -> None:
    p = shop.payments.c
    blank_before = sa.literal(" ").concat(p.checkNumber)
    to_double = (p.customerNumber % 10 == 0, ~p.checkNumber.like(" %"), sa.func.length(p.checkNumber) < 50)
    _remember(connection, sa.select(sa.literal("duplicates"), p.customerNumber, blank_before).where(*to_double))
    twice = sa.select(p.customerNumber, blank_before, p.paymentDate, p.amount)
    _insert(connection, shop.payments, twice.where(_is_planted("duplicates", p.customerNumber, blank_before)))


def _mend_duplicates(connection: sa.Connection) -> None:
    p = shop.payments.c
    connection.execute(sa.delete(shop.payments).where(_is_planted("duplicates", p.customerNumber, p.checkNumber)))


def _orphans(connection: sa.Connection, _mark: Mark) -> None:
    d = shop.orderdetails.c
    number = d.orderNumber + ORPHANS_FROM
    _remember(connection, sa.select(sa.literal("orphans"), number, d.productCode).where(d.orderNumber % 10 == 0))
    copies = sa.select(number.label("orderNumber"), *[column for column in d if column is not d.orderNumber])
    _foreign_key(connection, enforced=False)
    _insert(connection, shop.orderdetails, copies.where(_is_planted("orphans", number, d.productCode)))
    if connection.dialect.name in ("mysql", "mariadb"):
        connection.exec_driver_sql("SET SESSION foreign_key_checks = 1")


def _mend_orphans(connection: sa.Connection) -> None:
    d = shop.orderdetails.c
    connection.execute(sa.delete(shop.orderdetails).where(_is_planted("orphans", d.orderNumber, d.productCode)))
    _foreign_key(connection, enforced=True)


def _foreign_key(connection: sa.Connection, *, enforced: bool) -> None:
    """Order lines need an order, or not. SQLite does not ask unless it is told to."""
    if connection.dialect.name in ("mysql", "mariadb"):
        connection.exec_driver_sql(f"SET SESSION foreign_key_checks = {int(enforced)}")
    if connection.dialect.name == "postgresql":
        names = [
            key["name"]
            for key in sa.inspect(connection).get_foreign_keys("orderdetails")
            if key["referred_table"] == "orders"
        ]
        for name in names if not enforced else []:
            connection.exec_driver_sql(f'ALTER TABLE orderdetails DROP CONSTRAINT "{name}"')
        if enforced and not names:
            connection.exec_driver_sql(
                'ALTER TABLE orderdetails ADD FOREIGN KEY ("orderNumber") REFERENCES orders ("orderNumber")'
            )


def _negatives(connection: sa.Connection, _mark: Mark) -> None:
    d = shop.orderdetails.c
    lines = sa.select(sa.literal("negatives"), d.orderNumber, d.productCode)
    _remember(connection, lines.where(d.orderNumber % 10 == 0, d.quantityOrdered > 0))
    _flip(connection, d.quantityOrdered > 0)


def _mend_negatives(connection: sa.Connection) -> None:
    _flip(connection, shop.orderdetails.c.quantityOrdered < 0)


def _flip(connection: sa.Connection, sign: sa.ColumnElement[bool]) -> None:
    d = shop.orderdetails.c
    lines = sa.update(shop.orderdetails).where(sign, _is_planted("negatives", d.orderNumber, d.productCode))
    connection.execute(lines.values(quantityOrdered=-d.quantityOrdered))


def _late(connection: sa.Connection, mark: Mark) -> None:
    """Copies of the orders of a month long closed, under new numbers: as good as any, only late."""
    o = shop.orders.c
    month = (mark.shop_date - LATE_BY).replace(day=1)
    theirs = sa.and_(o.orderDate >= month, o.orderDate < next_month(month), o.orderNumber < LATE_FROM)
    _remember(connection, sa.select(sa.literal("late"), o.orderNumber + LATE_FROM, sa.literal("")).where(theirs))
    if not _planted_rows(connection, "late"):
        raise ShopRefused(f"the shop has no orders in {month:%Y-%m} to come late")
    for table in (shop.orders, shop.orderdetails):
        number = table.c.orderNumber + LATE_FROM
        copies = sa.select(number.label("orderNumber"), *[c for c in table.c if c is not table.c.orderNumber])
        _insert(connection, table, copies.where(_is_planted("late", number)))


def _mend_late(connection: sa.Connection) -> None:
    for table in (shop.orderdetails, shop.orders):
        connection.execute(sa.delete(table).where(_is_planted("late", table.c.orderNumber)))


def _outage(connection: sa.Connection, _mark: Mark) -> None:
    for name in TABLES:
        connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {name}{AWAY}")


def _mend_outage(connection: sa.Connection) -> None:
    there = set(sa.inspect(connection).get_table_names())
    for name in TABLES:
        if f"{name}{AWAY}" in there:
            connection.exec_driver_sql(f"ALTER TABLE {name}{AWAY} RENAME TO {name}")


def _away(source: SourceURL) -> Path:
    return source.path.with_name(f"{source.path.name}{AWAY}")


def _is_file_away(source: SourceURL) -> bool:
    return source.is_sqlite and _away(source).exists()


def _insert(connection: sa.Connection, table: sa.Table, rows: sa.Select) -> None:
    connection.execute(table.insert().from_select(list(table.columns), rows))


KINDS = {
    "drift": Kind(
        "orders.status is renamed to orderStatus",
        "check schema of source/orders, which names the column that is gone and the new one",
        _drift,
        _mend_drift,
    ),
    "duplicates": Kind(
        "payments of every tenth customer are entered twice, the second time with a blank before the cheque's number",
        "check quarantine of staging/payments",
        _duplicates,
        _mend_duplicates,
    ),
    "orphans": Kind(
        "lines of orders that do not exist, copies of every tenth order's",
        "check quarantine of staging/orderdetails",
        _orphans,
        _mend_orphans,
    ),
    "negatives": Kind(
        "negative quantities in the lines of every tenth order",
        "check quarantine of staging/orderdetails",
        _negatives,
        _mend_negatives,
    ),
    "late": Kind(
        "good orders of a month long closed arrive only now",
        "nothing fails: the month is read again",
        _late,
        _mend_late,
    ),
    "outage": Kind(
        "the order system cannot be read: its file, or its tables, are moved away",
        "the sensor's ticks and an alert, within a minute; runs that are started all the same fail",
        _outage,
        _mend_outage,
    ),
}
