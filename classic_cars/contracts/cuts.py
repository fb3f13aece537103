"""Dimensions: what measures can be cut by, and filtered by. One definition for every fact that has the key.

A dimension belongs to a key column of facts, and is reached from there through keys of ``warehouse/dim_*`` that are
proven unique, so that a fact's row is counted once whatever it is cut by. A fact without the column cannot be cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import ibis.expr.types as ir

from classic_cars.contracts.measures import FACTS, Fact, Measure, parts_of
from classic_cars.months import day_of

#: The key of dimensions of time: the day of a fact, whatever its column is called.
DAY = "day"

Step = tuple[str, str]
CUSTOMERS: Step = ("warehouse/dim_customers", "customerNumber")
PLACES: Step = ("warehouse/dim_locations", "locationKey")
PRODUCTS: Step = ("warehouse/dim_products", "productCode")
EMPLOYEES: Step = ("warehouse/dim_employees", "employeeNumber")


@dataclass(frozen=True)
class Dimension:
    """A way to cut measures. ``key``: the column of facts it hangs on. ``path``: the tables that it is looked up in.

    ``columns``: what a result has for it, and the columns of the tables these come from; the one of its own name is
    what filters compare, the others are what tells two values of one name apart, or what it is called. ``of``: of a
    dimension of time, from the day. ``above``: what is coarser in its hierarchy.
    """

    name: str
    description: str
    key: str
    columns: tuple[tuple[str, str], ...]
    parse: Callable[[str], Any]
    path: tuple[Step, ...] = ()
    above: str = ""
    of: Callable[[ir.DateValue], ir.DateValue] | None = None
    shown: Callable[[ir.DateValue], ir.Value] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of a result."""
        return tuple(name for name, _ in self.columns)

    @property
    def column(self) -> str:
        """Where its value comes from, for people: a column of the star schema."""
        source = dict(self.columns)[self.name]
        return f"{self.path[-1][0]}.{source}" if self.path and source != self.key else f"{self.key} of the fact"

    def cuts(self, fact: Fact) -> bool:
        return self.key == DAY or self.key in fact.keys


# Values -------------------------------------------------------------------------------------------------

#: As they are written: Python also takes ``1_03``, and digits of other scripts.
_INTEGER, _YEAR = re.compile("-?[0-9]+"), re.compile("[0-9]{4}")


def _integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None or not -(2**31) <= int(text) < 2**31:
        raise ValueError
    return int(text)


def _year(text: str) -> date:
    if _YEAR.fullmatch(text) is None:
        raise ValueError
    return date(int(text), 1, 1)


def _quarter(text: str) -> date:
    year, found, number = text.upper().partition("-Q")
    if not found or number not in ("1", "2", "3", "4"):
        raise ValueError
    return _year(year).replace(month=3 * int(number) - 2)


def _month(text: str) -> date:
    return day_of(f"{text}-01")


#: What a value of a type looks like, for messages.
EXAMPLES: dict[Callable[[str], Any], str] = {
    _integer: "a whole number such as 103",
    _year: "a year such as 2004",
    _quarter: "a quarter such as 2004-Q2",
    _month: "a month such as 2004-05",
    day_of: "a day such as 2004-05-17",
    str: "a text",
}


# Dimensions ---------------------------------------------------------------------------------------------


def _year_text(day: ir.DateValue) -> ir.StringValue:
    return day.year().cast("string")


def _time(name: str, description: str, parse: Callable[[str], Any], of: Any, shown: Any, above: str = "") -> Dimension:
    return Dimension(name, description, DAY, ((name, DAY),), parse, above=above, of=of, shown=shown)


def _at_place(name: str, description: str, columns: tuple[str, ...], above: str = "") -> Dimension:
    same = tuple((each, each) for each in columns)
    return Dimension(name, description, "customerNumber", same, str, (CUSTOMERS, PLACES), above)


_ALL = (
    _time(
        "date",
        "Day of the order; of payments the day they arrived, of ratings the day they were given",
        day_of,
        lambda day: day,
        lambda day: day,
        above="month",
    ),
    _time(
        "month",
        "Month of that day, such as 2004-05",
        _month,
        lambda day: day.truncate("M"),
        lambda day: _year_text(day) + "-" + day.month().cast("string").lpad(2, "0"),
        above="quarter",
    ),
    _time(
        "quarter",
        "Quarter of that day, such as 2004-Q2",
        _quarter,
        lambda day: day.truncate("Q"),
        lambda day: _year_text(day) + "-Q" + day.quarter().cast("string"),
        above="year",
    ),
    _time("year", "Year of that day", _year, lambda day: day.truncate("Y"), lambda day: day.year().cast("int32")),
    _at_place("country", "Country of the customer", ("country",)),
    _at_place("state", "State or region of the customer; missing in most countries", ("country", "state"), "country"),
    _at_place("city", "City of the customer", ("country", "state", "city"), "state"),
    Dimension(
        "customer",
        "Customer, by number, with the name of the business; -1: orders that name none",
        "customerNumber",
        (("customer", "customerNumber"), ("customerName", "customerName")),
        _integer,
        (CUSTOMERS,),
        "city",
    ),
    Dimension("productLine", "Product line", "productCode", (("productLine", "productLine"),), str, (PRODUCTS,)),
    Dimension(
        "product",
        "Product, by code, with its name",
        "productCode",
        (("product", "productCode"), ("productName", "productName")),
        str,
        (PRODUCTS,),
        "productLine",
    ),
    Dimension("vendor", "Maker of the model", "productCode", (("vendor", "productVendor"),), str, (PRODUCTS,)),
    Dimension(
        "territory",
        "Sales territory of the office of the customer's sales representative",
        "salesRepEmployeeNumber",
        (("territory", "officeTerritory"),),
        str,
        (EMPLOYEES,),
    ),
    Dimension(
        "office",
        "Office of the customer's sales representative, by code, with its city",
        "salesRepEmployeeNumber",
        (("office", "officeCode"), ("officeCity", "officeCity")),
        str,
        (EMPLOYEES,),
        "territory",
    ),
    Dimension(
        "salesRep",
        "The customer's sales representative, by employee number; missing for customers without one",
        "salesRepEmployeeNumber",
        (("salesRep", "salesRepEmployeeNumber"),),
        _integer,
        above="office",
    ),
    Dimension("status", "Status of the order", "status", (("status", "status"),), str),
)

DIMENSIONS: dict[str, Dimension] = {each.name: each for each in _ALL}


def hierarchies() -> list[list[Dimension]]:
    """Every hierarchy, from the coarsest dimension to the finest."""
    inner = {each.above for each in _ALL}
    return [_up(each) for each in _ALL if each.name not in inner]


def _up(dimension: Dimension) -> list[Dimension]:
    return [*(_up(DIMENSIONS[dimension.above]) if dimension.above else []), dimension]


def facts_of(measure: Measure) -> tuple[Fact, ...]:
    return tuple({FACTS[each.fact].address: FACTS[each.fact] for each in parts_of(measure)}.values())


def dimensions_of(measure: Measure) -> list[Dimension]:
    """What the measure can be cut by: what every fact that it is made of can."""
    return [each for each in _ALL if all(each.cuts(fact) for fact in facts_of(measure))]
