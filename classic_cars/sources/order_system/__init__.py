"""The order system, read-only: one class per database behind one protocol, and :func:`open_order_system` to choose.

``database`` has what all of them share, ``selecting`` which rows are asked for, ``account`` what a server says of its
rows, ``change_signs`` what it says without reading them, ``drift`` which columns it lacks, ``streams`` how rows come.
What a value means is decided elsewhere (:mod:`classic_cars.sources.conform`, :mod:`classic_cars.sources.canonical`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import sqlalchemy as sa

from classic_cars.contracts.order_system import READ_ORDER
from classic_cars.errors import SourceError
from classic_cars.sources.control_totals import ControlTotals
from classic_cars.sources.order_system.change_signs import Sign
from classic_cars.sources.order_system.database import QUERY_SECONDS
from classic_cars.sources.order_system.drift import SchemaDrift
from classic_cars.sources.order_system.mariadb import MariaDB
from classic_cars.sources.order_system.postgresql import PostgreSQL
from classic_cars.sources.order_system.sqlite import SQLite
from classic_cars.sources.order_system.streams import Shape
from classic_cars.sources.urls import SourceURL

__all__ = ["ControlTotals", "OrderSystem", "SchemaDrift", "Sign", "Snapshot", "open_order_system"]


class Snapshot(Protocol):
    """Rows and the order system's own account of them, as they were at one moment."""

    def read(
        self,
        table: sa.Table,
        months: Sequence[date] | None = None,
        shape: Shape | None = None,
        today: date | None = None,
    ) -> pa.RecordBatchReader:
        """The rows of ``table``, of these home months only if given, as a stream of Arrow batches.

        ``shape`` maps the arriving columns to the contract's; order lines arrive with their order's ``orderDate``.
        Raises ``SourceError`` here or from the stream. One stream at a time.
        """
        ...

    def control_totals(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, ControlTotals]:
        """Rows, cents and digest by home month (``YYYY-MM``), ``""`` for a table without; of the rows that
        :meth:`read` last sent, if it was asked for the same and its stream is at its end.
        """
        ...


class OrderSystem(Protocol):
    """The order system behind ``url``. Opens connections when asked and closes them."""

    url: SourceURL

    @property
    def redacted(self) -> str:
        """The URL without its password."""
        ...

    def probe(self) -> None:
        """Prove that the eight tables are there and can be read, within about 5 seconds, or raise ``SourceError``."""
        ...

    def unreadable(self) -> Mapping[str, SourceError]:
        """Tables that lack a column of the contract, or may not be read, by name, and why; within milliseconds.

        Raises ``SourceError`` when nothing can be read.
        """
        ...

    def drift(self, table: sa.Table) -> SchemaDrift:
        """Columns that are new, stand elsewhere, or have another kind of type; raises when one is missing."""
        ...

    def months(self, today: date | None = None) -> list[date]:
        """The home months that have rows, sorted."""
        ...

    def homes_of(self, order_numbers: Sequence[int], today: date | None = None) -> dict[int, date]:
        """The home months in which these orders are now; those that are gone are left out."""
        ...

    def snapshot(self, scratch: Path | None = None) -> AbstractContextManager[Snapshot]:
        """One consistent snapshot of each table that is read in it; ``scratch``: a folder for a copy."""
        ...

    def in_one_snapshot(self) -> AbstractContextManager[OrderSystem]:
        """The same order system whose snapshots are all one, where that does not hinder the shop."""
        ...

    def column_digests(
        self, table: sa.Table, months: Sequence[date] | None = None, today: date | None = None
    ) -> dict[str, int]:
        """A digest of each proven column alone, bound to the row's key: to name columns after a mismatch."""
        ...

    def fingerprints(
        self, tables: Sequence[sa.Table] = READ_ORDER, today: date | None = None
    ) -> dict[str, dict[str, str]]:
        """What each table holds now: a short hash per home month (``YYYY-MM``) with rows, or one for all (``""``)."""
        ...

    def change_signs(self, tables: Sequence[sa.Table] = READ_ORDER, today: date | None = None) -> dict[str, Sign]:
        """Of each table a sign that is the same for as long as its fingerprints are, within milliseconds.

        A table that is left out has none. No proof: see :mod:`classic_cars.sources.order_system.change_signs`.
        """
        ...


DATABASES: dict[str, Callable[[SourceURL, float, float], OrderSystem]] = {
    "sqlite": SQLite,
    "mysql": MariaDB,
    "mariadb": MariaDB,
    "postgresql": PostgreSQL,
}


def open_order_system(url: str, connect_timeout: float = 4.0, query_seconds: float = QUERY_SECONDS) -> OrderSystem:
    """The order system behind ``url``; nothing is connected yet. Raises ``SettingsError``."""
    parsed = SourceURL.parse(url)
    return DATABASES[parsed.scheme](parsed, connect_timeout, query_seconds)
