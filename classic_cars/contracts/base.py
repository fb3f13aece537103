"""What a contract is: a pandera model of one table, plus the few facts pandera has no word for.

Here is :class:`Contract`, the form in which the rest of the platform reads a model. The words that models are written
in are in :mod:`classic_cars.contracts.vocabulary`, the tables themselves in one module per layer beside this one.
Nothing here knows Dagster or any engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ibis
import pandera.ibis as pa

from classic_cars.contracts.authoring import meant, written
from classic_cars.contracts.origins import (
    EXPECTED_VALUE,
    FLAG,
    ON_VIOLATION,
    ORIGIN,
    REJECT,
    REPAIR,
    SPELLINGS,
    ColumnOrigin,
    Grain,
)
from classic_cars.contracts.rescued import RESCUED
from classic_cars.contracts.rules import Rule, not_null, rule_of
from classic_cars.contracts.versions import digest
from classic_cars.contracts.vocabulary import (
    PERSONAL,
    Complete,
    ControlTotals,
    Latest,
    Reconciliation,
    Reference,
    TableModel,
    Text,
    Total,
    facts,
)
from classic_cars.errors import ContractError

#: The layers, from the order system to the analysts. A table reads from its own layer and those before it.
LAYERS = ("source", "staging", "warehouse", "analytics")
#: What a release holds; the layers before are for engineers, who read them as they are.
RELEASED = LAYERS[2:]


@dataclass(frozen=True)
class Contract:
    """A pandera model, read once: everything the platform must know of a table.

    Build it with :meth:`of`. ``address`` is ``layer/name``, which is also the asset key.
    """

    schema: pa.DataFrameSchema
    partitioned_by: str | None = None
    references: tuple[Reference, ...] = ()
    reconciliations: tuple[Reconciliation, ...] = ()
    totals: Mapping[str, Total] = field(default_factory=dict)
    quarantines: str | None = None
    quarantine_max_share: float | None = None
    latest: Latest | None = None
    beside: tuple[Contract, ...] = ()
    controls: tuple[ControlTotals, ...] = ()
    grain: Grain | None = None
    independent: Callable[[ibis.Table], Any] | None = None
    complete: Complete | None = None
    money: Callable[[ibis.Table], Any] | None = None
    #: Compared every night, and no demand on a version that is published: it is not in :attr:`version`.
    recomputed: Callable[..., ibis.Table] | None = None

    @classmethod
    def of(cls, model: type[TableModel] | pa.DataFrameSchema) -> Contract:
        """Raises ``ContractError`` that names the table when the model cannot be read."""
        if isinstance(model, pa.DataFrameSchema):
            schema, known = model, dict(model.metadata or {})
        else:
            name = getattr(model.__config__, "name", None) or model.__name__
            with written(name, f"its contract {model.__name__}"):
                schema = model.to_schema()
            # pandera's Ibis models keep the metadata of their Config to themselves.
            known = dict(getattr(model.__config__, "metadata", None) or {})
        if unknown := [each for each in known if each not in facts()]:
            raise ContractError(f"{schema.name}: facts() knows no {unknown[0]}; {meant(unknown[0], facts())}")
        if known.get("quarantines") and RESCUED not in schema.columns:
            schema = schema.add_columns({RESCUED: _rescued_column()})
        return cls(schema=schema, **known)

    @property
    def address(self) -> str:
        return str(self.schema.name)

    @property
    def layer(self) -> str:
        return self.address.partition("/")[0]

    @property
    def name(self) -> str:
        return self.address.partition("/")[2]

    @property
    def description(self) -> str:
        return " ".join((self.schema.description or "").split())

    @property
    def key(self) -> tuple[str, ...]:
        """Columns whose values together occur once in the table; empty if it has no key."""
        return tuple(self.schema.unique or ())

    @cached_property
    def quarantine(self) -> Contract:
        """The contract of the table in which rows that this one rejects are kept."""
        columns = {
            name: pa.Column(column.dtype, nullable=True, description=column.description, metadata=column.metadata)
            for name, column in self.schema.columns.items()
        }
        columns |= {
            "_reason": pa.Column(Text(), description="Why the row was quarantined"),
            "_contract_version": pa.Column(Text(), description="Version of the contract that quarantined the row"),
            "_run_id": pa.Column(Text(), description="Dagster run that quarantined the row"),
        }
        return Contract.of(
            pa.DataFrameSchema(
                columns,
                name=f"quarantine/{self.name}",
                description=f"Rows of {self.quarantines} that break a rule of {self.address}, and which rule.",
                strict=True,
                metadata=facts(partitioned_by=self.partitioned_by),
            )
        )

    @property
    def co_published(self) -> tuple[Contract, ...]:
        """The contracts of all tables that are published with this one."""
        controls = (each.contract for each in self.controls)
        return (*self.beside, *controls, *((self.quarantine,) if self.quarantines else ()))

    @cached_property
    def types(self) -> ibis.Schema:
        """Column names and types, in order."""
        return ibis.schema({name: column.dtype.type for name, column in self.schema.columns.items()})

    def describe(self, column: str) -> str:
        return self.schema.columns[column].description or ""

    def _metadata(self, column: str) -> Mapping[str, Any]:
        return self.schema.columns[column].metadata or {}

    def origin(self, column: str) -> ColumnOrigin:
        """What the contract says of where the column comes from."""
        found = self._metadata(column).get(ORIGIN)
        return found if isinstance(found, ColumnOrigin) else ColumnOrigin()

    def spellings(self, column: str) -> tuple[str, ...]:
        """The texts that a value becomes which differs from one of them only in upper and lower case."""
        return tuple(self._metadata(column).get(SPELLINGS, ()))

    @property
    def repaired(self) -> tuple[str, ...]:
        """Columns in which a value that breaks a rule becomes NULL."""
        return tuple(name for name in self.types.names if self._metadata(name).get(ON_VIOLATION) == REPAIR)

    def is_personal(self, column: str) -> bool:
        return self._metadata(column).get("sensitivity") == "personal"

    @property
    def sample_columns(self) -> tuple[str, ...]:
        """Columns that a failed check may show: the key, and nothing personal."""
        return tuple(column for column in self.key if not self.is_personal(column))

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Every row-level rule of the model, from pandera's own definitions."""
        rules = []
        for name, column in self.schema.columns.items():
            absent = FLAG if self._metadata(name).get(EXPECTED_VALUE) else REJECT
            if not column.nullable or absent == FLAG:
                rules.append(not_null(name, absent))
            for check in column.checks:
                wrong = FLAG if check.raise_warning else self._metadata(name).get(ON_VIOLATION, REJECT)
                rules.append(rule_of(check, name, wrong))
        for check in self.schema.checks:
            rules.append(rule_of(check, None, FLAG if check.raise_warning else REJECT))
        return tuple(rules)

    @cached_property
    def version(self) -> str:
        """Digest of what the contract demands: rules, totals, reconciliations and origins as what they do.

        Wording does not change it. Raises ``ContractError`` for a rule or a total that does not fit the columns.
        """
        rows = ibis.table(self.types, name=self.name, database=self.layer)
        compiled = {}
        for rule in self.rules:
            with written(self.address, f"rule {rule.name!r}"):
                compiled[rule.name] = rule.holds(rows)
        for name, total in self.totals.items():
            with written(self.address, f"total {name!r}"):
                compiled[f"total {name}"] = total(rows)
        demands = [
            {name: str(kind) for name, kind in self.types.items()},
            repr(rows.aggregate(**{name: _counted(each) for name, each in compiled.items()})) if compiled else "",
            {rule.name: rule.severity for rule in self.rules},
            {name: (self.origin(name), self.spellings(name)) for name in self.types.names},
            (self.key, self.partitioned_by, self.quarantines, self.quarantine_max_share, self.repaired),
            self.references,
            [(each.name, each.by, each.actual, each.expected) for each in self.reconciliations],
            (self.latest, self.grain, self.independent, self.complete, self.money),
            *((each.contract.version, each.of) for each in self.controls),
        ]
        return digest(*demands)


def _counted(value: ibis.Value) -> ibis.Value:
    return (~value).sum() if isinstance(value, ibis.expr.types.BooleanColumn) else value


def _rescued_column() -> pa.Column:
    return pa.Column(
        Text(),
        nullable=True,
        description="Raw values that did not fit their column or were repaired, as JSON; NULL for nearly all rows",
        metadata=PERSONAL | {ORIGIN: ColumnOrigin(derived=True)},
    )
