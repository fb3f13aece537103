"""What analysts type: questions in SQL, from anywhere, in every format; the catalog of tables; what fits a screen."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from classic_cars.cli.main import main
from classic_cars.contracts.warehouse import FactOrders
from classic_cars.settings import Settings
from classic_cars_tests.platform import ask, order_system_frames

MONTHS = "SELECT orderMonth, orders, netSales FROM analytics.sales_by_month ORDER BY 1"


def call(settings: Settings, *arguments: str, typed: str | None = None, status: int = 0, **environment: str) -> str:
    """Standard output, or the error where one is expected."""
    env = {"CLASSIC_CARS_HOME": str(settings.home), **environment}
    result = CliRunner().invoke(main, arguments, input=typed, env=env)
    assert result.exit_code == status, result.output
    return result.stdout if status == 0 else result.stderr


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


def test_questions_that_are_no_select(published: Settings):
    assert ["analytics", "sales_by_month"] in lines(call(published, "query", "show tables;"))
    assert ["netSales", "DECIMAL(18,2)", "YES", "NULL", "NULL", "NULL"] in lines(
        call(published, "query", "DESCRIBE analytics.sales_by_month")
    )
    assert "null_percentage" in call(published, "query", "SUMMARIZE analytics.sales_by_month")
    pivot = "PIVOT warehouse.fact_orders ON status USING count(*) GROUP BY orderNumber"
    statuses = ask(published, "SELECT DISTINCT status FROM warehouse.fact_orders ORDER BY 1")
    found = json.loads(call(published, "query", pivot, "--format", "json"))
    assert sorted(found[0]) == sorted(["orderNumber", *(each for (each,) in statuses)])
    assert len(found) == ask(published, "SELECT count(DISTINCT orderNumber) FROM warehouse.fact_orders")[0][0]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE analytics.sales_by_month",
        "CREATE TEMP TABLE x AS SELECT 1",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/x.csv'",
        "PIVOT analytics.sales_by_month ON orders; DROP TABLE analytics.sales_by_month",
        "SET threads = 1",
        "SELECT * FROM read_text('/etc/hostname')",
        "ATTACH '/tmp/x.db'",
    ],
)
def test_nothing_else_is_carried_out(published: Settings, sql: str):
    assert call(published, "query", sql, status=1).startswith("error: ")


def test_a_table_that_no_release_has_is_named_with_the_nearest(published: Settings):
    said = call(published, "query", "SELECT country FROM analytics.sales_by_countri", status=1)
    assert "table analytics.sales_by_countri does not exist; did you mean analytics.sales_by_country?" in said


def test_a_script_of_another_place_is_not_read(published: Settings, tmp_path: Path):
    (tmp_path / "schema.sql").write_text("SELECT 'read from a file' AS told")
    (tmp_path / "load.sql").write_text("")
    assert "file system operations are disabled" in call(published, "query", f"IMPORT DATABASE '{tmp_path}'", status=1)


@pytest.mark.parametrize("arguments", [("query",), ("query", "-")])
def test_sql_from_standard_input(published: Settings, arguments: tuple[str, ...]):
    assert lines(call(published, *arguments, typed="SELECT 1\n  AS one\n"))[-1] == ["1"]


def test_whole_numbers_have_no_separators_and_money_has(published: Settings):
    number, amount = ask(published, "SELECT max(orderNumber), sum(orderAmount) FROM warehouse.fact_orders")[0]
    shown = call(
        published,
        "query",
        "SELECT max(orderNumber) AS anything, max(year(orderDate)) AS y, sum(orderAmount) AS s, "
        "sum(quantityOrdered) AS q FROM warehouse.fact_orders",
    )
    units = sum(order_system_frames(published.order_system_url)["orderdetails"]["quantityOrdered"])
    assert lines(shown)[-1] == [str(number), "2003", f"{amount:,}", str(units)]
    assert number > 9999


def test_every_format_holds_the_same_rows_and_appears_whole(published: Settings, tmp_path: Path):
    expected = ask(published, MONTHS)
    for kind in ("csv", "json", "xlsx", "parquet"):
        call(published, "query", MONTHS, "--output", str(tmp_path / f"sales.{kind}"))
    with (tmp_path / "sales.csv").open() as file:
        rows = [(date.fromisoformat(m), int(o), Decimal(n)) for m, o, n in list(csv.reader(file))[1:]]
    assert rows == expected
    rows = [
        (date.fromisoformat(each["orderMonth"]), each["orders"], Decimal(str(each["netSales"])))
        for each in json.loads((tmp_path / "sales.json").read_text())
    ]
    assert rows == expected
    assert [tuple(row.values()) for row in pq.read_table(tmp_path / "sales.parquet").to_pylist()] == expected
    with zipfile.ZipFile(tmp_path / "sales.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    values = re.findall(r"<v>([^<]*)</v>", sheet)
    epoch = date(1899, 12, 30)
    assert [(float(a), int(b), Decimal(c)) for a, b, c in zip(*[iter(values)] * 3, strict=True)] == [
        ((day - epoch).days, orders, amount.normalize()) for day, orders, amount in expected
    ]
    assert {each.name for each in tmp_path.iterdir()} == {
        "published",
        *(f"sales.{each}" for each in ("csv", "json", "parquet", "xlsx")),
    }


def test_a_query_that_fails_half_way_leaves_the_file_as_it_was(published: Settings, tmp_path: Path):
    target = tmp_path / "out" / "old.csv"
    target.parent.mkdir()
    target.write_text("old")
    fails = "SELECT CASE WHEN range = 250000 THEN error('broken') ELSE 1 END AS x FROM range(300000)"
    assert "broken" in call(published, "query", fails, "--output", str(target), status=1)
    assert [each.read_text() for each in target.parent.iterdir()] == ["old"]


def test_excel_gets_no_formula_and_loses_no_digit(published: Settings, tmp_path: Path):
    call(published, "query", "SELECT '=1+1' AS a, 12345678901234567890 AS b", "--output", str(tmp_path / "x.xlsx"))
    with zipfile.ZipFile(tmp_path / "x.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "=1+1" in sheet
    assert "12345678901234567890" in sheet


def test_excel_rounds_no_money(published: Settings, tmp_path: Path):
    """Excel keeps 15 significant digits of a number."""
    amounts = ["1234567890123.45", "12345678901234.56", "0.00", "99999999999999999999999999999999999.5"]
    columns = ", ".join(f"{each}::DECIMAL(38, 2) AS a{index}" for index, each in enumerate(amounts[:3]))
    sql = f"SELECT {columns}, {amounts[3]}::DECIMAL(38, 1) AS a3, 0.0000001::DECIMAL(38, 7) AS a4"
    call(published, "query", sql, "--output", str(tmp_path / "x.xlsx"))
    with zipfile.ZipFile(tmp_path / "x.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert [Decimal(each) for each in re.findall(r"<v>([^<]*)</v>", sheet)] == [
        Decimal("1234567890123.45"),
        0,
        Decimal("0.0000001"),
    ]
    assert re.findall(r"<t>([^<a]*)</t>", sheet) == [amounts[1], amounts[3]]


def test_excel_cuts_no_text(published: Settings, tmp_path: Path):
    longest = "SELECT repeat('x', 32767) AS a"
    call(published, "query", longest, "--output", str(tmp_path / "x.xlsx"))
    said = call(published, "query", longest.replace("67", "68"), "--output", str(tmp_path / "y.xlsx"), status=1)
    assert "found a text of 32,768 characters, an Excel cell holds 32,767" in " ".join(said.split())
    assert not (tmp_path / "y.xlsx").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--format", "xlsx"), "goes to a file"),
        (("--output", "x.doc"), "ends in none of .csv, .json, .xlsx, .parquet"),
        (("--output", "/dev/null", "--format", "csv"), "is no file"),
        (("--output", "/nowhere/x.csv"), "/nowhere: there is no such folder"),
        (("--format", "table", "--output", "x.csv"), "a table is for the screen"),
    ],
)
def test_formats_that_do_not_go_together(published: Settings, options: tuple[str, ...], said: str):
    assert said in " ".join(call(published, "query", "SELECT 1", *options, status=2).split())


WIDE = "SELECT * FROM warehouse.fact_orders LIMIT 2"


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1", "COLUMNS": "80", "NO_COLOR": "1"}])
def test_headers_and_values_are_never_cut(published: Settings, environment: dict[str, str]):
    for command in (("query", WIDE), ("describe", "fact_orders")):
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", call(published, *command, **environment))
        for name in FactOrders.to_schema().columns:
            assert name in shown
        assert "…" not in shown
    answers = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", call(published, "answers", **environment))
    assert "…" not in answers
    assert "productLine" in answers
    if environment:
        assert max(len(line) for line in answers.splitlines() if "  " in line) <= 80


def test_the_catalog_of_tables(published: Settings):
    rows = ask(published, "SELECT count(*) FROM warehouse.fact_orders")[0][0]
    shown = call(published, "tables")
    assert re.search(rf"warehouse/fact_orders +{rows:,} .*Order lines with their order", shown)
    assert "quarantine/orderdetails" in shown
    assert "never published" not in shown


@pytest.mark.parametrize("name", ["fact_orders", "warehouse/fact_orders", "warehouse.fact_orders"])
def test_a_table_described_by_any_of_its_names(tmp_path: Path, name: str):
    shown = call(Settings(home=tmp_path), "describe", name)
    assert re.search(r"orderAmount +decimal\(18, 2\) +.*, in USD", shown)
    assert "key: orderNumber, productCode" in shown
    assert "productCode → warehouse/dim_products.productCode" in shown


def test_a_table_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path):
    assert "warehouse/fact_orders" in call(Settings(home=tmp_path), "describe", "nonsense", status=2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fact_order", "found 'fact_order', did you mean warehouse/fact_orders? Tables are source/"),
        (
            "warehouse.fct_orders",
            "found 'warehouse.fct_orders', did you mean warehouse/fact_orders? Tables are source/",
        ),
        ("nonsense", "found 'nonsense'; tables are source/"),
        (
            "offices",
            "'offices' is ambiguous: there are source/offices, staging/offices, quarantine/offices; name the layer too",
        ),
    ],
)
def test_a_table_that_was_meant_is_named_first(tmp_path: Path, name: str, said: str):
    shown = call(Settings(home=tmp_path), "describe", name, status=2, COLUMNS="1000")
    assert said in " ".join(shown.replace("│", " ").split())


def test_columns_of_one_name_all_come_each_with_its_values(published: Settings, tmp_path: Path):
    sql = "SELECT 1 AS a, 'x' AS a, 3 AS a_1, 4 AS a"
    expected = [{"a": 1, "a_2": "x", "a_1": 3, "a_3": 4}]
    assert json.loads(call(published, "query", sql, "--format", "json")) == expected
    call(published, "query", sql, "--output", str(tmp_path / "x.parquet"))
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == expected


def test_csv_of_what_csv_has_no_word_for(published: Settings):
    shown = call(
        published, "query", "SELECT [1, 2] AS a, INTERVAL 1 DAY AS b, NULL AS c, 'x'::BLOB AS d", "--format", "csv"
    )
    (row,) = csv.DictReader(io.StringIO(shown))
    assert row["a"] == "[1, 2]"
    assert row["d"] == "78"
