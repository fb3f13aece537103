"""Contracts as Iceberg schemas: column types, field ids, the month partition, and how a table may evolve.

A contract may gain nullable columns, widen types and reword descriptions: the table follows in place and every
column keeps its field id. Where every row is replaced, columns may go and become others, too: earlier versions keep
their own. Anything else that would lose data is refused, with what to do instead; so are new columns in some months.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ibis.expr.datatypes as dt
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update.schema import UpdateSchema
from pyiceberg.transforms import MonthTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
)

from classic_cars.contracts.base import Contract
from classic_cars.errors import ContractError, StoreError
from classic_cars.stores.iceberg.changes import Kind
from classic_cars.stores.sql import duckdb_type

#: Iceberg's name of a table's description, as Spark and Trino show it.
COMMENT = "comment"

_PLAIN_TYPES: dict[type[dt.DataType], tuple[type[IcebergType], str]] = {
    dt.Int8: (IntegerType, "INTEGER"),
    dt.Int16: (IntegerType, "INTEGER"),
    dt.Int32: (IntegerType, "INTEGER"),
    dt.Int64: (LongType, "BIGINT"),
    dt.Float32: (FloatType, "FLOAT"),
    dt.Float64: (DoubleType, "DOUBLE"),
    dt.String: (StringType, "VARCHAR"),
    dt.Binary: (BinaryType, "BLOB"),
    dt.Boolean: (BooleanType, "BOOLEAN"),
    dt.Date: (DateType, "DATE"),
}
_DUCKDB_NAMES: dict[type[IcebergType], str] = {
    **{kind: name for kind, name in _PLAIN_TYPES.values()},  # noqa: C416
    TimestampType: "TIMESTAMP",
    TimestamptzType: "TIMESTAMP WITH TIME ZONE",
}


def iceberg_type(contract: Contract, column: str) -> IcebergType:
    """The column's type in Iceberg; raises ``ContractError`` for one that Iceberg has no word for."""
    kind = contract.types[column]
    if isinstance(kind, dt.Decimal) and kind.precision is not None and kind.scale is not None:
        return DecimalType(kind.precision, kind.scale)
    if isinstance(kind, dt.Timestamp):
        return TimestamptzType() if kind.timezone else TimestampType()
    if type(kind) not in _PLAIN_TYPES:
        raise ContractError(
            f"{contract.address}.{column}: type {kind} does not exist in Iceberg tables; use int32, int64, "
            "decimal(p, s), float64, string, binary, boolean, date or timestamp"
        )
    return _PLAIN_TYPES[type(kind)][0]()


def duckdb_name(kind: IcebergType) -> str:
    """The type under which DuckDB reads a column of an Iceberg table."""
    if isinstance(kind, DecimalType):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if type(kind) not in _DUCKDB_NAMES:
        raise StoreError(
            f"a column of type {kind} cannot be read: it was added by other means than ours; remove it the same way"
        )
    return _DUCKDB_NAMES[type(kind)]


def reading_type(contract: Contract | None, field: NestedField) -> str:
    """DuckDB's type for a field: the contract's own where Iceberg only has a wider word for it."""
    if contract is not None and field.name in contract.types:
        same = iceberg_type(contract, field.name) == field.field_type
        return duckdb_type(contract.types[field.name]) if same else duckdb_name(field.field_type)
    return duckdb_name(field.field_type)


def iceberg_schema(contract: Contract) -> Schema:
    """A new table's schema: columns in the contract's order, described, its key as identifier."""
    fields = [
        NestedField(
            field_id=number,
            name=name,
            field_type=iceberg_type(contract, name),
            required=_is_required(contract, name),
            doc=contract.describe(name),
        )
        for number, name in enumerate(contract.types.names, start=1)
    ]
    ids = {field.name: field.field_id for field in fields}
    return Schema(*fields, identifier_field_ids=[ids[name] for name in _identifier(contract)])


def partition_spec(contract: Contract, schema: Schema) -> PartitionSpec:
    """By Iceberg's own month of the partition column, so that every engine prunes months by itself."""
    column = contract.partitioned_by
    if not column:
        return PartitionSpec()
    source = schema.find_field(column).field_id
    return PartitionSpec(
        PartitionField(source_id=source, field_id=1000, transform=MonthTransform(), name=f"{column}_month")
    )


def _is_required(contract: Contract, column: str) -> bool:
    return not contract.schema.columns[column].nullable


def _identifier(contract: Contract) -> list[str]:
    """The key, where Iceberg can say it: identifiers are never NULL."""
    return list(contract.key) if all(_is_required(contract, name) for name in contract.key) else []


