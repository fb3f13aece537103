"""Planted faults: the platform notices each as the command says, publishes nothing bad, and mending undoes all."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from classic_cars.contracts.order_system import metadata
from classic_cars.errors import ShopRefused
from classic_cars.settings import Settings
from classic_cars.sources.urls import SourceURL
from classic_cars.tables.run_tags import ACCEPT_SHRINK
from classic_cars_shop import api as simulator
from classic_cars_tests.platform import ask, fingerprint, run

KINDS = list(simulator.KINDS)


def dump(url: str) -> dict[str, Any]:
    """Every row of every table, and the keys of each: what mending must bring back."""
    engine = sa.create_engine(SourceURL.parse(url).for_sqlalchemy(), poolclass=sa.NullPool)
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        found: dict[str, Any] = {}
        for name, table in metadata.tables.items():
            rows = connection.execute(
                sa.select(*(sa.column(column.name) for column in table.columns)).select_from(table)
            )
            found[name] = sorted(map(repr, rows)), [column["name"] for column in inspector.get_columns(name)]
            found[name] += (sorted(key["referred_table"] for key in inspector.get_foreign_keys(name)),)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_mending_brings_back_every_row_column_and_key(order_system_url: str, kind: str) -> None:
    simulator.create(order_system_url, scale=0.05)
    before = dump(order_system_url)
    found, rows = simulator.break_shop(order_system_url, kind)
    assert rows > 0 or kind in ("drift", "outage")
    with pytest.raises(ShopRefused, match="an outage is planted" if kind == "outage" else f"{kind} is planted already"):
        simulator.break_shop(order_system_url, kind)
    assert simulator.mend_shop(order_system_url) == [kind]
    assert dump(order_system_url) == before
    assert simulator.mend_shop(order_system_url) == []
    assert found.what


def test_time_passes_as_if_no_fault_had_ever_been_there(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=0.3, seed=3)
    undisturbed = simulator.advance(order_system_url, 60)
    whole = dump(order_system_url)
    assert undisturbed.orders
    assert undisturbed.payments
    simulator.create(order_system_url, scale=0.3, seed=3, replace=True)
    for kind in ("negatives", "late", "orphans", "duplicates"):
        simulator.break_shop(order_system_url, kind)
    assert simulator.advance(order_system_url, 60) == undisturbed
    assert sorted(simulator.mend_shop(order_system_url)) == ["duplicates", "late", "negatives", "orphans"]
    assert dump(order_system_url) == whole


@pytest.mark.parametrize("kinds", [("negatives", "late", "orphans", "duplicates"), ("late", "orphans", "negatives")])
def test_faults_stay_while_time_passes(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    simulator.create(url, scale=0.3, seed=3)
    whole = dump(url)
    for kind in kinds:
        simulator.break_shop(url, kind)
    planted = set(dump(url)["orderdetails"][0]) - set(whole["orderdetails"][0])
    simulator.advance(url, 30)
    assert planted
    assert planted <= set(dump(url)["orderdetails"][0])


def test_a_gap_in_the_numbers_of_orders_costs_no_order(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    simulator.create(url, scale=0.3, seed=3)
    with sa.create_engine(url).begin() as connection:
        for table in ("orders", "orderdetails"):
            connection.exec_driver_sql(f"UPDATE {table} SET orderNumber = 2000000 WHERE orderNumber = 10197")
    passed = simulator.advance(url, 60)
    assert passed.orders > 2 * passed.new_customers  # who order once, when they come


def test_mending_leaves_alone_what_looks_like_a_fault_but_was_there_before(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=0.05)
    engine = sa.create_engine(SourceURL.parse(order_system_url).for_sqlalchemy(), poolclass=sa.NullPool)
    p, d = metadata.tables["payments"], metadata.tables["orderdetails"]
    with engine.begin() as connection:
        customer, check = connection.execute(sa.select(p.c.customerNumber, p.c.checkNumber).limit(1)).one()
        mine = sa.update(p).where(p.c.customerNumber == customer, p.c.checkNumber == check)
        connection.execute(mine.values(checkNumber=f" {check}"))
        connection.execute(sa.update(d).where(d.c.orderNumber % 7 == 0).values(quantityOrdered=-1))
    before = dump(order_system_url)
    for kind in ("negatives", "orphans", "duplicates"):
        simulator.break_shop(order_system_url, kind)
    assert len(simulator.mend_shop(order_system_url)) == 3
    assert dump(order_system_url) == before


def test_during_an_outage_everything_says_what_to_do_and_the_shop_is_safe(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=0.05)
    before = dump(order_system_url)
    simulator.break_shop(order_system_url, "outage")
    for attempt in (
        lambda: simulator.create(order_system_url, scale=0.05),
        lambda: simulator.create(order_system_url, scale=0.05, replace=True),
        lambda: simulator.advance(order_system_url, 1),
        lambda: simulator.break_shop(order_system_url, "negatives"),
    ):
        with pytest.raises(ShopRefused, match="an outage is planted; first `classic-cars shop mend outage`"):
            attempt()
    assert simulator.mend_shop(order_system_url, "outage") == ["outage"]
    assert dump(order_system_url) == before


def test_of_two_shops_after_an_outage_none_is_overwritten(tmp_path: Path) -> None:
    shop = tmp_path / "shop.sqlite"
    simulator.create(f"sqlite:///{shop}", scale=0.05)
    simulator.break_shop(f"sqlite:///{shop}", "outage")
    shop.write_bytes(b"somebody else's")
    with pytest.raises(ShopRefused, match=r"shop\.sqlite_away beside it; nothing was changed"):
        simulator.mend_shop(f"sqlite:///{shop}")
    assert shop.read_bytes() == b"somebody else's"


def test_time_does_not_pass_while_a_column_is_renamed(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=0.05)
    simulator.break_shop(order_system_url, "drift")
    with pytest.raises(ShopRefused, match="first `classic-cars shop mend drift`"):
        simulator.advance(order_system_url, 1)
    with pytest.raises(ShopRefused, match="late is not planted; planted: drift"):
        simulator.mend_shop(order_system_url, "late")


def test_a_shop_made_anew_has_no_faults(order_system_url: str) -> None:
    simulator.create(order_system_url, scale=0.05)
    simulator.break_shop(order_system_url, "negatives")
    simulator.create(order_system_url, scale=0.05, replace=True)
    assert simulator.mend_shop(order_system_url) == []


def test_only_shops_of_the_simulator_are_broken(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'mine.sqlite'}"
    with sa.create_engine(url).begin() as connection:
        metadata.create_all(connection)
    with pytest.raises(ShopRefused, match="not made by the simulator"):
        simulator.break_shop(url, "negatives")


@pytest.fixture(scope="module")
def published_shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, str]]:
    """A shop of this module's own, published once."""
    folder = tmp_path_factory.mktemp("broken")
    settings = Settings(home=folder / "home", source_url=SecretStr(f"sqlite:///{folder / 'shop.sqlite'}"))
    simulator.create(settings.order_system_url, scale=0.5, until=date(2003, 8, 31))
    assert run(settings).success
    return settings, fingerprint(settings)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("kind", "failed", "error"),
    [
        ("drift", set(), "orderStatus"),
        ("duplicates", {("staging/payments", "quarantine")}, ""),
        ("orphans", {("staging/orderdetails", "quarantine")}, ""),
        ("negatives", {("staging/orderdetails", "quarantine")}, ""),
        ("late", set(), ""),
        ("outage", set(), "no such file"),
    ],
)
def test_each_kind_is_noticed_and_nothing_bad_is_published(
    published_shop: tuple[Settings, dict[str, str]], kind: str, failed: set[tuple[str, str]], error: str
) -> None:
    shop, whole = published_shop
    totals = "SELECT count(*), sum(orderAmount) FROM warehouse.fact_orders"
    before = ask(shop, totals)
    simulator.break_shop(shop.order_system_url, kind)
    try:
        broken = run(shop)
        assert broken.failed == failed
        assert error in broken.errors
        assert broken.success == (kind == "late")
        assert (ask(shop, totals) == before) == (kind != "late")
    finally:
        simulator.mend_shop(shop.order_system_url)
    if kind in ("late", "negatives"):
        # Orders that are gone again are what the guard of volumes is for.
        accepted = {ACCEPT_SHRINK: "source/orders,source/orderdetails"} if kind == "late" else {}
        assert run(shop, tags=accepted).success
        assert fingerprint(shop) == whole
