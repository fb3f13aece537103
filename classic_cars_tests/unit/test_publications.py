"""Which run published which months of a table, as a store keeps it."""

from __future__ import annotations

import random

from classic_cars.months import Months, month_of
from classic_cars.stores.publications import Publications

MONTHS = [f"2004-{month:02}" for month in range(1, 13)]


def test_of_nothing_nothing_is_known() -> None:
    assert Publications.parse("") == Publications()
    assert Publications().run_of("") == Publications().run_of("2004-01") == ""


def test_a_whole_table_is_of_its_last_run() -> None:
    found = Publications().after(None, "one").after(None, "two")
    assert (found.run_of(""), found.text()) == ("two", '[[null, "two"]]')


def test_each_month_is_of_the_run_that_published_it_last() -> None:
    """Compared with a list by month, for two thousand random publications."""
    dice = random.Random(7)
    found, expected = Publications(), dict.fromkeys(MONTHS, "")
    for run in map(str, range(2_000)):
        first, last = sorted(dice.choices(MONTHS, k=2))
        months = None if dice.random() < 0.01 else Months(month_of(first), month_of(last))
        found = Publications.parse(found.after(months, run).text())
        expected |= {each: run for each in MONTHS if months is None or first <= each <= last}
        assert {each: found.run_of(each) for each in MONTHS} == expected
        assert len(found.spans) <= 2 * len(MONTHS) + 1
