"""What an Iceberg lake promises beyond every store: history, evolution, many writers, and readers of other makes."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import botocore.exceptions
import duckdb
import ibis
import polars as pl
import pyarrow.parquet as pq
import pytest
import requests
from pyiceberg.catalog import load_catalog
from pyiceberg.table import Table

from classic_cars import doctor
from classic_cars.contracts.base import Contract
from classic_cars.contracts.vocabulary import Int, Long, Text
from classic_cars.errors import ContractError, StoreConflict, StoreError
from classic_cars.months import Months
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Staged, Store, versions_of
from classic_cars.stores.iceberg.engines import DuckDBEngine
from classic_cars.stores.iceberg.places import must_be_inside
from classic_cars_tests.stores.conftest import Open
from classic_cars_tests.stores.tables import (
    BY_TEST,
    COLUMNS,
    FEBRUARY,
    FIRST_QUARTER,
    JANUARY,
    MARCH,
    PLACES,
    SALES,
    contract,
    held,
    publish,
    sale,
    seen,
    stage,
    staged,
)

QUARTER = [sale(1, "2004-01-31"), sale(2, "2004-02-01", "2.50"), sale(3, "2004-03-15", None, "free")]


@pytest.fixture
def settings(folder_lake: Settings) -> Settings:
    return folder_lake


def table(settings: Settings, of: Contract = SALES) -> Table:
    """The table as anyone with the catalog's address sees it."""
    catalog = load_catalog("classic_cars", type="sql", uri=settings.catalog_address)
    return catalog.load_table((of.layer, of.name))


def data_files(settings: Settings) -> set[Path]:
    return set(Path(settings.warehouse_location.removeprefix("file://")).rglob("data/**/*.parquet"))


# What a table looks like to others -----------------------------------------------------------------------


def test_a_table_is_described_and_partitioned_by_icebergs_own_month(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    found = table(settings)
    assert [(field.name, field.required, field.doc) for field in found.schema().fields] == [
        (name, not nullable, text) for name, (_, nullable, text) in COLUMNS.items()
    ]
    assert [(field.name, str(field.transform)) for field in found.spec().fields] == [("day_month", "month")]
    assert found.schema().identifier_field_names() == {"sale"}
    assert found.properties["comment"] == "One row per sale"


def test_each_snapshot_says_who_made_it(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, SALES, [sale(5, "2004-02-02")], FEBRUARY)
    snapshots = table(settings).snapshots()
    assert len(snapshots) == 2
    summary = snapshots[-1].summary.additional_properties
    expected = {
        "run_id": "run-1",
        "asset_key": "warehouse/sales",
        "code_version": "code-1",
        "contract_version": SALES.version,
    }
    assert {name: summary[f"classic_cars.{name}"] for name in expected} == expected
    assert (summary["added-data-files"], summary["deleted-data-files"], summary["total-records"]) == ("1", "1", "3")


def test_files_are_sorted_and_each_of_one_month(store: Store, settings: Settings):
    rows = [sale(number, f"2004-{number % 3 + 1:02}-{number % 28 + 1:02}") for number in range(300, 0, -1)]
    publish(store, SALES, rows, FIRST_QUARTER)
    files = data_files(settings)
    assert len(files) == 3
    for file in files:
        found = pq.read_table(file, partitioning=None)
        keys = list(zip(found["day"].to_pylist(), found["sale"].to_pylist(), strict=True))
        assert keys == sorted(keys)
        assert len({day.month for day, _ in keys}) == 1
        assert pq.read_metadata(file).row_group(0).column(0).compression == "ZSTD"


def read_by_duckdb(of: Table) -> list[dict]:
    """The table through DuckDB's own Iceberg reader, which PyIceberg has no part in."""
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        for name in ("avro", "iceberg"):
            package = importlib.util.find_spec(f"duckdb_extension_{name}")
            assert package is not None
            folder = Path(package.origin or "").parent / "extensions" / f"v{duckdb.__version__}"
            connection.execute(f"LOAD '{folder / name}.duckdb_extension'")
        location = of.metadata_location.removeprefix("file://")
        return connection.execute(f"FROM iceberg_scan('{location}')").to_arrow_table().to_pylist()


@pytest.mark.parametrize("engine", ["pyarrow", "polars", "duckdb"])
def test_other_engines_read_the_same_totals(store: Store, settings: Settings, engine: str):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    wider = contract({**COLUMNS, "seller": (Text(), True, "Who sold it")})
    publish(store, wider, [{**sale(4, "2004-02-03", "7.25"), "seller": "Ann"}], append=True)
    if engine == "pyarrow":
        rows = table(settings).scan().to_arrow().to_pylist()
    elif engine == "polars":
        rows = pl.scan_iceberg(table(settings)).collect().to_dicts()
    else:
        rows = read_by_duckdb(table(settings))
    assert {row["sale"]: (row["amount"], row["seller"]) for row in rows} == {
        1: (Decimal("1.00"), None),
        2: (Decimal("2.50"), None),
        3: (None, None),
        4: (Decimal("7.25"), "Ann"),
    }


# Readers and history -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "instead"),
    [(r", FIELD_IDS \{.*\}", ""), (r'"note": 4', '"note": 40')],
    ids=["no field ids", "a column with an id of its own"],
)
def test_a_file_without_the_schemas_field_ids_is_not_committed(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, ids: str, instead: str
):
    """Read by field id, such a column would be NULL in every row, and nobody would say so."""
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    execute = DuckDBEngine.execute
    monkeypatch.setattr(DuckDBEngine, "execute", lambda engine, sql: execute(engine, re.sub(ids, instead, sql)))
    with pytest.raises(StoreError, match=r"warehouse/sales.*field ids.*note"):
        publish(store, SALES, [sale(9, "2004-02-29", note="lost")], FEBRUARY)
    monkeypatch.undo()
    assert held(store, SALES) == QUARTER
    assert len(data_files(settings)) == len(QUARTER)


