"""``docs/metrics.md``: every measure and dimension, written from their definitions."""

from __future__ import annotations

from classic_cars.contracts.cuts import DIMENSIONS, dimensions_of, hierarchies
from classic_cars.contracts.measures import MEASURES, OWNER, additivity
from classic_cars.serving.metrics.periods import EXPECTED

_PARTIALS = """\
## The answers

Every table of sales has orders, units, bookedAmount, netSales and grossProfit. What is additive is kept per month, as \
partial aggregates by customer (`analytics/monthly_sales_by_customer`) and by product \
(`analytics/monthly_sales_by_product`), and the answers are sums of them. What is not is recomputed from all order \
lines: an order of products of two lines is one order of each, so that orders cannot be summed over products. Every \
night check `agrees_with_recomputation` recomputes all of these tables wholly and compares every value.

Cancelled orders count in orders, lines, units, the booked amount, and the ratios of these, and in nothing else. The \
buy price is the one that the order system held when the month was last materialized: the order system keeps no \
history of it, so gross profit of past months follows today's buy prices once they are run again."""

_ASKING = f"""\
## Asking

    classic-cars metrics query --measure netSales --by country,month --where "productLine=Planes" \\
      --period 2004 --compare year

- `--measure`, `--by`: names of the tables above, with commas, or repeated. A dimension that a measure cannot be cut \
by is an error that names those it can.
- `--where`, repeatable, all must hold: `country=USA`, `country!=USA`, `country in USA,France`, `month>=2004-03` (time \
only), `state=` (missing). Values are read as the dimension's type.
- `--period`: {EXPECTED}.
- `--compare year` or `--compare before` adds the same of the year, or of the period of the same length, before: \
`netSalesBefore`, `netSalesChange` (the difference) and `netSalesGrowth` (not of shares): the difference as a share of \
the absolute value of what was before, so that less is always below 0, and missing where that was 0. Months stand \
beside months, also where these are longer. Filters of time are about the days asked for, and what was before is shown \
on those: `quarter<=2004-Q1` of `2005-03` holds for nothing, neither now nor in the year before.
- `--top 10`: only the rows with most of the first measure.
- `--share` adds each measure's share of the total of all rows, also of those that `--top` leaves out: \
`netSalesShare`, missing where the total is not above 0. Of additive measures only, and of orders unless they are \
cut by products: rows of the others do not add up to a total.

A balance by time has a row for each day, month, quarter or year of the period that is in the calendar \
(`warehouse/dim_dates`: the first to the last day of any order or payment, also of those on which orders are wanted or \
shipped), or, without a period, from the first to the last day of orders and payments; of each group from its first \
order or payment on, and whatever the filters. Without a cut by time it is the balance at the end of the period, also \
of one that the calendar does not have: of 2006, when the calendar ends in 2005, it is what was owed then, and by year \
there is no row. On days that the month before does not have, such as 31 March beside February, what is compared with \
is the balance of its last day.

A value of a filter that nothing has, such as `productLine=Plane` or `month=2030-01`, is answered with nothing, and \
named, with the values that come nearest where it is no time: on standard error, as a warning in Python, in `notes` \
for assistants. Bounds of time, such as `month>=2030-01`, are not. On the terminal, an answer without rows is said to \
be one.

In Python: `from classic_cars.serving.metrics import ask, expression`. One pure function makes one Ibis expression of \
the question, which the engine carries out as a whole. No row is counted twice, whatever is asked: names are looked up \
through keys that are proven unique, each fact is aggregated apart, at the grain that is asked for, and joined \
afterwards, and a ratio is taken of what was aggregated.

Ratios, shares and changes as a share are decimals of eight digits behind the point, half of the last rounded up \
(towards +∞); averages of money, lines and stars have two. What is written for people, such as 38.5%, is rounded from \
these, half of the last digit away from 0, by the same function on the command line, in reports and on the dashboard: \
it is what the quotient itself rounds to, but for one that lies less than a hundred-millionth below a half."""


