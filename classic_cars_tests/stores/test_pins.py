"""What a release names stays readable as it was, whatever is published, expired or broken meanwhile."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import duckdb
import ibis
import pytest

from classic_cars.contracts.vocabulary import Date, Int
from classic_cars.errors import StoreDamaged, StoreError, StoreUnavailable, TableMissing
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Pinned, Store, versions_of
from classic_cars.stores.duckdb.copies import GRACE_SECONDS
from classic_cars.stores.iceberg import Lake
from classic_cars.stores.iceberg.aws import S3
from classic_cars.stores.iceberg.pinned import BucketShelf
from classic_cars.stores.pins import NOTE, UNDATED, FolderShelf, Pin
from classic_cars_tests.stores.conftest import Open
from classic_cars_tests.stores.tables import (
    BY_TEST,
    EVERYTHING,
    FEBRUARY,
    FIRST_QUARTER,
    JANUARY,
    MARCH,
    PLACES,
    SALES,
    arrow,
    contract,
    held,
    publish,
    sale,
    stage,
)

QUARTER = [sale(1, "2004-01-31"), sale(2, "2004-02-01", "2.50"), sale(3, "2004-03-15", None, "free")]
ALL = [SALES, PLACES, EVERYTHING]


def put(store: Store, pins: dict[str, Pin]) -> None:
    """On the shelf, as a release does."""
    assert store.shelf.add(1, json.dumps({"tables": {address: each.model_dump() for address, each in pins.items()}}))


@pytest.fixture
def duckdb_store(tmp_path: Path) -> Store:
    return open_store(Settings(home=tmp_path / "home"))


def test_what_is_pinned_stays_as_it_was(store: Store, open_another: Open) -> None:
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, PLACES, [{"place": "Oslo", "visitors": 1}])
    pins = store.pin(ALL, {})
    assert pins.keys() == {SALES.address, PLACES.address}
    publish(store, SALES, [sale(9, "2004-02-02")], FEBRUARY)
    publish(store, PLACES, [])
    store.release()
    then = open_another(read_only=True).at(pins)
    assert held(then, SALES) == QUARTER
    assert held(then, SALES, FEBRUARY) == [QUARTER[1]]
    assert held(then, PLACES) == [{"place": "Oslo", "visitors": 1}]
    assert then.row_counts() == {PLACES.address: 1, SALES.address: 3}
    assert [f"{month:%Y-%m}" for month in then.months(SALES)] == ["2004-01", "2004-02", "2004-03"]
    (batch,) = then.query("SELECT count(*) AS rows, sum(amount) AS amount FROM warehouse.sales")
    assert [str(value) for value in batch.to_pylist()[0].values()] == ["3", "3.50"]
    assert not then.exists(EVERYTHING)
    with pytest.raises(TableMissing):
        then.read(EVERYTHING)
    with pytest.raises(StoreError, match="read-only"):
        then.query("DROP VIEW warehouse.sales")
    with pytest.raises(StoreError):
        list(then.query("SELECT * FROM read_csv('/etc/passwd')"))
    then.release()


def test_an_empty_table_and_every_type_are_pinned(store: Store, open_another: Open) -> None:
    publish(store, EVERYTHING, [])
    publish(store, SALES, [], FIRST_QUARTER)
    pins = store.pin(ALL, {})
    store.release()
    then = open_another(read_only=True).at(pins)
    assert then.read(EVERYTHING).schema().names == EVERYTHING.types.names
    assert held(then, EVERYTHING) == held(then, SALES) == []
    then.release()


def test_nobody_waits_for_whoever_reads_what_is_pinned(store: Store, open_another: Open) -> None:
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    pins = store.pin(ALL, {})
    then = open_another(read_only=True).at(pins)
    assert held(then, SALES) == QUARTER
    with store.begin(BY_TEST) as writing:
        assert writing.exists(SALES)
        assert then.query("SELECT 1 FROM warehouse.sales").read_all().num_rows == 3
    publish(store, SALES, [], FIRST_QUARTER)
    assert held(then, SALES) == QUARTER
    then.release()


MANY, PLACE = 150_000, PLACES.address.replace("/", ".")


@pytest.fixture
def then(store: Store, open_another: Open) -> Iterator[Pinned]:
    """Many sales of one place, pinned, and asked by several."""
    publish(store, SALES, [sale(number, "2004-01-31", "1.00") for number in range(MANY)], JANUARY)
    publish(store, PLACES, [{"place": "Oslo", "visitors": 7}])
    pins = store.pin(ALL, {})
    store.release()
    pinned = open_another(read_only=True).at(pins)
    yield pinned
    pinned.release()


def test_what_is_read_in_batches_is_whole_whatever_is_asked_meanwhile(then: Pinned) -> None:
    sales, places = then.read(SALES), then.read(PLACES)
    known = ibis.memtable({"place": ["Oslo"], "country": ["Norway"]})
    for stream in (
        sales.to_pyarrow_batches(chunk_size=1_000),
        then.query("SELECT * FROM warehouse.sales"),
        sales.cross_join(known).to_pyarrow_batches(chunk_size=1_000),
    ):
        rows = 0
        for place, batch in enumerate(stream):
            rows += batch.num_rows
            if place < 3:
                assert places.visitors.sum().to_pyarrow().as_py() == 7
                assert then.query(f"SELECT sum(visitors) AS visitors FROM {PLACE}").read_all().num_rows == 1
                assert places.join(known, "place").country.execute().tolist() == ["Norway"]
        assert rows == MANY


def test_no_question_sees_a_variable_of_the_program_or_the_zone_of_the_machine(then: Pinned) -> None:
    asked = "SELECT current_setting('TimeZone') AS zone, current_setting('python_enable_replacements') AS variables"
    (row,) = then.query(asked).read_all().to_pylist()
    assert row == {"zone": "UTC", "variables": False}


def test_each_thread_has_its_own_answers(then: Pinned) -> None:
    asked = {
        f"SELECT sum(visitors)::BIGINT AS number FROM {PLACE}": lambda: then.read(PLACES).visitors.sum(),
        "SELECT count(*) AS number FROM warehouse.sales": lambda: then.read(SALES).count(),
    }

    def answers(sql: str) -> set[int]:
        rows = (then.query(sql).read_all().to_pylist() for _ in range(40))
        return {row["number"] for (row,) in rows} | {asked[sql]().to_pyarrow().as_py() for _ in range(40)}

    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(answers, [*asked] * 2)] == [{7}, {MANY}] * 2


def test_threads_that_ask_first_and_at_once_open_one_engine(then: Pinned, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, connect = [], duckdb.connect

    def slow(*args: Any, **how: Any) -> duckdb.DuckDBPyConnection:
        opened.extend(["spills"] if "temp_directory" in how.get("config", {}) else [])
        time.sleep(0.3)
        return connect(*args, **how)

    monkeypatch.setattr("duckdb.connect", slow)
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(
            lambda _: then.query(f"SELECT sum(visitors)::BIGINT AS sum FROM {PLACE}").read_all(), range(4)
        )
        assert [each.to_pylist() for each in found] == [[{"sum": 7}]] * 4
    assert opened == ["spills"]


def test_a_reader_that_stays_open_goes_on_with_renewed_credentials(
    s3_lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(s3_lake)
    publish(store, PLACES, [{"place": "Oslo", "visitors": 7}])
    then = cast(Any, store.at(store.pin(ALL, {})))
    assert held(then, PLACES) == [{"place": "Oslo", "visitors": 7}]
    before = then.engine.access
    renewed = replace(before, region="eu-north-1")
    monkeypatch.setattr(then._s3, "access", lambda: renewed)
    assert held(then, PLACES) == [{"place": "Oslo", "visitors": 7}]
    assert then.engine.access == renewed
    ((said,),) = then.engine.backend.con.sql("SELECT secret_string FROM duckdb_secrets()").fetchall()
    assert "eu-north-1" in said
    then.release()
    store.end_run()


def test_only_what_was_published_since_is_copied_again(duckdb_store: Store) -> None:
    publish(duckdb_store, SALES, QUARTER, FIRST_QUARTER)
    publish(duckdb_store, PLACES, [{"place": "Oslo", "visitors": 1}])
    first = duckdb_store.pin(ALL, {})
    assert duckdb_store.pin(ALL, first) == first
    publish(duckdb_store, SALES, [sale(8, "2004-02-09")], FEBRUARY)
    second = duckdb_store.pin(ALL, first)
    assert second[PLACES.address] == first[PLACES.address]
    same = [part for part, each in second[SALES.address].parts.items() if each == first[SALES.address].parts.get(part)]
    assert same == ["2004-01", "2004-03"]
    assert held(duckdb_store.at(second), SALES) == held(duckdb_store, SALES)
    publish(duckdb_store, SALES, [], MARCH)
    third = duckdb_store.pin(ALL, second)
    assert sorted(third[SALES.address].parts) == ["2004-01", "2004-02"]
    assert held(duckdb_store.at(third), SALES) == held(duckdb_store, SALES)


def test_rows_without_a_day_are_a_part_like_a_month(duckdb_store: Store) -> None:
    nullable = contract({"sale": (Int(), False, "Number"), "day": (Date(), True, "Day")})
    days = [None, "2004-01-03", "1900-01-01", "2004-01-09"]
    rows = [{"sale": at, "day": day and date.fromisoformat(day)} for at, day in enumerate(days)]
    with duckdb_store.begin(BY_TEST) as tx:
        tx.stage(nullable, tx.receive(arrow(nullable, rows))).publish()
    pins = duckdb_store.pin([nullable], {})
    assert {part: each.rows for part, each in pins[nullable.address].parts.items()} == {
        "1900-01": 1,
        "2004-01": 2,
        UNDATED: 1,
    }
    held = duckdb_store.at(pins)
    assert sorted(held.read(nullable).to_pyarrow().to_pylist(), key=lambda row: row["sale"]) == rows
    held.release()


def test_months_of_earlier_publications_keep_their_stamps_however_ranges_overlap(duckdb_store: Store) -> None:
    days = {JANUARY: "2004-01-31", FEBRUARY: "2004-02-01", MARCH: "2004-03-15"}
    pins = {}
    for number, months in enumerate([FIRST_QUARTER, JANUARY, FIRST_QUARTER, FEBRUARY, MARCH, JANUARY, FEBRUARY]):
        rows = [sale(10 * number + n, day) for n, (each, day) in enumerate(days.items()) if each.first in list(months)]
        publish(duckdb_store, SALES, rows, months)
        before, pins = pins, duckdb_store.pin(ALL, pins)
        assert held(duckdb_store.at(pins), SALES) == held(duckdb_store, SALES)
        parts = pins[SALES.address].parts
        if before:
            kept = {part for part, each in parts.items() if each == before[SALES.address].parts.get(part)}
            assert kept == {f"{month:%Y-%m}" for month in FIRST_QUARTER if month not in list(months)}


def test_a_copy_of_the_same_size_that_cannot_be_understood_is_said(duckdb_store: Store, tmp_path: Path) -> None:
    publish(duckdb_store, SALES, QUARTER, FIRST_QUARTER)
    pins = duckdb_store.pin(ALL, {})
    (file,) = pins[SALES.address].parts["2004-02"].files
    path = tmp_path / "home" / "store" / "releases" / file
    whole = path.read_bytes()
    for damage in (b"\xff" * len(whole), whole[:-60] + bytes(each ^ 0xFF for each in whole[-60:-8]) + whole[-8:]):
        path.write_bytes(damage)
        with pytest.raises(StoreDamaged, match=r"is damaged, or gone .* `classic-cars run --full`"):
            duckdb_store.at(pins).query(f"SELECT count(*) FROM {SALES.layer}.{SALES.name}")


def test_a_page_of_a_copy_that_cannot_be_unpacked_is_said_to_whoever_reads_it(
    duckdb_store: Store, tmp_path: Path
) -> None:
    publish(duckdb_store, SALES, [sale(number, "2004-02-01") for number in range(5_000)], FEBRUARY)
    pins = duckdb_store.pin(ALL, {})
    (file,) = pins[SALES.address].parts["2004-02"].files
    path = tmp_path / "home" / "store" / "releases" / file
    pages = f"SELECT data_page_offset FROM parquet_metadata('{path}') WHERE compression = 'SNAPPY' LIMIT 1"
    ((at,),) = duckdb.sql(pages).fetchall()
    whole = bytearray(path.read_bytes())
    whole[at + 40 : at + 80] = bytes(each ^ 0xFF for each in whole[at + 40 : at + 80])
    path.write_bytes(whole)
    for read in (
        lambda tables: tables.read(SALES).to_pyarrow(),
        lambda tables: tables.read(SALES).to_pyarrow_batches().read_all(),
        lambda tables: [*tables.query(f"FROM {SALES.layer}.{SALES.name}")],
    ):
        with pytest.raises(StoreDamaged, match=r"is damaged, or gone .* `classic-cars run --full`"):
            read(duckdb_store.at(pins))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("error('corrupt: x')", "^Invalid Input Error: corrupt: x"),
        ("'1.2.3.4'::INET", "^An error occurred .* extension 'inet'"),
        ("1 / 'x'::INT", "^Conversion Error: Could not convert string 'x'"),
    ],
)
def test_what_a_question_does_wrong_is_no_damage(duckdb_store: Store, wrong: str, said: str) -> None:
    publish(duckdb_store, SALES, QUARTER, FIRST_QUARTER)
    with pytest.raises(StoreError, match=said):
        [*duckdb_store.at(duckdb_store.pin(ALL, {})).query(f"SELECT {wrong} FROM {SALES.layer}.{SALES.name}")]


def test_a_copy_that_is_gone_or_cut_off_is_said_and_made_again(duckdb_store: Store, tmp_path: Path) -> None:
    publish(duckdb_store, SALES, QUARTER, FIRST_QUARTER)
    pins = duckdb_store.pin(ALL, {})
    (file,) = pins[SALES.address].parts["2004-02"].files
    path = tmp_path / "home" / "store" / "releases" / file
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(StoreDamaged, match=r"is damaged, or gone .* `classic-cars run --full`"):
        held(duckdb_store.at(pins), SALES)
    again = duckdb_store.pin(ALL, pins)
    assert again[SALES.address].parts["2004-01"] == pins[SALES.address].parts["2004-01"]
    assert held(duckdb_store.at(again), SALES) == QUARTER


def test_copies_that_no_release_names_are_removed_once_nobody_can_be_reading_them(
    duckdb_store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "home" / "store" / "releases"
    publish(duckdb_store, SALES, QUARTER, FIRST_QUARTER)
    first = duckdb_store.pin(ALL, {})
    publish(duckdb_store, SALES, [sale(8, "2004-02-09")], FEBRUARY)
    second = duckdb_store.pin(ALL, first)
    put(duckdb_store, second)
    duckdb_store.sweep()
    assert held(duckdb_store.at(first), SALES) == QUARTER  # somebody may have it open
    for each in folder.iterdir():
        os.utime(each, (0, time.time() - GRACE_SECONDS - 60))
    duckdb_store.sweep()
    assert held(duckdb_store.at(second), SALES) == held(duckdb_store, SALES)
    (gone,) = first[SALES.address].parts["2004-02"].files
    assert not (folder / gone).exists()


def test_a_version_that_a_release_names_is_not_expired(folder_lake: Settings) -> None:
    store = open_store(folder_lake)
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    put(store, pins := store.pin(ALL, {}))
    for number in (7, 8):
        publish(store, SALES, [sale(number, "2004-02-02")], FEBRUARY)
    done = "\n".join(versions_of(store).maintain([SALES], keep=timedelta(0), orphan_age=timedelta(0), dry_run=False))
    assert "1 old version to expire" in done
    assert held(store.at(pins), SALES) == QUARTER
    store.shelf.remove(1)
    list(versions_of(store).maintain([SALES], keep=timedelta(0), orphan_age=timedelta(0), dry_run=False))
    with pytest.raises(StoreError, match=r"version \d+ is gone, it was expired"):
        held(store.at(pins), SALES)


@pytest.mark.parametrize("settings", ["duckdb", "folder"], indirect=True)
def test_whoever_lets_go_of_what_is_pinned_leaves_no_folder(store: Store, settings: Settings) -> None:
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    pins = store.pin([SALES], {})
    store.end_run()
    before = set(settings.home.rglob("*"))
    for _ in range(2):
        tables = store.at(pins)
        for _ in range(2):  # it may be used again
            assert held(tables, SALES) == QUARTER
            tables.release()
        assert set(settings.home.rglob("*")) == before


def test_a_number_is_taken_once_and_a_note_is_replaced(store: Store) -> None:
    shelf = store.shelf
    assert (shelf.numbers(), shelf.read(1), shelf.noted()) == ([], None, "")
    assert shelf.add(1, "one")
    assert not shelf.add(1, "another")
    assert shelf.add(12, "twelve")
    assert (shelf.numbers(), shelf.read(1)) == ([1, 12], "one")
    shelf.note("why not")
    shelf.note("why not yet")
    assert shelf.noted() == "why not yet"
    shelf.note("")
    shelf.remove(1)
    assert (shelf.numbers(), shelf.noted()) == ([12], "")


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"releases cannot be kept there .* make the folder writable"):
        FolderShelf(tmp_path / "file" / "folder").add(1, "one")


def test_a_folder_that_may_not_be_listed_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = FolderShelf(tmp_path)
    assert shelf.add(1, "one")

    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(os, "listdir", refused)
    with pytest.raises(StoreUnavailable, match=r"cannot be read there \(Permission denied\); let this user read"):
        shelf.numbers()
    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(StoreUnavailable, match=r"00000001.* cannot be read there \(Permission denied\)"):
        shelf.read(1)


def test_nobody_sees_half_a_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails once all is written and before it is known to be there."""
    seen: list[list[int]] = []

    def failing(_: int) -> None:
        seen.append(shelf.numbers())
        raise OSError(5, "Input/output error")

    shelf = FolderShelf(tmp_path)
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        shelf.add(1, "one")
    assert (seen, shelf.numbers()) == ([[]], [])


