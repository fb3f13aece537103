"""What partners drop, cleaned: the tables of ``staging/*`` whose rows come from files."""

from __future__ import annotations

import ibis

from classic_cars.assets.staging import trimmed
from classic_cars.contracts import partners
from classic_cars.tables.table import table


@table(partners.Ratings)
def ratings(ratings: ibis.Table) -> ibis.Table:
    return trimmed(ratings)


@table(partners.StockCounts)
def stock_counts(stock_counts: ibis.Table) -> ibis.Table:
    return trimmed(stock_counts)