_ADDING = """\
## Adding a measure

One constant in `classic_cars/contracts/measures.py`, and its name in `_ALL` below it: then every surface has it, and \
`classic-cars docs` writes it into this page. A `Metric` is a number about the rows of one fact: its name, what it \
means, how it is worked out of any of the rows, the columns that it reads, and its unit.

```python
LARGEST_LINE = Metric(
    "largestLine",
    "Amount of the largest order line, in USD",
    lambda lines: amount(lines.orderAmount.max()),
    ("orderAmount",),
    additive_over=(),
)
```

- `additive_over` says over what its values may be summed up. By default that is everything (`MONTH, CUSTOMER, \
PRODUCT`), which is true of sums, and wrong of all else: say `()` for a largest, a smallest or a middle value, and \
`(MONTH, CUSTOMER)` for a number of different orders. `--share` is refused by it.
- `fact`: `FACT_PAYMENTS` or `FACT_RATINGS`, when it is not about order lines. What is divided is a `Ratio` of two \
metrics, each aggregated first; what is counted up to a day is a `Stock`.
- A column that the fact does not have is an error when definitions are loaded. `METRICS` in `metrics.py` are those \
that tables keep: one more there changes the contracts of all tables of sales."""


#: What analysts ask first, and what they type.
QUESTIONS = {
    "Which product lines grow, and which do not?": "--measure netSales --by productLine --period 2004 --compare year",
    "Which countries grow?": "--measure netSales,orders --by country --period 2004 --compare year",
    "How did each line do, quarter by quarter?": "--measure netSales --by productLine,quarter",
    "Who are the ten best customers, and how much of all sales do they bring?": (
        "--measure netSales --by customer --top 10 --share"
    ),
    "How much does each country bring?": "--measure netSales,orders --by country --share",
    "What does each sales representative sell, in which office?": (
        "--measure netSales,orders,averageOrderValue --by territory,office,salesRep"
    ),
    "How far below the list price is sold?": "--measure discount,discountAmount --by productLine",
    "Who gets the largest discounts?": "--measure discountAmount,discount,netSales --by customer --top 10",
    "How many orders leave on time?": "--measure onTimeShipmentShare,shippedOrders --by quarter",
    "What did each country owe at the end of the year?": "--measure balance --by country --period 2004-12-31",
    "What did customers pay, month by month?": "--measure payments --by month --period 2004",
    "Which vendors' models are rated best?": "--measure averageRating,ratings --by vendor",
}
#: What is no question of a metric and has a table, and which.
TABLES = {
    "Do customers come back?": "customer_cohorts",
    "What do customers owe, and who is over the credit limit?": "customer_balances",
    "How long does the stock last, and what was never sold?": "stock_cover",
    "How are products rated?": "product_ratings",
}


def _questions() -> str:
    rows = [f"| {question} | `classic-cars metrics query {words}` |" for question, words in QUESTIONS.items()]
    rows += [f'| {question} | `classic-cars query "FROM analytics.{name}"` |' for question, name in TABLES.items()]
    return "\n".join(["## Questions", "", "| question | command |", "|---|---|", *rows])


def metric_definitions() -> str:
    """What analysts mean by each word, and what it can be cut by."""
    note = "<!-- Written by `classic-cars docs` from the contracts; change those instead. -->"
    opening = (
        "Defined once, in `classic_cars/contracts/metrics.py`, `measures.py` and `cuts.py`, over the facts and "
        "dimensions of the warehouse; tables, the command line and every other surface take them from there. Amounts "
        f"are exact decimals in USD. Owner: {OWNER}."
    )
    parts = ["# Metrics", note, opening, "## Measures", _measures(), "## Dimensions", _dimensions()]
    parts += [_ASKING, _questions(), _PARTIALS, _ADDING]
    return "\n\n".join(parts) + "\n"


def _measures() -> str:
    rows = [
        f"| {name} | {each.description} | {each.unit.name} | {additivity(each)} | {_cut_by(name)} |"
        for name, each in MEASURES.items()
    ]
    return "\n".join(["| measure | definition | unit | additive | cut by |", "|---|---|---|---|---|", *rows])


def _cut_by(name: str) -> str:
    possible = dimensions_of(MEASURES[name])
    if len(possible) == len(DIMENSIONS):
        return "all"
    return ", ".join(each.name for each in possible)


def _dimensions() -> str:
    rows = [f"| {name} | {each.description} | {each.column} |" for name, each in DIMENSIONS.items()]
    lines = [" → ".join(each.name for each in reversed(found)) for found in hierarchies() if len(found) > 1]
    table = "\n".join(["| dimension | meaning | from |", "|---|---|---|", *rows])
    along = "; ".join(
        f"{name} {', '.join(other for other in each.names if other != name)}"
        for name, each in DIMENSIONS.items()
        if len(each.names) > 1
    )
    note = f"Some bring columns along that tell their values apart, or what these are called: {along}."
    return f"{table}\n\nHierarchies: {'; '.join(lines)}. {note}"
