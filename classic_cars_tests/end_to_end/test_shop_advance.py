"""Time passes in a shop: what may change, what must not, and that databases and step sizes make no difference."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from classic_cars.contracts.order_system import metadata
from classic_cars.errors import ShopRefused, SourceMissing
from classic_cars_shop import api as simulator
from classic_cars_shop.ownership import marker
from classic_cars_tests.end_to_end.test_shop_create import dump, engine, run_sql
from classic_cars_tests.unit.test_simulator_load import GOOD

Frames = dict[str, pd.DataFrame]


def frames(url: str) -> Frames:
    return {name: pd.DataFrame(rows, columns=metadata.tables[name].columns.keys()) for name, rows in dump(url).items()}


def worth(shop: Frames) -> pd.Series:
    """Cents ordered per customer, without cancelled orders."""
    lines = shop["orderdetails"].merge(shop["orders"].query("status != 'Cancelled'"), on="orderNumber")
    return (lines.quantityOrdered * (lines.priceEach * 100).astype(int)).groupby(lines.customerNumber).sum()


def shop_date(url: str) -> date:
    with engine(url).connect() as connection:
        return connection.scalar(sa.select(marker.c.shopDate))


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, Frames, simulator.AdvanceSummary]:
    """A shop of the real size, the same 150 days later, and what was said about them."""
    url = f"sqlite:///{tmp_path_factory.mktemp('year') / 'shop.sqlite'}"
    simulator.create(url, seed=4)
    before = frames(url)
    summary = simulator.advance(url, 150)
    return before, frames(url), summary


def test_the_summary_counts_what_happened(year: tuple[Frames, Frames, simulator.AdvanceSummary]) -> None:
    before, after, summary = year
    grown = {name: len(after[name]) - len(before[name]) for name in before}
    assert (summary.first_day, summary.last_day) == (date(2005, 6, 1), date(2005, 10, 28))
    assert grown == {
        "customers": summary.new_customers, "orders": summary.orders, "orderdetails": summary.lines,
        "payments": summary.payments, "employees": 0, "offices": 0, "products": 0, "productlines": 0,
    }  # fmt: skip
    assert 50 < summary.orders < 130
    assert summary.shipped > 40
    assert summary.price_changes > 3
    assert summary.new_customers > 3
    assert str(summary).startswith("2005-06-01 to 2005-10-28: ")


def test_old_rows_change_only_where_life_changes_them(year: tuple[Frames, Frames, simulator.AdvanceSummary]) -> None:
    before, after, summary = year
    for name in ("employees", "offices", "productlines", "orderdetails", "payments"):
        kept = after[name].merge(before[name], how="inner")
        assert len(kept) == len(before[name])
    old = after["orders"].head(len(before["orders"]))
    same = ["orderNumber", "orderDate", "requiredDate", "comments", "customerNumber"]
    assert old[same].equals(before["orders"][same])
    changed = before["orders"].status != old.status
    assert set(before["orders"].status[changed]) <= {"In Process", "On Hold", "Disputed", "Shipped"}
    assert not (old.status == "In Process").any()
    moved = before["customers"].merge(after["customers"], on="customerNumber", suffixes=("", "_after"))
    assert (moved.addressLine1 != moved.addressLine1_after).sum() <= summary.moves
    assert (moved.country == moved.country_after).all()
    prices = before["products"].merge(after["products"], on="productCode", suffixes=("", "_after"))
    assert 1 <= (prices.MSRP_after != prices.MSRP).sum() <= summary.price_changes
    assert (prices.buyPrice_after < prices.MSRP_after).all()


def test_new_rows_are_as_believable_as_the_first(year: tuple[Frames, Frames, simulator.AdvanceSummary]) -> None:
    before, after, _ = year
    orders = after["orders"].iloc[len(before["orders"]) :]
    assert orders.orderDate.between(date(2005, 6, 1), date(2005, 10, 28)).all()
    shipped = orders.dropna(subset="shippedDate")
    assert (shipped.shippedDate > shipped.orderDate).all()
    assert set(shipped.status) <= {"Shipped", "Disputed", "Resolved"}
    lines = after["orderdetails"].groupby("orderNumber").orderLineNumber.count()
    assert lines[orders.orderNumber].between(1, 18).all()
    paid = (after["payments"].amount * 100).astype(int).groupby(after["payments"].customerNumber).sum()
    assert (paid <= worth(after)[paid.index]).all()
    assert after["payments"].paymentDate.max() <= date(2005, 10, 28)
    for column in ("customerNumber", "checkNumber"):
        assert after["payments"][column].notna().all()


def test_five_days_twice_are_ten_days(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / name}.sqlite" for name in ("twice", "once", "otherwise")]
    for url in urls:
        simulator.create(url, scale=2, seed=9, until=date(2004, 10, 27))
    simulator.advance(urls[0], 5)
    simulator.advance(urls[0], 5)
    simulator.advance(urls[1], 10)
    simulator.advance(urls[2], 10, seed=10)
    assert dump(urls[0]) == dump(urls[1])
    assert dump(urls[0]) != dump(urls[2])
    assert shop_date(urls[0]) == date(2004, 11, 6)


def test_the_same_happens_in_every_database(tmp_path: Path, mariadb_url: str, postgresql_url: str) -> None:
    urls = [f"sqlite:///{tmp_path / 'shop.sqlite'}", mariadb_url, postgresql_url]
    for url in urls:
        simulator.create(url, scale=2, seed=3)
    summaries = [simulator.advance(url, 20) for url in urls]
    assert summaries[0] == summaries[1] == summaries[2]
    assert summaries[0].payments > 5
    sqlite, mariadb, postgresql = map(dump, urls)
    assert sqlite == mariadb
    assert sqlite == postgresql


def test_a_loaded_shop_lives_on_from_its_last_order(order_system_url: str, tmp_path: Path) -> None:
    for name, text in GOOD.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    simulator.load(order_system_url, tmp_path)
    summary = simulator.advance(order_system_url, 60, seed=1)
    after = frames(order_system_url)
    assert summary.first_day == date(2004, 3, 1)
    assert len(after["orders"]) == 2 + summary.orders
    assert after["orders"].orderNumber.min() == 10
    # The two lines were worth 2,440.50 and 0.10, and 6,066.78 had been paid: nobody pays for them again.
    owed = worth(after)
    paid = (after["payments"].amount * 100).astype(int).groupby(after["payments"].customerNumber).sum()
    assert paid[7] == 606_678 or paid[7] <= owed[7]


def test_when_the_numbers_of_orders_are_used_up_no_day_passes(order_system_url: str, tmp_path: Path) -> None:
    for name, text in GOOD.items():
        numbered = text.replace('"11"', '"2147483647"') if name.startswith("order") else text
        (tmp_path / f"{name}.csv").write_text(numbered, encoding="utf-8", newline="")
    simulator.load(order_system_url, tmp_path)
    before = dump(order_system_url)
    with pytest.raises(ShopRefused, match=r"orders.orderNumber: found 2,147,483,647, .*; nothing was changed; load"):
        simulator.advance(order_system_url, 60, seed=1)
    assert dump(order_system_url) == before


def test_when_the_numbers_of_customers_are_used_up_no_day_passes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    simulator.create(url, scale=0.3)
    run_sql(url, "UPDATE customers SET customerNumber = 2147483647 WHERE customerNumber = 103")
    before = dump(url)
    with pytest.raises(ShopRefused, match=r"customers.customerNumber: found 2,147,483,647, .*; nothing was changed"):
        simulator.advance(url, 60, seed=1)
    assert dump(url) == before


def test_tables_without_the_mark_are_never_advanced(order_system_url: str) -> None:
    with pytest.raises((ShopRefused, SourceMissing)):
        simulator.advance(order_system_url, 1)
    simulator.create(order_system_url, scale=0.2)
    run_sql(order_system_url, "DROP TABLE classic_cars_shop")
    before = dump(order_system_url)
    with pytest.raises(ShopRefused, match="not made by the simulator; time passes only in"):
        simulator.advance(order_system_url, 1)
    assert dump(order_system_url) == before


def test_a_failure_while_time_passes_leaves_the_day_before(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=2)
    before, day = dump(order_system_url), shop_date(order_system_url)

    def fail(what: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulator.advance(order_system_url, 5, progress=fail)
    assert (dump(order_system_url), shop_date(order_system_url)) == (before, day)


@pytest.mark.parametrize("days", [0, -1, 4_000])
def test_an_impossible_number_of_days_is_refused(tmp_path: Path, days: int) -> None:
    with pytest.raises(simulator.ShopInputError, match=f"days: found {days}"):
        simulator.advance(f"sqlite:///{tmp_path / 'shop.sqlite'}", days)
