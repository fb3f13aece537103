"""What a contract becomes in PostgreSQL: columns, key, references, indexes, comments, rights; and how tables get there.

What is there is read from PostgreSQL's own catalog, never remembered: whatever a hand changed is noticed. Names keep
their capitals. Statements that keep readers waiting are issued only where a table's columns or constraints differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import ibis.expr.datatypes as dt

from classic_cars.contracts.base import Contract
from classic_cars.errors import ContractError
from classic_cars.serving.postgresql.connection import Connection
from classic_cars.serving.postgresql.held import OWN
from classic_cars.stores.sql import literal, quoted, table_name

#: On each table: what somebody else changes is no longer what the release holds.
TRIGGER = "changed_by_hand"
#: PostgreSQL's names are no longer than this, in bytes.
LONGEST_NAME = 63
KINDS: dict[type[dt.DataType], str] = {
    dt.Int8: "smallint",
    dt.Int16: "smallint",
    dt.Int32: "integer",
    dt.Int64: "bigint",
    dt.Float32: "real",
    dt.Float64: "double precision",
    dt.Boolean: "boolean",
    dt.Date: "date",
    dt.String: "text",
}


@dataclass
class Shape:
    """One table, in the words of PostgreSQL's catalog, without quotes around names."""

    #: Type by name.
    columns: dict[str, str] = field(default_factory=dict)
    not_null: set[str] = field(default_factory=set)
    #: Definition by name.
    constraints: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)
    #: By column; ``""`` for the table's own.
    comments: dict[str, str] = field(default_factory=dict)
    watched: bool = False

    def keys(self) -> dict[str, str]:
        return {name: each for name, each in self.constraints.items() if each.startswith("PRIMARY")}


def postgresql_type(contract: Contract, column: str) -> str:
    """As PostgreSQL's catalog spells it. Raises ``ContractError`` for a type that has none there."""
    kind = contract.types[column]
    if isinstance(kind, dt.Decimal):
        return f"numeric({kind.precision},{kind.scale})"
    if isinstance(kind, dt.Timestamp):
        return f"timestamp({min(6, kind.scale or 6)}) {'with' if kind.timezone else 'without'} time zone"
    if type(kind) not in KINDS:
        known = ", ".join(sorted(each.__name__.lower() for each in (*KINDS, dt.Decimal, dt.Timestamp)))
        raise ContractError(
            f"{contract.address}.{column}: {kind} has no type in PostgreSQL; expected one of {known} in the contract "
            "of a table that releases have"
        )
    return KINDS[type(kind)]


def wanted(contract: Contract, released: Collection[str]) -> Shape:
    """``released``: addresses of the tables that references may refer to."""
    table, name = f"{contract.layer}.{contract.name}", contract.name
    shape = Shape({column: postgresql_type(contract, column) for column in contract.types.names})
    shape.not_null = {column for column in shape.columns if not contract.schema.columns[column].nullable}
    if contract.key:
        shape.constraints[_name(name, "pkey")] = f"PRIMARY KEY ({', '.join(contract.key)})"
        shape.not_null |= set(contract.key)
    for each in contract.references:
        if each.to in released:
            shape.constraints[_name(name, each.column, "fkey")] = (
                f"FOREIGN KEY ({each.column}) REFERENCES {each.to.replace('/', '.')}({each.to_column}) "
                "DEFERRABLE INITIALLY DEFERRED"
            )
    indexed = dict.fromkeys([contract.partitioned_by or "", *(each.column for each in contract.references)])
    for column in indexed:
        if column and column != next(iter(contract.key), None):
            index = _name(name, column, "idx")
            shape.indexes[index] = f"CREATE INDEX {index} ON {table} USING btree ({column})"
    shape.comments = {"": contract.description} | {each: _comment(contract, each) for each in shape.columns}
    return shape


def _comment(contract: Contract, column: str) -> str:
    said = contract.describe(column)
    return f"{said} (personal data)" if contract.is_personal(column) else said


def _name(*parts: str) -> str:
    """No longer than PostgreSQL keeps it."""
    whole = "_".join(parts)
    return whole if len(whole) <= LONGEST_NAME else f"{whole[: LONGEST_NAME - 1 - len(parts[-1])]}_{parts[-1]}"


