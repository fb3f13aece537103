"""Data quality: every table with its checks, now and over time; the comparison with source; quarantine; releases."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa
import streamlit as st

from classic_cars.dashboard import markup, quality
from classic_cars.dashboard.asking import home_of
from classic_cars.dashboard.drawing import show, specification
from classic_cars.dashboard.panels import View, headed
from classic_cars.serving.completeness import Balance, MonthBalance
from classic_cars.serving.metrics import AnswerColumn
from classic_cars.serving.releases import Release, age, all_releases
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.wording import counted

#: Seconds that what Dagster's history says is remembered.
FRESH = 15
#: How an evaluation ended: kind and mark in a text, shape and colour in the chart.
OUTCOMES = {
    "passed": (markup.GOOD, "●", "circle", "#2b8a6b"),
    "warning": (markup.WARNING, "▲", "triangle-up", "#d98a1f"),
    "failed": (markup.BAD, "✚", "cross", "#d1495b"),
}
LAYERS = ("source", "staging", "warehouse", "analytics")


def page(view: View) -> None:
    _compared(view.release)
    what_is_known(view.settings)


def what_is_known(settings: Settings) -> None:
    """All that Dagster's history says, also where no release was made yet: then it says why."""
    tables = _tables_now(settings)
    _tables(settings, tables)
    _history(settings, tables)
    _quarantine(settings)
    _releases(settings)


@st.cache_data(ttl=FRESH, max_entries=4, show_spinner=False, hash_funcs={Settings: home_of})
def _tables_now(settings: Settings) -> list[dict[str, Any]]:
    return quality.tables_now(settings)


@st.cache_data(ttl=FRESH, max_entries=8, show_spinner=False, hash_funcs={Settings: home_of})
def _over_time(settings: Settings, layer: str) -> list[dict[str, Any]]:
    addresses = [each["table"] for each in _tables_now(settings) if each["table"].startswith(f"{layer}/")]
    return quality.over_time(settings, addresses)


def _section(name: str, heading: str, said: str, rows: list[dict[str, Any]], columns: list[AnswerColumn]) -> None:
    with st.container(border=True, key=f"panel-{name}"):
        found = pa.Table.from_pylist(rows)
        headed(name, heading, said, found)
        if not rows:
            st.html('<p class="cc-empty">Nothing is known yet: <code>classic-cars run</code>.</p>')
            return
        st.html(markup.table(found, columns, heading))


def _compared(release: Release) -> None:
    rows = []
    for balance in release.balances:
        rows.append(_sides(balance.subject, balance))
        rows += [_sides(f"{balance.subject}, {month}", month) for month in balance.unbalanced_months]
    columns = [
        AnswerColumn("subject", "What is compared"),
        *(
            AnswerColumn(f"{side} {what}", f"{what} {side}", format=",d" if what == "rows" else ",.2f")
            for side in ("source", "published", "quarantined")
            for what in ("rows", "amount")
        ),
        AnswerColumn("difference", "Source less what is published and quarantined, in USD", format=",.2f"),
    ]
    said = "Rows and cents of this release beside what the order system sent, compared month by month."
    _section("compared", "Compared with source", said, rows, columns)


def _sides(subject: str, each: Balance | MonthBalance) -> dict[str, Any]:
    sides = {"source": each.source, "published": each.published, "quarantined": each.quarantined}
    counted = {f"{side} rows": tally.rows for side, tally in sides.items()}
    amounts = {f"{side} amount": tally.amount for side, tally in sides.items()}
    difference = each.source.amount - each.published.amount - each.quarantined.amount
    return {"subject": subject, **counted, **amounts, "difference": difference}


def _tables(settings: Settings, tables: list[dict[str, Any]]) -> None:
    with st.container(border=True, key="panel-tables"):
        said = "As they are now; each name leads to Dagster, with the numbers of each check."
        headed("tables", "Tables and their checks", said, pa.Table.from_pylist(tables))
        if not tables:
            st.html('<p class="cc-empty">No table was made yet: <code>classic-cars run</code>.</p>')
            return
        worst_first = sorted(tables, key=lambda each: (not each["failed"], not each["warnings"]))
        rows = "".join(_row(settings, each) for each in worst_first)
        heads = "".join(f'<th scope="col">{each}</th>' for each in ("Table", "Checks", "Fresh as of", "Age"))
        st.html(
            '<div class="cc-scroll" tabindex="0" role="region" aria-label="Tables and their checks">'
            '<table class="cc-table"><caption>Tables and their checks</caption><thead><tr>'
            f'{heads}<th scope="col" class="cc-number">Rows</th></tr></thead><tbody>{rows}</tbody></table></div>'
        )


def _row(settings: Settings, table: dict[str, Any]) -> str:
    made, rows = table["materialized"], table["rows"]
    link = quality.dagster_link(settings.web_url, table["table"])
    if table["failed"]:
        state = markup.pill(markup.BAD, f"failed: {table['failed']}")
    elif table["warnings"]:
        state = markup.pill(markup.WARNING, f"warning: {table['warnings']}")
    elif made is None:
        state = markup.pill(markup.NEUTRAL, "never made")
    else:
        state = markup.pill(markup.GOOD, f"{table['passed']} passed")
    return (
        f'<tr><th scope="row"><a href="{escape(link)}" target="_blank" rel="noreferrer">{escape(table["table"])}</a>'
        f'</th><td>{state}</td><td class="cc-when">{markup.exact(made)}</td>'
        f'<td class="cc-when">{age(made, datetime.now(UTC)) if made else ""}</td>'
        f'<td class="cc-number">{"" if rows is None else f"{rows:,}"}</td></tr>'
    )


