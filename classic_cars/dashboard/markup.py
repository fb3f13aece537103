"""Tiles, tables and notes as HTML that needs no script: read by everybody, by screen readers and by printers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa

from classic_cars.dashboard.wordings import NOTHING, exact, short, title
from classic_cars.serving.metrics import AnswerColumn

#: Rows that a table on the page shows; downloads have all.
SHOWN = 200
GOOD, WARNING, BAD, NEUTRAL = "good", "warning", "bad", "neutral"
#: Said and drawn, so that no state is told by its colour alone.
MARKS = {GOOD: "✓", WARNING: "!", BAD: "✕", NEUTRAL: "·"}


@dataclass(frozen=True)
class Tile:
    """One headline: a measure, its value, and what it is compared with. ``link`` leads to its definition."""

    column: AnswerColumn
    value: Any
    growth: Any = None
    versus: str = ""
    link: str = ""


def tiles(shown: Iterable[Tile]) -> str:
    return f'<dl class="cc-tiles">{"".join(map(_tile, shown))}</dl>'


def _tile(tile: Tile) -> str:
    name, form = tile.column.name, tile.column.format
    label = f'<a href="{escape(tile.link)}" target="_self" title="{escape(tile.column.description)}">{title(name)}</a>'
    change = ""
    if tile.versus:
        up = tile.growth is not None and tile.growth >= 0
        said = NOTHING if tile.growth is None else f"{'▲' if up else '▼'} {exact(abs(tile.growth), '.1%')}"
        kind = NEUTRAL if tile.growth is None else GOOD if up else BAD
        change = f'<dd class="cc-change cc-{kind}">{said} <span>vs {escape(tile.versus)}</span></dd>'
    whole = exact(tile.value, form)
    return (
        f'<div class="cc-tile" data-measure="{name}"><dt>{label}</dt>'
        f'<dd class="cc-value" title="{whole}" data-exact="{whole}">{short(tile.value, form)}</dd>{change}</div>'
    )


def definition_link(name: str, parameters: Mapping[str, Sequence[str] | str]) -> str:
    """The address of the definition of a measure, with the filters that are set: whoever returns finds them."""
    return "definitions?" + urlencode({**parameters, "of": name}, doseq=True)


def table(rows: pa.Table, columns: Sequence[AnswerColumn], caption: str, links: Mapping[str, str] | None = None) -> str:
    """Columns without a format are texts. ``links``: of headings, by column."""
    known = links or {}
    head = "".join(_heading(each, known.get(each.name, "")) for each in columns)
    body = "".join(
        f"<tr>{''.join(_cell(row[each.name], each, first=i == 0) for i, each in enumerate(columns))}</tr>"
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


def _cell(value: Any, column: AnswerColumn, *, first: bool) -> str:
    text = escape(exact(value, column.format))
    if first:
        return f'<th scope="row">{text}</th>'
    signed = column.format.startswith("+") and value is not None and value != 0
    kind = f"cc-number cc-{GOOD if value > 0 else BAD}" if signed else "cc-number" if column.format else ""
    return f'<td class="{kind}">{text}</td>'


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
