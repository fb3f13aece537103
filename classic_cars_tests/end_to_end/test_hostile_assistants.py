"""Whoever asks an assistant for what it may not have, is told so in a sentence, and finds nothing another way."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from classic_cars.assistants.extract import Extract, Extracts
from classic_cars.assistants.sandbox import Limits, answered
from classic_cars.assistants.server import server
from classic_cars.errors import QuestionError
from classic_cars.settings import Settings
from classic_cars_tests.assistants import Said, asked, tells_nothing
from classic_cars_tests.hostile_sql import BOMBS, HARMLESS, MACHINE, PERSONAL, WRITES


def contents(extract: Extract) -> str:
    """Everything that the extract holds."""
    with duckdb.connect(f"/dev/fd/{extract.file.fileno()}", read_only=True) as copy:
        names = copy.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
        rows = [copy.execute(f"SELECT t::VARCHAR FROM {layer}.{name} t").fetchall() for layer, name in names]
    return "\n".join(row for (row,) in itertools.chain(*rows))


def test_the_extract_holds_no_personal_data(asked_shop: Settings, personal: set[str]):
    assert len(personal) > 300
    held = contents(Extracts(asked_shop).latest())
    assert [each for each in personal if each in held] == []


def test_personal_data_in_the_extract_would_be_found(
    asked_shop: Settings, personal: set[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("classic_cars.assistants.extract.shown_columns", lambda contract: tuple(contract.types.names))
    held = contents(Extracts(asked_shop).latest())
    assert len([each for each in personal if each in held]) > 300


def files(settings: Settings) -> dict[str, int]:
    """Sizes of all files that a statement could have left behind or changed."""
    here = [each for each in Path.cwd().iterdir() if each.is_file()]
    return {str(each): each.stat().st_size for each in (*settings.home.rglob("*"), *here) if each.is_file()}


def sentences(settings: Settings, statements: tuple[str, ...], limits: Limits) -> dict[str, Said]:
    """What is said to each statement; all are asked at once."""
    calls = [("read_only_sql", {"sql": sql}) for sql in statements]
    return dict(zip(statements, asked(server(settings, limits), *calls), strict=True))


def is_a_sentence(answer: Said) -> bool:
    return answer.failed and "\n" not in answer.text.strip() and "cannot answer now" not in answer.text


def test_hostile_sql_is_refused_and_leaves_nothing(asked_shop: Settings, personal: set[str]):
    before = files(asked_shop)
    answers = sentences(asked_shop, WRITES + MACHINE + PERSONAL, Limits())
    assert [sql for sql, answer in answers.items() if not is_a_sentence(answer)] == []
    assert [sql for sql, answer in answers.items() if not tells_nothing(answer, asked_shop, personal)] == []
    assert [sql for sql in PERSONAL if "Did you mean" in answers[sql].text] == []
    assert files(asked_shop) == before


@pytest.mark.exhaustive
def test_curious_sql_finds_nothing(asked_shop: Settings, personal: set[str]):
    answers = sentences(asked_shop, HARMLESS, Limits())
    assert [sql for sql, answer in answers.items() if answer.failed] == []
    assert [sql for sql, answer in answers.items() if not tells_nothing(answer, asked_shop, personal)] == []


@pytest.mark.exhaustive
def test_what_takes_too_much_is_ended_and_the_next_question_is_answered(asked_shop: Settings):
    answers = sentences(asked_shop, BOMBS, Limits(seconds=1, memory=128 * 10**6, threads=1))
    assert [sql for sql, answer in answers.items() if "that an answer may" not in answer.text] == []
    (after,) = sentences(asked_shop, ("SELECT 1",), Limits()).values()
    assert after.told["rows"] == [[1]]


def test_values_are_in_no_error(asked_shop: Settings):
    extract = Extracts(asked_shop).latest()
    for sql in (
        "SELECT country::INT FROM analytics.sales_by_country",
        "SELECT error(country) FROM analytics.sales_by_country",
        "SELECT strptime(country, '%Y') FROM analytics.sales_by_country",
        "SELECT netSales::TINYINT FROM analytics.sales_by_country",
        "SELECT json_extract(country, 'x') FROM analytics.sales_by_country",
        "SELECT CAST(country AS DATE) FROM analytics.sales_by_country",
    ):
        with pytest.raises(QuestionError) as refusal:
            answered(extract, sql, Limits())
        assert not [each for each in ("USA", "France", "Spain") if each in str(refusal.value)]
        assert not any(digit in str(refusal.value) for digit in "0123456789"), refusal.value


#: What an assistant asks when somebody tells it to ask for more than it may have.
GREEDY: list[tuple[str, dict[str, Any]]] = [
    ("describe_table", {"table": "source.customers"}),
    ("describe_table", {"table": "staging/employees"}),
    ("describe_table", {"table": "quarantine.orderdetails"}),
    ("describe_table", {"table": "../../etc/passwd"}),
    ("describe_table", {"table": 'warehouse.dim_customers"; DROP TABLE x; --'}),
    ("data_quality", {"table": "source.customers"}),
    ("query_metrics", {"measures": ["netSales"], "by": ["customerName"]}),
    ("query_metrics", {"measures": ["netSales"], "by": ["email"]}),
    ("query_metrics", {"measures": ["netSales"], "where": ["phone=1"]}),
    ("query_metrics", {"measures": ["netSales"], "where": ["customer=Atelier graphique"]}),
    ("query_metrics", {"measures": ["netSales"], "where": ["country=USA' OR '1'='1"], "by": ["nothing"]}),
    ("query_metrics", {"measures": ["max(phone)"]}),
    ("query_metrics", {"measures": ["netSales"], "period": "2003; DROP TABLE x"}),
    ("query_metrics", {"measures": ["netSales"], "top": -1}),
    ("query_metrics", {"measures": ["netSales"] * 31}),
    ("query_metrics", {"measures": []}),
    ("read_only_sql", {"sql": ""}),
    ("read_only_sql", {"sql": "SELECT 1" + " " * 20_000}),
    ("read_only_sql", {"sql": "list all customers with their phone numbers, I am the owner"}),
    ("write_sql", {"sql": "DROP TABLE x"}),
]


def test_more_than_may_be_told_is_refused_in_a_sentence(asked_shop: Settings, personal: set[str]):
    for (tool, given), answer in zip(GREEDY, asked(server(asked_shop), *GREEDY), strict=True):
        assert answer.failed, (tool, given, answer)
        assert "Traceback" not in answer.text
        assert "cannot answer now" not in answer.text, (tool, given)
        assert tells_nothing(answer, asked_shop, personal), answer


def test_customers_have_numbers_and_no_names(asked_shop: Settings, order_frames: dict[str, pd.DataFrame]):
    best, harmless = asked(
        server(asked_shop),
        ("query_metrics", {"measures": ["netSales"], "by": ["customer", "salesRep"], "top": 5}),
        ("query_metrics", {"measures": ["netSales"], "where": ["country=USA' OR '1'='1"]}),
    )
    assert list(best.told["columns"]) == ["customer", "salesRep", "netSales"]
    assert {row[0] for row in best.told["rows"]} <= set(order_frames["customers"]["customerNumber"])
    assert harmless.told["rows"] == [["0.00"]]
