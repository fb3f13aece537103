"""What a database driver's error means: the class of ours that it is, in words that help, without the password."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

import duckdb
import pymysql

from classic_cars.errors import (
    SourceAccessDenied,
    SourceError,
    SourceMissing,
    SourceSchemaChanged,
    SourceUnreachable,
)
from classic_cars.sources.urls import SourceURL

#: MySQL and MariaDB error numbers and PostgreSQL SQLSTATEs.
DENIED = (1044, 1045, 1142, 1143, 1227, 1698, "28P01", "28000", "42501")
MISSING = (1049, 1146, "3D000", "42P01", "3F000")
CHANGED = (1054, "42703")
#: Server busy, gone, restarting, or out of connections; locks that somebody else holds.
PASSING = (1040, 1053, 1080, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1226, 2002, 2003, 2006, 2013, 2055)
PASSING_CLASSES = ("08", "53", "57P", "40", "55P03")
#: Words of SQLite and libpq, for errors without a code.
DENIED_WORDS = ("password authentication failed", "no password supplied", "permission denied", "no pg_hba.conf entry")
MISSING_WORDS = ("no such table", "unable to open database", "not a database", "does not exist", "is malformed")
CHANGED_WORDS = ("no such column",)
READONLY = "readonly database"
PASSING_WORDS = (
    *("connect", "resolve host", "translate host", "socket", "closed", "terminat", "gone away"),
    *("timed out", "timeout", "locked", "deadlock", "disk i/o", "eof detected", "too many"),
    *("starting up", "shutting down", "shutdown", "recovery", "serialize access"),
    READONLY,  # a reader of a SQLite file that met a commit halfway
)

FIX = {
    SourceAccessDenied: "check user and password in CLASSIC_CARS_SOURCE_URL, and that the user may SELECT from the "
    "eight tables of classicmodels",
    SourceMissing: "expected the eight tables of classicmodels; check the database in CLASSIC_CARS_SOURCE_URL; to make "
    "one to play with: `classic-cars shop create`",
    SourceSchemaChanged: "the order system's tables are not those of the contract "
    "(classic_cars/contracts/order_system.py)",
    SourceUnreachable: "check host and port in CLASSIC_CARS_SOURCE_URL, that the server runs and that a firewall lets "
    "this machine in",
    SourceError: "this failure is not transient: fix what the message names, then run again",
}

#: What servers say of a table that another session keeps to itself, by number and in words.
LOCKED = (1205, "55P03")
LOCKED_WORDS = ("lock wait timeout", "lock timeout")
FIX_LOCKED = "another session keeps a table locked: run again when it has ended"
FIX_FILE = (
    "another program holds the file, or its disk does not answer: run again when that is over; with a write-ahead log "
    "(PRAGMA journal_mode = WAL) readers do not wait for writers"
)
FIX_READ = "let this user read the file"
FIX_WRITE = (
    "this user may not write there: beside a shop with a write-ahead log that nobody has open, SQLite makes two files "
    "before it reads; let this user write the folder and the file, or keep the shop's own program running"
)
#: What servers say of a question that took longer than it may.
SLOW = (1969, 3024, "57014")
FIX_SLOW = "the order system is slow, or busy with something else: run again when it has less to do"
#: The query as a scanner quotes it, before what the server says, and after that the scanner's own.
QUOTED_QUERY = re.compile(r"(Failed to [\w ]+) \".*?\": ", re.DOTALL)
SCANNERS_OWN = re.compile(r"\s*\nLINE \d+:.*", re.DOTALL)

#: The permission without which MariaDB and MySQL do not tell the columns of a view.
VIEWS = "SHOW VIEW"
FIX_VIEWS = (
    "the order system's tables are views there, and the user of CLASSIC_CARS_SOURCE_URL may SELECT from them but not "
    "see their columns: GRANT SHOW VIEW on the eight tables of classicmodels to it, too"
)


def translate_error(error: BaseException, url: SourceURL) -> SourceError:
    """The error of ours that a driver's error means."""
    if isinstance(error, SourceError):
        return error
    cause = getattr(error, "orig", None) or error
    kind, text = _kind(cause), scrubbed(_text(cause), url)
    if url.is_sqlite and (refused := _refused(cause, url.path)):
        return SourceAccessDenied(f"{url}: {text}; {refused}")
    held = kind is SourceUnreachable and url.is_sqlite
    return kind(f"{url}: {text}; {FIX_FILE if held else _fix(kind, _code(cause), text)}")


