"""Random questions about measures have the answers that pandas and plain Python work out.

The data is small and mean: orders of several products and lines of one order in several groups, two cities of one
name, missing states, prices, representatives and days, negative profits, a day that other years do not have.
"""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pytest

from classic_cars.contracts.base import Contract
from classic_cars.contracts.cuts import DIMENSIONS
from classic_cars.contracts.measures import MEASURES
from classic_cars.serving.metrics import ask, expression
from classic_cars.serving.metrics.rows import contracts
from classic_cars_tests import questions
from classic_cars_tests.questions import BALANCE, ORDERS, PAYMENTS, RATINGS, RATIOS, TIME, Asked, answered, cuts_of

FIRST, LAST = date(2003, 1, 6), date(2005, 3, 31)
PLACES = [
    ("France", None, "Paris"),
    ("USA", "TX", "Paris"),
    ("USA", "MO", "Kansas City"),
    ("USA", "KS", "Kansas City"),
    ("Norway", None, "Oslo"),
    ("Unknown", None, "Unknown"),
]
LINES = ["Planes", "Classic Cars", "Trucks and Buses", 'O\'Neil "x"; --']
STATUSES = ["Shipped", "Cancelled", "On Hold", "Unknown"]


def _money(chance: random.Random, most: int) -> Decimal:
    return Decimal(chance.randint(0, most * 100)) / 100


def _maybe(chance: random.Random, value: Any, missing: float = 0.15) -> Any:
    return None if chance.random() < missing else value


@cache
def tables() -> dict[str, pd.DataFrame]:
    """A small warehouse."""
    chance = random.Random(5)
    days = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1)]
    ordered = [*days[::9], date(2004, 2, 29), date(2004, 2, 28), date(2003, 2, 28)]
    customers = [-1, *range(101, 118)]
    products = [f"S{number}" for number in range(14)]
    reps = [None, 1001, 1002, 1003, 1004]
    rep_of = {customer: chance.choice(reps) for customer in customers}
    lines = []
    for order in range(1, 121):
        day, customer, status = chance.choice(ordered), chance.choice(customers), chance.choice(STATUSES)
        wanted = _maybe(chance, day + timedelta(days=7))
        shipped = _maybe(chance, day + timedelta(days=chance.randint(1, 9)))
        for product in chance.sample(products, chance.randint(1, 4)):
            quantity, price = chance.randint(1, 60), _money(chance, 120)
            lines.append(
                {
                    "orderNumber": order,
                    "productCode": product,
                    "customerNumber": customer,
                    "salesRepEmployeeNumber": rep_of[customer],
                    "orderDate": day,
                    "requiredDate": wanted,
                    "shippedDate": shipped,
                    "status": status,
                    "quantityOrdered": quantity,
                    "priceEach": price,
                    "buyPrice": _maybe(chance, _money(chance, 90)),
                    "MSRP": _maybe(chance, _money(chance, 150)),
                    "orderAmount": quantity * price,
                }
            )
    paid = [
        {
            "customerNumber": chance.choice(customers),
            "checkNumber": f"C{number}",
            "paymentDate": _maybe(chance, chance.choice(days), 0.1),
            "amount": _money(chance, 4000),
        }
        for number in range(70)
    ]
    rated = [
        {"customerNumber": customer, "productCode": product, "productRating": chance.randint(1, 5), "ratedAt": moment}
        for customer, product in {(chance.choice(customers), chance.choice(products)) for _ in range(60)}
        for moment in [datetime.combine(chance.choice(days), datetime.min.time()) + timedelta(hours=23, minutes=59)]
    ]
    found: dict[str, list[dict[str, Any]]] = {
        "fact_orders": (lines),
        "fact_payments": (paid),
        "fact_ratings": (rated),
        "dim_customers": (
            [
                {"customerNumber": each, "customerName": f"Shop {each % 5}", "locationKey": f"K{each % len(PLACES)}"}
                for each in customers
            ]
        ),
        "dim_locations": (
            [
                {"locationKey": f"K{number}", "country": country, "state": state, "city": city}
                for number, (country, state, city) in enumerate(PLACES)
            ]
        ),
        "dim_products": (
            [
                {
                    "productCode": each,
                    "productName": f"Model {number % 4}",
                    "productLine": LINES[number % 4],
                    "productVendor": f"Maker {number % 3}",
                }
                for number, each in enumerate(products)
            ]
        ),
        "dim_employees": (
            [
                {
                    "employeeNumber": each,
                    "officeCode": str(number % 3),
                    "officeCity": f"Office {number % 3}",
                    "officeTerritory": ["NA", "EMEA", "EMEA"][number % 3],
                }
                for number, each in enumerate(reps[1:])
            ]
        ),
        "dim_dates": ([{"date": each} for each in days]),
    }
    # Python's own values: a missing number would make floats of the others.
    return {name: pd.DataFrame(rows, dtype=object) for name, rows in found.items()}


