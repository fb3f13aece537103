"""A landed Parquet file, copied as JSON Lines by DuckDB, so that there is one way to read rows.

The columns that are asked for are written as text, exactly; of others only names are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from classic_cars.errors import SourceError
from classic_cars.sources.landing.text import LONGEST_LINE, OurFile, Refused, what_it_is
from classic_cars.sources.scanner import literal

#: Unknown columns of a file whose names are kept.
NAMED = 20
#: As JSON, five such values make no longer line than is allowed, whatever they hold.
LONGEST_VALUE = LONGEST_LINE // 32


def copy_parquet(
    chunks: Iterable[bytes],
    path: Path,
    columns: Sequence[str],
    connection: duckdb.DuckDBPyConnection,
    must_have: Callable[[Sequence[str]], None],
) -> int:
    """Copy to ``path`` as lines; the number of rows. ``must_have`` raises ``Refused`` when columns are missing."""
    parquet = path.with_suffix(".parquet")
    cursor = connection.cursor()
    try:
        if not _copied_as_it_is(chunks, parquet):
            path.touch()
            return 0
        source = f"read_parquet({literal(str(parquet))}, hive_partitioning = false)"
        kinds = {row[0]: str(row[1]) for row in _asked(cursor, f"DESCRIBE FROM {source}")}
        found = [*kinds]
        must_have(found)
        values = ", ".join(f"{_text(name, kinds[name])} AS {_quoted(name)}" for name in columns)
        rows = _examined(cursor, f"(SELECT {values} FROM {source})", columns)
        others = [name for name in found if name not in columns][:NAMED]
        extra = "".join(f", NULL AS {_quoted(name)}" for name in others)
        _written(cursor, f"SELECT {values}{extra} FROM {source}", path)
        return rows
    finally:
        cursor.close()
        parquet.unlink(missing_ok=True)


def _text(name: str, kind: str) -> str:
    """The value as text; a whole number of a decimal type without its noughts, which a person may mean as thousands."""
    text = f"{_quoted(name)}::VARCHAR"
    return f"regexp_replace({text}, '\\.0+$', '')" if kind.startswith("DECIMAL") else text


def _copied_as_it_is(chunks: Iterable[bytes], path: Path) -> bool:
    """Whether there was anything to copy."""
    begun = False
    with OurFile(path) as copy:
        for chunk in chunks:
            if not begun and not chunk.startswith(b"PAR1"):
                raise Refused(f"is not Parquet{what_it_is(chunk)}")
            begun = True
            copy.write(chunk)
    return begun


def _examined(cursor: duckdb.DuckDBPyConnection, values: str, columns: Sequence[str]) -> int:
    """The rows; read to the end once, so that what fails afterwards is no fault of the file."""
    longest = ", ".join(f"coalesce(max(strlen({_quoted(name)})), 0)" for name in columns)
    ((rows, *lengths),) = _asked(cursor, f"SELECT count(*), {longest} FROM {values}")
    if max(lengths) > LONGEST_VALUE:
        raise Refused(f"has a value of more than {LONGEST_VALUE:,} bytes")
    return int(rows)


def _written(cursor: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    try:
        cursor.execute(f"COPY ({query}) TO {literal(str(path))} (FORMAT json)")
    except duckdb.Error as error:
        raise SourceError(
            f"{path.parent}: the copy cannot be written ({type(error).__name__}); free some space and run again"
        ) from None


def _asked(cursor: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query on a Parquet file. DuckDB's words about a damaged one hold values: its kind is kept."""
    try:
        return cursor.execute(query).fetchall()
    except (duckdb.OutOfMemoryException, duckdb.InterruptException) as error:
        raise SourceError(f"a Parquet file cannot be read here ({type(error).__name__}); run again") from None
    except duckdb.Error as error:
        raise Refused(f"is damaged Parquet, or holds text that is not UTF-8 ({type(error).__name__})") from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
