"""Time: months and seasons."""

from __future__ import annotations

from functools import partial

from classic_cars.dashboard import charts
from classic_cars.dashboard.panels import View, headlines, panel
from classic_cars.dashboard.wordings import title


def page(view: View) -> None:
    filters, measure = view.filters, view.filters.measure
    headlines(view, [measure, "netSales", "orders", "averageOrderValue", "linesPerOrder"])
    before = f"{measure}Before" if filters.period is not None else ""
    panel(
        view,
        f"{title(measure)} by month",
        filters.asked([measure], ["month"], compare=True),
        partial(charts.over_time, unit="month", measure=measure, before=before),
        key="by-month",
        said="Dashed: what it is compared with." if before else "",
    )
    panel(
        view,
        f"Seasons of {title(measure).lower()}, all time",
        filters.asked([measure], ["month"], always=True),
        partial(charts.seasons, measure=measure),
        key="seasons",
        said="The stronger the colour, the more.",
    )
    panel(
        view,
        f"{title(measure)} by quarter, all time",
        filters.asked(
            list(dict.fromkeys([measure, "netSales", "grossProfit", "margin", "orders"])), ["quarter"], always=True
        ),
        key="quarters",
    )
