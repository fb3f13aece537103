"""Tiles, tables and notes as HTML that needs no script: read by everybody, by screen readers and by printers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

import pyarrow as pa

from classic_cars.dashboard.wordings import NOTHING, exact, short, title
from classic_cars.serving.metrics import POINTS, AnswerColumn
from classic_cars.wording import rounded

#: Rows that a table on the page shows; downloads have all.
SHOWN = 200
#: Characters of a text from which on it may take several lines of a cell on a phone.
LONG = 40
GOOD, WARNING, BAD, NEUTRAL = "good", "warning", "bad", "neutral"
#: Said and drawn, so that no state is told by its colour alone.
MARKS = {GOOD: "✓", WARNING: "!", BAD: "✕", NEUTRAL: "·"}


@dataclass(frozen=True)
class Tile:
    """One headline: a measure, its value, and what it is compared with. ``link`` leads to its definition."""

    column: AnswerColumn
    value: Any
    change: Any = None
    versus: str = ""
    link: str = ""


#: Measures of which more is better; of the others a change is neither good nor bad.
BETTER_UP = (
    *("netSales", "bookedAmount", "grossProfit", "margin", "orders", "soldOrders", "units", "payments"),
    *("averageOrderValue", "onTimeShipmentShare", "averageRating"),
)


def _size(tile: Tile) -> str:
    """Of the change: a share, and of shares the points between them."""
    size = abs(tile.change)
    return f"{rounded(100 * size, '.1f')} pts" if "%" in tile.column.format else exact(size, ".1%")


def tiles(shown: Iterable[Tile]) -> str:
    return f'<dl class="cc-tiles">{"".join(map(_tile, shown))}</dl>'


def _tile(tile: Tile) -> str:
    name, form = tile.column.name, tile.column.format
    label = f'<a href="{escape(tile.link)}" target="_self" title="{escape(tile.column.description)}">{title(name)}</a>'
    change = ""
    if tile.versus:
        up = tile.change is not None and tile.change >= 0
        said = NOTHING if tile.change is None else f"{'▲' if up else '▼'} {_size(tile)}"
        judged = tile.change is not None and name in BETTER_UP
        kind = (GOOD if up else BAD) if judged else NEUTRAL
        change = f'<dd class="cc-change cc-{kind}" title="{escape(tile.versus)}">{said}</dd>'
    whole = exact(tile.value, form)
    return (
        f'<div class="cc-tile" data-measure="{name}"><dt>{label}</dt>'
        f'<dd class="cc-value" title="{whole}" data-exact="{whole}">{short(tile.value, form)}</dd>{change}</div>'
    )


def address(page: str, name: str, value: str, parameters: Mapping[str, Sequence[str] | str]) -> str:
    """Of a page with one parameter more than those of this one: filters stay as they are."""
    others = {key: each for key, each in parameters.items() if key != name}
    return f"{page}?{urlencode({**others, name: value}, doseq=True)}"


def table(
    rows: pa.Table,
    columns: Sequence[AnswerColumn],
    caption: str,
    links: Mapping[str, str] | None = None,
    into: Mapping[str, str] | None = None,
) -> str:
    """Columns without a format are texts. ``links``: of headings, by column; ``into``: the same of values, to which the
    value is added."""
    known, below = links or {}, into or {}
    head = "".join(_heading(each, known.get(each.name, "")) for each in columns)
    first = columns[0] if columns else None
    body = "".join(
        "<tr>" + "".join(_cell(row[c.name], c, below.get(c.name, ""), first=c is first) for c in columns) + "</tr>"
        for row in rows.slice(0, SHOWN).to_pylist()
    )
    more = (
        f'<p class="cc-note">{rows.num_rows - SHOWN:,} more rows in the downloads.</p>' if rows.num_rows > SHOWN else ""
    )
    return (
        f'<div class="cc-scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="cc-table">'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"
    )


def _heading(column: AnswerColumn, link: str) -> str:
    text = escape(title(column.name))
    if link:
        text = f'<a href="{escape(link)}" target="_self">{text}</a>'
    kind = ' class="cc-number"' if column.format else ""
    return f'<th scope="col"{kind} title="{escape(column.description)}">{text}</th>'


def _cell(value: Any, column: AnswerColumn, link: str, *, first: bool) -> str:
    text = escape(column.written(value) if column.unit == POINTS and value is not None else exact(value, column.format))
    if link and value is not None:
        text = f'<a href="{escape(link + quote(str(value)))}" target="_self">{text}</a>'
    if first:
        return f'<th scope="row">{text}</th>'
    signed = column.format.startswith("+") and value is not None and value != 0
    kind = f"cc-number cc-{GOOD if value > 0 else BAD}" if signed else "cc-number" if column.format else ""
    kind = "cc-when" if isinstance(value, date) else "cc-long" if len(text) > LONG and not kind else kind
    return f'<td class="{kind}">{text}</td>'


def section(heading: str) -> str:
    """The heading of what follows on a page, such as the name of a customer."""
    return f'<h2 class="cc-section">{escape(heading)}</h2>'


def pill(kind: str, text: str) -> str:
    """A state, as a mark and a word."""
    return f'<span class="cc-pill cc-{kind}"><span aria-hidden="true">{MARKS[kind]}</span> {escape(text)}</span>'


def state(heading: str, said: str, todo: Sequence[str] = ()) -> str:
    """A page that has nothing to show: why, and what to do about it (commands)."""
    steps = "".join(f"<li><code>{escape(each)}</code></li>" for each in todo)
    return (
        f'<section class="cc-state"><h1>{escape(heading)}</h1><p>{escape(said)}</p>'
        f"{f'<ol>{steps}</ol>' if steps else ''}</section>"
    )
