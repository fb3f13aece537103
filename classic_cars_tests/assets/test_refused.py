"""Quarantined rows of a version that was refused: whoever is called reads why and where, and finds the rows there."""

from __future__ import annotations

import errno
import os
import re
import signal
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classic_cars.assets import staging
from classic_cars.automation.alerts.incidents import Links, news
from classic_cars.automation.alerts.observe import observe
from classic_cars.automation.maintenance import maintenance_job
from classic_cars.errors import StoreError
from classic_cars.serving.incident import incident_report
from classic_cars.settings import Settings
from classic_cars.tables import refused
from classic_cars_tests.platform import Ran, ask, change, fingerprint, run, swapped
from classic_cars_tests.programs import ended_process

PAYMENTS = "staging/payments"
PAID = ["source/payments", PAYMENTS]
RUNBOOK = Path(__file__).parents[2] / "docs" / "operations.md"
#: More than may be: every second payment is of no number, and some are entered twice.
BAD = (
    "UPDATE payments SET amount = 'much' WHERE rowid % 2 = 0",
    "INSERT INTO payments SELECT customerNumber, ' ' || checkNumber, paymentDate, amount FROM payments "
    "WHERE rowid IN (1, 3, 5)",
)
#: One of them.
ONE = "UPDATE payments SET amount = 'much' WHERE rowid = 3"


def planted(settings: Settings) -> list[int]:
    """How many bad payments there are of each kind, from the order system itself, fewest first."""
    change(settings.order_system_url, *BAD)
    with sqlite3.connect(settings.home / "shop.sqlite") as shop:
        ((count,),) = shop.execute("SELECT count(*) FROM payments WHERE amount = 'much'")
    return [3, count]


def runbook_queries(file: str) -> list[str]:
    """The queries of the runbook that read such a file, word for word."""
    typed = re.findall(r'^classic-cars query "(.*FILE.*?)"', RUNBOOK.read_text(), re.MULTILINE)
    return [each.replace("FILE", file) for each in typed]


def kept(ran: Ran) -> Path:
    """Where the check says that the rows are."""
    return Path(ran.checks[PAYMENTS, "quarantine"].metadata["quarantined rows"].value)


def test_rows_that_block_a_publish_are_found_with_the_query_of_the_runbook(published: Settings):
    expected = planted(published)
    before = fingerprint(published)
    ran = run(published, select=PAID)
    assert ran.failed == {(PAYMENTS, "quarantine")}
    path = kept(ran)
    assert path == published.home / "refused" / "payments" / f"{ran.result.run_id}.parquet"
    assert str(path) in ran.checks[PAYMENTS, "quarantine"].description
    by_reason, rows = runbook_queries(str(path))
    found = dict(ask(published, by_reason))
    assert sorted(found.values()) == expected
    assert len(ask(published, rows)) == sum(expected)
    assert ask(published, f"SELECT DISTINCT _run_id FROM '{path}'") == [(ran.result.run_id,)]
    # The version that was refused left nothing else.
    assert ask(published, "SELECT count(*) FROM quarantine.payments") == [(0,)]
    assert {name: value for name, value in fingerprint(published).items() if name != "source/payments"} == {
        name: value for name, value in before.items() if name != "source/payments"
    }


def test_reasons_with_their_rows_and_the_file_are_in_the_alert_and_in_the_incident(published: Settings, tmp_path: Path):
    expected = planted(published)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        ran = run(published, select=PAID, instance=instance)
        keys = [dg.AssetCheckKey(dg.AssetKey(PAYMENTS.split("/")), "quarantine")]
        seen = observe(instance, [], keys, [], time.time())
        _, (message,) = news({}, seen, time.time(), Links("http://dagster.example", "runbook", "test"))
        told = incident_report(instance, ran.result.run_id)
    assert told.first is not None
    for text in (message.body, told.first.what, ran.checks[PAYMENTS, "quarantine"].description):
        said = {int(count.replace(",", "")): why for count, why in re.findall(r"([\d,]+) rows?: ([^;.]+)", text)}
        assert sorted(said) == expected
        assert "amount does not fit its type" in said[max(said)]
        assert str(kept(ran)) in text
        total = sum(expected)
        assert re.search(rf"Above the limit: {total} of [\d,]+ rows of the table \(\d+\.\d\d%\), limit 1\.00%", text)


def test_rows_of_a_version_that_another_check_refuses_are_kept_too(published: Settings):
    change(published.order_system_url, ONE)

    def lossy(payments: ibis.Table) -> ibis.Table:
        return staging.payments.function(payments).filter(ibis._.amount.fill_null(0) < 100_000)

    change(published.order_system_url, "UPDATE payments SET amount = 500000 WHERE rowid = 4")
    ran = run(published, tables=swapped(PAYMENTS, lossy), select=PAID)
    assert (PAYMENTS, "reconciliation") in ran.failed
    assert (PAYMENTS, "quarantine") in ran.warned
    assert ask(published, f"SELECT count(*) FROM '{kept(ran)}'") == [(1,)]


def test_of_a_version_that_is_published_the_rows_are_in_the_quarantine_alone(published: Settings):
    change(published.order_system_url, ONE)
    ran = run(published, select=PAID)
    assert ran.success, ran.errors
    said = ran.checks[PAYMENTS, "quarantine"]
    assert said.description.endswith(". The rows are in quarantine/payments")
    assert said.metadata["quarantined rows"].value == "quarantine/payments"
    assert not (published.home / "refused").exists()
    assert ask(published, "SELECT count(*) FROM quarantine.payments") == [(1,)]