def test_readers_stay_on_the_old_version_until_the_new_one_is_published(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    reader = open_another(read_only=True)
    new = stage(store, SALES, [sale(9, "2004-02-09")], FEBRUARY)
    assert seen(reader, SALES) == QUARTER
    new.publish()
    assert [row["sale"] for row in seen(reader, SALES)] == [1, 3, 9]


def test_a_step_sees_one_version_however_often_it_reads(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with store.begin(BY_TEST) as tx:
        lazy = tx.read(SALES)
        publish(open_another(), SALES, [], FEBRUARY)
        assert held(tx, SALES) == QUARTER
        assert [row["sale"] for row in held(store, SALES)] == [1, 3]
        assert lazy.count().to_pyarrow().as_py() == 3
    assert [row["sale"] for row in held(store, SALES)] == [1, 3]


def test_a_query_may_ask_what_was(store: Store, open_another: Open, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    time.sleep(0.01)
    before = datetime.now(UTC)
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    publish(store, SALES, [], FIRST_QUARTER)
    reader = open_another(read_only=True)
    count = "SELECT count(*) AS n FROM warehouse.sales"
    assert reader.query(count).read_all().to_pylist() == [{"n": 0}]
    assert reader.query_as_of(count, as_of=before).read_all().to_pylist() == [{"n": 3}]
    first, last = table(settings).snapshots()
    assert reader.query_as_of(count, as_of=first.snapshot_id).read_all().to_pylist() == [{"n": 3}]
    assert reader.query_as_of(count, as_of=last.snapshot_id).read_all().to_pylist() == [{"n": 0}]
    with pytest.raises(StoreError, match="places"):
        reader.query_as_of("SELECT * FROM staging.places", as_of=before)
    with pytest.raises(StoreError, match="no table has a snapshot 7"):
        reader.query_as_of(count, as_of=7)


# A lake at another place ---------------------------------------------------------------------------------


def everything_in(home: Path) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in home.rglob("*") if each.is_file() and "catalog.db" not in each.name}


@pytest.mark.parametrize("arrives", [shutil.copytree, shutil.move], ids=["copied", "moved"])
def test_a_home_at_another_place_is_refused_and_the_first_one_is_left_alone(
    store: Store, open_another: Open, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrives
):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    store.end_run()
    arrives(settings.home, tmp_path / "other")
    elsewhere = open_store(Settings(home=tmp_path / "other", store="iceberg"))
    before = everything_in(settings.home)
    for attempt in (lambda: publish(elsewhere, SALES, [sale(9, "2004-02-09")], FEBRUARY), elsewhere.row_counts):
        with pytest.raises(StoreError, match=r"^warehouse/sales: the catalog has it at") as refused:
            attempt()
        for named in (f"{settings.home}/", f"{tmp_path}/other/store/lake", "classic-cars export", "moved"):
            assert named in str(refused.value)
    assert everything_in(settings.home) == before
    monkeypatch.setenv("CLASSIC_CARS_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("CLASSIC_CARS_STORE", "iceberg")
    found = next(each for each in doctor.examine() if each.subject == "store")
    assert (found.well, found.text) == (False, str(refused.value))
    if arrives is shutil.move:  # the advice
        shutil.move(tmp_path / "other", settings.home)
    assert seen(open_another(read_only=True), SALES) == QUARTER


def test_a_home_may_be_reached_through_a_link(store: Store, settings: Settings, tmp_path: Path):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    (tmp_path / "link").symlink_to(settings.home)
    linked = open_store(Settings(home=tmp_path / "link", store="iceberg"))
    publish(linked, SALES, [], FEBRUARY)
    linked.end_run()
    store.release()
    assert held(store, SALES) == [QUARTER[0], QUARTER[2]]


@pytest.mark.parametrize(
    ("warehouse", "metadata", "inside"),
    [
        ("s3://bucket/lake", "s3a://bucket/lake/warehouse/sales/metadata/1.json", True),
        ("s3://bucket/lake/", "s3://bucket/lake/warehouse/sales/metadata/1.json", True),
        ("s3://bucket/lake", "s3://bucket/lake2/warehouse/sales/metadata/1.json", False),
        ("s3://bucket/lake", "s3://other/lake/warehouse/sales/metadata/1.json", False),
        ("file:///data/lake", "file:/data/lake/warehouse/sales/metadata/1.json", True),
        ("file:///data/lake", "/data/lake/warehouse/sales/metadata/1.json", True),
        ("file:///data/lake", "file:///data/lake/../old/sales/metadata/1.json", False),
    ],
)
def test_one_place_may_be_written_in_several_ways(warehouse: str, metadata: str, inside: bool):
    with nullcontext() if inside else pytest.raises(StoreError, match="warehouse/sales"):
        must_be_inside(warehouse, "warehouse/sales", metadata)


# Evolution -----------------------------------------------------------------------------------------------


def ids(settings: Settings) -> dict[str, int]:
    return {field.name: field.field_id for field in table(settings).schema().fields}


def test_a_new_nullable_column_keeps_every_field_id(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    before = ids(settings)
    wider = contract({"seller": (Text(), True, "Who sold it"), **COLUMNS})
    publish(store, wider, [{**sale(4, "2004-02-01"), "seller": "Ann"}], append=True)
    assert ids(settings) == {**before, "seller": 5}
    sellers = [row["seller"] for row in sorted(held(store, wider), key=lambda row: row["sale"])]
    assert sellers == [None, None, None, "Ann"]
    assert [field.name for field in table(settings).schema().fields] == ["seller", *COLUMNS]


def test_a_new_column_asks_for_all_months_whatever_maintenance_did_before(store: Store, open_another: Open):
    """Months that were not made again would be NULL in it, and nobody would say so."""
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, SALES, [sale(4, "2004-02-02")], append=True)
    wider = contract({**COLUMNS, "seller": (Text(), True, "Who sold it")})
    rows = [{**sale(number, f"2004-0{number}-01"), "seller": "Ann"} for number in (1, 2, 3)]
    at_once = {"keep": timedelta(0), "orphan_age": timedelta(days=1), "dry_run": False}
    for _ in range(2):
        with pytest.raises(StoreError, match=r"column seller is new.*all months.*`classic-cars run --full`"):
            publish(store, wider, rows[1:2], FEBRUARY)
        assert "compact" not in "".join(versions_of(store).maintain([wider], **at_once))
    assert len(held(store, SALES)) == 4
    publish(store, wider, rows, FIRST_QUARTER)
    assert seen(open_another(read_only=True), wider) == rows
    publish(store, wider, [], FEBRUARY)
    assert seen(open_another(read_only=True), wider) == [rows[0], rows[2]]


def test_a_widened_type_keeps_every_value(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    before = ids(settings)
    wider = contract(
        {
            **COLUMNS,
            "sale": (Long(), False, COLUMNS["sale"][2]),
            "amount": (ibis.dtype("decimal(18, 2)"), True, COLUMNS["amount"][2]),
        }
    )
    large = {**sale(2**40, "2004-02-01"), "amount": Decimal("9999999999999999.99")}
    publish(store, wider, [large], FEBRUARY)
    assert held(store, wider) == [QUARTER[0], QUARTER[2], large]
    assert ids(settings) == before
    assert held(store, wider)[0]["amount"] == Decimal("1.00")


def test_a_reworded_description_reaches_the_table(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    reworded = contract(
        {**COLUMNS, "note": (Text(), True, "A remark"), "amount": (*COLUMNS["amount"][:2], "")}, description="Sales"
    )
    publish(store, reworded, [], FEBRUARY)
    found = table(settings)
    assert found.schema().find_field("note").doc == "A remark"
    assert not found.schema().find_field("amount").doc
    assert found.properties["comment"] == "Sales"
    assert len(found.snapshots()) == 2


def test_a_column_may_become_nullable(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    relaxed = contract({**COLUMNS, "sale": (Int(), True, COLUMNS["sale"][2])}, key=())
    publish(store, relaxed, [{**sale(0, "2004-02-01"), "sale": None}], FEBRUARY)
    assert {row["sale"] for row in held(store, relaxed)} == {1, 3, None}


def test_a_column_may_become_required_when_no_null_stays(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    strict = contract({**COLUMNS, "amount": (COLUMNS["amount"][0], False, COLUMNS["amount"][2])})
    with pytest.raises(StoreError, match="amount may no longer be NULL"):
        stage(store, strict, [sale(2, "2004-02-01")], FEBRUARY)
    store.release()
    publish(store, strict, [sale(3, "2004-03-15")], MARCH)
    assert table(settings).schema().find_field("amount").required


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({name: each for name, each in COLUMNS.items() if name != "note"}, "column note .string. is no longer"),
        ({**COLUMNS, "amount": (ibis.dtype("decimal(8, 2)"), True, "")}, "amount is decimal.10, 2."),
        ({**COLUMNS, "amount": (ibis.dtype("decimal(18, 4)"), True, "")}, "amount is decimal.10, 2."),
        ({**COLUMNS, "amount": (Text(), True, "")}, "the contract asks for string"),
        ({**COLUMNS, "seller": (Text(), False, "")}, "seller may no longer be NULL"),
    ],
    ids=["dropped", "narrowed", "rescaled", "retyped", "required"],
)
def test_a_change_that_loses_data_is_refused(store: Store, settings: Settings, columns, problem: str):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    before = table(settings).metadata
    changed = contract(columns)
    rows = [{name: row.get(name) for name in columns} for row in [sale(2, "2004-02-01", None)]]
    for months, append in ((FEBRUARY, False), (None, True)):
        with pytest.raises(StoreError, match=problem) as refused:
            stage(store, changed, rows, months, append=append)
        assert "`classic-cars run --full`" in str(refused.value)
        assert "new name" in str(refused.value)
        store.release()
    assert table(settings).metadata == before
    assert held(store, SALES) == QUARTER


OTHERS = {
    "dropped": {name: each for name, each in COLUMNS.items() if name != "note"},
    "renamed": {"remark" if name == "note" else name: each for name, each in COLUMNS.items()},
    "narrowed": {**COLUMNS, "amount": (ibis.dtype("decimal(8, 2)"), True, "")},
    "retyped": {**COLUMNS, "amount": (Text(), True, "")},
    "another key": {"number" if name == "sale" else name: each for name, each in COLUMNS.items()},
}


@pytest.mark.parametrize("which", OTHERS)
def test_a_table_of_which_every_row_is_replaced_may_lose_columns(
    store: Store, open_another: Open, settings: Settings, which: str
):
    """And have them again: a deployment is reverted, and comes back."""
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    changed = contract(OTHERS[which], key=(next(iter(OTHERS[which])),))
    rows = [dict(zip(OTHERS[which], row.values(), strict=False)) for row in QUARTER]
    if which == "retyped":
        rows = [{**row, "amount": row["amount"] and str(row["amount"])} for row in rows]
    publish(store, changed, rows, FIRST_QUARTER)
    reader = open_another(read_only=True)
    assert held(store, changed) == seen(reader, changed) == rows
    first, second = [each.number for each in reversed(versions_of(store).history(changed))]
    everything = "SELECT * FROM warehouse.sales ORDER BY 1"
    assert reader.query_as_of(everything, as_of=first).read_all().to_pylist() == QUARTER
    assert reader.query_as_of(everything, as_of=second).read_all().to_pylist() == rows
    with pytest.raises(StoreError, match=rf"version {first} has columns that the table has no more.*--as-of {first}"):
        versions_of(store).roll_back(changed, first)
    assert seen(reader, changed) == rows
    store.release()
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    assert held(store, SALES) == seen(reader, SALES) == QUARTER
    assert [field.name for field in table(settings).schema().fields] == [*COLUMNS]
    publish(store, SALES, [], FEBRUARY)
    assert seen(reader, SALES) == [QUARTER[0], QUARTER[2]]


def test_another_partition_is_refused(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with pytest.raises(StoreError, match="partitioned by"):
        stage(store, contract(partitioned_by=None), QUARTER)


def test_rows_of_months_that_were_not_asked_for_leave_no_file(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    before = data_files(settings)
    for rows in (QUARTER[2:], QUARTER[1:]):
        with pytest.raises(ContractError, match="found rows of 2004-03, expected rows of 2004-02 only"):
            stage(store, SALES, rows, FEBRUARY)
        store.release()
        assert data_files(settings) == before


# Many writers --------------------------------------------------------------------------------------------


def test_two_writers_of_different_months_both_succeed(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    other = open_another()
    mine = stage(store, SALES, [sale(10, "2004-01-10")], JANUARY)
    theirs = stage(other, SALES, [sale(30, "2004-03-30")], MARCH)
    theirs.publish()
    mine.publish()
    assert [row["sale"] for row in held(store, SALES)] == [2, 10, 30]


def test_of_two_writers_of_one_month_the_second_is_refused(store: Store, open_another: Open, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    other = open_another()
    mine = stage(store, SALES, [sale(10, "2004-02-10"), sale(11, "2004-02-11")], FEBRUARY)
    theirs = stage(other, SALES, [sale(20, "2004-02-20"), sale(21, "2004-02-21")], FEBRUARY)
    theirs.publish()
    with pytest.raises(StoreConflict, match="warehouse/sales: found another writer's replace of 2004-02") as refused:
        mine.publish()
    assert refused.value.retryable
    before = data_files(settings)
    store.release()
    assert len(before - data_files(settings)) == 1
    assert [row["sale"] for row in held(store, SALES)] == [1, 3, 20, 21]


#: What a writer does, and how: rows, months, whether they are added.
Work = tuple[list[dict], Months | None, bool]
EMPTIED_FEBRUARY: Work = ([], FEBRUARY, False)
ALL_ANEW: Work = ([sale(40, "2004-01-04")], None, False)
ADDED_TO_FEBRUARY: Work = ([sale(50, "2004-02-05")], None, True)
ADDED_TO_MARCH: Work = ([sale(60, "2004-03-06")], None, True)
FEBRUARY_ANEW: Work = ([sale(20, "2004-02-20")], FEBRUARY, False)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (EMPTIED_FEBRUARY, FEBRUARY_ANEW, None),
        (ALL_ANEW, FEBRUARY_ANEW, None),
        (FEBRUARY_ANEW, ALL_ANEW, None),
        (ADDED_TO_FEBRUARY, ALL_ANEW, None),
        (ADDED_TO_FEBRUARY, FEBRUARY_ANEW, None),
        (ADDED_TO_MARCH, FEBRUARY_ANEW, [1, 3, 20, 60]),
        (FEBRUARY_ANEW, ADDED_TO_MARCH, [1, 3, 20, 60]),
        (FEBRUARY_ANEW, ADDED_TO_FEBRUARY, None),
        (ALL_ANEW, ADDED_TO_MARCH, None),
        (ADDED_TO_FEBRUARY, ADDED_TO_MARCH, None),
    ],
)
def test_who_is_in_whose_way(store: Store, open_another: Open, first: Work, second: Work, expected: list[int] | None):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    other = open_another()
    mine = stage(store, SALES, second[0], second[1], append=second[2])
    publish(other, SALES, first[0], first[1], append=first[2])
    after = held(other, SALES)
    if expected is None:
        with pytest.raises(StoreConflict, match="warehouse/sales: found another writer's"):
            mine.publish()
        assert held(store, SALES) == after
    else:
        mine.publish()
        assert [row["sale"] for row in held(store, SALES)] == expected


def test_a_version_that_was_rolled_back_is_no_base(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, SALES, [sale(7, "2004-01-07")], JANUARY)
    mine = stage(store, SALES, [sale(20, "2004-02-20")], FEBRUARY)
    other = open_another()
    other.roll_back(SALES, other.history(SALES)[-1].number)  # type: ignore[attr-defined]
    with pytest.raises(StoreConflict, match="the table was rolled back"):
        mine.publish()
    assert held(store, SALES) == QUARTER


def test_of_two_writers_that_make_a_table_the_second_is_refused(store: Store, open_another: Open):
    other = open_another()
    with store.begin(BY_TEST) as tx:
        assert not tx.exists(PLACES)
        publish(other, PLACES, [{"place": "Oslo", "visitors": 1}], append=True)
        with pytest.raises(StoreConflict, match="another writer made it"):
            staged(tx, PLACES, [{"place": "Oslo", "visitors": 1}], append=True)
    mine = stage(store, SALES, QUARTER, FIRST_QUARTER)
    publish(other, SALES, QUARTER, FIRST_QUARTER)
    with pytest.raises(StoreConflict, match="replace of 2004-01, 2004-02, 2004-03"):
        mine.publish()


def test_a_refused_table_takes_the_one_that_was_staged_with_it_along(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    with store.begin(BY_TEST) as tx:
        mine = staged(tx, SALES, [], FEBRUARY)
        staged(tx, PLACES, [{"place": "Oslo", "visitors": 1}])
        publish(open_another(), SALES, [sale(20, "2004-02-20")], FEBRUARY)
        with pytest.raises(StoreConflict):
            mine.publish()
    assert not store.exists(PLACES)


def test_an_addition_is_refused_however_late_the_other_one_comes(
    store: Store, open_another: Open, monkeypatch: pytest.MonkeyPatch
):
    """PyIceberg itself would add both: between its look at the table and its commit, somebody else commits."""
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    other, committing = open_another(), Table._do_commit
    mine = stage(store, PLACES, [{"place": "Rome", "visitors": 2}], append=True)

    def overtaken(self: Table, *args: object, **kwargs: object) -> None:
        monkeypatch.setattr(Table, "_do_commit", committing)
        publish(other, PLACES, [{"place": "Rome", "visitors": 2}], append=True)
        committing(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Table, "_do_commit", overtaken)
    with pytest.raises(StoreConflict, match="found another writer's append"):
        mine.publish()
    assert [row["place"] for row in held(other, PLACES)] == ["Oslo", "Rome"]


def test_many_writers_at_once_lose_nothing(store: Store, open_another: Open, settings: Settings):
    publish(store, SALES, [], Months.parse("2004-01..2004-08"))
    work = [
        stage(open_another(), SALES, [sale(number, f"2004-{number + 1:02}-15")], Months.parse(f"2004-{number + 1:02}"))
        for number in range(4)
    ]
    failures: list[BaseException] = []

    def commit(mine: Staged) -> None:
        try:
            mine.publish()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=commit, args=(each,)) for each in work]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
    assert [row["sale"] for row in held(store, SALES)] == [0, 1, 2, 3]
    assert len(table(settings).snapshots()) == 5


def test_a_writer_that_never_gets_its_turn_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    from pyiceberg.exceptions import CommitFailedException

    impatient = open_store(settings.model_copy(update={"store_wait": 0.2}))
    mine = stage(impatient, SALES, QUARTER, FIRST_QUARTER)

    def refuse(*_: object, **__: object) -> None:
        raise CommitFailedException("someone else was quicker")

    monkeypatch.setattr(Table, "_do_commit", refuse)
    with pytest.raises(StoreConflict, match="warehouse/sales: could not be published"):
        mine.publish()
    monkeypatch.undo()
    impatient.end_run()


@pytest.mark.parametrize("wait", [5, 0], ids=["and is tried again", "as the last attempt"])
def test_a_commit_that_landed_and_is_called_a_conflict_is_published(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, wait: float
):
    """Such as a catalog's client does that lost the answer and asked again: it was in its own way."""
    from pyiceberg.exceptions import CommitFailedException

    writer = open_store(settings.model_copy(update={"store_wait": wait}))
    publish(writer, SALES, QUARTER, FIRST_QUARTER)
    committing = Table._do_commit

    def resent(self: Table, *args: object, **kwargs: object) -> None:
        committing(self, *args, **kwargs)  # type: ignore[arg-type]
        raise CommitFailedException("the table was changed meanwhile")

    with monkeypatch.context() as patched:
        patched.setattr(Table, "_do_commit", resent)
        publish(writer, SALES, [sale(20, "2004-02-20")], FEBRUARY)
    assert len(table(settings).snapshots()) == 2
    assert [row["sale"] for row in held(writer, SALES)] == [1, 3, 20]
    publish(writer, SALES, [sale(30, "2004-03-30")], MARCH)
    assert [row["sale"] for row in held(writer, SALES)] == [1, 20, 30]
    writer.end_run()


@pytest.mark.parametrize(
    "lost",
    [
        requests.exceptions.ReadTimeout("read timed out"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://glue"),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://glue"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_catalog_whose_answer_is_lost_is_asked_again(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, lost: Exception
):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    committing = Table._do_commit

    def unanswered(self: Table, *args: object, **kwargs: object) -> None:
        committing(self, *args, **kwargs)  # type: ignore[arg-type]
        raise lost

    with monkeypatch.context() as patched:
        patched.setattr(Table, "_do_commit", unanswered)
        publish(store, SALES, [sale(20, "2004-02-20")], FEBRUARY)
    assert len(table(settings).snapshots()) == 2
    assert [row["sale"] for row in held(store, SALES)] == [1, 3, 20]


def test_an_error_out_of_a_commit_does_not_say_that_nothing_changed(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    mine, committing = stage(store, SALES, [sale(20, "2004-02-20")], FEBRUARY), Table._do_commit

    def broken(self: Table, *args: object, **kwargs: object) -> None:
        committing(self, *args, **kwargs)  # type: ignore[arg-type]
        raise OSError("Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Table, "_do_commit", broken)
        with pytest.raises(StoreError, match="may be published all the same") as said:
            mine.publish()
    assert "unchanged" not in str(said.value)
    store.release()
    assert [row["sale"] for row in held(store, SALES)] == [1, 3, 20]


KILLED = """
import importlib.util
import os
from classic_cars.settings import load_settings
from classic_cars.stores import open_store
from classic_cars_tests.stores.tables import FEBRUARY, SALES, sale, stage
store = open_store(load_settings())
stage(store, SALES, [sale(9, "2004-02-09")], FEBRUARY)
print("staged", flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.exhaustive
def test_a_writer_killed_before_it_published_leaves_the_old_version(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    before = data_files(settings)
    environment = {**os.environ, "CLASSIC_CARS_HOME": str(settings.home), "CLASSIC_CARS_STORE": "iceberg"}
    killed = subprocess.run([sys.executable, "-c", KILLED], env=environment, capture_output=True, text=True)
    assert (killed.returncode, killed.stdout) == (-9, "staged\n"), killed.stderr
    assert len(data_files(settings) - before) == 1
    assert held(store, SALES) == QUARTER
    assert len(list((settings.home / "store").glob("scratch-*"))) == 2
    other = open_store(settings)
    publish(other, SALES, [sale(8, "2004-02-08")], FEBRUARY)
    other.end_run()
    store.release()
    assert [row["sale"] for row in held(store, SALES)] == [1, 3, 8]


def test_what_is_discarded_leaves_no_file(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    before = data_files(settings)
    with store.begin(BY_TEST) as tx:
        staged(tx, SALES, [sale(9, "2004-02-09")], FEBRUARY)
        staged(tx, SALES, [], FEBRUARY)
    assert data_files(settings) == before


def test_an_ended_run_leaves_no_scratch(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    store.end_run()
    assert list((settings.home / "store").glob("scratch-*")) == []


def test_old_dates_and_missing_dates_find_their_partition(store: Store):
    loose = contract({**COLUMNS, "day": (COLUMNS["day"][0], True, "Day of the sale")})
    rows = [sale(1, "1969-12-31"), sale(2, "1970-01-01"), sale(3, "0001-01-01"), {**sale(4, "2004-01-01"), "day": None}]
    publish(store, loose, rows)
    assert held(store, loose) == rows
    assert store.months(loose) == [date(1, 1, 1), date(1969, 12, 1), date(1970, 1, 1)]
