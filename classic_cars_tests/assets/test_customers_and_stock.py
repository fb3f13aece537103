"""Cohorts, balances and stock cover agree with pandas on the order system, and with the metrics of the same names."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from inspect import signature
from typing import Any

import ibis
import pandas as pd
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.serving.metrics import ask as question
from classic_cars.serving.metrics import expression
from classic_cars.settings import Settings
from classic_cars.stores import published as opened
from classic_cars_tests.landed import COUNTED, drop
from classic_cars_tests.platform import ask, change, order_system_frames, run

#: Orders, up to the facts.
ORDERED = ["source/orders", "staging/orders", "warehouse/dim_dates", "warehouse/fact_orders"]
#: What the lines of an order that moved to another month are in, too.
MOVED = ["source/orderdetails", "staging/orderdetails"]
COHORTS, BALANCES, COVER = (f"analytics/{name}" for name in ("customer_cohorts", "customer_balances", "stock_cover"))


def half_up(value: Decimal, digits: str) -> Decimal:
    return value.quantize(Decimal(digits), ROUND_HALF_UP)


def sold_lines(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Order lines that were not cancelled, with their order."""
    lines = frames["orderdetails"].merge(frames["orders"], on="orderNumber", validate="m:1")
    lines["amount"] = [quantity * each for quantity, each in zip(lines.quantityOrdered, lines.priceEach, strict=True)]
    return lines[lines["status"].str.strip().str.lower() != "cancelled"]


# Cohorts -----------------------------------------------------------------------------------------------


def expected_cohorts(frames: dict[str, pd.DataFrame]) -> list[tuple]:
    sold = sold_lines(frames).dropna(subset=["customerNumber"])
    sold = sold.assign(quarter=pd.PeriodIndex(pd.to_datetime(sold["orderDate"]), freq="Q"))
    sold["cohort"] = sold.groupby("customerNumber")["quarter"].transform("min")
    rows = []
    for cohort, of_cohort in sold.groupby("cohort"):
        size = of_cohort["customerNumber"].nunique()
        for quarter in pd.period_range(cohort, sold["quarter"].max(), freq="Q"):
            here = of_cohort[of_cohort["quarter"] == quarter]
            active = here["customerNumber"].nunique()
            days = cohort.start_time.date(), quarter.start_time.date(), (quarter - cohort).n
            share = half_up(Decimal(active) / size, "0.0001")
            orders, net = here["orderNumber"].nunique(), sum(here["amount"], Decimal(0))
            rows.append((*days, size, active, share, orders, net))
    return rows


def cohorts(settings: Settings) -> list[tuple]:
    return ask(settings, "FROM analytics.customer_cohorts ORDER BY cohort, quarter")


def test_cohorts_agree_with_pandas(published: Settings):
    found = cohorts(published)
    assert found == expected_cohorts(order_system_frames(published.order_system_url))
    assert len({row[0] for row in found}) > 1


@pytest.mark.exhaustive
def test_who_only_cancels_is_in_no_cohort_and_a_quarter_without_orders_has_a_row(published: Settings):
    change(
        published.order_system_url,
        # Nobody who bought first in the first quarter buys in the second; one of them never bought at all.
        "UPDATE orders SET status = 'Cancelled' WHERE orderDate BETWEEN '2003-04-01' AND '2003-06-30' OR customerNumber"
        " = (SELECT min(customerNumber) FROM orders)",
    )
    ran = run(published, select=[*ORDERED, "analytics/monthly_sales_by_customer", COHORTS])
    assert ran.success, ran.errors
    found = cohorts(published)
    assert found == expected_cohorts(order_system_frames(published.order_system_url))
    (empty,) = [row for row in found if row[1] == date(2003, 4, 1)]
    assert empty[4:] == (0, 0, 0, 0)
    assert {row[0] for row in found} == {date(2003, 1, 1), date(2003, 7, 1)}


# Balances ----------------------------------------------------------------------------------------------


