"""History, differences, rollback and maintenance of a lake, in a folder and on S3; of a DuckDB store, only errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandera.ibis
import pyarrow
import pytest

from classic_cars.cli.catalog import contract_named
from classic_cars.contracts.base import Contract
from classic_cars.contracts.vocabulary import Int, Text
from classic_cars.errors import StoreError
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Store, versions_of
from classic_cars.stores.iceberg import commit, maintenance
from classic_cars.stores.iceberg.engines import DuckDBEngine
from classic_cars.stores.maintenance import maintained
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.stores.conftest import Open
from classic_cars_tests.stores.tables import (
    BY_TEST,
    COLUMNS,
    FEBRUARY,
    FIRST_QUARTER,
    JANUARY,
    PLACES,
    SALES,
    contract,
    held,
    publish,
    sale,
    seen,
    stage,
)

QUARTER = [sale(1, "2004-01-31"), sale(2, "2004-02-01", "2.50"), sale(3, "2004-03-15", None, "free")]
AT_ONCE = {"keep": timedelta(0), "orphan_age": timedelta(0)}


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.exhaustive)])
def settings(request: pytest.FixtureRequest) -> Settings:
    return request.getfixturevalue(f"{request.param}_lake")


def numbers(store: Store) -> list[int]:
    """The versions of the sales, oldest first."""
    store.release()
    return [each.number for each in reversed(store.history(SALES))]


def test_history_tells_rows_and_the_run_of_each_version(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, SALES, [sale(7, "2004-02-10"), sale(8, "2004-02-11")], FEBRUARY)
    newest, first = store.history(SALES)
    assert (first.rows, first.rows_written, first.current) == (3, 3, False)
    assert (newest.rows, newest.rows_written, newest.current) == (4, 2, True)
    assert (newest.run_id, newest.code_version) == (BY_TEST.run_id, BY_TEST.code_version)
    assert newest.contract_version == SALES.version
    assert newest.published >= first.published


def test_the_difference_of_two_versions_counts_rows_by_key(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, SALES, [sale(2, "2004-02-01", "2.51"), sale(7, "2004-02-10"), sale(8, "2004-02-11")], FEBRUARY)
    publish(store, SALES, [], JANUARY)
    first, second, third = numbers(store)
    found = store.difference(SALES, first, second)
    assert (found.added, found.removed, found.changed) == (2, 0, 1)
    assert found.samples["changed"] == [{"sale": 2}]
    found = store.difference(SALES, first, third)
    assert (found.added, found.removed, found.changed) == (2, 1, 1)
    assert found.samples["removed"] == [{"sale": 1}]
    back = store.difference(SALES, third, first)
    assert (back.added, back.removed, back.changed) == (1, 2, 1)
    same = store.difference(SALES, third, third)
    assert (same.added, same.removed, same.changed) == (0, 0, 0)


def test_a_row_that_moved_to_another_month_is_changed_and_not_new(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, SALES, [sale(2, "2004-03-01", "2.50"), QUARTER[0], QUARTER[2]], FIRST_QUARTER)
    found = store.difference(SALES, *numbers(store))
    assert (found.added, found.removed, found.changed) == (0, 0, 1)


def test_versions_with_and_without_a_column_are_compared_by_what_both_have(store: Store):
    more = contract({**COLUMNS, "colour": (COLUMNS["note"][0], True, "Colour")})
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, more, [{**each, "colour": "red"} for each in QUARTER], FIRST_QUARTER)
    found = store.difference(SALES, *numbers(store))
    assert (found.added, found.removed, found.changed) == (0, 0, 0)
    assert found.columns == {"added": ["colour (string)"], "removed": []}
    back = store.difference(SALES, *reversed(numbers(store)))
    assert back.columns == {"added": [], "removed": ["colour (string)"]}


def test_a_column_of_another_type_is_another_column(folder_lake: Settings):
    store = open_store(folder_lake)
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    texts = contract({**COLUMNS, "amount": (Text(), True, "What was paid")})
    publish(store, texts, [{**each, "amount": "much"} for each in QUARTER], FIRST_QUARTER)
    found = versions_of(store).difference(texts, *numbers(store))
    assert (found.added, found.removed, found.changed) == (0, 0, 0)
    assert found.columns == {"added": ["amount (string)"], "removed": ["amount (decimal(10, 2))"]}
    store.end_run()


def test_added_columns_are_told(folder_lake: Settings):
    store, offices = open_store(folder_lake), contract_named("staging/offices")
    columns = {name: each for name, each in offices.schema.columns.items() if name != "city"}
    publish(store, Contract.of(pandera.ibis.DataFrameSchema(columns, name=offices.address)), [])
    publish(store, offices, [])
    new, old = (str(each.number) for each in versions_of(store).history(offices))
    store.end_run()
    told = classic_cars(folder_lake.home, "lake", "diff", offices.address, old, new, CLASSIC_CARS_STORE="iceberg")
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1].split() == ["added", "1", "column", "city", "(string)"]


def test_rolling_back_shows_an_earlier_version_and_loses_none(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, SALES, [], FEBRUARY)
    first, second = numbers(store)
    store.roll_back(SALES, first)
    assert seen(open_another(read_only=True), SALES) == QUARTER
    assert [each.current for each in store.history(SALES)] == [False, True]
    store.roll_back(SALES, second)
    assert held(store, SALES) == [QUARTER[0], QUARTER[2]]
    publish(store, SALES, [sale(9, "2004-02-09")], FEBRUARY)
    assert [row["sale"] for row in held(store, SALES)] == [1, 3, 9]


def test_a_version_that_never_was_is_named(store: Store):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    for ask in (lambda: store.roll_back(SALES, 42), lambda: store.difference(SALES, 42, 42)):
        with pytest.raises(StoreError, match="no version 42; `classic-cars lake history warehouse/sales`"):
            ask()


def test_maintenance_is_planned_first_and_changes_nothing_that_readers_see(store: Store, open_another: Open):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, SALES, [sale(7, "2004-02-10")], FEBRUARY)
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    expected = held(store, SALES)
    plan = list(store.maintain([SALES, PLACES], dry_run=True, **AT_ONCE))
    assert plan == ["warehouse/sales: 1 old version to expire"]
    assert len(numbers(store)) == 2
    list(store.maintain([SALES, PLACES], dry_run=False, **AT_ONCE))
    assert len(numbers(store)) == 1
    assert seen(open_another(read_only=True), SALES) == expected
    store.release()
    assert list(store.maintain([SALES, PLACES], dry_run=False, **AT_ONCE)) == []
    publish(store, SALES, [sale(8, "2004-01-10")], JANUARY)
    assert [row["sale"] for row in held(store, SALES)] == [3, 7, 8]


def test_files_of_a_writer_that_died_are_removed_once_they_are_old(store: Store, settings: Settings):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    dead = open_store(settings)
    stage(dead, SALES, [sale(7, "2004-02-10")], FEBRUARY)  # and never published, nor discarded
    young = {"keep": timedelta(days=7), "orphan_age": timedelta(hours=1)}
    assert list(store.maintain([SALES], dry_run=True, **young)) == []
    (line,) = store.maintain([SALES], dry_run=False, **AT_ONCE)
    assert line.startswith("warehouse/sales: 1 orphan file")
    store.release()
    assert held(store, SALES) == QUARTER


def fragmented(store: Store) -> None:
    """Three places in as many files, as another engine's appends leave them."""
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    for place in ("Bonn", "Rome"):
        table = store.catalog.load_table(("staging", "places"))  # type: ignore[attr-defined]
        table.append(pyarrow.Table.from_pylist([{"place": place, "visitors": 2}], schema=table.schema().as_arrow()))
    store.release()


