"""The sensor of the order system with signs of change: what is polled and what is not, and when a change is noticed."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from classic_cars.automation import order_system_sensor, sieve
from classic_cars.automation.changes import AGAIN, RESTLESS_SECONDS, OrderSystemPollState
from classic_cars.automation.order_system_sensor import TABLES, Tick, tick
from classic_cars.automation.watching import BURST_SECONDS, SHARE
from classic_cars.contracts.order_system import PARTITIONED, READ_ORDER
from classic_cars.errors import SourceError, SourceSchemaChanged
from classic_cars.months import partition_key
from classic_cars.sources.order_system import ControlTotals, Sign
from classic_cars.tables.external import DATA_VERSION, EMPTY

ROUND = 5.0


class Shop:
    """An order system whose signs and fingerprints are what a test says; a poll of it takes its time."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.rows = {table: {"2004-01": 1, "2004-02": 1} if table in PARTITIONED else {"": 1} for table in TABLES}
        self.changed_at = dict.fromkeys(TABLES, 0.0)
        self.cost = 0.001
        self.spent = 0.0
        self.polled: list[list[str]] = []
        #: Tables without signs, tables whose signs never move, and whether the shop says when a change was.
        self.unsigned: set[str] = set()
        self.lying: set[str] = set()
        self.says_when = True
        self.while_polled: Any = None
        self.stopped: dict[str, SourceError] = {}

    def change(self, table: str, month: str = "") -> None:
        self.rows[table][month] = self.rows[table].get(month, 0) + 1
        self.changed_at[table] = self.now

    def unreadable(self) -> dict[str, SourceError]:
        return self.stopped

    def change_signs(self) -> dict[str, Sign]:
        return {table: self._sign(table) for table in TABLES if table not in self.unsigned}

    def _sign(self, table: str) -> Sign:
        if table in self.lying:
            return Sign("same", resting=True)
        moment = max(self.changed_at[each] for each in ([table, "orders"] if table == "orderdetails" else [table]))
        resting = self.now - moment >= 2
        if not self.says_when:
            return Sign(str(moment))
        return Sign(str(moment) if resting else f"{moment} at {self.now}", resting)

    def fingerprints(self, tables: Sequence[Any] = READ_ORDER) -> dict[str, dict[str, str]]:
        found = {t.name: {month: str(rows) for month, rows in self.rows[t.name].items() if rows} for t in tables}
        self.polled.append([table.name for table in tables])
        self.now += self.cost
        self.spent += self.cost
        if self.while_polled:
            self.while_polled()
        return found

    @contextmanager
    def snapshot(self) -> Iterator[Shop]:
        yield self

    def control_totals(self, table: Any, months: Sequence[date] | None = None) -> dict[str, ControlTotals]:
        asked = None if months is None else {partition_key(month) for month in months}
        return {
            month: totals(rows)
            for month, rows in self.rows[table.name].items()
            if rows and (asked is None or month in asked)
        }


def totals(rows: int) -> ControlTotals:
    return ControlTotals(rows, None, rows)


