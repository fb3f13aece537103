"""What a storage error is taken for: by its number and the engine's words, never by the name of a folder."""

from __future__ import annotations

import errno
import os
from datetime import date
from pathlib import Path

import duckdb
import pytest
import requests

from classic_cars.contracts.vocabulary import Text
from classic_cars.errors import StoreDamaged, StoreError, StoreUnavailable, StoreUnreachable
from classic_cars.stores.duckdb import DuckDBStore
from classic_cars.stores.duckdb.failures import clear_errors
from classic_cars.stores.failures import is_damaged, is_full
from classic_cars.stores.iceberg import failures as of_lake
from classic_cars.stores.iceberg.lake import Lake
from classic_cars_tests.stores.tables import COLUMNS, FEBRUARY, PLACES, SALES, contract, publish


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The file of a store with one table, below a folder whose name speaks of a disk."""
    path = tmp_path / "No space left on disk1, a lock" / "classic_cars.duckdb"
    store = DuckDBStore(path)
    publish(store, PLACES, [{"place": f"place {number}", "visitors": number} for number in range(50_000)])
    store.end_run()
    return path


def said_of(path: Path) -> StoreError:
    store = DuckDBStore(path, read_only=True, wait=1)
    with pytest.raises(StoreError) as raised:
        store.query("SELECT sum(visitors), max(place) FROM staging.places").read_all()
    store.release()
    return raised.value


def text(path: Path) -> None:
    path.write_text("place,visitors\nOslo,1\n" * 1000)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 + 8)
        file.write(b"\x5a" * 64)


@pytest.mark.parametrize("damage", [text, cut_short, overwritten])
def test_a_damaged_file_is_said_to_be_damaged_with_what_to_do(published: Path, damage):
    damage(published)
    error = said_of(published)
    assert isinstance(error, StoreDamaged), error
    for words in (str(published), "Restore it from a backup", "import an export", "move the file away and run again"):
        assert words in str(error)
    for wrong in ("is full", "unchanged"):
        assert wrong not in str(error)


def test_a_folder_in_the_place_of_the_file_is_neither_full_nor_damaged(published: Path):
    published.unlink()
    published.mkdir()
    error = said_of(published)
    assert isinstance(error, StoreUnavailable)
    assert "cannot be used" in str(error)
    assert "is full" not in str(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/data/store"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "/data/store"),
        duckdb.IOException('IO Error: Could not write file "/data/disk1/x": No space left on device'),
        duckdb.OutOfMemoryException(
            "Out of Memory Error: failed to offload data block of size 256.0 KiB (1.0 MiB/1.0 MiB used). This limit "
            "was set by the 'max_temp_directory_size' setting."
        ),
    ],
)
def test_a_full_disk_is_told_by_number_or_words(error: Exception, tmp_path: Path):
    assert is_full(error)
    with pytest.raises(StoreUnavailable, match="the disk is full; free some space"), clear_errors(tmp_path / "x"):
        raise error
    with (
        pytest.raises(StoreUnavailable, match="the disk is full; free some space"),
        of_lake.clear_errors(Lake("s3://b")),
    ):
        raise error


@pytest.mark.parametrize(
    "said",
    [
        'IO Error: Cannot open file "/mnt/No space left/corrupt/x.duckdb": Permission denied',
        "[Errno 13] Permission denied: '/mnt/disk full/x'",
        "IO Error: Cannot open /mnt/ENOSPC/corrupt/x: Permission denied",
    ],
)
def test_words_in_a_path_say_nothing(said: str):
    assert not is_full(OSError(said))
    assert not is_damaged(OSError(said))


@pytest.mark.parametrize("bucket", ["forbidden-things", "AccessDenied"])
def test_words_in_a_buckets_name_say_nothing(bucket: str):
    said = f"HTTP Error: HTTP GET error on 'https://{bucket}.s3.amazonaws.com/x' (HTTP 500)"
    found = of_lake.refusal(Lake(f"s3://{bucket}/lake"), said)
    assert "request failed" in str(found)


def test_a_damaged_file_of_a_lake_is_said_to_be_damaged():
    with (
        pytest.raises(StoreDamaged, match="lake rollback"),
        of_lake.clear_errors(Lake("file:///lake")),
    ):
        raise duckdb.InvalidInputException("Invalid Input Error: No magic bytes found at end of file '/lake/x.parquet'")


def test_a_catalog_that_cannot_be_reached_is_not_taken_for_the_folder(tmp_path: Path):
    """A ``RequestException`` is an ``OSError`` too."""
    lake = Lake(f"file://{tmp_path}", "rest", "http://user:secret@127.0.0.1:8181")
    with pytest.raises(StoreUnreachable) as said, of_lake.clear_errors(lake):
        raise requests.ConnectionError("connection refused")
    assert str(said.value).startswith("rest catalog at http://127.0.0.1:8181: request failed (ConnectionError)")
    assert "secret" not in str(said.value)


def test_of_a_table_with_other_columns_only_the_difference_is_said(tmp_path: Path):
    store = DuckDBStore(tmp_path / "classic_cars.duckdb")
    rows = [{"sale": month, "day": date(2004, month, 1)} for month in (1, 2)]
    publish(store, SALES, rows)
    wider = contract({**COLUMNS, "place": (Text(), True, "Where it was made")})
    with pytest.raises(StoreError) as refused:
        publish(store, wider, rows[1:], FEBRUARY)
    assert str(refused.value) == (
        "warehouse/sales: the published table has other columns than its contract now asks for (column place is "
        "missing); months 2004-02 alone cannot be replaced: materialize all months"
    )
    store.end_run()


def test_what_is_said_of_damaged_parquet_quotes_no_value(tmp_path: Path):
    said = f'Invalid string encoding found in Parquet file "{tmp_path}/a.parquet": value "Mary" is not valid UTF8!'
    with pytest.raises(StoreDamaged, match=r"a.parquet") as caught, clear_errors(tmp_path, "is damaged"):
        raise duckdb.InvalidInputException(said)
    assert "Mary" not in str(caught.value)
