"""What the dashboard draws and writes, without a page: numbers for people, tables, charts, the trust bar."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa
import pytest

from classic_cars.dashboard import charts, markup
from classic_cars.dashboard.bar import bar
from classic_cars.dashboard.downloads import as_file
from classic_cars.dashboard.maps import world
from classic_cars.dashboard.quality import dagster_link
from classic_cars.dashboard.serve import APP
from classic_cars.dashboard.theme import DARK, LIGHT
from classic_cars.dashboard.trust import Proof, difference, verdict
from classic_cars.dashboard.wordings import exact, short, title
from classic_cars.serving.completeness import Balance, MonthBalance, Tally
from classic_cars.serving.metrics import POINTS, AnswerColumn, ask, columns_of
from classic_cars.serving.releases import Release

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "form", "said"),
    [
        (Decimal("9969015.53"), ",.2f", "9.97M"),
        (Decimal("-1234567890.10"), ",.2f", "−1.23B"),
        (56_432, ",d", "56K"),
        (6107, ",d", "6,107"),
        (Decimal("5053.18"), ",.2f", "5,053"),
        (Decimal("9.20"), ",.2f", "9.20"),
        (Decimal("0.3984"), ".1%", "39.8%"),
        (Decimal("0.38450000"), ".1%", "38.5%"),
        (Decimal("0.38449999"), ".1%", "38.4%"),
        (0.0385, ".1%", "3.9%"),
        (0.0725, ".1%", "7.3%"),
        (Decimal("10500"), ",d", "11K"),
        (None, ",d", "–"),
    ],
)
def test_headlines_are_short(value: Any, form: str, said: str):
    assert short(value, form) == said


@pytest.mark.parametrize(
    ("unit", "form", "value", "said"),
    [
        ("share", ".1%", "0.03850479", "3.9%"),
        ("share", ".1%", "0.03850000", "3.9%"),
        ("share", ".1%", "0.03849521", "3.8%"),
        ("share", "+.1%", "-0.34350000", "-34.4%"),
        ("share", "+.1%", "0.34350000", "+34.4%"),
        (POINTS, "+.1%", "-0.01050000", "-1.1 pts"),
        (POINTS, "+.1%", "0.01049999", "+1.0 pts"),
        ("USD", ",.2f", "1234.50", "1,234.50"),
    ],
)
def test_half_of_the_last_digit_is_written_away_from_0(unit: str, form: str, value: str, said: str):
    assert AnswerColumn("any", "", unit, form).written(Decimal(value)) == said


def test_what_is_exact_has_every_digit():
    assert exact(Decimal("-9969015.53"), ",.2f") == "−9,969,015.53"
    assert exact(Decimal(3), ",d") == "3"
    assert exact(NOON) == "2026-05-01 12:00 UTC"


def test_names_are_words():
    assert [title(each) for each in ("netSales", "grossProfit", "netSalesGrowth", "officeCity")] == [
        "Net sales",
        "Gross profit",
        "Net sales, change, %",
        "Office city",
    ]


# Tables, tiles -----------------------------------------------------------------------------------------

NAME = AnswerColumn("customerName", "Customer")
SALES = AnswerColumn("netSales", "Net sales", "USD", ",.2f")


def test_a_name_is_never_markup():
    rows = pa.table({"customerName": ["<script>alert(1)</script>"], "netSales": [Decimal("1.00")]})
    shown = markup.table(rows, [NAME, SALES], 'a "caption"')
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert 'aria-label="a &quot;caption&quot;"' in shown


def test_in_a_table_shares_lie_points_apart():
    column = AnswerColumn("marginChange", "Change", POINTS, "+.1%")
    rows = pa.table({"marginChange": [Decimal("-0.0070"), None]})
    assert "-0.7 pts" in markup.table(rows, [column], "")


def test_a_table_says_how_many_rows_it_leaves_out():
    rows = pa.table({"customerName": ["x"] * 250, "netSales": [Decimal("1.00")] * 250})
    assert "50 more rows in the downloads" in markup.table(rows, [NAME, SALES], "customers")


def test_values_lead_to_what_is_below_them_with_the_filters_kept():
    into = {"customerName": markup.address("customers", "customer", "", {"period": ["2004"], "customer": ["1"]})}
    rows = pa.table({"customerName": ["O & Co"], "netSales": [Decimal("1.00")]})
    assert 'href="customers?period=2004&amp;customer=O%20%26%20Co"' in markup.table(rows, [NAME, SALES], "", {}, into)


@pytest.mark.parametrize(
    ("measure", "form", "change", "said", "kind"),
    [
        ("netSales", ",.2f", Decimal("0.25"), "▲ 25.0%", markup.GOOD),
        ("netSales", ",.2f", Decimal("-0.25"), "▼ 25.0%", markup.BAD),
        ("margin", ".1%", Decimal("-0.011"), "▼ 1.1 pts", markup.BAD),
        ("margin", ".1%", Decimal("-0.0105"), "▼ 1.1 pts", markup.BAD),
        ("netSales", ",.2f", Decimal("0.1245"), "▲ 12.5%", markup.GOOD),
        ("balance", ",.2f", Decimal("0.25"), "▲ 25.0%", markup.NEUTRAL),
        ("netSales", ",.2f", None, "–", markup.NEUTRAL),
    ],
)
def test_a_change_is_told_by_sign_and_word(measure: str, form: str, change: Any, said: str, kind: str):
    tile = markup.Tile(AnswerColumn(measure, "", "", form), Decimal(1), change, "against the year before")
    shown = markup.tiles([tile])
    assert said in shown
    assert f"cc-{kind}" in shown


def test_files_have_every_digit():
    rows = pa.table({"country": ["USA"], "netSales": [Decimal("3273280.05")]})
    assert as_file(rows, "csv").decode() == '"country","netSales"\n"USA",3273280.05\n'
    assert as_file(rows, "xlsx")[:2] == b"PK"


# Charts ------------------------------------------------------------------------------------------------


def test_shares_in_pictures_are_rounded_as_those_in_tables():
    """JavaScript writes ``(100 * share).toFixed(1)``: half away from zero, of the float as it is."""
    halves = [sign * Decimal(odd) / 2000 for odd in range(1, 2000, 2) for sign in (1, -1)]
    shares = pa.array(halves, pa.decimal128(22, 8))
    drawn = charts.frame(pa.table({"margin": shares}))["margin"]
    written = [Decimal(100.0 * each).quantize(Decimal("0.1"), ROUND_HALF_UP) for each in drawn.tolist()]
    assert [f"{each}%".replace("-", "−") for each in written] == [exact(each, ".1%") for each in halves]


def test_months_without_sales_are_nothing_and_not_left_out():
    data = charts.frame(pa.table({"month": ["2003-11", "2004-02"], "netSales": [1.0, 2.0], "margin": [0.1, 0.2]}))
    found = charts.without_gaps(data, "month")
    assert found["month"].tolist() == ["2003-11", "2003-12", "2004-01", "2004-02"]
    assert found["netSales"].tolist() == [1.0, 0.0, 0.0, 2.0]
    assert found["margin"].isna().tolist() == [False, True, True, False]


def test_quarters_have_no_gaps_either():
    data = charts.frame(pa.table({"quarter": ["2003-Q4", "2004-Q2"], "orders": [1, 2]}))
    assert charts.without_gaps(data, "quarter")["quarter"].tolist() == ["2003-Q4", "2004-Q1", "2004-Q2"]


QUARTERS = ["2003-Q1", "2003-Q2", "2003-Q3", "2003-Q4", "2004-Q1"]


def ridges(measure: str, *rows: tuple[str, str, str | None]) -> tuple[dict[str, Any], list[list[dict[str, Any]]]]:
    """The picture of rows of line, quarter and value, and the data of its layers: all, what is alone, the peaks."""
    lines, quarters, values = zip(*rows, strict=True)
    found = [None if each is None else Decimal(each) for each in values]
    table = pa.table({"productLine": lines, "quarter": quarters, measure: found})
    columns = columns_of(ask([measure], by=["productLine", "quarter"]))
    spec = charts.ridges(table, columns, "productLine", "quarter", measure).to_dict()
    layers = [spec["layer"][at].get("data", spec.get("data")) for at in (0, 1, 3)]
    return spec, [spec["datasets"][each["name"]] for each in layers]


def test_ridges_draw_no_sales_that_were_not_made():
    rows = ("Ships", "2003-Q1", "4"), ("Ships", "2004-Q1", "8"), ("Trains", "2003-Q3", "2")
    _, (drawn, *_) = ridges("netSales", *rows)
    of = {line: [row for row in drawn if row["productLine"] == line] for line in ("Ships", "Trains")}
    assert [row["quarter"] for row in of["Ships"]] == [row["quarter"] for row in of["Trains"]] == QUARTERS
    assert [row["netSales"] for row in of["Ships"]] == [4, 0, 0, 0, 8]
    assert [row["netSales"] for row in of["Trains"]] == [0, 0, 2, 0, 0]


def test_ridges_of_ratios_break_where_there_is_none():
    rows = ("Ships", "2003-Q1", "0.5"), ("Ships", "2003-Q3", "0.4"), ("Ships", "2003-Q4", "0.3")
    _, (drawn, alone, peaks) = ridges("margin", *rows, ("Trains", "2004-Q1", None))
    assert [row["_top"] is None for row in drawn if row["productLine"] == "Ships"] == [False, True, False, False, True]
    assert all(row["_top"] is None for row in drawn if row["productLine"] == "Trains")
    assert [(row["productLine"], row["quarter"]) for row in alone] == [("Ships", "2003-Q1")]
    assert [row["productLine"] for row in peaks] == ["Ships"]


def test_ridges_below_nothing_stay_in_their_room():
    spec, (drawn, *_) = ridges("grossProfit", ("Ships", "2003-Q1", "9"), ("Trains", "2003-Q1", "-3"))
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    tops = {row["productLine"]: row["_top"] for row in drawn}
    assert low <= tops["Trains"] < 0 < 1 < tops["Ships"] <= high
    assert high - low == 2


@pytest.mark.parametrize("before", ["netSalesBefore", ""])
def test_bars_are_in_order_and_their_values_at_no_mark(before: str):
    """Beside the mark of what it is compared with, a value would be read as that of the mark."""
    question = ask(["netSales"], by=["productLine"], period="2004", compare="before")
    lines = {
        "productLine": ["Planes", "Ships"],
        "netSales": [Decimal(1), Decimal(5)],
        "netSalesBefore": [Decimal(9), Decimal(2)],
        "netSalesChange": [Decimal(-8), Decimal(3)],
        "netSalesGrowth": [Decimal(-1), Decimal(1)],
    }
    spec = charts.bars(pa.table(lines), columns_of(question), "productLine", "netSales", before=before).to_dict()
    assert [each["mark"]["type"] for each in spec["layer"]] == ["bar", "tick"]
    names, values = (each["encoding"]["y"] for each in spec["layer"])
    assert names["sort"] == values["sort"] == ["Ships", "Planes"]
    assert spec["resolve"] == {"axis": {"y": "independent"}}
    assert (values["axis"]["orient"], values["axis"]["labelExpr"]) == (
        "right",
        '{"Planes": "1.00", "Ships": "5.00"}[datum.value]',
    )


def test_the_map_is_of_shapes_that_are_shipped():
    rows = pa.table({"country": ["USA", "Singapore"], "netSales": [Decimal(5), Decimal(2)]})
    spec = world(rows, columns_of(ask(["netSales"], by=["country"])), "netSales").to_json()
    assert set(re.findall(r'"url": "([^"]*)"', spec)) == {"/app/static/world.json"}
    assert (APP.parent / "static" / "world.json").is_file()
    assert '"country": "Singapore"' in spec


def test_the_legend_of_one_country_is_written_in_three_digits():
    """Its value is no round number: d3 writes 1.485054M, and with three digits 1.49M."""
    rows = pa.table({"country": ["USA"], "netSales": [Decimal("1485054.00")]})
    spec = world(rows, columns_of(ask(["netSales"], by=["country"])), "netSales").to_dict()
    assert spec["layer"][1]["encoding"]["color"]["legend"]["format"] == ".3~s"


@pytest.mark.parametrize(
    ("measure", "values", "coloured"),
    [
        ("netSales", ["5.00", "0.00", "0.00", "2.00"], ["France", "Singapore"]),
        ("orders", ["5", "0", "0", "2"], ["France", "Singapore"]),
        ("onTimeShipmentShare", ["1.0000", None, "0.0000", "0.5000"], ["France", "UK", "Singapore"]),
    ],
)
def test_countries_of_the_days_compared_with_alone_are_grey(
    measure: str, values: list[str | None], coloured: list[str]
):
    """A share of 0 is one: all that was shipped was late."""
    found = [None if each is None else Decimal(each) for each in values]
    rows = pa.table({"country": ["France", "Spain", "UK", "Singapore"], measure: found})
    spec = world(rows, columns_of(ask([measure], by=["country"])), measure).to_dict()
    data = spec["layer"][1]["transform"][0]["from"]["data"]["name"]
    assert [each["country"] for each in spec["datasets"][data]] == coloured
    points = spec["datasets"][spec["layer"][2]["data"]["name"]]
    assert [each["country"] for each in points] == ["Singapore"]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_texts_stand_out_from_their_background(theme: dict[str, str]):
    for colour in ("textColor", "linkColor", "primaryColor"):
        for ground in ("backgroundColor", "secondaryBackgroundColor"):
            assert _contrast(theme[colour], theme[ground]) >= 4.5, (colour, ground)


def _contrast(one: str, other: str) -> float:
    """As WCAG 2 has it."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# Trust -------------------------------------------------------------------------------------------------