def places(store: Store) -> list[str]:
    return [row["place"] for row in held(store, PLACES)]


def compacting_while(monkeypatch: pytest.MonkeyPatch, store: Store, meanwhile: Callable[[], None]) -> list[str]:
    """What maintenance says, when somebody does something between its reading of the files and its commit."""
    committing, done = commit.commit, []

    def overtaken(*args: Any) -> Any:
        if not done:
            done.append(True)
            meanwhile()
        return committing(*args)

    monkeypatch.setattr(commit, "commit", overtaken)
    return list(store.maintain([PLACES], dry_run=False, keep=timedelta(days=7), orphan_age=timedelta(hours=1)))


def test_rows_that_are_added_while_files_are_put_together_stay(store: Store, open_another: Open, monkeypatch):
    fragmented(store)
    other = open_another()

    def add() -> None:
        publish(other, PLACES, [{"place": "Paris", "visitors": 3}], append=True)

    said = compacting_while(monkeypatch, store, add)
    assert said == ["staging/places: 1 month of many small files to compact"]
    assert places(store) == ["Bonn", "Oslo", "Paris", "Rome"]


def test_putting_files_together_gives_way_to_whoever_replaced_them(store: Store, open_another: Open, monkeypatch):
    fragmented(store)
    other = open_another()
    said = compacting_while(monkeypatch, store, lambda: publish(other, PLACES, [{"place": "Paris", "visitors": 3}]))
    assert "another writer replaced rows while their files were being compacted" in said[-1]
    assert places(store) == ["Paris"]


