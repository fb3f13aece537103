"""Sieves: rows that break a row-level rule are set aside with the reason, and never dropped.

Everything is an expression over the candidate rows, so both outcomes can be written by any engine. Sieves run
only when the audit finds that they have work to do: counting broken rules in rows that lie there costs a
third of filtering by them while they are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from classic_cars.contracts.base import RESCUED, Contract, Latest
from classic_cars.tables.audit import Tables, orphaned

REASON = "_reason"


@dataclass(frozen=True)
class Sieved:
    """Candidate rows in two parts that together are all of them; ``aside`` has the reason as ``_reason``."""

    kept: ibis.Table
    aside: ibis.Table


def untouched(rows: ibis.Table) -> Sieved:
    """All rows kept, as nearly always."""
    return Sieved(kept=rows, aside=rows.mutate(**{REASON: ibis.null("string")}).filter(ibis.literal(False)))


def by_rules(contract: Contract, rows: ibis.Table) -> Sieved:
    """Set aside rows that break a rule of their own, or that hold a value that did not fit its column."""
    bad = {"a value does not fit its column, see _rescued_data": rows[RESCUED].notnull()}
    bad |= {str(rule): ~rule.holds(rows) for rule in contract.rules}
    return _split(rows, bad)


def by_key(contract: Contract, before: Sieved) -> Sieved:
    """Set aside all but one of rows that are equal in everything, and all rows that differ but share a key.

    Where the latest row of a key counts, the others are neither kept nor set aside.
    """
    if contract.latest is not None:
        return by_time(contract, contract.latest, before)
    rows = before.kept
    columns = [name for name in rows.columns if name != RESCUED]
    numbered = rows.mutate(_copy=ibis.row_number().over(group_by=columns))
    copies = _more(before, _split(numbered, {"an exact copy of another row": numbered["_copy"] > 0}))
    rows = copies.kept
    counted = rows.mutate(_sharing=rows.count().over(group_by=list(contract.key)))
    key = ", ".join(contract.key)
    return _more(copies, _split(counted, {f"another row has the same {key}, and differs": counted["_sharing"] > 1}))


def by_time(contract: Contract, latest: Latest, before: Sieved) -> Sieved:
    """Keep the latest row of each key."""
    newest_first = [ibis.desc(name) for name in latest.order]
    place = ibis.row_number().over(group_by=list(contract.key), order_by=newest_first)
    ranked = before.kept.mutate(_place=place)
    return Sieved(kept=ranked.filter(ranked["_place"] == 0).drop("_place"), aside=before.aside)


def superseded(
    contract: Contract, latest: Latest, candidates: ibis.Table, kept: ibis.Table, aside: ibis.Table
) -> ibis.Table:
    """The candidates that are neither kept nor set aside, because a later row of the same key is kept.

    Found by comparing, not by what :func:`by_time` left out: a row that was lost is not among them.
    """
    key, row = list(contract.key), list(latest.row)
    others = candidates.anti_join(aside.select(*row), row).anti_join(kept.select(*row), row)
    newer = kept.select(*key, **{f"_new_{name}": name for name in latest.order})
    pairs = others.inner_join(newer, key)
    return pairs.filter(_is_older(pairs, latest.order)).select(*candidates.columns)


def _is_older(pairs: ibis.Table, order: tuple[str, ...]) -> ir.BooleanValue:
    first, *rest = order
    earlier = pairs[first] < pairs[f"_new_{first}"]
    return earlier | ((pairs[first] == pairs[f"_new_{first}"]) & _is_older(pairs, tuple(rest))) if rest else earlier


def by_references(contract: Contract, before: Sieved, tables: Tables) -> Sieved:
    """Set aside rows that refer to nothing. Once more when a table refers to itself and lost rows to this."""
    rows = before.kept
    tables = {**tables, contract.address: rows}
    return _more(
        before, _split(rows, {f"{each}: no such row": orphaned(rows, each, tables) for each in contract.references})
    )


def _split(rows: ibis.Table, bad: Mapping[str, ir.BooleanValue]) -> Sieved:
    """``bad``: reasons and their conditions, never NULL."""
    any_bad = ibis.or_(*bad.values())
    # concat_ws leaves NULLs out
    reason = ibis.literal("; ").join([ibis.ifelse(condition, text, None) for text, condition in bad.items()])
    extra = [name for name in ("_copy", "_sharing") if name in rows.columns]
    return Sieved(
        kept=rows.filter(~any_bad).drop(*extra),
        aside=rows.mutate(**{REASON: reason}).filter(any_bad).drop(*extra),
    )


def _more(before: Sieved, after: Sieved) -> Sieved:
    return Sieved(kept=after.kept, aside=ibis.union(before.aside, after.aside))


def quarantined(contract: Contract, aside: ibis.Table, run_id: str) -> ibis.Table:
    """The rows of ``quarantine/<table>``: those set aside, why, by which contract and in which run."""
    rows = aside.mutate(
        _contract_version=ibis.literal(contract.version),
        _run_id=ibis.literal(run_id),
    )
    return rows.select(*contract.quarantine.types.names)