FOUND = f"""
SELECT c.oid, n.nspname || '/' || c.relname,
    EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = '{TRIGGER}' AND t.tgenabled <> 'D')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname || '/' || c.relname = ANY(%s)
"""
COLUMNS = """
SELECT attrelid, attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
WHERE attrelid = ANY(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
CONSTRAINTS = """
SELECT conrelid, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = ANY(%s) AND contype IN ('p', 'f')
"""
INDEXES = """
SELECT i.indrelid, c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY(%s) AND NOT i.indisprimary
"""
COMMENTS = """
SELECT d.objoid, coalesce(a.attname, ''), d.description
FROM pg_description d LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.classoid = 'pg_class'::regclass AND d.objoid = ANY(%s)
"""


def found(connection: Connection, addresses: Iterable[str]) -> dict[str, Shape]:
    """Those of these tables that are there, by address."""
    shapes: dict[int, tuple[str, Shape]] = {}
    for oid, address, watched in connection.execute(FOUND, (list(addresses),)):
        shapes[oid] = address, Shape(watched=watched)
    oids = (list(shapes),)
    for oid, name, kind, not_null in connection.execute(COLUMNS, oids):
        shapes[oid][1].columns[name] = kind
        shapes[oid][1].not_null |= {name} if not_null else set()
    for oid, name, definition in connection.execute(CONSTRAINTS, oids):
        shapes[oid][1].constraints[name] = definition.replace('"', "")
    for oid, name, definition in connection.execute(INDEXES, oids):
        shapes[oid][1].indexes[name] = definition.replace('"', "")
    for oid, column, text in connection.execute(COMMENTS, oids):
        shapes[oid][1].comments[column] = text
    return dict(shapes.values())


def prepared(contract: Contract, want: Shape, there: Shape | None) -> Iterator[str]:
    """Statements after which the table takes the contract's rows; none when its columns are as they should be.

    A column of another type is a new one: the rows are all loaded again.
    """
    table = table_name(contract)
    if there is None:
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in want.columns.items())
        yield f"CREATE TABLE {table} ({columns})"
        return
    for name in there.columns:
        if there.columns[name] != want.columns.get(name):
            yield f"ALTER TABLE {table} DROP COLUMN {quoted(name)}"
        elif name in there.not_null - want.not_null:
            yield f"ALTER TABLE {table} ALTER COLUMN {quoted(name)} DROP NOT NULL"
    for name, kind in want.columns.items():
        if there.columns.get(name) != kind:
            yield f"ALTER TABLE {table} ADD COLUMN {quoted(name)} {kind}"


def finished(contract: Contract, want: Shape, there: Shape) -> Iterator[str]:
    """Statements that give a table with the contract's rows all else: what it has already is left alone."""
    table = table_name(contract)
    for name in sorted(want.not_null - there.not_null):
        yield f"ALTER TABLE {table} ALTER COLUMN {quoted(name)} SET NOT NULL"
    for name, definition in want.constraints.items():
        if definition.startswith("PRIMARY") and there.constraints.get(name) != definition:
            yield from _replaced(contract, name, there)
            yield f"ALTER TABLE {table} ADD CONSTRAINT {quoted(name)} {_key(contract.key)}"
    for name, definition in want.indexes.items():
        if there.indexes.get(name) != definition:
            if name in there.indexes:
                yield f"DROP INDEX {quoted(contract.layer)}.{quoted(name)}"
            column = definition.rpartition("(")[2].removesuffix(")")
            yield f"CREATE INDEX {quoted(name)} ON {table} ({quoted(column)})"
    for column, text in want.comments.items():
        if there.comments.get(column, "") != text:
            target = f"COLUMN {table}.{quoted(column)}" if column else f"TABLE {table}"
            yield f"COMMENT ON {target} IS {literal(text)}"
    if not there.watched:
        yield f"DROP TRIGGER IF EXISTS {TRIGGER} ON {table}"
        yield (
            f"CREATE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {OWN}.{TRIGGER}()"
        )


def referring(contract: Contract, want: Shape, there: Shape) -> Iterator[str]:
    """Statements for foreign keys, once the tables that they refer to have their keys."""
    targets = {_name(contract.name, each.column, "fkey"): each for each in contract.references}
    for name, definition in want.constraints.items():
        if not definition.startswith("FOREIGN") or there.constraints.get(name) == definition:
            continue
        reference = targets[name]
        layer, _, target = reference.to.partition("/")
        yield from _replaced(contract, name, there)
        yield (
            f"ALTER TABLE {table_name(contract)} ADD CONSTRAINT {quoted(name)} "
            f"FOREIGN KEY ({quoted(reference.column)}) REFERENCES {quoted(layer)}.{quoted(target)} "
            f"({quoted(reference.to_column)}) DEFERRABLE INITIALLY DEFERRED"
        )


def released_keys(
    contracts: Iterable[Contract], wants: Mapping[str, Shape], there: dict[str, Shape], changing: Collection[str]
) -> Iterator[str]:
    """Statements that let go of foreign keys that are wanted no more, such as those to tables that go, and of those
    from and to tables whose columns change: ``referring`` makes these again.

    They go from ``there``, too.
    """
    for contract in contracts:
        shape = there.get(contract.address, Shape())
        targets = {_name(contract.name, each.column, "fkey"): each.to for each in contract.references}
        for name in {_name(contract.name, column, "fkey") for column in shape.columns} & shape.constraints.keys():
            wanted_still = name in wants[contract.address].constraints
            if not wanted_still or {contract.address, targets[name]} & set(changing):
                yield from _replaced(contract, name, shape)
                del shape.constraints[name]


def _replaced(contract: Contract, name: str, there: Shape) -> Iterator[str]:
    if name in there.constraints:
        yield f"ALTER TABLE {table_name(contract)} DROP CONSTRAINT {quoted(name)}"


def _key(columns: Iterable[str]) -> str:
    return f"PRIMARY KEY ({', '.join(map(quoted, columns))})"
