"""Reading SQLite's pages with DuckDB's scanner, several at a time, where it bends no value."""

from __future__ import annotations

from typing import Any

import ibis.expr.datatypes as dt
import sqlalchemy as sa

from classic_cars.sources import scanner
from classic_cars.sources.home_months import as_text
from classic_cars.sources.selecting import LINES, ORDERS, Selecting

#: What DuckDB's SQLite scanner reads as it is, or refuses: everything else it bends.
FAITHFUL_SCANS = ("int64", "string")


class Scanning(Selecting):
    """Whole tables of SQLite as the scanner reads them."""

    def _scans_faithfully(self, backend: Any, table: sa.Table) -> bool:
        """True when SQLite's scanner, which reads several pages at a time, has no type here that it bends."""
        schema = backend.table(table.name, database=(scanner.ATTACHED, "main")).schema()
        return all(_is_faithful(schema[column.name].copy(nullable=True), column.type) for column in table.columns)

    def _scan(self, table: sa.Table) -> str:
        """DuckDB's own query over SQLite's pages; dates of orders come as text, one per order number."""
        columns = ", ".join(f'lines."{column.name}"' for column in table.columns)
        if table is not LINES:
            return f'SELECT {columns} FROM "{table.name}" AS lines'
        key, day = ORDERS.c.orderNumber, ORDERS.c.orderDate
        dates = scanner.passed_through(self.url, self._sql(sa.select(key, as_text(day).label(day.name))))
        return (
            f'SELECT {columns}, dates."{day.name}" FROM "{table.name}" AS lines LEFT JOIN ('
            f'SELECT TRY_CAST("{key.name}" AS BIGINT) AS number, min("{day.name}") AS "{day.name}" FROM ({dates}) '
            f'GROUP BY 1) AS dates ON dates.number = lines."{LINES.c.orderNumber.name}"'
        )


def _is_faithful(scanned: dt.DataType, declared: sa.types.TypeEngine) -> bool:
    if scanned.is_binary():
        return isinstance(declared, sa.LargeBinary)
    if scanned.is_float64():
        return isinstance(declared, sa.Integer | sa.Numeric)  # DuckDB writes it otherwise than SQLite
    return str(scanned) in FAITHFUL_SCANS
