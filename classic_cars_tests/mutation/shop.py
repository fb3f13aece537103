"""A tiny shop with every quirk, published once: what mutants are planted in.

Small enough that a table takes a fraction of a second, and so full of exceptions that no bug changes nothing by luck:
places that share a postal code, customers without one, cancelled orders, orders around New Year, missing members,
values that do not fit, texts to trim, ratings and stock counts that are superseded.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from datetime import date
from pathlib import Path
from typing import Any

from classic_cars.months import Months
from classic_cars_shop import api as simulator

UNTIL = date(2004, 1, 20)
MONTHS = Months(date(2003, 1, 1), date(2004, 1, 1))

QUIRKS = (
    "UPDATE orders SET status = 'Cancelled' WHERE orderNumber IN (10103, 10110, 10120, 10128)",
    "UPDATE orders SET status = 'On Hold', shippedDate = NULL WHERE orderNumber IN (10105, 10112)",
    "UPDATE orders SET status = 'Resolved' WHERE orderNumber = 10107",
    "UPDATE orders SET status = 'Disputed' WHERE orderNumber = 10108",
    "UPDATE orders SET status = 'SHIPPED' WHERE orderNumber = 10109",
    "UPDATE orders SET comments = 'Asked for a call; has paid' WHERE orderNumber IN (10101, 10104, 10111)",
    "UPDATE orders SET customerNumber = NULL WHERE orderNumber = 10113",
    "UPDATE orders SET customerNumber = 9999 WHERE orderNumber = 10114",
    # Around New Year: ISO weeks belong to another year than their days.
    "UPDATE orders SET orderDate = '2003-12-31' WHERE orderNumber = (SELECT max(orderNumber) FROM orders "
    "WHERE orderDate LIKE '2003-12-%')",
    "UPDATE orders SET orderDate = '2004-01-01' WHERE orderNumber = (SELECT min(orderNumber) FROM orders "
    "WHERE orderDate LIKE '2004-01-%')",
    "UPDATE orderdetails SET quantityOrdered = 0 WHERE orderNumber = 10111 AND productCode = (SELECT min(productCode) "
    "FROM orderdetails WHERE orderNumber = 10111)",
    "UPDATE orderdetails SET productCode = 'S99_9999' WHERE orderNumber = 10115 AND productCode = (SELECT "
    "min(productCode) FROM orderdetails WHERE orderNumber = 10115)",
    "UPDATE payments SET paymentDate = 'soon' WHERE checkNumber = (SELECT min(checkNumber) FROM payments)",
    "UPDATE payments SET customerNumber = 8888 WHERE checkNumber = (SELECT max(checkNumber) FROM payments)",
    "UPDATE customers SET city = '  ' || city || ' ', country = country || ' ' WHERE customerNumber = 103",
    "UPDATE customers SET postalCode = NULL WHERE customerNumber = 196",
    "UPDATE customers SET city = 'Springfield', state = 'OR', postalCode = '62701' WHERE customerNumber = 177",
    "UPDATE customers SET city = 'Springfield', state = 'MA', postalCode = '62701' WHERE customerNumber = 183",
    "UPDATE customers SET city = 'Riverton', state = 'NH', postalCode = '62701' WHERE customerNumber = 160",
    "UPDATE customers SET salesRepEmployeeNumber = 7777 WHERE customerNumber = 140",
    "UPDATE employees SET email = 'L.Radcliff@Classic-Cars.example' WHERE employeeNumber = 1002",
    "INSERT INTO products SELECT 'S99_0001', productName || ' (new)', productLine, productScale, productVendor, "
    "productDescription, quantityInStock, buyPrice, MSRP FROM products WHERE productCode = 'S18_1009'",
    "UPDATE products SET buyPrice = -1 WHERE productCode = 'S18_1550'",
    "UPDATE products SET productLine = NULL WHERE productCode = 'S24_1368'",
    "UPDATE products SET productName = ' ' || productName WHERE productCode = 'S18_1398'",
    "UPDATE offices SET state = 'Kanto ' WHERE officeCode = '5'",
)

RATED, RECEIVED = "2003-08-01T10:00:00Z", "2003-08-01T11:00:00Z"
#: (customer, product, stars) and what differs.
RATINGS = (
    (103, "S18_1009", 5, {}),
    (113, "S18_1009", 5, {}),
    (143, "S18_1009", 4, {}),  # an average of 4.666: rounded, not cut off
    (103, "S18_1086", 2, {}),
    (132, "S18_1086", 3, {}),
    (199, "S18_1106", 1, {}),
    (199, "S18_1106", 4, {"ratedAt": "2003-08-03T10:00:00Z", "ingestedAt": "2003-08-03T11:00:00Z"}),  # the latest
    (140, "S18_1134", 3, {}),
    (144, "S18_1134", 7, {}),  # no such number of stars: quarantined
    (144, "S10_1057", " 4", {}),  # not a number as it should be written: rescued, and quarantined
)

COUNTED = "2003-08-01"
#: (product, warehouse, units, hour of the count) and what differs.
COUNTS = (
    ("S18_1009", "LYO", 12, 17),
    ("S18_1009", "LYO", 11, 18),  # a recount
    ("S18_1009", "OSL", 0, 17),
    ("S18_1086", "LYO", 40, 17),
    ("S18_1086", "LYO", 44, 17, {"countDate": "2003-07-31"}),  # of another day: not the latest
    ("S18_1086", "OSL", 7, 17),
    ("S18_1106", "OSL", 6, 17, {"countDate": "2003-07-31"}),  # of another day, and the latest
    ("S18_1106", "LYO", -3, 17),  # less than nothing: quarantined
    ("S18_1134", "OSL", "8 ", 17),  # not a number as it should be written: rescued, and quarantined
)


def create(home: Path) -> None:
    """The order system as ``shop.sqlite`` and a folder ``landing``, in ``home``."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "shop.sqlite"
    simulator.create(f"sqlite:///{path}", scale=0.3, seed=7, until=UNTIL)
    _allow_nulls(path)
    with sqlite3.connect(path) as connection:
        for statement in QUIRKS:
            if connection.execute(statement).rowcount < 1:
                raise ValueError(f"the tiny shop has nothing for this quirk: {statement}")
    connection.close()
    _land(home / "landing")


def _allow_nulls(path: Path) -> None:
    """Values may be missing, as in an order system whose owner declares nothing."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = 1")
    connection.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'")
    connection.commit()
    connection.close()


def _land(folder: Path) -> None:
    (folder / "stock_counts").mkdir(parents=True)
    for name, some in (("ratings-1.jsonl", RATINGS[:6]), ("ratings-2.jsonl", RATINGS[6:])):
        lines = [
            {"customerNumber": who, "productCode": what, "productRating": stars, "ratedAt": RATED}
            | {"ingestedAt": RECEIVED}
            | more
            for who, what, stars, more in some
        ]
        _drop(folder / name, lines)
    for name, some in (("counts-1.jsonl", COUNTS[:4]), ("counts-2.jsonl", COUNTS[4:])):
        counts = [
            {"countDate": COUNTED, "warehouseCode": where, "productCode": what, "quantityCounted": units}
            | {"countedAt": f"{COUNTED}T{hour}:00:00Z"}
            | dict(*more)
            for what, where, units, hour, *more in some
        ]
        _drop(folder / "stock_counts" / name, counts)


def _drop(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    settled = time.time() - 60
    os.utime(path, (settled, settled))
