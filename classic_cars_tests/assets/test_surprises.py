"""Surprises of the order system: each is a clear error or a quarantined row, and nothing is lost."""

from __future__ import annotations

import pytest

from classic_cars.contracts.order_system import metadata
from classic_cars.settings import Settings
from classic_cars_tests.platform import ask, change, fingerprint, run

LINES = "staging/orderdetails"
#: What a surprise in orders or order lines can touch.
ORDERED = [
    "source/orderdetails",
    "source/orders",
    "source/payments",
    "staging/orders",
    LINES,
    "warehouse/fact_orders",
    "analytics/sales_by_country",
]
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


def test_a_negative_quantity_is_set_aside_with_its_reason(published: Settings):
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = -5 WHERE rowid = 3")
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    ((reason, version, run_id, quantity),) = ask(
        published, "SELECT _reason, _contract_version, _run_id, quantityOrdered FROM quarantine.orderdetails"
    )
    assert "quantityOrdered: in_range(1, 100000)" in reason
    assert len(version) == 12
    assert run_id == ran.result.run_id
    assert quantity == -5
    assert nothing_is_lost(published)
    assert ran.checks[LINES, "quarantine"].metadata["rows set aside"].value == 1


@pytest.mark.parametrize("day", ["0000-00-00", "9999-12-31", "1999-12-31", "not a date", "2003-02-30", ""])
def test_an_impossible_order_date_is_set_aside_with_the_lines_of_that_order(published: Settings, day: str):
    change(published.order_system_url, f"UPDATE orders SET orderDate = '{day}' WHERE orderNumber = 10105")
    published = published.model_copy(update={"quarantine_max_share": 0.05})
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    lines = ask(published, "SELECT count(*) FROM source.orderdetails WHERE orderNumber = 10105")[0][0]
    assert len(aside(published, "orders")) == 1
    assert aside(published, "orderdetails") == ["orderNumber in staging/orders: no such row"] * lines
    assert nothing_is_lost(published)
    assert ask(published, "SELECT count(*) FROM warehouse.fact_orders WHERE orderNumber = 10105") == [(0,)]
    if day == "not a date":
        rescued = ask(published, "SELECT _rescued_data FROM quarantine.orders")
        assert rescued == [('{"orderDate": "not a date"}',)]


def test_an_orphan_order_line_is_set_aside(published: Settings):
    change(published.order_system_url, "INSERT INTO orderdetails VALUES (99999, 'S10_0000', 1, 10, 1)")
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    assert aside(published, "orderdetails") == [
        "orderNumber in staging/orders: no such row; productCode in staging/products: no such row"
    ]
    assert nothing_is_lost(published)


def test_an_exact_copy_of_a_row_is_set_aside_once(published: Settings):
    loosen(published.order_system_url, "orderdetails")
    change(published.order_system_url, "INSERT INTO orderdetails SELECT * FROM orderdetails WHERE rowid = 5")
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    assert aside(published, "orderdetails") == ["an exact copy of another row"]
    assert nothing_is_lost(published)


def test_rows_that_share_a_key_and_differ_are_both_set_aside(published: Settings):
    loosen(published.order_system_url, "orderdetails")
    change(
        published.order_system_url,
        "INSERT INTO orderdetails SELECT orderNumber, productCode, quantityOrdered + 1, priceEach, orderLineNumber "
        "FROM orderdetails WHERE rowid = 5",
    )
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    assert aside(published, "orderdetails") == ["another row has the same orderNumber, productCode, and differs"] * 2
    assert nothing_is_lost(published)


@pytest.mark.parametrize(
    ("value", "kept"),
    [("99999999999.99", "99999999999.99"), ("10.125", "10.125"), ("'cheap'", "cheap")],
    ids=["too wide", "too many digits", "no number"],
)
def test_a_price_that_does_not_fit_is_set_aside_and_kept(published: Settings, value: str, kept: str):
    change(published.order_system_url, f"UPDATE orderdetails SET priceEach = {value} WHERE rowid = 7")
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    ((rescued,),) = ask(published, "SELECT _rescued_data FROM quarantine.orderdetails")
    assert kept in rescued
    assert nothing_is_lost(published)


def test_invalid_utf8_is_set_aside_and_kept_as_its_bytes(published: Settings):
    change(
        published.order_system_url,
        "UPDATE orders SET comments = CAST(x'C3284142' AS TEXT) WHERE orderNumber = 10104",
    )
    published = published.model_copy(update={"quarantine_max_share": 0.2})
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    ((number, rescued),) = ask(published, "SELECT orderNumber, _rescued_data FROM quarantine.orders")
    assert number == 10104
    assert "C3284142" in rescued
    assert nothing_is_lost(published)


def test_a_comment_of_a_megabyte_passes_through(published: Settings):
    change(published.order_system_url, f"UPDATE orders SET comments = '{'long ' * 209_715}!' WHERE orderNumber = 10104")
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    assert ask(published, "SELECT DISTINCT length(comments) FROM warehouse.fact_orders WHERE orderNumber = 10104") == [
        (1_048_576,)
    ]


