"""Customers: cohorts, concentration, balances; and one of them, as closely as the metrics go."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from html import escape

import streamlit as st

from classic_cars.dashboard import charts, markup
from classic_cars.dashboard.panels import View, headlines, panel
from classic_cars.errors import QuestionError

#: The parameter of the address for the customer that is looked into, and how many can be chosen from.
WHO, LISTED = "customer", 500


def page(view: View) -> None:
    filters = view.filters
    headlines(view, ["netSales", "orders", "averageOrderValue", "payments"])
    left, right = st.columns(2, gap="medium")
    with left:
        panel(
            view,
            "Concentration of net sales",
            filters.asked(["netSales"], ["customer"]),
            charts.curve,
            shape=("concentration", "netSales"),
            key="concentration",
            said="The further from the dashed line, the fewer customers make the sales.",
        )
    with right:
        panel(
            view,
            "Cohorts: who bought again, all time",
            "analytics/customer_cohorts",
            charts.cohort_grid,
            shape=("cohorts",),
            key="cohorts",
            said="A row is customers by the quarter of their first order: all of them, whatever is chosen above.",
        )
    left, right = st.columns(2, gap="medium")
    with left:
        panel(
            view,
            "Largest customers",
            filters.asked(["netSales", "orders", "margin"], ["customer"]),
            shape=("ranked", "netSales", 25),
            key="largest",
        )
    with right:
        panel(
            view,
            "Highest balances, all time",
            "analytics/customer_balances",
            shape=("ranked", "balance", 25),
            key="balances",
            said="All net sales less all payments, of all customers, whatever is chosen above; above 0 is owed.",
        )
    _one(view)


def _one(view: View) -> None:
    filters = view.filters
    wanted = st.query_params.get(WHO, "")
    names = known(view, wanted)
    number = _chosen(names, wanted)
    if wanted and wanted not in names:
        st.html(f'<p class="cc-empty">There is no customer {escape(wanted)} with orders and these filters.</p>')
    if not number:
        return
    where = [f"customer={number}"]
    st.html(markup.section(names[number]))
    headlines(view, ["netSales", "orders", "margin", "onTimeShipmentShare"], where)
    left, right = st.columns(2, gap="medium")
    with left:
        panel(
            view,
            "Net sales by month, all time",
            filters.asked(["netSales", "orders"], ["month"], where=where, always=True),
            partial(charts.over_time, unit="month", measure="netSales"),
            key="customer-months",
        )
    with right:
        panel(
            view,
            "By product line, all time",
            filters.asked(["netSales", "units", "margin"], ["productLine"], where=where, always=True),
            partial(charts.bars, by="productLine", measure="netSales"),
            key="customer-lines",
        )
    panel(
        view,
        "By status, all time",
        filters.asked(["bookedAmount", "orders"], ["status"], where=where, always=True),
        key="customer-statuses",
    )


def known(view: View, wanted: str) -> dict[str, str]:
    """Names by number: of the largest customers, and of the one that is wanted, if there is one with these filters."""
    asked = partial(view.filters.asked, ["netSales"], ["customer"], always=True)
    rows = view.answer(asked(), ("ranked", "netSales", LISTED)).to_pylist()
    if wanted and wanted not in {str(each["customer"]) for each in rows}:
        with suppress(QuestionError):  # an address can have anything for a number
            rows += view.answer(asked(where=[f"{WHO}={wanted}"])).to_pylist()
    return {str(each["customer"]): each["customerName"] for each in rows}


def _chosen(names: dict[str, str], wanted: str) -> str | None:
    """The customer of the page's address, by number, or who is chosen instead."""
    numbers = [*names]
    number = st.selectbox(
        "Look into a customer",
        numbers,
        index=numbers.index(wanted) if wanted in names else None,
        format_func=lambda each: f"{each} · {names[each]}",
        key="who",
        placeholder="type a name or a number",
    )
    if number:
        st.query_params[WHO] = number
    else:
        st.query_params.pop(WHO, None)
    return number
