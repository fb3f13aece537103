"""Bugs in ``analytics/*``: partial aggregates, grouped by the wrong thing, names, shares, averages."""

from __future__ import annotations

from collections.abc import Callable

import ibis

from classic_cars.contracts.metrics import CUSTOMER, summed
from classic_cars_tests.mutation.mutant import (
    Change,
    Mutant,
    at,
    copied,
    every,
    every_row,
    fitted,
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


BY_CUSTOMER, BY_PRODUCT = ("orderMonth", "customerNumber"), ("orderMonth", "productCode")


def _bug(address: str, name: str, change: Change) -> Mutant:
    return out("answers", address, name, change)


def _made(address: str, name: str, function: Callable[..., ibis.Table]) -> Mutant:
    return instead("answers", address, name, function)


def _fanned_out(
    monthly_sales_by_customer: ibis.Table, dim_customers: ibis.Table, dim_locations: ibis.Table
) -> ibis.Table:
    """Customers joined with places by postal code alone."""
    codes = dim_locations.select("locationKey", "postalCode")
    homes = dim_customers.select("customerNumber", "locationKey").left_join(codes, "locationKey")
    places = homes.select("customerNumber", "postalCode").left_join(
        dim_locations.select("postalCode", "country"), "postalCode"
    )
    sales = monthly_sales_by_customer.left_join(places.select("customerNumber", "country"), "customerNumber")
    return summed(sales.mutate(country=sales.country.fill_null("Unknown")), by="country", over=CUSTOMER)


def _orders_of_products(
    original: Callable[..., ibis.Table], fact_orders: ibis.Table, dim_products: ibis.Table, **_: ibis.Table
) -> ibis.Table:
    """Orders of each product, summed up: an order of two products of a line is counted twice."""
    by_product = fact_orders.group_by("productCode").aggregate(n=fact_orders.orderNumber.nunique())
    named = by_product.left_join(dim_products.select("productCode", "productLine"), "productCode")
    counted = named.group_by("productLine").aggregate(n=named.n.sum())
    rows = original()
    return fitted(rows.drop("orders").left_join(counted, "productLine").mutate(orders=lambda t: t.n), rows)


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


def _in_june(partial: ibis.Table) -> ibis.Value:
    return partial.orderMonth == ibis.date(2003, 6, 1)


def _of_partials(address: str, key: tuple[str, ...]) -> tuple[Mutant, ...]:
    """Bugs in partial aggregates, whatever they are by."""
    over = key[1]

    def bug(name: str, change: Change) -> Mutant:
        return out("partials", address, name, change)

    def facts(name: str, change: Change) -> Mutant:
        return into("partials", address, name, fact_orders=change)

    return (
        facts("by the month of shipping", every_row(orderDate=lambda t: t.shippedDate.fill_null(t.orderDate))),
        facts("by the month after", every(orderDate=lambda c: c + ibis.interval(days=31))),
        facts("a day of each month counts for the next", every(orderDate=lambda c: c + ibis.interval(days=1))),
        facts(f"each line of the next {over}", shifted(over, "orderNumber", "productCode")),
        facts("one order left out", lost(nth(3, "orderNumber", "productCode"))),
        facts("lines there twice", twice(nth(3, "orderNumber", "productCode"))),
        facts("cancelled orders left out", lost(at(status="Cancelled"))),
        facts("lines without a buy price left out", lost(lambda t: t.buyPrice.isnull())),
        bug("a month lost", lost(_in_june)),
        bug("a month twice", twice(_in_june)),
        bug("kept on the last day of the month", every(orderMonth=lambda c: c + ibis.interval(days=27))),
        bug(f"values of the next {over}", shifted(over, *key, within=["orderMonth"])),
        bug("a cent of one group", some(nth(2, *key), netSales=lambda c: c + 1)),
        bug("units of one group", some(nth(2, *key), units=lambda c: c + 1)),
        bug("profit cut off to dollars", every(grossProfit=lambda c: c.floor())),
        bug("sums up to the month", _running(over)),
        bug("booked amount is net sales", copied("bookedAmount", "netSales")),
        bug("groups without net sales left out", lost(at(netSales=0))),
    )


def _running(over: str) -> Change:
    def change(t: ibis.Table) -> ibis.Table:
        window = ibis.cumulative_window(group_by=over, order_by="orderMonth")
        return t.mutate(units=t.units.sum().over(window))

    return change


MUTANTS = (
    into("answers", LINE, "grouped by vendor", dim_products=copied("productLine", "productVendor")),
    into("answers", LINE, "grouped by scale", dim_products=copied("productLine", "productScale")),
    _bug(LINE, "products without a line left out", lost(at(productLine="Unknown"))),
    Mutant("answers", "orders summed over products", LINE, _orders_of_products),
    into("answers", LINE, "orders of the first half of the year", fact_orders=lost(lambda t: t.orderDate.month() > 6)),
    into("answers", LINE, "a month of partial aggregates lost", monthly_sales_by_product=lost(_in_june)),
    into("answers", LINE, "a month of partial aggregates twice", monthly_sales_by_product=twice(_in_june)),
    into("answers", LINE, "partial aggregates one row off", monthly_sales_by_product=shifted("units", *BY_PRODUCT)),
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
    into(
        "answers",
        COUNTRY,
        "grouped by state",
        dim_locations=every_row(country=lambda t: t.state.fill_null(t.country)),
    ),
    into("answers", COUNTRY, "a month of partial aggregates lost", monthly_sales_by_customer=lost(_in_june)),
    into("answers", COUNTRY, "a month of partial aggregates twice", monthly_sales_by_customer=twice(_in_june)),
    into("answers", COUNTRY, "orders of nobody left out", monthly_sales_by_customer=lost(at(customerNumber=-1))),
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
    into("answers", MONTH, "one customer left out", monthly_sales_by_customer=lost(nth(0, "customerNumber"))),
    into("answers", MONTH, "a month of partial aggregates twice", monthly_sales_by_customer=twice(_in_june)),
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
    *_of_partials("analytics/monthly_sales_by_customer", BY_CUSTOMER),
    *_of_partials("analytics/monthly_sales_by_product", BY_PRODUCT),
    out(
        "partials",
        "analytics/monthly_sales_by_customer",
        "orders of nobody left out",
        lost(at(customerNumber=-1)),
    ),
    out(
        "partials",
        "analytics/monthly_sales_by_customer",
        "orders of one customer off by one",
        some(nth(2, *BY_CUSTOMER), orders=lambda c: c + 1),
    ),
)
