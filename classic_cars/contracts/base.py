"""What a contract is: a pandera model of one table, plus the few facts pandera has no word for.

Here live the vocabulary (column types, rules, references, reconciliations) and :class:`Contract`, the form
in which the rest of the platform reads a model. The tables themselves are in one module per layer beside
this one. Nothing here knows Dagster or any engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import ibis
import ibis.expr.datatypes as dt
import pandera.backends.ibis.builtin_checks  # noqa: F401  (registers pandera's checks for Ibis)
import pandera.ibis as pa
from pandera.ibis import IbisData

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
from classic_cars.contracts.versions import digest

# Column types. DECIMAL from end to end: money is never a float.
Int = dt.Int32
Long = dt.Int64
Text = dt.String
Date = dt.Date
Bool = dt.Boolean
Binary = dt.Binary
#: A moment in UTC, to the microsecond.
Moment = Annotated[dt.Timestamp, None, 6, True]
Money = Annotated[dt.Decimal, 10, 2, True]
Amount = Annotated[dt.Decimal, 18, 2, True]

PERSONAL = {"sensitivity": "personal"}

#: The layers, from the order system to the analysts. A table reads from its own layer and those before it.
LAYERS = ("source", "staging", "warehouse", "analytics")

#: Characters of a rule's name that people read.
LONGEST_TITLE = 100

#: From a table to one sum over its rows.
Total = Callable[[ibis.Table], ibis.expr.types.NumericScalar]


class TableModel(pa.DataFrameModel):
    """Base of every contract: exactly the declared columns, no more."""

    class Config:
        strict = True


@dataclass(frozen=True)
class Reference:
    """Each non-NULL value of ``column`` exists as ``to_column`` in table ``to`` (``layer/name``).

    ``otherwise``, of a table with quarantine: rows that refer to nothing are rejected, or flagged: they stay, and the
    warehouse infers the member that is missing. Elsewhere a reference to nothing blocks the table.
    """

    column: str
    to: str
    to_column: str
    otherwise: str = REJECT

    def __str__(self) -> str:
        return f"{self.column} in {self.to}"


@dataclass(frozen=True)
class Reconciliation:
    """Two ways to the same numbers: ``actual`` from the table's own rows, ``expected`` from other tables.

    Both are functions from tables to a table of control totals: the grouping columns ``by`` and any number
    of measures, with equal names on both sides. The first parameter of ``actual`` is the table itself; every
    other parameter names a table as an asset function's parameter does. ``expected`` must not use the joins
    that made the table.
    """

    name: str
    by: tuple[str, ...]
    actual: Callable[..., ibis.Table]
    expected: Callable[..., ibis.Table]
    assumes: str = ""


@dataclass(frozen=True)
class Complete:
    """A fact that, together with ``quarantine/<subject>``, must hold all of ``source/<subject>``.

    ``published`` and ``raw`` map the fact's rows, and those of source and quarantine, to their day and their money.
    """

    subject: str
    published: Callable[[ibis.Table], tuple[Any, Any]]
    raw: Callable[[ibis.Table], tuple[Any, Any]]


@dataclass(frozen=True)
class Latest:
    """Of the rows that share the table's key only the latest stays; the others are superseded, which is no fault.

    ``by``: what makes a row later than another, the weightiest column first. ``row``: what identifies a row, and
    decides between equals.
    """

    by: tuple[str, ...]
    row: tuple[str, ...]

    @property
    def order(self) -> tuple[str, ...]:
        return (*self.by, *self.row)


def facts(
    *,
    partitioned_by: str | None = None,
    references: Iterable[Reference] = (),
    reconciliations: Iterable[Reconciliation] = (),
    totals: Mapping[str, Total] | None = None,
    quarantines: str | None = None,
    quarantine_max_share: float | None = None,
    latest: Latest | None = None,
    beside: Iterable[Contract] = (),
    grain: Grain | None = None,
    independent: Callable[[ibis.Table], Any] | None = None,
    complete: Complete | None = None,
    money: Callable[[ibis.Table], Any] | None = None,
) -> dict[str, Any]:
    """The facts of a table that pandera has no word for, as ``Config.metadata`` of its model.

    ``partitioned_by``: date column whose month is the row's partition. ``totals``: sums that every
    materialization reports. ``quarantines``: the table (``layer/name``) that this one has exactly one row per
    row of; rows that cannot be counted are then quarantined, and counted, instead of blocking the others.
    ``quarantine_max_share``: of this table, whatever the platform's setting says. ``latest``: of rows that share the
    key, the latest stays. ``beside``: tables that are staged and published in the same step as this one.
    ``grain``: what the table has a row for; by default each row of the input that has the same key. ``independent``:
    from the table's rows to what they must be, in every column, worked out by other means. ``complete``: of what the
    table, with what is quarantined, must hold every row and cent. ``money``: of a row, in USD; how much of it may be
    quarantined has a limit.
    """
    return {
        "partitioned_by": partitioned_by,
        "references": tuple(references),
        "reconciliations": tuple(reconciliations),
        "totals": dict(totals or {}),
        "quarantines": quarantines,
        "quarantine_max_share": quarantine_max_share,
        "latest": latest,
        "beside": tuple(beside),
        "grain": grain,
        "independent": independent,
        "complete": complete,
        "money": money,
    }


def is_clean(data: IbisData) -> ibis.Table:
    """True where a text has no surrounding white space and is not empty."""
    column = data.table[data.key]
    return data.table.select((column.strip() == column) & (column != ""))


def clean(*columns: str) -> Any:
    """A pandera check: these text columns are trimmed and not empty."""
    return pa.check(*columns, name="clean_text", description="no surrounding white space, not empty")(
        lambda _model, data: is_clean(data)
    )


def row_rule(description: str, *, severity: str = REJECT) -> Callable[[Callable[..., Any]], Any]:
    """Decorator for a rule over several columns of one row: the method takes the table, returns a boolean.

    ``severity``: ``REJECT`` or ``FLAG``; which of several values to repair, no rule knows.
    """

    def decorate(rule: Callable[..., Any]) -> Any:
        def check(cls: type, data: IbisData) -> ibis.expr.types.BooleanValue:
            return rule(cls, data.table)

        return pa.dataframe_check(name=rule.__name__, description=description, raise_warning=severity == FLAG)(check)

    return decorate


@dataclass(frozen=True)
class Rule:
    """One row-level rule: its name, what it demands, and the condition that holds for good rows.

    The condition is NULL-safe: it is never NULL, and a NULL value breaks only the rule that forbids NULL,
    as in pandera (``ignore_na``). ``column``: the one that it is about, if it is about one.
    """

    name: str
    description: str
    holds: Callable[[ibis.Table], ibis.expr.types.BooleanValue]
    severity: str = REJECT
    column: str | None = None

    def __str__(self) -> str:
        return self.name if self.description in self.name else f"{self.name} ({self.description})"


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
    grain: Grain | None = None
    independent: Callable[[ibis.Table], Any] | None = None
    complete: Complete | None = None
    money: Callable[[ibis.Table], Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, model: type[TableModel] | pa.DataFrameSchema) -> Contract:
        if isinstance(model, pa.DataFrameSchema):
            schema, metadata = model, dict(model.metadata or {})
        else:
            # pandera's Ibis models keep the metadata of their Config to themselves.
            schema, metadata = model.to_schema(), dict(getattr(model.__config__, "metadata", None) or {})
        known = {name: metadata.pop(name) for name in facts() if name in metadata}
        if known.get("quarantines") and RESCUED not in schema.columns:
            schema = schema.add_columns({RESCUED: _rescued_column()})
        return cls(schema=schema, extra=metadata, **known)

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
            "_reason": pa.Column(Text(), description="The rules that the row breaks"),
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
    def company(self) -> tuple[Contract, ...]:
        """The contracts of all tables that are published with this one."""
        return (*self.beside, *((self.quarantine,) if self.quarantines else ()))

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
                rules.append(Rule(f"{name}: not null", "a value is present", _not_null(name), absent, name))
            for check in column.checks:
                wrong = FLAG if check.raise_warning else self._metadata(name).get(ON_VIOLATION, REJECT)
                text = check.description or _title(check)
                rules.append(Rule(f"{name}: {_title(check)}", text, _holds(check, name), wrong, name))
        for check in self.schema.checks:
            wrong = FLAG if check.raise_warning else REJECT
            rules.append(Rule(_title(check), check.description or _title(check), _holds(check, None), wrong))
        return tuple(rules)

    @cached_property
    def version(self) -> str:
        """Digest of what the contract demands: rules, totals, reconciliations and origins as what they do.

        Wording does not change it.
        """
        rows = ibis.table(self.types, name=self.name, database=self.layer)
        compiled = {rule.name: rule.holds(rows) for rule in self.rules}
        compiled |= {f"total {name}": total(rows) for name, total in self.totals.items()}
        demands = [
            {name: str(kind) for name, kind in self.types.items()},
            repr(rows.aggregate(**{name: _counted(each) for name, each in compiled.items()})) if compiled else "",
            {rule.name: rule.severity for rule in self.rules},
            {name: (self.origin(name), self.spellings(name)) for name in self.types.names},
            (self.key, self.partitioned_by, self.quarantines, self.quarantine_max_share, self.repaired),
            self.references,
            [(each.name, each.by, each.actual, each.expected) for each in self.reconciliations],
            (self.latest, self.grain, self.independent, self.complete, self.money),
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


def _title(check: pa.Check) -> str:
    """A check's name with its bounds: ``in_range(1, 100000)`` or ``clean_text``; long lists by their length."""
    title = str(check.error or check.name)
    longest = max((each for each in (check.statistics or {}).values() if hasattr(each, "__len__")), key=len, default=())
    return title if len(title) <= LONGEST_TITLE else f"{check.name}({len(longest)} values)"


