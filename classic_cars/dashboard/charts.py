"""Charts of answers: from rows to Altair, without a page. Colours are the page's theme's, so that both modes fit.

Every chart has a title for those who hear the page (``alt``, given where it is shown), a tooltip with exact numbers,
and no meaning that only its colours carry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa

from classic_cars.contracts.measures import DECIMALS, MEASURES
from classic_cars.contracts.metrics import Metric
from classic_cars.dashboard.wordings import short, title
from classic_cars.serving.metrics import AnswerColumn

#: Height of a bar with its gap, and of charts over time, in pixels.
BAR, TALL = 26, 260
#: Height of a ridge's room in pixels, and how much of it the highest one takes.
TALLER, RIDGE = 70, 0.75
#: Of labels, and of what the rest is compared with: stands out from both backgrounds.
QUIET = "#78817c"


AnyChart = alt.Chart | alt.LayerChart | alt.FacetChart


#: Shares are drawn so much further from 0, a few units of a float's last digit: d3 writes ``100 * share``, of which
#: half the last digit that is written may come out too small.
_OVER_HALF = 1 + 2**-51


def frame(rows: pa.Table) -> pd.DataFrame:
    """For pictures: decimals as floats."""
    found = rows.to_pandas()
    for field in rows.schema:
        if pa.types.is_decimal(field.type):
            found[field.name] = found[field.name].astype("float64") * (1 if field.type.scale < DECIMALS else _OVER_HALF)
    return found


def without_gaps(data: pd.DataFrame, unit: str, *, by: str = "") -> pd.DataFrame:
    """With a row for each month or quarter between the first and the last: 0 of what is summed, nothing of ratios.

    ``by``: each of its groups has them all.
    """
    known = data[data[unit].notna()]
    freq = {"month": "M", "quarter": "Q"}.get(unit)
    if freq is None or known.empty:
        return known
    spans = pd.period_range(known[unit].min().replace("-Q", "Q"), known[unit].max().replace("-Q", "Q"), freq=freq)
    names = [str(each) if freq == "M" else f"{each.year}-Q{each.quarter}" for each in spans]
    if by:
        wanted = pd.MultiIndex.from_product([known[by].unique(), names], names=[by, unit])
        whole = known.set_index([by, unit]).reindex(wanted)
    else:
        whole = known.set_index(unit).reindex(pd.Index(names, name=unit))
    summed = [name for name in whole if isinstance(MEASURES.get(str(name).removesuffix("Before")), Metric)]
    return whole.fillna(dict.fromkeys(summed, 0.0)).reset_index()


#: d3 writes 0M and 500k. Three digits: a legend of one value alone is no round number.
_TICKS = "datum.value === 0 ? '0' : replace(replace(datum.label, 'k', 'K'), 'G', 'B')"


def ticks(column: AnswerColumn) -> dict[str, Any]:
    """How a column is written on an axis or a legend: short, as headlines are."""
    if "%" in column.format:
        return {"format": ".0%"}
    return {"format": ".3~s", "labelExpr": _TICKS}


def tooltips(columns: Sequence[AnswerColumn]) -> list[alt.Tooltip]:
    """Exact numbers."""
    return [
        alt.Tooltip(
            field=each.name,
            type="quantitative" if each.format else "nominal",
            title=title(each.name),
            format=each.format if each.format else alt.Undefined,
        )
        for each in columns
    ]


def bars(
    rows: pa.Table, columns: Sequence[AnswerColumn], by: str, measure: str, *, before: str = "", step: int = BAR
) -> AnyChart:
    """Ranked bars, longest first, with their values in a column at the right, where no mark is.

    ``before``: the column of what they are compared with, as a tick beside each.
    """
    data, column = frame(rows), _named(columns, measure)
    order = data.sort_values(measure, ascending=False)[by].tolist()
    base = alt.Chart(data, height=alt.Step(step))
    names = _row(by, order, alt.Axis(labelLimit=190, ticks=False, domain=False))
    x = alt.X(f"{measure}:Q", title=None, axis=alt.Axis(**ticks(column), tickCount=4, domain=False))
    drawn = base.mark_bar(cornerRadiusEnd=3, height=min(22, step - 10))
    layers: list[Any] = [drawn.encode(x=x, y=names, tooltip=tooltips(columns))]
    written = {
        name: short(value, column.format) for name, value in zip(data[by], rows[measure].to_pylist(), strict=True)
    }
    at_right = alt.Axis(
        orient="right",
        labelExpr=f"{json.dumps(written)}[datum.value]",
        labelFontSize=11,
        labelColor=QUIET,
        ticks=False,
        domain=False,
        grid=False,
    )
    # The values are the axis of the ticks, which are not seen where there is nothing to compare with.
    tick = base.mark_tick(thickness=2.5, size=20, opacity=0.9 if before else 0, color=QUIET)
    layers.append(
        tick.encode(x=alt.X(f"{before or measure}:Q"), y=_row(by, order, at_right), tooltip=tooltips(columns))
    )
    return alt.layer(*layers).resolve_axis(y="independent")


def _row(by: str, order: list[Any], axis: alt.Axis) -> alt.Y:
    return alt.Y(f"{by}:N", sort=order, title=None, axis=axis)


def over_time(
    rows: pa.Table, columns: Sequence[AnswerColumn], unit: str, measure: str, *, before: str = "", zero: bool = True
) -> AnyChart:
    """An area with a line; ``before``: the column of the days it is compared with, as a dashed line."""
    data, column = without_gaps(frame(rows), unit), _named(columns, measure)
    x = alt.X(f"{unit}:N", title=None, axis=alt.Axis(labelAngle=0, labelOverlap="greedy", labelSeparation=12))
    y = alt.Y(
        f"{measure}:Q",
        title=None,
        scale=alt.Scale(zero=zero),
        axis=alt.Axis(**ticks(column), tickCount=5, domain=False),
    )
    base = alt.Chart(data, height=TALL).encode(x=x, tooltip=tooltips(columns))
    layers = [
        base.mark_area(opacity=0.14, interpolate="monotone").encode(y=y),
        base.mark_line(strokeWidth=2.5, interpolate="monotone", point=alt.OverlayMarkDef(size=36)).encode(y=y),
    ]
    if before:
        dashed = base.mark_line(strokeWidth=1.5, strokeDash=[4, 4], color=QUIET, interpolate="monotone")
        layers.append(dashed.encode(y=alt.Y(f"{before}:Q")))
    return alt.layer(*layers)


def ridges(rows: pa.Table, columns: Sequence[AnswerColumn], by: str, unit: str, measure: str) -> AnyChart:
    """One area per group, with its highest value, on one scale, the largest first: read without telling colours apart.

    One picture and not many small ones, which would keep their width on a phone. A value alone between breaks is a dot.
    """
    data = without_gaps(frame(rows), unit, by=by)
    order = data.groupby(by)[measure].sum().sort_values(ascending=False).index.tolist()
    known = data[measure].dropna()
    lowest, highest = min([0.0, *known]), max([0.0, *known])
    scale = RIDGE / max(highest - lowest, 1e-9)
    data["_floor"] = [float(len(order) - 1 - order.index(each)) for each in data[by]]
    data["_top"] = data["_floor"] + scale * data[measure]
    beside = data.groupby(by)[measure]
    alone = data[data[measure].notna() & beside.shift(1).isna() & beside.shift(-1).isna()]
    names = f"{json.dumps(order[::-1])}[datum.value]"
    x = alt.X(f"{unit}:N", title=None, axis=alt.Axis(labelAngle=0, labelOverlap="greedy", ticks=False, grid=False))
    y = alt.Axis(values=[*range(len(order))], labelExpr=names, ticks=False, domain=False, labelFlush=False)
    room = alt.Scale(domain=[scale * lowest, len(order) + scale * lowest], nice=False)
    base = alt.Chart(data, height=TALLER * len(order)).encode(
        x=x, y=alt.Y("_top:Q", title=None, axis=y, scale=room), detail=f"{by}:N"
    )
    area = base.mark_area(opacity=0.75, interpolate="monotone").encode(y2="_floor:Q")
    points = base.mark_point(size=90, opacity=0).encode(tooltip=tooltips(columns))
    peaks = data.loc[known.groupby(data[by]).idxmax()].copy()
    peaks["_label"] = [short(each, _named(columns, measure).format) for each in peaks[measure]]
    written = alt.Chart(peaks).mark_text(dy=-8, fontSize=11, color=QUIET)
    dots = alt.Chart(alone).mark_point(size=30, filled=True, aria=False).encode(x=x, y="_top:Q")
    return alt.layer(area, dots, points, written.encode(x=x, y="_top:Q", text="_label:N"))


def seasons(rows: pa.Table, columns: Sequence[AnswerColumn], measure: str) -> AnyChart:
    """Months of the year across, years down: a darker cell is more."""
    data, column = frame(rows), _named(columns, measure)
    data["year"], data["of year"] = data["month"].str[:4], data["month"].str[5:]
    names = "{'01':'Jan','02':'Feb','03':'Mar','04':'Apr','05':'May','06':'Jun','07':'Jul','08':'Aug','09':'Sep',"
    names += "'10':'Oct','11':'Nov','12':'Dec'}[datum.value]"
    return (
        alt.Chart(data, height=alt.Step(44))
        .mark_rect(cornerRadius=3)
        .encode(
            x=alt.X("of year:N", title=None, axis=alt.Axis(labelExpr=names, labelAngle=0, ticks=False, domain=False)),
            y=alt.Y("year:N", title=None, axis=alt.Axis(ticks=False, domain=False, labelFlush=False)),
            color=alt.Color(f"{measure}:Q", title=None, legend=_gradient(column)),
            tooltip=tooltips(columns),
        )
    )


def stacked(rows: pa.Table, columns: Sequence[AnswerColumn], unit: str, by: str, measure: str) -> AnyChart:
    """Parts of a whole over time; the legend names them in words."""
    data, column = frame(rows), _named(columns, measure)
    units = without_gaps(data[[unit]].drop_duplicates(), unit)[unit].tolist()
    return (
        alt.Chart(data, height=TALL)
        .mark_bar()
        .encode(
            x=alt.X(
                f"{unit}:N",
                title=None,
                scale=alt.Scale(domain=units),
                axis=alt.Axis(labelAngle=0, labelOverlap="greedy"),
            ),
            y=alt.Y(f"{measure}:Q", title=None, axis=_counts(column)),
            color=alt.Color(f"{by}:N", title=None, legend=alt.Legend(orient="top", symbolType="square")),
            tooltip=tooltips(columns),
        )
    )


def scatter(rows: pa.Table, columns: Sequence[AnswerColumn], x: str, y: str, size: str, color: str = "") -> AnyChart:
    """One mark per row; ``size``: how much it is based on. ``color``: told apart by shape, too."""
    data, legend = frame(rows), alt.Legend(orient="top", columns=2)
    chart = alt.Chart(data, height=420).mark_point(filled=True, opacity=0.75)
    marked: dict[str, Any] = {}
    if color:
        named = f"{color}:N"
        marked = {"color": alt.Color(named, title=None, legend=legend), "shape": alt.Shape(named, title=None)}
    return chart.encode(
        x=alt.X(f"{x}:Q", title=title(x), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6)),
        y=alt.Y(f"{y}:Q", title=title(y), axis=alt.Axis(**ticks(_named(columns, y)), tickCount=5)),
        size=alt.Size(f"{size}:Q", legend=None, scale=alt.Scale(range=[40, 360])),
        tooltip=tooltips(columns),
        **marked,
    )


def curve(rows: pa.Table, columns: Sequence[AnswerColumn]) -> AnyChart:
    """Concentration: which share of the total the first share of customers has; the diagonal is all alike."""
    data = pd.concat([pd.DataFrame([{"members": 0, "shareOfMembers": 0.0, "share": 0.0}]), frame(rows)])
    percent = alt.Axis(format=".0%", tickCount=5)
    x = alt.X("shareOfMembers:Q", title="Share of customers, largest first", axis=percent)
    y = alt.Y("share:Q", title="Share of total", axis=percent, scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(data, height=TALL).encode(x=x, tooltip=tooltips(columns))
    alike = alt.Chart(pd.DataFrame({"shareOfMembers": [0, 1]}), height=TALL).mark_line(
        strokeDash=[4, 4], strokeWidth=1.5, color=QUIET
    )
    diagonal = alike.encode(x=x, y=alt.Y("shareOfMembers:Q", title="Share of total", axis=percent))
    area = base.mark_area(opacity=0.14).encode(y=y)
    return alt.layer(area, base.mark_line(strokeWidth=2.5).encode(y=y), diagonal)


def cohort_grid(rows: pa.Table, columns: Sequence[AnswerColumn]) -> AnyChart:
    """Cohorts down, time across: the share of each cohort's customers that bought then."""
    legend = alt.Legend(format=".0%", orient="top", gradientLength=180)
    return (
        alt.Chart(frame(rows), height=alt.Step(26))
        .mark_rect(cornerRadius=3)
        .encode(
            x=alt.X("quarter:N", title=None, axis=alt.Axis(labelAngle=0, labelOverlap="greedy", ticks=False)),
            y=alt.Y("cohort:N", title=None, axis=alt.Axis(ticks=False, domain=False, labelFlush=False)),
            color=alt.Color("retention:Q", title=None, legend=legend),
            tooltip=tooltips(columns),
        )
    )


def _gradient(column: AnswerColumn) -> alt.Legend:
    return alt.Legend(**ticks(column), orient="top", gradientLength=180, tickCount=3)


def _counts(column: AnswerColumn) -> alt.Axis:
    """An axis without halves of what is counted."""
    whole: dict[str, Any] = {"tickMinStep": 1} if column.format.endswith("d") else {}
    return alt.Axis(**ticks(column), tickCount=5, domain=False, **whole)


def _named(columns: Sequence[AnswerColumn], name: str) -> AnswerColumn:
    return next(each for each in columns if each.name == name)
