"""A table is a pure function plus a contract: the decorator that joins them, and the catalog of all tables.

Pure: no store, no Dagster, no I/O. The catalog knows which table each parameter means, compiles every
function once against its inputs' contracts, and so finds at load time what does not fit.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

import ibis
import pandera.ibis as pa

from classic_cars import checks
from classic_cars.contracts.authoring import written
from classic_cars.contracts.base import LAYERS, RESCUED, Contract
from classic_cars.contracts.differences import schema_differences
from classic_cars.contracts.origins import Origins
from classic_cars.contracts.source import Origin
from classic_cars.contracts.versions import digest
from classic_cars.contracts.vocabulary import ControlTotals, TableModel
from classic_cars.errors import ContractError
from classic_cars.tables import origins
from classic_cars.tables.lineage import column_lineage

#: Tables of rejected rows; each belongs to the staging table that they were rejected from.
QUARANTINE = "quarantine"
#: Tables of control totals; each belongs to the table that it is made and published with.
CONTROL = "control"


@dataclass(frozen=True)
class Table:
    """A table of the platform: how its rows are made (``function``) and what they must be (``contract``).

    ``arrives_from``: the origin outside whose rows arrive as the function's only parameter; None for tables made
    from other tables.
    """

    contract: Contract
    function: Callable[..., Any]
    arrives_from: Origin | None = None

    @property
    def address(self) -> str:
        return self.contract.address

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """The function's parameters and how each wants its table: the annotation, ``ibis.Table`` if none."""
        with written(self.address, "an annotation of its function"):
            hints = get_type_hints(self.function)
        return {name: hints.get(name, ibis.Table) for name in inspect.signature(self.function).parameters}

    @property
    def is_lazy(self) -> bool:
        """True when the function is an Ibis expression, and so can be compiled without data."""
        return all(kind is ibis.Table for kind in self.inputs.values())


def table(
    contract: type[TableModel] | pa.DataFrameSchema | Contract, *, arrives_from: Origin | None = None
) -> Callable[[Callable[..., Any]], Table]:
    """Decorator: this function makes the rows of this contract's table.

    Parameters are tables: the one of that name in the contract's own layer or those before it; ``staging_orders`` where
    several layers have the name.
    Annotated ``ibis.Table`` they are lazy; ``pandas.DataFrame``, ``polars.DataFrame`` and ``pyarrow.Table``
    hold the rows, for small tables. The function returns a table of any of these kinds.
    """
    resolved = contract if isinstance(contract, Contract) else Contract.of(contract)
    return lambda function: Table(resolved, function, arrives_from)


