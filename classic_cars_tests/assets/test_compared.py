"""What a release before proves is not compared again, and nothing else is left out; on both stores.

Tables are published by hand, so that what a run would refuse comes before the comparisons, too.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.contracts.base import RELEASED
from classic_cars.contracts.metrics import CUSTOMER, partials
from classic_cars.months import Months
from classic_cars.serving import compared, recounted, releases
from classic_cars.serving.compared import RELIED_ON, contradicting, whole
from classic_cars.serving.consistency import contradictions
from classic_cars.serving.release_making import Outcome, make_release
from classic_cars.serving.releases import Release
from classic_cars.serving.since import changed_since
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Provenance, Reading, Store
from classic_cars.stores.pins import Pins

CONTRACTS = {each.contract.address: each.contract for each in ALL_TABLES}
WANTED = [each for each in CONTRACTS.values() if each.layer in RELEASED]
NOW = datetime(2026, 11, 27, tzinfo=UTC)
CUSTOMERS, FACT = "analytics/monthly_sales_by_customer", "warehouse/fact_orders"
MARCH, MAY, JUNE = (date(2003, month, 1) for month in (3, 5, 6))
SAME = "FROM old"
OTHER_CUSTOMERS = "SELECT * REPLACE (max(customerNumber) OVER () AS customerNumber) FROM old"
ONE_MORE = "SELECT * REPLACE (orders + 1 AS orders) FROM old"

#: What may become of the rows, ``old``, of a table or of a month of it.
EDITS = {
    FACT: (
        OTHER_CUSTOMERS,
        "SELECT * REPLACE (10100::INTEGER AS orderNumber) FROM old",  # an order of the first month
        "SELECT * REPLACE ('Cancelled' AS status) FROM old",
        "SELECT * REPLACE (DATE '1999-12-31' AS shippedDate) FROM old",
    ),
    CUSTOMERS: (ONE_MORE,),
    "analytics/monthly_sales_by_product": ("FROM old LIMIT 1",),
    "analytics/sales_by_month": (ONE_MORE,),
    "analytics/sales_by_country": (ONE_MORE, "SELECT * REPLACE (units + 1 AS units) FROM old"),
    "analytics/sales_by_product_line": (ONE_MORE,),
    "analytics/customer_cohorts": ("SELECT * REPLACE (soldOrders + 1 AS soldOrders) FROM old",),
    "analytics/product_ratings": ("SELECT * REPLACE (ratings + 1 AS ratings) FROM old",),
    "warehouse/dim_products": ("SELECT * REPLACE ('Ships' AS productLine) FROM old", "FROM old LIMIT 20"),
    "warehouse/dim_customers": ("SELECT * REPLACE (min(locationKey) OVER () AS locationKey) FROM old",),
    "warehouse/fact_payments": ("SELECT * REPLACE (amount + 1 AS amount) FROM old",),
}


def publish(store: Store, address: str, month: date | None, edit: str, of: Reading | None = None) -> None:
    """The rows of a month, or of a table without months, as ``edit`` makes them of the ``old`` ones."""
    contract = CONTRACTS[address]
    months = Months(month, month) if month else None
    old = (of or store).read(contract, months).to_pyarrow()
    with duckdb.connect() as apart:
        publish_rows(store, address, month, apart.register("old", old).sql(edit).to_arrow_table().cast(old.schema))


def publish_rows(store: Store, address: str, month: date | None, rows: pa.Table) -> None:
    with store.begin(Provenance("a test", address)) as tx:
        tx.stage(CONTRACTS[address], tx.receive(rows), Months(month, month) if month else None).publish()


def edited(settings: Settings, address: str, month: date | None, edit: str) -> None:
    store = open_store(settings)
    publish(store, address, month, edit)
    store.end_run()


def attempt(settings: Settings, now: datetime = NOW) -> Outcome:
    store = open_store(settings)
    store.begin_run("a test")
    try:
        return make_release(store, CONTRACTS.values(), "a-run", now=now)
    finally:
        store.end_run()


def both_ways(store: Store, base: Pins, edited: Iterable[str]) -> tuple[list[str], list[str]]:
    """What contradicts itself when these tables are as published, all others as in a release: comparing what changed
    since that release, and comparing everything."""
    pins = {**base, **store.pin([CONTRACTS[each] for each in edited], base)}
    held = store.at(pins)
    try:
        return contradicting(store, held, pins, base), contradictions(held)
    finally:
        held.release()


def edited_one_by_one(settings: Settings, edits: Mapping[str, Sequence[str]]) -> None:
    """Each edit by itself, of May where there are months: what is wrong is found, and all of it."""
    first = attempt(settings).release
    assert first is not None
    store = open_store(settings)
    then = store.at(first.tables)
    for address in edits:
        month = MAY if CONTRACTS[address].partitioned_by else None
        for edit in edits[address]:
            publish(store, address, month, edit, of=then)
            changed, everything = both_ways(store, first.tables, [address])
            assert everything, (address, edit)
            assert changed == everything, (address, edit)
    then.release()
    store.end_run()


@pytest.mark.exhaustive
def test_each_table_that_changed_is_compared(published: Settings) -> None:
    edited_one_by_one(published, EDITS)


def test_an_answer_is_compared_with_a_partial_aggregate_that_changed_as_it_should(published: Settings) -> None:
    first = attempt(published).release
    assert first is not None
    store = open_store(published)
    publish(store, FACT, MAY, OTHER_CUSTOMERS)
    lines = store.read(CONTRACTS[FACT], Months(MAY, MAY))
    rows = partials(lines, CUSTOMER).to_pyarrow()
    publish_rows(store, CUSTOMERS, MAY, rows)
    changed, everything = both_ways(store, first.tables, [FACT, CUSTOMERS])
    assert changed == everything
    assert [each.split()[0] for each in changed] == [
        f"analytics/{name}" for name in ("sales_by_country", "customer_balances", "customer_cohorts")
    ]
    store.end_run()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("edit", "is_changed"),
    [
        (f"{SAME} ORDER BY productName", False),
        ("SELECT * REPLACE (productVendor || left(' ', row_number() OVER () % 2) AS productVendor) FROM old", True),
        (f"{SAME} LIMIT 20", True),
    ],
)
def test_a_small_dimension_that_is_made_anew_with_the_same_rows_did_not_change(
    published: Settings, edit: str, is_changed: bool
) -> None:
    first, store = attempt(published).release, open_store(published)
    assert first is not None
    publish(store, "warehouse/dim_products", None, edit)
    pins = store.pin(WANTED, first.tables)
    assert pins["warehouse/dim_products"] != first.tables["warehouse/dim_products"]
    before, held = store.at(first.tables), store.at(pins)
    found = changed_since(before, first.tables, held, pins)
    assert bool(found.parts("warehouse/dim_products")) == is_changed
    assert not found.parts("warehouse/dim_customers", FACT)
    for each in (before, held, store):
        each.release()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(1, 12))])
def test_comparing_what_changed_finds_what_comparing_everything_finds(published: Settings, seed: int) -> None:
    """Tables and months at random, some of them published again with the rows that they had."""
    first = attempt(published).release
    assert first is not None
    chance, store = random.Random(seed), open_store(published)
    then = store.at(first.tables)
    for _ in range(6):
        edits = {}
        for address in chance.sample(sorted(EDITS), chance.randint(1, 3)):
            contract = CONTRACTS[address]
            month = chance.choice(then.months(contract)) if contract.partitioned_by else None
            edits[address, month] = chance.choice((SAME, *EDITS[address]))
        for (address, month), edit in edits.items():
            publish(store, address, month, edit, of=then)
        changed, everything = both_ways(store, first.tables, [address for address, _ in edits])
        assert changed == everything, edits
        for address, month in edits:
            publish(store, address, month, SAME, of=then)
    then.release()
    store.end_run()


def relied_on(settings: Settings) -> Release:
    """A release that says to have passed every comparison: in March every customer has an order too many."""
    store = open_store(settings)
    made = make_release(store, CONTRACTS.values(), "a-run", now=NOW).release
    assert made is not None
    publish(store, CUSTOMERS, MARCH, ONE_MORE)
    pins = store.pin(WANTED, made.tables)
    release = Release.of(made.number + 1, "a-run", None, made.balances, pins, whole(NOW))
    assert releases.put(store, release)
    store.end_run()
    return release


def in_month(outcome: Outcome, month: date) -> bool:
    """Whether no release was made, because customers of that month have other orders than the order lines say."""
    (reason,) = outcome.reasons
    return not outcome.is_new and reason.startswith(f"{CUSTOMERS} differs from {FACT} by month and customer ({month} ")


def test_a_contradiction_in_a_month_that_changed_is_found_until_it_is_gone(published: Settings) -> None:
    first = attempt(published).release
    edited(published, CUSTOMERS, MAY, ONE_MORE)
    assert in_month(attempt(published), MAY)
    # What was refused proves nothing: the months that changed are those since the release that was made.
    edited(published, FACT, JUNE, SAME)
    again = attempt(published)
    assert in_month(again, MAY)
    assert again.release == first
    edited(published, CUSTOMERS, MAY, "SELECT * REPLACE (orders - 1 AS orders) FROM old")
    assert attempt(published).is_new


def test_what_a_release_passed_is_relied_on_for_a_day(published: Settings) -> None:
    base = relied_on(published)
    edited(published, FACT, JUNE, SAME)
    later = NOW + RELIED_ON - timedelta(seconds=1)
    made = attempt(published, later)
    assert made.is_new
    assert made.release is not None
    assert made.release.compared == base.compared  # everything was compared when it was before
    edited(published, FACT, JUNE, SAME)
    assert in_month(attempt(published, NOW + RELIED_ON), MARCH)
    assert in_month(attempt(published, NOW - timedelta(seconds=1)), MARCH)  # by a clock that was put back


def test_only_a_release_that_passed_the_same_comparisons_is_relied_on(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = relied_on(published)
    edited(published, FACT, JUNE, SAME)
    with monkeypatch.context() as patched:
        patched.setattr(compared, "comparisons", lambda: "of another version")
        assert in_month(attempt(published), MARCH)
    # Of a version that did not say what it compared.
    shelf = open_store(published).shelf
    shelf.remove(base.number)
    assert shelf.add(base.number, base.model_dump_json(exclude={"compared"}))
    assert in_month(attempt(published), MARCH)


def test_where_a_copy_is_damaged_everything_is_compared(published: Settings) -> None:
    base = relied_on(published)
    (file, *_) = base.tables["warehouse/dim_products"].parts[""].files
    copy = published.store_path.parent / "releases" / file
    copy.write_bytes(copy.read_bytes()[::-1])  # of the same size
    edited(published, FACT, JUNE, SAME)
    assert in_month(attempt(published), MARCH)


def test_comparisons_are_told_apart_by_what_they_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compared.comparisons()
    assert compared.comparisons() == before
    for where, name, other in (
        ("consistency", "RECOUNTED", recounted.RECOUNTED[1:]),
        ("recounted.Recounted", "lost", lambda *_: 0),
        ("since.Since", "parts", lambda *_: set()),
        ("consistency", "changed_since", lambda *_: None),
        ("consistency", "CONTRACTS", {FACT: CONTRACTS[FACT]}),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(f"classic_cars.serving.{where}.{name}", other)
            assert compared.comparisons() != before, name
