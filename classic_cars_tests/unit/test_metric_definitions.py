"""Measures, dimensions and the questions about them: what is refused, what a word means, what can never go wrong."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import ibis
import pytest

from classic_cars.assets.dimensions import dim_dates
from classic_cars.contracts import measures
from classic_cars.contracts.cuts import DAY, DIMENSIONS, dimensions_of
from classic_cars.contracts.measures import FACTS, MEASURES, additivity, divided, parts_of
from classic_cars.errors import QuestionError
from classic_cars.serving.metrics import Period, ask, columns_of, expression, facts_about, hints
from classic_cars.serving.metrics.document import metric_definitions
from classic_cars.serving.metrics.fitting import check_metrics
from classic_cars.serving.metrics.periods import compared
from classic_cars.serving.metrics.rows import contracts
from classic_cars.serving.metrics.values import unknown_values
from classic_cars_tests.unit.test_metric_questions import joined, read, store, tables

# Definitions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", DIMENSIONS.values(), ids=lambda each: each.name)
def test_a_dimension_is_looked_up_by_proven_keys_and_shows_nothing_personal(dimension):
    tables = [contracts()[address] for address, _ in dimension.path]
    for table, (_, key) in zip(tables, dimension.path, strict=True):
        assert table.key == (key,)
    for _, source in dimension.columns:
        assert not any(table.is_personal(source) for table in tables if source in table.types)


@pytest.mark.parametrize("fact", FACTS.values(), ids=lambda each: each.address)
def test_a_fact_has_the_columns_that_it_is_cut_by(fact):
    contract = contracts()[fact.address]
    assert {*fact.keys, fact.day} <= {*contract.types.names}
    known = {each.key for each in DIMENSIONS.values()} - {DAY}
    assert {*fact.keys} == known & {*contract.types.names}
    assert not any(contract.is_personal(each) for each in fact.keys)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=lambda each: each.name)
def test_a_measure_says_what_it_reads(measure):
    for part in parts_of(measure):
        rows = ibis.table(contracts()[part.fact].types, name="rows")
        needed = rows.select(*part.columns)
        assert part.of(needed).type() == part.of(rows).type()
    assert measure.description
    assert measure.unit.name
    assert additivity(measure)
    assert format(0, measure.unit.format)


def test_the_measure_of_the_page_is_worked_out_and_has_no_shares(monkeypatch: pytest.MonkeyPatch):
    (code,) = re.findall(r"^```python\n(.*?)^```$", metric_definitions(), re.MULTILINE | re.DOTALL)
    told = dict(vars(measures))
    exec(code, told)
    largest = told["LARGEST_LINE"]
    check_metrics([largest])
    monkeypatch.setitem(MEASURES, "largestLine", largest)
    assert additivity(largest) == "not additive: worked out at the grain that is asked for"
    (row,) = expression(ask(["largestLine"]), read).to_pyarrow().to_pylist()
    assert row["largestLine"] == max(tables()["fact_orders"]["orderAmount"])
    for by in ("country", "month", "productLine"):
        with pytest.raises(QuestionError, match=f"largestLine by {by} has no share of a total: it is not additive"):
            ask(["largestLine"], by=[by], share=True)


def test_the_calendar_is_that_of_the_warehouse():
    days = ibis.memtable({"orderDate": [date(2003, 12, 28), date(2004, 1, 2)]}, schema={"orderDate": "date"})
    orders = days.mutate(requiredDate=days.orderDate, shippedDate=days.orderDate)
    payments = days.select(paymentDate=days.orderDate)
    calendar = dim_dates.function(orders, payments)
    named = {name: DIMENSIONS[name].shown(DIMENSIONS[name].of(calendar.date)) for name in ("month", "quarter", "year")}
    rows = calendar.select("yearMonth", "quarterName", year_=calendar.year, **named).to_pyarrow().to_pylist()
    assert len(rows) == 6
    assert all(row["month"] == row["yearMonth"] for row in rows)
    assert all(row["quarter"] == row["quarterName"] for row in rows)
    assert all(row["year"] == row["year_"] for row in rows)


@pytest.mark.parametrize(
    ("part", "whole", "decimals", "expected"),
    [
        ("1", "8", 2, "0.13"),
        ("-1", "8", 2, "-0.12"),
        ("1", "3", 4, "0.3333"),
        ("5", "0", 4, "None"),
        ("0.01", "99999999999.99", 4, "0.0000"),
        ("99999999.99", "0.01", 2, "9999999999.00"),
        ("0.05", "1000", 4, "0.0001"),
        ("369807.37", "9604190.61", 8, "0.03850479"),
        ("-0.01", "3.00", 8, "-0.00333333"),
        ("-3.00", "0.02", 8, "-150.00000000"),
        ("999999999999.99", "1000000000000.00", 8, "1.00000000"),
    ],
)
def test_a_ratio_is_rounded_half_up_to_the_last_digit(part: str, whole: str, decimals: int, expected: str):
    values = [ibis.literal(each).cast("decimal(18, 2)") for each in (part, whole)]
    assert str(store().execute(divided(*values, decimals))) == expected


def test_growth_from_a_cent_to_billions_is_a_number():
    now, before = (ibis.literal(each).cast("decimal(18, 2)") for each in ("10015006585.01", "0.01"))
    assert abs(store().execute(divided(now, before, 8)) - 1_001_500_658_501) < Decimal("0.001")


# Refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"measures": []}, "no measure"),
        ({"measures": ["netsales"]}, "did you mean netSales? There are orders, units"),
        ({"measures": ["netSales"], "by": ["contry"]}, "did you mean country? There are date, month"),
        ({"measures": ["netSales"], "by": ["zzz"]}, "dimension 'zzz' is not known; There are date, month"),
        ({"measures": ["payments"], "by": ["productLine"]}, "payments cannot be cut by productLine; it can by date,"),
        ({"measures": ["netSales", "balance"], "where": ["status=Shipped"]}, "balance cannot be cut by status"),
        ({"measures": ["balance"], "where": ["year=2004"]}, "say the days with a period"),
        ({"measures": ["netSales"], "where": ["country"]}, "expected NAME=VALUE"),
        ({"measures": ["netSales"], "where": ["country<USA"]}, "country has no order"),
        ({"measures": ["netSales"], "where": ["month<"]}, "expected a month such as 2004-05"),
        ({"measures": ["netSales"], "where": ["year=MMIV"]}, "year: found 'MMIV', expected a year such as 2004"),
        ({"measures": ["netSales"], "where": ["customer=1 OR 1=1"]}, "expected a whole number such as 103"),
        ({"measures": ["netSales"], "where": ["customer=99999999999"]}, "expected a whole number"),
        ({"measures": ["netSales"], "where": ["quarter=2004-Q5"]}, "expected a quarter"),
        ({"measures": ["netSales"], "period": "2004-13"}, "period '2004-13': expected a year 2004"),
        *(
            ({"measures": ["netSales"], "period": day}, f"period {day!r}: expected a year 2004")
            for day in ("2004-W20", "2004-W20..2004-W22", "2004-W20-1", "2004W201", "20040517", "2004-5-17", "+200")
        ),
        ({"measures": ["netSales"], "where": ["date=2004-W20"]}, "date: found '2004-W20', expected a day such as 2004"),
        ({"measures": ["netSales"], "where": ["date>=20040517"]}, "date: found '20040517', expected a day such as"),
        ({"measures": ["netSales"], "where": ["customer=1_03"]}, "expected a whole number such as 103"),
        ({"measures": ["netSales"], "period": "2005..2004"}, "ends before it starts"),
        ({"measures": ["netSales"], "period": "2004.."}, "expected a year"),
        (
            {"measures": ["netSales"], "where": ["country in A\rB"]},
            "filter 'country in A\\rB': cannot be read (new-line",
        ),
        ({"measures": ["netSales"], "where": [f"country in {'x' * 200_000}"]}, "cannot be read (field larger than"),
        ({"measures": ["netSales"], "where": ["country in "]}, "expected values after it"),
        ({"measures": ["netSales"], "period": "0000"}, "expected a year"),
        ({"measures": ["netSales"], "compare": "year"}, "needs a period"),
        ({"measures": ["netSales"], "compare": "decade", "period": "2004"}, "expected year or before"),
        ({"measures": ["netSales"], "top": 0}, "from 1 on"),
        *(
            ({"measures": [name], "by": ["salesRep"]}, f"{name} cannot be cut by salesRep; it can by date, month")
            for name in ("payments", "balance", "ratings", "averageRating")
        ),
        *(
            ({"measures": ["netSales", name], "share": True}, f"{name} has no share of a total: it is {why}")
            for name, why in (("margin", "not additive"), ("balance", "semi-additive: over customers"))
        ),
        *(
            ({"measures": ["orders"], "by": ["country", by], "share": True}, f"orders by {by} has no share of a total")
            for by in ("productLine", "product", "vendor")
        ),
    ],
)
def test_what_cannot_be_asked_says_what_can(asked: dict, said: str):
    with pytest.raises(QuestionError, match=re.escape(said)):
        ask(**asked)


def test_nothing_lies_before_the_first_year():
    with pytest.raises(QuestionError, match="nothing lies before"):
        compared(Period.parse("0001"), "year")


@pytest.mark.parametrize(
    "value", ["' OR 1=1 --", "x'; DROP TABLE fact_orders; --", "\\", '"', "%", "$1", "{}", "\u2019"]
)
def test_hostile_values_are_values(value: str):
    question = ask(["orders"], where=[f"productLine={value}", f"city!={value}"])
    (row,) = store().to_pyarrow(expression(question, read)).to_pylist()
    assert row == {"orders": 0}
    assert "fact_orders" in store().list_tables()


def test_hostile_names_are_no_names():
    for name in ("netSales; DROP TABLE x", "orders) --", "__class__", ""):
        with pytest.raises(QuestionError):
            ask([name])
        with pytest.raises(QuestionError):
            ask(["netSales"], by=[name])
        with pytest.raises(QuestionError):
            ask(["netSales"], where=[f"{name}=1"])


# Values that nothing has ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (["productLine=Planes"], []),
        (["productLine=Plane"], ["there is no productLine 'Plane'; did you mean Planes?"]),
        (["productLine=planes"], ["there is no productLine 'planes'; did you mean Planes?"]),
        (["country=USA AND status=Shipped"], [
            "there is no country 'USA AND status=Shipped'; a filter is one condition: one --where for each",
        ]),
        (["productLine!=Trucks"], ["there is no productLine 'Trucks'; did you mean Trucks and Buses?"]),
        (["country in USA,Frnace", "country=Atlantis"], [
            "there is no country 'Frnace'; did you mean France?",
            "there is no country 'Atlantis'",
        ]),
        (["status=Canceled", "city=Kansas"], [
            "there is no status 'Canceled'; did you mean Cancelled?",
            "there is no city 'Kansas'; did you mean Kansas City?",
        ]),
        # Another number is another customer, and a bound is right wherever it is.
        (["customer=99", "salesRep=1001"], ["there is no customer '99'"]),
        (["date>=1999-01-01", "year<2030", "state=", "month=", "year in 2003,2004", "quarter!=2004-Q1"], []),
        (["year=2030"], ["nothing has the year 2030"]),
        (["month in 2004-03,2030-01", "country=USA"], ["nothing has the month 2030-01"]),
        (["quarter!=1999-Q4", "date=2004-02-29", "country=Frnace"], [
            "nothing has the quarter 1999-Q4",
            "there is no country 'Frnace'; did you mean France?",
        ]),
        (["date=2004-02-29", "date=2004-03-01"], ["nothing has the date 2004-03-01"]),
        (["productLine=' OR 1=1 --"], ["there is no productLine \"' OR 1=1 --\""]),
    ],
)  # fmt: skip
def test_a_value_that_nothing_has_is_named_with_those_that_are_like_it(where: list[str], said: list[str]):
    assert hints(ask(["netSales"], where=where), read) == said


def test_a_time_is_looked_for_where_the_measures_are_from():
    """Of the day of an order that has no payment, or the other way round, one measure knows nothing."""
    days = {name: {row["day"] for row in joined()[name]} for name in ("orders", "payments")}
    ordered, paid = (min(days[a] - days[b] - {None}) for a, b in [("orders", "payments"), ("payments", "orders")])
    where = [f"date in {ordered},{paid}"]
    assert hints(ask(["netSales"], where=where), read) == [f"nothing has the date {paid}"]
    assert hints(ask(["payments"], where=where), read) == [f"nothing has the date {ordered}"]
    assert hints(ask(["payments", "netSales"], where=where), read) == []


def test_where_only_the_case_is_wrong_nothing_else_is_meant():
    near = [("country", "usa", each) for each in ("USA", "Austria")]
    assert unknown_values(ask(["netSales"], where=["country=usa"]), near) == [
        "there is no country 'usa'; did you mean USA?"
    ]


def test_many_values_are_looked_up_in_one_question():
    where = [f"product in {','.join(f'S{number}' for number in range(500))}"]
    said = hints(ask(["netSales"], where=where), read)
    assert len(said) == 486
    assert said[0].startswith("there is no product 'S14'; did you mean S")


# Meaning -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "comparison", "first", "last"),
    [
        ("2004", "year", date(2003, 1, 1), date(2003, 12, 31)),
        ("2004", "before", date(2003, 1, 1), date(2003, 12, 31)),
        ("2004-02", "year", date(2003, 2, 1), date(2003, 2, 28)),
        ("2005-02", "year", date(2004, 2, 1), date(2004, 2, 29)),
        ("2004-03", "before", date(2004, 2, 1), date(2004, 2, 29)),
        ("2004-Q1", "before", date(2003, 10, 1), date(2003, 12, 31)),
        ("2003-06..2004-05", "before", date(2002, 6, 1), date(2003, 5, 31)),
        ("2004-02-29", "year", date(2003, 2, 28), date(2003, 2, 28)),
        ("2004-03-10..2004-03-19", "before", date(2004, 2, 29), date(2004, 3, 9)),
    ],
)
def test_what_a_period_is_compared_with(period: str, comparison: str, first: date, last: date):
    assert compared(Period.parse(period), comparison).period == Period(first, last)


def test_every_column_of_an_answer_with_shares_is_described():
    question = ask(["netSales", "orders"], by=["country"], period="2004", compare="year", share=True)
    assert [each.name for each in columns_of(question)] == list(expression(question, read).columns)


def test_every_column_of_an_answer_is_described():
    question = ask(["netSales", "margin", "balance"], by=["city", "month"], period="2004", compare="year")
    assert [each.name for each in columns_of(question)] == list(expression(question, read).columns)
    assert all(each.description for each in columns_of(question))


def test_a_question_reads_no_more_tables_than_it_has_to():
    seen: list[str] = []

    def noted(contract):
        seen.append(contract.address)
        return read(contract)

    expression(ask(["netSales", "margin"], by=["month", "status"], where=["salesRep=1001"]), noted)
    assert seen == ["warehouse/fact_orders"]


@pytest.mark.parametrize("name", [*MEASURES, *DIMENSIONS])
def test_every_name_is_explained(name: str):
    description, facts = facts_about(name)
    assert description
    assert facts["from"]


def test_a_dimension_says_which_measures_it_cuts():
    _, facts = facts_about("status")
    assert "netSales" in facts["cuts"].split(", ")
    assert "payments" not in facts["cuts"].split(", ")
    assert DIMENSIONS["status"] not in dimensions_of(MEASURES["payments"])
