"""What a new shop looks like: believable, in the real shop's proportions, repeatable. Counted with pandas."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa

from classic_cars.contracts.order_system import metadata
from classic_cars_shop import generate
from classic_cars_shop.api import ShopInputError
from classic_cars_shop.generate import NewShop
from classic_cars_shop.plan import ShopPlan

Frames = dict[str, pd.DataFrame]


def tables_of(plan: ShopPlan) -> dict[str, pa.Table]:
    shop = NewShop(plan)
    return {name: pa.Table.from_batches(shop.batches(name)) for name in metadata.tables}


def frames_of(plan: ShopPlan) -> Frames:
    return {name: table.to_pandas() for name, table in tables_of(plan).items()}


@pytest.fixture(scope="module", params=[0, 7])
def shop(request: pytest.FixtureRequest) -> Frames:
    """The default shop, from two seeds."""
    return frames_of(ShopPlan.make(seed=request.param))


@pytest.fixture(scope="module")
def lines(shop: Frames) -> pd.DataFrame:
    """Order lines with their order, product and customer."""
    lines = shop["orderdetails"].merge(shop["orders"], on="orderNumber").merge(shop["products"], on="productCode")
    lines["cents"] = lines.quantityOrdered * lines.priceEach.map(in_cents)
    return lines.merge(shop["customers"], on="customerNumber")


def in_cents(amount: Decimal) -> int:
    return int(amount * 100)


def broken_rules(table: sa.Table, frames: Frames) -> list[str]:
    """Keys, references, missing values and lengths that a table's declaration forbids."""
    rows = frames[table.name]
    broken = []
    if rows.duplicated([column.name for column in table.primary_key]).any():
        broken.append("key")
    for column in table.columns:
        values = rows[column.name].dropna()
        if not column.nullable and len(values) < len(rows):
            broken.append(f"{column.name} missing")
        if isinstance(column.type, sa.String) and column.type.length and values.str.len().max() > column.type.length:
            broken.append(f"{column.name} too long")
        for key in column.foreign_keys:
            if not set(values) <= set(frames[key.column.table.name][key.column.name]):
                broken.append(f"{column.name} refers to nothing")
    return broken


def test_a_shop_of_scale_1_is_as_large_as_the_real_one(shop: Frames) -> None:
    sizes = {name: len(frame) for name, frame in shop.items()}
    assert sizes | {"orderdetails": 0, "payments": 0} == {
        "customers": 122, "employees": 23, "offices": 7, "orderdetails": 0, "orders": 326, "payments": 0,
        "productlines": 7, "products": 110,
    }  # fmt: skip
    assert 2_850 <= sizes["orderdetails"] <= 3_150
    assert 255 <= sizes["payments"] <= 300


@pytest.mark.parametrize("name", metadata.tables)
def test_rows_keep_the_declared_keys_references_and_lengths(shop: Frames, name: str) -> None:
    assert broken_rules(metadata.tables[name], shop) == []


@pytest.mark.parametrize("scale", [0.01, 0.33, 4, 30])
def test_shops_of_other_sizes_keep_them_too(scale: float) -> None:
    frames = frames_of(ShopPlan.make(scale=scale, seed=3))
    assert [broken_rules(table, frames) for table in metadata.sorted_tables] == [[]] * 8
    assert frames["orders"].shape[0] == round(326 * scale)


def test_customers_and_orders_grow_with_the_scale_and_products_with_its_root() -> None:
    plan = ShopPlan.make(scale=1_000)
    assert (plan.customers, plan.orders, plan.products) == (122_000, 326_000, 3_478)


def test_the_same_seed_makes_the_same_rows_and_another_seed_others() -> None:
    first, again, other = (tables_of(ShopPlan.make(0.5, seed)) for seed in (1, 1, 2))
    assert all(first[name].equals(again[name]) for name in metadata.tables)
    changed = {name for name in metadata.tables if not first[name].equals(other[name])}
    assert changed == set(metadata.tables) - {"offices", "productlines"}


def test_how_many_orders_are_made_at_a_time_does_not_break_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "ORDERS_AT_A_TIME", 100)
    monkeypatch.setattr(generate, "CUSTOMERS_AT_A_TIME", 50)
    frames = frames_of(ShopPlan.make(1))
    assert [broken_rules(table, frames) for table in metadata.sorted_tables] == [[]] * 8
    assert frames["orders"].orderDate.is_monotonic_increasing
    assert len(frames["orders"]) == 326


