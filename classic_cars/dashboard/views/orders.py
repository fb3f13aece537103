"""Orders: their statuses, which were late, cancelled or disputed; and the sales representatives behind them."""

from __future__ import annotations

from functools import partial

import streamlit as st

from classic_cars.dashboard import charts
from classic_cars.dashboard.panels import View, headlines, panel

#: Orders that did not go as they should.
TROUBLED = ("Cancelled", "Disputed", "On Hold")


def page(view: View) -> None:
    filters = view.filters
    headlines(view, ["orders", "soldOrders", "shippedOrders", "onTimeShipmentShare", "linesPerOrder"])
    left, right = st.columns(2, gap="medium")
    with left:
        panel(
            view,
            "Booked amount by status",
            filters.asked(["bookedAmount", "orders"], ["status"]),
            partial(charts.bars, by="status", measure="bookedAmount", step=40),
            key="statuses",
        )
    with right:
        panel(
            view,
            "Shipped on time, by month",
            filters.asked(["onTimeShipmentShare", "onTimeOrders", "shippedOrders"], ["month"]),
            partial(charts.over_time, unit="month", measure="onTimeShipmentShare", zero=False),
            key="on-time",
            said="Late: shipped after the day the order is wanted.",
        )
    listed = ",".join(TROUBLED)
    panel(
        view,
        "Cancelled, disputed and held, by quarter",
        filters.asked(["orders", "bookedAmount"], ["quarter", "status"], where=[f"status in {listed}"]),
        partial(charts.stacked, unit="quarter", by="status", measure="orders"),
        key="troubled",
    )
    panel(
        view,
        "Sales representatives",
        filters.asked(["netSales", "orders", "averageOrderValue", "margin", "discount"], ["salesRep", "office"]),
        shape=("ranked", "netSales", 100),
        key="representatives",
        said="By employee number, as names of staff are personal data, with the office; a dash: customers without one.",
    )
