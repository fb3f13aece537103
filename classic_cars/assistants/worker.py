"""A process that answers one question from the database that it inherits as an opened file, and ends.

Started by ``sandbox`` with an empty environment. Knows nothing of the platform: it imports DuckDB alone, and DuckDB
may read that one file. The kernel lets it write no file, and take no more memory and processor time than it was told.
Reads a question as JSON from standard input, writes the answer as JSON to standard output.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import duckdb

#: Beside DuckDB's own memory: Python, the program's code, and stacks.
_BESIDE = 2**31


def main() -> None:
    question = json.load(sys.stdin)
    _bound(question)
    try:
        answer = _answer(question)
    except duckdb.Error as error:
        # Of the catalog and of grammar, the message has names and what was asked; of others it may have values.
        named = isinstance(error, duckdb.CatalogException | duckdb.BinderException | duckdb.ParserException)
        answer = {"error": type(error).__name__, "message": str(error) if named else ""}
    except (MemoryError, RecursionError) as error:
        answer = {"error": type(error).__name__, "message": ""}
    sys.stdout.write(json.dumps(answer, ensure_ascii=True, allow_nan=False))


def _bound(question: dict[str, Any]) -> None:
    seconds, memory = math.ceil(question["seconds"]), question["memory"]
    for kind, most in (
        (resource.RLIMIT_AS, memory + _BESIDE),
        (resource.RLIMIT_CPU, (seconds + 1) * question["threads"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    connection = _connected(question)
    result = connection.execute(question["sql"])
    names = [each[0] for each in result.description or []]
    kinds = [str(each[1]) for each in result.description or []]
    rows: list[list[Any]] = []
    size, more = len(json.dumps([names, kinds])), False
    if size > question["characters"]:
        return {"error": "TooManyColumns", "message": ""}
    while (found := result.fetchone()) is not None:
        row = [_plain(value) for value in found]
        size += len(json.dumps(row))
        if len(rows) == question["rows"] or size > question["characters"]:
            more = True
            break
        rows.append(row)
    return {"columns": names, "types": kinds, "rows": rows, "more": more}


def _connected(question: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Sees the database of the inherited file and nothing else of the machine."""
    connection = duckdb.connect(
        config={
            "memory_limit": f"{question['memory']}B",
            "threads": question["threads"],
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
        }
    )
    connection.execute(f"ATTACH '/dev/fd/{int(question['file'])}' AS released (READ_ONLY)")
    connection.execute("USE released")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _plain(value: Any) -> Any:
    """As JSON has it: amounts as texts, so that every digit stays."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)


if __name__ == "__main__":
    main()
