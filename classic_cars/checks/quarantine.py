"""What is quarantined, in rows and in money: a warning from the first row on, and above its limits it blocks.

A share is judged twice: of the rows of the run, and of all rows that the table would hold after the publish. The
first finds a bad load of a big table, the second a table that gets worse by a few rows a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import ibis

from classic_cars.checks.base import Audit, CheckOutcome, sample
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import Origins
from classic_cars.months import UNDATED
from classic_cars.wording import counted

#: The total of a contract that is its money.
AMOUNT = "amount"
#: Reasons that the check's metadata and its summary name, and what sums up the others.
SHOWN, SAID, OTHERS = 20, 5, "other reasons"
#: The fact that has all that the table keeps out, by reason: rows, and where it has money, ``amount`` and how many rows
#: have none that could be read.
REASONS, UNKNOWN = "reasons in the table", "of unknown amount"
RUN, TABLE = "this run", "the table"
ROWS_SETTING = "CLASSIC_CARS_QUARANTINE_MAX_SHARE"
MONEY_SETTING = "CLASSIC_CARS_QUARANTINE_MAX_AMOUNT_SHARE"


class Quarantine:
    """Quarantined share below the limit, in rows and in money; of the run, and of the table."""

    name = "quarantine"

    def applies(self, contract: Contract, origins: Origins) -> bool:
        return bool(contract.quarantines)

    def describe(self, contract: Contract, origins: Origins) -> str:
        return (
            f"Quarantined share of {contract.quarantines} below the limit, of the run and of the table; a warning "
            "from the first row on"
        )

    def evaluate(self, audit: Audit) -> CheckOutcome:
        if audit.rejected is None:
            raise ValueError(f"{audit.contract.address}: staged without its quarantine")
        parts = _parts(audit)
        facts = _facts(audit, parts)
        if (whole := parts[-1]).rejected:
            facts[REASONS] = _reasons(audit, _everywhere(audit.rejected, audit.rejected_elsewhere), whole.rejected)
        rows = audit.rejected_count
        if not rows:
            return CheckOutcome(self.name, True, "no row had to be quarantined", facts)
        reasons = facts[REASONS] if len(parts) == 1 else _reasons(audit, audit.rejected, rows)
        facts |= {"reasons": reasons, "sample": sample(audit.contract, audit.rejected)}
        summary = f"{_said(audit, parts)}: {_in_words(reasons, rows)}"
        too_much = [each for part in _judged(audit, parts) for each in _above_limits(audit, part)]
        if too_much:
            return CheckOutcome(self.name, False, f"{summary}. Above the limit: {'; '.join(too_much)}", facts)
        return CheckOutcome(self.name, False, summary, facts, warning=True)


@dataclass(frozen=True)
class Money:
    """The money of rejected rows: in all, without signs, and the rows whose amount could not be read."""

    net: Decimal = Decimal(0)
    gross: Decimal = Decimal(0)
    unknown: int = 0

    def __add__(self, other: Money) -> Money:
        return Money(self.net + other.net, self.gross + other.gross, self.unknown + other.unknown)


@dataclass(frozen=True)
class Part:
    """What a share is of: accepted and rejected rows, and their money."""

    name: str
    kept: int
    rejected: int
    amount: Decimal
    money: Money

    @property
    def rows(self) -> int:
        return self.kept + self.rejected

    @property
    def share(self) -> float:
        return _share(self.rejected, self.kept)

    @property
    def gross(self) -> Decimal:
        """The money of the rejected rows, without signs. An amount that could not be read counts as an average one."""
        return self.money.gross + self.money.unknown * (abs(self.amount) / self.kept if self.kept else Decimal(0))

    @property
    def amount_share(self) -> float:
        return _share(self.gross, abs(self.amount))


def _parts(audit: Audit) -> list[Part]:
    """The run, and all that the table would hold; the table alone where the run is all of it."""
    rows, amount = audit.rejected_count, Decimal(audit.measured.totals.get(AMOUNT) or 0)
    # What a later row took the place of was accepted, too: a table that only grows would have ever more bad rows.
    kept = audit.measured.rows + (_count(audit.superseded) if rows and audit.superseded is not None else 0)
    run = Part(RUN, kept, rows, amount, _money(audit, audit.rejected, rows))
    others = audit.staged.others
    return [replace(run, name=TABLE)] if others is None else [run, _table(audit, run, others)]


def _table(audit: Audit, run: Part, others: ibis.Table) -> Part:
    """The run and what stays beside it. Rows are counted; money is summed only if the run has quarantined rows."""
    elsewhere, amount, money = audit.rejected_elsewhere, run.amount, run.money
    before = _count(elsewhere)
    if run.rejected and audit.contract.money is not None:
        amount += Decimal(audit.contract.money(others).sum().to_pyarrow().as_py() or 0)
        money += _money(audit, elsewhere, before)
    return Part(TABLE, run.kept + _count(others), run.rejected + before, amount, money)


def _judged(audit: Audit, parts: list[Part]) -> list[Part]:
    """The parts whose shares have a limit: rows without a date are of no month, and so of the table alone."""
    run, *table = parts
    column = audit.contract.partitioned_by
    if not table or audit.months is None or audit.months.first != UNDATED or column is None or audit.rejected is None:
        return parts
    dated = audit.rejected.filter(audit.rejected[column] != ibis.date(UNDATED))
    rows = _count(dated)
    return [replace(run, rejected=rows, money=_money(audit, dated, rows)), *table]


def _above_limits(audit: Audit, part: Part) -> list[str]:
    """What of the part is above a limit, with the numbers.

    Of a small part one row is many percent: as many as ``quarantine_floor`` do not block it, whatever their money. In a
    table in which they are few their money is judged all the same: one row may be most of it.
    """
    limits = audit.limits
    allowed, setting = _allowed(audit)
    few, too_many = part.rejected <= limits.quarantine_floor, part.share > allowed
    found = []
    if too_many and not few:
        share = f"{part.rejected:,} of {counted(part.rows, 'row')} of {part.name} ({part.share:.2%})"
        found.append(f"{share}, limit {allowed:.2%} ({setting})")
    excused = few and (too_many or part.name == RUN)
    if audit.contract.money is not None and not excused and part.amount_share > limits.quarantine_amount:
        found.append(
            f"{part.gross:,.2f} of {part.gross + abs(part.amount):,.2f} of the money of {part.name} "
            f"({part.amount_share:.2%}), limit {limits.quarantine_amount:.2%} ({MONEY_SETTING})"
        )
    return found


def _allowed(audit: Audit) -> tuple[float, str]:
    """The share of rows that may be quarantined, and who says so."""
    own = audit.contract.quarantine_max_share
    return (audit.limits.quarantine_rows, ROWS_SETTING) if own is None else (own, "the contract's quarantine_max_share")


def _facts(audit: Audit, parts: list[Part]) -> dict[str, Any]:
    run, *table = parts
    facts: dict[str, Any] = {
        "rows kept": run.kept,
        "rows quarantined": run.rejected,
        "share quarantined": round(run.share, 6),
        "share allowed": _allowed(audit)[0],
    }
    for each in table:
        facts |= {
            "rows quarantined in the table": each.rejected,
            "share quarantined in the table": round(each.share, 6),
        }
    if audit.contract.money is None:
        return facts
    facts |= {
        "amount kept": run.amount,
        "amount quarantined": run.money.net,
        "amount quarantined, without signs": run.money.gross,
        "rows of unknown amount": run.money.unknown,
        "share of amount quarantined": round(run.amount_share, 6),
        "share of amount allowed": audit.limits.quarantine_amount,
    }
    if run.rejected and table:
        facts["share of amount quarantined in the table"] = round(table[0].amount_share, 6)
    return facts


def _said(audit: Audit, parts: list[Part]) -> str:
    run, *table = parts
    amounts = ""
    if audit.contract.money is not None:
        money = run.money
        amounts = f"; {money.net:,.2f}" + (f", and {money.unknown:,} of unknown amount" if money.unknown else "")
    said = f"{run.rejected:,} of {counted(run.rows, 'row')} quarantined ({run.share:.2%}{amounts})"
    return said + "".join(f", {each.rejected:,} of {each.rows:,} in {each.name} ({each.share:.2%})" for each in table)


def _money(audit: Audit, rejected: ibis.Table | None, rows: int) -> Money:
    if not rows or rejected is None or audit.contract.money is None:
        return Money()
    amount = audit.contract.money(rejected)
    sums = rejected.aggregate(net=amount.sum(), gross=amount.abs().sum(), unknown=amount.isnull().sum())
    (found,) = sums.to_pyarrow().to_pylist()
    return Money(Decimal(found["net"] or 0), Decimal(found["gross"] or 0), int(found["unknown"] or 0))


def _everywhere(rejected: ibis.Table, elsewhere: ibis.Table | None) -> ibis.Table:
    """All that the table's quarantine would hold after the publish."""
    return rejected if elsewhere is None else ibis.union(rejected, elsewhere.select(*rejected.columns))


