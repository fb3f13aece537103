"""Launches runs, and notices those whose process died without saying so.

A killed run stays STARTED for ever, and because it still counts against its pool, no other run that
writes the store would start again. Dagster's run monitoring looks for such runs, but its default
launcher cannot tell whether a run is alive; on one machine the process id, which every run writes
to its event log, is enough.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from typing import Any

import psutil
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, DefaultRunLauncher, RunsFilter

# What a launcher is asked, and answers when it is asked for a run's health, have no public name.
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus

# The command line of a process that executes a run, as Dagster's launchers for containers make it.
from dagster._grpc.types import ExecuteRunArgs

from classic_cars.instance.home import PooledInstance
from classic_cars.instance.run_server import RunServer
from classic_cars.processes import living

#: Tag of a run that a code server started.
GRPC = ".dagster/grpc_info"


class LocalRunLauncher(DefaultRunLauncher):
    """``DefaultRunLauncher`` that starts runs at once, and knows whether a run of this machine still has its process.

    Runs of a Python module's definitions are forked by a :class:`RunServer`; others, and those of another Python, are
    Dagster's code server's. Use it only where the daemon sees the processes of all runs: on one machine, not across
    containers.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._servers: dict[str, RunServer] = {}

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a process that executes the run. Raises what Dagster's launcher raises where it has to."""
        run = context.dagster_run
        if not self._fork(run):
            super().launch_run(context)

    def _fork(self, run: DagsterRun) -> bool:
        origin = run.job_code_origin
        place = origin.repository_origin if origin is not None else None
        module = getattr(place.code_pointer, "module", None) if place is not None else None
        if origin is None or module is None or (place and place.executable_path not in (None, sys.executable)):
            return False
        asked = ExecuteRunArgs(job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref())
        *_, group, command, arguments = asked.get_command_args()  # after the entry point
        return self._servers.setdefault(module, RunServer(module)).execute([group, command, arguments])

    def terminate(self, run_id: str) -> bool:
        """Tell a run to stop: one that was launched sees by itself that it is to be cancelled; Ctrl-C tells others.

        False when there is nobody to tell.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or GRPC in run.tags:
            return super().terminate(run_id)
        if run.job_code_origin is not None:
            self._instance.report_run_canceling(run)
            return True
        told = False
        for process in self._processes(run_id):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGINT)
                told = True
        return told

    def dispose(self) -> None:
        """End the servers; runs go on."""
        for server in self._servers.values():
            server.close()
        super().dispose()

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster asks before it calls ``check_run_worker_health``."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """RUNNING unless the run named its processes and none of them is left."""
        named = self._named(run.run_id)
        if not named or self._processes(run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"its process ({', '.join(map(str, sorted(named)))}) ended without finishing the run"
        )

    def _named(self, run_id: str) -> dict[int, float]:
        """The processes that the run says it has, and when it said so first."""
        found: dict[int, float] = {}
        for event in self._instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT):
            pid = event.get_dagster_event().engine_event_data.metadata.get("pid")
            if pid is not None:
                found.setdefault(int(str(pid.value)), event.timestamp)
        return found

    def _processes(self, run_id: str) -> list[psutil.Process]:
        """Those of them that live. After a restart of the machine their numbers are mostly those of others."""
        return [each for pid, said in self._named(run_id).items() if (each := living(pid, said)) is not None]


def fail_dead_runs(instance: DagsterInstance) -> None:
    """Say of runs of this machine whose process is gone that they failed: they count as under way until somebody does.

    The daemon does the same; who has only the command line has none.
    """
    launcher = instance.run_launcher
    if not isinstance(instance, PooledInstance) or not isinstance(launcher, LocalRunLauncher):
        return  # its history may be of several machines
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])):
        health = launcher.check_run_worker_health(run)
        now = instance.get_run_by_id(run.run_id) if health.status is WorkerStatus.FAILED else None
        if now is not None and not now.is_finished:  # it may have ended meanwhile
            instance.report_run_failed(now, health.msg)
