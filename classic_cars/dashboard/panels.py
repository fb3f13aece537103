"""What pages are made of: headlines and panels. A panel is a question, its picture, its rows and its downloads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import ibis.expr.datatypes as dt
import pyarrow as pa
import streamlit as st

from classic_cars.contracts.measures import MEASURES
from classic_cars.dashboard import asking, markup
from classic_cars.dashboard.asking import PLAIN, TABLES, Shape
from classic_cars.dashboard.downloads import OFFERED, as_file
from classic_cars.dashboard.drawing import Chart, drawn, show
from classic_cars.dashboard.filters import COMPARISONS, Asked, Filters
from classic_cars.dashboard.wordings import title
from classic_cars.serving.metrics import AnswerColumn, columns_of
from classic_cars.serving.metrics.periods import compared
from classic_cars.serving.releases import Release
from classic_cars.settings import Settings

#: By column of an answer: the page that looks into one of its values, and the parameter of the address for it.
LOOKED_INTO = {
    "country": ("countries", "into"),
    "customer": ("customers", "customer"),
    "customerNumber": ("customers", "customer"),
}
#: What :mod:`classic_cars.dashboard.shapes` adds to answers.
SHAPED = {
    "members": AnswerColumn("members", "How many customers, from the largest", format=",d"),
    "shareOfMembers": AnswerColumn("shareOfMembers", "The same as a share of all customers", format=".1%"),
    "share": AnswerColumn("share", "Their part of the total", format=".1%"),
}


@dataclass(frozen=True)
class View:
    """What a page is about: a release, and what is chosen. ``parameters``: those of its address."""

    settings: Settings
    release: Release
    filters: Filters
    parameters: Mapping[str, Sequence[str]]

    def answer(self, asked: Asked | str, shape: Shape = PLAIN) -> pa.Table:
        return asking.answer(self.settings, self.release, asked, shape)

    def links(self, names: Sequence[str]) -> dict[str, str]:
        """From columns of measures to their definitions."""
        found = {}
        for name in names:
            measure = re.sub("(Before|Change|Growth)$", "", name)
            if measure in MEASURES:
                found[name] = markup.address("definitions", "of", measure, self.parameters)
        return found

    @property
    def into(self) -> dict[str, str]:
        """From columns to the page that looks into one of their values, which is added at the end."""
        return {name: markup.address(page, key, "", self.parameters) for name, (page, key) in LOOKED_INTO.items()}


def headlines(view: View, wanted: Iterable[str], where: Sequence[str] = ()) -> None:
    """One tile per measure, against what it is compared with."""
    measures = list(dict.fromkeys(wanted))
    asked = view.filters.asked(measures, where=where, compare=True)
    (row,) = view.answer(asked).to_pylist()
    versus = ", ".join(each for each in (_through(view.filters, asked), _versus(asked)) if each)
    columns = {each.name: each for each in columns_of(asked.question)}
    links = view.links(measures)
    shown = [markup.Tile(columns[name], row[name], _change(row, name), versus, links[name]) for name in measures]
    note = f'<p class="cc-note">▲▼ {versus}</p>' if versus else ""
    st.html(markup.tiles(shown) + note)
    _left_out(view, measures)


def _versus(asked: Asked) -> str:
    """Such as ``against the period before, 2003-06-01..2004-05-31``."""
    question = asked.question
    if question.period is None or not question.compare:
        return ""
    return f"against the {COMPARISONS[question.compare]}, {compared(question.period, question.compare).period}"


def _through(filters: Filters, asked: Asked) -> str:
    """Such as ``through 31 May``, where the days that are compared end before the period that was chosen does."""
    question = asked.question
    if question.period is None or asked.compare is None or asked.period == filters.period:
        return ""
    return f"through {question.period.last.day} {question.period.last:%B}"


def _change(row: dict[str, Any], name: str) -> Any:
    """As a share of what was before; of shares, the difference."""
    return row.get(f"{name}Growth", row.get(f"{name}Change"))


def columns_shown(asked: Asked | str, rows: pa.Table) -> list[AnswerColumn]:
    """Of the rows, whatever shape they have."""
    if isinstance(asked, str):
        contract = TABLES[asked]
        return [
            AnswerColumn(name, contract.describe(name), format=_format(contract.types[name]))
            for name in rows.schema.names
        ]
    known = SHAPED | {each.name: each for each in columns_of(asked.question)}
    return [known[name] for name in rows.schema.names]


def _format(kind: dt.DataType) -> str:
    """As contracts have them: whole numbers, amounts to the cent, shares to a hundredth of a percent."""
    if isinstance(kind, dt.Decimal):
        return ",.2f" if kind.scale == 2 else ".1%"
    return ",d" if kind.is_integer() else ""


def panel(
    view: View,
    heading: str,
    asked: Asked | str,
    chart: Chart | None = None,
    *,
    said: str = "",
    shape: Shape = PLAIN,
    picked: Callable[[], None] | None = None,
    key: str = "",
) -> pa.Table:
    """A heading, the chart (or without one the rows), and below it the rows and the downloads; returns the rows.

    ``asked``: a question, or the address of a table.
    ``picked``: called when something of the chart was clicked, which is then in ``st.session_state[key]``.
    """
    name = key or re.sub(r"\W+", "-", heading.lower()).strip("-")
    with st.container(border=True, key=f"panel-{name}"):
        rows = view.answer(asked, shape)
        columns = columns_shown(asked, rows)
        through = "" if isinstance(asked, str) else _through(view.filters, asked)
        said = f"{said} Days {through}.".lstrip() if through else said
        table = markup.table(rows, columns, heading, view.links(rows.schema.names), view.into)
        headed(name, heading, said, rows, table if chart is not None else "")
        if rows.num_rows == 0:
            st.html(f'<p class="cc-empty">{nothing(view.filters, asked)}</p>')
            return rows
        if chart is not None:
            clicks: dict[str, Any] = (
                {"on_select": picked, "key": name, "selection_mode": "picked"} if picked is not None else {}
            )
            picture = drawn(view.settings, view.release, asked, shape, chart, columns)
            show(picture, _alternative(heading, rows, columns), **clicks)
        if chart is None:
            st.html(table)
        if not isinstance(asked, str):
            _left_out(view, asked.measures)
    return rows


def nothing(filters: Filters, asked: Asked | str) -> str:
    """Why a panel has no rows, and what can be done about it."""
    chosen = not isinstance(asked, str) and any(filters.chosen.values())
    period = not isinstance(asked, str) and asked.period is not None
    todo = [*(["take a filter away"] if chosen else []), *(["choose a longer period"] if period else [])]
    if not todo:
        return "There is nothing of this in this release."
    return f"There is nothing of this with what is chosen: {', or '.join(todo)}."


def _alternative(heading: str, rows: pa.Table, columns: Sequence[AnswerColumn]) -> str:
    """For those who do not see the chart: what it shows, and the row that is first."""
    first = next(iter(rows.slice(0, 1).to_pylist()))
    told = ", ".join(f"{title(each.name)} {markup.exact(first[each.name], each.format)}" for each in columns[:4])
    return f"{heading}: {rows.num_rows} rows, of which the first is {told}. The rows are below, as a table."


def headed(name: str, heading: str, said: str, rows: pa.Table, table: str = "") -> None:
    """The heading of a panel; beside it the rows that are drawn, as a table that opens and as files."""
    with st.container(horizontal=True, vertical_alignment="top", gap="small", key=f"headed-{name}"):
        note = f'<p class="cc-note">{said}</p>' if said else ""
        st.html(f'<h2 class="cc-heading">{escape(heading)}</h2>{note}', width="stretch")
        if rows.num_rows == 0:
            return
        if table:
            with st.popover("Rows", type="tertiary", key=f"rows-{name}", help="The rows that are drawn"):
                st.html(table)
        for kind, mime in OFFERED.items():
            st.download_button(
                kind.upper(),
                data=partial(as_file, rows, kind),
                file_name=f"{name}.{kind}",
                mime=mime,
                key=f"{kind}-{name}",
                on_click="ignore",
                type="tertiary",
                help=f"Download these rows as {kind.upper()}",
            )


def _left_out(view: View, measures: Sequence[str]) -> None:
    """Which measures have not what is filtered by; the others are filtered."""
    for out, names in view.filters.left_out(measures).items():
        if out:
            kinds, of = (" and ".join(map(title, each)) for each in (out, names))
            st.html(f'<p class="cc-note">Not filtered by {kinds.lower()}: {of}.</p>')
