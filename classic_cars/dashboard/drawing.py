"""Pictures of answers, remembered as the answers are: making one takes Altair longer than its rows take the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType
from typing import Any

import altair as alt
import pyarrow as pa
import streamlit as st

from classic_cars.dashboard.asking import HASHED, REMEMBERED, Shape, answer
from classic_cars.dashboard.filters import Asked
from classic_cars.serving.metrics import AnswerColumn
from classic_cars.serving.releases import Release
from classic_cars.settings import Settings

Chart = Callable[[pa.Table, Sequence[AnswerColumn]], Any]


def _named(chart: Any) -> str:
    """What tells a function of ``charts`` with its arguments from another."""
    if isinstance(chart, partial):
        return f"{_named(chart.func)} {chart.args!r} {sorted(chart.keywords.items())!r}"
    return f"{chart.__module__}.{chart.__qualname__}"


@st.cache_data(max_entries=REMEMBERED, show_spinner=False, hash_funcs={**HASHED, partial: _named, FunctionType: _named})
def drawn(
    settings: Settings,
    release: Release,
    asked: Asked | str,
    shape: Shape,
    chart: Chart,
    _columns: Sequence[AnswerColumn],
) -> dict[str, Any]:
    """The picture of an answer, for :func:`show`. ``_columns``: those of the answer's rows."""
    return specification(chart(answer(settings, release, asked, shape), _columns))


def specification(chart: Any) -> dict[str, Any]:
    """A chart in Vega-Lite's words, without Altair's theme: the page has its own. The tests validate it."""
    alt.data_transformers.enable("default", max_rows=None)
    found: dict[str, Any] = chart.to_dict(validate=False)
    found.pop("config", None)
    return found


def show(found: dict[str, Any], alternative: str, **clicks: Any) -> None:
    """Put it on the page. ``alternative``: for those who do not see it."""
    st.vega_lite_chart(spec=found, width="stretch", alt=alternative, **clicks)
