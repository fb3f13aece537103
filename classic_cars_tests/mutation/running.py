"""Many mutants on several benches at once, and what is printed of them."""

from __future__ import annotations

import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from classic_cars_tests.mutation import harness, sweep
from classic_cars_tests.mutation.harness import BROKEN, EQUIVALENT, STOPPED, SURVIVED, Bench, Result, publish_template
from classic_cars_tests.mutation.mutant import Mutant

_bench: Bench | None = None
_mutants: Sequence[Mutant] = ()


def results(mutants: Sequence[Mutant], home: Path, workers: int) -> Iterator[Result]:
    """The result of each mutant, in their order. ``home``: a folder for all that is written; it may have a template."""
    global _mutants
    _mutants = mutants  # workers are forked, and find it there: mutants are functions, that no queue takes
    context = multiprocessing.get_context("fork")
    template = home / "template"
    if not template.exists():
        maker = context.Process(target=publish_template, args=(template,))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise harness.Refused("the tiny shop could not be published, see above")
    with context.Pool(workers, _set_up, (home, template)) as pool:
        for number, plain in pool.imap(_judged, range(len(mutants)), chunksize=4):
            yield Result(mutants[number], *plain)


def _set_up(home: Path, template: Path) -> None:
    global _bench
    name = multiprocessing.current_process().name
    shutil.rmtree(home / name, ignore_errors=True)
    _bench = Bench(home / name, template)


def _judged(number: int) -> tuple[int, tuple]:
    if _bench is None:
        raise RuntimeError("no bench to plant mutants in")
    found = _bench.judge(_mutants[number])
    return number, (found.state, found.where, found.by, found.said, found.passed, found.wrong)


# What is printed ------------------------------------------------------------------------------------------


def acceptable(result: Result) -> bool:
    """Stopped; of the sweep, which plants blindly, also what changes nothing."""
    return result.state == STOPPED or (result.state == EQUIVALENT and result.mutant.kind == sweep.SWEEP)


def line(result: Result) -> str:
    mutant = result.mutant
    said = {
        STOPPED: f"stopped by {_stopper(result)}",
        SURVIVED: f"SURVIVED: published in {result.where}; {result.wrong}",
        EQUIVALENT: f"EQUIVALENT, no bug: {result.said}",
        BROKEN: f"BROKEN, cannot be planted: {result.said}",
    }[result.state]
    return f"{mutant.kind:12} {mutant.where}: {mutant.name} -> {said}"


def _stopper(result: Result) -> str:
    by = "load error" if result.by == harness.AT_LOAD else result.by
    return f"{by} of {result.where}" if result.where != result.mutant.address else by


def totals(found: Iterable[Result], of: Callable[[Result], str], title: str) -> list[str]:
    """A line for each class: how many bugs, and what stopped them."""
    groups: dict[str, list[Result]] = {}
    for each in found:
        groups.setdefault(of(each), []).append(each)
    width = max([len(title), *map(len, groups)], default=0)
    lines = []
    for name, some in groups.items():
        states = Counter(each.state for each in some)
        by = Counter("load error" if each.by == harness.AT_LOAD else each.by for each in some if each.state == STOPPED)
        stopped = ", ".join(f"{check} {count}" for check, count in by.most_common())
        rest = ", ".join(f"{states[state]} {state}" for state in (SURVIVED, EQUIVALENT, BROKEN) if states[state])
        lines.append(
            f"{name:{width}} {len(some):5} bugs, {states[STOPPED]:5} stopped ({stopped})"
            + (f", {rest}" if rest else "")
        )
    return lines


def markdown(found: Iterable[Result]) -> list[str]:
    """The table for the documents; of the sweep only what each table's columns were stopped by."""
    rows = ["| class | table | bug | stopped by |", "|---|---|---|---|"]
    for each in found:
        if each.mutant.kind != sweep.SWEEP:
            where = "all answers" if each.mutant.remade else each.mutant.where
            stopper = _stopper(each) if each.state == STOPPED else f"**{each.state}**"
            rows.append(f"| {each.mutant.kind} | {where} | {each.mutant.name} | {stopper} |")
    return rows
