"""The sales report of a month has the order system's own numbers, needs nothing from anywhere, and is always whole."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from html import unescape
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from classic_cars.automation.sales_report import JOB, KEY, sales_report_job
from classic_cars.dashboard.controls import known
from classic_cars.definitions import build_defs
from classic_cars.errors import QuestionError, StoreUnavailable, TableMissing
from classic_cars.processes import UNFINISHED
from classic_cars.serving.releases import opened
from classic_cars.serving.sales_report.files import folder, newest, write_reports
from classic_cars.serving.sales_report.numbers import answers, back
from classic_cars.serving.sales_report.trend import trend
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.platform import QUIET, order_system_frames
from classic_cars_tests.programs import ended_process

MONTH = "2003-05"


@pytest.fixture(scope="module")
def lines(published_home: Path) -> pd.DataFrame:
    """Order lines with all that a report cuts them by, from the order system itself."""
    frames = order_system_frames(Settings(home=published_home).order_system_url)
    found = (
        frames["orderdetails"]
        .merge(frames["orders"], on="orderNumber", validate="m:1")
        .merge(frames["customers"], on="customerNumber", validate="m:1")
        .merge(frames["products"], on="productCode", validate="m:1")
    )
    found["month"] = pd.to_datetime(found.orderDate).dt.strftime("%Y-%m")
    found["amount"] = [q * p for q, p in zip(found.quantityOrdered, found.priceEach, strict=True)]
    found["profit"] = [
        q * (p - b) for q, p, b in zip(found.quantityOrdered, found.priceEach, found.buyPrice, strict=True)
    ]
    found["country"], found["customerName"] = found.country.str.strip(), found.customerName.str.strip()
    return found


def total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


def net(lines: pd.DataFrame) -> Decimal:
    return total(lines[lines.status != "Cancelled"].amount)


def share(part: Decimal, whole: Decimal) -> str:
    return f"{(100 * part / whole).quantize(Decimal('0.1'), ROUND_HALF_UP):,}"


def table(text: str, title: str) -> list[list[str]]:
    """The texts of a table's cells, row by row."""
    _, _, rest = text.partition(f"<h2>{title}</h2>")
    rows = re.findall(r"<tr>(.*?)</tr>", rest.partition("</table>")[0], re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[unescape(re.sub(r"<[^>]+>", "", each)).strip() for each in row] for row in cells if row]


def tiles(text: str) -> dict[str, list[str]]:
    found = re.findall(r'<div class="tile"><dt>(.*?)</dt>(.*?)</div>', text, re.DOTALL)
    return {
        name: [unescape(re.sub(r"<[^>]+>", "", each)) for each in re.findall(r"<dd[^>]*>(.*?)</dd>", rest, re.DOTALL)]
        for name, rest in found
    }


def test_each_number_is_that_of_the_order_system(published: Settings, lines: pd.DataFrame) -> None:
    _, written = write_reports(published)
    assert [f"{each.month:%Y-%m}" for each in written] == sorted(lines.month.unique())
    for each in written:
        now = lines[lines.month == f"{each.month:%Y-%m}"]
        before = lines[lines.month == f"{back(each.month, 1):%Y-%m}"]
        text = each.path.read_text("utf-8")
        shown = tiles(text)
        sold = now[now.status != "Cancelled"]
        assert each.net_sales == net(now)
        assert shown["Net sales"][0] == f"${net(now):,.2f}"
        assert shown["Orders"][0] == f"{now.orderNumber.nunique():,}"
        assert shown["Units"][0] == f"{now.quantityOrdered.sum():,}"
        assert shown["Gross profit"][0] == f"${total(sold.profit):,.2f}"
        assert shown["Margin"][0] == f"{share(total(sold.profit), net(now))}%"
        if len(before):
            grown = 100 * (net(now) - net(before)) / net(before)
            assert shown["Net sales"][1].startswith("▲" if grown > 0 else "▼")
            assert abs(Decimal(shown["Net sales"][1].split()[1].strip("%").replace(",", "")) - abs(grown)) < Decimal(
                "0.06"
            )
        else:
            assert shown["Net sales"][1].startswith("–")
        for title, column in (("Product lines", "productLine"), ("Countries", "country")):
            found = {row[0]: row[2:] for row in table(text, title)}
            assert {name: row[0] for name, row in found.items()} == {
                name: f"${net(group):,.2f}" for name, group in now.groupby(column)
            }
            assert {name: row[3] for name, row in found.items()} == {
                name: f"{group.orderNumber.nunique():,}" for name, group in now.groupby(column)
            }
            amounts = [Decimal(row[2].strip("$").replace(",", "")) for row in table(text, title)]
            assert amounts == sorted(amounts, reverse=True)
        best = sorted((net(group) for _, group in now.groupby("customerNumber")), reverse=True)[:10]
        assert [row[3] for row in table(text, "Top customers")] == [f"${each:,.2f}" for each in best]


