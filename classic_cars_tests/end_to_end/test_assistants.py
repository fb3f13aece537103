"""Assistants get proven answers with their definitions, and nothing else, whatever they ask."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pandas as pd
import pytest
from mcp import Client, StdioServerParameters

from classic_cars.assistants.extract import Extract, Extracts
from classic_cars.assistants.sandbox import Limits, answered
from classic_cars.assistants.server import server
from classic_cars.contracts.base import Contract
from classic_cars.errors import QuestionError
from classic_cars.serving.releases import current
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars_shop.servers import free_port
from classic_cars_tests.hostile_sql import BOMBS, HARMLESS, MACHINE, PERSONAL, WRITES
from classic_cars_tests.platform import expected_sales, order_system_frames

SECRET = "hunter2-of-the-order-system"
PROGRAM = [sys.executable, "-m", "classic_cars.cli.main", "mcp"]
TOOLS = ["list_metrics", "describe_table", "query_metrics", "read_only_sql", "data_quality"]
#: What nobody is told, written down apart from the contracts.
PERSONAL_COLUMNS = {
    "customers": ["customerName", "contactLastName", "contactFirstName", "phone", "addressLine1", "addressLine2"],
    "employees": ["lastName", "firstName", "extension", "email"],
    "orders": ["comments"],
}


@dataclass(frozen=True)
class Said:
    failed: bool
    text: str
    told: dict[str, Any]


@pytest.fixture(scope="module")
def settings(published_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A published shop, whose order system may only be reached with a password."""
    home = tmp_path_factory.mktemp("assistants") / "home"
    shutil.copytree(published_home, home)
    return Settings(home=home, source_url=f"postgresql://reader:{SECRET}@127.0.0.1/shop")


@pytest.fixture(scope="module")
def frames(published_home: Path) -> dict[str, pd.DataFrame]:
    return order_system_frames(Settings(home=published_home).order_system_url)


@pytest.fixture(scope="module")
def personal(frames: dict[str, pd.DataFrame]) -> set[str]:
    """The personal texts of the order system that stand nowhere else."""
    found, others = set(), set()
    for table, frame in frames.items():
        for column in frame.columns:
            texts = {str(each).strip() for each in frame[column].dropna()}
            (found if column in PERSONAL_COLUMNS.get(table, ()) else others).update(texts)
    return {each for each in found - others if len(each) > 7}


async def said(client: Client, tool: str, **arguments: Any) -> Said:
    result = await client.call_tool(tool, arguments)
    texts = " ".join(getattr(each, "text", "") for each in result.content)
    return Said(bool(result.is_error), texts, dict(result.structured_content or {}))


def asked(where: Any, *calls: tuple[str, Mapping[str, Any]]) -> list[Said]:
    """What a server says to these calls, which come all at once."""

    async def all_of_them() -> list[Said]:
        async with Client(where) as client:
            waiting: list[Coroutine[Any, Any, Said]] = [said(client, tool, **given) for tool, given in calls]
            return list(await asyncio.gather(*waiting))

    return asyncio.run(all_of_them())


# What is answered -----------------------------------------------------------------------------------------


def proves(answer: Said, settings: Settings) -> bool:
    """Whether the answer says its release, and that release's rows and cents."""
    release = current(open_store(settings, read_only=True).shelf)
    assert release is not None
    told = answer.told
    return (
        told["release"] == release.number
        and "minute" in told["age"] + "minute" * ("second" in told["age"])
        and f"{release.order_lines.published.amount:,.2f}" in told["proof"][0]
    )


def test_every_tool_answers_with_definition_release_and_proof(settings: Settings, frames: dict[str, pd.DataFrame]):
    by_country = {"measures": ["netSales", "orders"], "by": ["country"]}
    metrics, table, sales, rows, quality = asked(
        server(settings),
        ("list_metrics", {}),
        ("describe_table", {"table": "warehouse.fact_orders"}),
        ("query_metrics", by_country),
        ("read_only_sql", {"sql": "SELECT country, netSales FROM analytics.sales_by_country ORDER BY 1"}),
        ("data_quality", {"table": "warehouse.fact_orders"}),
    )
    assert all(proves(each, settings) for each in (metrics, table, sales, rows, quality))
    expected = expected_sales(frames, "country")
    assert {name: (Decimal(net), orders) for name, net, orders in sales.told["rows"]} == {
        name: (each["netSales"], each["orders"]) for name, each in expected.items()
    }
    assert sales.told["definition"]["netSales"].startswith("Net sales: the booked amount without cancelled orders")
    assert rows.told["rows"] == [row[:2] for row in sales.told["rows"]]
    assert rows.told["definition"]["netSales"].startswith("Net sales")
    assert "netSales" in [each["name"] for each in metrics.told["measures"]]
    (described,) = table.told["tables"]
    assert described["rows"] == len(frames["orderdetails"])
    assert described["withheld"] == 1
    (checked,) = quality.told["tables"]
    assert any("quantityOrdered" in rule for rule in checked["rules"])


