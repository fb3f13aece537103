"""Planted bugs: a sample of those of ``make mutate``, and that the harness itself tells the truth."""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from classic_cars import checks
from classic_cars_tests.mutation import running
from classic_cars_tests.mutation.__main__ import chosen, report
from classic_cars_tests.mutation.harness import AT_LOAD, BROKEN, EQUIVALENT, STOPPED, SURVIVED, Bench, publish_template
from classic_cars_tests.mutation.mutant import Mutant, every, out, put, some, swapped
from classic_cars_tests.mutation.planted import MUTANTS
from classic_cars_tests.shared import once

CLASSES = sorted({each.kind for each in MUTANTS})
ALL_OPTIONS = {"sweep": False, "all": False, "only": None, "sample": None, "seed": 1}

RENAMED = out("test", "analytics/sales_by_country", "renamed", every(country=lambda c: c.replace("UK", "Britain")))


def _sample() -> list[Mutant]:
    """One of each class, and two more."""
    chance = random.Random(11)
    first = [chance.choice([each for each in MUTANTS if each.kind == kind]) for kind in CLASSES]
    return first + chance.sample([each for each in MUTANTS if each not in first], 2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this worker with the tiny shop as ``template``."""
    template = once(tmp_path_factory, "mutation", lambda folder: publish_template(folder / "template")) / "template"
    home = tmp_path_factory.mktemp("mutation_bench")
    (home / "template").symlink_to(template)
    return home


@pytest.fixture(scope="module")
def bench(home: Path) -> Iterator[Bench]:
    bench = Bench(home / "bench", home / "template")
    yield bench
    bench.close()


@pytest.mark.parametrize("mutant", _sample(), ids=lambda each: f"{each.kind}: {each.name}")
def test_a_planted_bug_is_stopped(bench: Bench, mutant: Mutant) -> None:
    result = bench.judge(mutant)

    assert result.state == STOPPED, running.line(result)


def test_every_table_and_every_class_has_bugs() -> None:
    planted = {each.address for each in MUTANTS} | {table for each in MUTANTS for table in each.remade}

    assert len(MUTANTS) >= 120
    assert len({(each.kind, each.where, each.name) for each in MUTANTS}) == len(MUTANTS)
    assert min(sum(each.kind == kind for each in MUTANTS) for kind in CLASSES) >= 10
    assert planted >= {f"warehouse/{name}" for name in ("fact_orders", "fact_payments", "fact_ratings", "dim_dates")}
    assert len([each for each in planted if each.startswith("staging/")]) == 10


def test_a_bug_that_breaks_the_lineage_is_stopped_when_the_catalog_is_loaded(bench: Bench) -> None:
    result = bench.judge(out("test", "staging/customers", "swapped", swapped("city", "country")))

    assert (result.state, result.where, result.by) == (STOPPED, "staging/customers", AT_LOAD)
    assert "column city comes from source/customers.country" in result.said


def test_a_bug_in_one_value_is_stopped_by_the_check_of_columns(bench: Bench) -> None:
    change = some(lambda t: t.orderNumber == 10102, customerNumber=put(113))

    result = bench.judge(out("test", "warehouse/fact_orders", "customer of one order", change))

    assert (result.state, result.where, result.by) == (STOPPED, "warehouse/fact_orders", "columns")


def test_what_changes_nothing_is_no_bug(bench: Bench) -> None:
    result = bench.judge(out("test", "staging/customers", "nothing", every(city=lambda c: c.strip())))

    assert result.state == EQUIVALENT
    assert not running.acceptable(result)
    assert report([result], False, 0) == 1


def test_what_cannot_be_planted_is_no_bug(bench: Bench) -> None:
    result = bench.judge(Mutant("test", "no such table", "staging/nobody", lambda original, **_: original()))

    assert result.state == BROKEN
    assert report([result], False, 0) == 1


def test_a_bug_that_gets_through_fails_the_command(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    without = tuple(each for each in checks.KINDS if each.name not in ("reconciliation", "columns"))
    with mock.patch("classic_cars.checks.KINDS", without):
        result = bench.judge(RENAMED)

    assert result.state == SURVIVED
    assert "country 'Britain'" in result.wrong
    assert report([result], False, 0) == 1
    assert "1 survived" in capsys.readouterr().out
    assert report([bench.judge(RENAMED)], False, 0) == 0


def test_a_bench_is_as_it_was_after_each_bug(bench: Bench) -> None:
    found = [bench.judge(RENAMED) for _ in range(2)]

    assert found[0] == found[1]


def test_some_of_the_bugs_can_be_asked_for() -> None:
    options = argparse.Namespace(**ALL_OPTIONS | {"only": "weekend on friday"})

    assert [each.name for each in chosen(options)] == ["weekend on Friday"]
    assert len(chosen(argparse.Namespace(**ALL_OPTIONS | {"sample": 12}))) == 12


def test_workers_say_what_stopped_a_bug(home: Path) -> None:
    """In processes of their own, as ``make mutate``."""
    (result,) = running.results([RENAMED], home, 1)

    assert running.line(result).endswith("analytics/sales_by_country: renamed -> stopped by reconciliation")
    assert running.markdown([result])[-1] == "| test | analytics/sales_by_country | renamed | reconciliation |"