class Catalog:
    """All tables by address. Raises ``ContractError`` when a function and its contract do not fit."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables: dict[str, Table] = {}
        for each in tables:
            if each.address in self._tables:
                raise ContractError(f"{each.address}: two functions make this table; rename one")
            if each.contract.layer not in LAYERS:
                raise ContractError(f"{each.address}: unknown layer, expected one of {', '.join(LAYERS)}")
            self._tables[each.address] = each
        self._expressions: dict[str, ibis.Table | None] = {}
        self._origins: dict[str, Origins] = {}
        self._audited: dict[str, dict[str, Contract]] = {}
        self._code_versions: dict[str, str] = {}

    def __iter__(self) -> Iterator[Table]:
        return iter(self._tables.values())

    def __getitem__(self, address: str) -> Table:
        if address not in self._tables:
            raise ContractError(f"{address}: no such table; there are {', '.join(sorted(self._tables))}")
        return self._tables[address]

    def __contains__(self, address: str) -> bool:
        return address in self._tables

    def resolve(self, reader: Table, name: str) -> Table:
        """The table that ``name`` means in a function of ``reader``: the one of that name at or below its layer.

        ``layer_name`` means the one of that layer; a name that several layers have must be said so. The tables of
        ``source`` alone need not: where staging has one of the same name, it is the one that is meant.
        """
        below = [layer for layer in _layers_up_to(reader) if f"{layer}/{name}" != reader.address]
        layer, _, rest = name.partition("_")
        if layer in below and f"{layer}/{rest}" in self._tables:
            return self._tables[f"{layer}/{rest}"]
        found = [f"{each}/{name}" for each in below if f"{each}/{name}" in self._tables]
        if len(found) > 1:
            found = [address for address in found if not address.startswith(f"{LAYERS[0]}/")]
        if len(found) == 1:
            return self._tables[found[0]]
        if found:
            said = " or ".join(address.replace("/", "_") for address in found)
            raise ContractError(
                f"{reader.address}: its function or its contract asks for table {name!r}, which may be "
                f"{' or '.join(found)}; name the parameter {said}"
            )
        raise ContractError(
            f"{reader.address}: its function asks for table {name!r}, and no layer up to "
            f"{reader.contract.layer} has one; there are {', '.join(sorted(self._tables))}"
        )

    def resolve_contract(self, reader: Table, name: str) -> Contract:
        """The same for a contract's own functions, which may also ask for ``quarantine_name`` or ``control_name``."""
        layer, _, rest = name.partition("_")
        if layer in (QUARANTINE, CONTROL):
            return self.contract(f"{layer}/{rest}")
        return self.resolve(reader, name).contract

    def contract(self, address: str) -> Contract:
        """The contract of a table, or of one that is published with another: a quarantine, control totals."""
        owner = self.owner(address)
        return next((each for each in owner.contract.co_published if each.address == address), owner.contract)

    def owner(self, address: str) -> Table:
        """The table that makes this one: itself, or the one that it is published with."""
        return self._owners.get(address) or self[address]

    @cached_property
    def control_totals(self) -> dict[str, tuple[Table, ControlTotals]]:
        """By address, what is kept, and the table that it is kept with."""
        return {other.contract.address: (each, other) for each in self for other in each.contract.controls}

    @cached_property
    def _owners(self) -> dict[str, Table]:
        return {other.address: each for each in self for other in each.contract.co_published}

    def cleaned_by(self, read: Table) -> Contract | None:
        """The contract of the staging table that cleans ``read``."""
        return next((each.contract for each in self if each.contract.quarantines == read.address), None)

    def inputs(self, reader: Table) -> dict[str, Table]:
        """The table behind each parameter of the function."""
        if reader.arrives_from is not None:
            return {}
        return {name: self.resolve(reader, name) for name in reader.inputs}

    def audited_against(self, reader: Table) -> dict[str, Contract]:
        """Other tables that the proof of ``reader`` reads, by address: quarantines and control totals among them."""
        if reader.address not in self._audited:
            self._audited[reader.address] = self._audited_against(reader)
        return self._audited[reader.address]

    def _audited_against(self, reader: Table) -> dict[str, Contract]:
        contract = reader.contract
        addresses = {reference.to for reference in contract.references}
        if contract.quarantines:
            addresses.add(contract.quarantines)
        found = self.origins(reader)
        if found.grain is not None:
            addresses |= {found.grain.table, *(each.table for each in found.grain.inferred)}
            addresses |= {each.table for each in found.lookups}
        if contract.complete is not None:
            addresses |= {f"source/{contract.complete.subject}", f"{QUARANTINE}/{contract.complete.subject}"}
        names = [name for each in contract.controls for name in parameters(each.of)]
        for each in contract.reconciliations:
            names += [*parameters(each.actual)[1:], *parameters(each.expected)]
        addresses |= {self.resolve_contract(reader, name).address for name in names}
        own = {reader.address, *(each.contract.address for each in contract.controls)}
        return {address: self.contract(address) for address in sorted(addresses - own)}

    def needed_for_audit(self, reader: Table) -> list[str]:
        """Addresses of tables that must be made before ``reader`` and are not upstream of its inputs anyway."""
        owners = {self.owner(address).address for address in self.audited_against(reader)}
        return sorted(owners - self._upstream(reader) - {reader.address})

    def _upstream(self, reader: Table) -> set[str]:
        found: set[str] = set()
        waiting = [reader]
        while waiting:
            for each in self.inputs(waiting.pop()).values():
                if each.address not in found:
                    found.add(each.address)
                    waiting.append(each)
        return found

    def origins(self, made: Table) -> Origins:
        """Where each column comes from. Raises ``ContractError`` when the function makes it of something else."""
        if made.address not in self._origins:
            if made.arrives_from is not None:
                planned = Origins(None, made_of=_arrived(made))
            else:
                planned = origins.planned(made.contract, [each.contract for each in self.inputs(made).values()])
            if (
                problems := origins.differences(planned, self.lineage(made))
                if self.expression(made) is not None
                else []
            ):
                raise ContractError(
                    f"{made.address}: its function and its contract disagree on where values come from: "
                    f"{'; '.join(problems)}; change one so that both say the same"
                )
            self._origins[made.address] = planned
        return self._origins[made.address]

    def expression(self, made: Table) -> ibis.Table | None:
        """The function's expression over unbound tables named like their contracts; None when it is not lazy."""
        if made.address not in self._expressions:
            self._expressions[made.address] = self._compile(made) if made.is_lazy else None
        return self._expressions[made.address]

    def _compile(self, made: Table) -> ibis.Table:
        if made.arrives_from is not None:
            origin = made.arrives_from
            arriving = ibis.table(origin.arrival, name=made.contract.name, database=origin.system)
            unbound = {next(iter(made.inputs)): arriving}
        else:
            unbound = {name: unbound_table(each.contract) for name, each in self.inputs(made).items()}
        try:
            expression = made.function(**unbound)
        except ContractError:
            raise
        except Exception as error:
            raise ContractError(
                f"{made.address}: its function does not fit its inputs: {type(error).__name__}: {error}"
            ) from error
        check_columns(made.contract, expression.schema())
        return expression

    def code_version(self, made: Table) -> str:
        """Changes when the compiled expression, the contract's demands or an added kind of check changes; only then."""
        if made.address not in self._code_versions:
            self._code_versions[made.address] = self._code_version(made)
        return self._code_versions[made.address]

    def _code_version(self, made: Table) -> str:
        expression = self.expression(made)
        body = digest(made.function) if expression is None else ibis.to_sql(expression, dialect="duckdb")
        demands = [made.contract.version, *filter(None, [checks.added(made.contract, self.origins(made))])]
        return hashlib.sha256("\n".join([body, *demands]).encode()).hexdigest()[:12]

    def lineage(self, made: Table) -> dict[str, list[tuple[str, str]]]:
        """Per column, the columns of other tables that its values come from; empty when not lazy."""
        expression = self.expression(made)
        if expression is None:
            return {}
        lineage = column_lineage(expression)
        return {name: lineage[name] for name in made.contract.types.names}


def _layers_up_to(reader: Table) -> tuple[str, ...]:
    return LAYERS[: LAYERS.index(reader.contract.layer) + 1]


def _arrived(made: Table) -> dict[str, frozenset[tuple[str, str]]]:
    """Columns that arrive from outside under their own names."""
    origin = made.arrives_from
    if origin is None:
        return {}
    place = f"{origin.system}/{made.contract.name}"
    return {
        name: frozenset([(place, name)])
        for name in made.contract.types.names
        if name in origin.arrival.names and name != RESCUED
    }


def unbound_table(contract: Contract) -> ibis.Table:
    """A table without data, named and typed as the contract says."""
    return ibis.table(contract.types, name=contract.name, database=contract.layer)


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def check_columns(contract: Contract, found: ibis.Schema) -> None:
    """Raises ``ContractError`` naming every column that differs from the contract."""
    problems = schema_differences(contract, found)
    if problems:
        raise ContractError(
            f"{contract.address}: its function and its contract disagree: {'; '.join(problems)}; "
            "change one so that both say the same"
        )
