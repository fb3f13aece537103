"""Bugs in ``analytics/*``: grouped by the wrong thing, names, shares, averages."""

from __future__ import annotations

from collections.abc import Callable

import ibis

from classic_cars.contracts.metrics import aggregate
from classic_cars_tests.mutation.mutant import (
    Change,
    Mutant,
    copied,
    every,
    every_row,
    instead,
    into,
    lost,
    nth,
    nulled,
    out,
    put,
    shifted,
    some,
    swapped,
    twice,
)

LINE, COUNTRY, MONTH, RATED = (
    f"analytics/{name}" for name in ("sales_by_product_line", "sales_by_country", "sales_by_month", "product_ratings")
)


def _bug(address: str, name: str, change: Change) -> Mutant:
    return out("answers", address, name, change)


def _made(address: str, name: str, function: Callable[..., ibis.Table]) -> Mutant:
    return instead("answers", address, name, function)


def _by(column: str, named: str, *joins: str) -> Callable[..., ibis.Table]:
    """The metrics by another column, that is then called by the right name."""

    def function(fact_orders: ibis.Table, **dimensions: ibis.Table) -> ibis.Table:
        lines = fact_orders
        for name, key in zip(joins[::2], joins[1::2], strict=True):
            other = dimensions[name]
            lines = lines.left_join(other.select(key, *(c for c in other.columns if c not in lines.columns)), key)
        return aggregate(lines.mutate(**{named: lines[column]}), by=named)

    return function


def _by_place_of_the_fact(fact_orders: ibis.Table, dim_locations: ibis.Table, **_: ibis.Table) -> ibis.Table:
    """The state, where there is one, instead of the country."""
    places = dim_locations.select("locationKey", country=dim_locations.state.fill_null(dim_locations.country))
    return aggregate(fact_orders.left_join(places, "locationKey"), by="country")


def _by_month_of(day: Callable[[ibis.Table], ibis.Value]) -> Callable[..., ibis.Table]:
    return lambda fact_orders: aggregate(fact_orders.mutate(orderMonth=day(fact_orders).truncate("M")), by="orderMonth")


def _fanned_out(fact_orders: ibis.Table, dim_customers: ibis.Table, dim_locations: ibis.Table) -> ibis.Table:
    """Customers joined with places by postal code alone."""
    homes = dim_locations.select("postalCode", "country")
    return aggregate(
        fact_orders.left_join(homes, "postalCode").mutate(country=lambda t: t.country.fill_null("Unknown")),
        by="country",
    )


def _rated(average: Callable[[ibis.Table, ibis.Table], ibis.Value]) -> Callable[..., ibis.Table]:
    """Product ratings with another average: of (fact_ratings) per product."""

    def function(fact_ratings: ibis.Table, dim_products: ibis.Table) -> ibis.Table:
        given = fact_ratings.group_by("productCode").aggregate(
            ratings=fact_ratings.count(), averageRating=average(fact_ratings)
        )
        products = dim_products.select("productCode", "productName", "productLine").left_join(given, "productCode")
        return products.mutate(
            ratings=products.ratings.fill_null(0), averageRating=products.averageRating.cast("decimal(3, 2)")
        ).drop("productCode_right")

    return function


