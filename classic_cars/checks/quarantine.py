"""What is quarantined, in rows and in money: a warning from the first row on, and above its limits it blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import ibis

from classic_cars.checks.base import Audit, CheckOutcome, sample
from classic_cars.contracts.base import Contract
from classic_cars.contracts.order_system import UNDATED
from classic_cars.contracts.origins import Origins

#: The total of a contract that is its money.
AMOUNT = "amount"
#: Reasons that a check shows.
SHOWN = 20


class Quarantine:
    """Few enough rows, with little enough money, had to be quarantined."""

    name = "quarantine"

    def applies(self, contract: Contract, origins: Origins) -> bool:  # noqa: ARG002
        return bool(contract.quarantines)

    def describe(self, contract: Contract, origins: Origins) -> str:  # noqa: ARG002
        return f"No row of {contract.quarantines} had to be quarantined; some are a warning, too many block"

    def evaluate(self, audit: Audit) -> CheckOutcome:
        contract, rejected = audit.contract, audit.rejected
        if rejected is None:
            raise ValueError(f"{contract.address}: staged without its quarantine")
        rows, (kept, kept_amount) = audit.rejected_count, _kept(audit)
        own = contract.quarantine_max_share
        allowed = audit.limits.quarantine_rows if own is None else own
        facts: dict[str, Any] = {
            "rows kept": kept,
            "rows quarantined": rows,
            "share quarantined": round(_share(rows, kept), 6),
            "share allowed": allowed,
        }
        too_much = []
        if _share(rows, kept) > allowed:
            too_much.append(f"more than the allowed {allowed:.2%} of rows (CLASSIC_CARS_QUARANTINE_MAX_SHARE)")
        amounts = ""
        if contract.money is not None:
            money = _money(contract.money, rejected, rows)
            share, more = _amounts(audit, money, kept, kept_amount)
            facts |= more
            amounts = f"; {money.net:,.2f}" + (f", and {money.unknown:,} of unknown amount" if money.unknown else "")
            if share > audit.limits.quarantine_amount:
                limit = f"{audit.limits.quarantine_amount:.2%} of money (CLASSIC_CARS_QUARANTINE_MAX_AMOUNT_SHARE)"
                too_much.append(f"more than the allowed {limit}")
        if not rows:
            return CheckOutcome(self.name, True, "no row had to be quarantined", facts)
        facts["reasons"] = _reasons(rejected)
        facts["sample"] = sample(contract, rejected)
        summary = f"{rows:,} of {kept + rows:,} rows quarantined in {contract.quarantine.address}"
        summary += f" ({_share(rows, kept):.2%}{amounts})"
        if too_much:
            return CheckOutcome(self.name, False, f"{summary}, {', '.join(too_much)}", facts)
        return CheckOutcome(self.name, False, summary, facts, warning=True)


@dataclass(frozen=True)
class Money:
    """The money of rejected rows: in all, without signs, and the rows whose amount could not be read."""

    net: Decimal = Decimal(0)
    gross: Decimal = Decimal(0)
    unknown: int = 0


def _money(of: Callable[[ibis.Table], Any], rejected: ibis.Table, rows: int) -> Money:
    if not rows:
        return Money()
    amount = of(rejected)
    sums = rejected.aggregate(net=amount.sum(), gross=amount.abs().sum(), unknown=amount.isnull().sum())
    (found,) = sums.to_pyarrow().to_pylist()
    return Money(Decimal(found["net"] or 0), Decimal(found["gross"] or 0), int(found["unknown"] or 0))


def _kept(audit: Audit) -> tuple[int, Decimal]:
    """The accepted rows that the rejected ones are measured against, and their money.

    No row without a date is accepted. Months that begin with theirs are measured against all other months, too: one
    order without a date is not all of the orders.
    """
    rows, amount = audit.measured.rows, Decimal(audit.measured.totals.get(AMOUNT) or 0)
    others = audit.staged.others
    if audit.months is None or audit.months.first != UNDATED or others is None:
        return rows, amount
    money = audit.contract.money(others).sum() if audit.contract.money else ibis.literal(0)
    (found,) = others.aggregate(rows=others.count(), amount=money).to_pyarrow().to_pylist()
    return rows + found["rows"], amount + Decimal(found["amount"] or 0)


def _amounts(audit: Audit, money: Money, kept: int, kept_amount: Decimal) -> tuple[float, dict[str, Any]]:
    """The share of the money that is quarantined, and what is known of it."""
    # A row whose amount could not be read counts like an average one.
    gross = money.gross + money.unknown * (abs(kept_amount) / kept if kept else Decimal(0))
    share = _share(gross, abs(kept_amount))
    return share, {
        "amount kept": kept_amount,
        "amount quarantined": money.net,
        # A float, beside the exact sum, because Dagster draws only numbers.
        "amount quarantined, plotted": float(money.net),
        "amount quarantined, without signs": money.gross,
        "rows of unknown amount": money.unknown,
        "share of amount quarantined": round(share, 6),
        "share of amount allowed": audit.limits.quarantine_amount,
    }


def _reasons(rejected: ibis.Table) -> dict[str, int]:
    by_reason = rejected.group_by("_reason").aggregate(rows=rejected.count())
    found = by_reason.order_by(ibis.desc("rows"), "_reason").limit(SHOWN).to_pyarrow().to_pylist()
    return {row["_reason"]: row["rows"] for row in found}


def _share(part: Any, rest: Any) -> float:
    return float(part / (part + rest)) if part + rest else 0.0
