"""No traceback reaches a user: every command, however it is called and wherever it runs, ends with a sentence."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from classic_cars.cli.main import main
from classic_cars.settings import Settings
from classic_cars_tests.command_line import PROGRAM

#: Of every kind of thing that a command is given: numbers, paths, names, SQL, secrets.
TEXTS = (
    *("", " ", "-1", "0", "99999999999999999999", "1e309", "nan", "../..", "/proc/x", "/dev/null/x", "\x7f\x1b[31m"),
    *("'; DROP TABLE x; --", "[/bold]", "%s%n{0}", "ä\N{SNOWMAN}\N{PILE OF POO}", "x" * 5000, "a/b/c", "\udcff"),
)
#: Settings that are wrong, or right and useless.
ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {"CLASSIC_CARS_HOME": "/proc/x"},
    {"CLASSIC_CARS_HOME": "/dev/null/x"},
    {"CLASSIC_CARS_HOME": "x" * 5000},
    {"CLASSIC_CARS_DUCKDB_MEMORY": "lots"},
    {"CLASSIC_CARS_DUCKDB_MEMORY": "1KB"},
    {"CLASSIC_CARS_DUCKDB_THREADS": "99999999999999999999"},
    {"CLASSIC_CARS_SOURCE_URL": "postgres://reader:s3cret@127.0.0.1:1/db"},
    {"CLASSIC_CARS_SOURCE_URL": "mysql://reader:s3c@ret@127.0.0.1:99999/db?x=s3cret"},
    {"CLASSIC_CARS_SOURCE_URL": "mysql://reader:s3cret@[::1/db"},
    {"CLASSIC_CARS_SOURCE_URL": "mysql://reader:s3cret@127.0.0.1:port/db"},
    {"CLASSIC_CARS_SOURCE_URL": "sqlite:////dev/null/x"},
    {"CLASSIC_CARS_SOURCE_URL": "sqlite:////etc/passwd"},
    {"CLASSIC_CARS_SOURCE_URL": "sqlite:////"},
    {"CLASSIC_CARS_STORE": "iceberg", "CLASSIC_CARS_WAREHOUSE": "/proc/x"},
    {"CLASSIC_CARS_STORE": "iceberg", "CLASSIC_CARS_CATALOG_URI": "sqlte://s3cret@x@@"},
    {"CLASSIC_CARS_LANDING": "/proc/x/y"},
    {"CLASSIC_CARS_LANDING": "s3://"},
    {"CLASSIC_CARS_TIMEZONE": "../../etc/passwd"},
    {"CLASSIC_CARS_KEEP_DAYS": "1e9"},
    {"CLASSIC_CARS_QUERY_WAIT": "nan", "CLASSIC_CARS_CONNECT_TIMEOUT": "1"},
    {"CLASSIC_CARS_STORE_WAIT": "inf"},
    {"CLASSIC_CARS_ALERT_URLS": "s3cret"},
    {"CLASSIC_CARS_DAGSTER_CONFIG": "/proc/x"},
    {"CLASSIC_CARS_STOER": "iceberg"},
    {"COLUMNS": "1"},
    {"COLUMNS": "-5", "TERM": "dumb", "FORCE_COLOR": "1"},
)
#: Commands as a user types them, none of which changes anything.
PLAIN: tuple[tuple[str, ...], ...] = (
    *((name,) for name in ("run", "tables", "doctor")),
    ("describe", "fact_orders"),
    ("query", "SELECT 1"),
    ("incident", "0"),
    ("lake", "maintain"),
    ("shop", "mend"),
    ("export", "/proc/x"),
)
#: Other commands of the same kind are left to the texts: these would serve, or write where they are told.
UNSAFE = {"dev", "create", "load", "advance", "break"}


def commands(group: click.Group, *path: str) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        found += commands(command, *path, name) if isinstance(command, click.Group) else [((*path, name), command)]
    return found


def hostile_arguments() -> list[tuple[str, ...]]:
    """Every command with each text as its arguments, and as the value of each of its options."""
    calls: list[tuple[str, ...]] = []
    for path, command in commands(main):
        if path[-1] in UNSAFE:
            continue
        arguments = [each for each in command.params if isinstance(each, click.Argument)]
        options = [each for each in command.params if isinstance(each, click.Option) and not each.is_flag]
        for number, text in enumerate(TEXTS[2 * (path == ("run",)) :]):  # nothing means all tables there
            if arguments:
                calls.append((*path, "--", *[text] * len(arguments)))
            for option in options[number % len(options) :][:1] if options else []:
                named = [] if command.name == "docs" else ["x"] * sum(each.required for each in arguments)
                calls.append((*path, f"{option.opts[0]}={text}", *named))
    return calls


def ends_with_a_sentence(result: Result, call: object) -> None:
    said = f"{result.output}"
    unforeseen = result.exception is not None and not isinstance(result.exception, SystemExit)
    assert not unforeseen, (call, result.exc_info)
    assert result.exit_code in (0, 1, 2), (call, result.exit_code, said)
    assert "Traceback" not in said, (call, said)
    assert "unexpected " not in said, (call, said)
    assert "s3c" not in said, (call, said)
    assert result.exit_code == 0 or said.strip(), call


def runs_in(environment: dict[str, str]) -> bool:
    """Whether a run ends at once there; in these it reads the shop first, or has nothing to complain of."""
    return not {"CLASSIC_CARS_STORE", "CLASSIC_CARS_LANDING", "COLUMNS", "CLASSIC_CARS_STORE_WAIT"} & set(environment)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("CLASSIC_CARS_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.exhaustive
def test_every_command_with_hostile_arguments(published: Settings, here: Path):
    calls = hostile_arguments()
    for call in calls:
        result = CliRunner().invoke(main, call, env={"CLASSIC_CARS_HOME": str(published.home)})
        ends_with_a_sentence(result, call)
    assert len(calls) >= 200


@pytest.mark.exhaustive
def test_every_command_in_hostile_environments(published: Settings, here: Path):
    calls = [(call, each) for call, each in itertools.product(PLAIN, ENVIRONMENTS) if call != ("run",) or runs_in(each)]
    for call, environment in calls:
        home = {"CLASSIC_CARS_HOME": str(published.home)}
        ends_with_a_sentence(CliRunner().invoke(main, call, env=home | environment), (call, environment))
    assert len(calls) + len(hostile_arguments()) >= 400


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("classic-cars query 'SELECT 1' > /dev/full", 1),
        ("classic-cars query 'SELECT 1' --format csv > /dev/full", 1),
        ("classic-cars tables >&-", 2),
        ("classic-cars query 'FROM range(100000)' --format csv | head -1", 0),
        ("printf '\\377' | classic-cars query", 2),
        ("classic-cars dev --port 1 --host 203.0.113.1", 1),
    ],
)
def test_real_processes_end_with_a_sentence(published: Settings, here: Path, command: str, status: int):
    path = f"{PROGRAM.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CLASSIC_CARS_HOME": str(published.home)}
    ended = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert ended.returncode == status, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert status == 0 or ended.stderr.strip()