MUTANTS = (
    _made(LINE, "grouped by vendor", _by("productVendor", "productLine", "dim_products", "productCode")),
    _made(LINE, "grouped by scale", _by("productScale", "productLine", "dim_products", "productCode")),
    _made(
        LINE,
        "inner join loses products without a line",
        lambda fact_orders, dim_products: aggregate(
            fact_orders.inner_join(
                dim_products.select("productCode", "productLine").filter(dim_products.productLine != "Unknown"),
                "productCode",
            ),
            by="productLine",
        ),
    ),
    _bug(LINE, "a product line renamed", every(productLine=lambda c: c.replace("Motorcycles", "Bikes"))),
    _bug(LINE, "names of lines one row off", shifted("productLine", "productLine")),
    _bug(LINE, "shares of the whole", every_row(bookedAmount=lambda t: t.bookedAmount / t.bookedAmount.sum())),
    _bug(LINE, "booked amount and net sales swapped", swapped("bookedAmount", "netSales")),
    _bug(LINE, "gross profit is net sales", copied("grossProfit", "netSales")),
    _bug(LINE, "smallest line left out", lost(nth(0, "bookedAmount"))),
    _bug(LINE, "orders of one line off by one", some(nth(2, "productLine"), orders=lambda c: c + 1)),
    _bug(LINE, "a cent of profit of one line", some(nth(2, "productLine"), grossProfit=lambda c: c + 1)),
    into("answers", LINE, "products one row off", dim_products=shifted("productLine", "productCode")),
    into(
        "answers",
        LINE,
        "products are there twice",
        dim_products=lambda t: ibis.union(t, t.filter(t.productLine == "Planes")),
    ),
    _made(COUNTRY, "grouped by state", _by_place_of_the_fact),
    _made(COUNTRY, "customers joined with places by postal code", _fanned_out),
    _bug(COUNTRY, "a country renamed", every(country=lambda c: c.replace("UK", "United Kingdom"))),
    _bug(COUNTRY, "UK counted as USA", every(country=lambda c: c.replace("UK", "USA"))),
    _bug(COUNTRY, "names of countries one row off", shifted("country", "country")),
    _bug(COUNTRY, "unknown countries left out", lost(lambda t: t.country == "Unknown")),
    _bug(COUNTRY, "units of one country off by one", some(nth(1, "country"), units=lambda c: c + 1)),
    _bug(COUNTRY, "amounts in thousands", every(netSales=lambda c: c / 1000)),
    _bug(COUNTRY, "net sales of two countries exchanged", shifted("netSales", "country")),
    into("answers", COUNTRY, "customers one row off", dim_customers=shifted("locationKey", "customerNumber")),
    into("answers", COUNTRY, "places one row off", dim_locations=shifted("country", "locationKey")),
    into("answers", COUNTRY, "only customers that are known", dim_customers=lambda t: t.filter(~t.isInferred)),
    _made(MONTH, "by the month of shipping", _by_month_of(lambda t: t.shippedDate.fill_null(t.orderDate))),
    _made(MONTH, "by the month after", _by_month_of(lambda t: t.orderDate + ibis.interval(days=31))),
    _made(
        MONTH, "one day of each month counts for the next", _by_month_of(lambda t: t.orderDate + ibis.interval(days=1))
    ),
    _bug(
        MONTH,
        "sums up to the month",
        every_row(bookedAmount=lambda t: t.bookedAmount.sum().over(ibis.cumulative_window(order_by=t.orderMonth))),
    ),
    _bug(MONTH, "amounts of months one row off", shifted("netSales", "orderMonth")),
    _bug(MONTH, "profit of one month", some(nth(5, "orderMonth"), grossProfit=lambda c: c - 100)),
    _bug(MONTH, "current month left out", lost(lambda t: t.orderMonth == t.orderMonth.max())),
    _made(RATED, "average cut off instead of rounded", _rated(lambda t: (t.productRating.mean() * 100).floor() / 100)),
    _made(RATED, "average rounded to one digit", _rated(lambda t: t.productRating.mean().round(1))),
    _made(RATED, "best rating for the average", _rated(lambda t: t.productRating.max())),
    _made(RATED, "each number of stars counted once", _rated(lambda t: t.productRating.nunique())),
    _bug(
        RATED,
        "an average of five stars is 4.99",
        every(averageRating=lambda c: c - ibis.literal("0.01").cast("decimal(3, 2)")),
    ),
    _bug(RATED, "unrated products left out", lost(lambda t: t.ratings == 0)),
    _bug(RATED, "unrated products have one rating", every(ratings=lambda c: ibis.greatest(c, 1))),
    _bug(
        RATED,
        "unrated products are rated with one star",
        every(averageRating=lambda c: c.fill_null(1), ratings=lambda c: ibis.greatest(c, 1)),
    ),
    _bug(RATED, "ratings of two products exchanged", shifted("averageRating", "ratings", "productCode")),
    _bug(RATED, "name and line swapped", swapped("productName", "productLine")),
    _bug(RATED, "names one row off", shifted("productName", "productCode")),
    _bug(RATED, "a line renamed", every(productLine=lambda c: c.replace("Planes", "Airplanes"))),
    _bug(RATED, "name of one product lost", some(nth(3, "productCode"), productName=put("Unknown"))),
    _bug(RATED, "averages lost", every(averageRating=nulled)),
    _bug(RATED, "a product is there twice", twice(nth(3, "productCode"))),
)
