"""Control totals: what the order system says of a table, and what the platform says of its copy, to be compared.

The digest is a sum over the rows of a hash of one text made of all proven columns in canonical form. A value that
fits its declared type is the typed value's text; another is its raw text, with a mark before it; NULL is a mark.
The order system's side is :mod:`classic_cars.sources.canonical` (servers) and
:mod:`classic_cars.sources.canonical_sqlite`; the platform's is :mod:`classic_cars.sources.digests`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from classic_cars.sources.home_months import day_text, home_of_text

#: What stands between two columns, for NULL, and before the raw text of a value that does not fit: characters that
#: no order system's text holds.
BETWEEN, MISSING, RAW = "\x1f", "\x1e", "\x1d"

#: Digits of MD5 that fit into a signed 64-bit number.
MD5_DIGITS = 15

#: The whole of a table that has no months.
WHOLE = ""

#: Whole numbers are held in 32 bits.
SMALLEST, BIGGEST = -(2**31), 2**31 - 1

#: The columns whose product is a row's money.
MONEY = {"orderdetails": ("priceEach", "quantityOrdered"), "payments": ("amount",)}


@dataclass(frozen=True)
class ControlTotals:
    """Of a table, or of one home month of it: its rows, the sum of its money, and the digest of all its values.

    ``cents``: over the rows whose money fits its declared type exactly; None for tables without money.
    """

    rows: int
    cents: int | None
    digest: int

    def __add__(self, other: ControlTotals) -> ControlTotals:
        cents = None if self.cents is None else self.cents + (other.cents or 0)
        return ControlTotals(self.rows + other.rows, cents, self.digest + other.digest)

    @property
    def version(self) -> str:
        """The data version of rows with these totals: equal exactly if the totals are. ``brief`` reads it again."""
        cents = "" if self.cents is None else f"{self.cents} cents, "
        return f"{self.rows} rows, {cents}digest {self.digest:x}"


def proven(table: sa.Table) -> list[sa.Column]:
    """The columns whose values are proven: all but pictures, which no sum needs."""
    return [column for column in table.columns if not isinstance(column.type, sa.LargeBinary)]


def number_text(kind: sa.types.TypeEngine) -> str:
    """What a text looks like that is a number of this declared type, exactly; integers may still be too large."""
    if isinstance(kind, sa.Numeric):
        whole, scale = (kind.precision or 0) - (kind.scale or 0), kind.scale or 0
        return f"^-?0*[0-9]{{1,{whole}}}([.][0-9]{{0,{scale}}}0*)?$"
    return "^-?0*[0-9]{1,10}([.]0*)?$"


def by_home(groups: Iterable[tuple[Any, Any, Any, Any]], money: bool, today: date) -> dict[str, ControlTotals]:
    """Control totals by home month from (day as text, rows, sum of hashes, cents)."""
    found: dict[str, ControlTotals] = {}
    for day, rows, digest, cents in groups:
        if not rows:
            continue
        month = f"{home_of_text(day_text(day), today):%Y-%m}"
        total = ControlTotals(int(rows), int(cents or 0) if money else None, int(digest or 0))
        found[month] = found[month] + total if month in found else total
    return dict(sorted(found.items()))


def whole(groups: Iterable[tuple[Any, Any, Any]], money: bool) -> dict[str, ControlTotals]:
    """Control totals of a table without months from one (rows, sum of hashes, cents)."""
    ((rows, digest, cents),) = groups
    total = ControlTotals(int(rows), int(cents or 0) if money else None, int(digest or 0))
    return {WHOLE: total} if rows else {}
