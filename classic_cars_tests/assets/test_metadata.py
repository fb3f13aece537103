"""What Dagster shows of a table: schema, lineage, SQL, counts, versions, checks."""

from __future__ import annotations

import dagster as dg

from classic_cars.assets import ALL_TABLES
from classic_cars.definitions import build_defs
from classic_cars.settings import Settings
from classic_cars.tables.events import asset_key
from classic_cars_tests.platform import ask, run, swapped


def specs(settings: Settings, tables=ALL_TABLES) -> dict[str, dg.AssetSpec]:
    graph = build_defs(settings, tables=tables).resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def test_each_materialization_says_what_was_made_how_and_from_what(published: Settings):
    ran = run(published, select=["warehouse/dim_locations"])
    (event,) = ran.result.asset_materializations_for_node("warehouse__dim_locations")
    rows = ask(published, "SELECT count(*) FROM warehouse.dim_locations")[0][0]
    assert event.metadata["dagster/row_count"].value == rows
    columns = event.metadata["dagster/column_schema"].value.columns
    assert [column.name for column in columns] == ["locationKey", "postalCode", "city", "state", "country"]
    assert all(column.description for column in columns)
    lineage = event.metadata["dagster/column_lineage"].value.deps_by_column
    assert lineage["country"] == [dg.TableColumnDep(asset_key("staging/customers"), "country")]
    assert "INSERT INTO" in event.metadata["sql"].value
    assert event.metadata["bytes"].value > 0
    assert event.metadata["duration"].value >= 0
    assert event.metadata["engine"].value.startswith("DuckDB ")


def test_each_month_has_its_own_row_count(published: Settings):
    ran = run(published, select=["warehouse/fact_orders"])
    counts = {
        event.partition: event.metadata["dagster/partition_row_count"].value
        for event in ran.result.asset_materializations_for_node("warehouse__fact_orders")
    }
    assert len(counts) == 8
    by_month = "SELECT strftime(orderDate, '%Y-%m'), count(*) FROM warehouse.fact_orders GROUP BY ALL"
    assert {month: rows for month, rows in counts.items() if rows} == dict(ask(published, by_month))


def test_a_run_of_one_month_says_how_many_rows_the_table_has_and_how_many_it_made(published: Settings):
    ran = run(published, select=["warehouse/fact_orders"], months=("2003-02", "2003-02"))
    (event,) = ran.result.asset_materializations_for_node("warehouse__fact_orders")
    ((rows, of_month),) = ask(
        published,
        "SELECT count(*), count(*) FILTER (strftime(orderDate, '%Y-%m') = '2003-02') FROM warehouse.fact_orders",
    )
    assert 0 < of_month < rows
    assert event.metadata["dagster/row_count"].value == rows
    assert event.metadata["rows in this run"].value == of_month


def test_the_graph_has_the_groups_partitions_and_checks_that_were_meant(shop: Settings):
    graph = build_defs(shop).resolve_asset_graph()
    nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
    assert {name: node.group_name for name, node in nodes.items()} == {name: name.split("/")[0] for name in nodes}
    assert {name for name, node in nodes.items() if node.is_partitioned} == {
        "order_system/orders",
        "order_system/orderdetails",
        "source/orders",
        "source/orderdetails",
        "staging/orders",
        "staging/orderdetails",
        "warehouse/fact_orders",
        "analytics/monthly_sales_by_customer",
        "analytics/monthly_sales_by_product",
        "analytics/sales_by_month",
    }
    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    assert {name for table, name in checks if table == "warehouse/fact_orders"} == {
        "agrees_with_order_system",
        "agrees_with_recomputation",
        "schema",
        "values",
        "keys",
        "references",
        "columns",
        "reconciliation",
        "completeness",
    }
    assert {name for table, name in checks if table == "staging/orders"} == {
        "agrees_with_recomputation",
        "schema",
        "values",
        "keys",
        "references",
        "columns",
        "quarantine",
        "reconciliation",
    }
    assert {name for table, name in checks if table == "source/orders"} == {
        "schema",
        "values",
        "volume",
        "moved",
        "reconciliation",
    }
    assert {name for table, name in checks if table == "analytics/sales_by_country"} == {
        "agrees_with_recomputation",
        "schema",
        "values",
        "keys",
        "reconciliation",
    }


def test_an_edit_makes_its_table_stale_and_a_comment_does_not(shop: Settings):
    from classic_cars.assets import dimensions

    def commented(products, productlines, orderdetails):
        # a comment
        return dimensions.dim_products.function(products, productlines, orderdetails)

    def edited(products, productlines, orderdetails):
        rows = dimensions.dim_products.function(products, productlines, orderdetails)
        return rows.mutate(productName=rows.productName.upper())

    address = "warehouse/dim_products"
    now = specs(shop)[address].code_version
    assert specs(shop, swapped(address, commented))[address].code_version == now
    assert specs(shop, swapped(address, edited))[address].code_version != now


def test_children_are_read_before_their_parents(shop: Settings):
    ran = run(shop, select=[each.address for each in ALL_TABLES if each.address.startswith("source/")])
    order = [
        event.asset_key.path[-1]
        for event in ran.result.all_events
        if event.is_step_materialization and event.asset_key.path[0] == "source"
    ]
    first = list(dict.fromkeys(order))
    assert first.index("orderdetails") < first.index("orders") < first.index("customers") < first.index("employees")
    assert first.index("orderdetails") < first.index("products") < first.index("productlines")
    assert first.index("payments") < first.index("customers")
