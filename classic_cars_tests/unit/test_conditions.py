"""Why some automation conditions are our own: what Dagster's stock ones do on the pinned version instead.

When one of these tests fails, Dagster's own condition may do: take it, and delete ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import dagster as dg
import pytest
from dagster import AutomationCondition as When

from classic_cars.automation.follow import (
    FailedAndRested,
    FirstTick,
    InputsPublishedAndPassed,
    OutOfDate,
    RecomputedDifferently,
    RequestedNow,
)
from classic_cars.tables.recomputation import MONTHS as DIFFERING
from classic_cars.tables.recomputation import NAME

MONTHS = dg.DynamicPartitionsDefinition(name="of_this_test")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        opened.add_dynamic_partitions("of_this_test", ["2003-01", "2003-02"])
        yield opened


def asked(defs: dg.Definitions, instance: dg.DagsterInstance, cursor: Any = None) -> tuple[set[str], Any]:
    found = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
    keys = {key for key in defs.get_repository_def().asset_graph.get_all_asset_keys() if found.get_num_requested(key)}
    return {key.to_user_string() for key in keys}, found.cursor


def sound(condition: dg.AutomationCondition, severity: dg.AssetCheckSeverity, instance: dg.DagsterInstance) -> bool:
    @dg.asset(check_specs=[dg.AssetCheckSpec("audit", asset="upstream", blocking=True)])
    def upstream() -> dg.MaterializeResult:
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=False, severity=severity)])

    @dg.asset(deps=[upstream], automation_condition=condition)
    def downstream() -> None: ...

    dg.materialize([upstream], instance=instance, raise_on_error=False)
    return asked(dg.Definitions([upstream, downstream]), instance)[0] == {"downstream"}


def test_the_stock_condition_takes_a_warning_of_a_blocking_check_for_a_refusal(instance: dg.DagsterInstance) -> None:
    warning, refusal = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
    assert not sound(When.all_deps_blocking_checks_passed(), warning, instance)
    assert sound(InputsPublishedAndPassed(), warning, instance)
    assert not sound(InputsPublishedAndPassed(), refusal, instance)


def joined(requested: Any, instance: dg.DagsterInstance) -> set[str]:
    """What is asked for at one tick of a table with months and of one without that is made from it."""

    @dg.asset(partitions_def=MONTHS, automation_condition=When.missing())
    def by_month() -> None: ...

    @dg.asset(deps=[by_month], automation_condition=When.any_deps_match(requested))
    def whole() -> None: ...

    return asked(dg.Definitions([by_month, whole]), instance)[0]


def test_the_stock_condition_does_not_join_tables_with_and_without_months(instance: dg.DagsterInstance) -> None:
    assert joined(When.will_be_requested(), instance) == {"by_month"}
    assert joined(RequestedNow(), instance) == {"by_month", "whole"}


def at_first(condition: dg.AutomationCondition, instance: dg.DagsterInstance) -> set[str]:
    """What is asked for at the first tick after an input was made again."""

    @dg.asset
    def upstream() -> None: ...

    @dg.asset(deps=[upstream], automation_condition=condition)
    def downstream() -> None: ...

    dg.materialize([upstream, downstream], instance=instance)
    dg.materialize([upstream], instance=instance)
    return asked(dg.Definitions([upstream, downstream]), instance)[0]


def test_the_stock_conditions_do_not_see_what_happened_before_the_first_tick(instance: dg.DagsterInstance) -> None:
    stock = When.newly_missing() | When.any_deps_updated() | When.code_version_changed()
    assert at_first(stock, instance) == set()
    assert at_first(FirstTick() & OutOfDate(), instance) == {"downstream"}


def test_the_stock_condition_follows_an_input_that_came_out_as_it_was(instance: dg.DagsterInstance) -> None:
    @dg.asset
    def upstream(context) -> None:
        context.set_data_version(context.asset_key, dg.DataVersion("the same"))

    def defs(condition: dg.AutomationCondition) -> dg.Definitions:
        @dg.asset(deps=[upstream], automation_condition=condition)
        def downstream() -> None: ...

        return dg.Definitions([upstream, downstream])

    stock: Any = When.any_deps_updated()
    ours: Any = stock & OutOfDate()
    dg.materialize(list(defs(stock).assets or []), instance=instance)
    cursors = [asked(defs(each), instance)[1] for each in (stock, ours)]
    dg.materialize([upstream], instance=instance)
    assert asked(defs(stock), instance, cursors[0])[0] == {"downstream"}
    assert asked(defs(ours), instance, cursors[1])[0] == set()


def test_the_stock_condition_is_true_of_all_months_and_goes_on_asking_when_a_recomputation_fails(
    instance: dg.DagsterInstance,
) -> None:
    def asked_for(condition: Any) -> list[set[str]]:
        @dg.asset(partitions_def=MONTHS, automation_condition=condition)
        def table() -> None: ...

        @dg.asset_check(asset=table, name=NAME)
        def recomputation() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(
                passed=False, metadata={DIFFERING: dg.MetadataValue.json(["2003-02", "1950-01"])}
            )

        defs, cursor, found = dg.Definitions([table], asset_checks=[recomputation]), None, []
        for _ in range(3):
            evaluated = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
            found.append(set(evaluated.get_requested_partitions(table.key)))
            if cursor is None:
                defs.resolve_implicit_global_asset_job_def().get_subset(
                    asset_check_selection={dg.AssetCheckKey(table.key, NAME)}, asset_selection=set()
                ).execute_in_process(instance=instance)
            cursor = evaluated.cursor
        return found

    both, nothing = {"2003-01", "2003-02"}, set[str]()
    with mock.patch("classic_cars.automation.follow.known_months", return_value=sorted(both)):
        assert asked_for(RecomputedDifferently()) == [nothing, {"2003-02"}, nothing]
    assert asked_for(When.any_checks_match(When.check_failed()))[1:] == [both, both]


def coded(version: str, condition: Any) -> dg.Definitions:
    @dg.asset(code_version=version, automation_condition=condition)
    def table() -> None: ...

    return dg.Definitions([table])


def test_a_fix_that_came_with_other_conditions_is_seen(instance: dg.DagsterInstance) -> None:
    dg.materialize(list(coded("1", None).assets or []), instance=instance)
    assert asked(coded("1", OutOfDate()), instance)[0] == set()
    assert asked(coded("2", When.code_version_changed()), instance)[0] == set()
    assert asked(coded("2", OutOfDate()), instance)[0] == {"table"}


def test_the_stock_condition_sees_a_fix_that_is_deployed(instance: dg.DagsterInstance) -> None:
    condition = When.code_version_changed().since(When.newly_requested())
    requested, cursor = asked(coded("1", condition), instance)
    assert requested == set()
    assert asked(coded("2", condition), instance, cursor)[0] == {"table"}


def test_of_a_plain_external_asset_the_stock_condition_sees_no_observation(instance: dg.DagsterInstance) -> None:
    def noticed(outside: Any) -> set[str]:
        @dg.asset(deps=["outside"], automation_condition=When.any_deps_match(When.data_version_changed()))
        def table() -> None: ...

        defs = dg.Definitions([outside, table])
        _, cursor = asked(defs, instance)
        instance.report_runless_asset_event(
            dg.AssetObservation("outside", tags={"dagster/data_version": repr(outside)})
        )
        return asked(defs, instance, cursor)[0]

    assert noticed(dg.AssetSpec("outside")) == set()
    assert noticed(dg.observable_source_asset(name="outside")(lambda: None)) == {"table"}


def asked_after_a_failure(condition: dg.AutomationCondition, how: str, instance: dg.DagsterInstance) -> list[set[str]]:
    """What is asked for at three ticks after a run failed, or was stopped."""

    @dg.asset(automation_condition=condition)
    def table() -> None:
        raise MemoryError

    defs = dg.Definitions([table])
    _, cursor = asked(defs, instance)
    result = dg.materialize([table], instance=instance, raise_on_error=False)
    if how == "stopped":
        event = dg.DagsterEvent(dg.DagsterEventType.RUN_CANCELED.value, result.dagster_run.job_name)
        instance.run_storage.handle_run_event(result.run_id, event)
    found = []
    for _ in range(3):
        keys, cursor = asked(defs, instance, cursor)
        found.append(keys)
    return found


def test_the_stock_condition_asks_at_every_tick_for_what_failed_and_never_rests(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    often, never = [{"table"}] * 3, [set[str]()] * 3
    assert asked_after_a_failure(When.execution_failed(), "failed", instance) == often
    assert asked_after_a_failure(FailedAndRested(), "failed", instance) == never
    monkeypatch.setattr("classic_cars.automation.refusals.SHORTEST_REST", -1.0)
    monkeypatch.setattr("classic_cars.automation.refusals.LONGEST_REST", -1.0)
    assert asked_after_a_failure(FailedAndRested(), "stopped", instance) == often
