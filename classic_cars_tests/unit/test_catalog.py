"""The catalog: names, versions, lineage, and that every function compiles for every engine."""

from __future__ import annotations

import ibis
import pandera.ibis as pa
import pytest

from classic_cars.assets import ALL_TABLES
from classic_cars.contracts.base import RELEASED
from classic_cars.contracts.vocabulary import Int, TableModel, facts
from classic_cars.errors import ContractError
from classic_cars.serving.consistency import reads_released_tables
from classic_cars.stores.transfer import with_co_published
from classic_cars.tables.table import Catalog, Table, table

CATALOG = Catalog(ALL_TABLES)
#: Each compiled for is run as well: Spark's in stores/test_spark.py.
ENGINES = ("duckdb", "pyspark")


class Numbers(TableModel):
    """One number per row."""

    number: Int = pa.Field(description="A number")

    class Config:
        name = "staging/numbers"
        metadata = facts()


class Doubled(TableModel):
    """Each number twice as large."""

    number: Int = pa.Field(description="A number")

    class Config:
        name = "warehouse/numbers"
        metadata = facts()


@table(Doubled)
def doubled(numbers: ibis.Table) -> ibis.Table:
    return numbers.select(number=(numbers.number * 2).cast("int32"))


#: A table without inputs: the lowest there is.
NUMBERS = table(Numbers)(lambda: ibis.memtable({"number": [1]}).select(number=ibis._.number.cast("int32")))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("each", [each for each in CATALOG if each.is_lazy], ids=lambda each: each.address)
def test_every_function_compiles_for(each, engine):
    assert "SELECT" in ibis.to_sql(CATALOG.expression(each), dialect=engine)


def test_a_name_means_the_table_at_or_below_the_own_layer():
    assert CATALOG.resolve(CATALOG["staging/orders"], "orders").address == "source/orders"
    assert CATALOG.resolve(CATALOG["staging/orderdetails"], "orders").address == "staging/orders"
    assert CATALOG.resolve(CATALOG["warehouse/fact_orders"], "orders").address == "staging/orders"
    assert CATALOG.resolve(CATALOG["analytics/sales_by_month"], "fact_orders").address == "warehouse/fact_orders"


def test_a_name_with_its_layer_means_the_one_of_that_layer():
    answer = CATALOG["analytics/sales_by_month"]
    assert CATALOG.resolve(answer, "source_orders").address == "source/orders"
    assert CATALOG.resolve_contract(answer, "quarantine_orders").address == "quarantine/orders"
    with pytest.raises(ContractError, match="no layer up to staging has one"):
        CATALOG.resolve(CATALOG["staging/orders"], "warehouse_fact_orders")


class WarehouseCustomers(TableModel):
    """A later table whose name staging has as well."""

    customerNumber: Int = pa.Field(description="Customer's number")

    class Config:
        name = "warehouse/customers"
        metadata = facts()


def test_a_name_that_two_layers_have_is_an_error_and_never_another_table_than_before():
    """The proof of the answers reads ``customers``: a new table of that name must not silently take their place."""
    added = table(WarehouseCustomers)(lambda staging_customers: staging_customers.select("customerNumber"))
    catalog = Catalog([*ALL_TABLES, added])
    answer = catalog["analytics/sales_by_country"]
    with pytest.raises(ContractError, match="staging/customers or warehouse/customers; name the parameter staging_cu"):
        catalog.resolve(answer, "customers")
    assert catalog.resolve(answer, "staging_customers").address == "staging/customers"
    assert catalog.audited_against(answer) == CATALOG.audited_against(CATALOG["analytics/sales_by_country"])


def disagreeing(function, address: str = "warehouse/fact_payments") -> str:
    """What is wrong with a function in the place of a table's own."""
    made = CATALOG[address]
    with pytest.raises(ContractError) as error:
        Catalog([Table(made.contract, function) if each is made else each for each in CATALOG]).origins(
            Table(made.contract, function)
        )
    return str(error.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"amount": lambda paid: ibis.literal(1).cast("decimal(10, 2)")},
            "column amount comes from nothing (a constant)",
        ),
        ({"paymentDate": lambda paid: ibis.null("date")}, "column paymentDate comes from nothing (a constant)"),
        (
            {"checkNumber": lambda paid: paid.locationKey, "locationKey": lambda paid: paid.checkNumber},
            "column checkNumber comes from staging/customers.city, staging/customers.country",
        ),
        (
            {"customerNumber": lambda paid: paid.amount.cast("int32")},
            "customerNumber comes from staging/payments.amount, the contract says from staging/payments.customerNumber",
        ),
    ],
    ids=["a constant", "NULL", "a swapped pair", "another column"],
)
def test_a_column_made_of_something_else_is_found_at_load_time(values, said):
    def wrong(payments: ibis.Table, customers: ibis.Table) -> ibis.Table:
        paid = CATALOG["warehouse/fact_payments"].function(payments, customers)
        return paid.mutate(**{name: value(paid) for name, value in values.items()})

    found = disagreeing(wrong)
    assert found.startswith("warehouse/fact_payments: its function and its contract disagree on where values come from")
    assert said in found


def test_a_place_without_its_state_is_found_at_load_time():
    def wrong(customers: ibis.Table, orders: ibis.Table, payments: ibis.Table) -> ibis.Table:
        stateless = customers.mutate(state=ibis.null("string"))
        return CATALOG["warehouse/dim_customers"].function(stateless, orders, payments)

    assert "column locationKey comes from" in disagreeing(wrong, "warehouse/dim_customers")


def test_an_unknown_name_is_an_error_that_lists_the_tables():
    with pytest.raises(ContractError, match=r"warehouse/numbers: its function asks for table 'numbers'"):
        Catalog([doubled]).inputs(doubled)


