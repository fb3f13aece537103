"""The questions that assistants may ask, and what they are told: each answer with its definition and its release.

Metrics are compiled to SQL over the extract and answered by a worker like any other SQL, so that there is one place
where anything is read, and one set of limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import ibis
from pydantic import BaseModel

from classic_cars.assistants.extract import Extract, Extracts, shown_columns
from classic_cars.assistants.sandbox import Limits, Result, answered
from classic_cars.contracts.base import Contract
from classic_cars.contracts.cuts import DIMENSIONS, Dimension, dimensions_of
from classic_cars.contracts.measures import MEASURES, additivity
from classic_cars.errors import QuestionError
from classic_cars.serving.metrics import (
    Question,
    ask,
    columns_of,
    expression,
    latest,
    not_over,
    unknown_values,
    values_near,
)
from classic_cars.serving.metrics.rows import contracts as star_schema
from classic_cars.serving.releases import age, pending
from classic_cars.settings import Settings
from classic_cars.stores.failures import without_places

#: Characters of a statement that somebody sends; more is no question that anybody could check.
LONGEST = 20_000
NOT_COMPARED = "not yet compared with the live order system when the release was made"


class Proof(BaseModel):
    """The release that an answer is from. ``age``: since it was made. ``proof``: what adds up to the order system."""

    release: int
    age: str
    made: str
    proof: list[str]


class MeasureFacts(BaseModel):
    name: str
    definition: str
    unit: str
    additive: str
    cut_by: list[str]


class DimensionFacts(BaseModel):
    name: str
    definition: str
    columns: list[str]


class Metrics(Proof):
    measures: list[MeasureFacts]
    dimensions: list[DimensionFacts]


class ColumnFacts(BaseModel):
    name: str
    type: str
    definition: str


class TableFacts(BaseModel):
    """``withheld``: how many columns hold personal data and are not told."""

    name: str
    definition: str
    rows: int
    key: list[str]
    columns: list[ColumnFacts]
    withheld: int


class Tables(Proof):
    tables: list[TableFacts]


class Rows(Proof):
    """An answer. ``complete`` is false when there are more rows than may be told; amounts are texts, in full.

    ``notes``: what may be wrong with the question, such as a filter's value that nothing has.
    """

    definition: dict[str, str]
    columns: dict[str, str]
    rows: list[list[Any]]
    complete: bool
    notes: list[str] = []


class TableQuality(BaseModel):
    """``checks``: how each check of the table ended when it ran last. ``rules``: what every published row keeps."""

    name: str
    checks: dict[str, str]
    rules: list[str]


class Quality(Proof):
    """``not_released``: why newer tables are not released, where that is so."""

    compared_with_source: str
    not_released: str
    tables: list[TableQuality]


@dataclass(frozen=True)
class Tools:
    """Every method raises ``QuestionError`` or ``TableMissing`` for what the asker can do something about."""

    settings: Settings
    extracts: Extracts
    limits: Limits

    def list_metrics(self) -> Metrics:
        measures = [
            MeasureFacts(
                name=name,
                definition=each.description,
                unit=each.unit.name,
                additive=additivity(each),
                cut_by=[dimension.name for dimension in dimensions_of(each)],
            )
            for name, each in MEASURES.items()
        ]
        dimensions = [
            DimensionFacts(name=name, definition=each.description, columns=list(_impersonal(each).names))
            for name, each in DIMENSIONS.items()
        ]
        return Metrics(measures=measures, dimensions=dimensions, **_proof(self.extracts.latest()))

    def describe_table(self, table: str = "") -> Tables:
        extract = self.extracts.latest()
        return Tables(tables=[_facts(each, extract) for each in _named(extract, table)], **_proof(extract))

    def query_metrics(
        self,
        measures: Sequence[str],
        by: Sequence[str] = (),
        where: Sequence[str] = (),
        period: str | None = None,
        compare: str | None = None,
        top: int | None = None,
        share: bool = False,
    ) -> Rows:
        asked = ask(measures, by, where, period, compare, top, share)
        filters = tuple(replace(each, dimension=_impersonal(each.dimension)) for each in asked.where)
        question = replace(asked, by=tuple(map(_impersonal, asked.by)), where=filters)
        extract = self.extracts.latest()
        result = answered(extract, _sql(expression(question, _shown)), self.limits)
        return _rows(result, _definition(question), extract, self._notes(question, extract))

    def _notes(self, question: Question, extract: Extract) -> list[str]:
        near, days, notes = values_near(question, _shown), latest(question, _shown), []
        if near is not None:
            found = answered(extract, _sql(near.order_by("place").drop("place")), self.limits)
            notes += unknown_values(question, [(str(a), str(b), str(c)) for a, b, c in found.rows])
        if days is not None:
            ((last,),) = answered(extract, _sql(days), self.limits).rows
            notes += not_over(question, date.fromisoformat(last) if last else None)
        return notes

    def read_only_sql(self, sql: str) -> Rows:
        if len(sql) > LONGEST:
            raise QuestionError(f"expected one SELECT of at most {LONGEST:,} characters, found {len(sql):,}")
        extract = self.extracts.latest()
        result = answered(extract, sql, self.limits)
        said = {name: text for name in result.columns if (text := _meaning(extract, name))}
        return _rows(result, {"sql": sql, **said}, extract)

    def data_quality(self, table: str = "") -> Quality:
        extract = self.extracts.latest()
        contracts = _named(extract, table)
        checks = self._checks(contracts)
        proven = extract.release.proven
        return Quality(
            compared_with_source=f"found equal {age(proven)} ago" if proven else NOT_COMPARED,
            not_released=without_places(pending(self.settings)),
            tables=[
                TableQuality(
                    name=_sql_name(each),
                    checks=checks.get(each.address, {}),
                    rules=[str(rule) for rule in each.rules if table],
                )
                for each in contracts
            ],
            **_proof(extract),
        )

    def _checks(self, contracts: list[Contract]) -> dict[str, dict[str, str]]:
        from classic_cars.instance import open_instance  # seconds, which no other question takes
        from classic_cars.serving.status import latest_checks

        with open_instance(self.settings) as instance:
            found = latest_checks(contracts, instance)
        return {address: {name: str(each) for name, each in of.items()} for address, of in found.items()}


# What is not personal -------------------------------------------------------------------------------------


def _impersonal(dimension: Dimension) -> Dimension:
    """The dimension without its personal columns. Raises ``QuestionError`` when its values themselves are personal."""
    there = {name for address, _ in dimension.path for name in shown_columns(star_schema()[address])}
    columns = tuple((name, source) for name, source in dimension.columns if source in there | {dimension.key})
    if dimension.name not in dict(columns):
        raise QuestionError(f"{dimension.name}: holds personal data, which assistants are not told")
    return replace(dimension, columns=columns)


def _shown(contract: Contract) -> ibis.Table:
    """The table as the extract has it."""
    columns = {name: contract.types[name] for name in shown_columns(contract)}
    return ibis.table(columns, name=contract.name, database=contract.layer)


# Answers --------------------------------------------------------------------------------------------------


def _proof(extract: Extract) -> dict[str, Any]:
    release = extract.release
    return {
        "release": release.number,
        "age": age(release.made),
        "made": f"{release.made:%Y-%m-%d %H:%M} UTC",
        "proof": [each.line() for each in release.balances],
    }


def _sql(rows: ibis.Table) -> str:
    return str(ibis.to_sql(rows, dialect="duckdb", pretty=False))


def _rows(result: Result, definition: dict[str, str], extract: Extract, notes: Sequence[str] = ()) -> Rows:
    return Rows(
        definition=definition,
        columns=result.columns,
        rows=result.rows,
        complete=not result.more,
        notes=list(notes),
        **_proof(extract),
    )


def _definition(question: Question) -> dict[str, str]:
    said = {each.name: (each.description, each.unit) for each in columns_of(question)}
    return {name: f"{text} [{unit}]" if unit else text for name, (text, unit) in said.items()}


def _sql_name(contract: Contract) -> str:
    return f"{contract.layer}.{contract.name}"


def _named(extract: Extract, table: str) -> list[Contract]:
    """The contract of the table; of all tables without a name. Raises ``QuestionError`` for another one."""
    known = {_sql_name(each): each for each in extract.contracts.values()}
    if not table:
        return list(known.values())
    alone = [name for name, each in known.items() if each.name == table]
    name = alone[0] if len(alone) == 1 else table.replace("/", ".")
    if name not in known:
        raise QuestionError(f"there is no such table in the release; there are {', '.join(known)}")
    return [known[name]]


def _facts(contract: Contract, extract: Extract) -> TableFacts:
    shown = shown_columns(contract)
    return TableFacts(
        name=_sql_name(contract),
        definition=contract.description,
        rows=extract.release.tables[contract.address].rows,
        key=[name for name in contract.key if name in shown],
        columns=[
            ColumnFacts(name=name, type=str(contract.types[name]), definition=contract.describe(name)) for name in shown
        ],
        withheld=len(contract.types) - len(shown),
    )


def _meaning(extract: Extract, column: str) -> str:
    """What a column of an answer means: a measure, or what all tables that have one of its name say alike."""
    if column in MEASURES:
        return MEASURES[column].description
    return _agreed(each.describe(column) for each in extract.contracts.values() if column in shown_columns(each))


def _agreed(texts: Iterable[str]) -> str:
    found = set(texts)
    return found.pop() if len(found) == 1 else ""
