"""What the dashboard's pages put together, without a browser: customers, countries, data quality."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from classic_cars.dashboard import app, quality
from classic_cars.dashboard.asking import PLAIN
from classic_cars.dashboard.filters import COMPARISONS, CUSTOM, Asked, Filters
from classic_cars.dashboard.panels import columns_shown, headlines, nothing
from classic_cars.dashboard.views import countries, customers
from classic_cars.dashboard.views import quality as quality_page
from classic_cars.dashboard.wordings import title
from classic_cars.errors import QuestionError
from classic_cars.serving.status import Outcome

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_data_quality_is_there_where_no_release_was_made_yet(monkeypatch: pytest.MonkeyPatch):
    """It is what says why; other pages have nothing to show."""
    said, known = list[str](), list[Any]()
    monkeypatch.setattr(app, "current_release", lambda _: None)
    monkeypatch.setattr(app, "pending", lambda _: "staging/orderdetails never published")
    monkeypatch.setattr(st, "html", lambda text, **_: said.append(str(text)))
    monkeypatch.setattr(quality_page, "what_is_known", known.append)
    app._show("Overview")
    assert known == []
    app._show("Data quality")
    assert len(known) == 1
    assert all("staging/orderdetails never published" in each for each in said)


def test_what_cannot_be_asked_is_no_damage(monkeypatch: pytest.MonkeyPatch):
    def refusing(_: str) -> None:
        raise QuestionError("period '1-2': expected a year")

    said = list[str]()
    monkeypatch.setattr(app, "_show", refusing)
    monkeypatch.setattr(app, "_is_admitted", lambda _: True)
    monkeypatch.setattr(st, "navigation", lambda *_, **__: SimpleNamespace(title="Overview"))
    monkeypatch.setattr(st, "html", lambda text, **_: said.append(str(text)))
    app.main()
    assert "<h1>This cannot be asked</h1><p>period &#x27;1-2&#x27;: expected a year. Choose another" in said[-1]
    assert "classic-cars" not in said[-1]


def test_the_heading_above_what_is_looked_into_is_never_markup(monkeypatch: pytest.MonkeyPatch):
    """A browser asks for a picture of another host as soon as it is on the page."""
    name, shown = '<img src="http://192.0.2.1/x">', list[str]()
    rows = pa.table({"customer": [103], "customerName": [name]})
    view: Any = SimpleNamespace(filters=Filters(), answer=lambda *_: rows)
    for module in (customers, countries):
        monkeypatch.setattr(module, "headlines", lambda *_: None)
        monkeypatch.setattr(module, "panel", lambda *_, **__: None)
    monkeypatch.setattr(customers, "_chosen", lambda *_: "103")
    monkeypatch.setattr(st, "html", lambda text, **_: shown.append(text))
    customers._one(view)
    countries._country(view, name)
    assert shown == ['<h2 class="cc-section">&lt;img src=&quot;http://192.0.2.1/x&quot;&gt;</h2>'] * 2


def test_times_of_checks_are_in_utc_as_in_the_tables_whatever_the_browsers_zone():
    row = {"table": "staging/orders", "check": "keys", "when": NOON, "outcome": Outcome.PASSED, "said": ""}
    spec = quality_page.history_chart([row]).to_dict()
    assert spec["encoding"]["x"]["scale"] == {"type": "utc"}
    assert [each["field"] for each in spec["encoding"]["tooltip"] if each["type"] == "temporal"] == []
    (data,) = spec["datasets"].values()
    assert data[0]["found"] == "2026-05-01 12:00 UTC"


@pytest.mark.parametrize(
    ("outcomes", "shown"),
    [
        ("FFFPP", [(0, False), (3, True)]),
        ("PFFP", [(0, True)]),
        ("FWP", [(0, False), (1, True)]),
        ("FFF", [(0, False)]),
    ],
)
def test_what_failing_runs_refuse_again_is_listed_once(
    monkeypatch: pytest.MonkeyPatch, outcomes: str, shown: list[tuple[int, bool]]
):
    """Newest first; the rows are told apart by how many hours ago they were found."""
    kinds = {"F": Outcome.FAILED, "P": Outcome.PASSED, "W": Outcome.WARNING}
    found = [
        (NOON - timedelta(hours=ago), kinds[each], SimpleNamespace(metadata={})) for ago, each in enumerate(outcomes)
    ]
    monkeypatch.setattr(quality, "_evaluations", lambda *_: iter(found))
    instance: Any = None
    rows = [*quality.quarantined_of(instance, "staging/orders")]
    assert [((NOON - row["when"]) // timedelta(hours=1), row["kept"]) for row in rows] == shown


def test_balances_are_of_all_time_and_in_no_headline(monkeypatch: pytest.MonkeyPatch):
    """Sales of a period less its payments are not what is owed."""
    panels: dict[str, Any] = {}
    headlines: list[list[str]] = []
    monkeypatch.setattr(customers, "headlines", lambda _, wanted, *__: headlines.append(wanted))
    monkeypatch.setattr(customers, "panel", lambda _, __, asked, *___, key, **____: panels.update({key: asked}))
    monkeypatch.setattr(customers, "_one", lambda _: None)
    view: Any = SimpleNamespace(filters=Filters(period="2004"))
    customers.page(view)
    assert panels["balances"] == "analytics/customer_balances"
    assert not any("balance" in each for each in headlines)
    columns = columns_shown("analytics/customer_balances", pa.table({"balance": [1], "creditUsed": [1]}))
    assert [each.format for each in columns] == [",.2f", ".1%"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("", {"1": "Large"}),
        ("1", {"1": "Large"}),
        ("7", {"1": "Large", "7": "Small"}),
        ("8", {"1": "Large"}),
        ("1 or 1", {"1": "Large"}),
    ],
)
def test_a_customer_is_found_by_number_however_small(wanted: str, names: dict[str, str]):
    def answer(asked: Asked, shape: Any = PLAIN) -> pa.Table:
        if shape != PLAIN:
            return pa.table({"customer": [1], "customerName": ["Large"]})
        *_, narrowed = asked.question.where
        found = [7] if narrowed.values == (7,) else []
        return pa.table({"customer": found, "customerName": ["Small" for _ in found]})

    view: Any = SimpleNamespace(filters=Filters(period="2004", chosen={"country": ("France",)}), answer=answer)
    assert customers.known(view, wanted) == names


def test_a_page_says_when_the_customer_of_its_address_is_not_there(monkeypatch: pytest.MonkeyPatch):
    shown: list[str] = []
    monkeypatch.setattr(st, "query_params", {"customer": "<b>"})
    monkeypatch.setattr(st, "selectbox", lambda *_, **__: None)
    monkeypatch.setattr(st, "html", shown.append)
    view: Any = SimpleNamespace(
        filters=Filters(), answer=lambda *_: pa.table({"customer": [1], "customerName": ["Large"]})
    )
    customers._one(view)
    assert shown == ['<p class="cc-empty">There is no customer &lt;b&gt; with orders and these filters.</p>']


@pytest.mark.parametrize(
    ("into", "said"),
    [
        ("<b>", ["There is no country &lt;b&gt; with orders in this period and with these filters."]),
        ("USA", []),
        ("", []),
    ],
)
def test_a_page_says_when_the_country_of_its_address_is_not_there(
    monkeypatch: pytest.MonkeyPatch, into: str, said: list[str]
):
    shown: list[str] = []
    monkeypatch.setattr(st, "query_params", {"into": into} if into else {})
    monkeypatch.setattr(st, "selectbox", lambda *_, **__: None)
    monkeypatch.setattr(st, "html", shown.append)
    monkeypatch.setattr(countries, "panel", lambda *_, **__: pa.table({"country": ["USA", None]}))
    view: Any = SimpleNamespace(filters=Filters())
    countries.page(view)
    assert shown == [f'<p class="cc-empty" role="alert">{each}</p>' for each in said]


def test_money_of_lines_and_of_payments_is_no_sum():
    def row(table: str, rows: int, amount: str | None, *, kept: bool = True) -> dict[str, Any]:
        return {"table": table, "rows": rows, "amount": None if amount is None else Decimal(amount), "kept": kept}

    found = [
        row("staging/orderdetails", 2, "-80.00"),
        row("staging/orderdetails", 1, "30.00"),
        row("staging/payments", 1, "50.00"),
        row("staging/customers", 1, None),
        row("staging/payments", 9, "900.00", kept=False),
    ]
    assert quality_page.kept_out(found) == (
        "Kept out now: 3 rows of staging/orderdetails, −50.00 USD; 1 row of staging/payments, 50.00 USD; "
        "1 row of staging/customers."
    )
    assert quality_page.kept_out([row("staging/payments", 0, "0.00")]) == "Kept out now: nothing."


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (date(2005, 5, 31), "through 31 May, against the year before, 2004-01-01..2004-05-31"),
        (date(2005, 12, 31), "against the period before, 2004-01-01..2004-12-31"),
    ],
)
def test_headlines_say_through_when_they_are_compared(monkeypatch: pytest.MonkeyPatch, last: date, said: str):
    shown: list[str] = []
    monkeypatch.setattr(st, "html", lambda text, **_: shown.append(text))
    rows = pa.table({"netSales": [Decimal(1)], "netSalesBefore": [Decimal(2)], "netSalesGrowth": [Decimal("-0.5")]})
    view: Any = SimpleNamespace(
        filters=Filters(period="2005", last=last), answer=lambda _: rows, links=lambda _: {"netSales": "definitions"}
    )
    headlines(view, ["netSales"])
    assert f'<p class="cc-note">▲▼ {said}</p>' in shown[0]


def test_filters_are_blamed_only_where_there_are_some():
    none, france = Filters(chosen={"country": ()}), Filters(period="2004", chosen={"country": ("France",)})
    assert nothing(none, none.asked(["netSales"])) == "There is nothing of this in this release."
    assert nothing(france, "analytics/customer_cohorts") == "There is nothing of this in this release."
    always = nothing(france, france.asked(["netSales"], always=True))
    assert always.endswith("with what is chosen: take a filter away.")
    assert nothing(france, france.asked(["netSales"])).endswith(": take a filter away, or choose a longer period.")


def opened_at(address: dict[str, list[str]]) -> AppTest:
    """The filters beside a page, as an address has them."""

    def app() -> None:
        from datetime import date

        from classic_cars.dashboard.controls import Known, chosen

        values = {"country": ["France"], "productLine": ["Ships"], "status": ["Shipped"]}
        chosen(Known(date(2003, 1, 6), date(2005, 5, 31), values))

    page = AppTest.from_function(app)
    page.query_params.update(address)
    page.run()
    assert not page.exception
    return page


def alerts(page: AppTest) -> list[str]:
    return [each.proto.body for each in page.sidebar.get("html") if "alert" in each.proto.body]


@pytest.mark.parametrize(
    ("address", "left_out"),
    [
        (
            {"country": ["France", "<b>"], "productLine": ["Ships"], "period": ["1999"]},
            "period 1999, country &lt;b&gt;",
        ),
        ({"measure": ["profits"], "compare": ["week"]}, "measure profits, compare week"),
        ({"period": [CUSTOM], "days": ["2002-01-01", "2002-12-31"]}, "day 2002-01-01, day 2002-12-31"),
        ({"period": [CUSTOM], "days": ["May", "2005-06-01"]}, "day May, day 2005-06-01"),
    ],
    ids=str,
)
def test_a_shared_filter_that_is_not_there_is_said_to_be_left_out(address: dict[str, list[str]], left_out: str):
    page = opened_at(address)
    (said,) = alerts(page)
    assert said.endswith(f">Not in this release, so left out: {left_out}.</p>")
    assert alerts(page.run()) == []


@pytest.mark.parametrize(
    ("days", "kept", "left_out"),
    [
        (["2003-01-01", "2003-01-31"], ["2003-01-06", "2003-01-31"], "days before 2003-01-06"),
        (["2005-06-30", "2005-05-01"], ["2005-05-01", "2005-05-31"], "days after 2005-05-31"),
        (["2003", "2006"], ["2005-03-03", "2005-05-31"], "day 2003, day 2006"),
        (
            ["2003-01-01", "2006-12-31"],
            ["2003-01-06", "2005-05-31"],
            "days before 2003-01-06, days after 2005-05-31",
        ),
    ],
)
def test_days_of_which_some_are_there_are_those(days: list[str], kept: list[str], left_out: str):
    page = opened_at({"period": [CUSTOM], "days": days})
    for said in ([f'<p class="cc-note" role="alert">Not in this release, so left out: {left_out}.</p>'], []):
        assert alerts(page) == said
        assert [str(each) for each in page.date_input(key="days").value] == kept
        page.run()


@pytest.mark.parametrize(
    ("measure", "compare"), [("netSales", "before"), ("onTimeShipmentShare", "year"), ("orders", "year")]
)
def test_an_address_that_the_page_wrote_or_somebody_who_knows_the_names_is_taken(measure: str, compare: str):
    """The page writes what it shows: ``measure=Net+sales``."""
    for address in (
        {"measure": [title(measure)], "compare": [COMPARISONS[compare]]},
        {"measure": [measure], "compare": [compare]},
    ):
        page = opened_at(address)
        for _ in range(2):
            assert (page.selectbox(key="measure").value, page.selectbox(key="compare").value) == (measure, compare)
            assert alerts(page) == []
            assert page.query_params.get("measure", title("netSales")) == title(measure), "whoever is sent it"
            page.run()
        assert page.selectbox(key="measure").select("units").run().selectbox(key="measure").value == "units"
        assert alerts(page) == []
