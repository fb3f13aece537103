"""``classic-cars metrics``: questions as analysts type them, of a published shop, in every format."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import zipfile
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from classic_cars.cli.main import main
from classic_cars.contracts.cuts import DIMENSIONS
from classic_cars.contracts.measures import MEASURES
from classic_cars.serving.metrics import ask, expression
from classic_cars.serving.metrics.document import QUESTIONS, TABLES
from classic_cars.settings import Settings
from classic_cars.stores import published as opened
from classic_cars_tests.end_to_end.test_questions import call, lines
from classic_cars_tests.platform import ask as sql
from classic_cars_tests.platform import expected_sales, order_system_frames

BY_COUNTRY = ("metrics", "query", "--measure", "netSales,orders", "--by", "country")


@pytest.mark.parametrize("by", ["country", "productLine"])
def test_metrics_equal_the_order_system(published: Settings, by: str):
    expected = expected_sales(order_system_frames(published.order_system_url), by)
    question = ask(["orders", "units", "bookedAmount", "netSales", "grossProfit"], by=[by])
    with opened(published) as store:
        rows = expression(question, store.read).to_pyarrow().to_pylist()
    assert {row.pop(by): row for row in rows} == expected


def test_the_balance_is_all_sales_less_all_payments(published: Settings):
    (row,) = json.loads(call(published, "metrics", "query", "--measure", "balance", "--format", "json"))
    frames = order_system_frames(published.order_system_url)
    sold = sum((each["netSales"] for each in expected_sales(frames, "country").values()), Decimal(0))
    assert Decimal(str(row["balance"])) == sold - sum(frames["payments"]["amount"], Decimal(0))


def test_every_format_holds_the_same_rows(published: Settings, tmp_path: Path):
    expected = sql(
        published,
        "SELECT country, netSales, orders FROM analytics.sales_by_country ORDER BY country",
    )
    for kind in ("csv", "json", "xlsx", "parquet"):
        call(published, *BY_COUNTRY, "--output", str(tmp_path / f"sales.{kind}"))
    assert [tuple(row.values()) for row in pq.read_table(tmp_path / "sales.parquet").to_pylist()] == expected
    rows = [tuple(each.values()) for each in json.loads((tmp_path / "sales.json").read_text())]
    assert [(name, Decimal(str(net)), orders) for name, net, orders in rows] == expected
    found = csv.reader(io.StringIO((tmp_path / "sales.csv").read_text()))
    assert list(found)[1:] == [[name, str(net), str(orders)] for name, net, orders in expected]
    assert (tmp_path / "sales.xlsx").read_bytes()[:2] == b"PK"


@pytest.mark.parametrize("more", [(), ("--by", "year"), ("--by", "year", "--period", "2003", "--compare", "year")])
def test_every_measure_is_what_it_says_in_every_form(published_home: Path, tmp_path: Path, more: tuple[str, ...]):
    def query(*form: str) -> str:
        asked = ("metrics", "query", "--measure", ",".join(MEASURES), *more, *form)
        return call(Settings(home=published_home), *asked)

    for kind in ("xlsx", "parquet"):
        query("--output", str(tmp_path / f"all.{kind}"))
    table = pq.read_table(tmp_path / "all.parquet")
    (row,) = table.to_pylist()
    counts = {name for name, each in MEASURES.items() if each.unit.format == ",d"}
    assert {name for name in MEASURES if pa.types.is_int64(table.schema.field(name).type)} == counts
    assert f"{row['units']:,d}" in query().split()
    as_json, as_csv = query("--format", "json"), query("--format", "csv")
    assert {name: type(value) for name, value in json.loads(as_json)[0].items() if name in counts | {"year"}} == {
        name: int for name in row if name in counts | {"year"}
    }
    assert json.loads(as_json, parse_float=Decimal) == [row]
    assert list(csv.DictReader(io.StringIO(as_csv))) == [
        {name: "" if value is None else str(value) for name, value in row.items()}
    ]
    with zipfile.ZipFile(tmp_path / "all.xlsx") as book:
        cells = re.findall(r"<v>([^<]*)</v>", book.read("xl/worksheets/sheet1.xml").decode())
    digits = [Decimal(f"{float(each):.15g}") for each in cells]  # as many as Excel shows
    assert digits == [value for value in row.values() if value is not None]


def test_numbers_for_people_and_what_they_mean(published: Settings):
    asked = ("--measure", "netSales,margin", "--by", "year", "--period", "2003", "--compare", "year")
    shown = call(published, "metrics", "query", *asked)
    net, profit = sql(published, "SELECT sum(netSales), sum(grossProfit) FROM analytics.sales_by_month")[0]
    amounts = [f"{net:,.2f}", "0.00", f"+{net:,.2f}", "–"]
    assert ["2003", *amounts, f"{profit / net:.1%}", "–", "–"] in lines(shown)
    assert "netSales: Net sales: the booked amount without cancelled orders, in USD" in shown


def test_days_that_are_compared_are_days_and_shares_lie_points_apart(published: Settings, tmp_path: Path):
    asked = ("metrics", "query", "--measure", "netSales,margin", "--by", "date", "--period", "2003-02")
    days, compared = tmp_path / "days.parquet", tmp_path / "compared.parquet"
    call(published, *asked, "--output", str(days))
    call(published, *asked, "--compare", "before", "--output", str(compared))
    alone, beside = pq.read_table(days), pq.read_table(compared)
    assert pa.types.is_date(beside.schema.field("date").type)
    assert set(alone["date"].to_pylist()) <= set(beside["date"].to_pylist())
    in_all = ("metrics", "query", "--measure", "margin", "--period", "2003-02", "--compare", "before")
    (row,) = json.loads(call(published, *in_all, "--format", "json"), parse_float=Decimal)
    assert row["marginChange"] == row["margin"] - row["marginBefore"]
    points = f"{100 * row['marginChange']:+.1f}"
    assert [f"{row['margin']:.1%}", f"{row['marginBefore']:.1%}", points, "pts"] in lines(call(published, *in_all))


def test_a_period_that_is_not_over_is_said_where_it_is_compared(published: Settings):
    ((last,),) = sql(published, "SELECT max(orderDate) FROM warehouse.fact_orders")

    def said(*more: str) -> str:
        asked = ("metrics", "query", "--measure", "units", "--format", "json", *more)
        result = CliRunner().invoke(main, asked, env={"CLASSIC_CARS_HOME": str(published.home)})
        assert result.exit_code == 0
        return result.stderr

    assert f"is not over: the latest day is {last}, and it is compared with all of 2002-01-01..2002-12-31" in said(
        "--period", "2003", "--compare", "year"
    )
    ((paid,),) = sql(published, "SELECT max(paymentDate) FROM warehouse.fact_payments")
    both = said("--measure", "payments", "--period", "2003", "--compare", "year")
    assert paid != last
    assert f"the latest day is {max(last, paid)}," in both
    assert "2009-01-01..2009-12-31 has nothing yet" in said("--period", "2009", "--compare", "before")
    for more in (("--period", "2003"), ("--period", f"2003-01-01..{last}", "--compare", "year")):
        assert "latest day" not in said(*more)


def test_top_customers(published: Settings):
    asked = ("--measure", "netSales", "--by", "customer", "--top", "3", "--format", "json")
    rows = json.loads(call(published, "metrics", "query", *asked))
    best = sql(
        published,
        "SELECT customerNumber, customerName, sum(orderAmount) FILTER (status <> 'Cancelled') AS net "
        "FROM warehouse.fact_orders JOIN warehouse.dim_customers USING (customerNumber) "
        "GROUP BY ALL ORDER BY net DESC, 1 LIMIT 3",
    )
    assert [(row["customer"], row["customerName"], Decimal(str(row["netSales"]))) for row in rows] == best


def test_the_questions_of_the_page_have_answers(published: Settings):
    """The year of the page is one that the shop of the demo has; this one has another."""
    for words in QUESTIONS.values():
        asked = shlex.split(words.replace("2004", "2003"))
        rows = json.loads(call(published, "metrics", "query", *asked, "--format", "json"))
        assert rows or "ratings" in words, words  # of which no file has landed in this shop
    for name in TABLES.values():
        assert json.loads(call(published, "query", f"FROM analytics.{name}", "--format", "json")), name


def test_shares_are_of_everything_and_not_of_the_top(published: Settings):
    asked = ("--measure", "netSales", "--by", "country", "--top", "2", "--share", "--format", "json")
    rows = json.loads(call(published, "metrics", "query", *asked))
    sold = {name: each["netSales"] for name, each in frames_sales(published).items()}
    best = sorted(sold, key=lambda name: -sold[name])[:2]
    share = {name: (sold[name] / sum(sold.values())).quantize(Decimal("0.00000001"), ROUND_HALF_UP) for name in best}
    assert {row["country"]: Decimal(str(row["netSalesShare"])) for row in rows} == share


def frames_sales(settings: Settings) -> dict[str, dict[str, Decimal]]:
    return expected_sales(order_system_frames(settings.order_system_url), "country")


def test_a_value_that_nothing_has_is_said_beside_the_answer(published: Settings):
    asked = ("metrics", "query", "--measure", "units", "--where", "country=Frence", "--format", "json")
    result = CliRunner().invoke(main, asked, env={"CLASSIC_CARS_HOME": str(published.home)})
    assert (result.exit_code, json.loads(result.stdout)) == (0, [{"units": 0}])
    assert "there is no country 'Frence'; did you mean France?" in result.stderr


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--by", "country", "--period", "1999"), "no rows: there is nothing in 1999-01-01..1999-12-31"),
        (("--by", "month", "--where", "year>2030"), "no rows: there is nothing of which all filters hold"),
        (
            ("--by", "month", "--where", "country=USA", "--where", "year<2000", "--period", "2003"),
            "no rows: there is nothing in 2003-01-01..2003-12-31 of which all filters hold",
        ),
    ],
)
def test_an_answer_without_rows_says_so(published: Settings, asked: tuple[str, ...], said: str):
    question = ("metrics", "query", "--measure", "units", *asked)
    result = CliRunner().invoke(main, question, env={"CLASSIC_CARS_HOME": str(published.home)})
    assert (result.exit_code, said in result.stderr.splitlines()) == (0, True)


def test_everything_is_listed_and_described(tmp_path: Path):
    nothing = Settings(home=tmp_path)
    listed = {line[0] for line in lines(call(nothing, "metrics", "list"))}
    assert {*MEASURES, *DIMENSIONS} <= listed
    described = call(nothing, "metrics", "describe", "margin")
    assert "not additive: grossProfit divided by costedSales" in described
    assert "owner: team:analytics" in described
    assert "did you mean margin?" in call(nothing, "metrics", "describe", "margn", status=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--measure", "netSale"), "did you mean netSales?"),
        (("--measure", "payments", "--by", "vendor"), "payments cannot be cut by vendor; it can by date"),
        (("--measure", "netSales", "--where", "country~USA"), "filter 'country~USA': expected"),
        (("--measure", "netSales", "--period", "soon"), "period 'soon': expected a year 2004"),
    ],
)
def test_a_wrong_question_is_refused_before_anything_is_opened(tmp_path: Path, arguments: tuple[str, ...], said: str):
    shown = call(Settings(home=tmp_path), "metrics", "query", *arguments, status=1)
    assert said in " ".join(shown.split())
    assert not list(tmp_path.iterdir())


def test_a_warehouse_that_is_not_there_says_what_to_do(tmp_path: Path):
    shown = call(Settings(home=tmp_path), "metrics", "query", "--measure", "netSales", status=1)
    assert "classic-cars run" in shown
