"""The command line as tests call it: each call is a process of its own, forked from one that has imported everything.

Starting Python and importing the libraries takes seconds, and nothing of a call depends on it. What an installed
program does from its first line on is another matter: tests of starting, signals and kills start :data:`PROGRAM`.
Here live the forking process and its client; nothing of it knows what the commands do.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import select
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

#: The installed program.
PROGRAM = Path(sys.executable).parent / "classic-cars"
ROOT = Path(__file__).parents[1]
TIMEOUT = 120.0


def classic_cars(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Exit code and output of a command, with no setting but the home and those given."""
    (done,) = at_once(1, home, *arguments, **environment)
    return done


def at_once(count: int, home: Path, *arguments: str, **environment: str) -> list[subprocess.CompletedProcess[str]]:
    """The same of so many processes that carry out the same command, all begun before any is waited for."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLASSIC_CARS_")}
    return _Forks.running().call(count, arguments, {**clean, "CLASSIC_CARS_HOME": str(home), **environment})


class _Forks:
    """The forking process of this test process."""

    _running: _Forks | None = None

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        self._owner = os.getpid()
        atexit.register(self.close)

    @classmethod
    def running(cls) -> _Forks:
        if cls._running is None or cls._running._process.poll() is not None or cls._running._owner != os.getpid():
            cls._running = cls()
        return cls._running

    def call(
        self, count: int, arguments: tuple[str, ...], environment: dict[str, str]
    ) -> list[subprocess.CompletedProcess[str]]:
        with tempfile.TemporaryDirectory() as folder:
            files = [(Path(folder, f"out{number}"), Path(folder, f"err{number}")) for number in range(count)]
            asked = {
                "arguments": arguments,
                "environment": environment,
                "folder": str(Path.cwd()),
                "files": [(str(out), str(err)) for out, err in files],
            }
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(json.dumps(asked), file=self._process.stdin, flush=True)
            if not select.select([self._process.stdout], [], [], TIMEOUT)[0]:
                self.close()
                raise subprocess.TimeoutExpired(["classic-cars", *arguments], TIMEOUT)
            returned = json.loads(self._process.stdout.readline())
            return [
                subprocess.CompletedProcess(
                    ["classic-cars", *arguments], code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
                )
                for code, (out, err) in zip(returned, files, strict=True)
            ]

    def close(self) -> None:
        if self._owner == os.getpid() and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


# In the forking process ----------------------------------------------------------------------------------


def serve() -> None:
    """Carry out commands, one line of standard input for each, and answer with the exit codes of its processes."""
    from classic_cars_tests import shared_sql

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        asked, children = json.loads(line), []
        shared_sql.catch_up()
        for out, err in asked["files"]:
            child = os.fork()
            if child == 0:
                answers.close()
                work(asked, out, err)
            children.append(child)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in children]), file=answers)
        answers.flush()


def work(asked: dict[str, Any], out: str, err: str) -> NoReturn:
    """The child: from here on it is the program."""
    for descriptor, name in ((0, os.devnull), (1, out), (2, err)):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = ["classic-cars", *asked["arguments"]]
    from classic_cars.cli.main import main

    try:
        main(prog_name="classic-cars")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    # What Python does at its end, but not what C++ libraries do: they miss the threads that a fork leaves behind.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def import_everything() -> None:
    """What a command imports, and what is the same for all of them: nothing of it reads settings."""
    from classic_cars.cli.startup import quick_imports

    with quick_imports():
        for name in ("classic_cars", "classic_cars_shop"):
            package = importlib.import_module(name)
            for each in pkgutil.walk_packages(package.__path__, f"{name}."):
                if not each.name.endswith("__main__"):
                    importlib.import_module(each.name)
        from classic_cars_tests import remembered, shared_sql

    remembered.install()
    shared_sql.share()
    remembered.work_out_the_catalog()
    remembered.live_long()


if __name__ == "__main__":
    import_everything()
    serve()