def release(published: str = "10.00", quarantined: str = "0.00", rows: int = 0) -> Release:
    tally = MonthBalance(
        "2004-01", Tally(2 - rows, Decimal(published)), Tally(rows, Decimal(quarantined)), Tally(2, Decimal(10))
    )
    return Release(
        number=3, made=NOON, run_id="run", proven=None, balances=(Balance("order lines", (tally,)),), tables={}
    )


@pytest.mark.parametrize(
    ("found", "known", "pending", "kind"),
    [
        (release(), Proof(agreed=NOON), "", markup.GOOD),
        (release(), Proof(), "", markup.NEUTRAL),
        (release(), Proof(agreed=NOON - timedelta(days=1)), "", markup.NEUTRAL),  # of what was published before
        (release(), Proof(agreed=NOON), "fact_orders contradicts", markup.WARNING),
        (release("9.00", "1.00", 1), Proof(agreed=NOON), "", markup.WARNING),
        (release("9.99"), Proof(agreed=NOON), "", markup.BAD),
        (release(), Proof(agreed=NOON, differs=True, latest="2 months differ"), "", markup.BAD),
        (release(), Proof(agreed=NOON, failed=("staging/orders: keys",)), "", markup.BAD),
    ],
)
def test_the_verdict_is_the_worst_that_is_known(found: Release, known: Proof, pending: str, kind: str):
    assert verdict(found, known, pending)[0] == kind


