"""The world, coloured by a measure: a click on a country chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa

from classic_cars.contracts.measures import MEASURES, Ratio
from classic_cars.dashboard.charts import AnyChart, frame, ticks, tooltips
from classic_cars.dashboard.worldmap import ADDRESS, points_with
from classic_cars.serving.metrics import AnswerColumn

#: The selection that a click makes, and what it tells.
PICKED, COUNTRY = "picked", "country"
HEIGHT = 290
#: What has no value, in both modes: between the background and the palest colour.
LAND = "#8a8f8c"


def world(rows: pa.Table, columns: Sequence[AnswerColumn], measure: str, height: int = HEIGHT) -> AnyChart:
    """Countries with a value in the theme's colours, places too small for a shape as circles, the others in grey.

    A sum of 0 is no value: a country has one where only the days compared with have anything.
    """
    data = _with_value(frame(rows), measure)
    column = next(each for each in columns if each.name == measure)
    legend = alt.Legend(**ticks(column), orient="bottom", gradientLength=180, tickCount=4, title=None)
    colour = alt.Color(f"{measure}:Q", legend=legend, scale=alt.Scale(type="sqrt"))
    told = tooltips(columns)
    shapes = alt.Data(url=ADDRESS, format=alt.DataFormat(type="json", property="features"))
    land = alt.Chart(shapes).mark_geoshape(fill=LAND, fillOpacity=0.18, stroke=None, aria=False)
    filled = (
        alt.Chart(shapes)
        .mark_geoshape(stroke=LAND, strokeWidth=0.5, cursor="pointer")
        .transform_lookup(
            lookup=f"properties.{COUNTRY}", from_=alt.LookupData(data=data, key=COUNTRY, fields=list(data.columns))
        )
        .transform_filter(f"isValid(datum.{measure})")  # countries without a row
        .encode(color=colour, tooltip=told)
        .add_params(alt.selection_point(name=PICKED, fields=[COUNTRY], empty=False))
    )
    layers: list[Any] = [land, filled]
    if points := points_with({row[COUNTRY]: row for row in data.to_dict("records")}):
        circles = alt.Chart(pd.DataFrame(points)).mark_circle(size=90, stroke=LAND, strokeWidth=0.5, opacity=1)
        layers.append(circles.encode(longitude="longitude:Q", latitude="latitude:Q", color=colour, tooltip=told))
    return alt.layer(*layers).project("naturalEarth1").properties(height=height)


def _with_value(data: pd.DataFrame, measure: str) -> pd.DataFrame:
    found = data[data[measure].notna()]
    return found if isinstance(MEASURES[measure], Ratio) else found[found[measure] != 0]
