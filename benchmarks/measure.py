"""Run a variant in a process of its own and see what it took: seconds and peak memory of the whole process.

The measuring process stays small (standard library only): a child's peak counts from its parent's size on.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Measured:
    """What a process took. ``facts``: what it reported itself; ``failure``: empty when it did its work."""

    seconds: float
    cpu: float
    peak_mb: float
    facts: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


def run(variant: str, *arguments: object, env: Mapping[str, str] | None = None, limit_gb: float = 0) -> Measured:
    """Run ``python -m benchmarks.variants VARIANT ARGUMENTS...`` and wait for it.

    ``limit_gb``: address space that the process may have; asking for more fails in it.
    """
    command = [sys.executable, "-m", "benchmarks.variants", variant, *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as complaints:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdout=out,
            stderr=complaints,
            preexec_fn=_limit(limit_gb),
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        complaints.seek(0)
        last = out.read().strip().rpartition("\n")[2]
        failure = _failure(process.returncode, complaints.read()) if process.returncode else ""
    facts = json.loads(last) if last.startswith("{") else {}
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, facts, failure)


def _limit(gigabytes: float) -> Any:
    size = int(gigabytes * 2**30)
    return (lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))) if size else None


def _failure(code: int, complaints: str) -> str:
    words = (
        "MemoryError",
        "OutOfMemory",
        "Unable to allocate",
        "bad_alloc",
        "Cannot allocate memory",
        "malloc of size",
    )
    if code == -9 or any(word in complaints for word in words):
        return "out of memory"
    return f"failed with {code}: {complaints.strip()[-1500:]}"
