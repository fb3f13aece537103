"""Questions in SQL, each answered by a worker of its own from an extract, within limits that it cannot get around."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from classic_cars.assistants.extract import Extract
from classic_cars.errors import QuestionError, StoreError
from classic_cars.stores.sql import first_line, one_query
from classic_cars.wording import told_apart

WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Limits:
    """What one answer may take: rows, characters of columns and rows, seconds, bytes of DuckDB memory, threads."""

    rows: int = 200
    characters: int = 200_000
    seconds: float = 20.0
    memory: int = 512 * 10**6
    threads: int = 2


@dataclass(frozen=True)
class Result:
    """Columns with their types, and the rows as JSON has them. ``more``: there were more rows than may be told."""

    columns: dict[str, str]
    rows: list[list[Any]]
    more: bool


def answered(extract: Extract, sql: str, limits: Limits) -> Result:
    """The answer to one SELECT. Raises ``QuestionError``: a sentence without values, paths or secrets."""
    question = {
        "sql": _one_query(sql),
        "file": extract.file.fileno(),
        "rows": limits.rows,
        "characters": limits.characters,
        "seconds": limits.seconds,
        "memory": limits.memory,
        "threads": limits.threads,
    }
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-I", str(WORKER)],
            input=json.dumps(question).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            pass_fds=(extract.file.fileno(),),
            timeout=limits.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise QuestionError(
            f"the question takes longer than the {limits.seconds:g} seconds that an answer may; aggregate first, or "
            "ask for a shorter period"
        ) from None
    return _result(done, limits)


def _one_query(sql: str) -> str:
    """The statement, when the engine's own parser says that it is one that reads."""
    if "\0" in sql:
        raise QuestionError("expected one SELECT, found a character that no text has (NUL)")
    try:
        statements = one_query(sql)
    except StoreError as error:
        raise QuestionError(str(error)) from None
    except duckdb.Error as error:
        message = str(error) if isinstance(error, duckdb.ParserException) else ""
        raise _refusal(type(error).__name__, message) from None
    return statements[0].query if len(statements) == 1 else sql


def _result(done: subprocess.CompletedProcess[bytes], limits: Limits) -> Result:
    try:
        said = json.loads(done.stdout)
    except ValueError:  # ended by the kernel, or by a fault of the engine
        raise _too_big(limits) from None
    if said.get("error") in ("OutOfMemoryException", "MemoryError"):
        raise _too_big(limits)
    if said.get("error") == "TooManyColumns":
        raise QuestionError(
            f"too many columns: their names and types alone are longer than the {limits.characters:,} characters that "
            "an answer may be; ask for fewer, or for rows instead of a PIVOT"
        )
    if "error" in said:
        raise _refusal(said["error"], said["message"])
    if said["more"] and not said["rows"]:
        raise QuestionError(
            f"a row of the answer, with the names of its columns, is longer than {limits.characters:,} characters; ask "
            "for less of it"
        )
    columns = dict(zip(told_apart(said["columns"]), said["types"], strict=True))
    return Result(columns, said["rows"], said["more"])


def _too_big(limits: Limits) -> QuestionError:
    return QuestionError(
        f"the question takes more than the {limits.memory // 10**6:,} MB of memory that an answer may; aggregate "
        "first, or ask for a shorter period"
    )


#: By the engine's kind of error, what an assistant is told: the message itself may hold values.
_SAID = {
    "ConversionException": "a value cannot be converted to the type that was asked for; TRY_CAST gives NULL instead",
    "OutOfRangeException": "a number is too big for its type; cast to a bigger one first",
    "PermissionException": "only the tables of the release can be read: no files, extensions, settings or other data",
}


def _refusal(kind: str, message: str) -> QuestionError:
    if message:
        return QuestionError(first_line(message))
    return QuestionError(_SAID.get(kind, "the engine refuses the question; ask it another way"))
