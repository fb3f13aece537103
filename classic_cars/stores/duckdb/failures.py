"""What goes wrong with the file of a DuckDB store, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from classic_cars.errors import StoreConflict, StoreDamaged, StoreError, StoreUnavailable
from classic_cars.stores.failures import is_damaged, is_full
from classic_cars.stores.sql import first_line

UNCHANGED = "The published tables are unchanged."
DAMAGED = (
    "found a file that is damaged or no DuckDB database, expected the store. Restore it from a backup of the file or "
    "import an export (`classic-cars import`); or move the file away and run again: everything is then read again from "
    "the order system, and landed files from where they landed."
)


@contextmanager
def clear_errors(path: Path, parquet: str = "") -> Iterator[None]:
    """Turn the operating system's and DuckDB's storage errors into ours.

    ``parquet``: what is said of a damaged Parquet file, where ``path`` is a folder of such.
    """
    try:
        yield
    except duckdb.TransactionException as error:
        raise StoreConflict(
            f"{path}: another writer changed the same rows meanwhile; run again. {UNCHANGED} ({first_line(str(error))})"
        ) from None
    except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException, OSError) as error:
        raise _refusal(path, error, parquet or DAMAGED) from None
    except (duckdb.Error, pa.ArrowException) as error:
        # What its reader of Parquet finds has no kind of its own, or names the file; of rows that stream it is Arrow's.
        said = first_line(str(error)).partition(": value ")[0]  # which may be personal
        if parquet and (str(path) in said or (type(error) is duckdb.Error and " extension " not in said)):
            raise StoreDamaged(f"{path}: {parquet} ({said})") from None
        raise


def _refusal(path: Path, error: Exception, damaged: str) -> StoreError:
    said = first_line(str(error))
    if is_full(error):
        return StoreUnavailable(
            f"{path}: the disk is full; free some space there ({path.parent}) and run again. {UNCHANGED} ({said})"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreUnavailable(f"{path}: not enough memory; raise CLASSIC_CARS_DUCKDB_MEMORY. {UNCHANGED} ({said})")
    if is_damaged(error):
        return StoreDamaged(f"{path}: {damaged} ({said})")
    return StoreUnavailable(
        f"{path}: cannot be used ({said}); check that {path.parent} exists and is writable for this user. {UNCHANGED}"
    )


class Locked(Exception):
    """Another process has the file open in a way that excludes us."""


def holder_in(message: str) -> str:
    """The process that DuckDB's lock error names: ``... held in /usr/bin/python3.11 (PID 4711) ...``."""
    _, _, rest = message.partition("held in ")
    holder, found, _ = rest.partition(")")
    return f"held by {holder})" if found else "held by another process"
