"""The filters beside each page. Streamlit keeps their values in the page's address, so that a view can be shared."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape

import streamlit as st

from classic_cars.dashboard import asking
from classic_cars.dashboard.filters import CHOOSABLE, COMPARISONS, CUSTOM, Asked, Filters, period_of, periods
from classic_cars.dashboard.wordings import title
from classic_cars.months import day_of
from classic_cars.serving.releases import Release
from classic_cars.settings import Settings

#: Dimensions that are filtered by; each is a parameter of the address, as ``period``, ``days``, ``compare`` and
#: ``measure`` are.
FILTERED = ("country", "productLine", "status")
PARAMETERS = ("measure", "period", "days", "compare", *FILTERED)
#: What the address calls a choice that has another name here: Streamlit keeps there what it shows.
CALLED = {"measure": {each: title(each) for each in CHOOSABLE}, "compare": COMPARISONS}
#: Under this name a session keeps what was cut off from the days of its address, until that is said.
CUT = "cut"
HELP = {
    "country": "Country of the customer",
    "productLine": "Product line",
    "status": "Status of the order; payments, balances and ratings have none",
}


@dataclass(frozen=True)
class Known:
    """What a release has to choose from. ``first`` and ``last``: days of the first and the last order, where a
    date that was still to come when the release was made does not count."""

    first: date
    last: date
    values: dict[str, list[str]]

    def has(self, day: str) -> bool:
        """Whether ``YYYY-MM-DD`` is a day between the first and the last order."""
        try:
            return self.first <= day_of(day) <= self.last
        except ValueError:
            return False

    def days_of(self, asked: list[str]) -> tuple[list[str], list[str]]:
        """The first and the last of some days, without those that are before the first order or after the last, and
        what was left out, in words; ``asked`` itself when it is no day, or has none in common."""
        try:
            days = [day_of(each) for each in asked]
        except ValueError:
            return asked, []
        if not days or max(days) < self.first or min(days) > self.last:
            return asked, []
        kept = [str(max(min(days), self.first)), str(min(max(days), self.last))]
        before = [f"days before {self.first}"] if min(days) < self.first else []
        after = [f"days after {self.last}"] if max(days) > self.last else []
        return (kept, [*before, *after]) if before or after else (asked, [])


def known(settings: Settings, release: Release) -> Known | None:
    """None when the release has no order."""
    days = asking.answer(settings, release, Asked(("orders",), ("date",)))
    dates = [each for each in days["date"].to_pylist() if each is not None]
    if not dates:
        return None
    past = [each for each in dates if each <= release.made.date()] or dates
    values = {}
    for name in FILTERED:
        rows = asking.answer(settings, release, Asked(("bookedAmount",), (name,)))
        values[name] = [str(each) for each in rows[name].to_pylist() if each is not None]
    return Known(min(past), max(past), values)


def chosen(there: Known) -> Filters:
    """Show the filters, and what is chosen."""
    with st.sidebar:
        st.html('<p class="cc-brand">Classic Cars</p>')
        st.html('<h2 class="cc-side">Show</h2>')
        choices = periods(there.first, there.last)
        _as_it_is_kept(there)
        lost = [
            *_not_there(there, choices),
            *st.session_state.pop(CUT, []),
        ]  # before Streamlit takes them out of the address
        measure = st.selectbox(
            "Measure", CHOOSABLE, format_func=CALLED["measure"].__getitem__, key="measure", bind="query-params"
        )
        choice = st.selectbox("Period", choices, key="period", bind="query-params")
        days: tuple[date, ...] = ()
        if choice == CUSTOM:
            found = st.date_input(
                "Days",
                (max(there.first, there.last - timedelta(days=89)), there.last),
                min_value=there.first,
                max_value=there.last,
                key="days",
                bind="query-params",
            )
            days = found if isinstance(found, tuple) else (found,)
        compare = st.selectbox(
            "Compared with the", [*COMPARISONS], format_func=COMPARISONS.__getitem__, key="compare", bind="query-params"
        )
        st.html('<h2 class="cc-side">Only</h2>')
        picked = {
            name: tuple(
                st.multiselect(
                    title(name), there.values[name], key=name, bind="query-params", placeholder="all", help=HELP[name]
                )
            )
            for name in FILTERED
        }
        if lost:
            said = f"Not in this release, so left out: {', '.join(lost)}."
            st.html(f'<p class="cc-note" role="alert">{escape(said)}</p>')
    period = period_of(choice, there.last, days)
    return Filters(measure or CHOOSABLE[0], period, compare or "before", picked, there.last)


def _as_it_is_kept(there: Known) -> None:
    """Open an address that somebody wrote as the page writes it, where Streamlit would drop what it asks for.

    Such as our own names, ``measure=netSales``, and days of which some are before the first order.
    """
    asked = {key: st.query_params.get(key, "") for key in CALLED if key not in st.session_state}
    found: dict[str, str | list[str]] = {key: CALLED[key][name] for key, name in asked.items() if name in CALLED[key]}
    days = st.query_params.get_all("days") if "days" not in st.session_state else []
    kept, cut = there.days_of(days)
    if kept != days:
        found["days"] = kept
        st.session_state[CUT] = cut
    if found:
        st.query_params.update(found)
        st.rerun()


def _not_there(there: Known, choices: Collection[str]) -> list[str]:
    """What the page's address asks for that cannot be chosen, such as ``country Atlantis``."""
    called = {name: each.values() for name, each in CALLED.items()}
    values = {**called, "period": choices, **there.values}
    asked = {name: st.query_params.get_all(name) for name in PARAMETERS}
    lost = [
        f"{title(name).lower()} {each}" for name in values for each in asked[name] if each and each not in values[name]
    ]
    return lost + [f"day {each}" for each in asked["days"] if not there.has(each)]