def test_what_was_never_compared_with_the_live_system_is_not_called_proven():
    found = release("9.00", "1.00", 1)
    assert verdict(found, Proof(agreed=NOON), "")[1] == "Proven, with something held back"
    assert verdict(found, Proof(), "")[1] == "Equal to what was read, with something held back"


def test_the_bar_says_what_was_compared_and_what_failed():
    known = Proof(NOON, "2 months differ: <b>", True, ("staging/orders: keys",))
    shown = bar(release("9.99"), "2004-01-31", known, "", NOON)
    assert difference(release("9.99")) == Decimal("0.01")
    for said in ("0.01", "2 · 10.00", "2026-05-01 12:00 UTC", "2 months differ: &lt;b&gt;", "staging/orders: keys"):
        assert said in shown


def test_what_failed_of_the_numbers_shown_is_not_said_to_be_of_others():
    before, these = (
        "What is shown is the release before, which passed.",
        "The numbers shown did not pass this comparison.",
    )
    refused = "staging/orders: keys"
    nightly = (
        "analytics/sales_by_country: agrees_with_recomputation",
        "warehouse/fact_orders: agrees_with_order_system",
    )
    only = bar(release(), "", Proof(failed=nightly), "", NOON)
    assert (before in only, these in only) == (False, True)
    both = bar(release(), "", Proof(failed=(*nightly, refused)), "", NOON)
    assert f"Failed: {refused}. {before}" in both
    assert f"Failed: {', '.join(nightly)}. {these}" in both
    newer = bar(release(), "", Proof(failed=nightly), "sales_by_country contradicts", NOON)
    assert (these in newer, "The newest tables did not pass this comparison." in newer) == (False, True)


def test_a_proof_of_newer_tables_is_none_of_the_release_that_is_shown():
    shown = bar(release(), "", Proof(NOON), "release 4 would contradict itself", NOON)
    assert "not compared yet" in shown
    assert "12:00" not in shown


def test_the_bar_writes_a_minus():
    assert "1 · −5.00" in bar(release("15.00", "-5.00", 1), "", Proof(), "", NOON)
    assert "difference −5.00" in bar(release("15.00"), "", Proof(), "", NOON)


def test_links_lead_into_dagster():
    assert dagster_link("http://127.0.0.1:3000/", "staging/orders") == (
        "http://127.0.0.1:3000/assets/staging/orders?view=checks"
    )
