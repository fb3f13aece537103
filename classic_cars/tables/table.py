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

from classic_cars.contracts.base import LAYERS, RESCUED, Contract, TableModel
from classic_cars.contracts.source import Origin
from classic_cars.errors import ContractError
from classic_cars.tables.lineage import column_lineage


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

    Parameters are tables: the nearest one of that name in the contract's own layer or those before it.
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

    def __iter__(self) -> Iterator[Table]:
        return iter(self._tables.values())

    def __getitem__(self, address: str) -> Table:
        if address not in self._tables:
            raise ContractError(f"{address}: no such table; there are {', '.join(sorted(self._tables))}")
        return self._tables[address]

    def __contains__(self, address: str) -> bool:
        return address in self._tables

    def resolve(self, reader: Table, name: str) -> Table:
        """The table that ``name`` means in a function of ``reader``: the nearest at or below its layer."""
        for layer in reversed(LAYERS[: LAYERS.index(reader.contract.layer) + 1]):
            address = f"{layer}/{name}"
            if address in self._tables and address != reader.address:
                return self._tables[address]
        raise ContractError(
            f"{reader.address}: its function asks for table {name!r}, and no layer up to "
            f"{reader.contract.layer} has one; there are {', '.join(sorted(self._tables))}"
        )

    def inputs(self, reader: Table) -> dict[str, Table]:
        """The table behind each parameter of the function."""
        if reader.arrives_from is not None:
            return {}
        return {name: self.resolve(reader, name) for name in reader.inputs}

    def audited_against(self, reader: Table) -> dict[str, Table]:
        """Other tables that the contract refers to or is reconciled with, by address."""
        addresses = {reference.to for reference in reader.contract.references}
        if reader.contract.quarantines:
            addresses.add(reader.contract.quarantines)
        for each in reader.contract.reconciliations:
            for name in [*parameters(each.actual)[1:], *parameters(each.expected)]:
                addresses.add(self.resolve(reader, name).address)
        return {address: self[address] for address in sorted(addresses - {reader.address})}

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
        """Changes when the compiled expression or the contract's demands change, and with nothing else."""
        expression = self.expression(made)
        body = inspect.getsource(made.function) if expression is None else ibis.to_sql(expression, dialect="duckdb")
        return hashlib.sha256(f"{body}\n{made.contract.version}".encode()).hexdigest()[:12]

    def lineage(self, made: Table) -> dict[str, list[tuple[str, str]]]:
        """Per column, the columns of other tables that its values come from; empty when not lazy."""
        expression = self.expression(made)
        if expression is None:
            return {}
        lineage = column_lineage(expression)
        return {name: lineage[name] for name in made.contract.types.names}


def unbound_table(contract: Contract) -> ibis.Table:
    """A table without data, named and typed as the contract says."""
    return ibis.table(contract.types, name=contract.name, database=contract.layer)


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def expected_types(contract: Contract) -> dict[str, Any]:
    """Columns that a function must return: the contract's, and the rescued values when rows are set aside."""
    types = dict(contract.types.items())
    return {**types, RESCUED: ibis.dtype("string")} if contract.quarantines else types


def column_differences(contract: Contract, found: ibis.Schema) -> list[str]:
    """What is wrong with the columns of a table that should follow the contract; empty when nothing is."""
    expected = expected_types(contract)
    have = {name: kind.copy(nullable=True) for name, kind in found.items()}
    problems = [f"column {name} is missing" for name in expected if name not in have]
    problems += [f"column {name} is not in the contract" for name in have if name not in expected]
    problems += [
        f"column {name} is {have[name]}, expected {kind}"
        for name, kind in expected.items()
        if name in have and have[name] != kind
    ]
    return problems


def check_columns(contract: Contract, found: ibis.Schema) -> None:
    """Raises ``ContractError`` naming every column that differs from the contract."""
    problems = column_differences(contract, found)
    if problems:
        raise ContractError(
            f"{contract.address}: its function and its contract disagree: {'; '.join(problems)}; "
            "change one so that both say the same"
        )
