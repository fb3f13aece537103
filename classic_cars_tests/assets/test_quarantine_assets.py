"""Quarantines and ledgers of landed files are assets: in the lineage, counted, published with their table."""

from __future__ import annotations

import dagster as dg
import ibis
import pytest

from classic_cars.assets import ALL_TABLES, source
from classic_cars.definitions import FULL_REFRESH, build_defs
from classic_cars.errors import SettingsError
from classic_cars.runs.selecting import select_tables
from classic_cars.settings import Settings
from classic_cars.tables.events import asset_key
from classic_cars_tests.landed import drop, jsonl, rating
from classic_cars_tests.platform import Ran, ask, run, swapped

CO_PUBLISHED = {each.address: table.address for table in ALL_TABLES for each in table.contract.co_published}
LANDED, CLEANED = "source/ratings", "staging/ratings"


def reported(ran: Ran) -> dict[str, int]:
    """Rows by address, of the tables that were published with another one."""
    events = [event for event in ran.result.all_events if event.is_step_materialization]
    made = {str(event.asset_key.to_user_string()): event.materialization for event in events if event.asset_key}
    return {name: each.metadata["dagster/row_count"].value for name, each in made.items() if name in CO_PUBLISHED}


def test_each_has_its_table_upstream_a_group_a_description_and_columns(shop: Settings):
    graph = build_defs(shop).resolve_asset_graph()
    assert {"quarantine/orders", "quarantine/stock_counts", "source/ratings_files"} < set(CO_PUBLISHED)
    for address, owner in CO_PUBLISHED.items():
        node = graph.get(asset_key(address))
        assert node.parent_keys == {asset_key(owner)}
        assert node.group_name == address.split("/")[0]
        assert owner in str(node.description)
        assert not node.is_materializable
    columns = graph.get(asset_key("quarantine/customers")).metadata["dagster/column_schema"].columns
    by_name = {each.name: each for each in columns}
    assert by_name["_reason"].description == "Why the row was quarantined"
    assert "personal_data" in by_name["phone"].tags


def test_they_are_in_no_job_and_cannot_be_selected(shop: Settings):
    defs = build_defs(shop)
    made = defs.resolve_job_def(FULL_REFRESH).asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in made}.isdisjoint(CO_PUBLISHED)
    assert asset_key("quarantine/orders") not in select_tables(defs, ["source/orders+"])
    with pytest.raises(SettingsError, match=r"quarantine/orders: is made with staging/orders; there are analytics/"):
        select_tables(defs, ["quarantine/orders"])


def test_a_run_says_how_many_rows_each_has(published: Settings):
    ((product,),) = ask(published, "SELECT min(productCode) FROM staging.products")
    good = rating(product=product)
    drop(published, "a.jsonl", jsonl(good, rating("nobody"), rating(999_999), "{"))
    drop(published, "b.csv", "nonsense")
    ran = run(published, select=[LANDED, CLEANED])
    assert reported(ran) == {"source/ratings_files": 2, "quarantine/ratings": 3}
    drop(published, "c.csv", "other nonsense")
    ran = run(published, select=[LANDED, CLEANED])
    assert reported(ran) == {"source/ratings_files": 3, "quarantine/ratings": 3}
    assert ask(published, "SELECT count(*) FROM source.ratings_files") == [(3,)]


def test_of_a_run_of_some_months_all_rows_are_counted(published: Settings):
    ran = run(published, select=["staging/orders"], months=("2003-02", "2003-02"))
    ((rows,),) = ask(published, "SELECT count(*) FROM quarantine.orders")
    assert reported(ran) == {"quarantine/orders": rows}


def test_what_was_not_published_is_not_reported(published: Settings):
    def lossy(line: ibis.Table) -> ibis.Table:
        return source.ratings.function(line).filter(ibis.literal(False))

    drop(published, "a.jsonl", jsonl(rating()))
    with dg.DagsterInstance.ephemeral() as instance:
        ran = run(published, tables=swapped(LANDED, lossy), select=[LANDED], instance=instance)
        assert ran.failed == {(LANDED, "reconciliation")}
        assert reported(ran) == {}
        assert instance.get_latest_materialization_event(asset_key("source/ratings_files")) is None
    assert ask(published, "SELECT count(*) FROM source.ratings_files") == [(0,)]
