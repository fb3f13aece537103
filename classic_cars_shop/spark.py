"""Private Spark on loopback for demos, benchmarks and tests: a Connect server alone, or on a cluster of its own.

All from the jars of the ``pyspark`` wheel and a Java that is installed; every process is ended by its own id.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from classic_cars_shop.servers import ProgramMissing, free_port

LOOPBACK = "127.0.0.1"
JAVA_VERSIONS = (17, 21)
JAVA_MISSING = "Java 17 or 21 is not installed (Debian: openjdk-17-jre-headless); JAVA_HOME may name its folder"
START_SECONDS, STOP_SECONDS = 90, 20
SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
#: For small data: started and compiled quickly.
QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
QUICK = {
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.log.level": "WARN",  # a line for each task takes a tenth of the processor
    "spark.executor.extraJavaOptions": QUICK_JAVA,
}


@dataclass(frozen=True)
class Spark:
    """A running Connect server; ``page``: the address of its web page."""

    port: int
    server: subprocess.Popen
    page: str | None = None

    @property
    def address(self) -> str:
        return f"sc://{LOOPBACK}:{self.port}"


@contextmanager
def connect_server(
    master: str = "local[2]",
    java: str = QUICK_JAVA,
    settings: Mapping[str, str] | None = None,
    *,
    page: bool = False,
    port: int = 0,
) -> Iterator[Spark]:
    """A Spark Connect server that computes at ``master``; ``port``: where another one was before."""
    port, page_port = port or free_port(), free_port()
    options = {
        "spark.connect.grpc.binding.address": LOOPBACK,
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.bindAddress": LOOPBACK,
        "spark.driver.host": LOOPBACK,
        "spark.ui.enabled": str(page).lower(),
        "spark.ui.port": str(page_port),
        **(QUICK if settings is None else settings),
    }
    command = ["bin/spark-submit", "--class", SERVER, "--master", master, "--name", "classic-cars"]
    command += [word for name, value in options.items() for word in ("--conf", f"{name}={value}")]
    with _running([*command, "spark-internal"], port, java) as server:
        yield Spark(port, server, f"http://{LOOPBACK}:{page_port}" if page else None)


@dataclass(frozen=True)
class Workers:
    """A master, and the processes of its workers, that wait for a server; ``memory``: of an executor."""

    master: str
    memory: str
    processes: list[subprocess.Popen]

    @contextmanager
    def server(self, settings: Mapping[str, str] | None = None, java: str = "", port: int = 0) -> Iterator[Spark]:
        """A Connect server that has them all to itself."""
        executors = {"spark.executor.memory": self.memory, "spark.executor.cores": "1"}
        with connect_server(self.master, java, {**executors, **(settings or {})}, page=True, port=port) as running:
            yield running


@contextmanager
def workers(count: int = 2, memory: str = "1g") -> Iterator[Workers]:
    """One master and workers of a core each, each a process of its own.

    ``memory``: of an executor. Beside it, each executor, server, worker and the master take some 0.3 GB.
    """
    port = free_port()
    master = ["bin/spark-class", "org.apache.spark.deploy.master.Master", "--host", LOOPBACK, "--port", str(port)]
    worker = ["bin/spark-class", "org.apache.spark.deploy.worker.Worker", "--host", LOOPBACK]
    worker += ["--cores", "1", "--memory", memory, f"spark://{LOOPBACK}:{port}"]
    with ExitStack() as stack:
        stack.enter_context(_running([*master, "--webui-port", str(free_port())], port))
        started = []
        for _ in range(count):
            page = free_port()
            started.append(stack.enter_context(_running([*worker, "--webui-port", str(page)], page)))
        yield Workers(f"spark://{LOOPBACK}:{port}", memory, started)


@contextmanager
def _running(command: Sequence[str], port: int, java: str = "") -> Iterator[subprocess.Popen]:
    """A program of Spark's that listens on ``port``; its own files lie in a folder that goes with it."""
    home, folder = spark_home(), Path(tempfile.mkdtemp(prefix="cc-spark-"))
    environment = {
        **os.environ,
        "JAVA_HOME": str(java_home()),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_LOCAL_DIRS": str(folder),
        "SPARK_WORKER_DIR": str(folder),
        "SPARK_SCALA_VERSION": "2.13",
        "JAVA_TOOL_OPTIONS": java,
        "SPARK_NO_DAEMONIZE": "1",
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", str(home / command[0]), *command[1:]],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _must_answer(process, port, log)
        yield process
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _must_answer(process: subprocess.Popen, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"Spark did not start: {log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def spark_home() -> Path:
    """Spark's own folder in the ``pyspark`` wheel. Raises ``ProgramMissing`` for the client alone, which has none."""
    found = importlib.util.find_spec("pyspark")
    home = Path(found.origin).parent if found is not None and found.origin else None
    if home is None or not list((home / "jars").glob("spark-connect_*.jar")):
        raise ProgramMissing("Spark's server is not installed: pip install 'pyspark[connect]==4.0.*'")
    return home


def java_home() -> Path:
    """The folder of a Java that Spark runs on. Raises ``ProgramMissing``."""
    program = shutil.which("java", path=f"{os.environ['JAVA_HOME']}/bin" if os.environ.get("JAVA_HOME") else None)
    if program is None:
        raise ProgramMissing(JAVA_MISSING)
    said = subprocess.run([program, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) not in JAVA_VERSIONS:
        raise ProgramMissing(f"{JAVA_MISSING}; found {said.splitlines()[0] if said else 'none that answers'}")
    return Path(program).resolve().parent.parent
