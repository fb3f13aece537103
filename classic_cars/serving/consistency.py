"""Consistency: tables of different runs must not give different answers to the same question.

Each table is published by itself, so a run of some tables, or one that failed half-way, leaves old and new versions
side by side. Every one of them is right by itself; their numbers tell that they do not belong together.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from types import FunctionType

from classic_cars.contracts.versions import digest
from classic_cars.serving.groups import (
    MEASURES,
    PARTIALS,
    SALES_BY_MONTH,
    SUMMED,
    Monthly,
    Numbers,
    Partials,
    Summed,
    fact_terms,
    number,
    shown,
    sql_name,
)
from classic_cars.serving.recounted import FACT, LINES, PRODUCTS, RECOUNTED, Recounted, lines_miscounted, orders_split
from classic_cars.serving.references import broken_references
from classic_cars.serving.since import CONTRACTS, EVERYTHING, Since, changed_since
from classic_cars.stores.base import Reading
from classic_cars.wording import counted

FIX = (
    "they are of different runs, or a run is under way; `classic-cars run` fixes it, and `classic-cars run --full` "
    "what was changed by hand"
)
#: Tables that say the same totals.
TOTALED = (*(each.address for each in (*SUMMED, SALES_BY_MONTH)), FACT)

#: SQL that reads a table of one of the layers compared here.
_READS = re.compile(r"\b(analytics|warehouse)\"?\s*\.", re.IGNORECASE)

#: SQL that reads a table of another one.
_READS_OTHERS = re.compile(r"\b(source|staging|quarantine|control|ledger|information_schema)\"?\s*\.", re.IGNORECASE)


def contradictions(store: Reading, since: Since = EVERYTHING) -> list[str]:
    """One message for each disagreement of published tables about units or amounts (USD, to the cent); none when
    all agree.

    Compared are the partial aggregates with the order lines, month by month; the totals of the three answers and of the
    fact; when those agree, each answer with the star schema group by group, the other answers row by row, and that what
    refers to another table exists there. What did not change ``since`` it passed is not compared again. Tables never
    published are left out. Raises ``StoreError`` when a table cannot be read.
    """
    there = store.row_counts().keys()
    compared = [each for each in TOTALED if each in there]
    if len(compared) < 2:
        return []
    by_month = {
        each.address: each.contradictions(store, since) if {each.address, FACT} <= there else None
        for each in PARTIALS.values()
    }
    partials = Partials(frozenset(address for address, found in by_month.items() if found == []))
    if since.parts(*compared) and (found := _contradicting_totals(_totals(store, compared, partials))):
        return found
    return [
        f"{each}; {FIX}"
        for each in (
            *_contradicting_sums(store, there, since, partials),
            *(message for messages in by_month.values() for message in messages or ()),
            *_contradicting_rows(store, there, since, partials),
            *broken_references(store, there, since),
        )
    ]


def comparisons() -> str:
    """A digest of what is compared, and of how it is found out what need not be: another one where code differs."""
    tables = [(each.address, dict(each.types), each.partitioned_by, each.references) for each in CONTRACTS.values()]
    members = [each for kind in (Since, Monthly, Summed, Partials, Recounted) for each in vars(kind).values()]
    methods = [getattr(each, "fget", each) for each in members if isinstance(each, FunctionType | property)]
    return digest(contradictions, changed_since, methods, tables)


def _contradicting_sums(store: Reading, there: Collection[str], since: Since, partials: Partials) -> Iterator[str]:
    for answer in SUMMED:
        if {answer.address, FACT, *answer.dimensions} <= {*there}:
            yield from answer.contradictions(store, since, partials)
    if {SALES_BY_MONTH.address, FACT} <= {*there}:
        yield from SALES_BY_MONTH.contradictions(store, since)


def _contradicting_rows(store: Reading, there: Collection[str], since: Since, partials: Partials) -> Iterator[str]:
    if FACT in there and (orders := orders_split(store, since)):
        yield f"{FACT} has {counted(orders, 'order')} in several months"
    if {LINES, PRODUCTS, FACT} <= {*there} and (lines := lines_miscounted(store, since)):
        yield f"{LINES} differs from {FACT}, {PRODUCTS} in {counted(lines, 'product line')}"
    for answer in RECOUNTED:
        if {answer.address, *answer.tables} <= {*there} and (rows := answer.lost(store, since, partials)):
            yield f"{answer.address} differs from {', '.join(answer.tables)} in {counted(rows, answer.rows)}"


def reads_compared_tables(sql: str) -> bool:
    """Whether a statement seems to read a table of the warehouse or an answer; at worst they are compared in vain."""
    return _READS.search(sql) is not None


def reads_released_tables(sql: str) -> bool:
    """Whether a statement seems to read tables of the warehouse or answers, and no others."""
    return reads_compared_tables(sql) and _READS_OTHERS.search(sql) is None


def _contradicting_totals(totals: Mapping[str, Numbers]) -> list[str]:
    """At most one message: tables that agree in everything are named together, with all that they say differently."""
    sides: dict[tuple[Decimal, ...], list[str]] = {}
    for address, numbers in totals.items():
        sides.setdefault(tuple(numbers[name] for name in MEASURES), []).append(address)
    if len(sides) < 2:
        return []
    differing = [name for name in MEASURES if len({numbers[name] for numbers in totals.values()}) > 1]
    said = [f"{_said(totals[tables[0]], differing)} in {', '.join(tables)}" for tables in sides.values()]
    return [f"{', but '.join(said)}; {FIX}"]


def _totals(store: Reading, addresses: Iterable[str], partials: Partials) -> dict[str, Numbers]:
    """The measures of each table; those of the fact by a partial aggregate, if one is what the order lines say."""
    sums = ", ".join(number(f"sum({name})", name) for name in MEASURES)
    of_fact = next((f"{sums} FROM {sql_name(each)}" for each in sorted(partials.proven)), "")
    of_fact = of_fact or f"{fact_terms()} FROM {sql_name(FACT)}"
    terms = {each: of_fact if each == FACT else f"{sums} FROM {sql_name(each)}" for each in addresses}
    question = " UNION ALL ".join(f"SELECT '{address}' AS name, {each}" for address, each in terms.items())
    return {row.pop("name"): row for row in store.query(question).read_all().to_pylist()}


def _said(numbers: Numbers, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {shown(numbers, name)}" for name in names)
