"""What every store must do, whatever it is made of."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pytest

from classic_cars.contracts.base import Contract
from classic_cars.contracts.vocabulary import Int, Text
from classic_cars.errors import ContractError, StoreError, TableMissing
from classic_cars.months import Months
from classic_cars.settings import Settings
from classic_cars.stores.base import Store
from classic_cars.stores.duckdb import DuckDBStore
from classic_cars_tests.stores.conftest import Open, settings_of
from classic_cars_tests.stores.tables import (
    BY_TEST,
    COLUMNS,
    EVERYTHING,
    FEBRUARY,
    FIRST_QUARTER,
    JANUARY,
    PLACES,
    SALES,
    arrow,
    contract,
    held,
    publish,
    sale,
    seen,
    stage,
    staged,
)

#: For what a store decides before it writes a file, or after it read one: on S3 at night, on a lake in a folder always.
NOT_OF_FILES = pytest.mark.parametrize(
    "settings", ["duckdb", "folder", pytest.param("s3", marks=pytest.mark.exhaustive)], indirect=True
)


QUARTER = [sale(1, "2004-01-31"), sale(2, "2004-02-01", "2.50"), sale(3, "2004-03-15", None, "free")]


@pytest.fixture(params=["duckdb", "folder", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return settings_of(request.param, request, tmp_path)


def test_what_is_published_is_read_back_by_another_process(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    assert seen(open_another(read_only=True), SALES) == QUARTER


def test_a_table_that_was_never_published_is_missing(store: Store):
    assert not store.exists(SALES)
    assert store.months(SALES) == []
    with pytest.raises(TableMissing, match="warehouse/sales: never published"):
        store.read(SALES)


def test_an_empty_store_has_no_tables(store: Store, open_another: Open):
    assert store.row_counts() == {}
    store.release()
    assert open_another(read_only=True).row_counts() == {}


def test_what_was_staged_and_discarded_is_seen_by_nobody(store: Store, open_another: Open):
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    with store.begin(BY_TEST) as tx:
        new = staged(tx, PLACES, [{"place": "Rome", "visitors": 2}, {"place": "Bonn", "visitors": None}])
        assert new.rows.count().to_pyarrow().as_py() == 2
        assert new.others is None
    assert seen(open_another(read_only=True), PLACES) == [{"place": "Oslo", "visitors": 1}]


@NOT_OF_FILES
def test_what_a_transaction_staged_is_not_read_as_published(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    with store.begin(BY_TEST) as tx:
        new = staged(tx, SALES, [sale(9, "2004-02-29")], FEBRUARY)
        with pytest.raises(StoreError, match=r"warehouse/sales: was staged in this transaction.*read the staged"):
            tx.read(SALES)
        assert held(tx, PLACES) == [{"place": "Oslo", "visitors": 1}]
        assert new.rows.sale.to_pyarrow().to_pylist() == [9]


def test_discarding_brings_the_published_rows_back(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with store.begin(BY_TEST) as tx:
        staged(tx, SALES, [], FIRST_QUARTER)
        tx.discard()
        assert held(tx, SALES) == QUARTER
        tx.discard()
        staged(tx, SALES, [sale(9, "2004-02-29")], FEBRUARY).publish()
    assert [row["sale"] for row in held(store, SALES)] == [1, 3, 9]


def test_a_transaction_that_ends_in_an_error_leaves_what_was(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with pytest.raises(ContractError), store.begin(BY_TEST) as tx:  # noqa: PT012  (leaving the `with` is the point)
        staged(tx, SALES, [], FIRST_QUARTER)
        tx.stage(PLACES, tx.receive(arrow(SALES, QUARTER)))
    assert held(store, SALES) == QUARTER


def test_a_transaction_left_open_by_a_dead_step_is_discarded_by_the_next(store: Store):
    dead = stage(store, SALES, QUARTER, FIRST_QUARTER)
    with store.begin(BY_TEST) as tx:
        assert not tx.exists(SALES)
        with pytest.raises(StoreError, match="warehouse/sales: this staged version is not its transaction's any more"):
            dead.publish()
        staged(tx, SALES, QUARTER[:1], FIRST_QUARTER).publish()
    assert held(store, SALES) == QUARTER[:1]


@NOT_OF_FILES
def test_only_what_was_staged_last_is_published_and_only_once(store: Store):
    with store.begin(BY_TEST) as tx:
        first = staged(tx, SALES, QUARTER, FIRST_QUARTER)
        last = staged(tx, SALES, QUARTER[:1], FIRST_QUARTER)
        with pytest.raises(StoreError, match="it was staged again"):
            first.publish()
        last.publish()
        with pytest.raises(StoreError, match="it was published or discarded"):
            last.publish()
    assert held(store, SALES) == QUARTER[:1]


@NOT_OF_FILES
@pytest.mark.parametrize(("months", "append"), [(JANUARY, False), (None, False), (None, True)])
def test_other_rows_of_a_staged_table_are_refused_and_not_mixed(store: Store, months, append: bool):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with store.begin(BY_TEST) as tx:
        kept = staged(tx, SALES, [sale(9, "2004-02-29")], FEBRUARY)
        with pytest.raises(StoreError, match="found 2004-02 staged in this transaction already, expected to stage"):
            staged(tx, SALES, [sale(8, "2004-01-08")], months, append=append)
        kept.publish()
    assert [row["sale"] for row in held(store, SALES)] == [1, 3, 9]


@NOT_OF_FILES
def test_a_store_that_was_opened_for_reading_begins_nothing(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with pytest.raises(StoreError, match="was opened for reading only"):
        open_another(read_only=True).begin(BY_TEST)


def test_replacing_a_month_leaves_every_other_row(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with store.begin(BY_TEST) as tx:
        new = staged(tx, SALES, [sale(7, "2004-02-10"), sale(8, "2004-02-11")], FEBRUARY)
        assert {row["sale"] for row in new.rows.to_pyarrow().to_pylist()} == {7, 8}
        assert new.others is not None
        assert {row["sale"] for row in new.others.to_pyarrow().to_pylist()} == {1, 3}
        new.publish()
    expected = [QUARTER[0], QUARTER[2], sale(7, "2004-02-10"), sale(8, "2004-02-11")]
    assert seen(open_another(read_only=True), SALES) == expected


@NOT_OF_FILES
@pytest.mark.parametrize("first", [True, False], ids=["made anew", "beside others"])
@pytest.mark.parametrize("months", [FEBRUARY, Months.parse("2004-02..2004-04")], ids=str)
@pytest.mark.parametrize(
    ("day", "said"), [("2004-01-31", "2004-01"), ("2004-05-01", "2004-05"), (None, "no month")], ids=str
)
def test_rows_of_months_that_were_not_asked_for_are_refused(
    store: Store, day: str | None, said: str, months: Months, first: bool
):
    """Else they would be there twice, and audited by nobody."""
    loose = contract({**COLUMNS, "day": (COLUMNS["day"][0], True, "Day of the sale")})
    before = [] if first else [sale(1, "2004-01-31"), {**sale(2, "2004-02-01"), "day": None}]
    if before:
        publish(store, loose, before)
    for others in ([], [sale(8, "2004-02-08")]):
        rows = [*others, {**sale(9, "2004-02-09"), "day": date.fromisoformat(day) if day else None}]
        with store.begin(BY_TEST) as tx, pytest.raises(ContractError) as refused:
            staged(tx, loose, rows, months)
        assert f"warehouse/sales: found rows of {said}, expected rows of {months} only" in str(refused.value)
    assert (held(store, loose) if before else []) == before
    assert store.exists(loose) == bool(before)


@NOT_OF_FILES
def test_a_month_may_become_empty(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, SALES, [], FEBRUARY)
    assert [row["sale"] for row in held(store, SALES)] == [1, 3]
    assert store.months(SALES) == [date(2004, 1, 1), date(2004, 3, 1)]


@NOT_OF_FILES
def test_only_the_months_asked_for_are_read(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    assert [row["sale"] for row in held(store, SALES, JANUARY)] == [1]
    assert [row["sale"] for row in held(store, SALES, FIRST_QUARTER)] == [1, 2, 3]


@NOT_OF_FILES
def test_months_are_those_that_have_rows(store: Store):
    publish(store, SALES, [QUARTER[2], QUARTER[0]], FIRST_QUARTER)
    assert store.months(SALES) == [date(2004, 1, 1), date(2004, 3, 1)]


@NOT_OF_FILES
def test_months_mean_nothing_to_a_table_without_them(store: Store):
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    assert store.months(PLACES) == []
    assert held(store, PLACES, JANUARY) == [{"place": "Oslo", "visitors": 1}]


def test_a_whole_table_is_replaced(store: Store):
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}, {"place": "Rome", "visitors": 2}])
    publish(store, PLACES, [{"place": "Bonn", "visitors": 3}])
    assert held(store, PLACES) == [{"place": "Bonn", "visitors": 3}]


def test_an_empty_table_has_its_columns(store: Store, open_another: Open):
    publish(store, SALES, [], FIRST_QUARTER)
    assert store.exists(SALES)
    store.release()
    reader = open_another(read_only=True)
    found = reader.read(SALES)
    assert found.count().to_pyarrow().as_py() == 0
    assert dict(found.schema().items()) == {n: k.copy(nullable=True) for n, k in SALES.types.items()}
    assert reader.row_counts() == {"warehouse/sales": 0}
    assert reader.query("SELECT max(amount) AS most FROM warehouse.sales").read_all().to_pylist() == [{"most": None}]


def test_every_type_keeps_its_values(store: Store, open_another: Open):
    rows = [
        {
            "key": 1,
            "large": 2**62,
            "text": 'O\'Hara "é" \n 車',
            "money": Decimal("9999999999999999.99"),
            "exact": Decimal("1234567890123456789012345678.0123456789"),
            "day": date(1900, 2, 28),
            "flag": False,
            "raw": b"\x00\xff'",
            "ratio": 0.1,
        },
        dict.fromkeys(EVERYTHING.types.names, None) | {"key": 2},
    ]
    publish(store, EVERYTHING, rows)
    reader = open_another(read_only=True)
    assert seen(reader, EVERYTHING) == rows
    found = reader.read(EVERYTHING).schema()
    assert dict(found.items()) == {n: k.copy(nullable=True) for n, k in EVERYTHING.types.items()}


@NOT_OF_FILES
def test_reordered_columns_keep_their_values(store: Store):
    with store.begin(BY_TEST) as tx:
        rows = tx.receive(arrow(SALES, QUARTER)).select("note", "amount", "day", "sale")
        tx.stage(SALES, rows, FIRST_QUARTER).publish()
    assert held(store, SALES) == QUARTER


@NOT_OF_FILES
@pytest.mark.parametrize(
    ("bend", "said"),
    [
        (lambda rows: rows.drop("note"), "column note is missing"),
        (
            lambda rows: rows.mutate(amount=rows.amount.cast("float64")),
            r"column amount is float64, expected decimal\(10, 2\)",
        ),
    ],
    ids=["missing column", "other type"],
)
def test_rows_of_another_shape_are_refused_and_only_the_difference_is_said(store: Store, bend, said: str):
    with pytest.raises(ContractError, match=f"^warehouse/sales: {said}; change"), store.begin(BY_TEST) as tx:
        tx.stage(SALES, bend(tx.receive(arrow(SALES, QUARTER))), FIRST_QUARTER)
    assert not store.exists(SALES)


@NOT_OF_FILES
def test_a_value_that_overflows_its_type_changes_nothing(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with store.begin(BY_TEST) as tx:
        rows = tx.receive(arrow(SALES, QUARTER))
        huge = (rows.amount.cast("decimal(38, 2)") * ibis.literal(10**9)).cast("decimal(10, 2)")
        with pytest.raises(Exception, match=r"(?i)cast|range|decimal"):
            tx.stage(SALES, rows.mutate(amount=huge), FIRST_QUARTER)
    assert held(store, SALES) == QUARTER


def test_rows_that_arrive_in_batches_are_read_once(store: Store):
    batches = pa.RecordBatchReader.from_batches(
        SALES.types.to_pyarrow(), (batch for row in QUARTER for batch in arrow(SALES, [row]).to_batches())
    )
    with store.begin(BY_TEST) as tx:
        tx.stage(SALES, tx.receive(batches), FIRST_QUARTER).publish()
    assert held(store, SALES) == QUARTER


@NOT_OF_FILES
def test_staging_again_replaces_what_was_staged(store: Store):
    with store.begin(BY_TEST) as tx:
        staged(tx, SALES, QUARTER, FIRST_QUARTER)
        staged(tx, SALES, QUARTER[:1], FIRST_QUARTER).publish()
    assert held(store, SALES) == QUARTER[:1]


def test_tables_staged_together_are_published_together(store: Store, open_another: Open):
    with store.begin(BY_TEST) as tx:
        main = staged(tx, SALES, QUARTER, FIRST_QUARTER)
        staged(tx, PLACES, [{"place": "Oslo", "visitors": 1}])
        main.publish()
    assert open_another(read_only=True).row_counts() == {"staging/places": 1, "warehouse/sales": 3}


def test_size_is_what_the_table_takes(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    size = store.size(SALES)
    assert size.rows == store.row_counts()[SALES.address]
    assert size.bytes is not None
    assert size.bytes > 0


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM warehouse.sales",
        "CREATE TABLE mine AS SELECT 1",
        "SELECT 1; DROP TABLE warehouse.sales",
        "COPY (SELECT 1) TO '{folder}/leak.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
    ],
)
def test_a_query_can_only_read_the_tables(store: Store, open_another: Open, tmp_path, sql: str):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    reader = open_another(read_only=True)
    with pytest.raises(StoreError):
        reader.query(sql.format(folder=tmp_path)).read_all()
    reader.release()
    assert not (tmp_path / "leak.csv").exists()
    assert seen(reader, SALES) == QUARTER


@NOT_OF_FILES
@pytest.mark.parametrize("pinned", [False, True])
def test_a_query_may_write_names_as_they_come(store: Store, open_another: Open, pinned: bool):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    reader = store.at(store.pin([SALES], {})) if pinned else open_another(read_only=True)
    for name in ("WAREHOUSE.Sales", '"Warehouse"."SALES"'):
        assert reader.query(f"SELECT count(*) AS n FROM {name}").read_all().to_pylist() == [{"n": 3}]
    reader.release()


@NOT_OF_FILES
@pytest.mark.parametrize("pinned", [False, True])
def test_a_query_leaves_tables_that_nobody_has_fetched_yet(store: Store, open_another: Open, pinned: bool):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    reader = store.at(store.pin([SALES], {})) if pinned else open_another(read_only=True)
    lazy = reader.read(SALES, FEBRUARY)
    listed = [{"layer": "warehouse", "name": "sales"}]
    assert reader.query("SHOW TABLES").read_all().to_pylist() == listed
    assert reader.query("SELECT count(*) AS n FROM warehouse.sales").read_all().to_pylist() == [{"n": 3}]
    assert lazy.to_pyarrow().to_pylist() == QUARTER[1:2]
    assert reader.query("SHOW TABLES").read_all().to_pylist() == listed
    reader.release()


@NOT_OF_FILES
def test_a_query_joins_tables_by_their_address(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, PLACES, [{"place": "Oslo", "visitors": 2}])
    sql = "SELECT s.sale, p.place FROM warehouse.sales s JOIN staging.places p ON p.visitors = s.sale"
    assert open_another(read_only=True).query(sql).read_all().to_pylist() == [{"sale": 2, "place": "Oslo"}]


@NOT_OF_FILES
@pytest.mark.parametrize("join", ["JOIN staging.places USING (note)", "NATURAL JOIN staging.places"])
def test_a_query_may_join_by_a_name_that_both_tables_have(store: Store, open_another: Open, join: str):
    notes = contract(
        {"note": (Text(), False, "A note"), "weight": (Int(), True, "Its weight")},
        address="staging/places",
        key=("note",),
        partitioned_by=None,
    )
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, notes, [{"note": "free", "weight": 7}])
    store.release()
    reader = open_another(read_only=True)
    assert reader.query(f"SELECT sale, weight FROM warehouse.sales {join}").read_all().to_pylist() == [
        {"sale": 3, "weight": 7}
    ]


@NOT_OF_FILES
def test_a_wrong_query_says_what_is_wrong(store: Store, open_another: Open):
    publish(store, PLACES, [{"place": "Oslo", "visitors": 2}])
    reader = open_another(read_only=True)
    with pytest.raises(StoreError, match="visiters"):
        reader.query("SELECT visiters FROM staging.places")
    with pytest.raises(StoreError, match="nowhere"):
        reader.query("SELECT * FROM staging.nowhere")


@pytest.mark.parametrize(
    "name", ["staging.place", "analytics.places", '"staging"."Placs"', "information_schema.tables, staging.place"]
)
def test_a_table_that_is_not_there_is_named_with_the_nearest(store: Store, open_another: Open, name: str):
    publish(store, PLACES, [{"place": "Oslo", "visitors": 2}])
    with pytest.raises(StoreError, match=r"(?is)table .*plac.* does not exist.*did you mean \W?staging.places"):
        open_another(read_only=True).query(f"SELECT * FROM {name}")


def test_appended_rows_come_beside_all_published_ones(store: Store, open_another: Open):
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    for place in ("Rome", "Bonn"):
        with store.begin(BY_TEST) as tx:
            before = {row["place"] for row in held(tx, PLACES)}
            new = staged(tx, PLACES, [{"place": place, "visitors": 2}], append=True)
            assert new.rows.place.to_pyarrow().to_pylist() == [place]
            assert new.others is not None
            assert set(new.others.place.to_pyarrow().to_pylist()) == before
            new.publish()
    assert [row["place"] for row in seen(open_another(read_only=True), PLACES)] == ["Bonn", "Oslo", "Rome"]


def test_discarded_additions_leave_the_published_rows(store: Store):
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    with store.begin(BY_TEST) as tx:
        staged(tx, PLACES, [{"place": "Rome", "visitors": 2}], append=True)
    assert [row["place"] for row in held(store, PLACES)] == ["Oslo"]


def test_the_first_addition_makes_the_table(store: Store):
    publish(store, PLACES, [], append=True)
    assert store.exists(PLACES)
    assert held(store, PLACES) == []


VISITED = {"place": (Text(), False, "Name"), "country": (Text(), True, "Land"), "visitors": (Int(), True, "Visitors")}
FEWER = {name: each for name, each in VISITED.items() if name == "place"}


def places(columns: dict[str, tuple[Any, bool, str]]) -> Contract:
    return contract(columns, address=PLACES.address, key=("place",), partitioned_by=None)


@NOT_OF_FILES
def test_a_table_to_which_rows_are_added_may_gain_a_column_that_may_be_null(store: Store, open_another: Open):
    oslo, rome = {"place": "Oslo", "visitors": 1}, {"place": "Rome", "country": "Italy", "visitors": 2}
    publish(store, PLACES, [oslo])
    wider, expected = places(VISITED), [{"place": "Oslo", "country": None, "visitors": 1}, rome]
    with store.begin(BY_TEST) as tx:
        staged(tx, wider, [rome], append=True)
    assert held(store, PLACES) == [oslo]
    with store.begin(BY_TEST) as tx:
        new = staged(tx, wider, [rome], append=True)
        assert new.others is not None
        assert [each.select(*VISITED).to_pyarrow().to_pylist() for each in (new.others, new.rows)] == [
            expected[:1],
            expected[1:],
        ]
        new.publish()
    publish(store, wider, [], append=True)
    reader = open_another(read_only=True)
    assert reader.read(wider).select(*VISITED).order_by("place").to_pyarrow().to_pylist() == expected
    comment = "SELECT comment FROM duckdb_columns() WHERE table_name = 'places' AND column_name = 'country'"
    if isinstance(store, DuckDBStore):
        assert reader.query(comment).read_all().to_pylist() == [{"comment": "Land"}]


@NOT_OF_FILES
@pytest.mark.parametrize(
    "columns",
    [FEWER, {**FEWER, "guests": VISITED["visitors"]}, {**VISITED, "country": (Text(), False, "Land")}],
    ids=["dropped", "renamed", "required"],
)
def test_a_table_to_which_rows_are_added_takes_no_other_change(store: Store, columns: dict[str, tuple[Any, bool, str]]):
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    row = {name: {"place": "Rome", "country": "Italy"}.get(name, 2) for name in columns}
    with pytest.raises(StoreError, match=r"staging/places: .* new name in its contract"):
        publish(store, places(columns), [row], append=True)
    assert held(store, PLACES) == [{"place": "Oslo", "visitors": 1}]
