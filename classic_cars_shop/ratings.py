"""Ratings that customers give to products that reached them, dropped as files as a partner would drop them.

One file a day at most, of one of the formats that partners use. What is in it follows from the shop and its seed;
chance of its own keeps the rest of the shop's days as they are without ratings.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from classic_cars.contracts import order_system as shop
from classic_cars_shop.randomness import stream

#: A product is rated so many days after its order was shipped.
RATED_AFTER = (3, 12)
#: Ratings on one day at most.
MOST = 8
#: How often each number of stars is given, of a hundred ratings: most are content.
STARS = [5] * 42 + [4] * 33 + [3] * 14 + [2] * 7 + [1] * 4
#: The format of a day's file, by the last digit of its day.
FORMATS = ["csv", "jsonl", "jsonl", "jsonl", "jsonl.gz", "parquet", "jsonl", "jsonl", "csv.gz", "jsonl"]

COLUMNS = ("customerNumber", "productCode", "productRating", "ratedAt", "ingestedAt")


@dataclass(frozen=True)
class Drop:
    """A file to be dropped at the landing zone."""

    name: str
    data: bytes
    ratings: int


def todays_drop(connection: sa.Connection, seed: int, today: date) -> Drop | None:
    """The file of ratings that arrives today; None when nobody rates anything."""
    rng = stream(seed, "ratings", today.toordinal())
    rows = []
    for customer, product in _delivered(connection, today, int(rng.integers(0, MOST + 1)), rng):
        rated = datetime.combine(today, time()) + timedelta(seconds=int(rng.integers(6 * 3600, 22 * 3600)))
        arrived = rated + timedelta(seconds=int(rng.integers(1, 3600)))
        stars = STARS[int(rng.integers(0, len(STARS)))]
        rows.append((customer, product, stars, f"{rated.isoformat()}Z", f"{arrived.isoformat()}Z"))
    if not rows:
        return None
    kind = FORMATS[today.day % 10]
    return Drop(f"ratings-{today}.{kind}", written(rows, kind), len(rows))


def _delivered(connection: sa.Connection, today: date, count: int, rng: Any) -> list[tuple[int, str]]:
    """Customers and products of orders that were shipped lately, ``count`` of them at most."""
    o, d = shop.orders.c, shop.orderdetails.c
    first, last = (today - timedelta(days=days) for days in reversed(RATED_AFTER))
    shipped = o.shippedDate.between(first, last)
    orders = sa.select(o.orderNumber, o.customerNumber).where(shipped).order_by(o.orderNumber)
    known = connection.scalar(sa.select(sa.func.count()).select_from(shop.orders).where(shipped)) or 0
    found = []
    for place in rng.integers(0, max(known, 1), count if known else 0).tolist():
        number, customer = connection.execute(orders.offset(place).limit(1)).one()
        lines = sa.select(d.productCode).where(d.orderNumber == number).order_by(d.orderLineNumber)
        products = list(connection.scalars(lines))
        choice = int(rng.integers(0, 2**31))
        if products:
            found.append((customer, products[choice % len(products)]))
    return list(dict.fromkeys(found))


def written(rows: list[tuple], kind: str) -> bytes:
    """The rows as a file of this kind; the same bytes every time."""
    format_, _, packed = kind.partition(".")
    if format_ == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        data = text.getvalue().encode()
    elif format_ == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.table([list(column) for column in zip(*rows, strict=True)], names=list(COLUMNS)), buffer)
        data = buffer.getvalue()
    else:
        data = "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows).encode()
    return gzip.compress(data, mtime=0) if packed else data
