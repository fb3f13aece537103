"""Between which months orders moved since they were read: such months are read by one run, or in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import ibis

from classic_cars.contracts.order_system import orderdetails, orders
from classic_cars.contracts.source import CONTRACTS, MONTH
from classic_cars.months import UNDATED, month_of, partition_key
from classic_cars.settings import Settings
from classic_cars.sources.conform import conform
from classic_cars.sources.order_system import OrderSystem
from classic_cars.stores import published


def moved_orders(
    settings: Settings,
    order_system: OrderSystem,
    wanted: Mapping[str, Collection[str]],
    at_most: int | None = None,
) -> set[tuple[str, str]]:
    """Of which month orders were, and of which they are, where it is another; both are about to be read.

    ``wanted``: the months that are, by address; nothing is said of them when they have more orders than ``at_most``.
    Order lines whose order is not there have no date, until it comes or once it is gone. Raises ``SourceError`` and
    ``StoreError``.
    """
    of_orders, of_lines = CONTRACTS[orders.name], CONTRACTS[orderdetails.name]
    months = sorted(month_of(month) for month in wanted.get(of_orders.address, ()))
    without_date = {month_of(month) for month in wanted.get(of_lines.address, ())} & {UNDATED}
    if len({*months} | without_date) < 2:
        return set()
    with published(settings) as store:
        if not all(store.exists(each) for each in (of_orders, of_lines)):
            return set()
        held, lines = _numbers(store.read(of_orders)), _numbers(store.read(of_lines))
        before = held.filter(held[MONTH].isin(months))
        if without_date:
            before = before.union(lines.filter(lines[MONTH] == UNDATED), distinct=True)
        if at_most is not None and before.count().to_pyarrow().as_py() > at_most:
            return set()
        before = before.rename(was=MONTH).to_pyarrow()
    with order_system.snapshot() as snapshot:
        now = snapshot.read(orders, months, lambda arriving: _numbers(conform(arriving, orders))).read_all()
    both = before.join(now, "orderNumber", join_type="left outer")
    pairs = both.group_by(["was", MONTH]).aggregate([]).to_pylist()
    moved = {(each["was"], each[MONTH] or UNDATED) for each in pairs}
    return {
        (partition_key(was), partition_key(now))
        for was, now in moved
        if was != now and {was, now} <= {*months} | without_date
    }


def _numbers(rows: ibis.Table) -> ibis.Table:
    """Of order numbers their months."""
    return rows.select(MONTH, orderNumber=rows.orderNumber.cast("int64"))
