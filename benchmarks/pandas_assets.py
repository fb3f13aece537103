"""The same 26 tables as pandas assets on ``dagster-duckdb-pandas``' IO manager: Dagster's usual way.

Each asset reads its inputs whole, works in memory and returns a frame that the IO manager writes. No checks.
Money is float (pandas has no decimals to speak of), and column types are whatever DuckDB infers from a frame.
"""

from __future__ import annotations

import calendar
import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import dagster as dg
import pandas as pd
from dagster_duckdb_pandas import DuckDBPandasIOManager

from benchmarks.script import COLUMNS

PLACE = ["postalCode", "city", "state", "country"]
CANCELLED = "Cancelled"


def source_asset(shop: Path, name: str) -> dg.AssetsDefinition:
    """A table of the order system as it is."""
    dates = [column for column, kind in COLUMNS[name].items() if kind == "DATE"]

    @dg.asset(key=["source", name])
    def read() -> pd.DataFrame:
        with closing(sqlite3.connect(f"file:{shop}?mode=ro", uri=True)) as connection:
            return pd.read_sql(f'SELECT * FROM "{name}"', connection, parse_dates=dates)

    return read


def staging_asset(name: str) -> dg.AssetsDefinition:
    """Texts trimmed; an empty one is missing."""

    @dg.asset(key=["staging", name], ins={"rows": dg.AssetIn(["source", name])})
    def trim(rows: pd.DataFrame) -> pd.DataFrame:
        for column, kind in COLUMNS[name].items():
            if kind == "VARCHAR":
                rows[column] = rows[column].str.strip().replace("", None)
        return rows.drop(columns="image", errors="ignore")

    return trim


def made_from(layer: str, **tables: str) -> Callable[[Callable[..., pd.DataFrame]], dg.AssetsDefinition]:
    """Decorator: an asset of ``layer`` whose parameters are tables of these layers."""

    def decorate(function: Callable[..., pd.DataFrame]) -> dg.AssetsDefinition:
        ins = {name: dg.AssetIn([below, name]) for name, below in tables.items()}
        return dg.asset(key=[layer, function.__name__], ins=ins)(function)

    return decorate


def location_keys(places: pd.DataFrame) -> pd.Series:
    """The surrogate key of each row's place; each place is hashed once."""
    joined = places[PLACE].fillna("").agg("\x1f".join, axis=1)
    keys = {each: hashlib.sha256(each.encode()).hexdigest()[:32] for each in joined.unique()}
    return joined.map(keys)


@made_from("warehouse", products="staging", productlines="staging")
def dim_products(products: pd.DataFrame, productlines: pd.DataFrame) -> pd.DataFrame:
    lines = productlines.rename(columns={"textDescription": "productLineDescription"})
    columns = ["productCode", "productName", "productLine", "productScale", "productVendor", "productDescription"]
    return products[columns].merge(lines[["productLine", "productLineDescription"]], how="left", on="productLine")


@made_from("warehouse", customers="staging")
def dim_locations(customers: pd.DataFrame) -> pd.DataFrame:
    places = customers[PLACE].drop_duplicates()
    return places.assign(locationKey=location_keys(places))


@made_from("warehouse", customers="staging")
def dim_customers(customers: pd.DataFrame) -> pd.DataFrame:
    keyed = customers.assign(locationKey=location_keys(customers))
    return keyed.drop(columns=[*PLACE, "salesRepEmployeeNumber"])


@made_from("warehouse", employees="staging", offices="staging")
def dim_employees(employees: pd.DataFrame, offices: pd.DataFrame) -> pd.DataFrame:
    places = offices[["officeCode", "city", "state", "country", "territory"]]
    named = places.rename(columns=lambda name: name if name == "officeCode" else f"office{name.capitalize()}")
    return employees.drop(columns="extension").merge(named, how="left", on="officeCode")


