"""A warehouse moves between stores whole, and what was damaged on the way is not published."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from classic_cars.cli.catalog import contract_named
from classic_cars.contracts.vocabulary import Long
from classic_cars.errors import StoreError
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.stores.base import Store
from classic_cars.stores.transfer import MANIFEST, export_tables, import_tables
from classic_cars_tests.command_line import classic_cars
from classic_cars_tests.stores.tables import (
    COLUMNS,
    FEBRUARY,
    FIRST_QUARTER,
    PLACES,
    SALES,
    contract,
    held,
    publish,
    sale,
)

QUARTER = [sale(1, "2004-01-31"), sale(2, "2004-02-01", "2.50"), sale(3, "2004-03-15", None, "free")]
TABLES = [SALES, PLACES]


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """An export of two tables of a lake, in a home of its own: its catalog knows no other warehouse."""
    store = open_store(Settings(home=tmp_path / "exporting", store="iceberg"))
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, PLACES, [])
    folder = tmp_path / "export"
    assert {each.address: each.rows for each in export_tables(store, TABLES, folder)} == {
        "warehouse/sales": 3,
        "staging/places": 0,
    }
    store.end_run()
    return folder


def test_an_export_is_imported_by_every_store(store: Store, exported: Path):
    publish(store, SALES, [sale(99, "2003-01-01")], None)
    assert {each.address for each in import_tables(store, TABLES, exported)} == {"warehouse/sales", "staging/places"}
    assert held(store, SALES) == QUARTER
    assert held(store, PLACES) == []


def test_what_every_store_exports_is_what_it_holds(store: Store, tmp_path: Path):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    assert [each.address for each in export_tables(store, TABLES, tmp_path / "out")] == ["warehouse/sales"]
    found = pq.read_table(tmp_path / "out" / "warehouse" / "sales.parquet")
    assert sorted(found.to_pylist(), key=lambda row: row["sale"]) == QUARTER
    assert json.loads((tmp_path / "out" / MANIFEST).read_text()) == {"tables": {"warehouse/sales": 3}}


def test_a_folder_that_holds_something_is_left_alone(store: Store, tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not empty"):
        list(export_tables(store, TABLES, tmp_path / "full"))
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["notes.txt"]


def test_an_export_is_refreshed_in_place_and_never_missing_meanwhile(store: Store, exported: Path):
    publish(store, SALES, [sale(9, "2003-01-01")], None)
    refreshing = export_tables(store, [SALES], exported)
    assert next(refreshing).rows == 1
    assert len(pq.read_table(exported / "warehouse" / "sales.parquet")) == 3  # until all of it is proven
    assert list(refreshing) == []
    assert pq.read_table(exported / "warehouse" / "sales.parquet").to_pylist() == [sale(9, "2003-01-01")]
    assert sorted(each.name for each in exported.iterdir()) == [MANIFEST, "warehouse"]
    assert not [each for each in exported.parent.iterdir() if each.name.startswith(".")]


def test_a_refresh_that_fails_leaves_the_export_as_it_was(
    store: Store, exported: Path, monkeypatch: pytest.MonkeyPatch
):
    publish(store, SALES, [sale(9, "2003-01-01")], None)
    before = (exported / "warehouse" / "sales.parquet").read_bytes()

    def broken(*_: object) -> None:
        raise StoreError("the copy differs")

    monkeypatch.setattr("classic_cars.stores.transfer._must_be_equal", broken)
    with pytest.raises(StoreError, match="differs"):
        list(export_tables(store, [SALES], exported))
    assert (exported / "warehouse" / "sales.parquet").read_bytes() == before
    assert not [each for each in exported.parent.iterdir() if each.name.startswith(".")]


def test_tables_of_different_runs_are_no_export(store: Store, exported: Path, monkeypatch: pytest.MonkeyPatch):
    publish(store, SALES, QUARTER, FIRST_QUARTER)
    publish(store, PLACES, [])
    before = (exported / "warehouse" / "sales.parquet").read_bytes()
    exporting = export_tables(store, TABLES, exported)
    next(exporting)
    store.begin_run("run 2")
    publish(store, SALES, [sale(9, "2003-01-01")], None)
    store.end_run()
    with pytest.raises(StoreError, match="a run published warehouse/sales during the export"):
        list(exporting)
    assert (exported / "warehouse" / "sales.parquet").read_bytes() == before


@pytest.mark.parametrize("kind", ["duckdb", "iceberg"])
def test_nothing_is_no_export_and_leaves_the_last_one(exported: Path, tmp_path: Path, kind: str):
    empty = open_store(Settings(home=tmp_path / "wrong", store=kind), read_only=True)
    with pytest.raises(StoreError, match=r"wrong.*: nothing was published yet, and nothing is exported; `classic-cars"):
        list(export_tables(empty, TABLES, exported))
    assert len(pq.read_table(exported / "warehouse" / "sales.parquet")) == 3


def test_a_table_of_before_its_contract_changed_is_named_and_not_exported(store: Store, exported: Path):
    publish(store, SALES, [], FEBRUARY)
    columns = {"remark" if name == "note" else name: each for name, each in COLUMNS.items()}
    changed = contract({**columns, "sale": (Long(), False, "Number")})
    before = (exported / "warehouse" / "sales.parquet").read_bytes()
    for examine in (None, lambda _: ["never asked"]):
        with pytest.raises(StoreError) as refused:
            list(export_tables(store, [PLACES, changed], exported, examine))
        assert str(refused.value) == (
            "nothing is exported: warehouse/sales: its contract changed since it was published: "
            "column remark is missing; column sale is int32, expected int64; run `classic-cars run` first"
        )
    assert (exported / "warehouse" / "sales.parquet").read_bytes() == before


def test_what_is_published_while_it_is_examined_is_not_exported(store: Store, exported: Path):
    publish(store, SALES, QUARTER, FIRST_QUARTER)

    def examine(examined: Store) -> list[str]:
        store.begin_run("run 2")
        publish(examined, SALES, [sale(9, "2003-01-01")], None)
        store.end_run()
        return []

    with pytest.raises(StoreError, match="a run published warehouse/sales during the export"):
        list(export_tables(store, TABLES, exported, examine))
    assert len(pq.read_table(exported / "warehouse" / "sales.parquet")) == 3


def test_tables_that_do_not_agree_are_exported_only_as_they_are(published: Settings, tmp_path: Path):
    folder = tmp_path / "extract"
    assert classic_cars(published.home, "export", str(folder)).returncode == 0
    written = (folder / "warehouse" / "fact_orders.parquet").read_bytes()
    with duckdb.connect(published.store_path) as connection:
        connection.execute("DELETE FROM warehouse.fact_orders WHERE orderDate < '2003-02-01'")
    refused = classic_cars(published.home, "export", str(folder))
    assert refused.returncode == 1
    assert re.search(r"order lines: .*NOT BALANCED in 2003-01: .*; .* in analytics/sales_by", refused.stderr)
    assert (folder / "warehouse" / "fact_orders.parquet").read_bytes() == written
    moved = classic_cars(published.home, "export", "--as-is", str(folder))
    assert moved.returncode == 0, moved.stderr
    assert (folder / "warehouse" / "fact_orders.parquet").read_bytes() != written


def test_an_import_that_makes_no_release_has_failed(tmp_path: Path):
    offices = contract_named("source/offices")
    store = open_store(Settings(home=tmp_path / "one"))
    publish(store, offices, [])
    assert [each.rows for each in export_tables(store, [offices], tmp_path / "extract")] == [0]
    store.end_run()
    ran = classic_cars(tmp_path / "other", "import", str(tmp_path / "extract"))
    assert (ran.returncode, "imported 1 table" in ran.stdout) == (1, True)
    assert "no release was made: analytics/" in ran.stderr


@pytest.mark.exhaustive
def test_an_import_that_postgresql_is_not_brought_to_has_failed(published: Settings, tmp_path: Path):
    folder, other = str(tmp_path / "extract"), tmp_path / "other"
    assert classic_cars(published.home, "export", folder).returncode == 0
    served = {"CLASSIC_CARS_SERVING_URL": "postgresql://me:s3cret@127.0.0.1:1/db"}
    ran = classic_cars(other, "import", folder, **served)
    assert (ran.returncode, "imported" in ran.stdout, "not served" in ran.stderr) == (1, True, True)
    assert "s3cret" not in ran.stderr
    assert classic_cars(other, "import", folder).returncode == 0


def test_an_export_to_which_somebody_added_a_file_is_left_alone(store: Store, exported: Path):
    (exported / "warehouse" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"holds what no export wrote \(warehouse/notes.txt\)"):
        list(export_tables(store, TABLES, exported))
    assert (exported / "warehouse" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x", "/etc", "/dev/null"])
def test_a_place_where_nothing_can_be_written_is_an_error_that_names_it(store: Store, place: str):
    with pytest.raises(StoreError, match=place):
        list(export_tables(store, TABLES, Path(place)))


def test_a_mount_point_is_refused_before_anything_is_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(folder))
    monkeypatch.setattr(store, "exists", lambda contract: pytest.fail(f"{contract.address} was looked for"))
    with pytest.raises(StoreError, match=r"disk: a mount point, which cannot be replaced .*; name a folder in it"):
        list(export_tables(store, TABLES, folder))
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_renamed_is_refused_before_anything_is_written(
    store: Store, exported: Path, monkeypatch: pytest.MonkeyPatch
):
    def across(path: Path, target: Path) -> None:
        if path == exported:  # as an overlay says of a folder of its lower layer, and a sticky folder of another's
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path))

    monkeypatch.setattr(Path, "rename", across)
    monkeypatch.setattr(store, "exists", lambda contract: pytest.fail(f"{contract.address} was looked for"))
    with pytest.raises(StoreError, match=r"written \(it cannot be renamed: Invalid cross-device link\); name"):
        list(export_tables(store, TABLES, exported))
    assert sorted(each.name for each in exported.parent.iterdir() if each.name.startswith(".")) == []


def test_an_export_to_a_link_is_written_where_it_points_to(store: Store, exported: Path, tmp_path: Path):
    publish(store, SALES, [sale(9, "2003-01-01")], None)
    link = tmp_path / "link"
    link.symlink_to(exported)
    assert [each.rows for each in export_tables(store, [SALES], link)] == [1]
    assert link.is_symlink()
    assert pq.read_table(exported / "warehouse" / "sales.parquet").to_pylist() == [sale(9, "2003-01-01")]


def test_an_export_to_a_link_that_leads_nowhere_is_an_error_that_names_it(store: Store, tmp_path: Path):
    publish(store, PLACES, [])
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StoreError, match="loop"):
        list(export_tables(store, TABLES, tmp_path / "loop"))


def test_an_export_that_is_not_whole_is_refused(store: Store, exported: Path):
    (exported / MANIFEST).unlink()
    with pytest.raises(StoreError, match="no whole export"):
        list(import_tables(store, TABLES, exported))


def test_an_export_of_nothing_is_refused(store: Store, exported: Path):
    (exported / MANIFEST).write_text('{"tables": {}}')
    with pytest.raises(StoreError, match=r"manifest.json names no table; export again from a store that holds some"):
        list(import_tables(store, TABLES, exported))


def test_a_table_that_lost_rows_is_not_published(store: Store, exported: Path):
    publish(store, SALES, [sale(99, "2003-01-01")], None)
    path = exported / "warehouse" / "sales.parquet"
    pq.write_table(pq.read_table(path).slice(0, 2), path)
    with pytest.raises(StoreError, match=r"found 2 rows in .*, expected 3"):
        list(import_tables(store, TABLES, exported))
    assert [row["sale"] for row in held(store, SALES)] == [99]


def test_a_table_that_nobody_knows_is_refused(store: Store, exported: Path):
    with pytest.raises(StoreError, match="does not know: staging/places"):
        list(import_tables(store, [SALES], exported))
