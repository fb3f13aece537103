"""What an event costs: Dagster's SQLite event log, ours, and none (in memory), on the same job.

26 assets with 4 checks each, 6 of them over 29 months in one run, do nothing at all, so that only
Dagster's own work is timed. Variants take turns, so that a busy machine is unfair to none of them.

    python -m benchmarks.event_log [rounds]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

ASSETS, PARTITIONED, CHECKS = 26, 6, 4
MONTHS = dg.MonthlyPartitionsDefinition("2003-01-01", end_date="2005-06-01")
RANGE = {"dagster/asset_partition_range_start": "2003-01-01", "dagster/asset_partition_range_end": "2005-05-01"}
PLANNED = ("ASSET_MATERIALIZATION_PLANNED", "ASSET_CHECK_EVALUATION_PLANNED")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}  # a terminal can be slower than a disk
VARIANTS = ("stock", "pooled", "memory")


def checked_asset(number: int) -> dg.AssetsDefinition:
    """An asset that yields passed checks and no data."""
    key = dg.AssetKey(["bench", f"table_{number}"])
    partitions = MONTHS if number < PARTITIONED else None

    @dg.asset(
        key=key,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
        check_specs=[dg.AssetCheckSpec(f"check_{n}", asset=key, blocking=True) for n in range(CHECKS)],
        output_required=False,
    )
    def table() -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        for n in range(CHECKS):
            yield dg.AssetCheckResult(check_name=f"check_{n}", passed=True, metadata={"rows": n})
        yield dg.MaterializeResult(metadata={"rows": number})

    return table


def instance(variant: str, folder: Path) -> dg.DagsterInstance:
    """A fresh instance of one variant."""
    if variant == "memory":
        return dg.DagsterInstance.ephemeral()
    overrides: dict[str, object] = {"telemetry": {"enabled": False}}
    if variant == "pooled":
        overrides["event_log_storage"] = {
            "module": "classic_cars.instance.event_log",
            "class": "PooledSqliteEventLogStorage",
            "config": {"base_dir": str(folder / "history" / "runs")},
        }
    return dg.DagsterInstance.local_temp(str(folder), overrides=overrides)


def timed_run(job: dg.JobDefinition, variant: str) -> tuple[float, Counter[str]]:
    """Seconds of a run on an instance that has seen one run before, and its events by type."""
    with tempfile.TemporaryDirectory() as folder, instance(variant, Path(folder)) as on:
        job.execute_in_process(instance=on, tags=RANGE, run_config=QUIET)
        start = time.perf_counter()
        result = job.execute_in_process(instance=on, tags=RANGE, run_config=QUIET)
        seconds = time.perf_counter() - start
        return seconds, Counter(str(event.dagster_event_type.value) for event in on.all_logs(result.run_id))


def main(rounds: int = 3) -> None:
    """Print a row per variant: the median of ``rounds``."""
    assets = [checked_asset(number) for number in range(ASSETS)]
    jobs = [dg.define_asset_job("everything", executor_def=dg.in_process_executor)]
    job = dg.Definitions(assets=assets, jobs=jobs).resolve_job_def("everything")
    runs = [(variant, *timed_run(job, variant)) for _ in range(rounds) for variant in VARIANTS]
    seconds = {v: statistics.median(s for variant, s, _ in runs if variant == v) for v in VARIANTS}
    events = runs[0][2]
    if any(found != events for _, _, found in runs):
        raise SystemExit("the variants stored different events: the figures cannot be compared")
    planned = sum(events[kind] for kind in PLANNED)
    total = events.total()
    print(f"{total - planned} events and {planned} planned ones, median of {rounds} runs\n")
    print(f"{'variant':8} {'seconds':>8} {'events/s':>9} {'ms/event':>9} {'over memory, ms/event':>22}")
    for variant, took in seconds.items():
        over = (took - seconds["memory"]) / total * 1000
        print(f"{variant:8} {took:8.2f} {total / took:9.0f} {took / total * 1000:9.2f} {over:22.2f}")
    print(f"\npooled is {seconds['stock'] / seconds['pooled']:.1f} times as fast as stock")


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    main(*(int(argument) for argument in sys.argv[1:]))
