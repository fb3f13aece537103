"""The answers in one look: headlines, product lines, countries, months."""

from __future__ import annotations

from functools import partial

import streamlit as st

from classic_cars.dashboard import charts
from classic_cars.dashboard.maps import world
from classic_cars.dashboard.panels import View, headlines, panel
from classic_cars.dashboard.wordings import title

HEADLINES = ("netSales", "bookedAmount", "grossProfit", "margin", "orders", "units", "averageOrderValue")
LINE_MEASURES = ("grossProfit", "margin", "orders", "units")


def page(view: View) -> None:
    filters, measure = view.filters, view.filters.measure
    headlines(view, HEADLINES)
    compared = filters.period is not None
    before = f"{measure}Before" if compared else ""
    ticked = "The grey mark is what it is compared with." if compared else ""
    left, right = st.columns([5, 6], gap="medium")
    with left:
        asked = filters.asked([measure], ["productLine"], compare=True)
        chart = partial(charts.bars, by="productLine", measure=measure, before=before, step=37)
        panel(view, f"{title(measure)} by product line", asked, chart, said=ticked, key="lines")
    with right:
        asked = filters.asked([measure], ["country"], compare=True)
        panel(
            view,
            f"{title(measure)} by country",
            asked,
            partial(world, measure=measure),
            key="world",
            said="Grey: none. The rows, and the page Countries, have them all.",
        )
    asked = filters.asked([measure], ["month"], compare=True)
    chart = partial(charts.over_time, unit="month", measure=measure, before=before)
    dashed = "Dashed: what it is compared with." if compared else ""
    panel(view, f"{title(measure)} by month", asked, chart, said=dashed, key="months")
    names = dict.fromkeys([measure, *LINE_MEASURES])
    panel(
        view,
        "Product lines side by side",
        filters.asked([*names], ["productLine"]),
        key="lines-table",
        shape=("ranked", measure, 100),
    )
