"""The warehouse in Python: the cookbook's and the notebook's answers are those of pandas and the order system."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from classic_cars import warehouse
from classic_cars.contracts.metrics import CUSTOMER, summed
from classic_cars.errors import QuestionError, StoreError, TableMissing
from classic_cars.settings import Settings
from classic_cars_tests.notebooks import notebook
from classic_cars_tests.platform import order_system_frames, run, swapped

PAGE = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text()
COOKBOOK = dict(re.findall(r"^### (\d+)\. .*?^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))


@pytest.fixture(scope="module")
def settings(published_home: Path) -> Settings:
    return Settings(home=published_home)


@pytest.fixture
def release(settings: Settings) -> Iterator[warehouse.OpenRelease]:
    with warehouse.open(settings=settings) as opened:
        yield opened


# The same answers, from the order system ------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines(settings: Settings) -> pd.DataFrame:
    """Order lines with everything that the questions need beside them; exact numbers."""
    frames = order_system_frames(settings.order_system_url)
    staff = frames["employees"][["employeeNumber", "officeCode"]].merge(
        frames["offices"][["officeCode", "city"]], on="officeCode", validate="m:1"
    )
    homes = frames["customers"].merge(
        staff.rename(columns={"city": "officeCity", "employeeNumber": "salesRepEmployeeNumber"}),
        on="salesRepEmployeeNumber",
        how="left",
        validate="m:1",
    )
    rows = (
        frames["orderdetails"]
        .merge(frames["orders"], on="orderNumber", validate="m:1")
        .merge(homes, on="customerNumber", validate="m:1")
        .merge(frames["products"], on="productCode", validate="m:1")
    )
    rows["country"] = rows["country"].str.strip()
    rows["MSRP"] = rows["MSRP"].map(lambda value: Decimal(str(value)).quantize(Decimal("0.01")))
    rows["month"] = [str(day)[:7] for day in rows["orderDate"]]
    rows["amount"] = rows["quantityOrdered"] * rows["priceEach"]
    rows["cost"] = rows["quantityOrdered"] * rows["buyPrice"]
    rows["list"] = rows["quantityOrdered"] * rows["MSRP"]
    return rows


def sold(lines: pd.DataFrame) -> pd.DataFrame:
    return lines[lines["status"] != "Cancelled"]


def net(lines: pd.DataFrame, by: str) -> dict[Any, Decimal]:
    """Net sales by group, also of groups in which everything was cancelled."""
    return {name: total(sold(group)["amount"]) for name, group in lines.groupby(by)}


def total(values: pd.Series) -> Decimal:
    return sum(values, Decimal("0.00"))


def share(part: Decimal, whole: Decimal) -> Decimal:
    return (part / whole).quantize(Decimal("0.00000001"), ROUND_HALF_UP)


def orders(lines: pd.DataFrame) -> int:
    return int(lines["orderNumber"].nunique())


def best_customers(lines: pd.DataFrame) -> list[tuple[Any, Decimal]]:
    return sorted(net(lines, "customerNumber").items(), key=lambda each: (-each[1], each[0]))[:10]


def product_lines(lines: pd.DataFrame) -> list[tuple[Any, ...]]:
    found = []
    for name, group in lines.groupby("productLine"):
        kept = sold(group)
        profit = total(kept["amount"]) - total(kept["cost"])
        found.append((name, total(kept["amount"]), profit, share(profit, total(kept["amount"]))))
    return found


def quarters(lines: pd.DataFrame) -> list[tuple[Any, ...]]:
    now, before = (lines[lines["month"].isin([f"2003-0{n}" for n in of])] for of in ((4, 5, 6), (1, 2, 3)))
    found: list[Any] = []
    for of in (lambda rows: total(sold(rows)["amount"]), orders):
        change = of(now) - of(before)
        found += [of(now), of(before), change, share(Decimal(change), Decimal(of(before)))]
    return [tuple(found)]


def offices(lines: pd.DataFrame) -> list[tuple[Any, ...]]:
    cars = lines[lines["productLine"] == "Classic Cars"]
    groups = cars.groupby(["officeCode", "officeCity"], dropna=False)
    found = [(*name, total(sold(group)["amount"]), orders(group)) for name, group in groups]
    return [tuple(None if pd.isna(value) else value for value in row) for row in found]


def discounts(lines: pd.DataFrame) -> list[tuple[Any, ...]]:
    found = []
    for name, group in sold(lines).groupby("productLine"):
        off = total(group["list"]) - total(group["amount"])
        found.append((name, share(off, total(group["list"])), off))
    return found


def largest(lines: pd.DataFrame) -> list[tuple[Any, ...]]:
    found = [
        (number, total(group["amount"]), int(group["quantityOrdered"].sum()))
        for number, group in lines.groupby("orderNumber")
    ]
    return sorted(found, key=lambda each: (-each[1], each[0]))[:5]


EXPECTED: dict[str, Callable[[pd.DataFrame], Any]] = {
    "1": product_lines,
    "2": lambda lines: [
        (name, total(group["amount"]), total(sold(group)["amount"]), orders(group))
        for name, group in lines.groupby("country")
    ],
    "3": lambda lines: [
        (name, total(sold(group)["amount"]), int(group["quantityOrdered"].sum()))
        for name, group in lines.groupby("month")
    ],
    "4": quarters,
    "5": best_customers,
    "6": lambda lines: sum(amount for _, amount in best_customers(lines)) / total(sold(lines)["amount"]),
    "7": offices,
    "8": discounts,
    "9": largest,
}


def scales(settings: Settings) -> list[tuple[Any, ...]]:
    frames = order_system_frames(settings.order_system_url)
    ordered = set(frames["orderdetails"]["productCode"])
    groups = frames["products"].groupby("productScale")["productCode"]
    return [(scale, len(codes), len(set(codes) & ordered)) for scale, codes in groups]


def plain(answer: Any) -> Any:
    """The rows of an answer, whatever it came as; missing values as None."""
    if isinstance(answer, pa.Table):
        answer = answer.to_pandas()
    if isinstance(answer, pl.DataFrame):
        return answer.rows()
    if not isinstance(answer, pd.DataFrame):
        return answer
    rows = [tuple(None if pd.isna(value) else value for value in row) for row in answer.itertuples(index=False)]
    return sorted(rows, key=lambda row: str(row[:2])) if "officeCity" in answer.columns else rows


def expected(number: str, lines: pd.DataFrame, settings: Settings) -> Any:
    found = scales(settings) if number == "10" else EXPECTED[number](lines)
    return sorted(found, key=lambda row: str(row[:2])) if number == "7" else found


def same(number: str, answer: Any, lines: pd.DataFrame, settings: Settings) -> bool:
    rows, wanted = plain(answer), expected(number, lines, settings)
    if number == "5":  # the number, the name and the amount
        rows = [(row[0], row[2]) for row in rows]
    assert rows == wanted, number
    return True


@pytest.mark.parametrize("number", COOKBOOK)
def test_the_cookbook_is_right(release: warehouse.OpenRelease, lines: pd.DataFrame, settings: Settings, number: str):
    told: dict[str, Any] = {"release": release}
    exec(COOKBOOK[number], told)
    assert same(number, told["answer"], lines, settings)


def test_the_cookbook_has_ten_questions_and_opens_a_release(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    assert list(COOKBOOK) == [str(number) for number in range(1, 11)]
    monkeypatch.setenv("CLASSIC_CARS_HOME", str(settings.home))
    (first, *_) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    told: dict[str, Any] = {}
    exec(first, told)
    assert len(told["answer"]) > 5


def test_a_wrong_answer_would_be_found(release: warehouse.OpenRelease, lines: pd.DataFrame, settings: Settings):
    answer = release.metrics("bookedAmount", by="country").to_pandas()
    answer["netSales"], answer["orders"] = answer["bookedAmount"], 1
    with pytest.raises(AssertionError):
        same("2", answer, lines, settings)


# The release ----------------------------------------------------------------------------------------------


def test_a_release_says_its_number_its_age_and_its_proof(release: warehouse.OpenRelease, lines: pd.DataFrame):
    assert release.number == 1
    assert timedelta(0) <= release.age < timedelta(days=1)
    assert f"{len(lines):,} published, {total(lines['amount']):,.2f}; quarantined 0" in release.proof[0]
    assert str(release).startswith("release 1, ")
    assert release.proof[0] in str(release)
    assert "analytics.sales_by_country" in release.tables


def test_tables_come_as_ibis_pandas_polars_and_arrow(release: warehouse.OpenRelease, lines: pd.DataFrame):
    table = release.table("warehouse.fact_orders")
    assert isinstance(table, ibis.Table)
    amounts = [
        table.to_pandas()["orderAmount"].sum(),
        table.to_polars()["orderAmount"].sum(),
        sum(table.to_pyarrow()["orderAmount"].to_pylist()),
        release.sql("SELECT sum(orderAmount) AS amount FROM warehouse.fact_orders").to_pylist()[0]["amount"],
    ]
    assert amounts == [total(lines["amount"])] * 4


def test_metrics_come_in_batches_as_they_come_whole(release: warehouse.OpenRelease, lines: pd.DataFrame):
    rows = release.metrics("units,stars,netSales", by="year")
    assert rows.to_pyarrow_batches().read_all().to_pylist() == rows.to_pyarrow().to_pylist()
    (year,) = rows.to_pyarrow_batches().read_all().to_pylist()
    units = int(lines["quantityOrdered"].sum())
    assert year == {"year": 2003, "units": units, "stars": 0, "netSales": total(sold(lines)["amount"])}


def test_nothing_can_be_written_and_errors_say_what_there_is(release: warehouse.OpenRelease):
    with pytest.raises(StoreError, match="read-only"):
        release.sql("DROP TABLE warehouse.fact_orders")
    with pytest.raises(TableMissing, match=r"is not in release 1, which has .*warehouse.fact_orders"):
        release.table("staging.orders")
    with pytest.raises(QuestionError, match="did you mean netSales"):
        release.metrics("netSale")
    with pytest.warns(UserWarning, match="there is no country 'Frence'; did you mean France?"):
        assert release.metrics("units", where="country=Frence").to_pyarrow().to_pylist() == [{"units": 0}]
    with pytest.raises(QuestionError, match=r"top 2\.5: expected a number of rows from 1 on"):
        release.metrics("netSales", by="country", top=2.5)
    year = release.metrics("netSales", by=None, where=None, period=2003).to_pyarrow()
    assert year == release.metrics("netSales", period="2003").to_pyarrow()
    shares = release.metrics("netSales", by="country", top=1, share=True).to_pyarrow().column_names
    assert shares == ["country", "netSales", "netSalesShare"]


def test_a_release_that_is_not_there_is_an_error(settings: Settings, tmp_path: Path):
    with pytest.raises(TableMissing, match="release 99"), warehouse.open(99, settings):
        pass
    nowhere = Settings(home=tmp_path)
    with pytest.raises(TableMissing, match="`classic-cars run` makes one"), warehouse.open(settings=nowhere):
        pass


def test_names_are_described():
    assert warehouse.describe("netSales").startswith("Net sales: the booked amount without cancelled orders")
    assert warehouse.describe("warehouse.dim_locations").startswith("Places of customers")
    assert warehouse.describe("dim_locations") == warehouse.describe("warehouse.dim_locations")
    assert warehouse.describe("warehouse.dim_locations.city") == "City"
    assert warehouse.describe("orders").startswith("Orders")  # a measure, and tables of two layers
    with pytest.raises(QuestionError):
        warehouse.describe("warehouse.nothing")


# The notebook ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown(settings: Settings) -> Mapping[str, Any]:
    return notebook(settings)


def test_the_notebook_asks_the_ten_questions(shown: Mapping[str, Any], lines: pd.DataFrame, settings: Settings):
    names = [
        "product_lines",
        "countries",
        "months",
        "quarter",
        "best",
        "share",
        "offices",
        "discounts",
        "largest",
        "scales",
    ]
    for number, name in enumerate(names, start=1):
        assert same(str(number), shown[name], lines, settings)


def test_the_notebook_shows_the_wrong_answer_beside_the_right_one(shown: Mapping[str, Any], lines: pd.DataFrame):
    """Each line as often as there are places of its postal code, twice over; none without a postal code."""
    places = lines[["postalCode", "city", "state", "country"]].map(lambda text: text.strip() if text else None)
    cities = places.dropna(subset=["postalCode"]).drop_duplicates().groupby("postalCode").size()
    assert max(cities) > 1
    beside = shown["beside"].set_index("country")
    for country, group in lines.groupby("country"):
        assert beside.loc[country, "right"] == total(group["amount"])
    assert (beside["wrong"] > beside["right"]).any()


def joined_by_postal_code(
    monthly_sales_by_customer: ibis.Table, dim_customers: ibis.Table, dim_locations: ibis.Table
) -> ibis.Table:
    """``sales_by_country`` as the notebook's wrong answer makes it."""
    codes = dim_locations.select("postalCode")
    homes = dim_customers.join(dim_locations, "locationKey").select("customerNumber", "postalCode")
    places = homes.join(codes, "postalCode").join(dim_locations.select("postalCode", "country"), "postalCode")
    sales = monthly_sales_by_customer.join(places.select("customerNumber", "country"), "customerNumber")
    return summed(sales, by="country", over=CUSTOMER)


def test_the_check_that_the_notebook_names_stops_the_wrong_answer(shown: Mapping[str, Any], published: Settings):
    table, check = shown["caught_by"]
    ran = run(published, tables=swapped(table, joined_by_postal_code), select=[table])
    assert (table, check) in ran.failed
    assert table not in ran.published
