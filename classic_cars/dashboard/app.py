"""The page as Streamlit carries it out, from the top for each view: release, trust bar, filters, the page itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from classic_cars.dashboard import controls, markup, trust
from classic_cars.dashboard.asking import current_release, home_of
from classic_cars.dashboard.bar import bar
from classic_cars.dashboard.filters import Filters
from classic_cars.dashboard.panels import View
from classic_cars.dashboard.views import countries, customers, definitions, orders, overview, products, quality, time
from classic_cars.errors import ClassicCarsError, QuestionError
from classic_cars.serving.access import admitted
from classic_cars.serving.releases import Release, pending
from classic_cars.settings import Settings, load_settings

STYLE = Path(__file__).with_name("style.css")
#: Title, address and content of each page; those with filters first.
PAGES: dict[str, tuple[str, Callable[[View], None]]] = {
    "Overview": ("", overview.page),
    "Products": ("products", products.page),
    "Countries": ("countries", countries.page),
    "Time": ("time", time.page),
    "Orders": ("orders", orders.page),
    "Customers": ("customers", customers.page),
    "Data quality": ("quality", quality.page),
    "Definitions": ("definitions", definitions.page),
}
UNFILTERED = ("Data quality", "Definitions")
#: Seconds that what Dagster's history says is remembered, for all who look.
FRESH = 15
#: Under this name a session keeps the password that was right, in the server's memory.
PROVEN = "proven"


@st.cache_data(ttl=FRESH, max_entries=4, show_spinner=False, hash_funcs={Settings: home_of})
def _proof(settings: Settings) -> trust.Proof:
    return trust.proof(settings)


def main() -> None:
    st.set_page_config(page_title="Classic Cars", page_icon="🚗", layout="wide", initial_sidebar_state="auto")
    st.html(STYLE)
    pages = [
        st.Page(lambda: None, title=name, url_path=address or "overview", default=not address)
        for name, (address, _) in PAGES.items()
    ]
    name = st.navigation(pages, position="top").title
    try:
        if _is_admitted(load_settings()):
            _show(name)
    except QuestionError as error:
        said = f"{error}. Choose another period or other filters, or open the page without what its address asks for."
        st.html(markup.state("This cannot be asked", said))
    except ClassicCarsError as error:
        st.html(markup.state("The data cannot be read", str(error), ["classic-cars doctor", "classic-cars run"]))


def _is_admitted(settings: Settings) -> bool:
    """Whether the request carries what the settings ask for; a password can be typed in."""
    # What was typed goes with its field, which is shown once: what was right is kept for as long as the page is open.
    typed = st.session_state.get("password") or st.session_state.get(PROVEN, "")
    if admitted(settings, st.context.headers.to_dict(), typed):
        st.session_state[PROVEN] = typed
        return True
    if settings.password.get_secret_value():
        st.html("<h1>Classic Cars</h1>")
        st.text_input("Password", type="password", key="password")
        if typed:
            st.html('<p class="cc-empty" role="alert">This is not the password.</p>')
    else:
        steps = ["docs/access.md"]
        st.html(markup.state("Nobody is logged in", "The identity proxy in front of this page named no user.", steps))
    return False


def _show(name: str) -> None:
    """The page of that name. Raises ``ClassicCarsError``."""
    settings = load_settings()
    release = current_release(settings)
    there = controls.known(settings, release) if release is not None else None
    if release is None or there is None:
        if name == "Definitions":  # they need no data
            st.html("<h1>Definitions</h1>")
            definitions.page()
            return
        _nothing_yet(settings, release)
        if name == "Data quality":  # what keeps a release from being made
            quality.what_is_known(settings)
        return
    st.html(bar(release, f"{there.last:%Y-%m-%d}", _proof(settings), pending(settings)))
    filters = Filters() if name in UNFILTERED else controls.chosen(there)
    parameters = {key: st.query_params.get_all(key) for key in st.query_params}
    st.html(f"<h1>{name}</h1>")
    PAGES[name][1](View(settings, release, filters, parameters))


def _nothing_yet(settings: Settings, release: Release | None) -> None:
    if release is not None:
        said = f"Release {release.number} has no orders: the order system has none yet, or none that can be counted."
        st.html(markup.state("No orders yet", said, ["classic-cars run", "classic-cars status"]))
        return
    reasons = pending(settings)
    said = (
        f"The latest run made no release: {reasons}."
        if reasons
        else "No release was made yet. One is made at the end of a run, when all tables agree with the order system."
    )
    st.html(markup.state("Nothing to show yet", said, ["classic-cars doctor", "classic-cars run"]))


if __name__ == "__main__":
    main()
