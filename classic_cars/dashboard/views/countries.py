"""Countries: the map and the ranks; below a country its places, and its customers."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Any

import streamlit as st

from classic_cars.dashboard import charts, markup
from classic_cars.dashboard.maps import COUNTRY, PICKED, world
from classic_cars.dashboard.panels import View, headlines, panel
from classic_cars.dashboard.wordings import title

#: The parameter of the address for the country that is looked into, and the key of the map.
INTO, MAP = "into", "map"
#: Places and customers of a country that are listed.
LISTED = 50


def page(view: View) -> None:
    filters, measure = view.filters, view.filters.measure
    before = f"{measure}Before" if filters.period is not None else ""
    asked = filters.asked([measure], ["country"], compare=True)
    left, right = st.columns([7, 5], gap="medium")
    with left:
        rows = panel(
            view,
            f"{title(measure)} around the world",
            asked,
            partial(world, measure=measure, height=340),
            key=MAP,
            picked=_look_into,
            said="Choose a country on the map, or from the list below, to look into it.",
        )
        names = [each for each in rows["country"].to_pylist() if each]
        wanted = st.query_params.get(INTO, "")  # before Streamlit takes it out of the address
        into = st.selectbox(
            "Look into a country", names, index=None, key=INTO, bind="query-params", placeholder="none chosen"
        )
        if wanted and wanted not in names:
            said = f"There is no country {wanted} with orders in this period and with these filters."
            st.html(f'<p class="cc-empty" role="alert">{escape(said)}</p>')
    with right:
        panel(
            view,
            f"Countries by {title(measure).lower()}",
            asked,
            partial(charts.bars, by="country", measure=measure, before=before),
            key="countries",
        )
    if into:
        _country(view, into)


def _look_into() -> None:
    """A click on the map: the country becomes the one that is looked into."""
    state: Any = st.session_state.get(MAP)
    found = state.selection.get(PICKED, []) if state is not None else []
    if found:
        st.session_state[INTO] = found[0][COUNTRY]


def _country(view: View, country: str) -> None:
    filters, measure, where = view.filters, view.filters.measure, [f'country in "{country}"']
    st.html(markup.section(country))
    headlines(view, ["netSales", "grossProfit", "margin", "orders", "averageOrderValue"], where)
    measures = list(dict.fromkeys([measure, "orders", "margin"]))
    left, right = st.columns(2, gap="medium")
    with left:
        panel(
            view,
            f"Places in {country}",
            filters.asked(measures, ["city"], where=where),
            key="places",
            shape=("ranked", measure, LISTED),
        )
    with right:
        panel(
            view,
            f"Customers in {country}",
            filters.asked(measures, ["customer"], where=where),
            key="customers-in",
            shape=("ranked", measure, LISTED),
            said="The page Customers looks into one of them.",
        )
    panel(
        view,
        f"{title(measure)} of {country} by month, all time",
        filters.asked([measure], ["month"], where=where, always=True),
        partial(charts.over_time, unit="month", measure=measure),
        key="country-months",
    )