def test_only_the_user_of_the_platform_may_read_the_rows(published: Settings):
    planted(published)
    path = kept(run(published, select=PAID))
    assert [each.stat().st_mode & 0o777 for each in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]
    with pytest.raises(StoreError, match="queries are read-only"):
        ask(published, f"COPY (SELECT 1) TO '{path}'")
    with pytest.raises(StoreError, match="disabled by configuration"):
        ask(published, f"SELECT * FROM '{published.home}/compiled.json'")


def test_many_rows_are_bounded_and_some_of_each_reason_are_kept(published: Settings, monkeypatch: pytest.MonkeyPatch):
    expected = planted(published)
    monkeypatch.setattr(refused, "MOST_ROWS", 6)
    ran = run(published, select=PAID)
    total = sum(expected)
    assert ran.checks[PAYMENTS, "quarantine"].description.endswith(f" (6 of {total}, some of each reason)")
    found = dict(ask(published, runbook_queries(str(kept(ran)))[0]))
    assert list(found.values()) == [3, 3]


# When something goes wrong, and when time goes by ---------------------------------------------------------


def test_a_full_disk_does_not_hide_the_verdict(published: Settings, monkeypatch: pytest.MonkeyPatch):
    planted(published)

    def full(rows: pa.Table, file: Any, **more: Any) -> None:
        file.write(b"PAR1")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    ran = run(published, select=PAID)
    assert ran.failed == {(PAYMENTS, "quarantine")}
    said = ran.checks[PAYMENTS, "quarantine"].description
    assert "The rows could not be kept in " in said
    assert said.endswith(": No space left on device")
    assert list((published.home / "refused" / "payments").iterdir()) == []


@pytest.mark.parametrize("error", [duckdb.OutOfMemoryException("of Ms. Doe"), pa.ArrowInvalid("of Ms. Doe")])
def test_an_engine_that_cannot_give_the_rows_does_not_hide_the_verdict(
    published: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    planted(published)

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(refused, "_write", full)
    ran = run(published, select=PAID)
    assert ran.failed == {(PAYMENTS, "quarantine")}
    said = ran.checks[PAYMENTS, "quarantine"].description
    assert re.search(rf"The rows could not be kept in [^:]+: {type(error).__name__}$", said)


def test_a_process_that_is_killed_while_it_writes_leaves_no_half_file(tmp_path: Path):
    path = tmp_path / "refused" / "payments" / "run.parquet"
    found = pa.table({"_reason": ["bad"]})
    rows: Any = SimpleNamespace(to_pyarrow=lambda: found)  # a forked process must not touch an engine

    def killed(rows: pa.Table, file: Any, **more: Any) -> None:
        file.write(b"PAR1")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        pq.write_table = killed
        refused._write(rows, path)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (left,) = path.parent.iterdir()
    assert left.stat().st_mode & 0o077 == 0
    assert refused._write(rows, path) == 1
    assert left.exists()  # a process of another machine may be writing it
    aged(left, hours=2)
    assert refused._write(rows, path) == 1
    assert list(path.parent.iterdir()) == [path]


def aged(path: Path, **by: int) -> None:
    then = (datetime.now(UTC) - timedelta(**by)).timestamp()
    os.utime(path, (then, then))


def test_the_newest_files_of_a_table_are_kept(tmp_path: Path):
    rows = ibis.memtable({"_reason": ["bad"]})
    for index in range(refused.MOST_FILES + 2):
        path = tmp_path / "payments" / f"{index}.parquet"
        refused._write(rows, path)
        aged(path, hours=100 - index)
    refused._write(rows, tmp_path / "payments" / "last.parquet")
    left = {each.stem for each in (tmp_path / "payments").iterdir()}
    assert left == {"last", *map(str, range(3, refused.MOST_FILES + 2))}


def test_maintenance_deletes_files_as_old_as_the_runs_that_it_deletes(published: Settings):
    planted(published)
    left = published.home / "store" / f"order-system-{ended_process()}-k3j2"
    left.mkdir()
    old, new = kept(run(published, select=PAID)), kept(run(published, select=PAID))
    aged(old, days=published.keep_days + 1)
    aged(new, days=published.keep_days - 1)
    with dg.DagsterInstance.ephemeral() as instance:
        done = maintenance_job(published, []).execute_in_process(instance=instance)
    assert done.success
    assert [old.exists(), new.exists(), left.exists()] == [False, True, False]
    told = next(
        each for each in done.all_node_events if each.is_successful_output and each.node_name == "delete_old_runs"
    )
    assert told.step_output_data.metadata["files of refused rows deleted"].value == 1


def test_old_files_go_whatever_they_are_called(tmp_path: Path):
    (tmp_path / "payments").mkdir()
    old, new = tmp_path / "payments" / "run.4711.tmp", tmp_path / "payments" / "run.parquet"
    for each in (old, new):
        each.touch()
    aged(old, days=3)
    assert refused.delete_older(tmp_path, datetime.now(UTC) - timedelta(days=2)) == 1
    assert list((tmp_path / "payments").iterdir()) == [new]
