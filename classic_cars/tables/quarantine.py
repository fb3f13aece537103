"""Rows that cannot be counted are quarantined with the reason, and never dropped; values that can be repaired are.

Everything is an expression over the candidate rows, so both outcomes can be written by any engine. This runs only
when the audit finds that there is work to do: counting broken rules in rows that lie there costs a third of filtering
by them while they are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from classic_cars.checks.base import Tables, orphaned
from classic_cars.contracts.base import Contract
from classic_cars.contracts.origins import FLAG, REJECT, REPAIR
from classic_cars.contracts.rescued import RESCUED, as_json, raw_kept
from classic_cars.contracts.vocabulary import Latest

REASON = "_reason"


@dataclass(frozen=True)
class Screened:
    """Candidate rows in two parts that together are all of them; ``rejected`` has the reason as ``_reason``."""

    accepted: ibis.Table
    rejected: ibis.Table


def untouched(rows: ibis.Table) -> Screened:
    """All rows accepted, as nearly always."""
    return Screened(accepted=rows, rejected=rows.mutate(**{REASON: ibis.null("string")}).filter(ibis.literal(False)))


def repaired(contract: Contract, rows: ibis.Table) -> ibis.Table:
    """Values that break a rule of a column that is repaired become NULL, known words get their own spelling.

    The value that was there is added to ``_rescued_data``.
    """
    wrong: dict[str, ir.BooleanValue] = {}
    values: dict[str, ir.Value] = {}
    for name in contract.repaired:
        rules = [rule for rule in contract.rules if rule.column == name and rule.severity == REPAIR]
        if rules:
            wrong[name] = ibis.or_(*(~rule.holds(rows) for rule in rules))
            values[name] = ibis.ifelse(wrong[name], ibis.null(rows[name].type()), rows[name])
    for name in contract.types.names:
        if spellings := contract.spellings(name):
            wrong[name] = misspelled(rows[name], spellings)
            known = rows[name].lower().cases(*((each.lower(), each) for each in spellings))
            values[name] = ibis.ifelse(wrong[name], known, rows[name])
    if not wrong:
        return rows
    return rows.mutate(**values, **{RESCUED: _with_raw(rows, wrong)})


def misspelled(value: ir.StringValue, spellings: tuple[str, ...]) -> ir.BooleanValue:
    """Condition: the text is one of the spellings but for upper and lower case. Never NULL."""
    return (value.lower().isin([each.lower() for each in spellings]) & ~value.isin(spellings)).fill_null(False)


def _with_raw(rows: ibis.Table, wrong: Mapping[str, ir.BooleanValue]) -> ir.StringValue:
    """``_rescued_data`` with the raw values of these columns, where the condition holds."""
    pairs = [ibis.ifelse(condition, as_json(name, rows[name]), None) for name, condition in wrong.items()]
    added = ibis.literal(", ").join(pairs)  # join leaves NULLs out
    rescued = rows[RESCUED]
    both = ibis.ifelse(
        rescued.isnull(), "{" + added + "}", rescued.substr(0, rescued.length() - 1) + ", " + added + "}"
    )
    return ibis.ifelse(ibis.or_(*wrong.values()), both, rescued)


def by_rules(contract: Contract, rows: ibis.Table) -> Screened:
    """Reject rows that break a rule which leaves nothing to count; the reason names values that did not fit."""
    bad: dict[str, ir.BooleanValue] = {}
    for rule in contract.rules:
        if rule.severity != REJECT:
            continue
        broken = ~rule.holds(rows)
        if rule.column is not None:
            kept = raw_kept(rows, rule.column)
            bad[f"{rule.column} does not fit its type, the raw value is in {RESCUED}"] = (
                rows[rule.column].isnull() & kept
            )
            broken = broken & ~kept if rule.forbids_null else broken
        # Two rules may be said alike.
        bad[rule.broken] = bad[rule.broken] | broken if rule.broken in bad else broken
    return _split(rows, bad)


def by_key(contract: Contract, before: Screened) -> Screened:
    """Reject all but one of rows that are equal in everything, and all rows that differ but share a key.

    Where the latest row of a key counts, the others are neither accepted nor rejected.
    """
    if contract.latest is not None:
        return by_time(contract, contract.latest, before)
    rows = before.accepted
    columns = [name for name in rows.columns if name != RESCUED]
    numbered = rows.mutate(_copy=ibis.row_number().over(group_by=columns))
    copies = _more(before, _split(numbered, {"an exact copy of another row": numbered["_copy"] > 0}))
    rows = copies.accepted
    counted = rows.mutate(_sharing=rows.count().over(group_by=list(contract.key)))
    key = ", ".join(contract.key)
    return _more(copies, _split(counted, {f"another row has the same {key}, and differs": counted["_sharing"] > 1}))


def by_time(contract: Contract, latest: Latest, before: Screened) -> Screened:
    """Keep the latest row of each key."""
    newest_first = [ibis.desc(name) for name in latest.order]
    place = ibis.row_number().over(group_by=list(contract.key), order_by=newest_first)
    ranked = before.accepted.mutate(_place=place)
    return Screened(accepted=ranked.filter(ranked["_place"] == 0).drop("_place"), rejected=before.rejected)


def superseded(
    contract: Contract, latest: Latest, candidates: ibis.Table, accepted: ibis.Table, rejected: ibis.Table
) -> ibis.Table:
    """The candidates that are neither accepted nor rejected, because a later row of the same key is accepted.

    Found by comparing, not by what :func:`by_time` left out: a row that was lost is not among them.
    """
    key, row = list(contract.key), list(latest.row)
    others = candidates.anti_join(rejected.select(*row), row).anti_join(accepted.select(*row), row)
    newer = accepted.select(*key, **{f"_new_{name}": name for name in latest.order})
    pairs = others.inner_join(newer, key)
    return pairs.filter(_is_older(pairs, latest.order)).select(*candidates.columns)


def _is_older(pairs: ibis.Table, order: tuple[str, ...]) -> ir.BooleanValue:
    first, *rest = order
    earlier = pairs[first] < pairs[f"_new_{first}"]
    return earlier | ((pairs[first] == pairs[f"_new_{first}"]) & _is_older(pairs, tuple(rest))) if rest else earlier


def by_references(contract: Contract, before: Screened, tables: Tables) -> Screened:
    """Reject rows that cannot be counted without what they refer to; once more when that rejects what others need."""
    rows = before.accepted
    tables = {**tables, contract.address: rows}
    rejecting = [each for each in contract.references if each.otherwise != FLAG]
    return _more(
        before, _split(rows, {f"{each.column} is not in {each.to}": orphaned(rows, each, tables) for each in rejecting})
    )


def _split(rows: ibis.Table, bad: Mapping[str, ir.BooleanValue]) -> Screened:
    """``bad``: reasons and their conditions, never NULL."""
    any_bad = ibis.or_(*bad.values())
    # concat_ws leaves NULLs out
    reason = ibis.literal("; ").join([ibis.ifelse(condition, text, None) for text, condition in bad.items()])
    extra = [name for name in ("_copy", "_sharing") if name in rows.columns]
    return Screened(
        accepted=rows.filter(~any_bad).drop(*extra),
        rejected=rows.mutate(**{REASON: reason}).filter(any_bad).drop(*extra),
    )


def _more(before: Screened, after: Screened) -> Screened:
    return Screened(accepted=after.accepted, rejected=ibis.union(before.rejected, after.rejected))


def quarantined(contract: Contract, rejected: ibis.Table, run_id: str) -> ibis.Table:
    """The rows of ``quarantine/<table>``: those rejected, why, by which contract and in which run."""
    rows = rejected.mutate(
        _contract_version=ibis.literal(contract.version),
        _run_id=ibis.literal(run_id),
    )
    return rows.select(*contract.quarantine.types.names)
