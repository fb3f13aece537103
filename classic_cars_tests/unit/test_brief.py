"""Rows and cents are read again from the data versions of control totals: what makes a run without changes quick."""

from __future__ import annotations

import pytest

from classic_cars.sources.control_totals import ControlTotals
from classic_cars.sources.order_system.brief import brief


@pytest.mark.parametrize("rows", [0, 1, 999, 1_000, 9_992_261])
@pytest.mark.parametrize("cents", [None, 0, -5, 267_503_477_196_800])
def test_a_version_says_the_rows_and_cents_that_it_stands_for(rows: int, cents: int | None):
    versions = [ControlTotals(rows, cents, 0xFFFF_FFFF_FFFF_FFFF).version, ControlTotals(2, 3, 5).version]
    assert brief(versions) == (rows + 2, (cents or 0) + 3)


def test_a_version_of_another_kind_says_nothing():
    assert brief([ControlTotals(1, 2, 3).version, "1f2e"]) is None
