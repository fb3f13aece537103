"""Assistants get proven answers with their definitions, and nothing else, whatever they ask."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from mcp import Client, StdioServerParameters

from classic_cars.assistants.extract import Extracts
from classic_cars.assistants.sandbox import Limits, answered
from classic_cars.assistants.server import server
from classic_cars.contracts.measures import MEASURES
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars_shop.servers import free_port
from classic_cars_tests.assistants import Said, asked, proves, said, tells_nothing
from classic_cars_tests.platform import expected_sales

PROGRAM = [sys.executable, "-m", "classic_cars.cli.main", "mcp"]
TOOLS = ["list_metrics", "describe_table", "query_metrics", "read_only_sql", "data_quality"]
# What is answered -----------------------------------------------------------------------------------------


def test_every_tool_answers_with_definition_release_and_proof(
    asked_shop: Settings, order_frames: dict[str, pd.DataFrame]
):
    by_country = {"measures": ["netSales", "orders"], "by": ["country"]}
    metrics, table, sales, rows, quality = asked(
        server(asked_shop),
        ("list_metrics", {}),
        ("describe_table", {"table": "fact_orders"}),
        ("query_metrics", by_country),
        ("read_only_sql", {"sql": "SELECT country, netSales FROM analytics.sales_by_country ORDER BY 1"}),
        ("data_quality", {"table": "warehouse.fact_orders"}),
    )
    assert all(proves(each, asked_shop) for each in (metrics, table, sales, rows, quality))
    expected = expected_sales(order_frames, "country")
    assert {name: (Decimal(net), orders) for name, net, orders in sales.told["rows"]} == {
        name: (each["netSales"], each["orders"]) for name, each in expected.items()
    }
    assert sales.told["definition"]["netSales"].startswith("Net sales: the booked amount without cancelled orders")
    assert rows.told["rows"] == [row[:2] for row in sales.told["rows"]]
    assert rows.told["definition"]["netSales"].startswith("Net sales")
    assert "netSales" in [each["name"] for each in metrics.told["measures"]]
    (described,) = table.told["tables"]
    assert described["rows"] == len(order_frames["orderdetails"])
    assert described["withheld"] == 1
    (checked,) = quality.told["tables"]
    assert any("quantityOrdered" in rule for rule in checked["rules"])


def test_metrics_are_filtered_compared_and_cut_to_the_most(asked_shop: Settings, order_frames: dict[str, pd.DataFrame]):
    in_usa = {"measures": ["netSales"], "by": ["productLine"], "where": ["country=USA"], "top": 2}
    alone = {"measures": "netSales", "by": "productLine", "where": "country=USA", "top": 2}
    most, unlisted, compared, shares, slip, ahead = asked(
        server(asked_shop),
        ("query_metrics", in_usa),
        ("query_metrics", alone),
        ("query_metrics", {"measures": ["netSales"], "period": "2003-Q2", "compare": "before"}),
        ("query_metrics", in_usa | {"share": True}),
        ("query_metrics", {"measures": ["netSales"], "where": ["country=Frence", "customer=1"]}),
        ("query_metrics", {"measures": ["netSales"], "period": "2099", "compare": "year"}),
    )
    here = order_frames | {
        "customers": order_frames["customers"][order_frames["customers"]["country"].str.strip() == "USA"]
    }
    here["orders"] = order_frames["orders"][
        order_frames["orders"]["customerNumber"].isin(here["customers"]["customerNumber"])
    ]
    lines = order_frames["orderdetails"]
    here["orderdetails"] = lines[lines["orderNumber"].isin(here["orders"]["orderNumber"])]
    sold = {name: each["netSales"] for name, each in expected_sales(here, "productLine").items()}
    best = sorted(sold.items(), key=lambda each: -each[1])[:2]
    assert [(name, Decimal(net)) for name, net in most.told["rows"]] == best
    assert unlisted.told["rows"] == most.told["rows"]
    assert [row[:2] for row in shares.told["rows"]] == most.told["rows"]
    parts = [Decimal(net) / sum(sold.values()) for _, net in best]
    assert [Decimal(row[2]) for row in shares.told["rows"]] == [
        each.quantize(Decimal("0.00000001"), ROUND_HALF_UP) for each in parts
    ]
    assert (most.told["notes"], shares.told["notes"]) == ([], [])
    assert slip.told["notes"] == ["there is no country 'Frence'; did you mean France?", "there is no customer '1'"]
    last = f"{pd.to_datetime(order_frames['orders']['orderDate']).max():%Y-%m-%d}"
    (said,) = ahead.told["notes"]
    assert said.startswith(
        f"2099-01-01..2099-12-31 has nothing yet: the latest day is {last}; it is compared with 2098"
    )
    assert list(compared.told["columns"]) == ["netSales", "netSalesBefore", "netSalesChange", "netSalesGrowth"]


def test_a_question_of_many_measures_is_not_too_long_however_long_its_sql_is(asked_shop: Settings):
    everything = {"measures": list(MEASURES), "by": ["country"], "period": "2003", "compare": "year"}
    (answer,) = asked(server(asked_shop), ("query_metrics", everything))
    assert set(MEASURES) <= {*answer.told["columns"]}


def test_whole_numbers_are_whole_numbers(asked_shop: Settings, order_frames: dict[str, pd.DataFrame]):
    (answer,) = asked(server(asked_shop), ("query_metrics", {"measures": ["units", "stars"], "by": ["year"]}))
    assert answer.told["columns"] == {"year": "INTEGER", "units": "BIGINT", "stars": "BIGINT"}
    assert answer.told["rows"] == [[2003, int(order_frames["orderdetails"]["quantityOrdered"].sum()), 0]]


def test_columns_of_one_name_all_come_each_with_its_values(asked_shop: Settings):
    sql = "SELECT a.orders, b.orders, b.netSales FROM analytics.sales_by_country a JOIN analytics.sales_by_country b "
    (answer,) = asked(server(asked_shop), ("read_only_sql", {"sql": f"{sql} USING (country) LIMIT 1"}))
    kinds = {"orders": "BIGINT", "orders_1": "BIGINT", "netSales": answer.told["columns"]["netSales"]}
    assert (list(answer.told["columns"]), answer.told["columns"]) == ([*kinds], kinds)
    ((one, other, _),) = answer.told["rows"]
    assert one == other


def test_names_of_columns_count_as_what_an_answer_may_be(asked_shop: Settings):
    wide = "PIVOT (SELECT lpad(range::VARCHAR, {}, 'x') AS name FROM range(10)) ON name USING count(*)"
    many, long, few = asked(
        server(asked_shop, Limits(characters=2_000)),
        ("read_only_sql", {"sql": wide.format(300)}),
        ("read_only_sql", {"sql": wide.format(184)}),
        ("read_only_sql", {"sql": wide.format(150)}),
    )
    assert many.failed
    assert "too many columns: their names and types alone are longer than the 2,000 characters" in many.text
    assert long.failed
    assert "a row of the answer, with the names of its columns, is longer than 2,000 characters" in long.text
    assert few.told["rows"] == [[1] * 10]


def test_too_many_rows_are_said_to_be_too_many(asked_shop: Settings):
    every, few = asked(
        server(asked_shop, Limits(rows=50)),
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
def environment(asked_shop: Settings) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLASSIC_CARS_")}
    return clean | {
        "CLASSIC_CARS_HOME": str(asked_shop.home),
        "CLASSIC_CARS_SOURCE_URL": asked_shop.source_url.get_secret_value(),
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


def is_right(
    answers: list[Said], asked_shop: Settings, order_frames: dict[str, pd.DataFrame], personal: set[str]
) -> bool:
    sales, count, withheld, refused, quality = answers
    expected = expected_sales(order_frames, "country")
    assert {name: Decimal(net) for name, net in sales.told["rows"]} == {k: v["netSales"] for k, v in expected.items()}
    assert count.told["rows"] == [[len(order_frames["orderdetails"])]]
    assert withheld.failed
    assert refused.failed
    assert all(proves(each, asked_shop) for each in (sales, count, quality))
    return all(tells_nothing(each, asked_shop, personal) for each in answers)


def test_over_standard_input_and_output(
    asked_shop: Settings, environment: dict[str, str], order_frames: dict[str, pd.DataFrame], personal: set[str]
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
    assert is_right(answers, asked_shop, order_frames, personal)


def test_over_http_on_this_machine_only(
    asked_shop: Settings, http: str, order_frames: dict[str, pd.DataFrame], personal: set[str]
):
    assert is_right(asked(http, *CALLS), asked_shop, order_frames, personal)
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    for foreign in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert httpx.post(http, json=listing, headers=accept | foreign).status_code in (403, 421)
