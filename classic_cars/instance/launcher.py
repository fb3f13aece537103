"""Notices runs whose process died without saying so, and nothing else about launching.

A killed run stays STARTED for ever, and because it still counts against its pool, no other run that
writes the store would start again. Dagster's run monitoring looks for such runs, but its default
launcher cannot tell whether a run is alive; on one machine the process id, which every run writes
to its event log, is enough.
"""

from __future__ import annotations

import os

from dagster import DagsterEventType, DagsterRun, DefaultRunLauncher

# What a launcher answers when it is asked for a run's health has no public name.
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus


class LocalRunLauncher(DefaultRunLauncher):
    """``DefaultRunLauncher`` that knows whether a run of this machine still has its process.

    Use it only where the daemon sees the processes of all runs: on one machine, not across containers.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster asks before it calls ``check_run_worker_health``."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """RUNNING unless the run named its processes and none of them is left."""
        pids = self._pids(run.run_id)
        if not pids or any(_is_alive(pid) for pid in pids):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"its process ({', '.join(map(str, sorted(pids)))}) ended without finishing the run"
        )

    def _pids(self, run_id: str) -> set[int]:
        events = self._instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT)
        values = [event.get_dagster_event().engine_event_data.metadata.get("pid") for event in events]
        return {int(str(value.value)) for value in values if value is not None}


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's process: it exists
    return True