class Watcher:
    """Ticks of the sensor; in place of Dagster's instance, it keeps what was observed and the months."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.cursor, self.memory = shop, "", ""
        self.known: dict[str, dict[str, str]] = {table: {} for table in TABLES}
        self.months: list[str] = []
        self.seen: list[tuple[str, str | None]] = []
        self.said = ""

    def tick(self) -> list[tuple[str, str | None]]:
        """One tick, and the time until the next; what it observed."""
        began = self.shop.now
        done = tick(self.state(), self.shop, self)  # type: ignore[arg-type]
        self.cursor, self.memory, self.said = done.watch.dump(), done.watch.remembered(), done.reason
        for each in done.events:
            assert isinstance(each, dg.AssetObservation)
            self.known[each.asset_key.path[-1]][each.partition or ""] = each.tags[DATA_VERSION]
        self.shop.now = max(self.shop.now, began + ROUND)
        self.seen = [(e.asset_key.path[-1], e.partition) for e in done.events if isinstance(e, dg.AssetObservation)]
        return self.seen

    def add_months(self, months: set[str]) -> None:
        self.months = sorted({*self.months, *months})

    def settle(self, ticks: int = 60) -> None:
        """Until nothing is polled any more."""
        for _ in range(ticks):
            before = len(self.shop.polled)
            self.tick()
        assert len(self.shop.polled) == before
        self.shop.polled.clear()

    def noticed(self, limit: int = 400) -> float:
        """Seconds until something is observed."""
        began = self.shop.now
        for _ in range(limit):
            before = self.shop.now
            if self.tick():
                return max(self.shop.now - ROUND, before + self.shop.cost) - began
        raise AssertionError("never noticed")

    def state(self) -> OrderSystemPollState:
        return OrderSystemPollState.load(self.cursor).recalling(self.memory)

    def agrees(self) -> bool:
        """Whether what was observed last is what the shop has."""
        for table in TABLES:
            known = self.known[table]
            held = {month: seen for month, each in known.items() if (seen := each.partition(AGAIN)[0]) != EMPTY}
            if held != {month: totals(rows).version for month, rows in self.shop.rows[table].items() if rows}:
                return False
        return True


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop()
    monkeypatch.setattr("classic_cars.automation.order_system_sensor.time.time", lambda: shop.now)
    monkeypatch.setattr("classic_cars.automation.stopped.evaluations", lambda *_: [])
    return shop


@pytest.fixture
def watcher(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Watcher:
    said = {
        "observed": lambda instance, key, **_: dict(instance.known[key.path[-1]]),
        "unread": lambda *_: {},
        "disagreement": lambda _: (0, []),
        "known_months": lambda instance: instance.months,
        "add_months": lambda instance, months: instance.add_months(months),
        "under_way": lambda _: "",
    }
    for name, answer in said.items():
        monkeypatch.setattr(f"classic_cars.automation.order_system_sensor.{name}", answer)
    watcher = Watcher(shop)
    watcher.settle()
    assert watcher.agrees()
    return watcher


@pytest.mark.parametrize("ahead", [86_400.0, 31_536_000.0])
def test_a_clock_that_was_put_back_is_waited_for_by_nobody(shop: Shop, watcher: Watcher, ahead: float) -> None:
    watcher.settle()
    shop.now += ahead
    watcher.settle()
    shop.now -= ahead
    shop.change("customers")
    assert watcher.noticed() < 60


def test_only_tables_that_moved_are_polled_and_once_when_they_are_quiet(shop: Shop, watcher: Watcher) -> None:
    shop.now += 3
    shop.change("products")
    shop.now += 3
    assert watcher.tick() == [("products", None)]
    assert shop.polled == [["products"]]
    assert watcher.agrees()


def test_lines_are_polled_with_their_orders(shop: Shop, watcher: Watcher) -> None:
    shop.change("orders", "2004-02")
    shop.now += 3
    assert watcher.tick() == [("orders", "2004-02")]
    assert [sorted(each) for each in shop.polled] == [["orderdetails", "orders"]]


def test_nothing_is_polled_while_the_signs_stand_still_but_the_proof_every_quarter_of_an_hour(
    shop: Shop, watcher: Watcher
) -> None:
    for _ in range(int(2 * sieve.PROOF_SECONDS / ROUND) - 1):
        watcher.tick()
    assert [sorted(each) for each in shop.polled] == [sorted(TABLES)] * len(shop.polled)
    assert 1 <= len(shop.polled) <= 2


def test_a_change_is_followed_by_a_poll_of_all_tables(shop: Shop, watcher: Watcher) -> None:
    shop.change("products")
    for _ in range(int(3 * sieve.AFTER_CHANGE_SECONDS / ROUND)):
        watcher.tick()
    assert [len(each) for each in shop.polled] == [1, len(TABLES)]


@pytest.mark.parametrize("says_when", [True, False])
def test_a_burst_is_polled_once_when_it_is_over(shop: Shop, watcher: Watcher, *, says_when: bool) -> None:
    shop.says_when = says_when
    watcher.settle()
    shop.cost = 1.0
    for _ in range(6):
        shop.change("products")
        shop.now += 1
        assert watcher.tick() == []
    watcher.noticed()
    assert watcher.agrees()
    # Without a word of when it was, every other tick of a burst may poll.
    assert len(shop.polled) <= (1 if says_when else 6)


def test_a_shop_that_never_rests_is_observed_within_a_minute_and_a_round(shop: Shop, watcher: Watcher) -> None:
    began = shop.now
    while not watcher.seen and shop.now < began + 300:
        shop.change("products")
        watcher.tick()
    assert watcher.seen
    assert shop.now - began <= RESTLESS_SECONDS + 2 * ROUND
    assert len(shop.polled) == 1


def test_a_change_during_the_poll_is_seen_at_once_or_next_time_and_once(shop: Shop, watcher: Watcher) -> None:
    """The totals that are observed come after the fingerprints that say where."""
    for table in ("products", "customers"):
        shop.change("products")
        shop.now += 3
        hits = itertools.count()
        shop.while_polled = lambda table=table, hits=hits: shop.change(table) if next(hits) == 0 else None
        assert watcher.tick() == [("products", None)]
        assert watcher.agrees() is (table == "products")
        if table == "customers":
            watcher.noticed()
        assert watcher.agrees()
        assert "no sign" not in watcher.said
        assert all(watcher.tick() == [] for _ in range(20))


@pytest.mark.parametrize("signed", [True, False])
def test_what_was_changed_back_after_its_totals_were_observed_is_noticed(
    shop: Shop, watcher: Watcher, *, signed: bool
) -> None:
    """The fingerprints are then again those of the poll, and the totals are not."""
    shop.unsigned = set() if signed else {"orders"}
    for _ in range(10):
        watcher.tick()
    before = shop.rows["orders"]["2004-02"]
    shop.change("orders", "2004-02")
    shop.now += 3
    polled = dict(shop.rows["orders"])

    def change_once_more() -> None:
        if "orders" in shop.polled[-1] and shop.rows["orders"] == polled and (signed or watcher.state().moving):
            shop.change("orders", "2004-02")

    shop.while_polled = change_once_more
    watcher.noticed()
    shop.while_polled = None
    assert shop.rows["orders"]["2004-02"] == before + 2
    assert watcher.agrees()
    shop.rows["orders"]["2004-02"], shop.changed_at["orders"] = before + 1, shop.now
    watcher.noticed()
    assert watcher.agrees()
    assert all(watcher.tick() == [] for _ in range(20))


def test_what_was_changed_back_before_its_totals_were_asked_for_and_came_again_is_noticed(
    shop: Shop, watcher: Watcher
) -> None:
    """The fingerprints are then those of the poll, of which the totals said that nothing had changed."""
    shop.change("products")
    shop.now += 3
    changed = shop.rows["products"][""]

    def change_back() -> None:
        if shop.rows["products"][""] == changed and watcher.agrees() is False:
            shop.rows["products"][""], shop.changed_at["products"] = changed - 1, shop.now

    shop.while_polled = change_back
    assert watcher.tick() == []
    assert watcher.agrees()
    shop.while_polled = None
    shop.rows["products"][""], shop.changed_at["products"] = changed, shop.now
    watcher.noticed()
    assert watcher.agrees()
    watcher.settle()


def test_only_the_months_that_may_be_others_are_compared_again(
    shop: Shop, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a server whose sign moves with whatever anybody writes there."""
    shop.rows["orders"] |= {f"2003-{month:02}": 1 for month in range(1, 13)}
    shop.change("orders", "2004-02")
    watcher.noticed()
    watcher.settle()
    moments, totals_of = itertools.count(), shop.control_totals
    monkeypatch.setattr(shop, "_sign", lambda _table: Sign(str(next(moments))))
    asked: Counter[str] = Counter()

    def counted(table: Any, months: Sequence[date] | None = None) -> dict[str, ControlTotals]:
        found = totals_of(table, months)
        if table.name == "orders":
            asked.update([*found])
        return found

    monkeypatch.setattr(shop, "control_totals", counted)
    for month in ("2003-05", "2003-06"):
        shop.change("orders", month)
    for _ in range(8):
        shop.change("orders", "2004-02")
        watcher.noticed()
    for _ in range(10):
        watcher.tick()
    assert watcher.agrees()
    assert asked.keys() == {"2003-05", "2003-06", "2004-02"}
    # Observed, and compared once more; no matter what changes beside them.
    assert max(asked["2003-05"], asked["2003-06"]) <= 2