def test_a_column_that_is_all_null_keeps_its_type(published: Settings):
    change(published.order_system_url, "UPDATE orders SET comments = NULL, shippedDate = NULL")
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    assert ask(published, "SELECT typeof(comments), typeof(shippedDate) FROM warehouse.fact_orders LIMIT 1") == [
        ("VARCHAR", "DATE")
    ]


def test_a_new_column_is_a_warning_and_does_no_harm(published: Settings):
    change(published.order_system_url, "ALTER TABLE orders ADD COLUMN channel TEXT")
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    assert ran.warned == {("source/orders", "schema")}
    assert "channel" in ran.checks["source/orders", "schema"].description


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE orders DROP COLUMN comments", "table orders has no column comments"),
        ("ALTER TABLE orders RENAME COLUMN comments TO remarks", "new there: remarks"),
        ("DROP TABLE payments", "payments"),
    ],
    ids=["a removed column", "a renamed column", "a missing table"],
)
def test_what_is_missing_is_named_and_the_previous_version_stays(published: Settings, statement: str, said: str):
    before = fingerprint(published)
    change(published.order_system_url, statement)
    ran = run(published, select=ORDERED)
    assert not ran.success
    assert said in ran.errors
    after = fingerprint(published)
    assert after["warehouse/fact_orders"] == before["warehouse/fact_orders"]
    assert after["analytics/sales_by_country"] == before["analytics/sales_by_country"]


def test_reordered_columns_do_not_swap_values(published: Settings):
    before = fingerprint(published)
    change(
        published.order_system_url,
        "CREATE TABLE turned AS SELECT orderLineNumber, priceEach, quantityOrdered, productCode, orderNumber "
        "FROM orderdetails",
        "DROP TABLE orderdetails",
        "ALTER TABLE turned RENAME TO orderdetails",
    )
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    assert fingerprint(published)["warehouse/fact_orders"] == before["warehouse/fact_orders"]


def test_a_retyped_column_arrives_unchanged(published: Settings):
    before = fingerprint(published)
    change(
        published.order_system_url,
        "CREATE TABLE retyped (orderNumber TEXT, productCode TEXT, quantityOrdered TEXT, priceEach TEXT, "
        "orderLineNumber TEXT)",
        "INSERT INTO retyped SELECT * FROM orderdetails",
        "DROP TABLE orderdetails",
        "ALTER TABLE retyped RENAME TO orderdetails",
    )
    ran = run(published, select=ORDERED)
    assert ran.success, ran.errors
    assert ran.warned == {("source/orderdetails", "schema")}
    assert fingerprint(published)["warehouse/fact_orders"] == before["warehouse/fact_orders"]


def test_too_many_bad_rows_block_the_table(published: Settings):
    before = fingerprint(published)
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = 0 WHERE rowid % 50 = 0")
    ran = run(published, select=ORDERED)
    assert (LINES, "quarantine") in ran.failed
    assert "CLASSIC_CARS_QUARANTINE_MAX_SHARE" in ran.checks[LINES, "quarantine"].description
    assert fingerprint(published)[LINES] == before[LINES]
    assert fingerprint(published)["warehouse/fact_orders"] == before["warehouse/fact_orders"]


def test_the_share_of_bad_rows_that_blocks_is_a_setting(published: Settings):
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = 0 WHERE rowid % 50 = 0")
    ran = run(published.model_copy(update={"quarantine_max_share": 0.05}), select=ORDERED)
    assert ran.success, ran.errors
    assert nothing_is_lost(published)


def test_mended_rows_leave_the_quarantine(published: Settings):
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = -5 WHERE rowid = 3")
    run(published, select=ORDERED)
    assert len(aside(published, "orderdetails")) == 1
    change(published.order_system_url, "UPDATE orderdetails SET quantityOrdered = 5 WHERE rowid = 3")
    assert run(published, select=ORDERED).success
    assert aside(published, "orderdetails") == []


PEOPLE = ["source/customers", "source/employees", "staging/employees", "staging/customers"]


def test_no_sample_log_or_metadata_holds_personal_data(published: Settings, caplog: pytest.LogCaptureFixture):
    secret = "Zyxwvut"
    change(
        published.order_system_url,
        f"UPDATE customers SET contactLastName = '{secret}', phone = '{secret}', customerName = NULL || '' WHERE 1 = 0",
        f"UPDATE customers SET contactLastName = '{secret}', addressLine1 = '{secret}', creditLimit = -1",
        f"UPDATE employees SET lastName = '{secret}', email = '{secret}'",
    )
    ran = run(published, select=PEOPLE)
    assert not ran.success
    said = "\n".join(str(event) for event in ran.result.all_events) + caplog.text
    assert "creditLimit" in said
    assert secret not in said
