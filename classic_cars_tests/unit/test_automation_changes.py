"""What the sensor of the order system decides: nothing missed, nothing twice, bursts in one run, failures again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from classic_cars.automation import changes
from classic_cars.automation.changes import PATIENCE_SECONDS, Part, Watch
from classic_cars.automation.watching import DOWN_SECONDS, RETRY_SECONDS, look_failed

A = {"orders": {"2004-01": "a", "2004-02": "b"}, "products": {"": "p"}}
EDITED = {"orders": {"2004-01": "a", "2004-02": "c"}, "products": {"": "p"}}
NOW = 1_000_000.0


def quiet_watch(known: dict = A) -> Watch:
    return Watch(began=NOW, known=known)


def looked_twice(watch: Watch, found: dict, now: float = NOW) -> tuple[Watch, list[Part]]:
    watch, asked, _ = changes.looked(watch, found, 0.1, now)
    assert asked == []
    watch, asked, _ = changes.looked(watch, found, 0.1, now + 5)
    return watch, asked


def test_the_first_look_asks_for_everything() -> None:
    _, asked = looked_twice(Watch(began=NOW), A)
    assert [part.changes for part in asked] == [{"orders": ["2004-01", "2004-02"], "products": [""]}]


def test_nothing_is_asked_for_when_nothing_changed() -> None:
    watch, asked, reason = changes.looked(quiet_watch(), A, 0.1, NOW)
    assert (asked, reason) == ([], "nothing changed")
    assert watch.known == A


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(EDITED, {"orders": ["2004-02"]}, id="an edit"),
        pytest.param({**A, "orders": {"2004-01": "a"}}, {"orders": ["2004-02"]}, id="a month that lost its rows"),
        pytest.param({**A, "orders": {**A["orders"], "2004-03": "n"}}, {"orders": ["2004-03"]}, id="a new month"),
        pytest.param({**A, "products": {"": "q"}}, {"products": [""]}, id="a table without months"),
        pytest.param({**A, "products": {}}, {"products": [""]}, id="an emptied table"),
    ],
)
def test_exactly_what_changed_is_asked_for_once(found: dict, expected: dict) -> None:
    watch, asked = looked_twice(quiet_watch(), found)
    assert [part.changes for part in asked] == [expected]
    watch = changes.settled(watch, [], NOW + 20)
    assert changes.looked(watch, found, 0.1, NOW + 25)[1] == []


def test_a_burst_is_one_run() -> None:
    watch = quiet_watch()
    for second in range(0, 30, 5):
        moving = {**A, "orders": {"2004-01": "a", "2004-02": f"version {second}"}}
        watch, asked, reason = changes.looked(watch, moving, 0.1, NOW + second)
        assert asked == []
        assert reason == "orders changed in 2004-02; waits until it is quiet"
    _, asked, _ = changes.looked(watch, moving, 0.1, NOW + 35)
    assert len(asked) == 1


def test_a_shop_that_never_rests_is_read_all_the_same() -> None:
    watch, asked, second = quiet_watch(), [], 0.0
    while not asked:
        second += 5
        busy = {**A, "orders": {"2004-01": "a", "2004-02": f"version {second}"}}
        watch, asked, _ = changes.looked(watch, busy, 0.1, NOW + second)
    assert second <= PATIENCE_SECONDS + 5


def test_a_change_and_its_undoing_are_nothing() -> None:
    watch, _, _ = changes.looked(quiet_watch(), EDITED, 0.1, NOW)
    watch, asked, reason = changes.looked(watch, A, 0.1, NOW + 5)
    assert (asked, reason, watch.moving) == ([], "nothing changed", "")


def test_months_apart_are_runs_apart_and_tables_without_months_ride_along() -> None:
    changed = {"orders": ["2003-01", "2004-05", "2004-06"], "orderdetails": ["2004-06"], "products": [""]}
    found = changes.parts(changed, "n")
    assert [(part.first, part.last, part.changes) for part in found] == [
        ("2003-01", "2003-01", {"orders": ["2003-01"]}),
        ("2004-05", "2004-05", {"orders": ["2004-05"]}),
        ("2004-06", "2004-06", {"orders": ["2004-06"], "orderdetails": ["2004-06"], "products": [""]}),
    ]
    assert len({part.run_key for part in found}) == 3


def test_run_keys_never_repeat_though_the_same_change_comes_again() -> None:
    watch, first = looked_twice(quiet_watch(), EDITED)
    watch, back = looked_twice(changes.settled(watch, [], NOW + 10), A, NOW + 10)
    _, again = looked_twice(changes.settled(watch, [], NOW + 20), EDITED, NOW + 20)
    assert len({part.run_key for part in [*first, *back, *again]}) == 3


def test_the_same_look_from_the_same_cursor_has_the_same_run_key() -> None:
    # The daemon died after launching and before the cursor was kept: Dagster knows the key and launches no second.
    watch, _, _ = changes.looked(quiet_watch(), EDITED, 0.1, NOW)
    assert changes.looked(watch, EDITED, 0.1, NOW + 5)[1] == changes.looked(watch, EDITED, 0.2, NOW + 9)[1]


def test_what_a_failed_run_was_asked_for_is_asked_for_again_with_growing_waits() -> None:
    watch, asked = looked_twice(quiet_watch(), EDITED)
    now = NOW + 10
    for wait in RETRY_SECONDS:
        watch = changes.settled(watch, [part.run_key for part in asked], now)
        assert watch.retry_at == now + wait
        assert changes.put_back(watch, now + wait - 1) == watch
        now += wait
        watch, asked = looked_twice(changes.put_back(watch, now), EDITED, now)
        assert [part.changes for part in asked] == [{"orders": ["2004-02"]}]
        now += 10
    watch = changes.settled(watch, [part.run_key for part in asked], now)
    watch = changes.put_back(watch, now + 999_999)
    assert changes.looked(watch, EDITED, 0.1, now)[1] == []  # given up, until it changes


def test_what_failed_does_not_hold_up_what_changes_meanwhile() -> None:
    watch, asked = looked_twice(quiet_watch(), EDITED)
    watch = changes.settled(watch, [asked[0].run_key], NOW + 10)
    both = {**EDITED, "products": {"": "q"}}
    watch, asked = looked_twice(changes.put_back(watch, NOW + 20), both, NOW + 20)
    assert [part.changes for part in asked] == [{"products": [""]}]
    watch = changes.settled(watch, [], NOW + 40)
    _, asked = looked_twice(changes.put_back(watch, NOW + 80), both, NOW + 80)
    assert [part.changes for part in asked] == [{"orders": ["2004-02"]}]


BOTH = {"orders": {"2004-01": "x", "2004-02": "b", "2004-06": "n"}, "products": {"": "p"}}
SPAN = [f"2004-0{month}" for month in range(1, 7)]


@pytest.mark.parametrize("failed", [[0], [1], [0, 1]])
def test_what_failed_of_several_runs_is_read_again_in_one_over_all_their_months(failed: list[int]) -> None:
    # An order that moved from one of the months to the other can only be read with both.
    watch, asked = looked_twice(quiet_watch(), BOTH)
    assert [part.first for part in asked] == ["2004-01", "2004-06"]
    watch = changes.settled(watch, [asked[index].run_key for index in failed], NOW + 10)
    assert str(watch.failed[0]) == "orders 2004-01..2004-06"
    _, asked = looked_twice(changes.put_back(watch, NOW + 99), BOTH, NOW + 99)
    (part,) = asked
    assert (part.first, part.last) == ("2004-01", "2004-06")
    assert part.changes == {"orders": SPAN, "orderdetails": SPAN}


def test_the_span_stays_one_run_though_other_tables_change_meanwhile() -> None:
    watch, asked = looked_twice(quiet_watch(), BOTH)
    watch = changes.settled(watch, [part.run_key for part in asked], NOW + 10)
    later = {**BOTH, "orderdetails": {"2004-03": "new"}, "products": {"": "q"}}
    _, asked = looked_twice(changes.put_back(watch, NOW + 99), later, NOW + 99)
    assert [(part.first, part.last) for part in asked] == [("2004-01", "2004-06")]
    assert asked[0].changes == {"orders": SPAN, "orderdetails": SPAN, "products": [""]}


def test_a_table_without_months_that_failed_alone_is_read_alone() -> None:
    watch, asked = looked_twice(quiet_watch(), {**A, "products": {"": "q"}})
    watch = changes.settled(watch, [asked[0].run_key], NOW + 10)
    _, asked = looked_twice(changes.put_back(watch, NOW + 99), {**A, "products": {"": "q"}}, NOW + 99)
    assert [part.changes for part in asked] == [{"products": [""]}]


def test_what_vanished_in_a_run_that_failed_is_read_again() -> None:
    emptied = {"orders": {"2004-01": "a"}, "products": {}}
    watch, asked = looked_twice(quiet_watch(), emptied)
    watch = changes.settled(watch, [asked[0].run_key], NOW + 10)
    _, again = looked_twice(changes.put_back(watch, NOW + 99), emptied, NOW + 99)
    assert [part.changes for part in again] == [part.changes for part in asked]
    assert asked[0].changes == {"orders": ["2004-02"], "products": [""]}


def test_what_the_nightly_proof_found_is_read_again_also_where_nothing_is_left() -> None:
    watch = changes.forgotten(quiet_watch(), ["2004-02", "2004-09", "products", "offices"], 7)
    assert watch.reconciled == 7
    assert changes.differences(watch.known, A) == {
        "offices": [""],
        "orderdetails": ["2004-02", "2004-09"],
        "orders": ["2004-02", "2004-09"],
        "products": [""],
    }


def test_an_order_system_that_is_down_is_left_alone_for_growing_whiles() -> None:
    watch, now = quiet_watch(), NOW
    for wait in [*DOWN_SECONDS, DOWN_SECONDS[-1]]:
        watch = look_failed(watch, now)
        assert watch.not_before == now + wait
        now += wait
    assert watch.failing_since == NOW
    watch, asked, _ = changes.looked(watch, A, 0.1, now)
    assert (watch.failing_since, watch.failures, asked) == (0.0, 0, [])


def test_looking_takes_a_twentieth_of_the_time_at_most() -> None:
    watch, _, _ = changes.looked(quiet_watch(), A, 2.0, NOW)
    assert watch.not_before == NOW + 38.0


def test_a_cursor_comes_back_as_it_was() -> None:
    watch, _ = looked_twice(quiet_watch(), EDITED)
    assert Watch.load(watch.dump(), NOW + 99) == watch


@pytest.mark.parametrize("cursor", [None, "", "{", "[]", '{"version": 0}', '{"version": 1, "new": 2}'])
def test_a_cursor_of_another_form_starts_anew(cursor: str | None) -> None:
    assert Watch.load(cursor, NOW) == Watch(began=NOW)


def test_the_cursor_of_twenty_years_is_small() -> None:
    months = {f"{year}-{month:02d}": "0123456789ab" for year in range(2003, 2027) for month in range(1, 13)}
    watch = replace(quiet_watch(), known={"orders": months, "orderdetails": months, "products": {"": "x"}})
    assert len(watch.dump()) < 20_000
