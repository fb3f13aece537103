"""Speed and memory of the platform beside other ways to do the same work, as tables for docs/performance.md.

    python -m benchmarks [--lines 300000 3000000] [--only whole small checks changes lake events] [--rounds 2]

Every variant runs in a process of its own; its seconds are those of the whole process, from the start of
Python to its end, and its memory is the process's peak. Variants take turns, and the best round counts: the
machine is rarely ours alone; CPU seconds suffer least from that. Shops are made once and kept in ``bench``
under ``CLASSIC_CARS_HOME``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.measure import ROOT, Measured, run

LINES = (300_000, 3_000_000, 10_000_000)
SMALL = 3_000
MONTH = "2004-06"
ORDERS = "source/order*+"
#: pandas may have as much memory as a generous laptop.
PANDAS_LIMIT_GB = 18

#: The variants of the whole work: how they are called, and what is compared with the platform's tables.
WHOLE = {
    "platform": ("Classic Cars, all checks", ""),
    "persistent": ("Classic Cars, all checks, history kept", ""),
    "script": ("hand-written DuckDB script, no checks", "exact"),
    "dbt": ("dbt build on DuckDB, rules, keys and references as tests", "exact"),
    "pandas": ("dagster-duckdb-pandas, no checks", "rounded"),
}


class Bench:
    """Where shops and results are, and how often variants run."""

    def __init__(self, home: Path, rounds: int, lines: list[int], variants: Iterable[str]) -> None:
        self.home = home
        self.rounds = rounds
        self.lines = lines
        self.variants = [name for name in WHOLE if name in {"platform", "script", *variants}]

    def shop(self, lines: int) -> Path:
        """The shop with about so many order lines; made when it is not there."""
        path = self.home / f"shop-{lines}.sqlite"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            say(f"making a shop of {lines:,} order lines")
            required(run("shop", path, lines))
        return path

    def folder(self, variant: str, lines: int, *, empty: bool = False) -> Path:
        """Where a variant writes."""
        path = self.home / f"{variant}-{lines}"
        if empty:
            shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def measure(self, variant: str, lines: int) -> Measured:
        """One run of a variant from nothing."""
        say(f"{variant}, {lines:,} lines")
        limit = PANDAS_LIMIT_GB if variant == "pandas" else 0
        folder = self.folder(variant, lines, empty=True)
        if variant == "dbt":
            required(run("dbt_project", self.shop(lines), folder))
        return run(variant, self.shop(lines), folder, limit_gb=limit)

    def published(self, lines: int) -> Path:
        """Home of a platform that has run on this shop."""
        home = self.home / f"platform-{lines}"
        if not (home / "store" / "classic_cars.duckdb").exists():
            required(self.measure("platform", lines))
        return home


def say(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


def required(measured: Measured) -> Measured:
    if measured.failure:
        raise SystemExit(measured.failure)
    return measured


def best(found: Iterable[Measured]) -> Measured:
    """The fastest of the rounds, with the least work and memory of them; a failure if all failed."""
    rounds = list(found)
    good = [each for each in rounds if not each.failure]
    if not good:
        return rounds[0]
    fastest = min(good, key=lambda each: each.seconds)
    cpu, peak = min(each.cpu for each in good), min(each.peak_mb for each in good)
    return Measured(fastest.seconds, cpu, peak, fastest.facts)


def table(header: list[str], rows: Iterable[list[str]]) -> None:
    """Print a markdown table; the first column is text, the others are numbers."""
    print("| " + " | ".join(header) + " |")
    print("| --- |" + " ---: |" * (len(header) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


# Sections --------------------------------------------------------------------------------------------------


def whole(bench: Bench) -> None:
    """The whole work, from the order system to the answers."""
    rows = []
    for lines in bench.lines:
        found = {variant: [] for variant in bench.variants}
        for number in range(bench.rounds):
            for variant in bench.variants:
                # The slow one, and the one that differs by events only, need no second round.
                if number == 0 or variant in ("platform", "script"):
                    found[variant].append(bench.measure(variant, lines))
        results = {variant: best(each) for variant, each in found.items()}
        required(results["platform"])
        for variant in bench.variants:
            how = WHOLE[variant][1]
            if how and not results[variant].failure:
                prove_equal(bench, variant, lines, how)
        rows += [whole_row(lines, variant, results) for variant in bench.variants]
    print("### All tables, from the order system to the answers\n")
    table(["Variant", "Order lines", "Seconds", "× script", "CPU s", "Peak MB", "× script", "Inside", "Events"], rows)


def prove_equal(bench: Bench, variant: str, lines: int, how: str) -> None:
    store = bench.folder("platform", lines) / "store" / "classic_cars.duckdb"
    compared = run("equal", store, bench.folder(variant, lines) / f"{variant}.duckdb", how)
    if compared.failure:
        raise SystemExit(f"{variant} does other work than the platform at {lines:,} lines: {compared.failure}")


def whole_row(lines: int, variant: str, results: dict[str, Measured]) -> list[str]:
    name, one, other = WHOLE[variant][0], results[variant], results["script"]
    if one.failure:
        return [name, f"{lines:,}", one.failure.replace("\n", " ")[:80], "", "", f"{one.peak_mb:,.0f}", "", "", ""]
    return [
        name,
        f"{lines:,}",
        f"{one.seconds:.1f}",
        f"{one.seconds / other.seconds:.2f}",
        f"{one.cpu:.1f}",
        f"{one.peak_mb:,.0f}",
        f"{one.peak_mb / other.peak_mb:.2f}",
        f"{one.facts['inside']:.1f}",
        str(one.facts.get("events", "")),
    ]


def small(bench: Bench) -> None:
    """The small shop: what everyone waits for every day."""
    rows = []
    for variant in ("platform", "persistent"):
        one = best(required(bench.measure(variant, SMALL)) for _ in range(bench.rounds))
        rows.append(
            [
                WHOLE[variant][0],
                f"{one.seconds:.1f}",
                f"{one.cpu:.1f}",
                f"{one.facts['inside']:.1f}",
                str(one.facts["events"]),
            ]
        )
    print(f"### A small shop ({SMALL:,} order lines)\n")
    table(["Variant", "Seconds", "CPU s", "Inside", "Events"], rows)


def checks(bench: Bench) -> None:
    """Each kind of check of ``fact_orders``, its rules by hand, and the proof of columns as a share of a run."""
    lines = bench.lines[min(1, len(bench.lines) - 1)]
    home = bench.published(lines)
    say(f"checks, {lines:,} lines")
    facts = required(run("audit", bench.shop(lines), home)).facts
    whole = required(run("platform", bench.shop(lines), bench.folder("checked", lines, empty=True)))
    print(f"### The checks of fact_orders ({lines:,} order lines)\n")
    kinds = [name for name in facts if name not in ("predicates", "columns of all tables", "checks")]
    rows = [[f"check `{name}`", f"{facts[name]:.2f}"] for name in kinds]
    rows += [
        ["all checks of `fact_orders`", f"{facts['checks']:.2f}"],
        ["by hand: its rules and references in one query", f"{facts['predicates']:.2f}"],
        ["check `columns` of all tables", f"{facts['columns of all tables']:.2f}"],
        ["a whole run", f"{whole.cpu:.2f}"],
    ]
    table(["What", "CPU seconds"], rows)


def share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}"


def changes(bench: Bench) -> None:
    """`classic-cars run` after everything, nothing, an edit, a sale, a new customer, and for one month by name."""
    rows = []
    for lines in bench.lines:
        home, shop = bench.folder("changes", lines, empty=True), bench.folder("changes", lines) / "copy.sqlite"
        shutil.copyfile(bench.shop(lines), shop)
        full = None
        work = {
            **{"everything is new": "", "nothing changed": "", "one order was edited": "edit"},
            **{"one sale, and less in stock": "sale", "one new customer": "customer", "one month again": ""},
        }
        for what, edit in work.items():
            say(f"{what}, {lines:,} lines")
            one = required(run("changed", shop, home, edit, MONTH if "again" in what else ""))
            full = full or one
            inside, everything = one.facts["after imports"], full.facts["after imports"]
            rows.append(
                [
                    *(f"{what}, {lines:,} lines", str(one.facts["tables"])),
                    *(f"{one.seconds:.1f}", share(one.seconds, full.seconds)),
                    *(f"{inside:.1f}", share(inside, everything)),
                    *(f"{one.cpu:.1f}", f"{one.peak_mb:,.0f}"),
                ]
            )
    print("### What changed: `classic-cars run`\n")
    table(["What", "Tables made", "Seconds", "Share", "After imports", "Share", "CPU s", "Peak MB"], rows)


def lake(bench: Bench) -> None:
    """The Iceberg store beside the DuckDB store: all months, and one month again."""
    from classic_cars_shop.object_store import seaweedfs

    rows = []
    with seaweedfs() as server:
        for lines in [each for each in bench.lines if each > LINES[0]] or bench.lines:
            places = {
                "DuckDB file": {},
                "Iceberg, local folder": {"CLASSIC_CARS_STORE": "iceberg"},
                "Iceberg, S3 (SeaweedFS)": {
                    "CLASSIC_CARS_STORE": "iceberg",
                    "CLASSIC_CARS_WAREHOUSE": f"s3://{server.new_bucket()}/warehouse",
                    **server.environment,
                },
            }
            duckdb = None
            for name, env in places.items():
                say(f"{name}, {lines:,} lines")
                home = bench.folder("lake", lines, empty=True)
                full = required(run("platform", bench.shop(lines), home, env=env))
                month = required(run("platform", bench.shop(lines), home, MONTH, ORDERS, env=env))
                duckdb = duckdb or full
                rows.append(
                    [
                        *(name, f"{lines:,}", f"{full.seconds:.1f}", f"{full.seconds / duckdb.seconds:.2f}"),
                        *(f"{full.cpu:.1f}", f"{full.peak_mb:,.0f}", f"{month.seconds:.1f}", f"{month.cpu:.1f}"),
                    ]
                )
    print("### The Iceberg store beside the DuckDB store\n")
    table(["Store", "Order lines", "Seconds", "× DuckDB", "CPU s", "Peak MB", "One month again, s", "CPU s"], rows)


def events(_bench: Bench) -> None:
    """What an event costs."""
    say("events")
    print("### What a Dagster event costs\n\n```")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", "benchmarks.event_log"], cwd=ROOT, check=True)
    print("```\n", flush=True)


SECTIONS: dict[str, Callable[[Bench], None]] = {
    each.__name__: each for each in (whole, small, checks, changes, lake, events)
}


def machine() -> str:
    """The machine, in a line."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cores} cores, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--lines", type=int, nargs="+", default=list(LINES), help="order lines of the shops")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections to run")
    parser.add_argument("--rounds", type=int, default=2, help="times that quick variants run; the best counts")
    parser.add_argument("--variants", nargs="+", choices=WHOLE, default=list(WHOLE), help="beside platform and script")
    options = parser.parse_args()
    home = Path(os.environ.get("CLASSIC_CARS_HOME", ROOT / "var")).absolute() / "bench"
    bench = Bench(home, options.rounds, sorted(options.lines), options.variants)
    print(f"{machine()}; best of {options.rounds}; whole processes\n", flush=True)
    for name in options.only:
        SECTIONS[name](bench)


if __name__ == "__main__":
    main()
