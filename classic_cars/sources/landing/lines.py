"""The rows of landed files: copied side by side, counted, and read by DuckDB as one stream of Arrow batches.

Every file is lines by then. A line is read raw and taken apart in SQL, so that whatever it holds it becomes one row:
one that is no JSON object, or has not as many fields as its header, is kept whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa

from classic_cars.compiled import CompilingOnce
from classic_cars.contracts.base import RESCUED
from classic_cars.contracts.landed import LINE_COLUMNS
from classic_cars.errors import SourceError
from classic_cars.interrupts import interruptible
from classic_cars.processes import LANDING, own_folder
from classic_cars.sources.landing import digests
from classic_cars.sources.landing.copies import Copier, Copy
from classic_cars.sources.landing.listing import LandedFile
from classic_cars.sources.landing.place import Landing
from classic_cars.sources.landing.text import LONGEST_LINE
from classic_cars.sources.scanner import MEMORY, literal

BATCH_ROWS = 122_880
#: Files copied at once: a bucket answers slowly, and hashing uses all cores.
THREADS = 8

Shape = Callable[[ibis.Table], ibis.Table]

#: One field of a CSV line, after the comma before it.
FIELD = r',("(?:[^"]|"")*"|[^",]*)'
NOT_BLANK = r"line NOT SIMILAR TO '\s*'"
CSV_LINE = r'(?:"(?:[^"]|"")*"|[^",]*)(?:,(?:"(?:[^"]|"")*"|[^",]*))*'


class Intake:
    """Copies of landed files, in a folder."""

    def __init__(self, landing: Landing, folder: Path, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._connection = interruptible(
            duckdb.connect(
                config={
                    "memory_limit": MEMORY,
                    "temp_directory": str(folder / "spill"),
                    # The number of a line is its place in the stream.
                    "preserve_insertion_order": True,
                    "autoinstall_known_extensions": False,
                }
            )
        )
        self._connection.execute("SET TimeZone = 'UTC'")  # of moments without a zone
        self._copier = Copier(landing, folder, columns, self._connection)

    def copies(self, files: Sequence[LandedFile]) -> list[Copy]:
        """The files, copied, in the same order; without those that changed since they were listed."""
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(self._copier.copy, range(len(files)), files))
        return [each for each in found if each is not None]

    def rows(self, copies: Sequence[Copy]) -> list[int]:
        """How many rows each of the copies has: its lines without header and blank ones."""
        if not copies:
            return []
        query = (
            f"SELECT path, count(*), count(*) FILTER (line NOT SIMILAR TO '\\s*') FROM ({_lines(copies)}) GROUP BY ALL"
        )
        counted = {path: (lines, rows) for path, lines, rows in self._connection.execute(query).fetchall()}
        found = []
        for each in copies:
            lines, rows = counted.get(str(each.path), (0, 0))
            if lines != each.lines:
                raise SourceError(
                    f"{each.file.name}: {each.lines:,} lines were copied and {lines:,} are read; move the file away "
                    "until this is understood"
                )
            found.append(rows - (1 if each.format == "csv" and rows else 0))
        return found

    def read(self, copies: Sequence[Copy], shape: Shape) -> pa.RecordBatchReader:
        """The rows of the copies, in the columns that ``shape`` makes of them."""
        backend = CompilingOnce.from_connection(self._connection)
        return self._connection.execute(backend.compile(shape(self._arriving(copies)))).to_arrow_reader(BATCH_ROWS)

    def digests(self, copies: Sequence[Copy], types: ibis.Schema) -> digests.Digests:
        """By content, the digest of the lines as they stand in the files; ``types``: what their values should be."""
        return digests.expected(self._arriving(copies), self._columns, types) if copies else {}

    def _arriving(self, copies: Sequence[Copy]) -> ibis.Table:
        """One row for each line, its values as texts."""
        files = pa.table({name: pa.array(values) for name, values in self._placed(copies).items()}) if copies else None
        if files is not None:
            self._connection.register("files", files)
        backend = CompilingOnce.from_connection(self._connection)
        return backend.sql(_rows(copies, self._columns) if copies else _nothing(self._columns))

    def _placed(self, copies: Sequence[Copy]) -> dict[str, list[Any]]:
        """What is known of each copy, as columns: where its lines begin in the stream, and where its values stand."""
        before, placed = 0, []
        for each in copies:
            position = {name: index for index, name in enumerate(each.columns, start=1)}
            is_csv = each.format == "csv"
            placed.append(
                {
                    "path": str(each.path),
                    "fileHash": each.hash,
                    "fileName": each.file.name,
                    "landedAt": each.file.landed,
                    "before": before,
                    "is_csv": is_csv,
                    "width": len(each.columns),
                    **{f"at_{name}": position.get(name, 0) if is_csv else 0 for name in self._columns},
                }
            )
            before += each.lines
        return {name: [each[name] for each in placed] for name in placed[0]}

    def close(self) -> None:
        self._connection.close()


@contextmanager
def intake(landing: Landing, scratch: Path, columns: Sequence[str]) -> Iterator[Intake]:
    """An intake that copies to a folder of its own below ``scratch``."""
    with own_folder(scratch, LANDING) as folder, closing(Intake(landing, folder, columns)) as opened:
        yield opened


def _lines(copies: Sequence[Copy]) -> str:
    """Every line of the copies, one after the other, as it is."""
    listed = ", ".join(literal(str(each.path)) for each in copies)
    return (
        f"SELECT filename AS path, line FROM read_csv([{listed}], columns = {{'line': 'VARCHAR'}}, "
        "auto_detect = false, header = false, new_line = '\\n', "
        "delim = '\x01', quote = '', escape = '', nullstr = '\x02', "
        f"max_line_size = {2 * LONGEST_LINE}, filename = true, hive_partitioning = false)"
    )


def _rows(copies: Sequence[Copy], columns: Sequence[str]) -> str:
    """One row for each line that is neither blank nor a header."""
    split = (
        "CASE WHEN NOT contains(line, '\"') THEN string_split(line, ',') "
        f"WHEN regexp_full_match(line, '{CSV_LINE}') "
        f"THEN list_transform(regexp_extract_all(',' || line, '{FIELD}', 1), "
        "lambda field: CASE WHEN starts_with(field, '\"') THEN replace(field[2:-2], '\"\"', '\"') ELSE field END) END"
    )
    values = ", ".join(
        f"CASE WHEN is_csv THEN nullif(fields[at_{name}], '') "
        f'WHEN is_object THEN json_extract_string(line, {literal(name)}) END AS "{name}"'
        for name in columns
    )
    return f"""
        WITH lines AS (SELECT row_number() OVER () AS place, * FROM ({_lines(copies)})),
        placed AS (
            SELECT lines.line, lines.place - files.before AS place, files.*
            FROM lines JOIN files USING (path)
            WHERE {NOT_BLANK} AND NOT (is_csv AND lines.place - files.before = 1)
        ),
        parsed AS (
            SELECT *,
                CASE WHEN is_csv THEN {split} END AS fields,
                CASE WHEN is_csv THEN false WHEN json_valid(line) THEN json_type(line) = 'OBJECT' ELSE false END
                    AS is_object
            FROM placed
        ),
        judged AS (SELECT * REPLACE (CASE WHEN len(fields) = width THEN fields END AS fields) FROM parsed)
        SELECT {values}, fileHash AS "fileHash", fileName AS "fileName", place::BIGINT AS "lineNumber",
            landedAt AS "landedAt",
            CASE WHEN fields IS NULL AND NOT is_object THEN '"_line": ' || to_json(line)::VARCHAR END AS "{RESCUED}"
        FROM judged"""


def _nothing(columns: Sequence[str]) -> str:
    """No rows, in the columns that arrive."""
    empty = dict.fromkeys(columns, "VARCHAR") | {name: _type(kind) for name, kind in LINE_COLUMNS.items()}
    return "SELECT " + ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in empty.items()) + " WHERE false"


def _type(kind: Any) -> str:
    return "VARCHAR" if kind.is_string() else "TIMESTAMP" if kind.is_timestamp() else "BIGINT"
