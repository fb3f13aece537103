"""Answers to questions, remembered for everybody who looks: the same release gives the same answer.

Not the same number: where releases were deleted, numbers begin again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import streamlit as st

from classic_cars.contracts.base import Contract
from classic_cars.contracts.customers import CustomerBalances, CustomerCohorts
from classic_cars.contracts.measures import Ratio
from classic_cars.dashboard import shapes
from classic_cars.dashboard.filters import Asked
from classic_cars.errors import StoreError
from classic_cars.serving.metrics import Question, columns_of, expression
from classic_cars.serving.metrics.rows import Reader
from classic_cars.serving.releases import Release, opened
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Reading

#: Answers that are remembered; each has a row per group that was asked for, a few thousand at most.
REMEMBERED = 1_000

#: How the answer is made smaller before it is fetched: the name of a function of ``shapes``, and its arguments.
Shape = tuple[str, *tuple[object, ...]]
PLAIN: Shape = ("plain",)


#: Answers that are tables, by address: shown whole, whatever is chosen.
TABLES = {each.address: each for each in map(Contract.of, [CustomerBalances, CustomerCohorts])}


def home_of(settings: Settings) -> str:
    """What tells the settings of one process apart, where there are several: in tests."""
    return str(settings.home)


def identity_of(release: Release) -> str:
    """What tells a release apart from every other, also of those that have its number."""
    return f"{release.number} {release.made.isoformat()} {release.run_id}"


HASHED: dict[Any, Callable[[Any], str]] = {Settings: home_of, Release: identity_of}


@dataclass(frozen=True)
class Held:
    """The tables of a release, opened once for all who look; ``turn``: they are asked by one thread at a time."""

    tables: Reading
    closing: ExitStack
    turn: threading.Lock = field(default_factory=threading.Lock)

    def let_go(self) -> None:
        with self.turn:
            self.closing.close()


@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs=HASHED, on_release=lambda held: held.let_go())
def _held(settings: Settings, release: Release) -> Held:
    closing = ExitStack()
    tables = open_store(settings, read_only=True).at(release.tables)
    closing.callback(tables.release)
    return Held(tables, closing)


@st.cache_data(max_entries=REMEMBERED, show_spinner=False, hash_funcs=HASHED)
def answer(settings: Settings, release: Release, asked: Asked | str, shape: Shape = PLAIN) -> pa.Table:
    """The rows of a question, or of a table of ``TABLES``, of a release.

    Raises ``StoreError`` when its tables cannot be read.
    """
    held = _held(settings, release)
    name, *arguments = shape
    try:
        with held.turn:
            read = held.tables.read
            rows = read(TABLES[asked]) if isinstance(asked, str) else _answer(asked, read)
            return (getattr(shapes, name)(*arguments)(rows) if shape != PLAIN else rows).to_pyarrow()
    except (duckdb.Error, StoreError) as error:
        _held.clear()  # files may come back, or another release take its place
        raise StoreError(f"release {release.number}: cannot be read ({str(error).strip()})") from None


def _answer(asked: Asked, read: Reader) -> ibis.Table:
    question = asked.question
    if not asked.parts:
        return expression(question, read)
    return side_by_side([expression(each.question, read) for each in asked.parts], question)


def side_by_side(answers: Sequence[ibis.Table], question: Question) -> ibis.Table:
    """Answers of the same groups, with measures of their own, as the one of a question about all of these measures.

    Of what an answer has no group of, sums are 0 and ratios missing.
    """
    keys, names = [*question.keys], [each.name for each in columns_of(question)]
    kinds = {name: kind for each in answers for name, kind in each.schema().items()}
    whole = ibis.union(
        *[
            each.select(**{name: each[name] if name in each.columns else ibis.null(kinds[name]) for name in names})
            for each in answers
        ]
    )
    summed = {
        name
        for each in question.measures
        if not isinstance(each, Ratio)
        for name in (each.name, f"{each.name}Before", f"{each.name}Change")
    }
    values = {name: whole[name].max() for name in names if name not in keys}
    filled = {n: each.fill_null(0).cast(kinds[n]) if n in summed else each for n, each in values.items()}
    rows = whole.aggregate(by=keys, **filled)
    return rows.order_by(keys) if keys else rows


def current_release(settings: Settings) -> Release | None:
    """The newest one, looked for at every view: a few milliseconds. None when there is none."""
    with opened(settings) as found:
        return None if found is None else found[0]
