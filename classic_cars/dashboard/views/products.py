"""Product lines and products: who leads, how that changed, margins, best and worst; ratings against sales."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from classic_cars.dashboard import charts
from classic_cars.dashboard.panels import View, headlines, panel
from classic_cars.dashboard.wordings import title

#: Best and worst products that can be asked for, and what is asked for first.
MOST, FEW = 25, 5


def page(view: View) -> None:
    filters, measure = view.filters, view.filters.measure
    headlines(view, ["netSales", "grossProfit", "margin", "discount", measure])
    left, right = st.columns(2, gap="medium")
    with left:
        before = f"{measure}Before" if filters.period is not None else ""
        chart: partial[Any] = partial(charts.bars, by="productLine", measure=measure, before=before)
        panel(
            view,
            f"{title(measure)}: who leads",
            filters.asked([measure], ["productLine"], compare=True),
            chart,
            key="leaders",
            said="The grey mark is what it is compared with." if before else "",
        )
        panel(
            view,
            "Margin by product line",
            filters.asked(["margin"], ["productLine"]),
            partial(charts.bars, by="productLine", measure="margin"),
            key="margins",
        )
    with right:
        chart = partial(charts.ridges, by="productLine", unit="quarter", measure=measure)
        panel(
            view,
            f"{title(measure)} by quarter, all time",
            filters.asked([measure], ["productLine", "quarter"], always=True),
            chart,
            key="lines-quarters",
            said="One scale for all, the largest line first.",
        )
    _best_and_worst(view)
    asked = filters.asked(["averageRating", "netSales", "ratings"], ["productLine", "product"])
    chart = partial(charts.scatter, x="averageRating", y="netSales", size="ratings", color="productLine")
    panel(
        view,
        "Ratings against net sales",
        asked,
        chart,
        key="ratings",
        shape=("rated",),
        said="A mark is a product that customers rated; larger: more ratings.",
    )


def _best_and_worst(view: View) -> None:
    filters, measure = view.filters, view.filters.measure
    (narrow, _) = st.columns([1, 2])
    with narrow:
        count = st.slider("How many products", 1, MOST, FEW, key="top", bind="query-params")
    asked = filters.asked(list(dict.fromkeys([measure, "margin", "units"])), ["product"])
    named, of = title(measure).lower(), "Of the products that were ordered."
    left, right = st.columns(2, gap="medium")
    with left:
        panel(view, f"Best {count} by {named}", asked, shape=("ranked", measure, count), key="best", said=of)
    with right:
        panel(view, f"Worst {count} by {named}", asked, shape=("worst", measure, count), key="worst", said=of)