def expected_balances(frames: dict[str, pd.DataFrame]) -> list[tuple]:
    sold = sold_lines(frames).groupby("customerNumber")["amount"].sum()
    paid = frames["payments"].groupby("customerNumber")["amount"].sum()
    rows = []
    for number, limit in frames["customers"].set_index("customerNumber")["creditLimit"].sort_index().items():
        net, payments = sold.get(number, Decimal(0)), paid.get(number, Decimal(0))
        balance, known = net - payments, not pd.isna(limit)
        used = half_up(max(balance, Decimal(0)) / limit, "0.0001") if known and limit > 0 else None
        rows.append(
            (number, net, payments, balance, limit if known else None, used, balance > limit if known else None)
        )
    return rows


def test_balances_agree_with_pandas_and_with_the_metric(published: Settings):
    change(
        published.order_system_url,
        "UPDATE customers SET creditLimit = NULL WHERE customerNumber = (SELECT min(customerNumber) FROM payments)",
        "UPDATE customers SET creditLimit = 100 WHERE customerNumber = (SELECT max(customerNumber) FROM payments)",
        "UPDATE payments SET amount = 9999999 WHERE rowid = (SELECT max(rowid) FROM payments)",
    )
    made = [f"{layer}/{name}" for layer in ("source", "staging") for name in ("customers", "payments")]
    warehouse = ["dim_customers", "dim_locations", "fact_payments", "fact_orders"]
    ran = run(published, select=[*made, *(f"warehouse/{name}" for name in warehouse), BALANCES])
    assert ran.success, ran.errors
    found = ask(published, "FROM analytics.customer_balances ORDER BY customerNumber")
    assert found == expected_balances(order_system_frames(published.order_system_url))
    assert {row[6] for row in found} == {True, False, None}
    assert min(row[3] for row in found) < 0
    asked = question(["netSales", "payments", "balance"], by=["customer"])
    with opened(published) as store:
        rows = expression(asked, store.read).to_pyarrow().to_pylist()
    measured = {row["customer"]: (row["netSales"], row["payments"], row["balance"]) for row in rows}
    nothing = (Decimal(0), Decimal(0), Decimal(0))
    assert {row[0]: row[1:4] for row in found} == {row[0]: measured.get(row[0], nothing) for row in found}


# Stock -------------------------------------------------------------------------------------------------


def expected_cover(frames: dict[str, pd.DataFrame], counts: dict[str, tuple[int, date]]) -> dict[str, dict[str, Any]]:
    """By product. ``counts``: units at partners, and the day of the latest count."""
    lines = frames["orderdetails"].merge(frames["orders"], on="orderNumber")
    shipped = lines[lines["shippedDate"].notna()]
    last, first = (lines if shipped.empty else shipped)["orderDate"].max(), lines["orderDate"].min()
    months = pd.period_range(first, last, freq="M")[:-1][-12:]
    sold = sold_lines(frames)
    sold = sold.assign(month=pd.PeriodIndex(pd.to_datetime(sold["orderDate"]), freq="M"))
    pace = sold[sold["month"].isin(months)].groupby("productCode")["quantityOrdered"].sum()
    lately = sold.groupby("productCode")["orderDate"].max()
    rows = {}
    stock_of = dict.fromkeys(frames["orderdetails"]["productCode"])
    stock_of |= frames["products"].set_index("productCode")["quantityInStock"].to_dict()
    for product, stock in stock_of.items():
        units, (counted, day) = int(pace.get(product, 0)), counts.get(product, (0, None))
        on_hand = None if stock is None else stock + counted
        rows[product] = {
            "latestOrder": last,
            "monthsCounted": len(months),
            "unitsInStock": stock,
            "unitsAtPartners": counted,
            "countDate": day,
            "unitsOnHand": on_hand,
            "unitsSold": units,
            "unitsPerMonth": half_up(Decimal(units) / len(months), "0.01"),
            "monthsOfCover": (
                half_up(Decimal(max(on_hand, 0)) * len(months) / units, "0.1")
                if units and on_hand is not None
                else None
            ),
            "lastSold": lately.get(product),
        }
    return rows


def cover(settings: Settings) -> dict[str, dict[str, Any]]:
    with opened(settings) as store:
        rows = store.query("FROM analytics.stock_cover").read_all().to_pylist()
    assert all(row.pop("productName") and row.pop("productLine") for row in rows)
    return {row.pop("productCode"): row for row in rows}


