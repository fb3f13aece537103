"""Answers to questions, remembered for everybody who looks: the same release gives the same answer."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import streamlit as st

from classic_cars.dashboard import shapes
from classic_cars.dashboard.filters import Asked
from classic_cars.errors import StoreError
from classic_cars.serving.metrics import expression
from classic_cars.serving.releases import Release, opened
from classic_cars.settings import Settings

#: Answers that are remembered; each has a row per group that was asked for, a few thousand at most.
REMEMBERED = 1_000

#: How the answer is made smaller before it is fetched: the name of a function of ``shapes``, and its arguments.
Shape = tuple[str, *tuple[object, ...]]
PLAIN: Shape = ("plain",)


def home_of(settings: Settings) -> str:
    """What tells the settings of one process apart, where there are several: in tests."""
    return str(settings.home)


@st.cache_data(max_entries=REMEMBERED, show_spinner=False, hash_funcs={Settings: home_of})
def answer(settings: Settings, number: int, asked: Asked, shape: Shape = PLAIN) -> pa.Table:
    """The rows, of release ``number``. Raises ``StoreError`` when its tables cannot be read."""
    with opened(settings, number) as found:
        assert found is not None  # noqa: S101  (a number was given)
        _, tables = found
        rows = expression(asked.question, tables.read)
        if shape != PLAIN:
            name, *arguments = shape
            rows = getattr(shapes, name)(*arguments)(rows)
        try:
            return rows.to_pyarrow()
        except duckdb.Error as error:
            raise StoreError(f"release {number}: cannot be read ({str(error).strip()})") from None


def current_release(settings: Settings) -> Release | None:
    """The newest one, looked for at every view: a few milliseconds. None when there is none."""
    with opened(settings) as found:
        return None if found is None else found[0]