def test_a_picture_that_is_compared_once_more_is_read_once(
    shop: Shop, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = itertools.count()
    monkeypatch.setattr(shop, "_sign", lambda _table: Sign(str(next(moments))))
    shop.change("productlines")
    watcher.noticed()
    assert all(watcher.tick() == [] for _ in range(20))
    assert watcher.agrees()


def test_a_change_that_its_sign_missed_is_found_by_the_proof_and_said(shop: Shop, watcher: Watcher) -> None:
    shop.lying = {"products"}
    watcher.settle()
    shop.change("products")
    said = []
    while not watcher.seen and shop.now < 1_000_000 + 4 * sieve.PROOF_SECONDS:
        watcher.tick()
        said.append(watcher.said)
    assert any("no sign was seen of a change of products" in each for each in said)
    assert watcher.agrees()
    assert shop.now <= 1_000_000 + 4 * sieve.PROOF_SECONDS
    # From then on it is polled without its sign.
    shop.change("products")
    assert watcher.noticed() <= 2 * ROUND
    assert watcher.state().distrusted.keys() == {"products"}


def test_lines_are_not_vouched_for_by_a_sign_of_orders_that_missed_a_change(shop: Shop, watcher: Watcher) -> None:
    state = sieve.distrusting(watcher.state(), ["orders"], shop.now)
    assert state.distrusted.keys() == PARTITIONED
    assert sieve.distrusting(state, [], shop.now + 2 * sieve.DISTRUST_SECONDS).distrusted == {}


def test_a_race_between_sign_and_poll_is_no_lie(shop: Shop, watcher: Watcher) -> None:
    while not watcher.state().proof_due <= shop.now:
        shop.now += ROUND
    signs = shop.change_signs

    def raced() -> dict[str, Sign]:
        found = signs()
        if shop.changed_at["products"] < 1_000_100:
            shop.change("products")
        return found

    shop.change_signs = raced  # type: ignore[method-assign]
    watcher.noticed()
    assert watcher.state().distrusted == {}
    assert watcher.agrees()


@pytest.mark.parametrize("seconds", [0.001, 6.7, 15.0])
def test_a_table_without_a_sign_is_polled_as_often_as_the_budget_allows_and_two_polls_must_agree(
    shop: Shop, watcher: Watcher, seconds: float
) -> None:
    shop.unsigned, shop.cost = {"products"}, seconds
    for _ in range(200):
        watcher.tick()
    before = len(shop.polled)
    shop.change("products")
    took = watcher.noticed()
    assert len(shop.polled) - before >= 2
    assert took <= 2 * (seconds / SHARE + ROUND) + seconds
    assert watcher.agrees()


def test_what_somebody_else_observed_or_wiped_is_polled(shop: Shop, watcher: Watcher) -> None:
    watcher.known["products"] = {"": "another"}
    assert watcher.noticed() <= 2 * ROUND
    assert watcher.agrees()
    watcher.known["products"] = {}
    assert watcher.noticed() <= 2 * ROUND
    assert watcher.agrees()


def test_a_new_month_and_one_that_lost_its_rows_are_noticed(shop: Shop, watcher: Watcher) -> None:
    shop.change("orders", "2004-03")
    watcher.noticed()
    shop.rows["orders"]["2004-01"] = 0
    shop.changed_at["orders"] = shop.now
    watcher.noticed()
    assert watcher.agrees()
    watcher.settle()


def test_a_change_in_a_big_shop_is_noticed_within_15_seconds(shop: Shop, watcher: Watcher) -> None:
    """Polls of 6.7 s, as of MariaDB with 3 million lines; a change of each hour, at any moment between two ticks."""
    shop.cost, moments = 6.7, random.Random(7)
    began, spent, took = shop.now, shop.spent, []
    for _ in range(20):
        until = shop.now + moments.uniform(300, 1500)
        while shop.now < until:
            watcher.tick()
        late = moments.uniform(0, ROUND)
        shop.now -= late  # since the last tick
        shop.change("orders", "2004-02")
        shop.now += late
        took.append(watcher.noticed() + late)
    assert max(took) <= 15.0
    assert shop.spent - spent <= SHARE * (shop.now - began)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_it_is_noticed_and_costs_a_twentieth_on_average(
    shop: Shop, watcher: Watcher, seed: int
) -> None:
    chance = random.Random(seed)
    shop.cost = chance.choice([0.01, 1.0, 6.7, 20.0])
    shop.says_when = chance.random() < 0.5
    shop.unsigned = set(chance.sample(TABLES, chance.choice([0, 1])))
    shop.lying = set(chance.sample(TABLES, chance.choice([0, 1]))) - shop.unsigned
    busy = chance.choice([0.02, 0.2, 0.9])
    began, spent = shop.now, shop.spent
    changes: Counter[str] = Counter()
    for _ in range(400):
        if chance.random() < busy:
            table = chance.choice(TABLES)
            shop.change(table, chance.choice(["2004-01", "2004-02"]) if table in PARTITIONED else "")
            changes[table] += 1
        watcher.tick()
        assert shop.spent - spent <= SHARE * (shop.now - began) + BURST_SECONDS + shop.cost
    assert changes
    for _ in range(int(4 * sieve.PROOF_SECONDS / ROUND)):
        watcher.tick()
    assert watcher.agrees()


def test_a_table_that_cannot_be_read_is_not_polled_and_the_others_are(shop: Shop, watcher: Watcher) -> None:
    shop.stopped = {"orders": SourceSchemaChanged("table orders has no column status")}
    for table in ("orders", "products"):
        shop.change(table, "2004-01" if table in PARTITIONED else "")
    for _ in range(int(2 * sieve.PROOF_SECONDS / ROUND)):
        if watcher.tick():
            assert watcher.seen == [("products", None)]
        assert watcher.said.startswith(
            "orders and all tables downstream stopped, schema changed: table orders has no column status; "
        )
    assert all("orders" not in polled for polled in shop.polled)
    assert watcher.state().failing_since == 0
    shop.stopped = {}
    assert watcher.noticed() <= 2 * ROUND
    assert watcher.seen == [("orders", "2004-01")]
    assert watcher.agrees()


@pytest.mark.parametrize("lost", ["cursor", "memory", "both"])
def test_nothing_is_missed_or_observed_twice_when_a_part_of_the_state_is_lost_or_older(
    shop: Shop, watcher: Watcher, lost: str
) -> None:
    older = {name: getattr(watcher, name) for name in (["cursor", "memory"] if lost == "both" else [lost])}
    shop.change("orders", "2004-02")
    watcher.noticed()
    for each in (older, dict.fromkeys(older, "")):
        vars(watcher).update(each)
        shop.now += ROUND
        assert all(watcher.tick() == [] for _ in range(5))
        shop.change("products")
        assert watcher.noticed() <= 3 * ROUND
        assert watcher.agrees()


def test_what_a_tick_that_failed_remembered_hides_no_change(shop: Shop, watcher: Watcher) -> None:
    """The fingerprints are kept before Dagster keeps the observations and the cursor."""
    shop.change("orders", "2004-02")
    shop.now += 3
    cursor, observed = watcher.cursor, {table: dict(months) for table, months in watcher.known.items()}
    assert watcher.tick() == [("orders", "2004-02")]
    watcher.cursor, watcher.known = cursor, observed
    assert watcher.noticed() <= 2 * ROUND
    assert watcher.agrees()


# Ticks that stay ----------------------------------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classic_cars.automation.lingering.LINGER_SECONDS", 1.0)
    monkeypatch.setattr(order_system_sensor, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(order_system_sensor, "SHARE", 1.0)


@pytest.mark.usefixtures("patient")
def test_a_tick_looks_again_when_signs_moved_and_stays_until_it_observes(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = ({"orders": Sign(token)} for token in ("a", "b"))
    seen = sieve.noted(OrderSystemPollState(), sieve.Plan(), before, 0.0, 0.0)
    observed = dg.AssetObservation(dg.AssetKey(["order_system", "orders"]))
    ticks = [Tick(seen), Tick(seen, events=[observed])]
    signs = [before, before, before, after, after]
    source: Any = SimpleNamespace(change_signs=lambda: signs.pop(0))
    monkeypatch.setattr(order_system_sensor, "tick", lambda *_: ticks.pop(0))
    assert order_system_sensor.watched(OrderSystemPollState(), source, None).events == [observed]  # type: ignore[arg-type]
    assert len(signs) == 1


@pytest.mark.usefixtures("patient")
def test_a_tick_that_sees_nothing_new_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    same = {"orders": Sign("a")}
    seen = sieve.noted(OrderSystemPollState(), sieve.Plan(), same, 0.0, 0.0)
    ticks = [Tick(seen)]
    source: Any = SimpleNamespace(change_signs=lambda: same)
    monkeypatch.setattr(order_system_sensor, "tick", lambda *_: ticks.pop(0))
    started = time.monotonic()
    assert order_system_sensor.watched(OrderSystemPollState(), source, None).events == ()  # type: ignore[arg-type]
    assert 0.9 < time.monotonic() - started < 5