def test_a_report_needs_nothing_from_anywhere_and_says_why_it_can_be_believed(published: Settings) -> None:
    release, _ = write_reports(published, proven=datetime(2026, 1, 2, 4, 15, tzinfo=UTC))
    before, after = release.made - timedelta(hours=1), release.made + timedelta(hours=1)
    _, (*_, last) = write_reports(published, proven=before)
    assert "not yet compared with the live order system" in last.path.read_text("utf-8")
    _, written = write_reports(published, proven=after)
    text = written[-1].path.read_text("utf-8")
    assert not re.search(r"https?:|//[a-z]|<script|<link|<img|<iframe|\burl\(|@import|\bon\w+=|\bhref=|\bsrc=", text)
    assert f"Release {release.number} of" in text
    assert f"closed months last proven equal to the live order system on {after.day} {after:%b %Y, %H:%M} UTC" in text
    assert release.order_lines.line() in unescape(text)
    assert "the month may not be over" in text  # the shop's last order is of the 20th
    assert "the month may not be over" not in written[0].path.read_text("utf-8")


def test_what_was_proven_while_newer_tables_are_held_back_is_not_said_of_the_release(published: Settings) -> None:
    open_store(published).shelf.note("release 2 would contradict itself")
    _, written = write_reports(published, proven=datetime(2062, 1, 2, 4, 15, tzinfo=UTC))
    text = written[-1].path.read_text("utf-8")
    assert "not yet compared with the live order system" in text
    assert "Newer tables are held back" in text


def test_a_date_still_to_come_ends_neither_the_month_nor_what_can_be_chosen(published: Settings) -> None:
    day = date(2003, 5, 10)
    with opened(published) as found:
        assert found is not None
        release, tables = found
        newest_order = answers(tables, day).newest
    there = known(published, release.model_copy(update={"made": datetime(2003, 5, 10, 12, tzinfo=UTC)}))
    assert there is not None
    assert there.last == newest_order
    assert date(2003, 5, 1) <= there.last <= day


def test_personal_data_stays_out_of_it(published: Settings) -> None:
    frames = order_system_frames(published.order_system_url)
    _, written = write_reports(published)
    text = " ".join(unescape(each.path.read_text("utf-8")) for each in written)
    for name in ("phone", "addressLine1", "email"):
        for frame in frames.values():
            assert not [
                each for each in frame.get(name, []) if isinstance(each, str) and len(each) > 4 and each in text
            ]


def test_reports_of_months_without_orders_are_removed_and_nothing_else(published: Settings) -> None:
    write_reports(published)
    kept = folder(published) / "notes.txt"
    gone, unfinished, under_way = (
        folder(published) / name
        for name in ("1999-01.html", f"{UNFINISHED}-{ended_process()}-x", f"{UNFINISHED}-{os.getpid()}-y")
    )
    for each in (kept, gone, unfinished, under_way):
        each.write_text("x")
    os.utime(unfinished, (time.time() - 7200, time.time() - 7200))
    _, written = write_reports(published)
    assert {each.name for each in folder(published).iterdir()} == {
        *(each.path.name for each in written),
        kept.name,
        under_way.name,
    }
    assert newest(published) == written[-1].path


def test_a_folder_that_cannot_be_written_is_an_error_and_keeps_what_was_there(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, written = write_reports(published)
    before = {each.path: each.path.read_bytes() for each in written}

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left on device"):
        write_reports(published, proven=datetime(2026, 1, 1, tzinfo=UTC))
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(folder(published).iterdir()) == sorted(before)


def test_without_a_release_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(TableMissing, match="no release was made yet"):
        write_reports(Settings(home=tmp_path))
    assert not folder(Settings(home=tmp_path)).exists()
    with dg.DagsterInstance.ephemeral() as instance:
        job = sales_report_job(Settings(home=tmp_path))
        assert job.execute_in_process(instance=instance, run_config=QUIET).success
        assert instance.get_latest_materialization_event(KEY) is None


@pytest.mark.parametrize("month", ["2003-13", "May", "2010-01", "2003-01..2003-02", "../../etc/passwd", ""])
def test_a_month_that_is_none_is_an_error_and_writes_nothing(published: Settings, month: str) -> None:
    with pytest.raises(QuestionError, match="month"):
        write_reports(published, month)
    assert newest(published) is None


def test_the_command_writes_one_month_or_all(published: Settings) -> None:
    done = classic_cars(published.home, "report", "--month", MONTH)
    assert (done.returncode, done.stdout) == (0, f"{folder(published) / MONTH}.html\n")
    assert [each.name for each in folder(published).iterdir()] == [f"{MONTH}.html"]
    assert classic_cars(published.home, "report", "--month", "1999-01").returncode == 1
    assert len(classic_cars(published.home, "report").stdout.splitlines()) == 8


def test_the_job_links_the_reports_from_the_materialization(published: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(published).resolve_job_def(JOB)
        assert job.execute_in_process(instance=instance, run_config=QUIET).success
        event = instance.get_latest_materialization_event(KEY)
        assert event is not None
        assert event.asset_materialization is not None
        found: dict[str, Any] = {name: each.value for name, each in event.asset_materialization.metadata.items()}
    latest = newest(published)
    assert (found["latest report"], found["months"], found["latest month"]) == (str(latest), 8, "2003-08")
    assert str(latest) in found["reports"]


def test_the_bars_are_as_high_as_the_amounts_are() -> None:
    bars = trend([(date(2003, 12, 1), Decimal(50)), (date(2004, 1, 1), None), (date(2004, 2, 1), Decimal(100))])
    assert bars[0].height * 2 == bars[2].height > 100
    assert bars[1].height == 0
    assert [each.year for each in bars] == ["2003", "2004", ""]
    assert len({each.y + each.height for each in bars}) == 1
