"""``serve`` starts Dagster on the home, heeds stop signals, and writes nowhere else."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from classic_cars.errors import SettingsError
from classic_cars.instance import dev, home, ports
from classic_cars.settings import Settings
from classic_cars_shop.servers import free_port

PROJECT = Path(__file__).parents[2]

DEFINITIONS = """
import dagster as dg

@dg.asset(pool="classic_cars_store")
def table() -> None: ...

defs = dg.Definitions(assets=[table], jobs=[dg.define_asset_job("everything")], executor=dg.in_process_executor)
"""
WORKSPACE = "load_from: [{python_file: {relative_path: shop.py, location_name: shop}}]\n"
SERVE = """
import sys
from pathlib import Path
from classic_cars.instance import dev
from classic_cars.settings import load_settings
dev.config_folder = lambda: Path(sys.argv[1])
dev.serve(load_settings(), port=int(sys.argv[2]))
"""
LAUNCH = """mutation { launchRun(executionParams: {selector: {repositoryLocationName: "shop",
    repositoryName: "__repository__", jobName: "everything"}}) { __typename } }"""
STATUSES = "{ runsOrError { ... on Runs { results { status } } } }"


def test_the_command_names_the_workspace_and_the_environment_the_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    command = dev.dev_command("127.0.0.1", 3001)
    assert command[1:3] == ["-W", dev.SUPERSEDED]
    assert command[3:9] == ["-m", "dagster", "dev", "--log-level", "warning", "--workspace"]
    assert command[9:] == [str(PROJECT / "workspace.yaml"), "--host", "127.0.0.1", "--port", "3001"]
    assert dev.dev_environment(settings, port=3001) == {
        "CLASSIC_CARS_WEB_URL": "http://127.0.0.1:3001",
        "DAGSTER_HOME": str(PROJECT),
        "CLASSIC_CARS_HOME": str(tmp_path),
        "CLASSIC_CARS_ATTENDED": "true",
    }
    assert home.config_folder() == PROJECT
    elsewhere = Settings(home=tmp_path, web_url="https://dagster.example.com")
    assert dev.dev_environment(elsewhere)["CLASSIC_CARS_WEB_URL"] == "https://dagster.example.com"


def test_a_taken_port_is_an_error_that_says_who_holds_it() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(
            SettingsError, match=rf"port {port} is taken by pid {os.getpid()} \(.*python.*make dev PORT="
        ):
            dev.must_be_free("127.0.0.1", port)
    dev.must_be_free("127.0.0.1", port)


def test_a_host_that_is_not_this_machine_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"203.0.113.1:3000: nobody can listen there"):
        dev.must_be_free("203.0.113.1", 3000)


def test_a_second_dev_on_the_same_home_is_an_error_that_says_who_holds_it_even_after_exec(tmp_path: Path) -> None:
    script = f"""
import sys, time
from classic_cars.instance import dev
from classic_cars.settings import Settings
dev.must_be_free = lambda host, port: None
dev.dev_command = lambda host, port: [sys.executable, "-c", "print('serving', flush=True); import time; time.sleep(60)"]
dev.serve(Settings(home={str(tmp_path)!r}))
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        with pytest.raises(SettingsError, match=rf"is running there already, pid {process.pid} \(.*python"):
            dev.keep_to_one(tmp_path)
        dev.keep_to_one(tmp_path / "other")
    finally:
        process.kill()
        process.wait()
    dev.keep_to_one(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["server", "--token", "s3cret"], "server"),
        (["server", "start", "all", "s3cret"], "server start all"),
        (["server", "start", "-p", "s3cret", "s3cret"], "server start"),
        (["python", "-W", "ignore::x", "-m", "dagster", "dev", "--port", "3000"], "python dagster dev"),
        (["python", "-c", "token = 's3cret'"], "python"),
        (["server: all --token s3cret"], "server: all"),
    ],
)
def test_a_process_is_named_without_what_may_be_secret(
    arguments: list[str], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: arguments)
    assert ports.process(os.getpid()) == f"pid {os.getpid()} ({shown})"


def test_make_dev_takes_a_port() -> None:
    made = subprocess.run(
        ["make", "-n", "dev", "PORT=3456"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    assert "classic-cars dev --port 3456" in made


def test_ignored_and_blocked_stop_signals_are_heeded_again_after_exec(tmp_path: Path) -> None:
    report = "import signal; print(signal.getsignal(2), signal.getsignal(15), signal.pthread_sigmask(0, []))"
    script = f"""
import sys, os, signal
from classic_cars.instance import dev
from classic_cars.settings import Settings
signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
dev.dev_command = lambda host, port: [sys.executable, "-c", {report!r}]
dev.serve(Settings(home={str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "<built-in function default_int_handler> 0 set()"  # 0: SIG_DFL


# -- the real thing ---------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.3)
    pytest.fail(f"after {seconds} s: {what}")


def ask(port: int, query: str) -> dict:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def answers(port: int) -> bool:
    try:
        ask(port, "{ version }")
    except OSError:
        return False
    return True


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    (folder / "workspace.yaml").write_text(WORKSPACE)
    (folder / "shop.py").write_text(DEFINITIONS)
    return folder


@pytest.mark.parametrize("how", ["serve", pytest.param("plain dagster dev", marks=pytest.mark.exhaustive)])
def test_dagster_starts_in_the_background_runs_a_job_stops_when_told_and_writes_only_in_its_home(
    project: Path, tmp_path: Path, how: str
) -> None:
    user, platform, port = tmp_path / "user", tmp_path / "platform", free_port()
    user.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "CLASSIC"))}
    environment |= {"HOME": str(user), "CLASSIC_CARS_HOME": str(platform), "PYTHONDONTWRITEBYTECODE": "1"}
    serve = [sys.executable, "-c", SERVE, str(project), str(port)]
    plain = [sys.executable, "-m", "dagster", "dev", "--port", str(port)]
    in_background = how == "serve"

    def ignore_like_a_shell() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            serve if in_background else plain,
            cwd=project,
            env=environment,
            stdout=log,
            stderr=log,
            preexec_fn=ignore_like_a_shell if in_background else None,
            start_new_session=True,
        )
    try:
        wait_for(lambda: answers(port), 90, f"no answer; log: {(tmp_path / 'log').read_text()[-2000:]}")
        assert ask(port, LAUNCH) == {"launchRun": {"__typename": "LaunchRunSuccess"}}
        done = {"runsOrError": {"results": [{"status": "SUCCESS"}]}}
        wait_for(lambda: ask(port, STATUSES) == done, 60, "the run did not succeed")
        process.send_signal(signal.SIGTERM)
        # Dagster waits 60 s for its web server, which on a busy machine may miss the signal, and then kills it.
        assert process.wait(90) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    assert list(user.iterdir()) == []
    assert sorted(path.name for path in project.iterdir()) == ["dagster.yaml", "shop.py", "workspace.yaml"]
    expected = ["dagster", "dagster.lock", *(["dev.lock"] if in_background else [])]
    assert sorted(path.name for path in platform.iterdir()) == expected
    if in_background:
        said = (tmp_path / "log").read_text()
        assert "Warning" not in said
        assert "INFO" not in said.partition("STEP_WORKER")[0].partition("RUN_START")[0]
    assert len(list((platform / "dagster" / "history" / "runs").glob("*-*.db"))) == 1
