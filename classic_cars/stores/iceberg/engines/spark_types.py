"""Spark's words for the types of a table, and what its expressions are to Ibis."""

from __future__ import annotations

from typing import Any

import ibis
import pyarrow as pa
from pyiceberg.schema import Schema
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
    StringType,
    TimestampType,
    TimestamptzType,
)

from classic_cars.contracts.base import Contract
from classic_cars.errors import StoreError
from classic_cars.stores.iceberg.schema import iceberg_type

#: Under this name Spark keeps a column's field id.
FIELD_ID = "parquet.field.id"
TYPES: dict[type[IcebergType], str] = {
    IntegerType: "int",
    LongType: "bigint",
    FloatType: "float",
    DoubleType: "double",
    StringType: "string",
    BinaryType: "binary",
    BooleanType: "boolean",
    DateType: "date",
    TimestampType: "timestamp_ntz",
    TimestamptzType: "timestamp",
}


def fields_of(schema: Schema) -> Any:
    """The schema in Spark's words, each column with its field id."""
    from pyspark.sql.types import StructField, StructType

    return StructType(
        [
            StructField(field.name, _spark_kind(field.field_type), True, {FIELD_ID: field.field_id})
            for field in schema.fields
        ]
    )


def arrow_fields(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema, prefer_timestamp_ntz=True)


def _spark_kind(kind: IcebergType) -> Any:
    from pyspark.sql import types as st

    if isinstance(kind, DecimalType):
        return st.DecimalType(kind.precision, kind.scale)
    known = {
        each.simpleString(): each
        for each in (
            st.IntegerType(),
            st.LongType(),
            st.FloatType(),
            st.DoubleType(),
            st.StringType(),
            st.BinaryType(),
            st.BooleanType(),
            st.DateType(),
            st.TimestampNTZType(),
            st.TimestampType(),
        )
    }
    return known[spark_type(kind)]


def spark_type(kind: IcebergType) -> str:
    if isinstance(kind, DecimalType):
        return f"decimal({kind.precision},{kind.scale})"
    if type(kind) not in TYPES:
        raise StoreError(
            f"a column of type {kind} cannot be read: it was added by other means than ours; remove it the same way"
        )
    return TYPES[type(kind)]


def ibis_schema(schema: Schema, contract: Contract | None) -> ibis.Schema:
    """The contract's own types, where Iceberg only has a wider word for them."""
    types = {}
    for field in schema.fields:
        known = contract is not None and field.name in contract.types
        if contract is not None and known and iceberg_type(contract, field.name) == field.field_type:
            types[field.name] = contract.types[field.name].copy(nullable=True)
        else:
            types[field.name] = ibis.dtype(_ibis_name(field.field_type))
    return ibis.schema(types)


def _ibis_name(kind: IcebergType) -> str:
    name = spark_type(kind)
    instead = {"int": "int32", "bigint": "int64", "float": "float32", "double": "float64"}
    return instead.get(name, {"timestamp_ntz": "timestamp(6)", "timestamp": "timestamp('UTC', 6)"}.get(name, name))