def test_metrics_are_filtered_compared_and_cut_to_the_most(settings: Settings, frames: dict[str, pd.DataFrame]):
    most, compared = asked(
        server(settings),
        ("query_metrics", {"measures": ["netSales"], "by": ["productLine"], "where": ["country=USA"], "top": 2}),
        ("query_metrics", {"measures": ["netSales"], "period": "2003-Q2", "compare": "before"}),
    )
    here = frames | {"customers": frames["customers"][frames["customers"]["country"].str.strip() == "USA"]}
    here["orders"] = frames["orders"][frames["orders"]["customerNumber"].isin(here["customers"]["customerNumber"])]
    lines = frames["orderdetails"]
    here["orderdetails"] = lines[lines["orderNumber"].isin(here["orders"]["orderNumber"])]
    sold = {name: each["netSales"] for name, each in expected_sales(here, "productLine").items()}
    best = sorted(sold.items(), key=lambda each: -each[1])[:2]
    assert [(name, Decimal(net)) for name, net in most.told["rows"]] == best
    assert list(compared.told["columns"]) == ["netSales", "netSalesBefore", "netSalesChange", "netSalesGrowth"]


def test_too_many_rows_are_said_to_be_too_many(settings: Settings):
    every, few = asked(
        server(settings, Limits(rows=50)),
        ("read_only_sql", {"sql": "FROM warehouse.fact_orders"}),
        ("read_only_sql", {"sql": "FROM warehouse.fact_orders LIMIT 50"}),
    )
    assert (len(every.told["rows"]), every.told["complete"]) == (50, False)
    assert (len(few.told["rows"]), few.told["complete"]) == (50, True)


def test_a_newer_release_is_answered_from_as_soon_as_it_is_made(published: Settings):
    extracts = Extracts(published)
    old = extracts.latest()
    shelf = open_store(published, read_only=True).shelf
    text = shelf.read(old.release.number)
    assert text is not None
    assert shelf.add(old.release.number + 1, text.replace('"number": 1', '"number": 2'))
    assert extracts.latest().release.number == old.release.number + 1
    assert extracts.latest() is extracts.latest()
    sql = "SELECT count(*) FROM warehouse.fact_orders"
    assert answered(old, sql, Limits()) == answered(extracts.latest(), sql, Limits())


# What is not ----------------------------------------------------------------------------------------------


def contents(extract: Extract) -> str:
    """Everything that the extract holds."""
    with duckdb.connect(f"/dev/fd/{extract.file.fileno()}", read_only=True) as copy:
        names = copy.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
        rows = [copy.execute(f"SELECT t::VARCHAR FROM {layer}.{name} t").fetchall() for layer, name in names]
    return "\n".join(row for (row,) in itertools.chain(*rows))


def test_the_extract_holds_no_personal_data(settings: Settings, personal: set[str]):
    assert len(personal) > 300
    held = contents(Extracts(settings).latest())
    assert [each for each in personal if each in held] == []


