"""Kill runs of the platform at chosen moments: ``python -m classic_cars_tests.end_to_end.killing < plan.json``.

The platform is imported once; every attempt is a fork of that process, so that fifty of them are quick. The
plan is a list of attempts; the answer, on standard output, is one line of JSON for each: what became of it and
what the store then held.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from classic_cars.runs import execute
from classic_cars.settings import Settings
from classic_cars.stores.base import Staged, Transaction
from classic_cars.stores.duckdb.transaction import DuckDBTransaction
from classic_cars.stores.iceberg.transaction import IcebergTransaction
from classic_cars_tests import remembered, shared_sql
from classic_cars_tests.platform import fingerprint


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_publish(attempt: dict[str, Any]) -> None:
    """Let the process kill itself in its ``attempt["publish"]``-th publish."""
    kind: Any = IcebergTransaction if settings_of(attempt).store == "iceberg" else DuckDBTransaction
    original, count = kind.publish, 0

    def publish(tx: Transaction, staged: Staged) -> None:
        nonlocal count
        count += 1
        dies = count == attempt["publish"]
        if dies and attempt["moment"] == "before":
            kill_self()
        if dies and attempt["moment"] == "while":
            threading.Timer(attempt["seconds"], kill_self).start()
        original(tx, staged)
        if dies and attempt["moment"] == "after":
            kill_self()

    kind.publish = publish


def settings_of(attempt: dict[str, Any]) -> Settings:
    return Settings(home=Path(attempt["home"]), source_url=attempt["source_url"], store=attempt.get("store", "duckdb"))


def run(attempt: dict[str, Any]) -> None:
    """The child's work: one run, perhaps with death built in."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if "publish" in attempt:
        in_publish(attempt)
    report = execute(settings_of(attempt), attempt.get("select", []), ephemeral=not attempt.get("persistent", False))
    os._exit(0 if report.succeeded else 1)


def in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(70)
    return child


def attempted(attempt: dict[str, Any]) -> str:
    child = in_child(lambda: run(attempt))
    if "after" in attempt:
        deadline = time.monotonic() + attempt["after"]
        while time.monotonic() < deadline:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                break
            time.sleep(0.005)
        else:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
    else:
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed" if os.WTERMSIG(status) == signal.SIGKILL else f"signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"


def held(attempt: dict[str, Any]) -> dict[str, str]:
    """What the store holds, seen by another process: DuckDB's threads must not be in the one that forks."""
    read, write = os.pipe()

    def look() -> None:
        settings = settings_of(attempt)
        found = fingerprint(settings) if (settings.home / "store").exists() else {}
        os.write(write, json.dumps(found).encode())
        os._exit(0)

    child = in_child(look)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"the store cannot be read after {attempt}")
    return json.loads(text)


if __name__ == "__main__":
    remembered.install()
    shared_sql.share()
    remembered.work_out_the_catalog()
    remembered.live_long()
    for each in json.load(sys.stdin):
        shared_sql.catch_up()
        outcome = attempted(each)
        print(json.dumps({"outcome": outcome, "held": held(each)}), flush=True)
