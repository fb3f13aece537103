"""What is out of date, and what is made in one go; by a record of versions that a test writes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from classic_cars.automation import staleness
from classic_cars.automation.staleness import Node, Record, stale, wave
from classic_cars.months import Months
from classic_cars.stores.publications import Publications
from classic_cars.tables import events
from classic_cars.tables.events import CODE_VERSION, INPUT_VERSION, Event
from classic_cars.tables.external import DATA_VERSION, WHOLE

MONTHS = ["2004-01", "2004-02", "2004-03"]
#: A platform in small: orders by month, products whole, an audit of orders that refers to products.
TABLES = {
    "order_system/orders": ((), True),
    "order_system/products": ((), False),
    "source/orders": (("order_system/orders",), True),
    "source/products": (("order_system/products",), False),
    "staging/products": (("source/products",), False),
    "staging/orders": (("source/orders", "staging/products"), True),
    "warehouse/dim_products": (("staging/products", "staging/orders"), False),
    "warehouse/facts": (("staging/orders", "warehouse/dim_products"), True),
    "analytics/by_month": (("warehouse/facts",), True),
    "analytics/by_product": (("warehouse/facts", "warehouse/dim_products"), False),
    "analytics/catalogue": (("warehouse/dim_products",), False),
    "analytics/best_of_catalogue": (("analytics/by_month", "analytics/catalogue"), False),
}
NODES = {
    address: Node(address, parents, partitioned, "code", external=address.startswith("order_system"))
    for address, (parents, partitioned) in TABLES.items()
}
ALL = set(MONTHS)


class History:
    """Everything was made once, in order; then this and that happened."""

    def __init__(self) -> None:
        self.moment = 0
        self.events: dict[str, dict[str, Event]] = {address: {} for address in NODES}
        self.past: list[tuple[str, str, int, str]] = []
        self.published = {address: Publications().after(None, "run") for address in NODES}
        self.failed: dict[str, set[str]] = {}
        for address in NODES:
            self.happens(address, "1")

    def happens(self, address: str, version: str, *parts: str, code: str = "code") -> None:
        node = NODES[address]
        for part in parts or (MONTHS if node.partitioned else [WHOLE]):
            self.moment += 1
            inputs = {
                f"{INPUT_VERSION}{parent}": self.events[parent][WHOLE].tags[DATA_VERSION]
                for parent in node.parents
                if not NODES[parent].partitioned and WHOLE in self.events[parent]
            }
            tags = {CODE_VERSION: code, DATA_VERSION: version, **inputs}
            self.events[address][part] = Event(self.moment, tags, "run", until=self.moment)
            self.past.append((address, part, self.moment, version))

    def versions_before(self, node: Node, moment: int) -> dict[str, str]:
        return {part: version for address, part, at, version in self.past if address == node.address and at < moment}

    def record(self) -> Record:
        return Record(NODES, MONTHS, self.events, self.published, self.failed, self.versions_before)


@pytest.fixture
def history() -> History:
    return History()


def test_nothing_is_out_of_date_when_everything_was_made(history: History) -> None:
    assert stale(history.record()) == {}
    assert wave(history.record(), {}) == {}


def test_what_is_made_of_a_month_follows_once_it_is_known_to_have_other_rows(history: History) -> None:
    february = {"2004-02"}
    history.happens("order_system/orders", "2", *february)
    old = stale(history.record())
    assert old == {"source/orders": february}
    # The facts wait for the dimension that they refer to, which is mostly what it was.
    assert wave(history.record(), old) == {"source/orders": february, "staging/orders": february}
    history.happens("source/orders", "2", *february)
    history.happens("staging/orders", "2", *february)
    old = stale(history.record())
    assert old == {"warehouse/dim_products": {WHOLE}, "warehouse/facts": february}
    assert wave(history.record(), old) == {
        "warehouse/dim_products": {WHOLE},
        "warehouse/facts": february,
        "analytics/by_month": february,
    }
    history.happens("warehouse/dim_products", "1")
    history.happens("warehouse/facts", "2", *february)
    history.happens("analytics/by_month", "1", *february)  # differs where this answer does not look
    assert wave(history.record(), stale(history.record())) == {"analytics/by_product": {WHOLE}}


def test_a_month_that_is_what_it_was_is_the_end_of_it(history: History) -> None:
    """Made in any case, as months that are named are."""
    february = {"2004-02"}
    named = {address: february for address, node in NODES.items() if node.partitioned and not node.external}
    read = {"source/orders": february, "staging/orders": february}
    assert wave(history.record(), named) == read
    for address in read:
        history.happens(address, "1", *february)
    assert stale(history.record()) == {}
    rest = {address: months for address, months in named.items() if address not in read}
    assert wave(history.record(), rest) == rest
    for address in rest:
        history.happens(address, "1", *february)
    assert stale(history.record()) == {}


def test_an_observation_of_the_same_version_changes_nothing(history: History) -> None:
    history.happens("order_system/orders", "1", "2004-02")
    history.happens("order_system/products", "1")
    assert stale(history.record()) == {}


def test_a_table_that_came_out_as_it_was_is_the_end_of_it(history: History) -> None:
    history.happens("order_system/products", "2")
    assert wave(history.record(), stale(history.record())) == {
        "source/products": {WHOLE},
        "staging/products": {WHOLE},
    }
    history.happens("source/products", "2")
    history.happens("staging/products", "1")
    assert stale(history.record()) == {}


def test_other_rows_of_a_whole_table_make_all_months_that_are_made_of_it(history: History) -> None:
    history.happens("order_system/products", "2")
    history.happens("order_system/orders", "2", "2004-02")
    first = wave(history.record(), stale(history.record()))
    # February's orders wait for the products that they may name.
    assert first == {"source/products": {WHOLE}, "source/orders": {"2004-02"}, "staging/products": {WHOLE}}
    history.happens("source/products", "2")
    history.happens("source/orders", "2", "2004-02")
    history.happens("staging/products", "2")
    old = stale(history.record())
    assert old == {"staging/orders": ALL, "warehouse/dim_products": {WHOLE}}
    second = wave(history.record(), old)
    assert second["warehouse/facts"] == second["analytics/by_month"] == ALL
    assert not {"analytics/by_product", "analytics/catalogue"} & second.keys()  # whether they follow is seen then


def test_what_is_made_of_a_table_that_failed_keeps_its_version(history: History) -> None:
    history.happens("order_system/orders", "2", "2004-02")
    history.happens("order_system/products", "2")
    old = stale(history.record())
    products = {"source/products": {WHOLE}}
    assert wave(history.record(), old, products) == {"source/orders": {"2004-02"}}
    assert wave(history.record(), old, products | {"source/orders": {"2004-02"}}) == {}


def test_a_month_that_failed_holds_up_itself_and_no_other(history: History) -> None:
    for version in ("2", "3"):
        history.happens("staging/orders", version)
        old = stale(history.record())
        assert old == {"warehouse/dim_products": {WHOLE}, "warehouse/facts": ALL}
        made = wave(history.record(), old, {"staging/orders": {"2004-01"}})
        assert made["warehouse/dim_products"] == {WHOLE}
        assert made["warehouse/facts"] == made["analytics/by_month"] == {"2004-02", "2004-03"}
    assert wave(history.record(), old, {"staging/orders": ALL}) == {}


def test_what_a_failed_attempt_said_is_said_again_although_its_input_is_again_what_it_was(history: History) -> None:
    history.happens("source/orders", "broken", "2004-02")
    history.failed = {"staging/orders": {"2004-02"}, "warehouse/facts": {"2004-02"}}
    history.happens("source/orders", "1", "2004-02")
    assert stale(history.record()) == {"staging/orders": {"2004-02"}}
    history.happens("staging/orders", "1", "2004-02")
    history.failed = {"warehouse/facts": {"2004-02"}}
    assert stale(history.record()) == {"warehouse/facts": {"2004-02"}}
    # Nothing that it is made of was made since: another attempt would fail again.
    history.failed = {"source/products": {WHOLE}, "staging/products": {WHOLE}}
    assert stale(history.record()) == {}


def test_one_broken_month_makes_no_other_month_out_of_date(history: History) -> None:
    history.happens("source/orders", "broken", "2004-01")
    history.failed = {"staging/orders": {"2004-01"}, "warehouse/facts": {"2004-01"}}
    history.happens("warehouse/dim_products", "1")  # made again, with the same rows
    assert stale(history.record()) == {"staging/orders": {"2004-01"}, "warehouse/facts": {"2004-01"}}


def test_what_changed_while_an_attempt_was_under_way_is_seen_when_it_failed(history: History) -> None:
    history.happens("source/products", "2")
    history.happens("staging/products", "1")  # of the rows of before: the record keeps their version
    made = history.events["staging/products"][WHOLE]
    tags = {**made.tags, f"{INPUT_VERSION}source/products": "1"}
    history.events["staging/products"][WHOLE] = Event(made.moment, tags, "run")
    for failed in ({}, {"staging/products": {WHOLE}}):
        history.failed = failed
        assert stale(history.record()) == {"staging/products": {WHOLE}}


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        ("FAILURE", {"staging/orders": {"2004-02"}, "staging/products": {WHOLE}}),
        ("CANCELED", {"staging/orders": {"2004-02"}, "staging/products": {WHOLE}}),
        ("STARTED", {}),
        (None, {"staging/orders": {"2004-02"}, "staging/products": {WHOLE}}),  # it was deleted
    ],
)
def test_an_attempt_failed_where_its_run_is_over_and_did_not_make_it(
    status: str | None, failed: dict[str, set[str]]
) -> None:
    attempts = {"staging/orders": "late", "staging/products": "late", "warehouse/facts": "made"}
    run = dg.DagsterRun("job", run_id="late", status=dg.DagsterRunStatus(status or "FAILURE"))
    planned = {"staging/orders": {"2004-01": 1, "2004-02": 9}, "warehouse/facts": {"2004-01": 2, "2004-02": 3}}
    there: Any = SimpleNamespace(
        get_runs=lambda _filter: [run] if status else [],
        event_log_storage=SimpleNamespace(
            get_latest_storage_id_by_partition=lambda key, _kind: planned[key.to_user_string()]
        ),
    )
    months = {"2004-01": Event(4, {}, "made"), "2004-02": Event(5, {}, "made")}
    made = {"staging/orders": months, "staging/products": {WHOLE: Event(6, {}, "made")}, "warehouse/facts": months}
    assert staleness._failed(there, [NODES[each] for each in attempts], made, attempts) == failed


@pytest.mark.parametrize(
    ("moments", "versions", "told"),
    [
        ({"01": 7, "02": 8, "03": 9}, {"01": "a", "02": "a", "03": "a"}, {"01": 9, "02": 9, "03": 9}),
        ({"01": 7, "02": 30, "03": 9}, {"01": "a", "02": "a", "03": "a"}, {"01": 7, "02": 30, "03": 9}),
        ({"02": 8, "01": 7, "03": 12}, {"01": "a", "02": "a", "03": "b"}, {"01": 8, "02": 8, "03": 12}),
        ({"01": 7, "02": 8}, {"01": "a"}, {"01": 7, "02": 8}),
        ({}, {}, {}),
    ],
)
def test_months_that_one_step_made_are_told_by_one_event(
    moments: dict[str, int], versions: dict[str, str], told: dict[str, int]
) -> None:
    """A month made again by itself may have the version that it had, and other versions of its inputs."""
    assert events._one_of_each_step(moments, versions) == told


def test_a_new_month_and_other_code_are_made(history: History) -> None:
    record = history.record()
    with_april = replace(record, months=[*MONTHS, "2004-04"])
    assert stale(with_april)["source/orders"] == {"2004-04"}
    history.happens("warehouse/facts", "1", code="older")
    assert stale(history.record()) == {"warehouse/facts": ALL}


@pytest.mark.parametrize("published", [Publications().after(None, "another run"), None])
def test_a_store_that_does_not_hold_what_the_history_says_is_filled_again(
    history: History, published: Publications | None
) -> None:
    if published is None:
        del history.published["staging/orders"]
    else:
        history.published["staging/orders"] = published
    assert stale(history.record()) == {"staging/orders": ALL}


def test_months_that_the_store_does_not_hold_are_made_whatever_was_published_since(history: History) -> None:
    february, march = Months.parse("2004-02"), Months.parse("2004-03")
    history.published["staging/orders"] = Publications().after(None, "run").after(february, "old").after(march, "run")
    assert stale(history.record()) == {"staging/orders": {"2004-02"}}


def test_everything_is_made_in_one_go_where_there_is_nothing() -> None:
    none: dict[str, dict[str, Event]] = {address: {} for address in NODES}
    record = Record(NODES, MONTHS, none, {}, {}, lambda *_: {})
    made = wave(record, stale(record))
    assert set(made) == {address for address in NODES if not NODES[address].external}
    assert all(parts == (ALL if NODES[address].partitioned else {WHOLE}) for address, parts in made.items())
