"""What one tick asks for: the months that changed, in few contiguous ranges of months that there are."""

from __future__ import annotations

import dagster as dg
import pytest

from classic_cars.automation.requests import CHANGED, ranges, run_requests
from classic_cars.tables.run_tags import RANGE_END, RANGE_START

UNDATED = "1900-01"
MONTHS = [UNDATED, *(f"{year}-{month:02d}" for year in range(2003, 2027) for month in range(1, 13))]


def request(month: str | None, *tables: str) -> dg.RunRequest:
    return dg.RunRequest(partition_key=month, asset_selection=[dg.AssetKey(each.split("/")) for each in tables])


def asked(requests: list[dg.RunRequest], *each_time: str) -> list[tuple[str, str, str]]:
    keys = [dg.AssetKey(each.split("/")) for each in each_time]
    found = run_requests(requests, MONTHS, {"why": "test"}, each_time=keys)
    assert all(each.tags["why"] == "test" for each in found)
    return [
        (
            " ".join(key.to_user_string() for key in each.asset_selection or []),
            each.tags.get("dagster/asset_partition_range_start", ""),
            each.tags.get("dagster/asset_partition_range_end", ""),
        )
        for each in found
    ]


def test_an_undated_row_and_today_are_two_months_and_not_all_between() -> None:
    found = asked([request(UNDATED, "staging/orders"), request("2026-11", "staging/orders")])
    assert found == [("staging/orders", UNDATED, UNDATED), ("staging/orders", "2026-11", "2026-11")]


def test_months_next_to_each_other_are_one_range_and_so_are_those_with_no_month_between() -> None:
    assert ranges(MONTHS, {"2003-12", "2004-01"}) == [("2003-12", "2004-01")]
    assert ranges(MONTHS, {UNDATED, "2003-01"}) == [(UNDATED, "2003-01")]


def test_months_that_are_near_each_other_are_one_range() -> None:
    assert ranges(MONTHS, {"2003-01", "2003-04", "2003-08"}) == [("2003-01", "2003-04"), ("2003-08", "2003-08")]


def test_of_many_ranges_the_nearest_become_one() -> None:
    wanted = {"2003-01", "2005-01", "2005-03", "2010-01", "2026-01", "2026-05"}
    assert ranges(MONTHS, wanted) == [
        ("2003-01", "2003-01"),
        ("2005-01", "2005-03"),
        ("2010-01", "2010-01"),
        ("2026-01", "2026-05"),
    ]


def test_tables_without_months_are_made_in_the_last_run_or_in_each_when_months_are_made_of_them() -> None:
    wanted = [
        request("2003-01", "source/orders"),
        request("2004-06", "source/orders"),
        request(None, "source/products"),
    ]
    assert [each for each, *_ in asked(wanted, "source/products")] == ["source/orders source/products"] * 2
    assert [each for each, *_ in asked(wanted)] == ["source/orders", "source/orders source/products"]
    assert asked([request(None, "source/products")]) == [("source/products", "", "")]
    assert asked([]) == []


def test_a_run_has_all_tables_of_its_months_and_says_what_it_was_asked_for() -> None:
    wanted = [request("2003-01", "source/orders"), request("2003-02", "source/orderdetails"), request(None, "a/b")]
    (found,) = run_requests(wanted, MONTHS, {})
    assert found.tags[CHANGED] == "b, orderdetails 2003-01..2003-02, orders 2003-01..2003-02"


def test_tables_of_several_layers_are_named_once() -> None:
    dated = [request("2003-01", "source/orders"), request("2003-01", "staging/orders")]
    (found,) = run_requests([*dated, request(None, "source/products"), request(None, "staging/products")], MONTHS, {})
    assert found.tags[CHANGED] == "orders 2003-01, products"


@pytest.mark.parametrize("at_most", [1, 2])
def test_at_most_so_many(at_most: int) -> None:
    assert len(ranges(MONTHS, {"2003-01", "2005-01", "2010-01"}, at_most)) == at_most