def test_what_is_staged_is_not_pinned(store: Store) -> None:
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    stage(store, SALES, [sale(9, "2004-02-02")], FEBRUARY)
    store.release()
    assert held(store.at(store.pin(ALL, {})), SALES) == QUARTER


def test_a_bucket_that_does_not_answer_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
        shelf = open_store(Settings(home=tmp_path, store="iceberg", warehouse="s3://bucket/lake")).shelf
        for ask in (shelf.numbers, shelf.noted, lambda: shelf.read(1), lambda: shelf.add(1, "{}")):
            with pytest.raises(StoreError, match="s3://bucket/lake") as told:
                ask()
            assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("encryption", "asked"),
    [
        ("none", {}),
        ("AES256", {"ServerSideEncryption": "AES256"}),
        ("aws:kms:a-key", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "a-key"}),
    ],
)
def test_releases_in_a_bucket_are_encrypted_as_its_tables_are(encryption: str, asked: dict[str, str]) -> None:
    put: list[dict[str, str]] = []

    class Bucket:
        bucket = "bucket"
        client = SimpleNamespace(put_object=lambda **request: put.append(request))

    shelf = BucketShelf(Lake("s3://bucket/lake", encryption=encryption), cast(S3, Bucket()), "lake")
    assert shelf.add(1, "{}")
    (request,) = put
    assert {name: value for name, value in request.items() if name.startswith(("Server", "SSE"))} == asked
    assert request["IfNoneMatch"] == "*"


def test_a_note_that_is_no_text_is_shown_as_far_as_it_is(tmp_path: Path) -> None:
    (tmp_path / NOTE).write_bytes(b"held back\xff")
    assert FolderShelf(tmp_path).noted().startswith("held back")
