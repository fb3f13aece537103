"""What every number means: the definitions of the metrics, as the contracts have them."""

from __future__ import annotations

from html import escape

import streamlit as st

from classic_cars.contracts.cuts import DIMENSIONS
from classic_cars.contracts.measures import MEASURES
from classic_cars.dashboard import markup
from classic_cars.dashboard.panels import View
from classic_cars.dashboard.wordings import title
from classic_cars.serving.metrics import facts_about

#: The parameter of the address for the one that is asked about.
OF = "of"


def page(_: View | None = None) -> None:
    wanted = st.query_params.get(OF, "")
    st.html(
        "<p class='cc-note'>Defined once, for this page, the tables and the command line alike "
        "(<code>classic-cars metrics describe NAME</code>).</p>"
    )
    if wanted in MEASURES or wanted in DIMENSIONS:
        st.html(_definition(wanted, wanted=True))
    for heading, names in (("Measures", MEASURES), ("Dimensions", DIMENSIONS)):
        st.html(markup.section(heading) + "".join(_definition(name) for name in names if name != wanted))


def _definition(name: str, *, wanted: bool = False) -> str:
    said, facts = facts_about(name)
    rows = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in facts.items())
    kind = " cc-wanted" if wanted else ""
    level = "h2" if wanted else "h3"
    return (
        f'<article class="cc-definition{kind}"><{level}>{escape(title(name))} <code>{name}</code></{level}>'
        f"<p>{escape(said)}</p><dl>{rows}</dl></article>"
    )