def test_months_between_which_a_row_moved_are_of_one_range() -> None:
    existing = ["1900-01", *[f"2004-{month:02}" for month in range(1, 13)]]
    wanted = {"1900-01", "2004-02", "2004-07", "2004-12"}
    apart = [("1900-01", "1900-01"), ("2004-02", "2004-02"), ("2004-07", "2004-07"), ("2004-12", "2004-12")]
    assert ranges(existing, {"1900-01", *wanted}) == [("1900-01", "2004-02"), *apart[2:]]  # near each other in the list
    assert ranges(existing, wanted - {"1900-01"}, together=[("2004-12", "2004-07")]) == [
        apart[1],
        ("2004-07", "2004-12"),
    ]
    assert ranges(existing, wanted - {"1900-01"}, together=[("2004-02", "2004-12")]) == [("2004-02", "2004-12")]


def test_a_month_that_may_fail_is_in_no_range_with_others() -> None:
    wanted = {"2003-01", "2003-02", "2003-03", "2003-04"}
    assert ranges(MONTHS, wanted, apart={"2003-02"}) == [
        ("2003-01", "2003-01"),
        ("2003-02", "2003-02"),
        ("2003-03", "2003-04"),
    ]
    both, alone = {"2003-01", "2003-03"}, [("2003-01", "2003-01"), ("2003-03", "2003-03")]
    assert ranges(MONTHS, both, 1, apart={"2003-02"}) == alone
    assert ranges(MONTHS, both, together=[("2003-01", "2003-03")], apart={"2003-02"}) == alone
    assert ranges(MONTHS, {"2003-01", "2003-09", "2005-01"}, 1, apart={"2004-02"}) == [
        ("2003-01", "2003-09"),
        ("2005-01", "2005-01"),
    ]
    # A fault of all months is one run, and not one for each.
    assert ranges(MONTHS, wanted, apart=wanted) == [("2003-01", "2003-04")]
    assert ranges(MONTHS, both, 1, apart={"2003-01", "2003-02", "2003-03"}) == alone


def test_a_month_that_was_refused_because_a_row_moved_is_made_with_the_one_that_it_is_in() -> None:
    wanted = [request(month, "source/orders") for month in (UNDATED, "2004-02", "2004-07", "2010-01")]
    for moved, expected in (
        ([], [(UNDATED,), ("2004-02",), ("2004-07",), ("2010-01",)]),
        ([("2004-02", "2004-07")], [(UNDATED,), ("2004-02", "2004-07"), ("2010-01",)]),
        ([(UNDATED, "2004-02"), ("2004-02", UNDATED)], [(UNDATED, "2004-02"), ("2004-07",), ("2010-01",)]),
    ):
        found = run_requests(wanted, MONTHS, {}, moved=moved, apart={"2004-02"})
        ends = [(each.tags[RANGE_START], each.tags[RANGE_END]) for each in found]
        assert [(first, last) if first != last else (first,) for first, last in ends] == expected


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        ([("2004-02", UNDATED)], [UNDATED, "2004-02", "2010-05"]),
        ([(UNDATED, "2004-02")], ["2004-02", UNDATED, "2010-05"]),
        ([(UNDATED, "2010-05")], ["2010-05", UNDATED, "2004-02"]),
        ([(UNDATED, "2010-05"), ("2004-02", UNDATED)], ["2010-05", UNDATED, "2004-02"]),
        ([(UNDATED, "2004-02"), (UNDATED, "2010-05")], ["2004-02", "2010-05", UNDATED]),
        # Both ways at once: one run of both.
        ([(UNDATED, "2004-02"), ("2004-02", UNDATED)], [f"{UNDATED}..2004-02", "2010-05"]),
        ([(UNDATED, "2010-05"), ("2010-05", UNDATED)], [f"{UNDATED}..2010-05"]),
        # Between two months that have days, in any case.
        ([("2004-02", "2010-05"), (UNDATED, "2004-02")], ["2004-02..2010-05", UNDATED]),
    ],
)
def test_a_row_that_moves_is_made_where_it_is_now_first(moved: list[tuple[str, str]], expected: list[str]) -> None:
    wanted = [request(month, "source/orders") for month in (UNDATED, "2004-02", "2010-05")]
    spans = [
        (each.tags["dagster/asset_partition_range_start"], each.tags["dagster/asset_partition_range_end"])
        for each in run_requests(wanted, MONTHS, {}, moved=moved)
    ]
    assert [first if first == last else f"{first}..{last}" for first, last in spans] == expected
