"""When what failed is asked for again: each month by itself, and not what a check would only refuse again."""

import time
from collections.abc import Iterator

import dagster as dg
import pytest

from classic_cars.automation import refusals
from classic_cars.automation.follow import FailedAndRested
from classic_cars.automation.refusals import rested
from classic_cars.automation.staleness import recorded
from classic_cars.tables.external import DATA_VERSION
from classic_cars.tables.partitions import MONTHLY
from classic_cars.tables.run_tags import RANGE_END, RANGE_START

JANUARY, FEBRUARY = "2003-01", "2003-02"
FACT = dg.AssetKey(["warehouse", "fact"])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        opened.add_dynamic_partitions(str(MONTHLY.name), [JANUARY, FEBRUARY])
        yield opened


class Shop:
    """An input and a fact, month by month: a fact's month fails, or is refused, for as long as it is told to."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance, self.fails, self.refuses = instance, False, False

        at_once = dg.BackfillPolicy.single_run()

        @dg.asset(partitions_def=MONTHLY, key=["staging", "lines"], backfill_policy=at_once)
        def lines(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            return dg.MaterializeResult(data_version=dg.DataVersion(context.run_id))

        @dg.asset(
            partitions_def=MONTHLY,
            deps=[lines],
            key=FACT,
            backfill_policy=at_once,
            check_specs=[dg.AssetCheckSpec("audit", asset=FACT, blocking=True)],
            automation_condition=FailedAndRested(),
        )
        def fact() -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
            if self.fails:
                raise MemoryError
            yield dg.AssetCheckResult(passed=not self.refuses, check_name="audit", asset_key=FACT)
            if self.refuses:
                raise dg.Failure("refused")
            yield dg.MaterializeResult()

        self.assets = [lines, fact]
        self.defs = dg.Definitions(self.assets)

    def run(self, month: str, *, fact: bool = True) -> None:
        chosen = self.assets if fact else self.assets[:1]
        dg.materialize(chosen, partition_key=month, instance=self.instance, raise_on_error=False)

    def run_both(self, *, fact: bool = True) -> None:
        tags = {RANGE_START: JANUARY, RANGE_END: FEBRUARY}
        chosen = self.assets if fact else self.assets[:1]
        dg.materialize(chosen, tags=tags, instance=self.instance, raise_on_error=False)

    def asked(self) -> set[str]:
        return set(dg.evaluate_automation_conditions(self.defs, self.instance).get_requested_partitions(FACT))


def test_a_month_rests_as_long_as_it_failed_itself(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "SHORTEST_REST", 0.0)
    shop = Shop(instance)
    for month in (JANUARY, FEBRUARY):
        shop.run(month)
    time.sleep(1)
    shop.fails = True
    shop.run(JANUARY)  # February was to be made a second ago: that is no failure of January's
    record = recorded(instance, shop.defs.get_repository_def().asset_graph)
    ended = instance.get_run_records(limit=1)[0].end_time or 0
    assert rested(instance, record, FACT.to_user_string(), [JANUARY], ended + 0.9) == {JANUARY}
    assert rested(instance, record, FACT.to_user_string(), [JANUARY], ended - 0.1) == set()
    assert rested(instance, record, FACT.to_user_string(), [JANUARY], ended - 60) == {JANUARY}  # the clock was put back
    time.sleep(1)
    shop.run(JANUARY)  # for a second by now
    ended = instance.get_run_records(limit=1)[0].end_time or 0
    assert rested(instance, record, FACT.to_user_string(), [JANUARY], ended + 0.9) == set()
    assert rested(instance, record, FACT.to_user_string(), [JANUARY], ended + 10) == {JANUARY}


def test_what_a_deleted_run_did_not_make_rests_no_more(instance: dg.DagsterInstance) -> None:
    record = recorded(instance, Shop(instance).defs.get_repository_def().asset_graph)
    assert rested(instance, record, FACT.to_user_string(), [JANUARY], 0.0) == {JANUARY}


def test_a_month_that_failed_is_asked_for_again_and_one_that_was_refused_only_of_something_else(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "SHORTEST_REST", -1.0)
    monkeypatch.setattr(refusals, "LONGEST_REST", -1.0)
    shop = Shop(instance)
    for month in (JANUARY, FEBRUARY):
        shop.run(month)
    assert shop.asked() == set()
    shop.fails = True
    shop.run(JANUARY)
    assert shop.asked() == {JANUARY}
    shop.fails, shop.refuses = False, True
    shop.run(JANUARY)
    assert shop.asked() == set()
    shop.run(JANUARY, fact=False)
    assert shop.asked() == {JANUARY}


def test_a_month_that_was_refused_with_others_is_asked_for_again_when_one_of_them_was_mended(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changed, too, and nothing was wrong with it: nobody would mend it."""
    monkeypatch.setattr(refusals, "SHORTEST_REST", -1.0)
    monkeypatch.setattr(refusals, "LONGEST_REST", -1.0)
    shop = Shop(instance)
    shop.run_both()
    shop.refuses = True
    shop.run_both()
    assert shop.asked() == set()
    shop.refuses = False
    shop.run(JANUARY)
    assert shop.asked() == {FEBRUARY}
    shop.run(FEBRUARY)
    assert shop.asked() == set()


def test_a_read_that_failed_is_asked_for_again_where_its_code_is_another_and_nowhere_else(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what it is read from the sensor that observes it asks again; of the code, nobody did."""
    monkeypatch.setattr(refusals, "SHORTEST_REST", -1.0)
    monkeypatch.setattr(refusals, "LONGEST_REST", -1.0)
    key, outside = dg.AssetKey(["source", "lines"]), dg.AssetSpec(["order_system", "lines"])

    def defs(code: str, *, fails: bool) -> dg.Definitions:
        @dg.asset(key=key, code_version=code, deps=[outside], automation_condition=FailedAndRested())
        def lines() -> None:
            if fails:
                raise MemoryError

        return dg.Definitions([lines, outside])

    def made(code: str, *, fails: bool) -> int:
        found = defs(code, fails=fails)
        found.get_implicit_global_asset_job_def().execute_in_process(instance=instance, raise_on_error=False)
        return dg.evaluate_automation_conditions(found, instance).get_num_requested(key)

    assert made("1", fails=False) == 0
    instance.report_runless_asset_event(dg.AssetObservation(outside.key, tags={DATA_VERSION: "2"}))
    assert made("1", fails=True) == 0
    assert made("2", fails=True) == 1
    assert made("2", fails=False) == 0
