"""Quarantined rows of versions that were refused: kept in files, as the store discards them with their version.

One Parquet file for each run and table, ``<folder>/<table>/<run_id>.parquet``, beside every kind of store and outside
of its transactions; ``classic-cars query`` reads it. Rows may hold personal data: only the platform's user may read
them, and they go with the runs that they are of.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from classic_cars.checks import Audit
from classic_cars.checks.quarantine import Quarantine
from classic_cars.files import whole_file
from classic_cars.processes import UNFINISHED, remove_abandoned
from classic_cars.tables.quarantine import REASON
from classic_cars.tables.step import Outcome

#: Rows in a file, and files of a table: a run that fails is tried again every hour.
MOST_ROWS, MOST_FILES = 10_000, 20


def located(outcome: Outcome, audit: Audit, folder: Path | None, run_id: str) -> Outcome:
    """The same outcome, whose check `quarantine` says where its rows can be read.

    When it is not publishable they are written to a file, and when that fails the check says why.
    """
    if not audit.rejected_count or audit.rejected is None:
        return outcome
    if outcome.publishable:
        address = audit.contract.quarantine.address
        return _said(outcome, f"The rows are in {address}", {"quarantined rows": address})
    if folder is None:
        return outcome
    path = folder / audit.contract.name / f"{run_id}.parquet"
    try:
        rows = _write(_of_each_reason(audit.rejected, audit.rejected_count), path)
    except (OSError, duckdb.Error, pa.ArrowException) as error:
        # What an engine says may quote a row.
        why = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        return _said(outcome, f"The rows could not be kept in {path}: {why}", {})
    of = "" if rows == audit.rejected_count else f" ({rows:,} of {audit.rejected_count:,}, some of each reason)"
    facts = {"quarantined rows": path, "rows in file": rows}
    return _said(outcome, f"Nothing was published; the rows are in {path}{of}", facts)


def _said(outcome: Outcome, where: str, facts: dict[str, object]) -> Outcome:
    verdicts = [
        replace(each, summary=f"{each.summary}. {where}", facts=each.facts | facts)
        if each.check == Quarantine.name
        else each
        for each in outcome.verdicts
    ]
    return replace(outcome, verdicts=verdicts)


def _of_each_reason(rejected: ibis.Table, rows: int) -> ibis.Table:
    """All rows, or as many of each reason as fit."""
    if rows <= MOST_ROWS:
        return rejected
    place = ibis.row_number().over(group_by=REASON)
    return rejected.mutate(_place=place).order_by("_place").limit(MOST_ROWS).drop("_place")


def _write(rows: ibis.Table, path: Path) -> int:
    """Write the file whole or not at all, and remove the oldest of its table; the number of rows in it."""
    found: pa.Table = rows.to_pyarrow()
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with whole_file(path, 0o600) as file:
        pq.write_table(found, file, compression="zstd")
    for each in sorted(path.parent.glob("*.parquet"), key=_age)[MOST_FILES:]:
        each.unlink(missing_ok=True)
    return found.num_rows


def delete_older(folder: Path, before: datetime) -> int:
    """Delete the files of all tables that were written before then; their number."""
    old = [each for each in folder.glob("*/*") if each.is_file() and _age(each) > datetime.now(UTC) - before]
    for each in old:
        each.unlink(missing_ok=True)
    for each in folder.glob("*/"):
        remove_abandoned(each, [UNFINISHED])
    return len(old)


def _age(path: Path) -> timedelta:
    """Since it was written; none for a file that is gone by now."""
    with suppress(FileNotFoundError):
        return datetime.now(UTC) - datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return timedelta()
