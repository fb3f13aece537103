"""``make mutate``: plant every bug, print what stopped each, and fail when one got through."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from classic_cars.assets import ALL_TABLES
from classic_cars.tables.table import Catalog
from classic_cars_tests.mutation import running, sweep
from classic_cars_tests.mutation.harness import EQUIVALENT, STOPPED, Result
from classic_cars_tests.mutation.mutant import Mutant
from classic_cars_tests.mutation.planted import MUTANTS

WORKERS, SEED = 2, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The number of the exit: 0 when every bug was stopped."""
    options = _options(arguments)
    started = time.perf_counter()
    mutants = chosen(options)
    if not mutants:
        print("no bug has that in its class, table or name")
        return 2
    found: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        for each in running.results(mutants, Path(folder), options.workers):
            found.append(each)
            is_news = each.mutant.kind != sweep.SWEEP or not running.acceptable(each)
            if is_news and not (options.markdown and running.acceptable(each)):
                print(running.line(each), file=sys.stderr if options.markdown else sys.stdout, flush=True)
    return report(found, options.markdown, time.perf_counter() - started)


def report(found: Sequence[Result], as_markdown: bool, seconds: float) -> int:
    if as_markdown:
        print("\n".join(running.markdown(found)))
    planted = [each for each in found if each.mutant.kind != sweep.SWEEP]
    swept = [each for each in found if each.mutant.kind == sweep.SWEEP]
    lines = running.totals(planted, lambda each: each.mutant.kind, "class")
    if swept:
        lines += ["", "Sweep over every column of every table:"]
        lines += running.totals(swept, lambda each: each.mutant.address, "table")
    wrong = [each for each in found if not running.acceptable(each)]
    nothing = sum(each.state == EQUIVALENT for each in swept)
    stopped = sum(each.state == STOPPED for each in found)
    lines += ["", f"{stopped} of {len(found) - nothing} bugs stopped, {seconds:.0f} s"]
    print("\n" + "\n".join(lines), file=sys.stderr if as_markdown else sys.stdout)
    return 1 if wrong else 0


def chosen(options: argparse.Namespace) -> list[Mutant]:
    """The bugs that the options ask for."""
    mutants = [] if options.sweep else list(MUTANTS)
    if options.sweep or options.all:
        mutants += sweep.mutants(Catalog(ALL_TABLES))
    if options.only:
        pattern = options.only.lower()
        mutants = [each for each in mutants if pattern in f"{each.kind} {each.where}: {each.name}".lower()]
    if options.sample and options.sample < len(mutants):
        mutants = random.Random(options.seed).sample(mutants, options.sample)
    return mutants


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("--only", metavar="PATTERN", help="only bugs with this text in their class, table or name")
    parser.add_argument("--sample", type=int, metavar="N", help="only so many of them, chosen at random")
    parser.add_argument("--seed", type=int, default=SEED, help="of the sample")
    parser.add_argument("--sweep", action="store_true", help="only the sweep over every column of every table")
    parser.add_argument(
        "--all", action="store_true", help="the bugs that were thought of, and the sweep: twice the time"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table for the documents")
    parser.add_argument("--workers", type=int, default=WORKERS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
