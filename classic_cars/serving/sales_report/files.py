"""The reports as files: ``reports/YYYY-MM.html`` in the home, one for each month with orders, each whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from classic_cars.errors import QuestionError, StoreUnavailable, TableMissing
from classic_cars.files import whole_file
from classic_cars.months import Months
from classic_cars.serving.html import page
from classic_cars.serving.releases import Release, last_proven, opened, pending
from classic_cars.serving.sales_report.numbers import Answers, Month, Report, answers, report_of
from classic_cars.serving.sales_report.trend import trend
from classic_cars.settings import Settings

_NAME = re.compile(r"\d{4}-\d{2}\.html")


@dataclass(frozen=True)
class Written:
    month: Month
    path: Path
    net_sales: Decimal


def folder(settings: Settings) -> Path:
    return settings.home / "reports"


def newest(settings: Settings) -> Path | None:
    """The report of the latest month; None when there is none."""
    found = [each for each in folder(settings).glob("*.html") if _NAME.fullmatch(each.name)]
    return max(found, default=None)


def write_reports(
    settings: Settings, month: str | None = None, proven: datetime | None = None
) -> tuple[Release, list[Written]]:
    """Write the report of every month of the current release, or of one, oldest first.

    ``proven``: when the published tables were last proven equal to the live order system.
    Reports of months that have no orders any more are removed. Raises ``TableMissing`` without a release,
    ``QuestionError`` for a month without orders, ``StoreError`` when the tables or the folder fail.
    """
    with opened(settings) as found:
        if found is None:
            raise TableMissing("no release was made yet, so that there is nothing to report: `classic-cars run`")
        release, tables = found
        numbers = answers(tables, release.made.date())
    months = numbers.months if month is None else [_chosen(month, numbers)]
    written, held_back = [], pending(settings)
    proven = last_proven(release, proven, held_back)
    try:
        folder(settings).mkdir(parents=True, exist_ok=True)
        for each in months:
            report = report_of(each, numbers)
            path = folder(settings) / f"{each:%Y-%m}.html"
            with whole_file(path) as file:
                file.write(report_page(report, release, proven, held_back).encode())
            written.append(Written(each, path, report.net_sales))
        _tidy(folder(settings), {f"{each:%Y-%m}.html" for each in numbers.months})
    except OSError as error:
        fix = "make it writable, or free some space on its disk"
        raise StoreUnavailable(f"{folder(settings)}: cannot be written ({error.strerror}); {fix}") from None
    return release, written


def _chosen(month: str, found: Answers) -> Month:
    try:
        chosen = Months.parse(month)
    except ValueError as error:
        raise QuestionError(f"month {month!r}: {error}") from None
    if chosen.first != chosen.last or chosen.first not in found.months:
        there = f"{found.months[0]:%Y-%m} to {found.months[-1]:%Y-%m}" if found.months else "no months at all"
        raise QuestionError(f"month {month}: has no orders in the release; there are {there}")
    return chosen.first


def report_page(report: Report, release: Release, proven: datetime | None, held_back: str = "") -> str:
    return page(
        "report.html",
        title=f"Sales in {report.month:%B %Y}",
        report=report,
        release=release,
        proven=proven,
        held_back=held_back,
        trend=trend(report.trend),
    )


def _tidy(place: Path, known: set[str]) -> None:
    """Remove reports of other months; nothing else that somebody keeps there."""
    for each in place.iterdir():
        if _NAME.fullmatch(each.name) and each.name not in known:
            each.unlink(missing_ok=True)


def listed(written: Sequence[Written]) -> str:
    """Markdown, newest first."""
    rows = [f"| {each.month:%Y-%m} | {each.net_sales:,.2f} | {each.path} |" for each in reversed(written)]
    return "\n".join(["| month | net sales | file |", "|---|---:|---|", *rows])
