"""Surprises of the order system: a clear error, a warning, a repaired value or a quarantined row; nothing is lost."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from classic_cars.contracts.order_system import metadata
from classic_cars.settings import Settings
from classic_cars.tables.run_tags import ACCEPT_SHRINK
from classic_cars_tests.platform import ask, change, fingerprint, rows_shown, run, swapped

LINES, FACT = "staging/orderdetails", "warehouse/fact_orders"
#: What a surprise in orders or order lines can touch.
ORDERED = [
    "source/orderdetails",
    "source/orders",
    "source/payments",
    "staging/orders",
    LINES,
    "warehouse/dim_products",
    "warehouse/dim_locations",
    "warehouse/dim_customers",
    "warehouse/dim_dates",
    "warehouse/fact_orders",
    "analytics/monthly_sales_by_customer",
    "analytics/monthly_sales_by_product",
    "analytics/sales_by_country",
]
#: Where it is decided which rows are kept, and which are quarantined.
KEPT_OR_NOT = ["source/orderdetails", "source/orders", "staging/orders", LINES]
#: The same where order lines alone, or orders alone, changed.
LINES_KEPT, ORDERS_KEPT = ["source/orderdetails", LINES], ["source/orders", "staging/orders"]
SHARE_SETTING = "CLASSIC_CARS_QUARANTINE_MAX_SHARE"
PAID = ["source/payments", "staging/payments", "warehouse/dim_dates", "warehouse/fact_payments"]
#: Rebuilds a table without its constraints, as careless order systems have them.
LOOSE = (
    "CREATE TABLE loose AS SELECT * FROM {table}",
    "DROP TABLE {table}",
    "ALTER TABLE loose RENAME TO {table}",
)


def loosen(url: str, table: str) -> None:
    change(url, *(statement.format(table=table) for statement in LOOSE))


def aside(settings: Settings, table: str) -> list[str]:
    """The reasons for which rows of a table were set aside, sorted."""
    return sorted(row[0] for row in ask(settings, f"SELECT _reason FROM quarantine.{table}"))


def nothing_is_lost(settings: Settings) -> bool:
    """Source rows = staging rows + quarantined rows, in every table."""
    return all(
        ask(
            settings,
            f"SELECT (SELECT count(*) FROM source.{name}) = (SELECT count(*) FROM staging.{name}) "
            f"+ (SELECT count(*) FROM quarantine.{name})",
        )
        == [(True,)]
        for name in metadata.tables
    )


def test_each_bad_line_is_quarantined_with_its_reason_and_leaves_when_mended(published: Settings):
    prices = {7: ("99999999999.99", "99999999999.99"), 8: ("10.125", "10.125"), 9: ("'cheap'", "cheap")}
    change(
        published.order_system_url,
        "UPDATE orderdetails SET quantityOrdered = -5 WHERE rowid = 3",
        "INSERT INTO orderdetails VALUES (99999, 'S10_0000', 1, 10, 1)",
        # Too wide, with too many digits, and no number.
        *(f"UPDATE orderdetails SET priceEach = {price} WHERE rowid = {row}" for row, (price, _) in prices.items()),
    )
    ran = run(published, select=LINES_KEPT)
    assert ran.success, ran.errors
    no_price = ["priceEach does not fit its type, the raw value is in _rescued_data"] * len(prices)
    negative = "quantityOrdered is not between 1 and 100,000"
    assert aside(published, "orderdetails") == ["orderNumber is not in staging/orders", *no_price, negative]
    assert ask(published, f"SELECT quantityOrdered FROM quarantine.orderdetails WHERE _reason = '{negative}'") == [
        (-5,)
    ]
    rescued = ask(
        published, "SELECT _rescued_data ->> 'priceEach' FROM quarantine.orderdetails WHERE priceEach IS NULL"
    )
    assert sorted(rescued) == sorted((kept,) for _, kept in prices.values())
    ((version, run_id),) = ask(published, "SELECT DISTINCT _contract_version, _run_id FROM quarantine.orderdetails")
    assert len(version) == 12
    assert run_id == ran.result.run_id
    assert nothing_is_lost(published)
    assert ran.checks[LINES, "quarantine"].metadata["rows quarantined"].value == 2 + len(prices)
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = 5 WHERE rowid = 3")
    assert run(published, select=LINES_KEPT).success
    assert aside(published, "orderdetails") == ["orderNumber is not in staging/orders", *no_price]
    assert nothing_is_lost(published)


#: Enough for an order of many lines in a shop of few.
GENEROUS = {"quarantine_max_share": 0.05, "quarantine_max_amount_share": 0.05}


@pytest.mark.parametrize(
    "day",
    [
        "not a date",
        *(
            pytest.param(day, marks=pytest.mark.exhaustive)
            for day in ("0000-00-00", "9999-12-31", "1900-01-31", "2003-02-30", "")
        ),
    ],
)
def test_an_impossible_order_date_is_quarantined_with_the_lines_of_that_order(published: Settings, day: str):
    change(published.order_system_url, f"UPDATE orders SET orderDate = '{day}' WHERE orderNumber = 10105")
    published = published.model_copy(update=GENEROUS)
    ran = run(published, select=[*KEPT_OR_NOT, FACT])
    assert ran.success, ran.errors
    lines, money = ask(
        published,
        "SELECT count(*), sum(quantityOrdered * priceEach) FROM source.orderdetails WHERE orderNumber = 10105",
    )[0]
    assert len(aside(published, "orders")) == 1
    assert aside(published, "orderdetails") == ["orderNumber is not in staging/orders"] * lines
    assert nothing_is_lost(published)
    assert ask(published, "SELECT count(*) FROM warehouse.fact_orders WHERE orderNumber = 10105") == [(0,)]
    assert {(LINES, "quarantine"), (FACT, "completeness")} <= ran.warned
    said = ran.checks[FACT, "completeness"].metadata
    assert said["amount quarantined, exact"].value == f"{money:,.2f}"
    if day == "not a date":
        rescued = ask(published, "SELECT _rescued_data FROM quarantine.orders")
        assert rescued == [('{"orderDate": "not a date"}',)]


# What is no reason to set money aside ------------------------------------------------------------------

ANSWER = "SELECT sum(bookedAmount), sum(units) FROM analytics.sales_by_country"
SOLD = "(SELECT DISTINCT productCode FROM orderdetails ORDER BY 1 LIMIT 1 OFFSET {})"
BUYER = "(SELECT DISTINCT customerNumber FROM orders ORDER BY 1 LIMIT 1 OFFSET {})"
#: What is planted, and the check that warns of it.
FLAGGED = {
    f"UPDATE products SET productVendor = ' ' WHERE productCode = {SOLD.format(0)}": ("staging/products", "values"),
    f"UPDATE products SET buyPrice = -1 WHERE productCode = {SOLD.format(1)}": ("staging/products", "values"),
    f"UPDATE products SET productLine = 'Hovercraft' WHERE productCode = {SOLD.format(2)}": (
        "staging/products",
        "references",
    ),
    f"UPDATE orderdetails SET productCode = lower(productCode) WHERE productCode = {SOLD.format(3)}": (
        LINES,
        "references",
    ),
    "UPDATE orderdetails SET orderLineNumber = 0 WHERE orderNumber = 10104": (LINES, "values"),
    "UPDATE orders SET status = 'Returned' WHERE orderNumber IN (10104, 10105)": ("staging/orders", "values"),
    "UPDATE orders SET status = 'shipped' WHERE orderNumber = 10106": ("staging/orders", "values"),
    "UPDATE orders SET status = '' WHERE orderNumber = 10107": ("staging/orders", "values"),
    "UPDATE orders SET shippedDate = '0000-00-00' WHERE orderNumber = 10108": ("staging/orders", "values"),
    "UPDATE orders SET requiredDate = '9999-12-31' WHERE orderNumber = 10109": ("staging/orders", "values"),
    "UPDATE orders SET customerNumber = 9999 WHERE orderNumber = 10110": ("staging/orders", "references"),
    f"UPDATE customers SET country = 'U.S.A.' WHERE customerNumber = {BUYER.format(0)}": (
        "staging/customers",
        "values",
    ),
    f"UPDATE customers SET creditLimit = -1 WHERE customerNumber = {BUYER.format(1)}": ("staging/customers", "values"),
    f"UPDATE customers SET salesRepEmployeeNumber = 77 WHERE customerNumber = {BUYER.format(2)}": (
        "staging/customers",
        "references",
    ),
}


def test_an_amount_that_fits_no_column_is_quarantined_with_all_its_cents(published: Settings):
    ((order, code),) = ask(published, "SELECT orderNumber, productCode FROM source.orderdetails LIMIT 1")
    change(
        published.order_system_url,
        "UPDATE orderdetails SET quantityOrdered = 2147483647, priceEach = 99999999.99 "
        f"WHERE orderNumber = {order} AND productCode = '{code}'",
        f"UPDATE products SET buyPrice = 99999999.98, MSRP = 99999999.99 WHERE productCode = '{code}'",
    )
    generous = published.model_copy(update={"quarantine_max_amount_share": 1.0})
    ran = run(generous, select=[*ORDERED, "source/products", "staging/products", "analytics/sales_by_product_line"])
    assert ran.success, ran.errors
    assert nothing_is_lost(published)
    said = ran.checks[FACT, "completeness"].metadata
    assert said["amount quarantined, exact"].value == f"{2147483647 * Decimal('99999999.99'):,.2f}"
    refused = run(published, select=[LINES])
    assert refused.failed == {(LINES, "quarantine")}


@pytest.mark.exhaustive
def test_no_cent_is_set_aside_for_what_only_describes_and_checks_warn(published: Settings):
    before = ask(published, ANSWER)
    change(published.order_system_url, *FLAGGED)
    ran = run(published)
    assert ran.success, ran.errors
    assert set(FLAGGED.values()) <= ran.warned
    assert ask(published, ANSWER) == before
    assert ask(published, "SELECT count(*) FROM quarantine.orderdetails") == [(0,)]
    assert ran.checks[FACT, "completeness"].passed
    values = ran.checks["staging/orders", "values"]
    repaired, broken = (
        {row["what"]: row["found"] for row in rows_shown(values, name)} for name in ("columns repaired", "rules broken")
    )
    assert repaired == {"requiredDate": 1, "shippedDate": 1, "status": 1}
    assert sorted(rows for name, rows in broken.items() if name.startswith("status")) == [1, 2]
    assert values.metadata["rows flagged"].value == sum(broken.values())
    assert values.metadata["values repaired"].value == 3
    # Kimball's inferred members say that they are.
    assert ask(published, "SELECT customerNumber, customerName FROM warehouse.dim_customers WHERE isInferred") == [
        (9999, "Unknown")
    ]
    assert ask(
        published, "SELECT productCode = lower(productCode), productLine FROM warehouse.dim_products WHERE isInferred"
    ) == [(True, "Unknown")]
    assert ask(published, "SELECT employeeNumber, jobTitle FROM warehouse.dim_employees WHERE isInferred") == [
        (77, "Unknown")
    ]
    assert ask(published, "SELECT orders FROM analytics.sales_by_country WHERE country = 'Unknown'") == [(1,)]
    assert ask(published, "SELECT count(*) FROM analytics.sales_by_product_line WHERE productLine = 'Unknown'") == [
        (1,)
    ]
    assert ask(published, "SELECT status, _rescued_data FROM staging.orders WHERE orderNumber = 10106") == [
        ("Shipped", '{"status": "shipped"}')
    ]


@pytest.mark.exhaustive
def test_an_order_of_next_month_counts_in_its_month(published: Settings):
    before = ask(published, ANSWER)
    day = (date.today().replace(day=1) + timedelta(days=40)).replace(day=5)
    change(
        published.order_system_url,
        f"UPDATE orders SET orderDate = '{day}', requiredDate = '{day}', shippedDate = NULL WHERE orderNumber = 10104",
    )
    ran = run(published, months=("2003-01", f"{day:%Y-%m}"))
    assert ran.success, ran.errors
    assert ask(published, ANSWER) == before
    months = ask(published, "SELECT strftime(max(orderMonth), '%Y-%m') FROM analytics.sales_by_month")
    assert months == [(f"{day:%Y-%m}",)]


def test_a_payment_of_a_bad_date_is_published_to_the_cent_and_a_wrong_amount_is_still_seen(published: Settings):
    from classic_cars.assets import staging

    def hundredth(payments):
        rows = staging.payments.function(payments)
        return rows.mutate(amount=(rows.amount / 100).cast("decimal(10, 2)"))

    change(published.order_system_url, "UPDATE payments SET paymentDate = 'soon' WHERE rowid = 1")
    before = ask(published, "SELECT sum(amount) FROM source.payments")
    ran = run(published, tables=swapped("staging/payments", hundredth), select=PAID)
    assert ("staging/payments", "columns") in ran.failed
    assert ask(published, "SELECT sum(amount) FROM warehouse.fact_payments") == before
    ran = run(published, select=PAID)
    assert ran.success, ran.errors
    assert ask(published, "SELECT sum(amount) FROM warehouse.fact_payments") == before
    assert ask(published, "SELECT _rescued_data FROM staging.payments WHERE paymentDate IS NULL") == [
        ('{"paymentDate": "soon"}',)
    ]


def test_a_truncated_table_is_not_published_until_somebody_accepts_it(published: Settings):
    before = fingerprint(published)
    change(published.order_system_url, "DELETE FROM orders")
    ran = run(published, select=ORDERED)
    assert ("source/orders", "volume") in ran.failed
    assert "--accept-shrink source/orders" in ran.checks["source/orders", "volume"].description
    assert fingerprint(published)["analytics/sales_by_country"] == before["analytics/sales_by_country"]
    accepted = run(published, select=["source/orders"], tags={ACCEPT_SHRINK: "source/orders"})
    assert accepted.success, accepted.errors
    # It passes, so that the incident is over.
    assert accepted.checks["source/orders", "volume"].passed
    assert "accepted for this run" in accepted.checks["source/orders", "volume"].description


def test_a_shop_that_begins_to_note_the_time_of_orders_is_told_so(published: Settings):
    from classic_cars import doctor

    assert "usable" not in doctor._order_system(published)
    change(published.order_system_url, "UPDATE orders SET orderDate = orderDate || ' 12:30:00'")
    assert "no orders with a date; some rows have no usable order date" in doctor._order_system(published)
    said = run(published, select=ORDERED).checks["source/orders", "volume"]
    assert not said.passed
    assert "more without a usable order date (expected: a day, no time)" in said.description


@pytest.mark.exhaustive
def test_an_order_that_moved_to_a_month_that_is_not_read_fails_and_names_both_months(published: Settings):
    day = ask(published, "SELECT max(orderDate)::VARCHAR FROM source.orders WHERE orderDate < '2003-06-01'")[0][0]
    change(
        published.order_system_url,
        f"UPDATE orders SET orderDate = '2003-03-15', shippedDate = NULL WHERE orderNumber = "
        f"(SELECT min(orderNumber) FROM orders WHERE orderDate = '{day}')",
    )
    before = fingerprint(published)
    ran = run(published, months=(day[:7], day[:7]), select=[*KEPT_OR_NOT, FACT])
    assert ("source/orders", "moved") in ran.failed
    assert ("source/orderdetails", "moved") in ran.failed
    assert f"1 order of {day[:7]} now in 2003-03" in ran.checks["source/orders", "moved"].description
    assert fingerprint(published)["warehouse/fact_orders"] == before["warehouse/fact_orders"]
    ran = run(published, months=("2003-03", day[:7]), select=[*KEPT_OR_NOT, FACT])
    assert ran.success, ran.errors
    assert ran.checks[FACT, "completeness"].passed


def test_rows_that_share_a_key_are_quarantined_of_exact_copies_all_but_one(published: Settings):
    loosen(published.order_system_url, "orderdetails")
    change(
        published.order_system_url,
        "INSERT INTO orderdetails SELECT * FROM orderdetails WHERE rowid = 5",
        "INSERT INTO orderdetails SELECT orderNumber, productCode, quantityOrdered + 1, priceEach, orderLineNumber "
        "FROM orderdetails WHERE rowid = 6",
    )
    ran = run(published, select=LINES_KEPT)
    assert ran.success, ran.errors
    assert aside(published, "orderdetails") == [
        "an exact copy of another row",
        *["another row has the same orderNumber, productCode, and differs"] * 2,
    ]
    assert nothing_is_lost(published)


def test_odd_texts_stay_with_their_rows_and_a_new_column_is_a_warning(published: Settings):
    """Invalid UTF-8 as its bytes, a megabyte as it is, and neither does the other harm."""
    change(
        published.order_system_url,
        "UPDATE orders SET comments = CAST(x'C3284142' AS TEXT) WHERE orderNumber = 10104",
        f"UPDATE orders SET comments = '{'long ' * 209_715}!' WHERE orderNumber = 10106",
        "ALTER TABLE orders ADD COLUMN channel TEXT",
    )
    ran = run(published, select=[*ORDERS_KEPT, FACT])
    assert ran.success, ran.errors
    assert ran.warned == {("source/orders", "schema"), ("staging/orders", "values")}
    assert "channel" in ran.checks["source/orders", "schema"].description
    ((number, comments, rescued),) = ask(
        published, "SELECT orderNumber, comments, _rescued_data FROM staging.orders WHERE _rescued_data IS NOT NULL"
    )
    assert (number, comments) == (10104, None)
    assert "C3284142" in rescued
    assert ask(published, "SELECT DISTINCT length(comments) FROM warehouse.fact_orders WHERE orderNumber = 10106") == [
        (1_048_576,)
    ]


def test_a_column_that_is_all_null_keeps_its_type(published: Settings):
    change(published.order_system_url, "UPDATE orders SET comments = NULL, shippedDate = NULL")
    ran = run(published, select=[*ORDERS_KEPT, FACT])
    assert ran.success, ran.errors
    assert ask(published, "SELECT typeof(comments), typeof(shippedDate) FROM warehouse.fact_orders LIMIT 1") == [
        ("VARCHAR", "DATE")
    ]


def test_what_is_missing_is_named_and_the_previous_version_stays(published: Settings):
    """A column that was removed, one that was renamed, and a table, each by itself."""
    before = fingerprint(published)
    change(
        published.order_system_url,
        "ALTER TABLE orderdetails DROP COLUMN orderLineNumber",
        "ALTER TABLE orders RENAME COLUMN comments TO remarks",
        "DROP TABLE payments",
    )
    ran = run(published, select=[*ORDERED, *PAID])
    assert not ran.success
    errors = {
        event.node_name: event.step_failure_data.error_display_string
        for event in ran.result.all_events
        if event.is_step_failure
    }
    assert set(errors) == {"source__orderdetails", "source__orders", "source__payments"}
    assert "table orderdetails has no column orderLineNumber" in errors["source__orderdetails"]
    assert "table orders has no column comments" in errors["source__orders"]
    assert "new there: remarks" in errors["source__orders"]
    assert "no table payments" in errors["source__payments"]
    assert fingerprint(published) == before


@pytest.mark.exhaustive
def test_columns_that_are_reordered_or_retyped_arrive_unchanged(published: Settings):
    """Reordered those of orders, of which many have one type; retyped those of order lines."""
    before = fingerprint(published)
    change(
        published.order_system_url,
        "CREATE TABLE turned (comments TEXT, status VARCHAR(15), shippedDate DATE, requiredDate DATE, orderDate DATE, "
        "customerNumber INTEGER, orderNumber INTEGER)",
        "INSERT INTO turned SELECT comments, status, shippedDate, requiredDate, orderDate, customerNumber, orderNumber "
        "FROM orders",
        "DROP TABLE orders",
        "ALTER TABLE turned RENAME TO orders",
        "CREATE TABLE retyped (orderNumber TEXT, productCode TEXT, quantityOrdered TEXT, priceEach TEXT, "
        "orderLineNumber TEXT)",
        "INSERT INTO retyped SELECT * FROM orderdetails",
        "DROP TABLE orderdetails",
        "ALTER TABLE retyped RENAME TO orderdetails",
    )
    ran = run(published, select=[*KEPT_OR_NOT, FACT])
    assert ran.success, ran.errors
    assert ran.warned == {("source/orderdetails", "schema")}
    assert fingerprint(published)[FACT] == before[FACT]


def test_too_many_bad_rows_block_the_table_and_how_many_is_a_setting(published: Settings):
    before = fingerprint(published)
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = 0 WHERE rowid % 50 = 0")
    ran = run(published, select=[*LINES_KEPT, FACT])
    assert (LINES, "quarantine") in ran.failed
    assert SHARE_SETTING in ran.checks[LINES, "quarantine"].description
    assert fingerprint(published)[LINES] == before[LINES]
    assert fingerprint(published)[FACT] == before[FACT]
    assert FACT not in ran.published
    ran = run(published.model_copy(update={"quarantine_max_share": 0.05}), select=[LINES])
    assert ran.success, ran.errors
    assert nothing_is_lost(published)


def test_one_bad_row_does_not_block_a_small_month_and_one_a_run_blocks_the_table_in_the_end(published: Settings):
    """The cheapest line of a month is bad in each run: more than its share of the rows, and little of the money."""
    ((lines,),) = ask(published, "SELECT count(*) FROM source.orderdetails")
    patient = published.model_copy(update={"quarantine_max_share": 3.5 / lines, "quarantine_max_amount_share": 0.5})
    ran = {}
    for month in ("2003-03", "2003-04", "2003-05", "2003-06"):
        change(
            published.order_system_url,
            "UPDATE orderdetails SET quantityOrdered = -1 WHERE rowid = (SELECT d.rowid FROM orderdetails d "
            f"JOIN orders o USING (orderNumber) WHERE o.orderDate LIKE '{month}%' "
            "ORDER BY quantityOrdered * priceEach LIMIT 1)",
        )
        ran[month] = run(patient, months=(month, month), select=LINES_KEPT)
    *passed, last = ran.values()
    assert [each.success for each in passed] == [True] * 3
    for count, each in enumerate(passed, 1):
        assert each.warned == {(LINES, "quarantine")}
        metadata = each.checks[LINES, "quarantine"].metadata
        assert metadata["rows quarantined"].value == 1
        assert metadata["share quarantined"].value > 3.5 / lines
        assert metadata["rows quarantined in the table"].value == count
    assert aside(published, "orderdetails") == ["quantityOrdered is not between 1 and 100,000"] * 3
    assert last.failed == {(LINES, "quarantine")}
    limit = f"4 of {lines} rows of the table ({4 / lines:.2%}), limit {3.5 / lines:.2%} ({SHARE_SETTING})"
    assert f". Above the limit: {limit}. Nothing was published" in last.checks[LINES, "quarantine"].description


PEOPLE = ["source/customers", "source/employees", "staging/employees", "staging/customers"]


def test_no_sample_log_or_metadata_holds_personal_data(published: Settings, caplog: pytest.LogCaptureFixture):
    from classic_cars.assets import staging

    def reversed_names(customers):
        rows = staging.customers.function(customers)
        return rows.mutate(contactLastName=rows.contactLastName.reverse(), phone=rows.phone.reverse())

    secret = "Zyxwvut"
    change(
        published.order_system_url,
        f"UPDATE customers SET contactLastName = '{secret}', phone = '{secret}', customerName = NULL || '' WHERE 1 = 0",
        f"UPDATE customers SET contactLastName = '{secret}', addressLine1 = '{secret}', creditLimit = -1",
        f"UPDATE employees SET lastName = '{secret}', email = '{secret}'",
    )
    ran = run(published, tables=swapped("staging/customers", reversed_names), select=PEOPLE)
    assert ran.failed == {("staging/customers", "columns")}
    said = "\n".join(str(event) for event in ran.result.all_events) + caplog.text
    assert "creditLimit" in said
    assert "contactLastName" in said
    assert secret not in said
    assert secret[::-1] not in said
