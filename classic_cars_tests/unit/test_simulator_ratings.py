"""The shop's customers rate what reached them: the same every time, and as files that the platform takes in."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from classic_cars_shop import api as simulator
from classic_cars_shop import ratings
from classic_cars_shop.ratings import COLUMNS, written


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite"
    simulator.create(f"sqlite:///{path}", scale=0.3, seed=5, until=date(2005, 5, 31))
    return path


def advanced(shop: Path, folder: Path, *days: int) -> dict[str, str]:
    """The files that were dropped while so many days passed, several times, by name with their hash."""
    folder.mkdir()
    shutil.copy(shop, folder / "shop.sqlite")
    for each in days:
        simulator.advance(f"sqlite:///{folder / 'shop.sqlite'}", each, landing=f"file://{folder / 'landing'}")
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in sorted((folder / "landing").iterdir())}


def test_ten_days_are_five_days_twice(shop: Path, tmp_path: Path):
    once = advanced(shop, tmp_path / "once", 10)
    assert once == advanced(shop, tmp_path / "twice", 5, 5)
    assert {"ratings-2005-06-01.jsonl", "ratings-2005-06-05.parquet"} & set(once)
    assert all(name.startswith("ratings-2005-06-") for name in once)


def test_ratings_change_nothing_else_in_the_shop(shop: Path, tmp_path: Path):
    advanced(shop, tmp_path / "rated", 10)
    (tmp_path / "unrated").mkdir()
    shutil.copy(shop, tmp_path / "unrated" / "shop.sqlite")
    summary = simulator.advance(f"sqlite:///{tmp_path / 'unrated' / 'shop.sqlite'}", 10)
    assert summary.ratings == 0
    dumps = []
    for each in ("rated", "unrated"):
        with sqlite3.connect(tmp_path / each / "shop.sqlite") as connection:
            dumps.append(connection.execute("SELECT * FROM orders ORDER BY 1").fetchall())
    assert dumps[0] == dumps[1]
    assert [each.name for each in (tmp_path / "unrated").iterdir()] == ["shop.sqlite"]


def test_ratings_that_cannot_be_dropped_keep_the_days_from_passing(shop: Path, tmp_path: Path):
    shutil.copy(shop, tmp_path / "shop.sqlite")
    url, landing = f"sqlite:///{tmp_path / 'shop.sqlite'}", tmp_path / "landing"
    landing.write_text("in the way")
    with pytest.raises(OSError, match="landing"):
        simulator.advance(url, 10, landing=f"file://{landing}")
    landing.unlink()
    summary = simulator.advance(url, 10, landing=f"file://{landing}")
    assert summary.first_day == date(2005, 6, 1)
    assert summary.ratings > 0
    dropped = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in landing.iterdir()}
    assert dropped == advanced(shop, tmp_path / "undisturbed", 10)


def test_customers_rate_what_was_shipped_to_them_lately(shop: Path, tmp_path: Path):
    advanced(shop, tmp_path / "shop", 10)
    delivered = """
        SELECT count(*) FROM read_json(?) r WHERE r.productRating BETWEEN 1 AND 5 AND EXISTS (
            FROM orders JOIN orderdetails USING (orderNumber)
            WHERE orders.customerNumber = r.customerNumber AND orderdetails.productCode = r.productCode
            AND date_diff('day', orders.shippedDate::DATE, r.ratedAt::DATE) BETWEEN 3 AND 12)
    """
    with duckdb.connect() as connection, sqlite3.connect(tmp_path / "shop" / "shop.sqlite") as source:
        for table, columns in (
            ("orders", "orderNumber, customerNumber, shippedDate"),
            ("orderdetails", "orderNumber, productCode"),
        ):
            rows = source.execute(f"SELECT {columns} FROM {table}").fetchall()
            names = columns.split(", ")
            connection.register(f"{table}_rows", pd.DataFrame(rows, columns=names))
            connection.execute(f"CREATE TABLE {table} AS FROM {table}_rows")
        files = [str(each) for each in (tmp_path / "shop" / "landing").glob("*.jsonl*")]
        given = connection.execute("SELECT count(*) FROM read_json(?)", [files]).fetchone()
        assert connection.execute(delivered, [files]).fetchone() == given
        assert given is not None
        assert given[0] > 0


@pytest.mark.parametrize("kind", sorted(set(ratings.FORMATS)))
def test_every_kind_of_file_holds_the_same(kind: str, tmp_path: Path):
    rows = [(103, "S10_1090", 5, "2003-08-01T10:00:00Z", "2003-08-01T10:01:00Z")]
    path = tmp_path / f"a.{kind}"
    path.write_bytes(written(rows, kind))
    assert path.read_bytes() == written(rows, kind)
    reader = {"csv": "read_csv", "jsonl": "read_json", "parquet": "read_parquet"}[kind.partition(".")[0]]
    found = duckdb.execute(f"SELECT {', '.join(COLUMNS[:3])} FROM {reader}('{path}')").fetchall()
    assert found == [row[:3] for row in rows]
