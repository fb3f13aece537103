"""What a database driver's error means: the class of ours that it is, in words that help, without the password."""

from __future__ import annotations

import re

import pymysql
import sqlalchemy as sa

from classic_cars.errors import (
    SourceAccessDenied,
    SourceError,
    SourceMissing,
    SourceSchemaChanged,
    SourceUnreachable,
)
from classic_cars.sources.urls import SourceURL

#: MySQL and MariaDB error numbers; PostgreSQL SQLSTATEs; words of SQLite's and libpq's messages.
DENIED = (1044, 1045, 1142, 1143, 1227, 1698, "28P01", "28000", "42501")
MISSING = (1049, 1146, "3D000", "42P01")
CHANGED = (1054, "42703")
DENIED_WORDS = ("password authentication failed", "no password supplied", "permission denied", "access denied")
MISSING_WORDS = ("no such table", "unable to open database", "not a database", "does not exist", "is malformed")
CHANGED_WORDS = ("no such column",)

MEND = {
    SourceAccessDenied: "check user and password in CLASSIC_CARS_SOURCE_URL, and that the user may SELECT from the "
    "eight tables of classicmodels",
    SourceMissing: "check the database in CLASSIC_CARS_SOURCE_URL; to make one to play with: `classic-cars shop create`",
    SourceSchemaChanged: "the order system's tables are not those of the contract; see docs/operations.md",
    SourceUnreachable: "check host and port in CLASSIC_CARS_SOURCE_URL, that the server runs and that a firewall lets "
    "this machine in",
    SourceError: "see the message",
}


def translated(error: BaseException, url: SourceURL) -> SourceError:
    """The error of ours that a driver's error means."""
    cause = getattr(error, "orig", None) or error
    kind = _kind(cause)
    return kind(f"{url}: {scrubbed(_text(cause), url)}; {MEND[kind]}")


def _kind(cause: BaseException) -> type[SourceError]:
    code = _code(cause)
    text = str(cause).lower()
    if code in DENIED or any(words in text for words in DENIED_WORDS):
        return SourceAccessDenied
    if code in CHANGED or any(words in text for words in CHANGED_WORDS):
        return SourceSchemaChanged
    if code in MISSING or any(words in text for words in MISSING_WORDS):
        return SourceMissing
    if isinstance(cause, sa.exc.ProgrammingError | pymysql.err.ProgrammingError):
        return SourceError
    return SourceUnreachable


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
    """``text`` without the password, should a driver have quoted it."""
    password = url.url.password
    return text.replace(str(password), "***") if password else text


def without_values(text: str) -> str:
    """``text`` without what stands in quotes: engines quote the value they stumbled over; it may be somebody's."""
    return re.sub(r"\"[^\"]*\"|'[^']*'", "'…'", text)
