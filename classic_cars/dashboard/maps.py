"""The world, coloured by a measure: a click on a country chooses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa

from classic_cars.dashboard.charts import axis_format, frame, tooltips
from classic_cars.dashboard.worldmap import points_with, shapes, shapes_with
from classic_cars.serving.metrics import AnswerColumn

#: The selection that a click makes, and what it tells.
PICKED, COUNTRY = "picked", "country"
HEIGHT = 340
#: What has no sales, in both modes: between the background and the palest colour.
LAND = "#8a8f8c"


def world(rows: pa.Table, columns: Sequence[AnswerColumn], measure: str, height: int = HEIGHT) -> alt.LayerChart:
    """Countries with a value in the theme's colours, places too small for a shape as circles, the others in grey."""
    values = {each[COUNTRY]: _plain(each) for each in frame(rows).to_dict("records")}
    column = next(each for each in columns if each.name == measure)
    legend = alt.Legend(format=axis_format(column), orient="bottom", gradientLength=180, tickCount=4, title=None)
    colour = alt.Color(f"{measure}:Q", legend=legend, scale=alt.Scale(type="sqrt"))
    told = tooltips(columns)
    land = alt.Chart(alt.Data(values=shapes())).mark_geoshape(fill=LAND, fillOpacity=0.18, stroke=None, aria=False)
    picked = alt.selection_point(name=PICKED, fields=[f"properties.{COUNTRY}"], empty=False)
    flat = [{**each, **each["properties"]} for each in shapes_with(values)]
    filled = (
        alt.Chart(alt.Data(values=flat))
        .mark_geoshape(stroke=LAND, strokeWidth=0.5, cursor="pointer")
        .encode(color=colour, tooltip=told)
        .add_params(picked)
    )
    points = pd.DataFrame(points_with(values))
    layers: list[Any] = [land, filled]
    if len(points):
        circles = alt.Chart(points).mark_circle(size=90, stroke=LAND, strokeWidth=0.5, opacity=1)
        layers.append(circles.encode(longitude="longitude:Q", latitude="latitude:Q", color=colour, tooltip=told))
    return alt.layer(*layers).project("naturalEarth1").properties(height=height)


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and pd.isna(value) else value for name, value in row.items()}
