"""Runs that are forked by a process that has the definitions loaded: executed, cancelled, and of today's code."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher import LaunchRunContext
from dagster._core.test_utils import create_run_for_test

from classic_cars.instance import LocalRunLauncher, open_instance
from classic_cars.settings import Settings

MODULE = """
    import os, time
    import dagster as dg

    @dg.op
    def say(context):
        context.log.info("said SAID")
        context.log.info(f"by {os.getppid()}")

    @dg.op
    def wait():
        time.sleep(60)

    @dg.job(executor_def=dg.in_process_executor)
    def saying():
        say()

    @dg.job(executor_def=dg.in_process_executor)
    def waiting():
        wait()

    @dg.job(executor_def=dg.multiprocess_executor)
    def saying_apart():
        say()

    defs = dg.Definitions(jobs=[saying, saying_apart, waiting])
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of somebody else's definitions, that processes find."""
    path = tmp_path / "elsewhere" / "acme" / "definitions.py"
    path.parent.mkdir(parents=True)
    (path.parent / "__init__.py").write_text("")
    path.write_text(textwrap.dedent(MODULE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(path.parent.parent), *sys.path]))
    monkeypatch.syspath_prepend(str(path.parent.parent))
    return path


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(Settings(home=tmp_path / "home")) as opened:
        yield opened
        opened.run_launcher.dispose()


def launched(instance: dg.DagsterInstance, job: str) -> str:
    """The id of a run that the instance's launcher started."""
    origin = ReconstructableRepository.for_module("acme.definitions", "defs").get_reconstructable_job(job)
    run = create_run_for_test(instance, job_name=job, job_code_origin=origin.get_python_origin())
    launcher = instance.run_launcher
    assert isinstance(launcher, LocalRunLauncher)
    launcher.launch_run(LaunchRunContext(run, None))
    return run.run_id


def reached(instance: dg.DagsterInstance, run_id: str, wanted: Callable[[dg.DagsterRun], bool]) -> dg.DagsterRun:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        if wanted(run):
            return run
        time.sleep(0.1)
    raise AssertionError(f"{run} after a minute")


def said(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    assert reached(instance, run_id, lambda run: run.is_finished).status is dg.DagsterRunStatus.SUCCESS
    messages = [each.user_message for each in instance.all_logs(run_id)]
    return [each for each in messages if each.startswith(("said", "by"))]


@pytest.mark.usefixtures("module")
def test_a_run_is_a_process_of_its_own_of_a_server_that_stays(instance: dg.DagsterInstance) -> None:
    first, second = (said(instance, launched(instance, "saying")) for _ in range(2))
    assert first == second
    text, server = first
    assert text == "said SAID"
    assert int(server.removeprefix("by ")) != os.getpid()
    instance.run_launcher.dispose()
    assert said(instance, launched(instance, "saying")) != first


@pytest.mark.usefixtures("module")
def test_all_that_is_said_in_a_process_of_a_step_is_in_the_run_s_log_only(
    instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    assert said(instance, launched(instance, "saying_apart"))[0] == "said SAID"
    instance.run_launcher.dispose()
    assert capfd.readouterr().err == ""


def test_a_run_is_of_the_code_as_it_is_when_it_starts(instance: dg.DagsterInstance, module: Path) -> None:
    assert said(instance, launched(instance, "saying"))[0] == "said SAID"
    module.write_text(module.read_text().replace("SAID", "something else"))
    assert said(instance, launched(instance, "saying"))[0] == "said something else"


@pytest.mark.usefixtures("module")
def test_a_run_that_is_told_to_stop_is_cancelled(instance: dg.DagsterInstance) -> None:
    run_id = launched(instance, "waiting")
    reached(instance, run_id, lambda run: run.status is dg.DagsterRunStatus.STARTED)
    started = time.monotonic()
    assert instance.run_launcher.terminate(run_id)
    run = reached(instance, run_id, lambda run: run.is_finished)
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert time.monotonic() - started < 15
    assert not instance.run_launcher.terminate(run_id)


def test_what_cannot_be_loaded_is_for_dagsters_own_launcher(
    instance: dg.DagsterInstance, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(dg.DefaultRunLauncher, "launch_run", lambda self, context: asked.append(context.dagster_run))
    module.write_text(
        f"import sys\nif 'serve' in sys.argv[0] or sys.argv[0] == '-c':\n    raise OSError\n{module.read_text()}"
    )
    broken = launched(instance, "saying")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    elsewhere = launched(instance, "saying")
    assert [run.run_id for run in asked] == [broken, elsewhere]


@pytest.mark.usefixtures("module")
def test_a_server_that_was_killed_is_another_one_for_the_next_run(instance: dg.DagsterInstance) -> None:
    _, server = said(instance, launched(instance, "saying"))
    os.kill(int(server.removeprefix("by ")), signal.SIGKILL)
    assert said(instance, launched(instance, "saying"))[0] == "said SAID"


@pytest.mark.usefixtures("module")
def test_a_server_that_dies_over_a_request_keeps_nobody_waiting_for_the_runs_that_it_forked(
    instance: dg.DagsterInstance,
) -> None:
    run_id = launched(instance, "waiting")
    reached(instance, run_id, lambda run: run.status is dg.DagsterRunStatus.STARTED)
    launcher = instance.run_launcher
    assert isinstance(launcher, LocalRunLauncher)
    (server,) = launcher._servers.values()
    assert server._process is not None
    pid, answered = server._process.pid, []
    os.kill(pid, signal.SIGSTOP)
    asking = Thread(target=lambda: answered.append(server.execute(["api", "--help"])))
    asking.start()
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    asking.join(10)
    assert answered == [True]  # of another server
    assert launcher.terminate(run_id)
    reached(instance, run_id, lambda run: run.is_finished)
