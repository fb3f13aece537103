"""Take in what landed: rows of contents not seen before are appended, and the ledger says what became of each file.

Both are staged and published in one step. Where a store publishes one table after the other, the rows come first:
a run that dies in between leaves files that the next one reads again, finds taken, and writes down.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa

from classic_cars.checks import evaluated
from classic_cars.checks.landed import Landed
from classic_cars.contracts.base import Contract
from classic_cars.contracts.source import LandedLines
from classic_cars.sources.landed_copy import Copy
from classic_cars.sources.landed_digests import held
from classic_cars.sources.landed_lines import intake
from classic_cars.sources.landing import Landing, Listing
from classic_cars.stores.base import Staged
from classic_cars.tables.ledger import Entry, judged, rebuilt, still_true
from classic_cars.tables.step import Outcome, Step

#: Unknown columns of a file that a check names, and what looks like one.
NAMED_COLUMNS, NAME = 5, re.compile("[A-Za-z_][A-Za-z0-9_.-]{0,39}")

#: Total of a run that took files in: new files that could not be read at all, and may be some other time.
UNREAD = "unread files"


def from_landing(step: Step, landing: Landing) -> Outcome:
    """Append the rows of new contents to the table, stage the ledger with it, and prove that both agree."""
    origin, (ledger,) = _origin(step), step.contract.beside
    listing = landing.list()
    contents = _contents(step)
    taken = {each["fileHash"]: each["rows"] for each in contents}
    known = still_true(_entries(step, ledger), taken, listing.files)
    seen = {each.identity for each in known}
    new = [each for each in listing.files if each.identity not in seen]
    new.sort(key=lambda each: (each.landed, each.name))
    with intake(landing, step.scratch or Path(tempfile.gettempdir()), origin.columns) as opened:
        copies = opened.copies(new)
        entries, to_take = judged(copies, _rows(opened.rows, copies), known, taken)
        known += rebuilt([*known, *entries], contents)
        # Staged first, published last: see above.
        step.tx.stage(ledger, step.tx.receive(_as_table(ledger, [*known, *entries])))
        rows = step.tx.receive(opened.read(to_take, step.table.function))
        staged = step.tx.stage(step.contract, rows, append=True)
        digests = opened.digests(to_take, step.contract.types)
    return _audited(step, staged, [*known, *entries], entries, listing, copies, digests)


def _origin(step: Step) -> LandedLines:
    if not isinstance(step.table.arrives_from, LandedLines):
        raise TypeError(f"{step.contract.address}: arrives from {step.table.arrives_from}, not from landed files")
    return step.table.arrives_from


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
    return [Entry(**row) for row in step.tx.read(ledger).to_pyarrow().to_pylist()]


def _as_table(ledger: Contract, entries: Sequence[Entry]) -> pa.Table:
    return pa.Table.from_pylist([each.row() for each in entries], schema=ledger.types.to_pyarrow())


def _rows(count: Any, copies: Sequence[Copy]) -> list[int]:
    """The rows of each copy; none of those that were refused."""
    counted = iter(count([each for each in copies if each.path is not None]))
    return [next(counted) if each.path is not None else 0 for each in copies]


def _audited(
    step: Step,
    staged: Staged,
    ledger: Sequence[Entry],
    new: Sequence[Entry],
    listing: Listing,
    copies: Sequence[Copy],
    digests: Mapping[str, int],
) -> Outcome:
    found = _counted(staged.rows)
    if staged.others is not None:
        for content, rows in _counted(staged.others).items():
            found[content] = found.get(content, 0) + rows
    values = held(staged.rows, _origin(step).columns)
    arrived = Landed(found, ledger, new, listing, _extra_columns(step, copies), values, digests)
    audit = step.audit(staged, {}, arrived=arrived)
    facts = {"new rows": audit.measured.rows, UNREAD: sum(each.fileHash is None for each in new)}
    return Outcome(evaluated(audit), staged, sum(found.values()), facts)


def _extra_columns(step: Step, copies: Sequence[Copy]) -> dict[str, str]:
    """Columns beside the known ones, by file; in words, as JSON has keys of any kind and number."""
    known = _origin(step).columns
    extra = {each.file.name: [name for name in each.columns if name not in known] for each in copies if each.path}
    return {name: _in_short(columns) for name, columns in extra.items() if columns}


def _in_short(columns: Sequence[str]) -> str:
    """How many, and the names that are surely names: others may be anybody's data."""
    named = [name for name in columns if NAME.fullmatch(name)][:NAMED_COLUMNS]
    return f"{len(columns):,} columns" + (f", such as {', '.join(named)}" if named else "")
