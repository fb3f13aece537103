"""What may pass is tried again, what may not is said at once; no message holds the password or a value."""

import os
import re
import sqlite3
from pathlib import Path
from urllib.parse import quote

import duckdb
import psycopg
import pymysql
import pytest

from classic_cars.errors import (
    SettingsError,
    SourceAccessDenied,
    SourceError,
    SourceMissing,
    SourceSchemaChanged,
    SourceUnreachable,
)
from classic_cars.sources import retries
from classic_cars.sources.errors import lost_connection, said_by_scanner, translate_error, without_values
from classic_cars.sources.urls import SourceURL
from classic_cars_shop.servers import PASSWORD

URL = SourceURL.parse(f"postgresql://reader:{quote(PASSWORD, safe='')}@db.example:5433/classicmodels")
LITE = SourceURL.parse("sqlite:////data/shop.sqlite")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pymysql.err.OperationalError(1045, "Access denied"), SourceAccessDenied),
        (pymysql.err.OperationalError(1142, "SELECT command denied"), SourceAccessDenied),
        (pymysql.err.OperationalError(1049, "Unknown database"), SourceMissing),
        (pymysql.err.ProgrammingError(1146, "Table doesn't exist"), SourceMissing),
        (pymysql.err.OperationalError(1054, "Unknown column"), SourceSchemaChanged),
        (pymysql.err.OperationalError(1040, "Too many connections"), SourceUnreachable),
        (pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"), SourceUnreachable),
        (pymysql.err.OperationalError(2006, "Server has gone away"), SourceUnreachable),
        (pymysql.err.OperationalError(2013, "Lost connection"), SourceUnreachable),
        (pymysql.err.ProgrammingError(1064, "You have an error in your SQL syntax"), SourceError),
        (pymysql.err.DataError(1366, "Incorrect value"), SourceError),
        (psycopg.errors.InsufficientPrivilege(), SourceAccessDenied),
        (psycopg.errors.UndefinedTable(), SourceMissing),
        (psycopg.errors.UndefinedColumn(), SourceSchemaChanged),
        (psycopg.errors.TooManyConnections(), SourceUnreachable),
        (psycopg.errors.AdminShutdown(), SourceUnreachable),
        (psycopg.errors.LockNotAvailable(), SourceUnreachable),
        (psycopg.errors.UndefinedFunction("operator does not exist: text >= date"), SourceError),
        (psycopg.OperationalError("failed to resolve host 'db.example'"), SourceUnreachable),
        (psycopg.OperationalError('FATAL: password authentication failed for user "x"'), SourceAccessDenied),
        (psycopg.OperationalError('FATAL: database "x" does not exist'), SourceMissing),
        (sqlite3.OperationalError("database is locked"), SourceUnreachable),
        (sqlite3.OperationalError("no such table: orders"), SourceMissing),
        (sqlite3.OperationalError("no such column: orders.status"), SourceSchemaChanged),
        (sqlite3.DatabaseError("file is not a database"), SourceMissing),
        (sqlite3.OperationalError("integer overflow"), SourceError),
        (ConnectionResetError("reset by peer"), SourceUnreachable),
    ],
    ids=lambda value: str(value) if isinstance(value, Exception) else None,
)
def test_each_failure_has_its_kind(error: Exception, kind: type[SourceError]) -> None:
    found = translate_error(error, URL)
    assert type(found) is kind
    assert found.retryable is (kind is SourceUnreachable)
    assert str(found).startswith("postgresql://reader:***@db.example:5433/classicmodels: ")


def test_a_file_that_is_locked_has_no_host_and_no_firewall() -> None:
    said = str(translate_error(sqlite3.OperationalError("database is locked"), LITE))
    assert "another program holds the file" in said
    assert "host" not in said


@pytest.mark.parametrize(
    ("error", "lacking", "said"),
    [
        (PermissionError(13, "Permission denied", "shop.sqlite"), os.R_OK, "let this user read the file"),
        (sqlite3.OperationalError("unable to open database file"), os.R_OK, "let this user read the file"),
        (
            sqlite3.OperationalError("attempt to write a readonly database"),
            os.W_OK,
            "write-ahead log .* write the folder",
        ),
    ],
)
def test_a_file_that_this_user_may_not_read_or_write_beside_is_held_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, lacking: int, said: str
) -> None:
    (tmp_path / "shop.sqlite").touch()
    url = SourceURL.parse(f"sqlite:///{tmp_path / 'shop.sqlite'}")
    monkeypatch.setattr(os, "access", lambda _, how: how != lacking)
    assert isinstance(found := translate_error(error, url), SourceAccessDenied)
    assert re.search(said, str(found))
    assert "holds the file" not in str(found)
    monkeypatch.setattr(os, "access", lambda *_: True)
    assert isinstance(translate_error(sqlite3.OperationalError("readonly database"), url), SourceUnreachable)


@pytest.mark.parametrize("spelling", [PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), repr(PASSWORD)[1:-1]])
def test_a_password_that_a_driver_quotes_is_not_shown(spelling: str) -> None:
    shown = str(translate_error(psycopg.OperationalError(f"cannot connect with password={spelling}"), URL))
    assert spelling not in shown
    assert "password=***" in shown


def test_the_urls_texts_hide_the_password() -> None:
    assert PASSWORD not in f"{URL} {URL!r}"
    assert quote(PASSWORD, safe="") not in f"{URL} {URL!r}"


