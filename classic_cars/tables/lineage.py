"""Column lineage, read off an Ibis expression: which source columns each output column's values come from.

Filters, joins' conditions and groupings decide which rows there are, not what a column's values are, and so
do not count. Engine-independent, and cheap: nothing is compiled or parsed.
"""

from __future__ import annotations

import ibis
import ibis.expr.operations as ops

Origin = tuple[str, str]


def column_lineage(expression: ibis.Table) -> dict[str, list[Origin]]:
    """Per column of ``expression``, the ``(layer/table, column)`` pairs it is computed from, sorted."""
    known: dict[tuple[ops.Relation, str], frozenset[Origin]] = {}
    relation = expression.op()
    return {name: sorted(_origins(relation, name, known)) for name in relation.schema.names}


def address_of(table: ops.UnboundTable) -> str:
    """``layer/table``; without a layer, the name alone."""
    namespace = table.namespace.database
    return f"{namespace}/{table.name}" if namespace else str(table.name)


def _origins(relation: ops.Relation, column: str, known: dict) -> frozenset[Origin]:
    if (relation, column) not in known:
        known[relation, column] = _trace(relation, column, known)
    return known[relation, column]


def _trace(relation: ops.Relation, column: str, known: dict) -> frozenset[Origin]:
    if isinstance(relation, ops.UnboundTable):
        return frozenset({(address_of(relation), column)})
    if isinstance(relation, ops.Set):
        return _origins(relation.left, column, known) | _origins(relation.right, column, known)
    if column in relation.values:
        return _of_value(relation.values[column], known)
    return frozenset()


def _of_value(value: ops.Node, known: dict) -> frozenset[Origin]:
    if isinstance(value, ops.Field):
        return _origins(value.rel, value.name, known)
    if isinstance(value, ops.InSubquery):
        return _of_value(value.needle, known)
    if isinstance(value, ops.Relation):
        return frozenset()
    origins: frozenset[Origin] = frozenset()
    for child in value.__children__:
        origins |= _of_value(child, known)
    return origins
