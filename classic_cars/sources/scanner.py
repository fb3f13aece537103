"""DuckDB's scanners for the order system's databases: signed extensions from wheels, attached read-only.

A private in-memory database streams the order system's rows as Arrow batches with bounded memory. What is
asked is decided in ``order_system``; here is how it is asked.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
import sqlalchemy as sa

from classic_cars.contracts.base import RESCUED
from classic_cars.errors import SourceError
from classic_cars.interrupts import interruptible
from classic_cars.sources.urls import SourceURL

ATTACHED = "order_system"
#: Beside the store's memory; a stream needs little.
MEMORY = "400MB"
#: What :func:`lent` keeps for the next: one at most, with nothing attached.
_idle: list[duckdb.DuckDBPyConnection] = []


def connected(name: str) -> duckdb.DuckDBPyConnection:
    """A private database with one of DuckDB's scanners; nothing is attached yet. Raises ``duckdb.Error``."""
    connection = interruptible(
        duckdb.connect(
            config={"memory_limit": MEMORY, "preserve_insertion_order": False, "autoinstall_known_extensions": False}
        )
    )
    try:
        connection.execute(f"LOAD {literal(str(extension(name)))}")
    except BaseException:
        connection.close()
        raise
    return connection


def attached(
    name: str,
    target: str,
    options: str = "READ_ONLY",
    *,
    first: Iterable[str] = (),
    connection: duckdb.DuckDBPyConnection | None = None,
) -> duckdb.DuckDBPyConnection:
    """The same, or one from before, with an order system attached as the current database, after some statements."""
    connection = connected(name) if connection is None else connection
    try:
        for statement in first:
            connection.execute(statement)
        connection.execute(f"ATTACH {literal(target)} AS {ATTACHED} (TYPE {name}, {options})")
        connection.execute(f"USE {ATTACHED}")
    except BaseException:
        connection.close()
        raise
    return connection


def detach(connection: duckdb.DuckDBPyConnection) -> None:
    """Ends the transaction and lets go of the order system. Raises ``duckdb.Error``."""
    for statement in ("ROLLBACK", "USE memory", f"DETACH {ATTACHED}"):
        connection.execute(statement)


def closed(connection: duckdb.DuckDBPyConnection) -> None:
    """Ends the transaction, if there is one, and closes: a scanner whose server is gone meanwhile says so of a ROLLBACK
    that it is told, and ends the whole process over one that closing begins."""
    with suppress(duckdb.Error):
        connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def lent(
    attach: Callable[[duckdb.DuckDBPyConnection | None], duckdb.DuckDBPyConnection],
) -> Iterator[duckdb.DuckDBPyConnection]:
    """One with a file attached, for one question after the other: loading a scanner takes longer than most of them.

    Whatever fails, it is closed, and the next question has a new one.
    """
    waiting = None
    with suppress(IndexError):  # another thread may have taken it
        waiting = _idle.pop()
    connection = attach(waiting)
    try:
        yield connection
        detach(connection)
    except BaseException:
        connection.close()
        raise
    if _idle:
        connection.close()
    else:
        _idle.append(connection)


def attached_server(
    name: str, url: SourceURL, options: dict[str, str], first: Iterable[str] = ()
) -> duckdb.DuckDBPyConnection:
    # A secret takes any character, where a connection string would need quoting of its own.
    login = ", ".join(f"{key} {literal(value)}" for key, value in url.credentials().items())
    secret = f"CREATE SECRET order_system_login (TYPE {name}, {login})"
    text = " ".join(f"{key}={value}" for key, value in options.items())
    return attached(name, text, "READ_ONLY, SECRET order_system_login", first=[*first, secret])


def pushed_down(name: str, query: str) -> str:
    """A query that the order system's own engine executes: with its keys, and with its own idea of text."""
    return f"SELECT * FROM {name}_query('{ATTACHED}', {literal(query)})"


def literal(text: str) -> str:
    """``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def extension(name: str) -> Path:
    """DuckDB's signed scanner extension, from its wheel: nothing is downloaded."""
    wheel = f"duckdb-extension-{name}-scanner"
    package = importlib.util.find_spec(f"duckdb_extension_{name}_scanner")
    if package is None or package.origin is None:
        raise SourceError(f"DuckDB's {name} scanner is missing: pip install {wheel}=={duckdb.__version__}")
    file = f"{name}_scanner.duckdb_extension"
    found = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}" / file
    if not found.is_file():
        raise SourceError(f"{found} is missing: pip install {wheel}=={duckdb.__version__}, the version of DuckDB")
    return found


def validated(arriving: ibis.Table, table: sa.Table) -> ibis.Table:
    """SQLite's texts, which may hold any bytes: those that are not UTF-8 move to ``_rescued_data`` as digits."""
    columns: dict[str, ir.Value] = {}
    undecodable = []
    for name in arriving.columns:
        columns[name] = raw = arriving[name]
        if not raw.type().is_string():
            continue
        if name in table.columns and isinstance(table.columns[name].type, sa.LargeBinary):
            columns[name] = _encode(raw)
            continue
        columns[name] = text = decoded(raw)
        if name not in table.columns:
            continue  # an order's date beside its lines: it is the order that is broken
        digits = ibis.literal(f'"{name}": "x') + hexadecimal(raw) + '"'
        undecodable.append(ibis.ifelse(raw.notnull() & text.isnull(), digits, None))
    if not undecodable:
        return arriving.select(**columns)
    return arriving.select(**columns, **{RESCUED: ibis.literal(", ").join(undecodable).nullif("")})


def decoded(raw: ir.Value) -> ir.StringValue:
    """A text of SQLite's if it is UTF-8, NULL otherwise."""
    return _try(_decode(_encode(raw)))


def hexadecimal(raw: ir.Value) -> ir.StringValue:
    """The bytes of a text of SQLite's as digits."""
    return _hex(_encode(raw))


# DuckDB's own functions, for the reading engine only.
@ibis.udf.scalar.builtin(name="encode")
def _encode(text: str) -> bytes:  # type: ignore[empty-body]
    ...


@ibis.udf.scalar.builtin(name="decode")
def _decode(raw: bytes) -> str:  # type: ignore[empty-body]
    ...


@ibis.udf.scalar.builtin(name="hex")
def _hex(raw: bytes) -> str:  # type: ignore[empty-body]
    ...


@ibis.udf.scalar.builtin(name="try")
def _try(text: str) -> str:  # type: ignore[empty-body]
    ...