@made_from("warehouse", orders="staging", payments="staging")
def dim_dates(orders: pd.DataFrame, payments: pd.DataFrame) -> pd.DataFrame:
    last = max(orders[["orderDate", "requiredDate", "shippedDate"]].max().max(), payments.paymentDate.max())
    days = pd.Series(pd.date_range(min(orders.orderDate.min(), payments.paymentDate.min()), last))
    iso = days.dt.isocalendar()
    return pd.DataFrame(
        {
            "date": days,
            "year": days.dt.year,
            "quarter": days.dt.quarter,
            "quarterName": days.dt.year.astype(str) + "-Q" + days.dt.quarter.astype(str),
            "month": days.dt.month,
            "monthName": days.dt.month.map(lambda month: calendar.month_name[month]),
            "yearMonth": days.dt.strftime("%Y-%m"),
            "isoYear": iso.year.astype(int),
            "isoWeek": iso.week.astype(int),
            "isoWeekName": days.dt.strftime("%G-W%V"),
            "dayOfMonth": days.dt.day,
            "dayOfWeek": days.dt.dayofweek + 1,
            "dayName": days.dt.day_name(),
            "isWeekend": days.dt.dayofweek >= 5,
        }
    )


@made_from("warehouse", orderdetails="staging", orders="staging", customers="staging", products="staging")
def fact_orders(
    orderdetails: pd.DataFrame, orders: pd.DataFrame, customers: pd.DataFrame, products: pd.DataFrame
) -> pd.DataFrame:
    buyers = customers[["customerNumber", "postalCode", "salesRepEmployeeNumber"]].assign(
        locationKey=location_keys(customers)
    )
    lines = (
        orderdetails.merge(orders, how="left", on="orderNumber")
        .merge(buyers, how="left", on="customerNumber")
        .merge(products[["productCode", "buyPrice", "MSRP"]], how="left", on="productCode")
    )
    return lines.assign(orderAmount=(lines.quantityOrdered * lines.priceEach).round(2))


@made_from("warehouse", payments="staging", customers="staging")
def fact_payments(payments: pd.DataFrame, customers: pd.DataFrame) -> pd.DataFrame:
    buyers = customers[["customerNumber"]].assign(locationKey=location_keys(customers))
    return payments.merge(buyers, how="left", on="customerNumber")


def metrics(lines: pd.DataFrame, by: str) -> pd.DataFrame:
    """The five metrics, per value of column ``by``."""
    sold = lines.status != CANCELLED
    lines = lines.assign(
        sold=lines.orderAmount.where(sold, 0.0),
        profit=(lines.orderAmount - lines.quantityOrdered * lines.buyPrice).where(sold, 0.0),
    )
    return lines.groupby(by, as_index=False).agg(
        orders=("orderNumber", "nunique"),
        units=("quantityOrdered", "sum"),
        bookedAmount=("orderAmount", "sum"),
        netSales=("sold", "sum"),
        grossProfit=("profit", "sum"),
    )


@made_from("analytics", fact_orders="warehouse", dim_products="warehouse")
def sales_by_product_line(fact_orders: pd.DataFrame, dim_products: pd.DataFrame) -> pd.DataFrame:
    return metrics(fact_orders.merge(dim_products[["productCode", "productLine"]], how="left"), "productLine")


@made_from("analytics", fact_orders="warehouse", dim_customers="warehouse", dim_locations="warehouse")
def sales_by_country(
    fact_orders: pd.DataFrame, dim_customers: pd.DataFrame, dim_locations: pd.DataFrame
) -> pd.DataFrame:
    homes = dim_customers[["customerNumber", "locationKey"]].merge(dim_locations[["locationKey", "country"]])
    return metrics(fact_orders.merge(homes[["customerNumber", "country"]], how="left"), "country")


@made_from("analytics", fact_orders="warehouse")
def sales_by_month(fact_orders: pd.DataFrame) -> pd.DataFrame:
    return metrics(fact_orders.assign(orderMonth=fact_orders.orderDate.dt.to_period("M").dt.start_time), "orderMonth")


MADE = [
    dim_products,
    dim_locations,
    dim_customers,
    dim_employees,
    dim_dates,
    fact_orders,
    fact_payments,
    sales_by_product_line,
    sales_by_country,
    sales_by_month,
]


def materialize_everything(shop: Path, target: Path, memory: str) -> None:
    """Make the 26 tables of the shop in the DuckDB file ``target``, in this process, with nothing else kept."""
    assets = [*(source_asset(shop, name) for name in COLUMNS), *map(staging_asset, COLUMNS), *MADE]
    manager = DuckDBPandasIOManager(database=str(target), connection_config={"memory_limit": memory})
    dg.materialize(assets, resources={"io_manager": manager}, instance=dg.DagsterInstance.ephemeral())
