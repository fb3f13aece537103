"""What is on the page as files: the same rows, every digit of them."""

from __future__ import annotations

import io

import pyarrow as pa

from classic_cars.serving.formats import FORMATS

#: Offered below each chart and table, with what browsers call them.
OFFERED = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def as_file(rows: pa.Table, kind: str) -> bytes:
    """The rows in one of ``OFFERED``. Raises ``StoreError`` when they do not fit an Excel sheet."""
    file = io.BytesIO()
    FORMATS[kind](rows.to_reader(), file)
    return file.getvalue()
