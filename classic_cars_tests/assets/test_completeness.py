"""Published + quarantined = source, per month, rows and cents; by an independent calculation over the order system."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import dagster as dg
import pandas as pd

from classic_cars.dashboard.quality import quarantined_of
from classic_cars.serving.completeness import Balance, MonthBalance, Tally, balances
from classic_cars.settings import Settings
from classic_cars.stores import open_store
from classic_cars_tests.platform import change, order_system_frames, run

#: Everything that order lines and payments go through.
LINES_AND_PAYMENTS = [
    "source/orderdetails",
    "source/orders",
    "source/payments",
    "staging/orders",
    "staging/orderdetails",
    "staging/payments",
    "warehouse/dim_dates",
    "warehouse/fact_orders",
    "warehouse/fact_payments",
]


def found(settings: Settings) -> dict[str, Balance]:
    store = open_store(settings, read_only=True)
    try:
        return {each.subject: each for each in balances(store)}
    finally:
        store.release()


def order_lines(settings: Settings) -> pd.DataFrame:
    """Every order line of the order system with its month and its amount."""
    frames = order_system_frames(settings.order_system_url)
    lines = frames["orderdetails"].merge(frames["orders"], on="orderNumber", validate="m:1")
    lines["month"] = lines["orderDate"].map("{:%Y-%m}".format)
    lines["amount"] = lines["quantityOrdered"] * lines["priceEach"]
    return lines


def tally(rows: pd.DataFrame) -> Tally:
    return Tally(len(rows), sum(rows["amount"], Decimal("0.00")))


def by_month(rows: pd.DataFrame) -> dict[str, Tally]:
    return {str(month): tally(group) for month, group in rows.groupby("month")}


def test_what_is_published_is_the_order_system_month_by_month(published: Settings) -> None:
    lines = order_lines(published)
    payments = order_system_frames(published.order_system_url)["payments"]
    payments["month"] = payments["paymentDate"].map("{:%Y-%m}".format)
    balance = found(published)
    for subject, rows in (("order lines", lines), ("payments", payments)):
        each = balance[subject]
        assert each.balanced
        assert each.complete
        assert {month.month: month.published for month in each.months} == by_month(rows)
        assert {month.month: month.source for month in each.months} == by_month(rows)
        assert each.quarantined == Tally()
        total = f"{len(rows):,}", f"{sum(rows['amount']):,.2f}"
        assert each.line() == (
            f"{subject}: {total[0]} published, {total[1]}; quarantined 0, 0.00; source {total[0]}, {total[1]}"
        )


def test_quarantined_lines_are_counted_with_their_amounts_and_months(published: Settings) -> None:
    lines = order_lines(published)
    negative, illegible = lines.iloc[3], lines.iloc[-1]
    assert negative["month"] < illegible["month"]
    where = "WHERE orderNumber = {0.orderNumber} AND productCode = '{0.productCode}'"
    change(
        published.order_system_url,
        "UPDATE orderdetails SET quantityOrdered = -5 " + where.format(negative),
        "UPDATE orderdetails SET priceEach = 'a lot' " + where.format(illegible),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        ran = run(published, select=LINES_AND_PAYMENTS, instance=instance)
        assert ran.success, ran.errors
        shown = {row["reason"]: row for row in quarantined_of(instance, "staging/orderdetails")}
    each = found(published)["order lines"]
    kept = lines.drop([negative.name, illegible.name])
    aside = -5 * negative["priceEach"]
    assert each.balanced
    assert not each.complete
    assert each.published == tally(kept)
    assert each.quarantined == Tally(2, aside, unknown=1)
    assert each.source == Tally(len(lines), tally(kept).amount + aside, unknown=1)
    months = {month.month: month for month in each.months}
    assert months[negative["month"]].quarantined == Tally(1, aside)
    assert months[illegible["month"]].quarantined == Tally(1, Decimal(0), unknown=1)
    assert (
        f"quarantined 2, {aside:,.2f} (in {negative['month']}, {illegible['month']}; 1 of unknown amount)"
        in each.line()
    )
    # As the dashboard shows it, by reason.
    assert {reason: (row["rows"], row["amount"], row["unknown"]) for reason, row in shown.items()} == {
        "quantityOrdered is not between 1 and 100,000": (1, aside, 0),
        "priceEach does not fit its type, the raw value is in _rescued_data": (1, None, 1),
    }


def test_payments_without_a_date_are_a_month_of_their_own(published: Settings) -> None:
    published = published.model_copy(update={"quarantine_max_share": 0.5, "quarantine_max_amount_share": 0.5})
    payments = order_system_frames(published.order_system_url)["payments"]
    undated, distant, nobodys, illegible = (payments.iloc[index] for index in (2, 5, 8, 11))
    where = "WHERE checkNumber = '{0.checkNumber}' AND customerNumber = {0.customerNumber}"
    change(
        published.order_system_url,
        "UPDATE payments SET paymentDate = '0000-00-00' " + where.format(undated),
        "UPDATE payments SET paymentDate = '9999-12-31' " + where.format(distant),
        "UPDATE payments SET amount = 'a lot' " + where.format(illegible),
        "UPDATE payments SET customerNumber = 'nobody' " + where.format(nobodys),
    )
    ran = run(published, select=LINES_AND_PAYMENTS)
    assert ran.success, ran.errors
    each = found(published)["payments"]
    assert each.balanced, each.line()
    months = {month.month: month for month in each.months}
    assert months[""].source == Tally(2, undated["amount"] + distant["amount"])
    assert months[f"{nobodys['paymentDate']:%Y-%m}"].quarantined.amount >= nobodys["amount"]
    assert each.quarantined.unknown == 1
    assert each.source.rows == len(payments)
    assert each.source.amount == sum(payments["amount"], Decimal(0)) - illegible["amount"]


def test_a_source_that_is_ahead_of_the_fact_is_named_by_month(published: Settings) -> None:
    lines = order_lines(published)
    number = lines["orderNumber"].iloc[-1]
    more = lines[lines["orderNumber"] == number]
    change(
        published.order_system_url,
        f"UPDATE orderdetails SET quantityOrdered = quantityOrdered + 1 WHERE orderNumber = {number}",
    )
    run(published, select=["source/orderdetails"])
    each = found(published)["order lines"]
    assert not each.balanced
    month = more["month"].iloc[0]
    assert [str(month) for month in each.unbalanced_months] == [month]
    assert each.line().endswith(f"; NOT BALANCED in {month}: {sum(more['priceEach']):,.2f} of source missing")
    assert found(published)["payments"].balanced


def test_a_line_that_is_gone_from_source_is_more_than_in_source(published: Settings) -> None:
    lost = order_lines(published).iloc[0]
    change(
        published.order_system_url,
        f"DELETE FROM orderdetails WHERE orderNumber = {lost.orderNumber} AND productCode = '{lost.productCode}'",
    )
    run(published, select=["source/orderdetails"])
    line = found(published)["order lines"].line()
    assert line.endswith(f"; NOT BALANCED in {lost['month']}: 1 row, {lost['amount']:,.2f} more than in source")


def test_tables_that_were_never_published_are_named(shop: Settings) -> None:
    assert {each.line() for each in found(shop).values()} == {
        "order lines: warehouse/fact_orders, quarantine/orderdetails, source/orderdetails never published",
        "payments: warehouse/fact_payments, quarantine/payments, source/payments never published",
    }
    run(shop, select=["source/orderdetails", "source/payments"])
    balance = found(shop)["order lines"]
    assert balance.missing == ("warehouse/fact_orders", "quarantine/orderdetails")
    assert not balance.balanced
    assert not balance.complete


def test_months_do_not_make_up_for_each_other() -> None:
    """A cent too many in one month and one too few in another are two wrong months, though the totals agree."""
    cent = Tally(0, Decimal("0.01"))
    all_of_it = Tally(10, Decimal("50.00"))
    months = (
        MonthBalance("2004-01", published=all_of_it, source=all_of_it + cent),
        MonthBalance("2004-02", published=all_of_it + cent, source=all_of_it),
    )
    balance = Balance("order lines", months)
    assert balance.published == balance.source
    assert not balance.balanced
    assert balance.line().endswith(
        "; NOT BALANCED in 2004-01, 2004-02: 0.01 of source missing, 0.01 more than in source"
    )


def test_at_most_six_months_are_named() -> None:
    one = Tally(1, Decimal("2.50"))
    months = tuple(MonthBalance(f"2004-{month:02}", quarantined=one, source=one) for month in range(1, 8))
    said = "quarantined 7, 17.50 (in 2004-01, 2004-02, 2004-03, 2004-04, 2004-05, 2004-06, ...)"
    assert said in Balance("order lines", months).line()
    undated = replace(months[0], month="")
    assert "quarantined 1, 2.50 (in no date)" in Balance("payments", (undated,)).line()


def test_an_amount_unknown_on_one_side_only_does_not_balance() -> None:
    month = MonthBalance("2004-01", published=Tally(1), source=Tally(1, unknown=1))
    assert not month.balanced
    assert "NOT BALANCED in 2004-01: other rows have an unknown amount" in Balance("order lines", (month,)).line()
