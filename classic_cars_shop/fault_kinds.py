"""The kinds of faults: which rows each adds or changes, how it is planted, and how it is removed.

A kind notes its rows by key before it touches any, and from then on knows them by that note: what was planted can be
set aside, planted again and mended, and nothing else changes. When that is done is in ``faults``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from classic_cars.contracts import order_system as shop
from classic_cars.errors import ShopRefused
from classic_cars.months import next_month
from classic_cars_shop.ownership import TABLES, Mark, planted

#: Numbers of planted orders and lines are so much higher than those they were copied from.
LATE_FROM, ORPHANS_FROM = 2_000_000, 4_000_000
LATE_BY = timedelta(days=120)
RENAMED = ("status", "orderStatus")
AWAY = "_away"

#: A cheque's number as it is entered the second time.
_BLANK_BEFORE = sa.literal(" ").concat(shop.payments.c.checkNumber)


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    #: What happens, for people.
    what: str
    #: Which check or error of the platform is to notice it.
    noticed_by: str
    #: Note the rows that will be added or changed.
    note: Callable[[sa.Connection, Mark], None]
    #: Add or change the rows that were noted; undo it.
    plant: Callable[[sa.Connection], None]
    mend: Callable[[sa.Connection], None]


def planted_rows(connection: sa.Connection, kind: str) -> int:
    rows = sa.select(sa.func.count()).select_from(planted).where(planted.c.kind == kind, planted.c.number != 0)
    return connection.scalar(rows) or 0


def _remember(connection: sa.Connection, keys: sa.Select) -> None:
    """Note rows by (kind, number, code) of ``keys``, before they are added or changed."""
    connection.execute(planted.insert().from_select(list(planted.columns), keys))


def _is_planted(kind: str, number: sa.ColumnElement, code: sa.ColumnElement | None = None) -> sa.ColumnElement[bool]:
    """Whether the row with this key was noted."""
    theirs = [planted.c.kind == kind, planted.c.number == number, planted.c.number != 0]
    return sa.exists().where(*theirs, *([] if code is None else [planted.c.code == code]))


def _rename_column(connection: sa.Connection, old: str, new: str) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    if old in {column["name"] for column in sa.inspect(connection).get_columns("orders")}:
        connection.exec_driver_sql(f"ALTER TABLE orders RENAME COLUMN {quote(old)} TO {quote(new)}")


def _nothing(_connection: sa.Connection, _mark: Mark) -> None:
    """No row is added or changed."""


def _drift(connection: sa.Connection) -> None:
    _rename_column(connection, *RENAMED)


def _mend_drift(connection: sa.Connection) -> None:
    _rename_column(connection, *reversed(RENAMED))


def _note_duplicates(connection: sa.Connection, _mark: Mark) -> None:
    p = shop.payments.c
    to_double = (p.customerNumber % 10 == 0, ~p.checkNumber.like(" %"), sa.func.length(p.checkNumber) < 50)
    _remember(connection, sa.select(sa.literal("duplicates"), p.customerNumber, _BLANK_BEFORE).where(*to_double))


def _duplicates(connection: sa.Connection) -> None:
    p = shop.payments.c
    twice = sa.select(p.customerNumber, _BLANK_BEFORE, p.paymentDate, p.amount)
    _insert(connection, shop.payments, twice.where(_is_planted("duplicates", p.customerNumber, _BLANK_BEFORE)))


def _mend_duplicates(connection: sa.Connection) -> None:
    p = shop.payments.c
    connection.execute(sa.delete(shop.payments).where(_is_planted("duplicates", p.customerNumber, p.checkNumber)))


def _note_orphans(connection: sa.Connection, _mark: Mark) -> None:
    d = shop.orderdetails.c
    number = d.orderNumber + ORPHANS_FROM
    _remember(connection, sa.select(sa.literal("orphans"), number, d.productCode).where(d.orderNumber % 10 == 0))


def _orphans(connection: sa.Connection) -> None:
    d = shop.orderdetails.c
    number = d.orderNumber + ORPHANS_FROM
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


def _note_negatives(connection: sa.Connection, _mark: Mark) -> None:
    d = shop.orderdetails.c
    lines = sa.select(sa.literal("negatives"), d.orderNumber, d.productCode)
    _remember(connection, lines.where(d.orderNumber % 10 == 0, d.quantityOrdered > 0))


def _negatives(connection: sa.Connection) -> None:
    _flip(connection, shop.orderdetails.c.quantityOrdered > 0)


def _mend_negatives(connection: sa.Connection) -> None:
    _flip(connection, shop.orderdetails.c.quantityOrdered < 0)


def _flip(connection: sa.Connection, sign: sa.ColumnElement[bool]) -> None:
    d = shop.orderdetails.c
    lines = sa.update(shop.orderdetails).where(sign, _is_planted("negatives", d.orderNumber, d.productCode))
    connection.execute(lines.values(quantityOrdered=-d.quantityOrdered))


def _note_late(connection: sa.Connection, mark: Mark) -> None:
    o = shop.orders.c
    month = (mark.shop_date - LATE_BY).replace(day=1)
    theirs = sa.and_(o.orderDate >= month, o.orderDate < next_month(month), o.orderNumber < LATE_FROM)
    _remember(connection, sa.select(sa.literal("late"), o.orderNumber + LATE_FROM, sa.literal("")).where(theirs))
    if not planted_rows(connection, "late"):
        raise ShopRefused(f"the shop has no orders in {month:%Y-%m} to come late")


def _late(connection: sa.Connection) -> None:
    """Copies of the orders of a month long closed, under new numbers: as good as any, only late."""
    for table in (shop.orders, shop.orderdetails):
        number = table.c.orderNumber + LATE_FROM
        copies = sa.select(number.label("orderNumber"), *[c for c in table.c if c is not table.c.orderNumber])
        _insert(connection, table, copies.where(_is_planted("late", number)))


def _mend_late(connection: sa.Connection) -> None:
    for table in (shop.orderdetails, shop.orders):
        connection.execute(sa.delete(table).where(_is_planted("late", table.c.orderNumber)))


def _outage(connection: sa.Connection) -> None:
    for name in TABLES:
        connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {name}{AWAY}")


def _mend_outage(connection: sa.Connection) -> None:
    there = set(sa.inspect(connection).get_table_names())
    for name in TABLES:
        if f"{name}{AWAY}" in there:
            connection.exec_driver_sql(f"ALTER TABLE {name}{AWAY} RENAME TO {name}")


def _insert(connection: sa.Connection, table: sa.Table, rows: sa.Select) -> None:
    connection.execute(table.insert().from_select(list(table.columns), rows))


KINDS = {
    "drift": Kind(
        "orders.status is renamed to orderStatus",
        "check schema of source/orders, which names the column that is gone and the new one",
        _nothing,
        _drift,
        _mend_drift,
    ),
    "duplicates": Kind(
        "payments of every tenth customer are entered twice, the second time with a blank before the cheque's number",
        "check quarantine of staging/payments",
        _note_duplicates,
        _duplicates,
        _mend_duplicates,
    ),
    "orphans": Kind(
        "lines of orders that do not exist, copies of every tenth order's",
        "check quarantine of staging/orderdetails",
        _note_orphans,
        _orphans,
        _mend_orphans,
    ),
    "negatives": Kind(
        "negative quantities in the lines of every tenth order",
        "check quarantine of staging/orderdetails",
        _note_negatives,
        _negatives,
        _mend_negatives,
    ),
    "late": Kind(
        "good orders of a month long closed arrive only now",
        "nothing fails: the month is read again",
        _note_late,
        _late,
        _mend_late,
    ),
    "outage": Kind(
        "the order system cannot be read: its file, or its tables, are moved away",
        "the sensor's ticks and an alert, within a minute; runs that are started all the same fail",
        _nothing,
        _outage,
        _mend_outage,
    ),
}
