"""Going back to a release on a lake: its numbers and its proof are the current ones, until a run makes what is now."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from classic_cars.contracts.base import RELEASED
from classic_cars.months import Months
from classic_cars.runs import execute_what_changed
from classic_cars.serving.releases import opened
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars_shop import api as simulator
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.platform import ask, change, order_system_frames

BOOKED = "SELECT sum(bookedAmount) FROM analytics.sales_by_country"


def booked(settings: Settings) -> Decimal:
    """Booked amount of the order system, worked out from its own rows."""
    lines = order_system_frames(settings.order_system_url)["orderdetails"]
    return sum((q * p for q, p in zip(lines.quantityOrdered, lines.priceEach, strict=True)), Decimal(0))


def released(settings: Settings) -> tuple[int, Decimal, tuple[Decimal, ...]]:
    """Number of the current release, what it says was booked, and its proof: amounts published and in source."""
    with opened(settings) as found:
        assert found is not None
        release, tables = found
        (amount,) = tables.query(BOOKED).read_all().to_pylist()[0].values()
        lines = release.order_lines
        assert lines.balanced
        return release.number, amount, (lines.published.amount, lines.source.amount)


@pytest.mark.exhaustive
@pytest.mark.parametrize("months", [None, Months.parse("2003-02")])
def test_a_restored_release_stays_until_the_next_run_and_loses_nothing(tmp_path: Path, months: Months | None) -> None:
    settings = Settings(home=tmp_path, store="iceberg")
    simulator.create(settings.order_system_url, scale=0.1, seed=3, until=date(2003, 3, 20))
    assert execute_what_changed(settings).succeeded
    before = booked(settings)
    assert released(settings) == (1, before, (before, before))
    change(settings.order_system_url, "UPDATE orderdetails SET priceEach = priceEach + 1")
    assert execute_what_changed(settings).succeeded
    now = booked(settings)
    assert released(settings) == (2, now, (now, now))

    went_back = classic_cars(tmp_path, "releases", "restore", "1", CLASSIC_CARS_STORE="iceberg")
    assert went_back.returncode == 0, went_back.stderr
    assert "warehouse/fact_orders" in went_back.stdout
    assert "warehouse/dim_dates" not in went_back.stdout  # it had no other version
    # The proof is that of the release, of the time when it was made.
    assert released(settings) == (3, before, (before, before))
    assert ask(settings, BOOKED) == [(before,)]

    if months is not None:  # what is made beside what was restored is not released with it
        execute_what_changed(settings, months)
        assert released(settings)[0] == 3
    again = execute_what_changed(settings)
    assert again.succeeded
    restored = {*went_back.stdout.splitlines()[0].partition(": ")[2].split(", ")}
    assert months is not None or restored <= {*again.published}
    assert all(each.startswith(RELEASED) for each in again.published)  # what was read is as it was
    assert released(settings) == (4, now, (now, now))
    assert ask(settings, BOOKED) == [(now,)]
    assert open_store(settings, read_only=True).shelf.numbers() == [1, 2, 3, 4]
