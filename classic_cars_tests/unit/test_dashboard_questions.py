"""What is chosen on the dashboard becomes questions, and their answers are made small by the engine."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import ibis
import pyarrow as pa
import pytest

from classic_cars.contracts.countries import COUNTRIES
from classic_cars.dashboard import shapes
from classic_cars.dashboard.asking import side_by_side
from classic_cars.dashboard.filters import ALL, CHOOSABLE, CUSTOM, LATEST, Asked, Filters, condition, period_of, periods
from classic_cars.dashboard.serve import APP, command, stay_on_this_machine
from classic_cars.dashboard.worldmap import drawn, points_with
from classic_cars.errors import SettingsError
from classic_cars.serving.metrics.periods import compared
from classic_cars.settings import Settings

CHOSEN = Filters(period="2004", chosen={"country": ("France", "UK"), "status": ("Shipped",), "productLine": ()})


def test_what_is_chosen_is_asked():
    asked = CHOSEN.asked(["netSales"], ["country"], compare=True)
    assert asked == Asked(("netSales",), ("country",), ("country in France,UK", "status in Shipped"), "2004", "before")
    assert [each.dimension.name for each in asked.question.where] == ["country", "status"]


def test_filters_that_a_measure_has_not_are_left_out_and_named():
    assert CHOSEN.asked(["payments"]).where == ("country in France,UK",)
    assert CHOSEN.left_out(["netSales", "balance", "orders"]) == {(): ("netSales", "orders"), ("status",): ("balance",)}


def test_unlike_measures_have_the_filters_that_each_can_have():
    asked = CHOSEN.asked(["netSales", "payments", "orders"], ["country"], where=["customer=1"], compare=True)
    assert (asked.measures, asked.where) == (("netSales", "payments", "orders"), ("country in France,UK", "customer=1"))
    assert [(each.measures, each.where) for each in asked.parts] == [
        (("netSales", "orders"), ("country in France,UK", "status in Shipped", "customer=1")),
        (("payments",), ("country in France,UK", "customer=1")),
    ]
    assert {(each.by, each.period, each.compare) for each in asked.parts} == {(("country",), "2004", "before")}


def test_answers_side_by_side_have_every_group_once():
    """Missing groups meet missing ones; of what an answer has no group of, sums are 0 and ratios missing."""
    sales = answer(country=["France", None], netSales=[Decimal("5.00"), Decimal("2.00")])
    rated = answer(country=["Spain", None], averageRating=[Decimal("4.00"), Decimal("3.00")], ratings=[2, 1])
    question = Asked(("averageRating", "netSales", "ratings"), ("country",)).question
    assert [tuple(each.values()) for each in rows_of(side_by_side([sales, rated], question))] == [
        ("France", None, Decimal("5.00"), 0),
        ("Spain", Decimal("4.00"), Decimal("0.00"), 2),
        (None, Decimal("3.00"), Decimal("2.00"), 1),
    ]


def test_all_days_have_nothing_to_compare_with():
    asked = CHOSEN.asked(["netSales"], compare=True, always=True)
    assert (asked.period, asked.compare) == (None, None)


@pytest.mark.parametrize(
    ("period", "compare", "expected"),
    [
        ("2005", "before", ("2005-01-01..2005-05-17", "year")),
        ("2005", "year", ("2005-01-01..2005-05-17", "year")),
        ("2005-Q2", "before", ("2005-04-01..2005-05-17", "before")),
        ("2005-Q2", "year", ("2005-04-01..2005-05-17", "year")),
        ("2005-Q1", "before", ("2005-Q1", "before")),
        ("2004", "before", ("2004", "before")),
        ("2004-05-18..2005-05-17", "before", ("2004-05-18..2005-05-17", "before")),
    ],
)
def test_what_is_not_over_is_compared_with_like_days(period: str, compare: str, expected: tuple[str, str]):
    filters = Filters(period=period, compare=compare, last=date(2005, 5, 17))
    asked = filters.asked(["netSales"], compare=True)
    assert (asked.period, asked.compare) == expected
    assert filters.asked(["netSales"]).period == period  # all of it, where nothing is compared


@pytest.mark.parametrize(
    ("last", "expected"),
    [(date(2005, 5, 31), "2005-02-01..2005-03-31"), (date(2005, 5, 17), "2005-02-13..2005-03-31")],
)
def test_whole_months_of_a_quarter_are_compared_with_whole_months_and_other_days_with_as_many(
    last: date, expected: str
):
    asked = Filters(period="2005-Q2", last=last).asked(["netSales"], compare=True)
    assert asked.question.period is not None
    assert str(compared(asked.question.period, "before").period) == expected


@pytest.mark.parametrize("value", ["Korea, Republic of", 'The "Best" Shop', "O'Brien"])
def test_values_with_commas_and_quotes_stay_one_value(value: str):
    (found,) = Asked(("netSales",), where=(condition("country", [value, "UK"]),)).question.where
    assert found.values == (value, "UK")


@pytest.mark.parametrize("measure", CHOOSABLE)
def test_every_measure_that_can_be_chosen_can_be_filtered_by_all(measure: str):
    filters = Filters(chosen=dict.fromkeys(("country", "productLine", "status"), ("x",)))
    assert filters.left_out([measure]) == {(): (measure,)}


def test_periods_are_those_that_have_orders():
    found = periods(date(2004, 5, 3), date(2005, 2, 1))
    assert found == [LATEST, ALL, "2005", "2004", "2005-Q1", "2004-Q4", "2004-Q3", "2004-Q2", CUSTOM]
    assert periods(date(2003, 3, 30), date(2003, 4, 1)) == [LATEST, ALL, "2003", "2003-Q2", "2003-Q1", CUSTOM]


@pytest.mark.parametrize(
    ("choice", "last", "expected"),
    [
        (LATEST, date(2005, 5, 31), "2004-06-01..2005-05-31"),
        (LATEST, date(2005, 6, 6), "2004-06-07..2005-06-06"),
        (LATEST, date(2004, 2, 28), "2003-02-28..2004-02-28"),
        (ALL, date(2005, 5, 31), None),
        ("2004-Q2", date(2005, 5, 31), "2004-Q2"),
    ],
)
def test_a_choice_is_a_period(choice: str, last: date, expected: str | None):
    assert period_of(choice, last) == expected
    Asked(("netSales",), period=expected).question  # noqa: B018  (it can be asked)


def test_days_are_a_period_in_any_order():
    assert period_of(CUSTOM, date(2005, 5, 31), [date(2004, 3, 1), date(2004, 2, 1)]) == "2004-02-01..2004-03-01"


def test_days_that_are_chosen_half_are_one_day():
    assert period_of(CUSTOM, date(2005, 5, 31), [date(2004, 1, 2)]) == "2004-01-02..2004-01-02"


# Shapes ------------------------------------------------------------------------------------------------


def rows_of(table: ibis.Table) -> list[dict]:
    return table.to_pyarrow().to_pylist()


def answer(**columns: list) -> ibis.Table:
    return ibis.memtable(pa.table(columns))


def test_ranks_leave_out_what_has_no_value():
    table = answer(product=["a", "b", "c", "d"], margin=[Decimal("0.10"), None, Decimal("0.30"), Decimal("0.20")])
    assert [row["product"] for row in rows_of(shapes.ranked("margin", 2)(table))] == ["c", "d"]
    assert [row["product"] for row in rows_of(shapes.worst("margin", 2)(table))] == ["a", "d"]


def test_concentration_is_a_curve_from_the_largest():
    found = rows_of(shapes.concentration("netSales")(answer(customer=[1, 2, 3, 4, 5], netSales=[10, 60, 20, 10, 0])))
    assert [row["members"] for row in found] == [1, 2, 3, 4]
    assert [row["share"] for row in found] == [0.6, 0.8, 0.9, 1.0]
    assert [row["shareOfMembers"] for row in found] == [0.25, 0.5, 0.75, 1.0]


def test_a_thousand_customers_are_a_hundred_points():
    table = answer(customer=[*range(1000)], netSales=[*range(1, 1001)])
    assert len(rows_of(shapes.concentration("netSales")(table))) == 100


def test_cohorts_are_called_by_their_quarters_and_in_order():
    first, second, last = date(2003, 1, 1), date(2003, 4, 1), date(2004, 10, 1)
    table = answer(cohort=[second, first, first], quarter=[second, last, first], quartersSince=[0, 7, 0])
    assert [tuple(row.values()) for row in rows_of(shapes.cohorts()(table))] == [
        ("2003-Q1", "2003-Q1", 0),
        ("2003-Q1", "2004-Q4", 7),
        ("2003-Q2", "2003-Q2", 0),
    ]


# The map, and the server -------------------------------------------------------------------------------


def test_every_country_of_the_contracts_is_on_the_map():
    assert set(COUNTRIES) <= drawn()


def test_places_that_have_no_shape_are_points():
    found = points_with({"Singapore": {"netSales": 1.0}, "France": {"netSales": 2.0}})
    assert [(each["country"], each["netSales"]) for each in found] == [("Singapore", 1.0)]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_this_machine_may_be_listened_to(host: str):
    assert f"--server.address={host}" in command(host, 8501, Settings())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", ""])
def test_others_could_reach_any_other_address(host: str):
    with pytest.raises(SettingsError, match="nobody would ask who they are"):
        command(host, 8501, Settings())


def test_nothing_is_told_to_anybody():
    options = command("127.0.0.1", 8501, Settings())
    assert "--browser.gatherUsageStats=false" in options
    assert "--client.showErrorDetails=none" in options


def test_nobody_is_asked_for_this_machines_address(monkeypatch: pytest.MonkeyPatch):
    """A page of another site that opens a web socket is refused, and the machine asks nobody on the internet."""
    from streamlit import net_util
    from streamlit.web.server import server_util

    asked: list[str] = []
    monkeypatch.setattr(net_util, "_make_blocking_http_get", lambda url, **_: asked.append(url))
    monkeypatch.setattr(net_util, "get_external_ip", net_util.get_external_ip)
    assert not server_util.is_url_from_allowed_origins("https://example.com")
    assert asked, "without this it does"
    asked.clear()
    stay_on_this_machine()
    assert not server_util.is_url_from_allowed_origins("https://example.com")
    assert asked == []


def test_streamlit_finds_no_pages_of_its_own():
    """It carries out files of a folder ``pages`` beside the program by themselves, for whoever comes first."""
    assert not (APP.parent / "pages").exists()