@cache
def store() -> ibis.BaseBackend:
    """The same, in DuckDB, with the contracts' types."""
    backend = ibis.duckdb.connect()
    for contract in contracts().values():
        frame = tables()[contract.name]
        kinds = ibis.schema({name: kind for name, kind in contract.types.items() if name in frame.columns})
        rows = [{name: None if pd.isna(v) else v for name, v in row.items()} for row in frame.to_dict("records")]
        backend.create_table(contract.name, pa.Table.from_pylist(rows, schema=kinds.to_pyarrow()))
    return backend


@cache
def joined() -> dict[str, list[dict[str, Any]]]:
    return questions.joined(tables())


def read(contract: Contract) -> ibis.Table:
    return store().table(contract.name)


# Questions -----------------------------------------------------------------------------------------------

NAMES = [*ORDERS, *PAYMENTS, *RATINGS, *RATIOS, BALANCE]
PERIODS = {
    "2004": (date(2004, 1, 1), date(2004, 12, 31)),
    "2004-Q1": (date(2004, 1, 1), date(2004, 3, 31)),
    "2004-02": (date(2004, 2, 1), date(2004, 2, 29)),
    "2004-02-29": (date(2004, 2, 29), date(2004, 2, 29)),
    "2005-02-10..2005-02-28": (date(2005, 2, 10), date(2005, 2, 28)),
    "2003-06..2004-05": (date(2003, 6, 1), date(2004, 5, 31)),
    "2003-11-17..2004-03-02": (date(2003, 11, 17), date(2004, 3, 2)),
    "2003..2005-Q1": (date(2003, 1, 1), date(2005, 3, 31)),
    "1999": (date(1999, 1, 1), date(1999, 12, 31)),
}


@cache
def values_of(name: str) -> list[Any]:
    rows = [row for each in joined().values() for row in each]
    if name in TIME:
        found = {questions.time_value(name, row["day"]) for row in rows}
    else:
        found = {row.get(name) for row in rows}
    return [*sorted((each for each in found if each is not None), key=str), None]


def a_filter(chance: random.Random, names: list[str]) -> tuple[str, str, Any]:
    """Of one dimension: its name, the text, and the same as a function of a value."""
    name = chance.choice(names)
    known = values_of(name)
    kind = chance.choice(["=", "!=", "in", "<", "<=", ">", ">="] if name in TIME else ["=", "!=", "in"])
    if kind == "in":
        chosen = chance.choices(known, k=chance.randint(1, 5))
        texts = ",".join('"' + _text(each).replace('"', '""') + '"' for each in chosen)
        return name, f"{name} in {texts}", lambda value: value in chosen
    value = chance.choice(known if kind in ("=", "!=") else known[:-1])
    holds = {
        "=": lambda found: found == value,
        "!=": lambda found: found != value,
        "<": lambda found: found is not None and found < value,
        "<=": lambda found: found is not None and found <= value,
        ">": lambda found: found is not None and found > value,
        ">=": lambda found: found is not None and found >= value,
    }[kind]
    return name, f"{name}{kind}{_text(value)}", holds


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def a_question(chance: random.Random) -> Asked:
    measures = tuple(chance.sample(NAMES, chance.choice([1, 1, 2, 3])))
    cuts = cuts_of(measures)
    by = tuple(chance.sample(cuts, min(len(cuts), chance.choice([0, 1, 1, 2, 3]))))
    filtered = [name for name in cuts if BALANCE not in measures or name not in TIME]
    where = tuple(a_filter(chance, filtered) for _ in range(chance.choice([0, 0, 1, 1, 2])))
    period = chance.choice([None, *PERIODS])
    compare = chance.choice([None, "year", "before"]) if period else None
    top = chance.choice([None, None, None, 1, 4])
    share = questions.may_have_shares(measures, by) and chance.random() < 0.5
    return Asked(measures, by, where, (period, *PERIODS[period]) if period else None, compare, top, share)


def compare_with_pandas(asked: Asked) -> None:
    question = ask(
        asked.measures,
        asked.by,
        [text for _, text, _ in asked.where],
        asked.period[0] if asked.period else None,
        asked.compare,
        asked.top,
        asked.share,
    )
    found = store().to_pyarrow(expression(question, read)).to_pylist()
    expected = answered(asked, joined(), list(tables()["dim_dates"]["date"]))
    assert [list(row.items()) for row in found] == [list(row.items()) for row in expected], asked


