"""Private MariaDB and PostgreSQL servers for demos, benchmarks and tests, on loopback in a temporary folder.

Debian's ``mariadb-server`` and ``postgresql`` are enough; nothing that is installed or running is touched.
Here live the servers only; the fixtures that hand out databases are in ``conftest.py``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

#: Every character that a URL, a connection string or SQL treats specially.
PASSWORD = "p@ss:w/o#r%d 'x\\y\"?&="
OWNER = "owner"
#: What MySQL 8 has by default: stricter than MariaDB, which has no mode of its own against columns beside their groups.
SQL_MODE = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION"
)
START_SECONDS = 30
START_ATTEMPTS = 3


class ProgramMissing(RuntimeError):
    """A program that this machine may lack; the message says which."""


@dataclass(frozen=True)
class Server:
    """A running server on loopback; its owner may do anything."""

    scheme: str
    port: int

    def url(self, database: str, user: str = OWNER, password: str = PASSWORD) -> str:
        return f"{self.scheme}://{quote(user)}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def engine(self, database: str) -> sa.Engine:
        """A connection to write with, apart from the code under test."""
        driver = {"mariadb": "mysql+pymysql", "postgresql": "postgresql+psycopg"}[self.scheme]
        url = sa.make_url(self.url(database)).set(drivername=driver)
        return sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new, empty database, dropped afterwards."""
        name = f"shop_{uuid.uuid4().hex[:12]}"
        engine = self.engine("mysql" if self.scheme == "mariadb" else "postgres")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
            try:
                yield self.url(name)
            finally:
                force = " WITH (FORCE)" if self.scheme == "postgresql" else ""
                connection.exec_driver_sql(f"DROP DATABASE {name}{force}")
        engine.dispose()


@contextmanager
def mariadb() -> Iterator[Server]:
    """A private MariaDB; the test is skipped when it is not installed, but fails in CI."""
    install = _program("MariaDB (Debian: mariadb-server)", "mariadb-install-db", [])
    server = _program("MariaDB (Debian: mariadb-server)", "mariadbd", [Path("/usr/sbin")])
    user = _unprivileged("mysql")
    with _folder(user) as folder:
        setup = folder / "setup.sql"
        secret = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        setup.write_text(
            f"CREATE USER '{OWNER}'@'127.0.0.1' IDENTIFIED BY '{secret}';\n"
            f"GRANT ALL ON *.* TO '{OWNER}'@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        setup.chmod(0o644)
        common = ["--no-defaults", f"--user={user}", f"--datadir={folder}/data"]
        _run([install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"], user=None)
        serve = [server, *common, "--bind-address=127.0.0.1", f"--socket={folder}/s", f"--init-file={setup}"]
        serve += ["--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M"]
        serve += [f"--pid-file={folder}/pid", f"--sql-mode={SQL_MODE}"]
        with _serving("mariadb", serve, "--port={}", folder, None, signal.SIGTERM) as running:
            yield running


@contextmanager
def postgresql() -> Iterator[Server]:
    """A private PostgreSQL; the test is skipped when it is not installed, but fails in CI."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    initdb = _program("PostgreSQL (Debian: postgresql)", "initdb", folders)
    server = _program("PostgreSQL (Debian: postgresql)", "postgres", folders)
    user = _unprivileged("postgres")
    become = user if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with _folder(user) as folder:
        secret = folder / "password"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o644)
        data = str(folder / "data")
        options = ["-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync", "-E", "UTF8", "--locale=C"]
        _run([initdb, "-D", data, "-U", OWNER, *options], user=become)
        serve = [server, "-D", data, "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
        serve += ["-c", "fsync=off"]
        with _serving("postgresql", serve, "--port={}", folder, become, signal.SIGINT) as running:
            yield running


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word, like an address behind a dropping firewall."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _program(product: str, name: str, folders: Sequence[Path]) -> str:
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=path)
    if found is not None:
        return found
    raise ProgramMissing(f"{product} is not installed: no program {name}")


def _unprivileged(service: str) -> str:
    """The account that the server runs as: its own when started by root, otherwise the caller's."""
    return service if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


@contextmanager
def _folder(user: str) -> Iterator[Path]:
    # Not pytest's: its parents are closed to other users, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="cc-"))
    folder.chmod(0o755)
    shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: Sequence[str], user: str | None) -> None:
    done = subprocess.run(
        command, user=user, extra_groups=[] if user else None, cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


@contextmanager
def _serving(
    scheme: str, command: Sequence[str], port_option: str, folder: Path, user: str | None, stop: signal.Signals
) -> Iterator[Server]:
    log = folder / "log"
    with log.open("wb") as output:
        for _ in range(START_ATTEMPTS):
            server = Server(scheme, free_port())
            process = subprocess.Popen(
                [*command, port_option.format(server.port)],
                user=user,
                extra_groups=[] if user else None,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            try:
                if _answers(server, process):
                    yield server
                    return
            finally:
                _end(process, stop)
    raise RuntimeError(f"{command[0]} did not start: {log.read_text(errors='replace')[-2000:]}")


def _answers(server: Server, process: subprocess.Popen) -> bool:
    engine = server.engine("mysql" if server.scheme == "mariadb" else "postgres")
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


def _end(process: subprocess.Popen, stop: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(stop)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