def _not_null(column: str) -> Callable[[ibis.Table], ibis.expr.types.BooleanValue]:
    return lambda table: table[column].notnull()


def _holds(check: pa.Check, column: str | None) -> Callable[[ibis.Table], ibis.expr.types.BooleanValue]:
    """The condition of one pandera check, as pandera's Ibis backend would apply it."""

    def condition(table: ibis.Table) -> ibis.expr.types.BooleanValue:
        # In one order on every run: the version of a contract is made of its expressions.
        options = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in check._check_kwargs.items()}
        result = check._check_fn(IbisData(table, column), **options)
        if isinstance(result, ibis.Table):
            # pandera's checks return a projection of the table; the value below it can join one aggregate.
            (value,) = result.op().values.values()
            result = value.to_expr()
        return result.fill_null(True)

    return condition


def differing_columns(contract: Contract, found: ibis.Schema) -> list[str]:
    """What is wrong with the columns of a table that should follow the contract; empty when nothing is."""
    have = {name: kind.copy(nullable=True) for name, kind in found.items()}
    problems = [f"column {name} is missing" for name in contract.types.names if name not in have]
    problems += [f"column {name} is not in the contract" for name in have if name not in contract.types]
    problems += [
        f"column {name} is {have[name]}, expected {kind}"
        for name, kind in contract.types.items()
        if name in have and have[name] != kind.copy(nullable=True)
    ]
    return problems