def _history(settings: Settings, tables: list[dict[str, Any]]) -> None:
    with st.container(border=True, key="panel-history"):
        if not tables:
            st.html('<p class="cc-empty">No check ran yet: <code>classic-cars run</code>.</p>')
            return
        heading = st.empty()
        layer = st.segmented_control("Layer", LAYERS, default="warehouse", key="layer", bind="query-params")
        rows = _over_time(settings, layer or "warehouse")
        said = f"The latest {quality.HISTORY} evaluations of each check: {legend()}."
        with heading.container():
            headed("checks", "Checks over time", said, pa.Table.from_pylist([_plain(each) for each in rows]))
        if not rows:
            st.html('<p class="cc-empty">No check of this layer ran yet.</p>')
            return
        show(specification(history_chart(rows)), f"Checks of {layer} over time: {len(rows)} results")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "outcome": str(row["outcome"])}


def legend() -> str:
    """What the marks mean, in words that wrap where a legend of the chart would be cut off."""
    return ", ".join(
        f'<span class="cc-{kind}"><span class="cc-mark" aria-hidden="true">{mark}</span> {name}</span>'
        for name, (kind, mark, *_) in OUTCOMES.items()
    )


def history_chart(rows: list[dict[str, Any]]) -> alt.Chart:
    """One line per check of a table, times in UTC; a circle passed, a triangle is a warning, a cross failed."""
    data = pd.DataFrame([_plain(each) for each in rows])
    data["line"] = data["table"].str.partition("/")[2] + " · " + data["check"]
    data["found"] = data["when"].map(markup.exact)
    axis = alt.Axis(labelAngle=0, labelOverlap="greedy", tickCount=6, format="%b %d %H:%M")
    shapes = alt.Scale(domain=[*OUTCOMES], range=[shape for _, _, shape, _ in OUTCOMES.values()])
    colours = alt.Scale(domain=[*OUTCOMES], range=[colour for *_, colour in OUTCOMES.values()])
    return (
        alt.Chart(data, height=alt.Step(17))
        .mark_point(filled=True, size=58, opacity=0.9)
        .encode(
            x=alt.X("when:T", title="UTC", scale=alt.Scale(type="utc"), axis=axis),
            y=alt.Y("line:N", title=None, axis=alt.Axis(labelLimit=260, ticks=False, grid=True)),
            shape=alt.Shape("outcome:N", scale=shapes, legend=None),
            color=alt.Color("outcome:N", scale=colours, legend=None),
            tooltip=["table:N", "check:N", "outcome:N", alt.Tooltip("found:N", title="when"), "said:N"],
        )
    )


def kept_out(rows: list[dict[str, Any]]) -> str:
    """How many rows of which table, and their money: table by table, as lines and payments are no sum."""
    kept = [each for each in rows if each["kept"]]
    told = []
    for table in dict.fromkeys(each["table"] for each in kept if each["rows"]):
        of = [each for each in kept if each["table"] == table]
        amounts = [each["amount"] for each in of if each["amount"] is not None]
        money = f", {markup.exact(sum(amounts, Decimal('0.00')), ',.2f')} USD" if amounts else ""
        told.append(f"{counted(sum(each['rows'] for each in of), 'row')} of {table}{money}")
    return f"Kept out now: {'; '.join(told) or 'nothing'}."


def _quarantine(settings: Settings) -> None:
    rows = quality.quarantined(settings)
    said = f"{kept_out(rows)} A row with several reasons is counted once."
    for each in rows:
        each["kept"] = "version refused" if not each["kept"] else "kept out" if each["rows"] else ""
        each["reason"] = each["reason"] or "nothing quarantined"
        each["unknown"] = each["unknown"] or None
    columns = [
        AnswerColumn("table", "The table that the rows were kept out of"),
        AnswerColumn("reason", "Why"),
        AnswerColumn("rows", "Rows that are kept out", format=",d"),
        AnswerColumn("amount", "Their amount in USD, where the table has one", format=",.2f"),
        AnswerColumn("unknown", "Rows among them whose amount cannot be read", format=",d"),
        AnswerColumn("kept", "Kept out of the published version, or refused together with a newer version"),
        AnswerColumn("when", "When that was found"),
    ]
    order = [each.name for each in columns]
    _section("quarantine", "Quarantine", said, [{name: each[name] for name in order} for each in rows], columns)


def _releases(settings: Settings) -> None:
    rows = [
        {
            "release": str(each.number),
            "made": each.made,
            "rows": each.order_lines.published.rows,
            "amount": each.order_lines.published.amount,
            "quarantined": each.order_lines.quarantined.rows,
            "proven": each.proven,
            "run": each.run_id,
        }
        for each in all_releases(open_store(settings, read_only=True).shelf)
    ]
    columns = [
        AnswerColumn("release", "Its number"),
        AnswerColumn("made", "When it was made"),
        AnswerColumn("rows", "Order lines", format=",d"),
        AnswerColumn("amount", "Booked amount in USD", format=",.2f"),
        AnswerColumn("quarantined", "Order lines in quarantine", format=",d"),
        AnswerColumn("proven", "When its data last equalled the live order system, as known when it was made"),
        AnswerColumn("run", "The run after which it was made"),
    ]
    said = "Readers get the newest; classic-cars releases compare OLD NEW says what changed."
    _section("releases", "Releases", said, rows, columns)
