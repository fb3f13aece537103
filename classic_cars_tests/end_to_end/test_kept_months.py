"""Months stay as they are where nothing that they are made of, or proven by, has changed; and no other months do."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import duckdb
import ibis
import pytest

from classic_cars.assets.staging import trimmed
from classic_cars.definitions import build_defs
from classic_cars.instance import open_instance
from classic_cars.months import Months, month_of
from classic_cars.runs import RunReport, execute, execute_what_changed
from classic_cars.settings import Settings
from classic_cars.stores import published
from classic_cars.stores.publications import Publications
from classic_cars.tables.events import latest_months, made_months, not_held
from classic_cars.tables.external import DATA_VERSION
from classic_cars.tables.run_tags import STAY, UNCHANGED_MONTHS
from classic_cars_tests.end_to_end.test_held_to_history import AUGUST
from classic_cars_tests.end_to_end.test_what_changed import again, nothing_more, recomputed_differently
from classic_cars_tests.platform import QUIET, Ran, ask, change, fingerprint, run, swapped

FACTS = "warehouse/fact_orders"
MONTHLY = (
    *("staging/orders", "staging/orderdetails", FACTS),
    *(f"analytics/{name}" for name in ("monthly_sales_by_customer", "monthly_sales_by_product", "sales_by_month")),
)
LAST = "2003-08"
CUSTOMERS = ("source/customers", "staging/customers", *(f"warehouse/dim_{name}" for name in ("customers", "locations")))
#: Of answers and staging there is less to prove.
NOT_OF_ALL = {"references", "columns", "completeness"}
CHECKS = ("references", "columns", "reconciliation", "completeness")

A_SALE = (
    "INSERT INTO orders SELECT max(orderNumber) + 1, '2003-08-30', '2003-09-05', NULL, 'In Process', NULL, "
    "(SELECT min(customerNumber) FROM orders) FROM orders",
    "INSERT INTO orderdetails SELECT (SELECT max(orderNumber) FROM orders), min(productCode), 3, 50, 1 FROM products",
    "UPDATE products SET quantityInStock = quantityInStock - 3",
)
A_CUSTOMER = (
    "INSERT INTO customers SELECT max(customerNumber) + 1, 'Newcomers', contactLastName, contactFirstName, phone, "
    "addressLine1, addressLine2, 'Graz', state, '8010', 'Austria', salesRepEmployeeNumber, creditLimit FROM customers"
)
A_TELEPHONE = "UPDATE customers SET phone = phone || '1', creditLimit = creditLimit + 1"
A_PRICE = "UPDATE products SET buyPrice = buyPrice + 1"


def runs_of(settings: Settings, address: str) -> dict[str, str]:
    """By month, the run whose rows the store holds."""
    with published(settings) as store:
        held = store.published_by([address]).get(address, Publications())
    with open_instance(settings) as instance:
        return {month: held.run_of(month) for month in made_months(instance, address)}


def made_anew(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {month for month, run in after.items() if run != before.get(month)}


def fresh(settings: Settings, home: Path) -> dict[str, str]:
    """What a new home makes of the same shop."""
    home.mkdir()
    other = Settings(home=home, max_shrink=0.9, source_url=settings.order_system_url)
    assert execute_what_changed(other).succeeded
    return without_runs(other)


def without_runs(settings: Settings) -> dict[str, str]:
    """Tables of rejected rows name the run that rejected them."""
    return {name: rows for name, rows in fingerprint(settings).items() if not name.startswith("quarantine/")}


def failed_checks(settings: Settings, address: str, *names: str) -> set[str]:
    key = dg.AssetKey(address.split("/"))
    keys = [dg.AssetCheckKey(key, name) for name in names or CHECKS]
    with open_instance(settings) as instance:
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    evaluations = {key.name: record.evaluation for key, record in found.items()}
    return {name for name, each in evaluations.items() if each is None or not each.passed}


def changed(settings: Settings) -> RunReport:
    """`classic-cars run`, that succeeds."""
    report = execute_what_changed(settings)
    assert report.succeeded, (report.errors, report.failed_checks)
    return report


def followed(settings: Settings, *read: str, made: tuple[str, ...] = (FACTS,)) -> Ran:
    """``read`` what changed, then have what is ``made`` of it made as a sensor asks for it: all months of it."""
    with open_instance(settings) as instance:
        if read:
            assert run(settings, select=read, instance=instance).success
        tags = {UNCHANGED_MONTHS: STAY}
        return run(settings, select=made, instance=instance, tags=tags, months=("2003-01", LAST))


@pytest.fixture
def known(made: Settings) -> tuple[Settings, dict[str, dict[str, str]]]:
    return made, {address: runs_of(made, address) for address in MONTHLY}


Known = tuple[Settings, dict[str, dict[str, str]]]


def test_a_sale_makes_its_month_alone(known: Known, tmp_path: Path) -> None:
    """Stock goes down with it, and every month is made of products."""
    settings, before = known
    change(settings.order_system_url, *A_SALE)
    assert str(again(settings).made) == LAST
    for address in MONTHLY:
        assert made_anew(before[address], runs_of(settings, address)) == {LAST}, address
        assert not failed_checks(settings, address) - NOT_OF_ALL
    assert without_runs(settings) == fresh(settings, tmp_path / "fresh")


@pytest.mark.exhaustive  # a customer who moves makes his months, and no others
@pytest.mark.parametrize("statement", [A_CUSTOMER, A_TELEPHONE])
def test_a_customer_who_bought_nothing_else_makes_no_month(known: Known, statement: str) -> None:
    settings, before = known
    change(settings.order_system_url, statement)
    report = again(settings)
    assert {"staging/customers", "warehouse/dim_customers"} <= set(report.published)
    assert set(MONTHLY) <= set(report.unchanged)
    assert report.made is None
    for address in MONTHLY:
        assert runs_of(settings, address) == before[address]
        assert not failed_checks(settings, address) - NOT_OF_ALL


def test_a_customer_who_moves_makes_the_months_that_he_bought_in(known: Known) -> None:
    settings, before = known
    with duckdb.connect(str(settings.store_path), read_only=True) as store:
        customer, months = store.execute(
            "SELECT customerNumber, list(DISTINCT strftime(orderDate, '%Y-%m')) FROM warehouse.fact_orders "
            "GROUP BY 1 ORDER BY count(DISTINCT orderDate), 1 LIMIT 1"
        ).fetchone() or (0, [])
    assert 0 < len(months) < len(before[FACTS])
    change(
        settings.order_system_url, f"UPDATE customers SET phone = '1', city = 'Graz' WHERE customerNumber = {customer}"
    )
    assert followed(settings, *CUSTOMERS).success
    between = {f"{day:%Y-%m}" for day in Months(month_of(min(months)), month_of(max(months)))}
    assert made_anew(before[FACTS], runs_of(settings, FACTS)) == between & {*before[FACTS]}
    assert not failed_checks(settings, FACTS)


def test_a_run_of_a_sensor_leaves_a_history_that_the_store_holds_to(known: Known) -> None:
    """Months before and after the one that was made stay, of the same run as each other."""
    settings, before = known
    change(settings.order_system_url, "UPDATE orders SET comments = 'called' WHERE substr(orderDate, 1, 7) = '2003-04'")
    assert followed(settings, "source/orders", made=("staging/orders", FACTS)).success
    with open_instance(settings) as instance, published(settings) as store:
        events = latest_months(instance, FACTS)
        assert not_held(events, store.published_by([FACTS])[FACTS]) == set()
        counted = {month: each.rows for month, each in made_months(instance, FACTS).items()}
    assert {month for month, event in events.items() if not event.stayed} == {"2003-04"}
    lines = "SELECT strftime(orderDate, '%Y-%m'), count(*) FROM warehouse.fact_orders GROUP BY 1"
    assert dict(ask(settings, lines)) == {month: rows for month, rows in counted.items() if rows}
    assert made_anew(before[FACTS], runs_of(settings, FACTS)) == {"2003-04"}
    assert "~" not in events["2003-04"].tags[DATA_VERSION]


def test_a_price_that_every_line_is_compared_with_makes_all_months(known: Known) -> None:
    settings, before = known
    change(settings.order_system_url, A_PRICE)
    assert followed(settings, "source/products", "staging/products").success
    assert made_anew(before[FACTS], runs_of(settings, FACTS)) == {*before[FACTS]}


@pytest.mark.exhaustive  # which other tests do on their way
def test_what_is_asked_for_by_name_is_made(known: Known) -> None:
    settings, before = known
    assert execute(settings, [FACTS]).succeeded
    assert made_anew(before[FACTS], runs_of(settings, FACTS)) == {*before[FACTS]}
    assert execute_what_changed(settings, AUGUST).succeeded
    assert made_anew(before["staging/orders"], runs_of(settings, "staging/orders")) == {LAST}


def test_a_month_that_a_recomputation_found_different_does_not_stay(known: Known) -> None:
    settings, before = known
    recomputed_differently(settings, FACTS, "2003-03")
    assert followed(settings).success
    assert made_anew(before[FACTS], runs_of(settings, FACTS)) == {"2003-03"}


def test_a_month_that_a_check_by_itself_found_wrong_does_not_stay(known: Known) -> None:
    settings, before = known
    with duckdb.connect(str(settings.store_path)) as store:
        store.execute("UPDATE warehouse.fact_orders SET salesRepEmployeeNumber = NULL WHERE month(orderDate) = 3")
    check = dg.AssetCheckKey(dg.AssetKey(FACTS.split("/")), "columns")
    job = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(check))
    with open_instance(settings) as instance:
        resolved = dg.Definitions.merge(build_defs(settings), dg.Definitions(jobs=[job])).resolve_job_def("alone")
        resolved.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
    assert failed_checks(settings, FACTS) == {"columns"}
    assert followed(settings).success
    assert made_anew(before[FACTS], runs_of(settings, FACTS)) == {*before[FACTS]}
    assert failed_checks(settings, FACTS) == set()


def test_code_that_is_another_one_makes_all_months(known: Known) -> None:
    settings, before = known

    def in_another_way(orders: ibis.Table) -> ibis.Table:
        return trimmed(orders).mutate(customerNumber=(orders.customerNumber + 1).cast("int32"))

    tables = swapped("staging/orders", in_another_way)
    with open_instance(settings) as instance:
        tags = {UNCHANGED_MONTHS: STAY}
        run(settings, select=["staging/orders"], instance=instance, tags=tags, months=("2003-01", LAST), tables=tables)
    assert failed_checks(settings, "staging/orders", "columns") == {"columns"}
    assert runs_of(settings, "staging/orders") == before["staging/orders"]


def test_a_limit_that_is_another_one_is_looked_at(known: Known) -> None:
    settings, before = known
    other = settings.model_copy(update={"quarantine_max_share": 0.5})
    assert followed(other, made=("staging/orders",)).success
    assert made_anew(before["staging/orders"], runs_of(settings, "staging/orders")) == {*before["staging/orders"]}


@pytest.mark.exhaustive
def test_what_was_made_of_rows_that_nobody_knows_of_does_not_stay(known: Known) -> None:
    """Staging was changed by hand, facts were made of that, and then staging again as it had been."""
    settings, _ = known
    staging = ("staging/orders", "staging/orderdetails")
    before = without_runs(settings)
    with duckdb.connect(str(settings.store_path)) as store:
        store.execute("UPDATE staging.orders SET comments = 'by hand' WHERE orderMonth = '2003-03-01'")
        by_hand = "UPDATE platform.published_by SET runs = ? WHERE address IN ('staging/orders', 'quarantine/orders')"
        store.execute(by_hand, [Publications().after(None, "by hand").text()])
    with open_instance(settings) as instance:
        assert run(settings, select=[FACTS], instance=instance, months=("2003-01", LAST)).success
    assert without_runs(settings)[FACTS] != before[FACTS]
    assert followed(settings, made=staging).success
    assert followed(settings).success
    assert without_runs(settings) == before


@pytest.mark.exhaustive
def test_a_backup_of_before_does_not_pass_for_what_was_made_since(known: Known) -> None:
    settings, _ = known
    backup = settings.store_path.with_suffix(".bak")
    shutil.copyfile(settings.store_path, backup)
    change(settings.order_system_url, "UPDATE orders SET comments = 'x' WHERE orderDate LIKE '2003-04%'")
    change(settings.order_system_url, A_CUSTOMER)
    assert followed(settings, *CUSTOMERS, "source/orders", made=("staging/orders", FACTS)).success
    shutil.copyfile(backup, settings.store_path)
    changed(settings)
    with duckdb.connect(str(settings.store_path), read_only=True) as store:
        april = "SELECT DISTINCT comments FROM warehouse.fact_orders WHERE month(orderDate) = 4"
        assert store.execute(april).fetchall() == [("x",)]
    assert nothing_more(settings)


def test_what_a_month_is_reconciled_with_is_looked_at(known: Known) -> None:
    """Prices are new in source, and not yet in staging, of which facts are made."""
    settings, _ = known
    change(settings.order_system_url, A_PRICE)
    assert followed(settings, "source/products").failed == {(FACTS, "reconciliation")}


def test_a_reconciliation_may_count_and_read_nothing_else(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, before = known
    counted = {"quarantine/orderdetails": frozenset[str](), "source/products": frozenset[str]()}
    monkeypatch.setattr("classic_cars.tables.kept.read_to_compare", lambda *_: counted)
    assert followed(settings).success
    once = runs_of(settings, FACTS)
    assert followed(settings).success
    assert before[FACTS] != once == runs_of(settings, FACTS)


def test_months_that_refer_to_what_is_gone_do_not_stay(known: Known) -> None:
    settings, before = known
    with duckdb.connect(str(settings.store_path)) as store:
        (sold,) = store.execute("SELECT min(productCode) FROM warehouse.fact_orders").fetchone() or ("",)
        store.execute("DELETE FROM warehouse.dim_products WHERE productCode = ?", [sold])
    found = followed(settings)
    assert (FACTS, "references") in found.failed
    assert FACTS not in found.published
    assert runs_of(settings, FACTS) == before[FACTS]


@pytest.mark.exhaustive
def test_warnings_of_months_that_stay_stand_until_those_are_good(known: Known) -> None:
    settings, _ = known
    orders, number = "staging/orders", "(SELECT min(orderNumber) FROM orders WHERE orderDate LIKE '2003-03%')"
    change(settings.order_system_url, f"UPDATE orders SET status = 'Lost' WHERE orderNumber = {number}")
    with open_instance(settings) as instance:  # all months of them, which all have warned then
        assert run(settings, select=["source/orders", orders], instance=instance, months=("2003-01", LAST)).success
    for statement, warned in (
        ("UPDATE orders SET comments = 'called' WHERE orderDate LIKE '2003-03%'", {"values"}),
        ("UPDATE orders SET comments = 'called' WHERE orderDate LIKE '2003-08%'", {"values"}),
        ("UPDATE orders SET comments = 'called' WHERE orderDate LIKE '2003-01%'", {"values"}),
        (A_CUSTOMER, {"values"}),
        (f"UPDATE orders SET status = 'Shipped' WHERE orderNumber = {number}", set()),
        (A_TELEPHONE, set()),
    ):
        change(settings.order_system_url, statement)
        assert followed(settings, "source/orders", *CUSTOMERS[:2], made=(orders,)).success
        assert failed_checks(settings, orders, "values", "references") == warned
