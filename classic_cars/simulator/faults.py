"""Faults to practise with: planted in a shop that the simulator made, removed as if they had never been there.

Each is something that happens to order systems. What was planted is remembered in the shop, so that another process
can mend it, days later. Everything is done in the database's own SQL, in one transaction where it has such; MySQL
commits at every change of a table's form, so there the note is written first and mending can be done twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from classic_cars.contracts import order_system as shop
from classic_cars.errors import ShopRefused, SourceMissing
from classic_cars.simulator import database
from classic_cars.simulator.ownership import TABLES, Mark, look, noted, owned
from classic_cars.sources.urls import SourceURL
from classic_cars.stores.base import next_month

#: Numbers of planted orders and lines are so much higher than those they were copied from.
LATE_FROM, ORPHANS_FROM = 2_000_000, 4_000_000
LATE_BY = timedelta(days=120)
RENAMED = ("status", "orderStatus")
AWAY = "_away"


@dataclass(frozen=True)
class Planted:
    """What was planted: how many rows, and between which numbers where that tells them apart."""

    rows: int
    low: int = 0
    high: int = 0


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    #: What happens, for people.
    what: str
    #: Which check or error of the platform is to notice it.
    noticed_by: str
    plant: Callable[[sa.Connection, Mark], Planted]
    mend: Callable[[sa.Connection, int, int], None]


def break_shop(url: str, kind: str) -> tuple[Kind, int]:
    """Plant a fault; the kind and the number of rows that were planted.

    Raises ``ShopRefused`` when the shop was not made by the simulator, or this fault is planted already.
    """
    source = SourceURL.parse(url)
    found = KINDS[kind]
    if not database.exists(source):
        raise SourceMissing(f"{source}: no such file; make a shop with `classic-cars shop create`, or mend its outage")
    with database.transaction(source) as connection:
        mark = owned(source, look(connection))
        noted.create(connection, checkfirst=True)
        if kind in _planted(connection):
            raise ShopRefused(f"{source}: {kind} is planted already; `classic-cars shop mend {kind}` removes it")
        if kind == "outage" and source.is_sqlite:
            planted = Planted(0)
        else:
            connection.execute(noted.insert().values(kind=kind, low=0, high=0))
            planted = found.plant(connection, mark)
            note = sa.update(noted).where(noted.c.kind == kind)
            connection.execute(note.values(low=planted.low, high=planted.high))
    if kind == "outage" and source.is_sqlite:
        source.path.rename(_away(source))
    return found, planted.rows


def mend_shop(url: str, kind: str | None = None) -> list[str]:
    """Remove one fault, or all that are planted; their kinds. Raises ``ShopRefused`` when it is not planted."""
    source = SourceURL.parse(url)
    mended = []
    if source.is_sqlite and kind in (None, "outage") and _away(source).exists():
        if source.path.exists():
            raise ShopRefused(f"{source}: there is another shop by now; {_away(source).name} was left as it is")
        _away(source).rename(source.path)
        mended.append("outage")
        if kind == "outage":
            return mended
    if not database.exists(source):
        raise SourceMissing(f"{source}: no such file; make a shop with `classic-cars shop create`")
    with database.transaction(source) as connection:
        planted = _planted(connection)
        if kind is not None and kind not in planted:
            raise ShopRefused(f"{source}: {kind} is not planted; planted: {', '.join(planted) or 'nothing'}")
        # Tables come back first.
        for each in sorted(planted, key=list(KINDS).index, reverse=True) if kind is None else [kind]:
            KINDS[each].mend(connection, *planted[each])
            connection.execute(sa.delete(noted).where(noted.c.kind == each))
            mended.append(each)
    return mended


def refuse_while_broken(source: SourceURL, connection: sa.Connection) -> None:
    """Raises ``ShopRefused`` while a fault is planted that time cannot pass with."""
    if "drift" in _planted(connection):
        raise ShopRefused(f"{source}: drift is planted, so the shop cannot work; first `classic-cars shop mend drift`")


def _planted(connection: sa.Connection) -> dict[str, tuple[int, int]]:
    if not sa.inspect(connection).has_table(noted.name):
        return {}
    return {kind: (low, high) for kind, low, high in connection.execute(sa.select(noted))}


# The kinds --------------------------------------------------------------------------------------------


def _rename_column(connection: sa.Connection, old: str, new: str) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    if old in {column["name"] for column in sa.inspect(connection).get_columns("orders")}:
        connection.exec_driver_sql(f"ALTER TABLE orders RENAME COLUMN {quote(old)} TO {quote(new)}")


def _drift(connection: sa.Connection, _mark: Mark) -> Planted:
    _rename_column(connection, *RENAMED)
    return Planted(0)


def _mend_drift(connection: sa.Connection, _low: int, _high: int) -> None:
    _rename_column(connection, *reversed(RENAMED))


def _duplicates(connection: sa.Connection, _mark: Mark) -> Planted:
    p = shop.payments.c
    twice = sa.select(p.customerNumber, sa.literal(" ").concat(p.checkNumber), p.paymentDate, p.amount)
    twice = twice.where(p.customerNumber % 10 == 0, ~p.checkNumber.like(" %"))
    return Planted(_inserted(connection, shop.payments, twice))


def _mend_duplicates(connection: sa.Connection, _low: int, _high: int) -> None:
    connection.execute(sa.delete(shop.payments).where(shop.payments.c.checkNumber.like(" %")))


def _orphans(connection: sa.Connection, _mark: Mark) -> Planted:
    d = shop.orderdetails.c
    copies = sa.select(
        (d.orderNumber + ORPHANS_FROM).label("orderNumber"), *[column for column in d if column is not d.orderNumber]
    ).where(d.orderNumber % 10 == 0)
    _foreign_key(connection, enforced=False)
    rows = _inserted(connection, shop.orderdetails, copies)
    if connection.dialect.name in ("mysql", "mariadb"):
        connection.exec_driver_sql("SET SESSION foreign_key_checks = 1")
    return Planted(rows)


def _mend_orphans(connection: sa.Connection, _low: int, _high: int) -> None:
    known = sa.select(shop.orders.c.orderNumber)
    connection.execute(sa.delete(shop.orderdetails).where(shop.orderdetails.c.orderNumber.not_in(known)))
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


def _negatives(connection: sa.Connection, _mark: Mark) -> Planted:
    d = shop.orderdetails.c
    wrong = sa.update(shop.orderdetails).where(d.orderNumber % 10 == 0, d.quantityOrdered > 0)
    return Planted(connection.execute(wrong.values(quantityOrdered=-d.quantityOrdered)).rowcount)


def _mend_negatives(connection: sa.Connection, _low: int, _high: int) -> None:
    d = shop.orderdetails.c
    wrong = sa.update(shop.orderdetails).where(d.quantityOrdered < 0)
    connection.execute(wrong.values(quantityOrdered=-d.quantityOrdered))


def _late(connection: sa.Connection, mark: Mark) -> Planted:
    """Copies of the orders of a month long closed, under new numbers: as good as any, only late."""
    o, d = shop.orders.c, shop.orderdetails.c
    month = (mark.shop_date - LATE_BY).replace(day=1)
    theirs = sa.and_(o.orderDate >= month, o.orderDate < next_month(month), o.orderNumber < LATE_FROM)
    numbers_of = sa.select(sa.func.min(o.orderNumber), sa.func.max(o.orderNumber)).where(theirs)
    low, high = connection.execute(numbers_of).one()
    if low is None:
        raise ShopRefused(f"the shop has no orders in {month:%Y-%m} to come late")
    orders = sa.select((o.orderNumber + LATE_FROM).label("orderNumber"), *[c for c in o if c is not o.orderNumber])
    lines = sa.select((d.orderNumber + LATE_FROM).label("orderNumber"), *[c for c in d if c is not d.orderNumber])
    rows = _inserted(connection, shop.orders, orders.where(theirs))
    numbers = sa.select(o.orderNumber).where(theirs)
    rows += _inserted(connection, shop.orderdetails, lines.where(d.orderNumber.in_(numbers)))
    return Planted(rows, low + LATE_FROM, high + LATE_FROM)


def _mend_late(connection: sa.Connection, low: int, high: int) -> None:
    for table in (shop.orderdetails, shop.orders):
        connection.execute(sa.delete(table).where(table.c.orderNumber.between(low, high)))


def _outage(connection: sa.Connection, _mark: Mark) -> Planted:
    for name in TABLES:
        connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {name}{AWAY}")
    return Planted(0)


def _mend_outage(connection: sa.Connection, _low: int, _high: int) -> None:
    there = set(sa.inspect(connection).get_table_names())
    for name in TABLES:
        if f"{name}{AWAY}" in there:
            connection.exec_driver_sql(f"ALTER TABLE {name}{AWAY} RENAME TO {name}")


def _away(source: SourceURL) -> Path:
    return source.path.with_name(f"{source.path.name}{AWAY}")


def _inserted(connection: sa.Connection, table: sa.Table, rows: sa.Select) -> int:
    # Not the statement's own count: not every driver tells it.
    count = connection.scalar(sa.select(sa.func.count()).select_from(rows.subquery())) or 0
    connection.execute(table.insert().from_select(list(table.columns), rows))
    return count


KINDS = {
    "drift": Kind(
        "orders.status is renamed to orderStatus",
        "source/orders cannot be read: the error names the new column",
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
        "the sensor's ticks, runs that are started all the same, and an alert after ten minutes",
        _outage,
        _mend_outage,
    ),
}
