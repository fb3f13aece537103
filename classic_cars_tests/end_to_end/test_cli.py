"""The command line as a stranger uses it: real processes, exit codes, output."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.instance import open_instance
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars.tables.run_tags import ACCEPT_SHRINK
from classic_cars_tests.command_line import PROGRAM, classic_cars
from classic_cars_tests.platform import ask, change, order_system_frames


def installed(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The installed program, from its first line on; other tests fork one that has imported its libraries."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLASSIC_CARS_")}
    return subprocess.run(
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        env={**clean, "CLASSIC_CARS_HOME": str(home), **environment},
        timeout=120,
        check=False,
    )


def test_help_names_every_command_and_where_to_start(tmp_path: Path):
    shown = installed(tmp_path, "--help")
    assert shown.returncode == 0
    for command in (
        "run",
        "answers",
        "metrics",
        "tables",
        "describe",
        "query",
        "status",
        "doctor",
        "dev",
        "docs",
        "shop",
    ):
        assert re.search(rf"^  {command} ", shown.stdout, re.MULTILINE)
    assert "CLASSIC_CARS_SOURCE_URL" in shown.stdout
    assert not any(tmp_path.iterdir())


def test_from_nothing_to_the_answers(tmp_path: Path):
    made = classic_cars(tmp_path, "shop", "create", "--until", "2003-03-31")
    assert made.returncode == 0, made.stderr
    ran = installed(tmp_path, "run")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert re.fullmatch(
        rf"run [0-9a-f-]{{36}}: succeeded; {len(ALL_TABLES)} tables published for 2003-01..2003-03, "
        r"[\d,]+ rows in \d+\.\d s",
        ran.stdout.splitlines()[-1],
    )
    assert re.search(rf"^{len(ALL_TABLES)} of {len(ALL_TABLES)} steps, \d:\d\d: ", ran.stderr, re.MULTILINE)
    assert "warehouse/fact_orders" in ran.stderr
    answers = installed(tmp_path, "answers")
    assert "Which product lines are more successful?" in answers.stdout
    assert "Classic Cars" in answers.stdout
    assert "USA" in answers.stdout
    status = classic_cars(tmp_path, "status")
    assert "5 passed" in status.stdout
    assert "never published" not in status.stdout
    doctor = classic_cars(tmp_path, "doctor")
    assert doctor.returncode == 0
    assert "1 runs" in doctor.stdout or "1 run" in doctor.stdout


def test_a_failed_check_is_shown_and_makes_the_exit_code_1(published: Settings):
    shelf = open_store(published, read_only=True).shelf
    (number,) = shelf.numbers()
    told = re.sub(
        r'"made": "[^"]+"', f'"made": "{datetime.now(UTC) + timedelta(minutes=1):%FT%TZ}"', shelf.read(number) or ""
    )
    shelf.remove(number)
    assert shelf.add(number, told)  # no release of this run, however new
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = 0")
    ran = classic_cars(published.home, "run", "--in-memory", "--select", "source/*", "--select", "staging/orderdetails")
    assert ran.returncode == 1
    assert "staging/orderdetails, check quarantine" in ran.stdout
    assert "kept the previous version: staging/orderdetails" in ran.stdout
    assert "error" not in ran.stdout  # a failed check is reported once
    lines, payments, last = ran.stdout.splitlines()[-3:]
    assert ": failed; 10 tables published" in last
    assert re.match(r"order lines: [\d,]+ published, .*; NOT BALANCED in 2003-01, .* more than in source", lines)
    assert payments == complete(published, "payments")


def complete(settings: Settings, subject: str) -> str:
    """The line of a subject of which all is published, from the order system itself."""
    frames = order_system_frames(settings.order_system_url)
    lines, payments = frames["orderdetails"], frames["payments"]
    amounts = lines["quantityOrdered"] * lines["priceEach"] if subject == "order lines" else payments["amount"]
    everything = f"{len(amounts):,}", f"{sum(amounts):,.2f}"
    return (
        f"{subject}: {everything[0]} published, {everything[1]}; quarantined 0, 0.00; "
        f"source {everything[0]}, {everything[1]}"
    )


def test_a_run_ends_with_what_is_published_and_quarantined_even_if_nothing_is(published: Settings):
    ran = classic_cars(published.home, "run", "--in-memory", "--select", "source/*")
    assert ran.returncode == 0, ran.stderr
    expected = [complete(published, "order lines"), complete(published, "payments")]
    assert ran.stdout.splitlines()[-3:-1] == expected
    assert "contradict" not in ran.stderr
    assert classic_cars(published.home, "status").stdout.splitlines()[-2:] == expected
    answers = classic_cars(published.home, "answers").stdout.splitlines()
    assert answers.count(expected[0]) == 2
    totals = [number for number, line in enumerate(answers) if line.strip().startswith("total ")]
    assert [number for number, line in enumerate(answers) if line == expected[0]] == [each + 2 for each in totals]


@pytest.mark.exhaustive
def test_quarantined_rows_are_in_every_answer(published: Settings):
    lines = order_system_frames(published.order_system_url)["orderdetails"]
    bad = lines.iloc[0]
    change(
        published.order_system_url,
        "UPDATE orderdetails SET quantityOrdered = -1 "
        f"WHERE orderNumber = {bad.orderNumber} AND productCode = '{bad.productCode}'",
    )
    ran = classic_cars(published.home, "run", "--in-memory")
    assert ran.returncode == 0, ran.stdout
    kept = sum(lines["quantityOrdered"] * lines["priceEach"]) - bad["quantityOrdered"] * bad["priceEach"]
    said = f"order lines: {len(lines) - 1:,} published, {kept:,.2f}; quarantined 1, {-bad['priceEach']:,.2f} (in 2003-"
    assert said in ran.stdout
    assert classic_cars(published.home, "answers").stdout.count(said) == 2
    assert said in classic_cars(published.home, "status").stdout


def test_tables_that_contradict_each_other_are_not_released_and_without_a_release_every_answer_says_so(
    published: Settings,
):
    before = ask(published, "SELECT sum(bookedAmount) FROM analytics.sales_by_product_line")[0][0]
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = quantityOrdered + 10")
    ran = classic_cars(published.home, "run", "--in-memory", "--select", "+sales_by_country")
    assert ran.returncode == 0, ran.stdout
    lines = order_system_frames(published.order_system_url)["orderdetails"]
    after = sum(lines["quantityOrdered"] * lines["priceEach"])
    sides = re.compile(
        rf"bookedAmount {before:,.2f}.* in analytics/sales_by_product_line, "
        rf"analytics/sales_by_month, but .*bookedAmount {after:,.2f}.* in analytics/sales_by_country, "
        r"warehouse/fact_orders; .*`classic-cars run`"
    )
    assert sides.search(ran.stderr)
    sql = "SELECT sum(bookedAmount) AS booked FROM analytics.sales_by_country"
    questions = [
        ("answers",),
        *(("query", sql, "--format", form) for form in ("csv", "json")),
        ("metrics", "query", "--measure", "bookedAmount", "--format", "csv"),
    ]
    answers, as_csv, as_json, by_metric = (classic_cars(published.home, *each) for each in questions)
    assert f"{before:,.2f}" in answers.stdout
    assert f"{after:,.2f}" not in answers.stdout
    assert as_csv.stdout == f'"booked"\n{before}\n'
    assert json.loads(as_json.stdout) == [{"booked": float(before)}]
    assert by_metric.stdout == f'"bookedAmount"\n{before}\n'
    for asked in (answers, as_csv, as_json, by_metric):
        assert asked.returncode == 0
        assert "newer tables are not released" in asked.stderr
        assert sides.search(asked.stderr)
    shutil.rmtree(published.home / "store" / "releases")
    answers, as_csv, as_json, by_metric = (classic_cars(published.home, *each) for each in questions)
    assert f"{before:,.2f}" in answers.stdout
    assert f"{after:,.2f}" in answers.stdout
    assert as_csv.stdout == f'"booked"\n{after}\n'
    assert json.loads(as_json.stdout) == [{"booked": float(after)}]
    assert by_metric.stdout == f'"bookedAmount"\n{after}\n'
    for asked in (answers, as_csv, as_json, by_metric):
        assert asked.returncode == 1
        assert sides.search(asked.stderr)
    other = classic_cars(published.home, "query", "SELECT count(*) FROM source.orders")
    assert (other.returncode, other.stderr) == (0, "")


def test_a_warning_is_neither_passed_nor_failed(published: Settings):
    change(published.order_system_url, "ALTER TABLE offices ADD COLUMN colour TEXT")
    ran = classic_cars(published.home, "run", "--select", "source/offices", "--select", "source/employees")
    assert ran.returncode == 0, ran.stdout
    assert "warning  source/offices, check schema: " in ran.stdout
    status = classic_cars(published.home, "status").stdout
    assert re.search(r"^ +source/offices .* UTC +warning: schema; \d passed *$", status, re.MULTILINE)
    assert re.search(r"^ +source/employees .* UTC +\d passed *$", status, re.MULTILINE)


@pytest.mark.exhaustive
def test_what_blocks_is_shown_before_warnings(published: Settings):
    change(
        published.order_system_url,
        "ALTER TABLE offices ADD COLUMN colour TEXT",
        "UPDATE orderdetails SET quantityOrdered = 0",
    )
    ran = classic_cars(published.home, "run", "--in-memory")
    assert ran.returncode == 1
    kinds = [line.split()[0] for line in ran.stdout.splitlines()]
    assert kinds.index("failed") < kinds.index("warning")


def test_tables_that_may_shrink_are_a_tag_of_the_run(published: Settings):
    options = ("--accept-shrink", "offices", "--accept-shrink", "source/employees")
    ran = classic_cars(published.home, "run", "--select", "source/offices", "--select", "source/employees", *options)
    assert ran.returncode == 0, ran.stdout
    with open_instance(published) as instance:
        (run,) = instance.get_runs()
    assert run.tags[ACCEPT_SHRINK] == "source/offices,source/employees"


def test_months_and_selection_limit_a_run(published: Settings):
    ran = classic_cars(
        published.home, "run", "--in-memory", "--select", "source/orders", "--months", "2003-02..2003-03"
    )
    assert ran.returncode == 0, ran.stdout
    assert "succeeded; 1 table published for 2003-02..2003-03, " in ran.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--months", "2004-13"), "expected a month such as 2004-01"),
        (("run", "--months", "2004-03..2004-01"), "ends before it starts"),
        (
            ("run", "--months", "2050-01"),
            "--months 2050-01: there are no orders in it; there are months from 2003-01 to 20",
        ),
        (("run", "--accept-shrink", "nonsense"), "--accept-shrink nonsense: no table of the order system; there are"),
        (("run", "--accept-shrink", "orders", "--select", "offices"), "this run does not read source/orders"),
        (("run", "--select", "warehouse/nonsense"), "no table is called so"),
        (("query", ""), "found 0 SQL statements, expected one"),
        (("query", "SELECT 1; SELECT 2"), "found 2 SQL statements, expected one"),
        (("query", "SELECT * FROM warehouse.nonsense"), "nonsense"),
        (("query", "SELECT 1", "--as-of", "3", "--release", "1"), "--as-of and --release exclude each other"),
        (("query", "SELECT 1", "--as-of", "2004-W20"), "found '2004-W20', expected a time such as 2004-06-30T12:00"),
        (("query", "DELETE FROM warehouse.fact_orders"), "read-only"),
        (("query", "SELECT * FROM read_csv('/etc/passwd')"), "disabled"),
    ],
)
def test_mistakes_are_named(published: Settings, arguments: tuple[str, ...], said: str):
    ran = classic_cars(published.home, *arguments)
    assert ran.returncode != 0
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_query_writes_csv_and_json_that_can_be_read_back(published: Settings):
    sql = "SELECT orderMonth, orders, netSales FROM analytics.sales_by_month ORDER BY 1"
    as_csv = list(csv.DictReader(io.StringIO(classic_cars(published.home, "query", sql, "--format", "csv").stdout)))
    as_json = json.loads(classic_cars(published.home, "query", sql, "--format", "json").stdout)
    assert len(as_csv) == len(as_json) == 8
    assert [row["orderMonth"] for row in as_csv] == [row["orderMonth"] for row in as_json]
    assert [float(row["netSales"]) for row in as_csv] == [row["netSales"] for row in as_json]
    assert "2003-01-01" in classic_cars(published.home, "query", sql).stdout


def test_tables_that_no_contract_has_any_more_are_not_listed(published: Settings):
    with duckdb.connect(published.store_path) as connection:
        connection.execute("CREATE TABLE analytics.of_before AS SELECT 1 AS one")
        connection.execute("CREATE TABLE staging.of_before AS SELECT 1 AS one")
    shown = json.loads(classic_cars(published.home, "query", "show tables", "--format", "json").stdout)
    names = [f"{each['layer']}.{each['name']}" for each in shown]
    assert {"analytics.sales_by_month", "source.orders", "staging.of_before"} <= {*names}
    assert "analytics.of_before" not in names
    asked = [classic_cars(published.home, "query", f"SELECT 1 FROM {name}") for name in (names[0], "staging.of_before")]
    assert [each.returncode for each in asked] == [0, 0]


def test_before_the_first_run_readers_are_told_what_to_do(tmp_path: Path):
    for command in (("answers",), ("query", "SELECT 1 FROM analytics.sales_by_month")):
        told = classic_cars(tmp_path, *command)
        assert told.returncode == 1
        assert "classic-cars run" in told.stderr


def test_a_wrong_setting_is_named(tmp_path: Path):
    told = installed(tmp_path, "run", CLASSIC_CARS_STORE_WAIT="soon")
    assert told.returncode == 1
    assert "CLASSIC_CARS_STORE_WAIT" in told.stderr
    secret = classic_cars(tmp_path, "run", CLASSIC_CARS_SOURCE_URL="oracle://me:s3cret@host/db")
    assert secret.returncode == 1
    assert "CLASSIC_CARS_SOURCE_URL" in secret.stderr
    assert "s3cret" not in secret.stderr


def test_doctor_says_what_is_wrong_and_how_to_mend_it(tmp_path: Path):
    told = classic_cars(tmp_path, "doctor", CLASSIC_CARS_SOURCE_URL="postgresql://me:s3cret@127.0.0.1:1/db")
    assert told.returncode == 1
    assert "order system" in told.stdout
    assert "127.0.0.1:1" in told.stdout
    assert "s3cret" not in told.stdout + told.stderr


def test_replace_says_first_what_it_deletes(published: Settings):
    refused = classic_cars(published.home, "shop", "create")
    assert refused.returncode == 1
    assert "--replace" in refused.stderr
    replaced = classic_cars(published.home, "shop", "create", "--replace", "--until", "2003-02-28")
    assert replaced.returncode == 0, replaced.stderr
    assert "deleting orders" in replaced.stderr


def test_a_variable_that_is_no_setting_is_warned_of_with_the_nearest_name(tmp_path: Path):
    told = classic_cars(tmp_path, "docs", "--check", "--folder", str(tmp_path), CLASSIC_CARS_STOER="iceberg")
    assert "warning: CLASSIC_CARS_STOER is no setting and does nothing; did you mean CLASSIC_CARS_STORE?" in told.stderr
    assert "CLASSIC_CARS_STOER" in classic_cars(tmp_path, "doctor", CLASSIC_CARS_STOER="iceberg").stdout
    assert "warning" not in classic_cars(tmp_path, "docs", "--check", CLASSIC_CARS_STORE="duckdb").stderr


def test_docs_writes_in_the_project_or_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    refused = classic_cars(tmp_path / "home", "docs")
    assert refused.returncode == 2
    assert "--folder" in refused.stderr
    assert not (tmp_path / "docs").exists()
    assert classic_cars(tmp_path / "home", "docs", "--folder", "here").returncode == 0
    assert {each.name for each in (tmp_path / "here").iterdir()} == {"data-dictionary.md", "metrics.md"}
    (tmp_path / "project" / "sub").mkdir(parents=True)
    (tmp_path / "project" / "classic_cars" / "contracts").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "sub")
    assert classic_cars(tmp_path / "home", "docs").returncode == 0
    assert (tmp_path / "project" / "docs" / "metrics.md").is_file()
