"""Which columns of other tables a table is made of and compared with, for values or to decide which rows there are.

Lineage is about values alone. Both are read off Ibis expressions; here, what is not understood reads every column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import ibis
import ibis.expr.operations as ops
from ibis.common.exceptions import IbisError

from classic_cars.checks.columns import made
from classic_cars.contracts.origins import FLAG
from classic_cars.tables.lineage import address_of
from classic_cars.tables.table import QUARANTINE, Catalog, Table, parameters, unbound_table

#: By address, columns.
Columns = dict[str, frozenset[str]]

#: Relations whose rows are those of their parents, or fewer by their own arguments.
UNDERSTOOD = (ops.Project, ops.DropColumns, ops.Filter, ops.Sort, ops.Aggregate, ops.JoinChain, ops.Reference)


def read_for_rows(table: Table, catalog: Catalog) -> Columns:
    """What decides the rows of a table that is made from others, and what proves each of them.

    A reference that can be broken without a row being another one is looked up, and is not in it.
    """
    contract, expression = table.contract, catalog.expression(table)
    inputs = [each.contract for each in catalog.inputs(table).values()]
    everything = {each.address: frozenset(each.types.names) for each in inputs}
    found = [everything if expression is None else columns_read([expression])]
    if catalog.origins(table).grain is not None and not contract.quarantines:
        tables = {address: unbound_table(each) for address, each in catalog.audited_against(table).items()}
        found.append(columns_read([made(contract, catalog.origins(table), tables)]))
    for each in contract.references:
        rejects = bool(contract.quarantines) and each.otherwise != FLAG
        if rejects or catalog.contract(each.to).partitioned_by:
            found.append({each.to: frozenset([each.to_column])})
    return _together(found)


def read_to_compare(table: Table, catalog: Catalog) -> Columns:
    """What a table is reconciled with, and what its control totals are made of.

    Where that needs rows to be worked out at all, all columns of whatever it reads.
    """
    try:
        return _read_to_compare(table, catalog)
    except IbisError:  # an unbound table has no rows
        return {address: frozenset(each.types.names) for address, each in catalog.audited_against(table).items()}


def _read_to_compare(table: Table, catalog: Catalog) -> Columns:
    contract, found = table.contract, list[ibis.Table]()

    def of(names: Iterable[str]) -> list[ibis.Table]:
        return [unbound_table(catalog.resolve_contract(table, name)) for name in names]

    for each in contract.reconciliations:
        own = unbound_table(contract)
        found += [each.actual(own, *of(parameters(each.actual)[1:])), each.expected(*of(parameters(each.expected)))]
    found += [each.of(*of(parameters(each.of))) for each in contract.controls]
    if (complete := contract.complete) is not None:
        for layer in ("source", QUARANTINE):
            rows = unbound_table(catalog.contract(f"{layer}/{complete.subject}"))
            day, amount = complete.raw(rows)
            found.append(rows.select(day=day, amount=amount))
    own = {contract.address, *(each.contract.address for each in contract.controls)}
    return {address: columns for address, columns in columns_read(found).items() if address not in own}


def _together(some: Iterable[Columns]) -> Columns:
    found: Columns = {}
    for each in some:
        for address, columns in each.items():
            found[address] = found.get(address, frozenset()) | columns
    return found


def columns_read(expressions: Iterable[ibis.Table]) -> Columns:
    """By address (``layer/table``) of the unbound tables that these are made of; empty for one that is only counted."""
    reading = _Reading()
    for each in expressions:
        reading.whole(each.op())
    return {address: frozenset(columns) for address, columns in reading.found.items()}


class _Reading:
    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}
        self._seen: set[tuple[ops.Relation, str | None]] = set()

    def whole(self, relation: ops.Relation) -> None:
        """All of its columns are read."""
        self.rows(relation)
        for name in relation.schema.names:
            self.column(relation, name)

    def column(self, relation: ops.Relation, name: str) -> None:
        if self._is_new(relation, name):
            self.rows(relation)
            if isinstance(relation, ops.UnboundTable):
                self.found[address_of(relation)].add(name)
            elif isinstance(relation, ops.Set):
                self.column(relation.left, name)
                self.column(relation.right, name)
            elif isinstance(relation, ops.SelfReference):
                self.column(relation.parent, name)
            elif name in relation.values:
                self._value(relation.values[name])
            else:
                self._all_of(relation)

    def rows(self, relation: ops.Relation) -> None:
        """Whatever decides which rows it has is read."""
        if not self._is_new(relation, None):
            return
        if isinstance(relation, ops.UnboundTable):
            self.found.setdefault(address_of(relation), set())
        elif isinstance(relation, ops.Union) and not relation.distinct:
            self.rows(relation.left)
            self.rows(relation.right)
        elif isinstance(relation, UNDERSTOOD):
            for parent in _parents(relation):
                self.rows(parent)
            for each in _deciding(relation):
                self._value(each)
        else:
            self._all_of(relation)

    def _all_of(self, relation: ops.Relation) -> None:
        """Everything that it is made of, as it is not understood."""
        for each in relation.__children__:
            self._value(each)

    def _value(self, node: ops.Node) -> None:
        if isinstance(node, ops.Field):
            self.column(node.rel, node.name)
        elif isinstance(node, ops.CountStar):
            self.rows(node.arg)
            if node.where is not None:
                self._value(node.where)
        elif isinstance(node, ops.Subquery):
            self.whole(node.rel)
            for each in node.__children__:
                if each is not node.rel:
                    self._value(each)
        elif isinstance(node, ops.Relation):
            self.whole(node)
        else:
            for each in node.__children__:
                self._value(each)

    def _is_new(self, relation: ops.Relation, name: str | None) -> bool:
        if (relation, name) in self._seen:
            return False
        self._seen.add((relation, name))
        return True


def _parents(relation: ops.Relation) -> list[ops.Relation]:
    if isinstance(relation, ops.JoinChain):
        return [relation.first, *(link.table for link in relation.rest)]
    return [relation.parent]


def _deciding(relation: ops.Relation) -> Iterator[ops.Value]:
    """The values that decide which of the parents' rows, or how many of each, there are."""
    if isinstance(relation, ops.JoinChain):
        for link in relation.rest:
            yield from link.predicates
    elif isinstance(relation, ops.Filter):
        yield from relation.predicates
    elif isinstance(relation, ops.Sort):  # of which the first rows, or values, are taken further up
        yield from relation.keys
    elif isinstance(relation, ops.Aggregate):
        yield from relation.groups.values()
    if isinstance(relation, ops.Project | ops.JoinChain):
        yield from (each for each in relation.values.values() if each.find(ops.Unnest, filter=ops.Value))