def test_a_function_and_a_contract_that_disagree_are_found_at_load_time():
    wrong = Table(doubled.contract, lambda numbers: numbers.select(number=numbers.number.cast("int64"), more=1))
    catalog = Catalog([NUMBERS, wrong])
    with pytest.raises(ContractError) as error:
        catalog.expression(wrong)
    assert "column more is not in the contract" in str(error.value)
    assert "column number is int64, expected int32" in str(error.value)


def test_a_function_that_asks_for_a_missing_column_is_found_at_load_time():
    wrong = Table(doubled.contract, lambda numbers: numbers.select("nonsense"))
    with pytest.raises(ContractError, match="warehouse/numbers: its function does not fit its inputs"):
        Catalog([NUMBERS, wrong]).expression(wrong)


def test_two_functions_for_one_table_are_refused():
    with pytest.raises(ContractError, match="two functions make this table"):
        Catalog([doubled, doubled])


def test_the_code_version_follows_the_compiled_expression():
    def reworded(numbers: ibis.Table) -> ibis.Table:
        # another comment, other names, the same expression
        twice = numbers.number * 2
        return numbers.select(number=twice.cast("int32"))

    def changed(numbers: ibis.Table) -> ibis.Table:
        return numbers.select(number=(numbers.number * 3).cast("int32"))

    versions = {
        function: Catalog([NUMBERS, each]).code_version(each)
        for function in (doubled.function, reworded, changed)
        for each in [Table(doubled.contract, function)]
    }
    assert versions[doubled.function] == versions[reworded]
    assert versions[doubled.function] != versions[changed]


def test_code_versions_are_the_same_in_every_process():
    assert CATALOG.code_version(CATALOG["warehouse/fact_orders"]) == Catalog(ALL_TABLES).code_version(
        CATALOG["warehouse/fact_orders"]
    )


def test_column_lineage_goes_through_joins_aggregates_and_unions():
    lineage = CATALOG.lineage(CATALOG["warehouse/fact_orders"])
    assert lineage["status"] == [("staging/orders", "status")]
    assert lineage["orderAmount"] == [
        ("staging/orderdetails", "priceEach"),
        ("staging/orderdetails", "quantityOrdered"),
    ]
    assert [column for _, column in lineage["locationKey"]] == ["city", "country", "postalCode", "state"]
    sales = CATALOG.lineage(CATALOG["analytics/sales_by_country"])
    assert sales["country"] == [("warehouse/dim_locations", "country")]
    assert sales["netSales"] == [("analytics/monthly_sales_by_customer", "netSales")]
    sales = CATALOG.lineage(CATALOG["analytics/monthly_sales_by_customer"])
    assert sales["netSales"] == [("warehouse/fact_orders", "orderAmount"), ("warehouse/fact_orders", "status")]
    days = CATALOG.lineage(CATALOG["warehouse/dim_dates"])
    assert days["date"][0] == ("staging/orders", "orderDate")
    assert days["date"][-1] == ("staging/payments", "paymentDate")


def test_the_graph_is_the_one_that_was_meant():
    inputs = {each.address: sorted(up.address for up in CATALOG.inputs(each).values()) for each in CATALOG}
    assert inputs["warehouse/fact_orders"] == [
        "staging/customers",
        "staging/orderdetails",
        "staging/orders",
        "staging/products",
    ]
    assert inputs["warehouse/dim_products"] == ["staging/orderdetails", "staging/productlines", "staging/products"]
    assert inputs["warehouse/dim_dates"] == ["staging/orders", "staging/payments"]
    assert inputs["analytics/sales_by_country"] == [
        "analytics/monthly_sales_by_customer",
        "warehouse/dim_customers",
        "warehouse/dim_locations",
    ]
    assert inputs["analytics/monthly_sales_by_customer"] == ["warehouse/fact_orders"]
    assert inputs["analytics/monthly_sales_by_product"] == ["warehouse/fact_orders"]
    assert inputs["analytics/sales_by_month"] == ["analytics/monthly_sales_by_customer"]
    assert inputs["analytics/sales_by_product_line"] == [
        "analytics/monthly_sales_by_product",
        "warehouse/dim_products",
        "warehouse/fact_orders",
    ]
    assert inputs["staging/ratings"] == ["source/ratings"]
    assert inputs["staging/stock_counts"] == ["source/stock_counts"]
    assert inputs["warehouse/fact_ratings"] == ["staging/customers", "staging/ratings"]
    assert inputs["analytics/product_ratings"] == ["warehouse/dim_products", "warehouse/fact_ratings"]
    assert inputs["analytics/customer_cohorts"] == ["analytics/monthly_sales_by_customer", "warehouse/dim_dates"]
    assert inputs["analytics/customer_balances"] == [
        "analytics/monthly_sales_by_customer",
        "warehouse/dim_customers",
        "warehouse/fact_payments",
    ]
    assert inputs["analytics/stock_cover"] == [
        "staging/products",
        "staging/stock_counts",
        "warehouse/dim_products",
        "warehouse/fact_orders",
    ]
    layers = [each.contract.layer for each in CATALOG]
    assert {layer: layers.count(layer) for layer in layers} == {
        "source": 10,
        "staging": 10,
        "warehouse": 8,
        "analytics": 9,
    }


def test_what_reads_a_table_that_no_release_holds_is_not_asked_of_one() -> None:
    layers = {each.layer for each in with_co_published(each.contract for each in CATALOG)}
    assert layers > {*RELEASED}
    for layer in layers:
        assert reads_released_tables(f"FROM analytics.answers JOIN {layer}.rows USING (month)") == (layer in RELEASED)
