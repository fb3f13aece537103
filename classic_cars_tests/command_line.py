"""The command line as tests call it: each call is a process of its own, forked from one that has imported everything.

Starting Python and importing the libraries takes seconds, and nothing of a call depends on it. What an installed
program does from its first line on is another matter: tests of starting, signals and kills start :data:`PROGRAM`.
Here live the forking process and its client; nothing of it knows what the commands do.
"""

from __future__ import annotations

import atexit
import gc
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
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLASSIC_CARS_")}
    return _Forks.running().call(arguments, {**clean, "CLASSIC_CARS_HOME": str(home), **environment})


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

    def call(self, arguments: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            asked = {
                "arguments": arguments,
                "environment": environment,
                "folder": str(Path.cwd()),
                "out": out.name,
                "err": err.name,
            }
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(json.dumps(asked), file=self._process.stdin, flush=True)
            if not select.select([self._process.stdout], [], [], TIMEOUT)[0]:
                self.close()
                raise subprocess.TimeoutExpired(["classic-cars", *arguments], TIMEOUT)
            returned = int(self._process.stdout.readline())
            said, complained = (Path(each.name).read_text(encoding="utf-8") for each in (out, err))
        return subprocess.CompletedProcess(["classic-cars", *arguments], returned, said, complained)

    def close(self) -> None:
        if self._owner == os.getpid() and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


# In the forking process ----------------------------------------------------------------------------------


def serve() -> None:
    """Carry out commands, one line of standard input for each, and answer with their exit codes."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            answers.close()
            work(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def work(asked: dict[str, Any]) -> NoReturn:
    """The child: from here on it is the program."""
    for descriptor, name in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(name, os.O_RDWR), descriptor)
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
    for name in ("classic_cars", "classic_cars_shop"):
        package = importlib.import_module(name)
        for each in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not each.name.endswith("__main__"):
                importlib.import_module(each.name)
    remembered = importlib.import_module("classic_cars_tests.remembered")
    remembered.install()
    remembered.work_out_the_catalog()


if __name__ == "__main__":
    import_everything()
    gc.freeze()  # a fork then shares these objects' memory
    serve()
