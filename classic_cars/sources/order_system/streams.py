"""How rows come: as a stream of Arrow batches, with bounded memory, whose errors are ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import sqlalchemy as sa

from classic_cars.contracts.source import MONTH
from classic_cars.errors import SourceError, SourceUnreachable
from classic_cars.sources.errors import FIX_LOCKED, is_locked, is_refused, lost_connection, said_by_scanner
from classic_cars.sources.home_months import spans
from classic_cars.sources.urls import SourceURL

Shape = Callable[[ibis.Table], ibis.Table]

BATCH_ROWS = 122_880  # one row group of DuckDB

#: So much is held in memory where nobody may wait for whoever takes the rows.
HELD_BYTES = 32 << 20

#: What a scanner raises; a text of its may not even be UTF-8.
STREAM_ERRORS = (duckdb.Error, pa.ArrowException, OSError, UnicodeError)


def shaped(arriving: ibis.Table, shape: Shape | None, months: Sequence[date] | None) -> ibis.Table:
    """The rows as they leave, of these home months only if given."""
    rows = shape(arriving) if shape is not None else arriving
    if months is None or MONTH not in rows.columns:
        return rows
    inside = [rows[MONTH].between(ibis.date(first), ibis.date(last)) for first, last in spans(months)]
    return rows.filter(ibis.or_(ibis.literal(False), *inside))


def opened(connection: duckdb.DuckDBPyConnection, rows: ibis.Table) -> pa.RecordBatchReader:
    backend: Any = rows.get_backend()
    return connection.execute(backend.compile(rows)).to_arrow_reader(BATCH_ROWS)


def held_at_once(batches: pa.RecordBatchReader) -> pa.RecordBatchReader | None:
    """The same batches in memory; None when they are too many."""
    held, size = [], 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size > HELD_BYTES:
            return None
    return pa.RecordBatchReader.from_batches(batches.schema, held)


def guarded(
    batches: pa.RecordBatchReader,
    table: sa.Table,
    url: SourceURL,
    at_end: Callable[[], None],
    causes: Sequence[Exception] = (),
) -> pa.RecordBatchReader:
    """The same stream with errors of ours; ``at_end`` is called when it ends, however it does.

    ``causes``: errors behind that of the stream, if there are any by then.
    """

    def passing() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except STREAM_ERRORS as error:
            raise unreadable(table, next(iter(causes), error), url) from None
        finally:
            at_end()

    return pa.RecordBatchReader.from_batches(batches.schema, passing())


def unreadable(table: sa.Table, error: Exception, url: SourceURL) -> SourceError:
    text = said_by_scanner(error, url)
    if is_locked(error):
        return SourceUnreachable(f"{url}: table {table.name} could not be read: {text}; {FIX_LOCKED}")
    if lost_connection(error, url):
        return SourceUnreachable(f"{url}: the connection broke while table {table.name} was read: {text}")
    if is_refused(error):
        return SourceError(f"{url}: the server refuses the question for table {table.name}: {text}")
    return SourceError(f"{url}: table {table.name} holds something that cannot be read as declared: {text}")