def test_a_writer_is_not_in_the_way_of_maintenance(store: Store, open_another: Open):
    fragmented(store)
    mine = stage(open_another(), PLACES, [{"place": "Paris", "visitors": 3}], append=True)
    assert list(store.maintain([PLACES], dry_run=False, keep=timedelta(days=7), orphan_age=timedelta(hours=1)))
    mine.publish()
    store.release()
    assert places(store) == ["Bonn", "Oslo", "Paris", "Rome"]


def test_a_version_is_kept_from_when_it_was_replaced_and_not_from_when_it_was_published(store: Store):
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    time.sleep(0.05)
    publish(store, PLACES, [{"place": "Rome", "visitors": 1}])
    newest, first = store.history(PLACES)
    between = first.published + (newest.published - first.published) / 2
    table = store.catalog.load_table(("staging", "places"))  # type: ignore[attr-defined]
    plan = maintenance.planned(table, PLACES, timedelta(0), timedelta(hours=1), between)
    assert plan.expired == []
    plan = maintenance.planned(table, PLACES, timedelta(0), timedelta(hours=1), newest.published + timedelta(seconds=1))
    assert plan.expired == [first.number]


def counted_at(store: Store, moments: list[datetime | int]) -> list[int | str]:
    """How many places there were then, or the error."""
    found: list[int | str] = []
    for each in moments:
        try:
            (row,) = (
                versions_of(store).query_as_of("SELECT count(*) AS n FROM staging.places", each).read_all().to_pylist()
            )
            found.append(row["n"])
        except StoreError as error:
            found.append(str(error))
    return found


def rows_and_moments(store: Store, counts: list[int]) -> list[datetime]:
    """Publish so many places, one time after the other; gives moments before the first and after each."""
    moments = [datetime.now(UTC)]
    for count in counts:
        time.sleep(0.01)
        publish(store, PLACES, [{"place": str(number), "visitors": 1} for number in range(count)])
        time.sleep(0.01)
        moments.append(datetime.now(UTC))
    return moments


def test_a_version_that_was_expired_is_never_taken_for_the_one_before_it(folder_lake: Settings):
    store = open_store(folder_lake)
    moments = rows_and_moments(store, [1])
    store.shelf.add(1, json.dumps({"tables": {PLACES.address: store.pin([PLACES], {})[PLACES.address].model_dump()}}))
    moments += rows_and_moments(store, [2, 3])
    publish(store, SALES, QUARTER)
    assert counted_at(store, moments[1:]) == [1, 1, 2, 3]
    list(versions_of(store).maintain([PLACES], dry_run=False, **AT_ONCE))
    *unknown, newest = counted_at(store, moments[1:])
    assert newest == 3
    for each in unknown:  # from the first to the third nobody knows any more when there were two
        assert str(each).startswith("staging/places: its version of 20")
        assert "was expired by maintenance; `classic-cars lake history staging/places` lists those" in str(each)
    store.release()
    first, second = (each.number for each in reversed(versions_of(store).history(PLACES)))
    assert counted_at(store, [first, second, versions_of(store).history(SALES)[0].number]) == [1, 3, 3]
    (before,) = counted_at(store, moments[:1])
    assert str(before).startswith("staging/places: nothing of it was published by 20")
    assert "Catalog Error" not in str(before)
    store.shelf.remove(1)
    list(versions_of(store).maintain([PLACES], dry_run=False, **AT_ONCE))
    (before,) = counted_at(store, moments[:1])
    assert "was expired by maintenance" in str(before)
    store.end_run()