def _refused(cause: BaseException, path: Path) -> str:
    """What helps a user who may not do with a file what reading it takes; empty where that is not the reason."""
    if os.access(path, os.F_OK) and not os.access(path, os.R_OK):
        return FIX_READ
    may_write = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    return FIX_WRITE if READONLY in str(cause).lower() and not may_write else ""


def _fix(kind: type[SourceError], code: int | str | None, text: str) -> str:
    if VIEWS in text.upper():
        return FIX_VIEWS
    if code in LOCKED:
        return FIX_LOCKED
    return FIX_SLOW if code in SLOW else FIX[kind]


def _kind(cause: BaseException) -> type[SourceError]:
    code = _code(cause)
    by_code: tuple[tuple[type[SourceError], bool], ...] = (
        (SourceAccessDenied, code in DENIED),
        (SourceSchemaChanged, code in CHANGED),
        (SourceMissing, code in MISSING),
        (SourceUnreachable, code in PASSING or str(code).startswith(PASSING_CLASSES)),
    )
    by_words = (
        (SourceAccessDenied, DENIED_WORDS),
        (SourceSchemaChanged, CHANGED_WORDS),
        (SourceMissing, MISSING_WORDS),
        (SourceUnreachable, PASSING_WORDS),
    )
    if code is not None:
        return next((kind for kind, meant in by_code if meant), SourceError)
    if isinstance(cause, OSError):
        return SourceUnreachable
    text = str(cause).lower()
    return next((kind for kind, words in by_words if any(each in text for each in words)), SourceError)


def lost_connection(error: BaseException, url: SourceURL) -> bool:
    """Whether a scanner's error says that the order system went away for a while, and not that a value is bad."""
    if isinstance(error, UnicodeError):
        return False
    is_answer = is_refused(error) or "ERROR:" in str(error)
    if isinstance(error, duckdb.IOException | OSError) and not url.is_sqlite and not is_answer:
        return True
    text = re.sub(r"\"[^\"]*\"|'[^']*'", "", _without_query(str(error))).lower()
    return any(words in text for words in PASSING_WORDS)


def is_refused(error: BaseException) -> bool:
    """Whether a scanner's error is what the server said of the query itself."""
    return QUOTED_QUERY.search(str(error)) is not None


def is_locked(error: BaseException) -> bool:
    """Whether a scanner's error says that another session holds a lock."""
    text = _without_query(str(error)).lower()
    return any(words in text for words in LOCKED_WORDS)


def said_by_scanner(error: BaseException, url: SourceURL) -> str:
    """A scanner's message in one line, without the query, the values and the password that it quotes."""
    text = " ".join(without_values(scrubbed(_without_query(str(error)), url)).split())
    return text[:300] or type(error).__name__


def _without_query(text: str) -> str:
    return SCANNERS_OWN.sub("", QUOTED_QUERY.sub(r"\1: ", text))


def _code(cause: BaseException) -> int | str | None:
    if isinstance(cause, pymysql.err.MySQLError) and cause.args:
        return cause.args[0]
    return getattr(cause, "sqlstate", None)


def _text(cause: BaseException) -> str:
    if isinstance(cause, pymysql.err.MySQLError) and len(cause.args) > 1:
        return str(cause.args[1])
    lines = [line.strip() for line in str(cause).strip().splitlines() if line.strip()]
    return lines[0][:400] if lines else type(cause).__name__


def scrubbed(text: str, url: SourceURL) -> str:
    """``text`` without the password, should a driver have quoted it, however it was quoted."""
    password = url.url.password
    if not password:
        return text
    plain = str(password)
    backslashed = plain.replace("\\", "\\\\").replace("'", "\\'")
    doubled = plain.replace("'", "''")
    for spelling in (plain, backslashed, doubled, quote(plain, safe=""), quote(plain), repr(plain)[1:-1]):
        text = text.replace(spelling, "***")
    return text


#: An apostrophe of English: after two letters, and before the end of a contraction.
_APOSTROPHE = r"(?<=[A-Za-z]{2})'(?:t|s|re|ve|ll|d|m)\b"
_QUOTED = re.compile(rf"""(?!{_APOSTROPHE})["'](.*["']|.*$)""", re.DOTALL)


def without_values(text: str) -> str:
    """``text`` without what stands in quotes: engines quote the value they stumbled over; it may be somebody's.

    From the first quote to the last one: a value may have quotes of its own, which engines leave as they are.
    """
    return _QUOTED.sub("'…'", text)