def test_personal_data_in_the_extract_would_be_found(
    settings: Settings, personal: set[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Contract, "is_personal", lambda self, column: column != "customerName")
    monkeypatch.setattr("classic_cars.assistants.extract.shown_columns", lambda contract: tuple(contract.types.names))
    held = contents(Extracts(settings).latest())
    assert len([each for each in personal if each in held]) > 300


@pytest.fixture(scope="module")
def hostile(settings: Settings) -> dict[str, Said]:
    """What is said to each hostile statement; they are asked one after the other and side by side."""
    before = files(settings)
    tight = Limits(seconds=1, memory=128 * 10**6, threads=1)
    answers: dict[str, Said] = {}
    for statements, limits in ((BOMBS, tight), (WRITES + MACHINE + PERSONAL + HARMLESS, Limits())):
        calls = [("read_only_sql", {"sql": sql}) for sql in statements]
        answers |= zip(statements, asked(server(settings, limits), *calls), strict=True)
    assert files(settings) == before
    return answers


def files(settings: Settings) -> dict[str, int]:
    """Sizes of all files that a statement could have left behind or changed."""
    here = [each for each in Path.cwd().iterdir() if each.is_file()]
    return {str(each): each.stat().st_size for each in (*settings.home.rglob("*"), *here) if each.is_file()}


def tells_nothing(answer: Said, settings: Settings, personal: set[str]) -> bool:
    everything = answer.text + json.dumps(answer.told, ensure_ascii=False)
    places = (str(settings.home), str(Path.home()) + "/", str(Path.cwd()), "site-packages", SECRET, "root:x:")
    return not [each for each in (*personal, *places) if each in everything]


@pytest.mark.parametrize("sql", WRITES + MACHINE + PERSONAL + BOMBS)
def test_hostile_sql_is_refused(hostile: dict[str, Said], settings: Settings, personal: set[str], sql: str):
    answer = hostile[sql]
    assert answer.failed, answer
    assert tells_nothing(answer, settings, personal), answer
    assert "\n" not in answer.text.strip()
    assert "cannot answer now" not in answer.text


@pytest.mark.parametrize("sql", HARMLESS)
def test_curious_sql_finds_nothing(hostile: dict[str, Said], settings: Settings, personal: set[str], sql: str):
    answer = hostile[sql]
    assert not answer.failed, answer
    assert tells_nothing(answer, settings, personal), answer


def test_what_takes_too_much_is_ended_and_the_next_question_is_answered(hostile: dict[str, Said]):
    for sql in BOMBS:
        assert "that an answer may" in hostile[sql].text, sql
    assert "SHOW TABLES" in hostile
    assert not hostile["SHOW TABLES"].failed


def test_values_are_in_no_error(settings: Settings):
    extract = Extracts(settings).latest()
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


def test_more_than_may_be_told_is_refused_in_a_sentence(settings: Settings, personal: set[str]):
    for (tool, given), answer in zip(GREEDY, asked(server(settings), *GREEDY), strict=True):
        assert answer.failed, (tool, given, answer)
        assert "Traceback" not in answer.text
        assert "cannot answer now" not in answer.text, (tool, given)
        assert tells_nothing(answer, settings, personal), answer


def test_customers_have_numbers_and_no_names(settings: Settings, frames: dict[str, pd.DataFrame]):
    best, harmless = asked(
        server(settings),
        ("query_metrics", {"measures": ["netSales"], "by": ["customer", "salesRep"], "top": 5}),
        ("query_metrics", {"measures": ["netSales"], "where": ["country=USA' OR '1'='1"]}),
    )
    assert list(best.told["columns"]) == ["customer", "salesRep", "netSales"]
    assert {row[0] for row in best.told["rows"]} <= set(frames["customers"]["customerNumber"])
    assert harmless.told["rows"] == [["0.00"]]


@pytest.mark.parametrize("sql", PERSONAL[:3])
def test_what_is_withheld_is_not_guessed_by_the_error_either(hostile: dict[str, Said], sql: str):
    assert "Did you mean" not in hostile[sql].text


def test_no_release_is_a_sentence(tmp_path: Path):
    for answer in asked(server(Settings(home=tmp_path)), *[(each, {}) for each in TOOLS if each.startswith("d")]):
        assert answer.failed
        assert "there is no release yet" in answer.text


def test_a_damaged_release_says_nothing_of_where_it_is(published: Settings, capfd: pytest.CaptureFixture[str]):
    for each in published.home.rglob("*.parquet"):
        each.write_bytes(b"")
    (answer,) = asked(server(published), ("list_metrics", {}))
    assert answer.failed
    assert answer.text.endswith("whoever runs it finds out why with `classic-cars doctor`")
    assert str(published.home) not in answer.text


# Over the wire --------------------------------------------------------------------------------------------


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLASSIC_CARS_")}
    return clean | {
        "CLASSIC_CARS_HOME": str(settings.home),
        "CLASSIC_CARS_SOURCE_URL": settings.source_url.get_secret_value(),
    }


@pytest.fixture
def http(environment: dict[str, str]) -> Iterator[str]:
    """The address of the program, answering over HTTP."""
    port = free_port()
    with subprocess.Popen([*PROGRAM, "--http", "--port", str(port)], env=environment) as program:
        try:
            for _ in range(600):
                with suppress(httpx.ConnectError):
                    httpx.get(f"http://127.0.0.1:{port}/")
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            program.terminate()


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("query_metrics", {"measures": ["netSales"], "by": ["country"]}),
    ("read_only_sql", {"sql": "SELECT count(*) AS lines FROM warehouse.fact_orders"}),
    ("read_only_sql", {"sql": "SELECT phone FROM warehouse.dim_customers"}),
    ("read_only_sql", {"sql": "FROM read_text('/proc/self/environ')"}),
    ("data_quality", {}),
]


def is_right(answers: list[Said], settings: Settings, frames: dict[str, pd.DataFrame], personal: set[str]) -> bool:
    sales, count, withheld, refused, quality = answers
    expected = expected_sales(frames, "country")
    assert {name: Decimal(net) for name, net in sales.told["rows"]} == {k: v["netSales"] for k, v in expected.items()}
    assert count.told["rows"] == [[len(frames["orderdetails"])]]
    assert withheld.failed
    assert refused.failed
    assert all(proves(each, settings) for each in (sales, count, quality))
    return all(tells_nothing(each, settings, personal) for each in answers)


def test_over_standard_input_and_output(
    settings: Settings, environment: dict[str, str], frames: dict[str, pd.DataFrame], personal: set[str]
):
    program = StdioServerParameters(command=PROGRAM[0], args=PROGRAM[1:], env=environment)

    async def names() -> list[str]:
        async with Client(program) as client:
            listed = (await client.list_tools()).tools
            assert all(each.annotations is not None and each.annotations.read_only_hint for each in listed)
            answers.extend([await said(client, tool, **given) for tool, given in CALLS])
            return [each.name for each in listed]

    answers: list[Said] = []
    assert asyncio.run(names()) == TOOLS
    assert is_right(answers, settings, frames, personal)


def test_over_http_on_this_machine_only(
    settings: Settings, http: str, frames: dict[str, pd.DataFrame], personal: set[str]
):
    assert is_right(asked(http, *CALLS), settings, frames, personal)
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    for foreign in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert httpx.post(http, json=listing, headers=accept | foreign).status_code in (403, 421)
