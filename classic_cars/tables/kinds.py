"""The kinds of table that a function may ask for and return: ibis, pandas, polars and pyarrow; lazy ibis within."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa

from classic_cars.contracts.base import Contract


def as_kind(table: ibis.Table, kind: Any) -> Any:
    """``table`` as an ``ibis``, ``pandas``, ``polars`` or ``pyarrow`` table, as the annotation ``kind`` asks."""
    if kind is pd.DataFrame:
        return table.to_pandas()
    if (pl := _polars()) is not None and kind in (pl.DataFrame, pl.LazyFrame):
        return table.to_polars() if kind is pl.DataFrame else table.to_polars().lazy()
    if kind is pa.Table:
        return table.to_pyarrow()
    return table


def as_expression(contract: Contract, receive: Callable[[pa.Table], ibis.Table], rows: Any) -> ibis.Table:
    """The function's result as a lazy table, whatever kind of table it returned."""
    if isinstance(rows, ibis.Table):
        return rows
    if (pl := _polars()) is not None and isinstance(rows, pl.DataFrame):
        rows = rows.to_arrow()
    if isinstance(rows, pd.DataFrame):
        rows = _from_pandas(contract, rows)
    if isinstance(rows, pa.Table):
        return receive(rows)
    raise TypeError(
        f"{contract.address}: its function returned {type(rows).__name__}, expected an ibis, pandas, polars or "
        "pyarrow table"
    )


def _polars() -> Any:
    """Polars, if it was imported: whoever asks for its tables or returns one has. It takes a tenth of a second."""
    return sys.modules.get("polars")


def _from_pandas(contract: Contract, frame: pd.DataFrame) -> pa.Table:
    """Columns of the contract's types where pandas' own are vaguer (``object``), as they are elsewhere."""
    known = contract.types.to_pyarrow()
    fields = []
    for name in frame.columns:
        index = known.get_field_index(str(name))
        inferred = pa.Array.from_pandas(frame[name]).type
        fields.append(pa.field(str(name), known.field(index).type if index >= 0 else inferred))
    return pa.Table.from_pandas(frame, schema=pa.schema(fields), preserve_index=False)
