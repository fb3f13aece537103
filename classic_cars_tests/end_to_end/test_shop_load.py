"""Loading a shop from CSV files into every kind of database: all of it, exactly, or nothing."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from classic_cars.contracts.order_system import metadata
from classic_cars.errors import ShopRefused
from classic_cars_shop import api as simulator
from classic_cars_tests.end_to_end.test_shop_create import dump, engine, names
from classic_cars_tests.unit.test_simulator_load import GOOD


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with eight small files, awkward values included."""
    directory = tmp_path / "csv"
    directory.mkdir()
    for name, text in GOOD.items():
        (directory / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    awkward = 'tab\there, back\\slash, "quotes"", line\r\nbreak, é 鉄道 🚂, \\N'.replace('""', '"')
    quoted = awkward.replace('"', '""')
    orders = GOOD["orders"].replace('"two\nlines"', f'"{quoted}"')
    (directory / "orders.csv").write_text(orders, encoding="utf-8", newline="")
    return directory


def test_values_survive_exactly(order_system_url: str, folder: Path) -> None:
    made = simulator.load(order_system_url, folder)
    rows = dump(order_system_url)
    assert made.rows == {name: len(each) for name, each in rows.items()}
    assert made.shop_date.isoformat() == "2004-02-29"
    held, shipped = rows["orders"]
    assert held[5] == 'tab\there, back\\slash, "quotes", line\r\nbreak, é 鉄道 🚂, \\N'
    assert (held[3], shipped[5]) == (None, "")
    assert rows["customers"][0][6:11] == ("\\N", "Oslo", None, None, "Norway  ")
    assert rows["orderdetails"][0][3] == Decimal("81.35")
    assert rows["productlines"][0][3] == b"blob:40"


def test_money_in_sqlite_is_kept_to_the_cent(tmp_path: Path, folder: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    simulator.load(url, folder)
    with engine(url).connect() as connection:
        kept = connection.exec_driver_sql("SELECT priceEach, typeof(priceEach) FROM orderdetails ORDER BY 1").all()
    assert kept == [(0.1, "real"), (81.35, "real")]


def test_a_mistake_in_the_last_file_leaves_nothing_behind(order_system_url: str, folder: Path) -> None:
    (folder / "payments.csv").write_text(GOOD["payments"].replace("6066.78", "6,066.78"))
    with pytest.raises(simulator.ShopInputError, match=r"payments.csv: line 2: amount"):
        simulator.load(order_system_url, folder)
    if not order_system_url.startswith("sqlite"):
        assert names(order_system_url) == set()
    assert simulator.plan_replace(order_system_url) == []


def test_a_mistake_leaves_the_shop_that_would_have_been_replaced(order_system_url: str, folder: Path) -> None:
    simulator.create(order_system_url, scale=0.2)
    before = dump(order_system_url)
    (folder / "payments.csv").write_text(GOOD["payments"] * 2)
    with pytest.raises(simulator.ShopInputError, match=r"payments.csv: line 3"):
        simulator.load(order_system_url, folder, replace=True)
    assert dump(order_system_url) == before


def test_a_loaded_shop_is_marked_and_not_overwritten(order_system_url: str, folder: Path) -> None:
    simulator.load(order_system_url, folder)
    with pytest.raises(ShopRefused, match=r"made by the simulator .shop load"):
        simulator.load(order_system_url, folder)
    simulator.create(order_system_url, scale=0.2, replace=True)
    assert len(dump(order_system_url)["orders"]) == 65


def test_a_created_shop_comes_back_the_same_through_csv(order_system_url: str, tmp_path: Path) -> None:
    source = f"sqlite:///{tmp_path / 'source.sqlite'}"
    simulator.create(source, scale=0.3, seed=5)
    folder = tmp_path / "dump"
    folder.mkdir()
    rows = dump(source)
    for name, table in metadata.tables.items():
        lines = [",".join(table.columns.keys())]
        for row in rows[name]:
            values = [value.decode("latin-1") if isinstance(value, bytes) else value for value in row]
            lines.append(",".join("\\N" if v is None else '"' + str(v).replace('"', '""') + '"' for v in values))
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    # Pictures hold NUL bytes and are no text: they are left out of this comparison.
    text = (folder / "productlines.csv").read_bytes().replace(b"\0", b"0")
    (folder / "productlines.csv").write_bytes(text)

    simulator.load(order_system_url, folder)
    loaded = dump(order_system_url)
    assert {name: loaded[name] for name in rows if name != "productlines"} == {
        name: rows[name] for name in rows if name != "productlines"
    }
    assert [row[:3] for row in loaded["productlines"]] == [row[:3] for row in rows["productlines"]]
