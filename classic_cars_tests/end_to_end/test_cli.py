"""The command line as a stranger uses it: real processes, exit codes, output."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from classic_cars.settings import Settings
from classic_cars_tests.platform import change

PROGRAM = Path(sys.executable).parent / "classic-cars"


def classic_cars(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
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
    shown = classic_cars(tmp_path, "--help")
    assert shown.returncode == 0
    for command in ("run", "answers", "query", "status", "doctor", "dev", "docs", "shop"):
        assert re.search(rf"^  {command} ", shown.stdout, re.MULTILINE)
    assert "CLASSIC_CARS_SOURCE_URL" in shown.stdout
    assert not any(tmp_path.iterdir())


def test_from_nothing_to_the_answers(tmp_path: Path):
    made = classic_cars(tmp_path, "shop", "create", "--until", "2003-03-31")
    assert made.returncode == 0, made.stderr
    ran = classic_cars(tmp_path, "run")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "published 30 tables for 2003-01..2003-03" in ran.stdout
    assert "warehouse/fact_orders" in ran.stderr
    answers = classic_cars(tmp_path, "answers")
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
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = 0")
    ran = classic_cars(published.home, "run", "--in-memory", "--select", "source/*", "--select", "staging/orderdetails")
    assert ran.returncode == 1
    assert "staging/orderdetails, check quarantine" in ran.stdout
    assert "keep their previous version" in ran.stdout
    assert "error" not in ran.stdout  # a failed check is reported once


def test_months_and_selection_limit_a_run(published: Settings):
    ran = classic_cars(
        published.home, "run", "--in-memory", "--select", "source/orders", "--months", "2003-02..2003-03"
    )
    assert ran.returncode == 0, ran.stdout
    assert "published 1 tables for 2003-02..2003-03" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--months", "2004-13"), "expected a month such as 2004-01"),
        (("run", "--months", "2004-03..2004-01"), "ends before it starts"),
        (("run", "--months", "2002-12..2003-01"), "expected months from 2003-01"),
        (("run", "--months", "2050-01"), "to the current one"),
        (("run", "--select", "warehouse/nonsense"), "no table is called so"),
        (("query", ""), "found 0 SQL statements, expected one"),
        (("query", "SELECT 1; SELECT 2"), "found 2 SQL statements, expected one"),
        (("query", "SELECT * FROM warehouse.nonsense"), "nonsense"),
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


def test_before_the_first_run_readers_are_told_what_to_do(tmp_path: Path):
    for command in (("answers",), ("query", "SELECT 1 FROM analytics.sales_by_month")):
        told = classic_cars(tmp_path, *command)
        assert told.returncode == 1
        assert "classic-cars run" in told.stderr


def test_a_wrong_setting_is_named(tmp_path: Path):
    told = classic_cars(tmp_path, "run", CLASSIC_CARS_STORE_WAIT="soon")
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
