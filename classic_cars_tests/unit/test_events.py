"""What is asked of Dagster's history: the latest of each table and month, and the versions of before."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from classic_cars.instance import open_instance
from classic_cars.settings import Settings
from classic_cars.tables.events import (
    asset_key,
    latest_events,
    latest_months,
    latest_observations,
    made_months,
    versions_before,
)
from classic_cars.tables.external import DATA_VERSION, WHOLE

LINES, FACTS, PRODUCTS, OUTSIDE = "staging/lines", "warehouse/facts", "warehouse/products", "order_system/lines"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def made(instance: dg.DagsterInstance, address: str, version: str, *months: str) -> None:
    for month in months or (None,):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(asset_key(address), partition=month, tags={DATA_VERSION: version})
        )


def observed(instance: dg.DagsterInstance, address: str, version: str, *months: str) -> None:
    for month in months or (None,):
        instance.report_runless_asset_event(
            dg.AssetObservation(asset_key(address), partition=month, tags={DATA_VERSION: version})
        )


def versions(instance: dg.DagsterInstance, **partitioned: bool) -> dict[str, dict[str, str]]:
    events = latest_events(instance, {name.replace("__", "/"): months for name, months in partitioned.items()})
    return {
        address: {part: each.tags[DATA_VERSION] for part, each in found.items()} for address, found in events.items()
    }


def test_of_several_tables_the_latest_by_month_or_whole(instance: dg.DagsterInstance) -> None:
    made(instance, LINES, "1", "2004-01", "2004-02", "2004-03")
    made(instance, PRODUCTS, "1")
    made(instance, PRODUCTS, "2")
    made(instance, LINES, "2", "2004-02")
    assert versions(instance, staging__lines=True, warehouse__products=False, warehouse__facts=True, x__y=False) == {
        LINES: {"2004-01": "1", "2004-02": "2", "2004-03": "1"},
        PRODUCTS: {WHOLE: "2"},
        FACTS: {},
        "x/y": {},
    }


def test_what_was_made_since_the_last_time_is_seen(instance: dg.DagsterInstance) -> None:
    made(instance, LINES, "1", "2004-01", "2004-02")
    before = latest_months(instance, LINES)
    assert latest_months(instance, LINES) is before
    made(instance, LINES, "2", "2004-02")
    assert latest_months(instance, LINES)["2004-02"].tags[DATA_VERSION] == "2"
    assert latest_months(instance, LINES)["2004-01"].moment == before["2004-01"].moment


def test_a_wiped_table_was_never_made(instance: dg.DagsterInstance) -> None:
    made(instance, LINES, "1", "2004-01")
    made(instance, PRODUCTS, "1")
    instance.wipe_assets([asset_key(LINES), asset_key(PRODUCTS)])
    assert versions(instance, staging__lines=True, warehouse__products=False) == {LINES: {}, PRODUCTS: {}}


def test_the_versions_that_a_step_found_are_those_before_its_last_event(instance: dg.DagsterInstance) -> None:
    made(instance, LINES, "1", "2004-01", "2004-02", "2004-03")
    made(instance, FACTS, "a", "2004-01", "2004-02", "2004-03")
    made(instance, LINES, "2", "2004-02")
    facts = latest_months(instance, FACTS)
    assert len({each.until for each in facts.values()}) == 1
    found = versions_before(instance, LINES, facts["2004-01"].until)
    assert found == {"2004-01": "1", "2004-02": "1", "2004-03": "1"}


def test_a_change_between_two_months_of_one_version_is_of_before_the_one_and_not_the_other(
    instance: dg.DagsterInstance,
) -> None:
    made(instance, LINES, "1", "2004-01", "2004-02")
    made(instance, FACTS, "a", "2004-01")
    made(instance, LINES, "2", "2004-01", "2004-02")
    made(instance, FACTS, "a", "2004-02")  # another step, that made rows of the same version
    facts = latest_months(instance, FACTS)
    assert versions_before(instance, LINES, facts["2004-01"].until)["2004-01"] == "1"
    assert versions_before(instance, LINES, facts["2004-02"].until)["2004-02"] == "2"


def test_what_was_observed_outside(instance: dg.DagsterInstance) -> None:
    assert latest_observations(instance, OUTSIDE, partitioned=True) == {}
    observed(instance, OUTSIDE, "1", "2004-01", "2004-02")
    made(instance, FACTS, "a", "2004-01", "2004-02")
    observed(instance, OUTSIDE, "2", "2004-02")
    found = latest_observations(instance, OUTSIDE, partitioned=True)
    assert {month: each.tags[DATA_VERSION] for month, each in found.items()} == {"2004-01": "1", "2004-02": "2"}
    until = latest_months(instance, FACTS)["2004-02"].until
    assert versions_before(instance, OUTSIDE, until, external=True) == {"2004-01": "1", "2004-02": "1"}
    observed(instance, PRODUCTS, "5")
    assert latest_observations(instance, PRODUCTS, partitioned=False)[WHOLE].tags[DATA_VERSION] == "5"


VERSION: dict[str, str] = {}


@dg.asset(key=LINES.split("/"), partitions_def=dg.StaticPartitionsDefinition(["2004-01", "2004-02"]))
def lines() -> dg.MaterializeResult:
    return dg.MaterializeResult(tags={DATA_VERSION: VERSION["now"]})


@dg.asset(key=PRODUCTS.split("/"))
def products() -> dg.MaterializeResult:
    return dg.MaterializeResult(tags={DATA_VERSION: VERSION["now"]})


def test_a_run_that_was_deleted_made_nothing(shop: Settings) -> None:
    """Dagster keeps a copy of the last materialization, and SQLite gives its number away again."""

    def run(made: dg.AssetsDefinition, version: str, month: str | None = None) -> str:
        VERSION["now"] = version
        return dg.materialize([made], instance=instance, partition_key=month).run_id

    with open_instance(shop) as instance:
        run(lines, "1", "2004-01")
        first = run(products, "1")
        second = run(products, "2")
        instance.delete_run(second)
        event = latest_events(instance, {PRODUCTS: False})[PRODUCTS][WHOLE]
        assert (event.run_id, event.tags[DATA_VERSION]) == (first, "1")
        # Another table has the number now.
        run(lines, "1", "2004-02")
        assert latest_events(instance, {PRODUCTS: False})[PRODUCTS][WHOLE].run_id == first
        instance.delete_run(first)
        assert latest_events(instance, {PRODUCTS: False}) == {PRODUCTS: {}}


def test_months_of_a_run_that_was_deleted_are_forgotten_though_another_has_its_numbers(shop: Settings) -> None:
    def run(version: str) -> str:
        VERSION["now"] = version
        return dg.materialize([lines], instance=instance, partition_key="2004-01").run_id

    with open_instance(shop) as instance:
        deleted = run("1")
        before = latest_months(instance, LINES)["2004-01"], made_months(instance, LINES)["2004-01"].event
        assert [each.run_id for each in before] == [deleted, deleted]
        instance.delete_run(deleted)
        second = run("2")
        after = latest_months(instance, LINES)["2004-01"], made_months(instance, LINES)["2004-01"].event
        assert [each.moment for each in after] == [each.moment for each in before]
        assert [(each.run_id, each.tags[DATA_VERSION]) for each in after] == [(second, "2"), (second, "2")]
