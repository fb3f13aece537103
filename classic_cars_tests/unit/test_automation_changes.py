"""What the sensor of the order system decides: nothing missed, nothing twice, bursts once, failures again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classic_cars.automation import changes
from classic_cars.automation.changes import RESTLESS_SECONDS, OrderSystemPollState, Poll
from classic_cars.automation.watching import (
    BURST_SECONDS,
    DOWN_SECONDS,
    RETRY_SECONDS,
    SHARE,
    affordable_at,
    answered,
    poll_failed,
)
from classic_cars.errors import SourceUnreachable
from classic_cars.tables.external import digest

A = {"orders": {"2004-01": "a", "2004-02": "b"}, "products": {"": "p"}}
EDITED = {"orders": {"2004-01": "a", "2004-02": "c"}, "products": {"": "p"}}
NOW = 1_000_000.0


def decided(
    watch: OrderSystemPollState, found: dict, now: float = NOW, known: dict = A, **rest: Any
) -> tuple[OrderSystemPollState, changes.Changes]:
    watch, changed, _ = changes.decided(watch, Poll(known, found, **rest), 0.1, now)
    return watch, changed


def polled_twice(
    watch: OrderSystemPollState, found: dict, now: float = NOW, **rest: Any
) -> tuple[OrderSystemPollState, changes.Changes]:
    watch, changed = decided(watch, found, now, **rest)
    assert changed == {}
    return decided(watch, found, now + 5, **rest)


def test_the_first_poll_observes_everything() -> None:
    assert polled_twice(OrderSystemPollState(), A, known={})[1] == {"orders": ["2004-01", "2004-02"], "products": [""]}


def test_nothing_is_observed_when_nothing_changed() -> None:
    assert changes.decided(OrderSystemPollState(), Poll(A, A), 0.1, NOW)[1:] == ({}, "nothing changed")


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
def test_exactly_what_changed_is_observed_once(found: dict, expected: dict) -> None:
    watch, changed = polled_twice(OrderSystemPollState(), found)
    assert changed == expected
    observed = changes.to_observe(changed, Poll(A, found), A, found, NOW)
    assert {table: sorted(months) for table, months in observed.items()} == expected
    assert decided(watch, found, NOW + 25, known=found)[1] == {}


def test_a_burst_is_observed_once() -> None:
    watch = OrderSystemPollState()
    for second in range(0, 30, 5):
        moving = {**A, "orders": {"2004-01": "a", "2004-02": f"version {second}"}}
        watch, changed = decided(watch, moving, NOW + second)
        assert changed == {}
    assert decided(watch, moving, NOW + 35)[1] == {"orders": ["2004-02"]}


def test_a_shop_that_never_rests_is_observed_all_the_same() -> None:
    watch, changed, second = OrderSystemPollState(), {}, 0.0
    while not changed:
        second += 5
        busy = {**A, "orders": {"2004-01": "a", "2004-02": f"version {second}"}}
        watch, changed = decided(watch, busy, NOW + second)
    assert second <= RESTLESS_SECONDS + 5


def test_a_change_and_its_undoing_are_nothing() -> None:
    watch, _ = decided(OrderSystemPollState(), EDITED)
    watch, changed = decided(watch, A, NOW + 5)
    assert (changed, watch.moving) == ({}, "")


PENDING = {"orders": ["2004-02"]}


def test_what_was_not_read_is_observed_again_with_growing_waits_for_ever() -> None:
    watch, now = decided(OrderSystemPollState(), A, pending=PENDING)[0], NOW
    for wait in [*RETRY_SECONDS, *[RETRY_SECONDS[-1]] * 100]:
        assert decided(watch, A, now + wait - 1, pending=PENDING)[1] == {}
        now += wait
        watch, changed = decided(watch, A, now, pending=PENDING)
        assert changed == PENDING
    watch, changed = decided(watch, A, now + 1)
    assert (changed, watch.retries, watch.retry_at) == ({}, 0, 0.0)


def test_what_is_observed_again_has_a_fresh_version_that_is_no_change() -> None:
    poll = Poll(A, A)
    assert changes.to_observe(PENDING, poll, A, A, NOW) == {"orders": {"2004-02": "b~1000000"}}
    again = {**A, "orders": {"2004-01": "a", "2004-02": "b~1000000"}}
    assert changes.to_observe(PENDING, poll, again, A, NOW + 60) == {"orders": {"2004-02": "b~1000060"}}
    assert changes.to_observe(PENDING, poll, again, EDITED, NOW + 60) == {"orders": {"2004-02": "c"}}


def test_what_a_run_has_read_already_is_not_observed_again() -> None:
    everything = {table: sorted(months) for table, months in A.items()}
    assert changes.to_observe(everything, Poll({}, A), A, A, NOW) == {}
    assert changes.to_observe(PENDING, Poll(A, EDITED), A, A, NOW) == {}
    # A fingerprint that is known to differ, of the same totals: a picture.
    lines, seen = {"productlines": {"": "x"}}, {"productlines": {"": "v"}}
    poll = Poll(lines, {"productlines": {"": "y"}})
    assert changes.to_observe({"productlines": [""]}, poll, seen, seen, NOW) == {"productlines": {"": "v~1000000"}}


def test_what_a_reconciliation_found_to_differ_is_observed_again_when_nothing_else_is_known_of_it() -> None:
    """As in the first ticks of a daemon, when there are no fingerprints of what is observed."""
    assert changes.to_observe(PENDING, Poll({}, A), A, A, NOW) == {}
    assert changes.to_observe(PENDING, Poll({}, A), A, A, NOW, PENDING) == {"orders": {"2004-02": "b~1000000"}}


def test_fingerprints_stand_for_what_was_observed_and_for_nothing_else() -> None:
    stands = {table: digest(versions) for table, versions in A.items()}
    watch = OrderSystemPollState(fingerprints=dict(EDITED), stood_for=stands)
    assert changes.known(watch, A) == EDITED
    assert changes.known(watch, {**A, "orders": {}}) == {"products": EDITED["products"]}
    assert changes.known(OrderSystemPollState(), A) == {}


def test_nothing_is_observed_again_while_a_run_is_under_way() -> None:
    watch, _ = decided(OrderSystemPollState(), A, pending=PENDING)
    assert decided(watch, A, NOW + 61, pending=PENDING, busy=True)[1] == {}


def test_what_failed_does_not_hold_up_what_changes_meanwhile() -> None:
    watch, _ = decided(OrderSystemPollState(), A, pending=PENDING)
    both = {**A, "products": {"": "q"}}
    watch, changed = polled_twice(watch, both, NOW + 20, pending=PENDING)
    assert changed == {"products": [""]}
    known = {**A, "products": {"": "q"}}
    assert decided(watch, both, NOW + 60, known=known, pending=PENDING)[1] == PENDING


BOTH = {"orders": {"2004-01": "x", "2004-02": "b", "2004-06": "n"}, "products": {"": "p"}}
SPAN = ["2004-01", "2004-02", "2004-06"]


@pytest.mark.parametrize("pending", [["2004-01"], ["2004-06"], ["2004-01", "2004-06"]])
def test_what_failed_of_several_months_is_read_again_with_all_between(pending: list[str]) -> None:
    # An order that moved from one of the months to the other can only be read with both.
    watch, changed = polled_twice(OrderSystemPollState(), BOTH)
    assert changed == {"orders": ["2004-01", "2004-06"]}
    watch, _ = decided(watch, BOTH, NOW + 10, known=BOTH, pending={"orders": pending})
    watch, changed = decided(watch, BOTH, NOW + 99, known=BOTH, pending={"orders": pending})
    assert changed == {"orderdetails": SPAN, "orders": SPAN}
    # Both months were read: the next change is on its own again.
    watch, _ = decided(watch, BOTH, NOW + 120, known=BOTH)
    assert watch.span == ()


def test_a_table_without_months_that_failed_alone_is_read_alone() -> None:
    watch, _ = decided(OrderSystemPollState(), A, pending={"products": [""]})
    assert decided(watch, A, NOW + 60, pending={"products": [""]})[1] == {"products": [""]}


def test_what_the_nightly_proof_found_is_invalidated_once_also_where_nothing_is_left() -> None:
    differing = changes.by_table(["2004-02", "2004-09", "products", "offices"])
    months = ["2004-02", "2004-09"]
    expected = {"offices": [""], "orderdetails": months, "orders": months, "products": [""]}
    watch, changed = decided(OrderSystemPollState(), A, reconciled=7, differing=differing)
    assert changed == expected
    observed = changes.to_observe(changed, Poll(A, A), A, A, NOW)
    assert observed["orders"] == {"2004-02": "b~1000000", "2004-09": "empty"}
    assert decided(watch, A, NOW + 5, reconciled=7, differing=differing)[1] == {}


def test_an_order_system_that_is_down_is_left_alone_for_growing_whiles() -> None:
    watch, now = OrderSystemPollState(), NOW
    for wait in [*DOWN_SECONDS, DOWN_SECONDS[-1]]:
        watch = poll_failed(watch, now, "order system", SourceUnreachable("no answer"))
        assert watch.not_before == now + wait
        now += wait
    assert watch.failing_since == NOW
    watch, changed = decided(watch, A, now)
    assert (watch.failing_since, watch.failures, changed) == (0.0, 0, {})


@given(
    st.lists(st.tuples(st.floats(0.001, 60), st.floats(0, 600)), min_size=1, max_size=60),
    st.integers(0, 59),
)
def test_polls_take_a_twentieth_of_the_time_on_average_after_any_history(
    history: list[tuple[float, float]], first: int
) -> None:
    watch, now, polls = OrderSystemPollState(), NOW, []
    for seconds, idle in history:
        now = max(now + idle, affordable_at(watch))
        polls.append((now, seconds))
        now += seconds
        watch = answered(watch, seconds, now)
    # Of any span between the beginnings of two polls.
    (begin, _), within = polls[min(first, len(polls) - 1)], polls[first:-1]
    longest = max(seconds for _, seconds in polls)
    spent = sum(seconds for _, seconds in within)
    assert spent <= SHARE * (polls[-1][0] - begin) + BURST_SECONDS + longest + 0.001


def test_after_a_quiet_time_a_poll_may_begin_at_once_and_after_a_long_one_not() -> None:
    watch = answered(OrderSystemPollState(), 6.0, NOW)
    assert affordable_at(watch) < NOW
    watch = answered(watch, 6.0, NOW + 6)
    # 12 s less those of 12 s that went by are 11.4 unpaid: 1.4 above what is allowed.
    assert affordable_at(watch) == pytest.approx(NOW + 6 + 1.4 / SHARE)


def test_a_poll_that_would_be_too_soon_forgets_nothing() -> None:
    watch, _ = decided(OrderSystemPollState(), EDITED)
    for second in (5, 10, 15):
        watch, changed = decided(watch, A, NOW + second, deferred=True)
        assert changed == {}
    assert decided(watch, EDITED, NOW + 20)[1] == {"orders": ["2004-02"]}


def test_of_a_quiet_table_one_poll_is_enough() -> None:
    quiet = frozenset({"orders"})
    watch, changed = decided(OrderSystemPollState(), EDITED, quiet=quiet)
    assert (changed, watch.moving_since) == ({"orders": ["2004-02"]}, 0.0)
    both = {**EDITED, "products": {"": "q"}}
    assert decided(OrderSystemPollState(), both, quiet=quiet)[1] == {}


def test_a_cursor_comes_back_as_it_was_and_is_small() -> None:
    watch, _ = polled_twice(OrderSystemPollState(), EDITED)
    watch = replace(watch, span=("2004-01", "2004-06"), signs={"orders": "a/b"}, distrusted={"orders": NOW})
    assert OrderSystemPollState.load(watch.dump()) == watch
    assert len(watch.dump()) < 600
    months = {f"{year}-{month:02}": "0123456789ab" for year in range(1999, 2027) for month in range(1, 13)}
    grown = replace(
        watch, fingerprints={"orders": months, "orderdetails": months}, stood_for={"orders": digest(months)}
    )
    assert grown.dump() == watch.dump()
    assert OrderSystemPollState.load(grown.dump()).recalling(grown.remembered()) == grown
    assert watch.recalling(None) == watch.recalling("[0,{},{}]") == watch


@pytest.mark.parametrize("cursor", [None, "", "{", "[]", '{"version": 1}', '{"version": 3, "new": 2}'])
def test_a_cursor_of_another_form_starts_anew(cursor: str | None) -> None:
    assert OrderSystemPollState.load(cursor) == OrderSystemPollState()