@pytest.mark.parametrize(
    "text", ["oracle://u:secret@h/d", "u:secret@h/d", "mysql://u:secret@h:port/d", "postgresql://u:secret@h", ""]
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(SettingsError, match="CLASSIC_CARS_SOURCE_URL") as refused:
        SourceURL.parse(text)
    assert "secret" not in str(refused.value)


def test_a_relative_sqlite_path_starts_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert SourceURL.parse("sqlite:///a/shop.sqlite").path == tmp_path / "a" / "shop.sqlite"
    assert SourceURL.parse("sqlite:////a/shop.sqlite").path == Path("/a/shop.sqlite")


def test_options_of_the_url_reach_the_connection() -> None:
    options = SourceURL.parse("postgresql://u@h/d?sslmode=require&connect_timeout=9").options()
    assert options["sslmode"] == "require"
    assert options["connect_timeout"] == "9"


def test_a_scanners_message_is_one_line_without_values() -> None:
    error = duckdb.ConversionException("Conversion Error: invalid date: \"Jane's\n\tsecret\"\n\nLINE 1: SELECT 'x'")
    assert "Jane" not in said_by_scanner(error, URL)
    assert "\n" not in said_by_scanner(error, URL)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Could not convert string 'Bob O'Neil 0171 23' to INT32", "Could not convert string '…' to INT32"),
        ("Could not convert string 'Bob\nO'Neil' to INT32", "Could not convert string '…' to INT32"),
        ('invalid input for type integer: "5 "feet""', "invalid input for type integer: '…'"),
        ("value 'Bob is cut o", "value '…'"),
        ("Could not convert b'Mary Smith' with type bytes", "Could not convert b'…' with type bytes"),
        ("bad value _utf8mb4'Mary' or 12'Jane'", "bad value _utf8mb4'…'"),
        ("don't read the table's rows from 'Jane'", "don't read the table's rows from '…'"),
    ],
)
def test_nothing_of_a_value_with_quotes_of_its_own_is_left(said: str, shown: str) -> None:
    assert without_values(said) == shown


def test_a_value_that_speaks_of_connections_is_no_lost_connection() -> None:
    assert not lost_connection(duckdb.ConversionException("Conversion Error: bad date 'connection closed'"), LITE)
    assert not lost_connection(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "closed"), URL)
    assert lost_connection(duckdb.IOException("IO Error: Failed to fetch result row"), URL)
    assert lost_connection(duckdb.Error("database is locked"), LITE)


@pytest.mark.parametrize(
    ("said", "is_lost", "shown"),
    [
        ("Failed to prepare MySQL query \"SELECT 1\": 'd.t.day' isn't in GROUP BY", False, "isn't in GROUP BY"),
        ('Failed to prepare MySQL query "SELECT 1": Lost connection to server during query', True, "Lost connection"),
        ('Failed to execute MySQL query "SELECT 1": Lock wait timeout exceeded', True, "query: Lock wait timeout"),
        ("Failed to fetch header for COPY: ERROR:  division by zero", False, "division by zero"),
        ('Failed to prepare COPY "COPY (x)": FATAL:  the database system is shutting down', True, "shutting down"),
        ("Failed to fetch result row", True, "result row"),
    ],
)
def test_what_a_server_says_of_a_query_is_no_lost_connection(said: str, is_lost: bool, shown: str) -> None:
    error = duckdb.IOException(f"IO Error: {said}\n\nLINE 1: SELECT * FROM mysql_query('order_system', 'SELECT 1')\n ^")
    assert lost_connection(error, URL) is is_lost
    assert "SELECT" not in said_by_scanner(error, URL)
    assert shown.removeprefix("isn't") in said_by_scanner(error, URL)


def test_a_value_in_what_a_server_says_of_a_query_is_not_shown() -> None:
    said = 'Failed to prepare query "SELECT 1": ERROR:  invalid input syntax for type date: "Jane": at home"'
    assert "home" not in said_by_scanner(duckdb.IOException(said), URL)


def failing(times: int, error: Exception) -> tuple[list[int], object]:
    """A question that fails the first ``times`` times, and the list of its attempts."""
    attempts: list[int] = []

    def ask() -> str:
        attempts.append(1)
        if len(attempts) <= times:
            raise error
        return "answer"

    return attempts, ask


def test_a_passing_failure_is_tried_again() -> None:
    attempts, ask = failing(2, SourceUnreachable("gone"))
    assert retries.retry_transient(ask) == "answer"
    assert len(attempts) == 3


def test_a_lasting_failure_is_not_tried_again() -> None:
    attempts, ask = failing(1, SourceAccessDenied("no"))
    with pytest.raises(SourceAccessDenied, match="no"):
        retries.retry_transient(ask)
    assert len(attempts) == 1


def test_a_failure_that_does_not_pass_is_given_up() -> None:
    attempts, ask = failing(99, SourceUnreachable("gone"))
    with pytest.raises(SourceUnreachable, match="gone"):
        retries.retry_transient(ask)
    assert len(attempts) == retries.ATTEMPTS


def test_an_error_that_is_not_ours_is_not_tried_again() -> None:
    attempts, ask = failing(1, KeyError("bug"))
    with pytest.raises(KeyError):
        retries.retry_transient(ask)
    assert len(attempts) == 1
