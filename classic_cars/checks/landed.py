"""Checks of rows that came in files: what became of the files, and that each has the rows that were counted in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classic_cars.checks.base import Audit, CheckOutcome
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import Origins
from classic_cars.wording import counted

#: Files that a check names.
NAMED = 20
LOADED, QUARANTINED = "loaded", "quarantined"


@dataclass(frozen=True)
class Landed:
    """What is known of rows that came in files: ``found`` rows by content, the ledger's entries, and the listing."""

    found: Mapping[str, int]
    ledger: Sequence[Any]
    new: Sequence[Any]
    listing: Any
    #: By file, the columns beside the known ones, in words.
    extra: Mapping[str, str]
    #: Of the new contents: digests of the rows here, and of the lines in the files.
    values: Mapping[str, int]
    values_expected: Mapping[str, int]


class Files:
    """What became of the new files. A warning: a file that cannot be loaded keeps no other one out."""

    name = "files"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return bool(contract.beside)

    def describe(self, contract: Contract, origins: Origins) -> str:
        return "Every file that landed could be ingested, and has no columns beside the known ones"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        landed: Landed = audit.arrived
        new, listing = landed.new, landed.listing
        states: dict[str, int] = {}
        for each in new:
            states[each.state] = states.get(each.state, 0) + 1
        refused = {each.fileName: each.reason for each in new if each.state == QUARANTINED}
        facts: dict[str, Any] = {
            "files": len(listing.files),
            "new files": len(new),
            "new files by state": states,
            "still being written": listing.unsettled,
        }
        problems = []
        for kind, of in (("could not be ingested", refused), ("with columns that are ignored", landed.extra)):
            if of:
                facts[kind] = dict(list(of.items())[:NAMED])
                name, what = next(iter(of.items()))
                problems.append(f"{len(of):,} of {counted(len(new), 'file')} {kind}, such as {name}: {what}")
        if listing.unreadable:
            facts["folders that cannot be read"] = list(listing.unreadable[:NAMED])
            problems.append(f"folders that cannot be read: {', '.join(listing.unreadable[:NAMED])}")
        summary = "; ".join(problems) or f"{counted(len(new), 'new file')} among {len(listing.files):,}"
        return CheckOutcome(self.name, not problems, summary, facts, warning=bool(problems))


class LedgerAgrees:
    """Each content has the rows and the values that stand in its file, and the ledger knows of all of them."""

    name = "reconciliation"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return bool(contract.beside)

    def describe(self, contract: Contract, origins: Origins) -> str:
        return f"Every file has the rows that {contract.beside[0].address} says of it, and every value of its lines"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        landed: Landed = audit.arrived
        found = landed.found
        expected = {each.fileHash: each.rows for each in landed.ledger if each.state == LOADED}
        wrong = {str(each): (found.get(each or "", 0), expected.get(each, 0)) for each in {*found, *expected}}
        wrong = {name: pair for name, pair in wrong.items() if pair[0] != pair[1]}
        facts: dict[str, Any] = {
            "contents": len(expected),
            "rows": sum(found.values()),
            "rows by the ledger": sum(expected.values()),
        }
        summary = f"{counted(facts['rows'], 'row')} of {counted(len(expected), 'file')}, as counted in them"
        if wrong:
            facts["first differences"] = {name: list(pair) for name, pair in list(wrong.items())[:5]}
            summary = f"{counted(len(wrong), 'file')} with other row counts than in {audit.contract.address}"
        other = [
            each
            for each in {*landed.values, *landed.values_expected}
            if landed.values.get(each) != landed.values_expected.get(each)
        ]
        facts["files with other values"] = len(other)
        if other and not wrong:
            summary = f"{counted(len(other), 'file')} with other values in {audit.contract.address} than in the file"
        return CheckOutcome(self.name, not wrong and not other, summary, facts)