def _reasons(audit: Audit, rejected: ibis.Table, rows: int) -> list[dict[str, Any]]:
    """Rows by reason, those with most rows first, the rarest summed up; with their money where the table has money.

    A row with several reasons is counted once, under all of them together: the rows add up to those rejected.
    """
    money = audit.contract.money
    sums = {"rows": rejected.count()}
    if money is not None:
        amount = money(rejected)
        sums |= {"amount": amount.sum().fill_null(0), UNKNOWN: amount.isnull().sum()}
    by_reason = rejected.group_by(reason=rejected["_reason"]).aggregate(**sums)
    first = by_reason.order_by(ibis.desc("rows"), "reason").limit(SHOWN).to_pyarrow().to_pylist()
    if rest := rows - sum(each["rows"] for each in first):
        found = {"rows": rest}
        if money is not None:
            whole = _money(audit, rejected, rows)
            found["amount"] = whole.net - sum(Decimal(each["amount"]) for each in first)
            found[UNKNOWN] = whole.unknown - sum(each[UNKNOWN] for each in first)
        first.append({"reason": OTHERS, **found})
    return first


def _in_words(reasons: Sequence[Mapping[str, Any]], rows: int) -> str:
    """The reasons with most rows; a row may have several."""
    said = {each["reason"].replace("; ", " and "): each["rows"] for each in reasons[:SAID] if each["reason"] != OTHERS}
    if rest := rows - sum(said.values()):
        said[OTHERS] = rest
    return "; ".join(f"{count:,} {'row' if count == 1 else 'rows'}: {reason}" for reason, count in said.items())


def _count(rows: ibis.Table | None) -> int:
    return 0 if rows is None else int(rows.count().to_pyarrow().as_py())


def _share(part: Any, rest: Any) -> float:
    return float(part / (part + rest)) if part + rest else 0.0