def evolve(contract: Contract, transaction: Transaction, kind: Kind, staying: Callable[[], Sequence[DataFile]]) -> None:
    """Make the table of ``transaction`` fit the contract; nothing happens when it does already.

    ``staying`` finds the files that a change of this kind does not replace: where there are none, columns may go or
    become others. Raises ``StoreError`` for a change that would lose data, and for new columns where some months are
    replaced: they would be NULL in all others.
    """
    metadata = transaction.table_metadata  # PyIceberg makes a copy each time it is asked
    schema = metadata.schema()
    _refuse_other_partitions(contract, metadata)
    if metadata.properties.get(COMMENT, "") != contract.description:
        transaction.set_properties({COMMENT: contract.description})
    if _fits(contract, schema):
        return
    _refuse_losses(contract, schema, kind, staying)
    if lost := _lost(contract, schema):
        # By themselves first: of a column that becomes another one, the new one has its name.
        with transaction.update_schema() as update:
            update.set_identifier_fields()
            for name in lost:
                update.delete_column(name)
        schema = transaction.table_metadata.schema()
    # Making a column required counts as incompatible; that nothing is NULL was proven above.
    with transaction.update_schema(allow_incompatible_changes=True) as update:
        for name in contract.types.names:
            _evolve_column(contract, name, schema, update)
        _reorder(contract, schema, update)
        update.set_identifier_fields(*_identifier(contract))


def _fits(contract: Contract, schema: Schema) -> bool:
    wanted = iceberg_schema(contract)
    return _facts(wanted) == _facts(schema) and wanted.identifier_field_names() == schema.identifier_field_names()


def _facts(schema: Schema) -> list[tuple[str, IcebergType, bool, str]]:
    return [(field.name, field.field_type, field.required, field.doc or "") for field in schema.fields]


def _evolve_column(contract: Contract, name: str, schema: Schema, update: UpdateSchema) -> None:
    kind, doc, required = iceberg_type(contract, name), contract.describe(name), _is_required(contract, name)
    if name not in schema.column_names:
        update.add_column(name, kind, doc=doc, required=required)
        return
    field = schema.find_field(name)
    update.update_column(
        name,
        field_type=kind if kind != field.field_type else None,
        required=required if required != field.required else None,
        doc=doc if doc != (field.doc or "") else None,
    )


def _reorder(contract: Contract, schema: Schema, update: UpdateSchema) -> None:
    after = [name for name in contract.types.names if name not in schema.column_names]
    if list(contract.types.names) == [*schema.column_names, *after]:
        return
    update.move_first(contract.types.names[0])
    for before, name in zip(contract.types.names, contract.types.names[1:], strict=False):
        update.move_after(name, before)


def _lost(contract: Contract, schema: Schema) -> dict[str, str]:
    """Columns of the table that the contract has no more, or with a type that does not hold every value; and why."""
    found = {}
    for field in schema.fields:
        if field.name not in contract.types:
            found[field.name] = f"column {field.name} ({field.field_type}) is no longer in the contract"
        elif not _widens(field.field_type, kind := iceberg_type(contract, field.name)):
            found[field.name] = f"column {field.name} is {field.field_type}, the contract asks for {kind}"
    return found


def _refuse_losses(contract: Contract, schema: Schema, kind: Kind, staying: Callable[[], Sequence[DataFile]]) -> None:
    lost = _lost(contract, schema)
    new = [name for name in contract.types.names if kind == Kind.REPLACE and name not in schema.column_names]
    now_required = [
        name
        for name in contract.types.names
        if _is_required(contract, name) and not (name in schema.column_names and schema.find_field(name).required)
    ]
    files = staying() if lost or new or now_required else []
    problems = [*lost.values()] if files or contract.partitioned_by in lost else []
    problems += [f"column {name} is new, and would be NULL in the months that stay" for name in new if files]
    problems += [
        f"column {name} may no longer be NULL, but there are NULLs in the rows that stay"
        for name in now_required
        if any(_holds_null(each, schema, name) for each in files)
    ]
    if problems:
        raise StoreError(
            f"{contract.address}: its contract changed, and rows that stay do not fit it: {'; '.join(problems)}. "
            "Run all months, which replaces every row (`classic-cars run --full`); of a table to which rows are only "
            "added, make the change without loss (add a nullable column, widen a type), or give the table a new name "
            "in its contract and keep this one for its history"
        )


def _holds_null(file: DataFile, schema: Schema, column: str) -> bool:
    """Whether the file may hold a NULL in the column, by its statistics."""
    if column not in schema.column_names:
        return file.record_count > 0
    return (file.null_value_counts or {}).get(schema.find_field(column).field_id, file.record_count) > 0


def _refuse_other_partitions(contract: Contract, metadata: TableMetadata) -> None:
    found = [(field.name, str(field.transform)) for field in metadata.spec().fields]
    expected = [(f"{contract.partitioned_by}_month", "month")] if contract.partitioned_by else []
    if found != expected:
        raise StoreError(
            f"{contract.address}: the table is partitioned by {found or 'nothing'}, its contract asks for "
            f"{expected or 'nothing'}; give the table a new name in its contract"
        )


def _widens(found: IcebergType, wanted: IcebergType) -> bool:
    """Whether every value of ``found`` is one of ``wanted``, as Iceberg's evolution allows."""
    if found == wanted:
        return True
    if isinstance(found, DecimalType) and isinstance(wanted, DecimalType):
        return wanted.scale == found.scale and wanted.precision >= found.precision
    return (type(found), type(wanted)) in {(IntegerType, LongType), (FloatType, DoubleType)}


def awaits_all_rows(contract: Contract, schema: Schema) -> bool:
    """Whether the contract has other columns, which the table only gets when every row is replaced."""
    is_new = any(name not in schema.column_names for name in contract.types.names)
    return bool(_lost(contract, schema)) or (is_new and contract.partitioned_by is not None)
