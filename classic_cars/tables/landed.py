"""Ingest what landed: rows of contents not seen before are appended, and the ledger says what became of each file.

The same for every landed table: what differs is in its ``contracts.landed.LandedTable``.

Both are staged and published in one step. Where a store publishes one table after the other, the rows come first:
a run that dies in between leaves files that the next one reads again, finds loaded, and writes down.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa

from classic_cars.checks import evaluated
from classic_cars.checks.landed import Landed
from classic_cars.contracts.base import Contract
from classic_cars.contracts.landed import LandedTable
from classic_cars.sources.landing import Landing, Listing
from classic_cars.sources.landing.copies import Copy
from classic_cars.sources.landing.digests import held
from classic_cars.sources.landing.lines import intake
from classic_cars.stores.base import Staged
from classic_cars.tables.external import WHOLE, digest_of
from classic_cars.tables.ledger import Entry, classify, latest, rebuilt, still_true, unseen
from classic_cars.tables.step import Outcome, Step
from classic_cars.wording import counted

#: Unknown columns of a file that a check names, and what looks like one.
NAMED_COLUMNS, NAME = 5, re.compile("[A-Za-z_][A-Za-z0-9_.-]{0,39}")

#: Total of a run that ingested files: new files that could not be read at all, and may be some other time.
UNREAD = "unread files"


def from_landing(step: Step, landing: Landing) -> Outcome:
    """Append the rows of new contents to the table, and entries to its ledger, and prove that both agree."""
    origin = _origin(step)
    now = datetime.now(UTC).replace(tzinfo=None)
    listing = landing.list().of(lambda name: origin.claims(name, _landed_tables(step)))
    contents = _contents(step)
    loaded = {each["fileHash"]: each["rows"] for each in contents}
    known = still_true(latest(_entries(step, origin.ledger)), loaded, listing.files)
    with intake(landing, step.scratch or Path(tempfile.gettempdir()), origin.columns) as opened:
        copies = opened.copies(unseen(listing.files, known))
        entries, to_load = classify(copies, _rows(opened.rows, copies), known, loaded, now)
        entries_of_before = rebuilt([*known, *entries], contents, now)
        # Staged first, published last: see above.
        logged = _logged(step, origin.ledger, [*entries_of_before, *entries])
        rows = step.tx.receive(opened.read(to_load, step.table.function))
        staged = step.tx.stage(step.contract, rows, append=True)
        digests = opened.digests(to_load, step.contract.types)
    ledger = [*known, *entries_of_before, *entries]
    found = _Found(ledger, entries, listing, _extra_columns(step, copies), digests)
    return _audited(step, staged, found, {origin.ledger.address: logged})


def _origin(step: Step) -> LandedTable:
    if not isinstance(step.table.arrives_from, LandedTable):
        raise TypeError(f"{step.contract.address}: arrives from {step.table.arrives_from}, not from landed files")
    return step.table.arrives_from


def _landed_tables(step: Step) -> list[LandedTable]:
    return [each.arrives_from for each in step.catalog if isinstance(each.arrives_from, LandedTable)]


def _contents(step: Step) -> list[dict[str, Any]]:
    """The contents whose rows are published: their hash, the name and time of the file, and how many rows."""
    if not step.tx.exists(step.contract):
        return []
    rows = step.tx.read(step.contract)
    files = rows.group_by("fileHash").aggregate(
        fileName=rows.fileName.min(), landedAt=rows.landedAt.min(), rows=rows.count()
    )
    return files.to_pyarrow().to_pylist()


def _counted(rows: ibis.Table) -> dict[str, int]:
    counted = rows.group_by("fileHash").aggregate(rows=rows.count()).to_pyarrow()
    return dict(zip(counted["fileHash"].to_pylist(), counted["rows"].to_pylist(), strict=True))


def _entries(step: Step, ledger: Contract) -> list[Entry]:
    if not step.tx.exists(ledger):
        return []
    return [Entry.of(row) for row in step.tx.read(ledger).to_pyarrow().to_pylist()]


def _logged(step: Step, ledger: Contract, entries: Sequence[Entry]) -> int:
    """Stage the entries beside those that are there; how many there are then."""
    there = step.tx.read(ledger).count().to_pyarrow().as_py() if step.tx.exists(ledger) else None
    if entries or there is None:
        added = pa.Table.from_pylist([each.row() for each in entries], schema=ledger.types.to_pyarrow())
        step.tx.stage(ledger, step.tx.receive(added), append=True)
    return (there or 0) + len(entries)


def _rows(count: Any, copies: Sequence[Copy]) -> list[int]:
    """The rows of each copy; none of those that were refused."""
    counted = iter(count([each for each in copies if each.path is not None]))
    return [next(counted) if each.path is not None else 0 for each in copies]


@dataclass(frozen=True)
class _Found:
    """What a run learned of the files: all entries that are so, the new ones, and the digests of their lines."""

    ledger: Sequence[Entry]
    new: Sequence[Entry]
    listing: Listing
    extra: Mapping[str, str]
    digests: Mapping[str, int]


def _audited(step: Step, staged: Staged, found: _Found, co_published: Mapping[str, int]) -> Outcome:
    rows = _counted(staged.rows)
    if staged.others is not None:
        for content, count in _counted(staged.others).items():
            rows[content] = rows.get(content, 0) + count
    values = held(staged.rows, _origin(step).columns)
    arrived = Landed(rows, found.ledger, found.new, found.listing, found.extra, values, found.digests)
    audit = step.audit(staged, {}, arrived=arrived)
    facts = {"new rows": audit.measured.rows, UNREAD: sum(each.fileHash is None for each in found.new)}
    read = {WHOLE: digest_of(found.listing.files)}
    return Outcome(evaluated(audit), staged, audit.profile, sum(rows.values()), facts, co_published, read)


def _extra_columns(step: Step, copies: Sequence[Copy]) -> dict[str, str]:
    """Columns beside the known ones, by file; in words, as JSON has keys of any kind and number."""
    known = _origin(step).columns
    extra = {each.file.name: [name for name in each.columns if name not in known] for each in copies if each.path}
    return {name: _in_short(columns) for name, columns in extra.items() if columns}


def _in_short(columns: Sequence[str]) -> str:
    """How many, and the names that are surely names: others may be anybody's data."""
    named = [name for name in columns if NAME.fullmatch(name)][:NAMED_COLUMNS]
    return counted(len(columns), "column") + (f", such as {', '.join(named)}" if named else "")