def test_29_months_end_on_the_chosen_day() -> None:
    orders = frames_of(ShopPlan.make(until=date(2026, 3, 17)))["orders"]
    assert date(2023, 11, 1) <= orders.orderDate.min() <= date(2023, 11, 30)
    assert date(2026, 3, 5) <= orders.orderDate.max() <= date(2026, 3, 17)


def test_no_shop_begins_before_2003_and_a_shorter_one_has_fewer_orders() -> None:
    orders = frames_of(ShopPlan.make(until=date(2003, 12, 31)))["orders"]
    assert orders.orderDate.min() >= date(2003, 1, 1)
    assert 80 <= len(orders) <= 130  # the real shop had 111 in 2003


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scale": 0}, "scale: found 0, expected a number above 0"),
        ({"scale": float("nan")}, "scale: found nan"),
        ({"scale": 1e9}, "1,000,000 at most"),
        ({"until": date(2002, 12, 31)}, "until: found 2002-12-31, expected a day from 2003-01-31"),
    ],
)
def test_an_impossible_shop_is_refused(arguments: dict, words: str) -> None:
    with pytest.raises(ShopInputError, match=words):
        ShopPlan.make(**arguments)


def test_business_grows_and_peaks_in_november(shop: Frames) -> None:
    months = pd.to_datetime(shop["orders"].orderDate).dt.to_period("M").value_counts().sort_index()
    assert months.size == 29
    assert set(months.nlargest(2).index.astype(str)) == {"2003-11", "2004-11"}
    assert months["2005-01":"2005-05"].sum() > 1.5 * months["2003-01":"2003-05"].sum()


def test_shares_of_product_lines_are_about_the_real_ones(lines: pd.DataFrame) -> None:
    shares = lines.groupby("productLine").cents.sum() / lines.cents.sum()
    assert len(shares) == 7
    assert shares.idxmax() == "Classic Cars"
    assert 0.33 < shares["Classic Cars"] < 0.48
    assert 0.14 < shares["Vintage Cars"] < 0.25
    assert shares["Trains"] < 0.06


def test_shares_of_countries_are_about_the_real_ones(lines: pd.DataFrame) -> None:
    shares = lines.groupby(lines.country.str.strip()).cents.sum() / lines.cents.sum()
    assert 21 <= shares.size <= 28
    assert shares.idxmax() == "USA"
    assert 0.25 < shares["USA"] < 0.45
    assert shares["France"] > 0.05


def test_popular_products_sell_several_times_as_often_as_others() -> None:
    sold = frames_of(ShopPlan.make(20))["orderdetails"].productCode.value_counts()
    assert sold.iloc[0] > 5 * sold.iloc[-1]


def test_prices_lie_between_80_and_100_percent_of_the_list_price(shop: Frames, lines: pd.DataFrame) -> None:
    price, msrp = lines.priceEach.map(in_cents), lines.MSRP.map(in_cents)
    assert ((price * 100 >= msrp * 80) & (price <= msrp)).all()
    assert 0.88 < (price / msrp).mean() < 0.92
    products = shop["products"]
    assert ((products.buyPrice > 0) & (products.buyPrice < products.MSRP)).all()


def test_orders_have_1_to_18_lines_numbered_from_1_and_plausible_quantities(shop: Frames) -> None:
    lines = shop["orderdetails"]
    per_order = lines.groupby("orderNumber").orderLineNumber
    assert len(per_order) == len(shop["orders"])
    assert per_order.count().between(1, 18).all()
    assert 8.5 < per_order.count().mean() < 10
    assert (per_order.apply(sorted) == per_order.count().map(lambda n: list(range(1, n + 1)))).all()
    assert lines.quantityOrdered.between(6, 97).all()
    assert 33 < lines.quantityOrdered.mean() < 38


def test_statuses_have_the_real_shares_and_dates_that_fit(shop: Frames) -> None:
    orders = shop["orders"]
    count = orders.status.value_counts()
    assert (count[["Cancelled", "Resolved", "On Hold", "Disputed"]] == [6, 4, 4, 3]).all()
    assert 2 <= count["In Process"] <= 9
    assert count["Shipped"] == 326 - 17 - count["In Process"]
    assert orders[orders.status.isin(["In Process", "On Hold"])].shippedDate.isna().all()
    assert orders[orders.status.isin(["Shipped", "Resolved", "Disputed"])].shippedDate.notna().all()
    shipped = orders.dropna(subset="shippedDate")
    assert (shipped.shippedDate > shipped.orderDate).all()
    assert shipped.shippedDate.max() <= date(2005, 5, 31)
    assert (orders.requiredDate > orders.orderDate).all()
    in_process = orders[orders.status == "In Process"]
    assert in_process.orderDate.min() >= date(2005, 5, 31) - timedelta(days=9)


