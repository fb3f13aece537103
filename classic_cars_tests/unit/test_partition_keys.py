"""Months as partitions: the data says which there are, and they are in order whenever they appear."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest

from classic_cars.errors import SettingsError
from classic_cars.instance import open_instance
from classic_cars.months import Months, spans
from classic_cars.runs.selecting import partitions_among
from classic_cars.settings import Settings
from classic_cars.tables.partitions import MONTHLY, add_months, existing, known_months, to_reorder


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.mark.parametrize(
    ("there", "wanted", "delete", "add"),
    [
        ([], ["2003-02", "2003-01"], [], ["2003-01", "2003-02"]),
        (["2003-01"], ["2003-01"], [], []),
        (["2003-01"], ["2003-02"], [], ["2003-02"]),
        (["2003-01", "2003-03", "2003-04"], ["2003-02"], ["2003-03", "2003-04"], ["2003-02", "2003-03", "2003-04"]),
        (["2003-01"], ["1900-01"], ["2003-01"], ["1900-01", "2003-01"]),
        (["2003-01", "2003-03", "2003-02"], ["2003-02"], ["2003-03", "2003-02"], ["2003-02", "2003-03"]),
    ],
)
def test_new_months_go_where_they_belong(there: list, wanted: list, delete: list, add: list) -> None:
    assert to_reorder(there, wanted) == (delete, add)


def test_months_stay_in_order_and_ranges_hold_only_what_there_is(instance: dg.DagsterInstance) -> None:
    add_months(instance, ["2003-01", "2003-05"])
    add_months(instance, ["2003-03", "1900-01"])
    assert known_months(instance) == ["1900-01", "2003-01", "2003-03", "2003-05"]

    made = []

    @dg.asset(partitions_def=MONTHLY, backfill_policy=dg.BackfillPolicy.single_run())
    def table(context) -> None:
        made.extend(context.partition_keys)

    span = {"dagster/asset_partition_range_start": "1900-01", "dagster/asset_partition_range_end": "2003-03"}
    job = dg.Definitions([table]).resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance, tags=span).success
    assert made == ["1900-01", "2003-01", "2003-03"]
    # A month between them appears later: what was made stays made.
    add_months(instance, ["2003-02"])
    assert set(instance.get_materialized_partitions(table.key)) == set(made)
    assert known_months(instance) == ["1900-01", "2003-01", "2003-02", "2003-03", "2003-05"]


def test_two_processes_that_put_months_in_order_never_mix(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one begins while this one has taken months out and not put them back: nobody sees that."""
    with open_instance(home) as one, open_instance(home) as other:
        add_months(one, ["2003-01", "2003-04", "2003-05"])
        seen, threads = [], []

        def interrupted(name: str, key: str) -> None:
            type(one).delete_dynamic_partition(one, name, key)
            if not threads:
                threads.append(Thread(target=add_months, args=(other, ["2003-02", "2003-06"])))
                threads[0].start()
            threads[0].join(0.2)
            seen.append(known_months(other))

        monkeypatch.setattr(one, "delete_dynamic_partition", interrupted)
        add_months(one, ["2003-03"])
        threads[0].join()
        assert seen == [["2003-01", "2003-04", "2003-05"]] * 2
        assert known_months(one) == [f"2003-{month:02}" for month in range(1, 7)]


@pytest.mark.parametrize("text", ["2004-01..", "..2004-01", "..", "2004-02..2004-01", "2004", ""])
def test_a_range_without_an_end_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="found "):
        Months.parse(text)


def test_a_run_of_months_is_of_those_that_there_are(instance: dg.DagsterInstance) -> None:
    add_months(instance, ["1999-02", "1999-03", "2000-01"])
    assert existing(instance, Months.parse("1999-01..1999-12")) == Months(date(1999, 2, 1), date(1999, 3, 1))
    assert partitions_among(instance, Months.parse("1999-03..2005-01")) == Months(date(1999, 3, 1), date(2000, 1, 1))
    with pytest.raises(SettingsError, match=r"--months 2003-01: there are no orders in it; .* from 1999-02 to 2000-01"):
        partitions_among(instance, Months.parse("2003-01"))


def test_months_that_follow_each_other_are_one_span() -> None:
    months = [date(2004, 1, 1), date(2003, 12, 1), date(2003, 3, 1), date(2004, 2, 1), date(2003, 5, 1)]
    assert [str(each) for each in spans(months)] == ["2003-03", "2003-05", "2003-12..2004-02"]
    assert spans([]) == []