def test_stock_cover_agrees_with_pandas(published: Settings):
    first, second, third = (
        code for (code,) in ask(published, "SELECT productCode FROM staging.products ORDER BY 1 LIMIT 3")
    )
    header = "countDate,warehouseCode,productCode,quantityCounted,countedAt"
    counted = [
        (date(2003, 7, 1), "LYO", first, 900),
        (date(2003, 8, 1), "LYO", first, 12),  # the latest of this warehouse
        (date(2003, 6, 1), "OSL", first, 30),
        (date(2003, 8, 2), "OSL", second, 7),
    ]
    lines = [f"{day},{place},{code},{units},{day}T17:00:00Z" for day, place, code, units in counted]
    drop(published, "stock_counts/august.csv", "\n".join([header, *lines, ""]))
    change(
        published.order_system_url,
        f"UPDATE products SET quantityInStock = -40 WHERE productCode = '{second}'",
        f"DELETE FROM orderdetails WHERE productCode = '{third}'",
        "UPDATE orderdetails SET productCode = 'S99_9999' WHERE rowid = (SELECT min(rowid) FROM orderdetails)",
    )
    products = [f"{layer}/products" for layer in ("source", "staging")]
    lines_made = [f"{layer}/orderdetails" for layer in ("source", "staging")]
    ran = run(
        published, select=[*COUNTED, *products, *lines_made, "warehouse/dim_products", "warehouse/fact_orders", COVER]
    )
    assert ran.success, ran.errors
    found = cover(published)
    counts = {first: (42, date(2003, 8, 1)), second: (7, date(2003, 8, 2))}
    assert found == expected_cover(order_system_frames(published.order_system_url), counts)
    assert found[second]["monthsOfCover"] == 0
    assert (found["S99_9999"]["unitsOnHand"], found["S99_9999"]["monthsOfCover"]) == (None, None)
    assert (found[third]["lastSold"], found[third]["monthsOfCover"]) == (None, None)
    assert {row["monthsCounted"] for row in found.values()} == {7}


@pytest.mark.exhaustive
def test_an_order_dated_ahead_does_not_take_the_months_counted_along(published: Settings):
    change(
        published.order_system_url,
        # Typed as of another year, and so not shipped yet; its month is made with all the others.
        "UPDATE orders SET orderDate = date(orderDate, '+1 year'), requiredDate = date(requiredDate, '+1 year'), "
        "shippedDate = NULL, status = 'In Process' WHERE orderNumber = (SELECT max(orderNumber) FROM orders)",
    )
    ran = run(published, months=("2003-01", "2004-12"), select=[*ORDERED, *MOVED, COVER])
    assert ran.success, ran.errors
    found = cover(published)
    assert found == expected_cover(order_system_frames(published.order_system_url), {})
    assert {row["monthsCounted"] for row in found.values()} == {7}
    assert max(str(row["lastSold"]) for row in found.values() if row["lastSold"]) > "2004"


def test_without_orders_no_month_is_counted(published: Settings):
    """Said by the table and by its independent proof, which must not share a mistake."""
    layers = {"fact_orders": "warehouse", "dim_products": "warehouse"}
    with opened(published) as store:
        tables = {
            name: store.query(f"FROM {layers.get(name, 'staging')}.{name}").read_all()
            for name in ("fact_orders", "dim_products", "products", "stock_counts", "orders", "orderdetails")
        }
    for name in ("fact_orders", "orders", "orderdetails"):
        tables[name] = tables[name].slice(0, 0)
    given = {name: ibis.memtable(rows) for name, rows in tables.items()}
    asset = next(each for each in ALL_TABLES if each.address == COVER)
    (proof,) = asset.contract.reconciliations
    made = asset.function(**{name: given[name] for name in asset.inputs})
    given["staging_products"] = given["products"]
    proven = proof.expected(**{name: given[name] for name in signature(proof.expected).parameters})
    for rows in (made, proven):
        found = rows.select("productCode", "monthsCounted", "unitsSold", "latestOrder").to_pyarrow().to_pylist()
        assert len(found) == len(tables["dim_products"]) > 0
        assert {(row["monthsCounted"], row["unitsSold"], row["latestOrder"]) for row in found} == {(0, 0, None)}