@pytest.mark.parametrize("seed", range(2))
def test_random_questions_have_the_answers_of_pandas(seed: int):
    chance = random.Random(seed)
    for _ in range(25):
        compare_with_pandas(a_question(chance))


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(2, 108))
def test_many_random_questions_have_the_answers_of_pandas(seed: int):
    test_random_questions_have_the_answers_of_pandas(seed)


def test_a_total_that_is_not_above_0_has_no_shares():
    compare_with_pandas(Asked(("grossProfit", "units"), ("product",), share=True))
    nothing = Asked(("units",), ("country",), period=("1999", *PERIODS["1999"]), share=True)
    compare_with_pandas(nothing)
    compare_with_pandas(Asked(("units",), (), period=("1999", *PERIODS["1999"]), share=True))


def test_a_balance_is_compared_as_far_as_the_calendar_goes():
    question = ask(["balance"], ["month"], [], "2005", "year")
    found = store().to_pyarrow(expression(question, read)).to_pylist()
    assert [row["month"] for row in found] == ["2005-01", "2005-02", "2005-03"]
    assert all(row["balance"] and row["balanceBefore"] for row in found)


def _balances(by: str, period: str | None = None, compare: str | None = None, where: tuple[str, ...] = ()) -> list[Any]:
    return store().to_pyarrow(expression(ask(["balance"], by.split(","), where, period, compare), read)).to_pylist()


def _balance_on(day: str) -> Decimal:
    (row,) = store().to_pyarrow(expression(ask(["balance"], period=day), read)).to_pylist()
    return row["balance"]


@pytest.mark.parametrize(
    ("period", "compare", "day", "beside"),
    [
        ("2004-03", "before", "2004-03-29", "2004-02-29"),
        ("2004-03", "before", "2004-03-30", "2004-02-29"),
        ("2004-03", "before", "2004-03-31", "2004-02-29"),
        ("2004-02", "year", "2004-02-29", "2003-02-28"),
        ("2004-02-29", "year", "2004-02-29", "2003-02-28"),
        ("2004", "year", "2004-02-29", "2003-02-28"),
        ("2005-02", "year", "2005-02-28", "2004-02-29"),
        ("2004-02", "before", "2004-02-29", "2004-01-31"),
        ("2004-12", "before", "2004-12-31", "2004-11-30"),
        ("2005-03", "before", "2005-03-29", "2005-02-28"),
        ("2004-03-29..2004-04-02", "year", "2004-03-31", "2003-03-31"),
    ],
)
def test_a_day_that_the_days_before_do_not_have_stands_beside_the_balance_of_their_last(
    period: str, compare: str, day: str, beside: str
):
    rows = {str(row["date"]): row for row in _balances("date", period, compare)}
    assert rows[day]["balance"] == _balance_on(day)
    assert rows[day]["balanceBefore"] == _balance_on(beside) != 0


@pytest.mark.parametrize("by", ["date", "month", "quarter", "year"])
def test_a_filter_leaves_out_no_unit_of_time_of_a_balance(by: str):
    for country in ("France", "USA", "Norway", "Unknown"):
        unfiltered = [row for row in _balances(f"country,{by}") if row["country"] == country]
        assert _balances(f"country,{by}", where=(f"country={country}",)) == unfiltered
        assert unfiltered[-1][by] == questions.time_value(by, _last_flow())


def _last_flow() -> date:
    rows = [*joined()["orders"], *joined()["payments"]]
    return max(row["day"] for row in rows if row["day"] is not None)


def test_everything_that_can_be_asked_is_compared():
    assert sorted(NAMES) == sorted(MEASURES)
    assert sorted(questions.CUTS["orders"]) == sorted(DIMENSIONS)


def test_a_filter_of_time_is_about_the_days_asked_for_on_both_sides():
    """As docs/metrics.md says: what was before is shown on those days, and filtered by them."""
    for bound in ("quarter<=2004-Q1", "month<2005-03"):
        (row,) = store().to_pyarrow(expression(ask(["netSales"], (), [bound], "2005-03", "year"), read)).to_pylist()
        assert (row["netSales"], row["netSalesBefore"], row["netSalesGrowth"]) == (0, 0, None)


def test_growth_is_against_the_absolute_value_of_what_was_before():
    rows = _balances("customer", "2004", "year")
    below = [row for row in rows if row["balanceBefore"] < 0 and row["balanceChange"]]
    assert below
    assert all((row["balanceGrowth"] > 0) == (row["balanceChange"] > 0) for row in below)
    assert all(row["balanceGrowth"] is None for row in rows if not row["balanceBefore"])