def test_quirks_of_orders_are_those_of_the_real_shop(shop: Frames) -> None:
    orders, products = shop["orders"], shop["products"]
    cancelled = orders[orders.status == "Cancelled"]
    assert cancelled.shippedDate.notna().sum() == 2
    shipped = orders.dropna(subset="shippedDate")
    assert (shipped.shippedDate > shipped.requiredDate).sum() == 1
    assert len(shop["customers"]) - orders.customerNumber.nunique() == 24
    assert len(products) - shop["orderdetails"].productCode.nunique() == 1
    assert 55 <= orders.comments.notna().sum() <= 110


def test_quirks_of_texts_are_those_of_the_real_shop(shop: Frames) -> None:
    customers, products = shop["customers"], shop["products"]
    codes = customers.postalCode.dropna()
    assert customers.postalCode.isna().sum() == 7
    assert codes.str.startswith("0").sum() >= 5
    assert codes.str.contains("[A-Z]").sum() >= 10
    assert (codes != codes.str.strip()).sum() == 1
    cities = customers.groupby("postalCode").city.nunique()
    assert sorted(cities[cities > 1]) == [2, 2, 4]
    assert set(customers.country[customers.country.str.contains("Norway")]) == {"Norway", "Norway  "}
    assert (customers.city == "Auckland  ").sum() == 2
    assert (customers.contactFirstName != customers.contactFirstName.str.strip()).sum() == 44
    assert customers.customerName.str.contains(r"[^\x00-\x7f]").sum() >= 3
    assert products.productDescription.str.contains("\n").sum() == 7
    assert shop["productlines"].htmlDescription.str.contains("\r\n").all()
    assert shop["productlines"].image.map(lambda image: image[:2]).eq(b"BM").all()


def test_customers_pay_at_most_what_they_ordered_and_after_it_was_shipped(shop: Frames, lines: pd.DataFrame) -> None:
    payments = shop["payments"].assign(cents=shop["payments"].amount.map(in_cents))
    ordered = lines.groupby("customerNumber").cents.sum()
    paid = payments.groupby("customerNumber").cents.sum()
    assert (paid <= ordered[paid.index]).all()
    assert 0.78 < paid.sum() / ordered.sum() < 0.95
    first_shipped = shop["orders"].dropna(subset="shippedDate").groupby("customerNumber").shippedDate.min()
    assert (payments.paymentDate > payments.customerNumber.map(first_shipped)).all()
    assert payments.paymentDate.max() <= date(2005, 5, 31)
    totals = lines.groupby(["customerNumber", "orderNumber"]).cents.sum().groupby("customerNumber").apply(set)
    exact = [row.cents in totals[row.customerNumber] for row in payments.itertuples()]
    assert 0.88 < sum(exact) / len(exact) < 1


def test_staff_report_upwards_to_one_president_and_sell_in_their_customers_territory(shop: Frames) -> None:
    employees = shop["employees"].set_index("employeeNumber")
    assert employees[employees.reportsTo.isna()].jobTitle.tolist() == ["President"]
    boss = employees.reportsTo.dropna()
    assert (boss < boss.index).all()
    customers = shop["customers"].dropna(subset="salesRepEmployeeNumber")
    assert len(customers) == 100
    territory = employees.officeCode.map(shop["offices"].set_index("officeCode").territory)
    assert (employees.jobTitle[customers.salesRepEmployeeNumber] == "Sales Rep").all()
    american = customers.salesRepEmployeeNumber.map(territory) == "NA"
    assert (american == customers.country.isin(["USA", "Canada"])).all()


def test_a_hundred_fold_shop_keeps_the_proportions() -> None:
    shop = NewShop(ShopPlan.make(100))
    orders = pa.Table.from_batches(shop.batches("orders"))
    status = {row["values"]: row["counts"] for row in pc.value_counts(orders["status"]).to_pylist()}
    assert {status["Cancelled"], status["Resolved"], status["Disputed"]} == {600, 400, 300}
    assert pc.count_distinct(orders["customerNumber"]).as_py() == 9_800
    customers = pa.Table.from_batches(shop.batches("customers"))
    assert customers["postalCode"].null_count == 700
    # Ten codes to a city: a larger shop has more places, and codes that are shared still are.
    assert pc.count_distinct(customers["postalCode"]).as_py() > 500