def test_a_version_that_was_rolled_back_and_expired_is_not_taken_for_another(folder_lake: Settings):
    store = open_store(folder_lake)
    moments = rows_and_moments(store, [1, 2])
    _, first = versions_of(store).history(PLACES)
    versions_of(store).roll_back(PLACES, first.number)
    time.sleep(0.01)
    moments.append(datetime.now(UTC))
    assert counted_at(store, moments[1:]) == [1, 2, 1]
    list(versions_of(store).maintain([PLACES], dry_run=False, **AT_ONCE))
    after_first, rolled_back, now = counted_at(store, moments[1:])
    assert "was expired" in str(after_first)
    assert "was expired" in str(rolled_back)
    assert now == 1
    store.end_run()


def test_many_small_files_become_one(store: Store):
    fragmented(store)
    before = held(store, PLACES)
    assert len(before) == 3
    young = {"keep": timedelta(days=7), "orphan_age": timedelta(hours=1)}
    expected = ["staging/places: 1 month of many small files to compact"]
    assert list(store.maintain([PLACES], dry_run=True, **young)) == expected
    assert list(store.maintain([PLACES], dry_run=False, **young)) == expected
    assert list(store.maintain([PLACES], dry_run=True, **young)) == []
    assert held(store, PLACES) == before
    assert store.history(PLACES)[0].run_id == "maintain"


YOUNG = {"keep": timedelta(days=7), "orphan_age": timedelta(hours=1)}


def test_files_of_before_a_new_column_are_put_together(folder_lake: Settings):
    store = open_store(folder_lake)
    fragmented(store)
    wider = contract(
        {
            "place": (Text(), False, "Name"),
            "visitors": (Int(), True, "Visitors"),
            "country": (Text(), True, "Where it lies"),
        },
        address=PLACES.address,
        key=("place",),
        partitioned_by=None,
    )
    expected = ["staging/places: 1 month of many small files to compact"]
    assert list(versions_of(store).maintain([wider], dry_run=False, **YOUNG)) == expected
    store.release()
    assert [tuple(row.values()) for row in held(store, wider)] == [
        ("Bonn", 2, None),
        ("Oslo", 1, None),
        ("Rome", 2, None),
    ]
    store.end_run()


def test_files_of_a_table_that_is_about_to_lose_a_column_are_left_to_the_run_that_replaces_them(folder_lake: Settings):
    store = open_store(folder_lake)
    fragmented(store)
    narrower = contract({"place": (Text(), False, "Name")}, address=PLACES.address, key=("place",), partitioned_by=None)
    assert list(versions_of(store).maintain([narrower], dry_run=False, **YOUNG)) == []
    publish(store, narrower, [{"place": "Oslo"}])
    assert held(store, narrower) == [{"place": "Oslo"}]
    store.end_run()


def test_a_table_that_cannot_be_maintained_keeps_no_other_from_it(
    folder_lake: Settings, monkeypatch: pytest.MonkeyPatch
):
    """Such as one whose files, put together, would have fewer rows."""
    store = open_store(folder_lake)
    fragmented(store)
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, SALES, [sale(7, "2004-02-10")], FEBRUARY)
    written = DuckDBEngine.write

    def loses_a_row(engine: DuckDBEngine, io: Any, of: Any, rows: Any, *more: Any) -> Any:
        return written(engine, io, of, rows.limit(2), *more)

    monkeypatch.setattr(DuckDBEngine, "write", loses_a_row)
    with pytest.raises(StoreError, match="staging/places: found 2 rows after its files were put together, expected 3"):
        list(versions_of(store).maintain([PLACES, SALES], dry_run=False, **AT_ONCE))
    store.release()
    assert places(store) == ["Bonn", "Oslo", "Rome"]
    assert len(versions_of(store).history(SALES)) == 1
    store.end_run()


def test_a_duckdb_store_has_no_versions_and_says_what_to_do(tmp_path):
    store = open_store(Settings(home=tmp_path))
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    assert not hasattr(store, "history")
    with pytest.raises(StoreError, match=r"keeps no versions.*CLASSIC_CARS_STORE=iceberg"):
        versions_of(store)
    assert "to write" in next(iter(maintained(store, [PLACES], dry_run=True, **AT_ONCE)))
    assert "written" in next(iter(maintained(store, [PLACES], dry_run=False, **AT_ONCE)))
    assert held(store, PLACES) == [{"place": "Oslo", "visitors": 1}]
