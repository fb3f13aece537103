"""What tests of landed files share: dropping files that have settled, and what they hold."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from classic_cars.settings import Settings
from classic_cars_tests.platform import ask

#: The tables that are made from landed files, in the order in which they are made.
COUNTED = ["source/stock_counts", "staging/stock_counts"]
RATED = ["source/ratings", "staging/ratings", "warehouse/fact_ratings", "analytics/product_ratings"]
DAY = "2003-08-01T10:00:00Z"


def rating(customer: Any = 103, product: Any = "S10_1090", stars: Any = 5, rated: str = DAY, **more: Any) -> dict:
    return {
        "customerNumber": customer,
        "productCode": product,
        "productRating": stars,
        "ratedAt": rated,
        "ingestedAt": rated,
    } | more


def jsonl(*rows: dict | str) -> str:
    """JSON Lines; a text is a line as it is."""
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def drop(settings: Settings, name: str, data: str | bytes, seconds_ago: float = 60) -> Path:
    """A file at the landing zone, last changed a while ago."""
    path = Path(settings.landing_location.removeprefix("file://")) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    moment = time.time() - seconds_ago
    os.utime(path, (moment, moment))
    return path


def ledger(settings: Settings) -> dict[str, tuple]:
    """What became of each file of ratings: state, rows and reason by name."""
    found = ask(
        settings, "SELECT fileName, state, rows, reason FROM source.ratings_files ORDER BY landedAt, fileName, loggedAt"
    )
    return {name: rest for name, *rest in found}


def stars(settings: Settings) -> dict[tuple, int]:
    """The current ratings, by customer and product."""
    found = ask(settings, "SELECT customerNumber, productCode, productRating FROM warehouse.fact_ratings")
    return {(customer, product): given for customer, product, given in found}
