"""SIGINT and SIGTERM end a run within two seconds, cleanly, wherever it is: in a query, between steps, waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from classic_cars.instance import open_instance
from classic_cars.settings import Settings
from classic_cars.stores import open_store

#: Seconds of work from the signal to the end of the process.
AT_ONCE = 2.0

#: Runs one table that takes for ever, or 300 that take a moment.
PROGRAM = """
import sys
from classic_cars.cli.startup import quick_imports

with quick_imports():
    import ibis
    import ibis.expr.datatypes as dt
    import pandera.ibis as pa
    import classic_cars.runs as runs
    from classic_cars.assets import ALL_TABLES
    from classic_cars.contracts.base import Contract
    from classic_cars.contracts.origins import ORIGIN, ColumnOrigin
    from classic_cars.definitions import build_defs
    from classic_cars.settings import load_settings
    from classic_cars.tables.table import table

def contract(name: str) -> Contract:
    columns = {"n": pa.Column(dt.Int64, metadata={ORIGIN: ColumnOrigin(derived=True)})}
    return Contract.of(pa.DataFrameSchema(columns, name=f"analytics/{name}"))

if sys.argv[1] == "query":
    @table(contract("query"))
    def endless() -> ibis.Table:
        some = ibis.range(0, 100_000).unnest().name("n").as_table()
        other = ibis.range(0, 1_000_000).unnest().name("m").as_table()
        rare = some.cross_join(other).filter((ibis._.n * ibis._.m) % 1_000_000_007 == 3)
        return rare.select(n=rare.n.cast("int64"))

    tables = [endless]
else:
    def quick() -> ibis.Table:
        return ibis.range(0, 1).unnest().name("n").as_table().select(n=ibis._.n.cast("int64"))

    tables = [table(contract(f"steps{number}"))(quick) for number in range(100)]

runs.build_defs = lambda settings: build_defs(settings, tables=[*ALL_TABLES, *tables])
runs.open_order_system = lambda url, timeout: None
report = runs.execute(load_settings(), [f"analytics/{sys.argv[1]}*"])
print("interrupted", report.interrupted, report.errors, flush=True)
"""


def started(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={"CLASSIC_CARS_HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def told_to_stop(running: subprocess.Popen[str], number: signal.Signals) -> tuple[float, str]:
    """Seconds of work from the signal to the end of the process, and what it said.

    Of work, not of the clock: other tests run beside this one.
    """
    before = sum(psutil.Process(running.pid).cpu_times()[:2])
    running.send_signal(number)
    assert running.stdout is not None
    said = running.stdout.read()
    _, status, used = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime - before, said


@pytest.mark.parametrize(
    ("moment", "number"),
    # By day SIGTERM ends what makes a shop (test_shop_create), by the same code.
    [("query", signal.SIGINT), pytest.param("steps", signal.SIGTERM, marks=pytest.mark.exhaustive)],
)
def test_a_run_ends_at_once(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    running = started(tmp_path, moment)
    wait_for_steps(tmp_path, 1 if moment == "query" else 3)
    if moment == "query":
        time.sleep(1)
    seconds, said = told_to_stop(running, number)
    assert seconds < AT_ONCE, said
    assert "interrupted True" in said
    settings = Settings(home=tmp_path)
    with open_instance(settings) as instance:
        (run,) = instance.get_runs()
        assert run.status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
    store = open_store(settings)
    store.begin_run("test")  # nobody holds it
    assert set(store.row_counts().values()) <= {1}
    store.end_run()


def wait_for_steps(home: Path, count: int) -> None:
    """Until the run has begun so many steps."""
    for _ in range(300):
        with open_instance(Settings(home=home)) as instance:
            for run in instance.get_runs():
                if len(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)) >= count:
                    return
        time.sleep(0.1)
    raise AssertionError("no step began")
