"""Runs that a sensor asked for, found again in Dagster's history: which are under way, what became of them."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, RUN_KEY_TAG, WILL_RETRY_TAG

#: Tags of runs that read from outside, and of those that make what follows; the value is the sensor's name.
READS, FOLLOWS = "classic_cars/reads", "classic_cars/follows"

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def under_way(instance: dg.DagsterInstance, tag: str) -> str:
    """The id of a run under way that has this tag; empty when there is none.

    What reads and what follows wait for each other. Otherwise a table could be made from an input of before, be
    published after the input of now, and look newer than it is.
    """
    runs = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    return next((run.run_id for run in runs if tag in run.tags), "")


def outcomes(instance: dg.DagsterInstance, run_keys: Sequence[str]) -> dict[str, dg.DagsterRunStatus]:
    """By run key, what became of the runs that were asked for; those that are not known any more are left out."""
    found = {}
    for key in run_keys:
        for run in instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: key}), limit=1):
            found[key] = _in_the_end(instance, run)
    return found


def _in_the_end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """The status of the run, or of the one that Dagster started in its place when its process died."""
    while run.status == dg.DagsterRunStatus.FAILURE and run.tags.get(WILL_RETRY_TAG) == "true":
        again = instance.get_run_by_id(run.tags.get(AUTO_RETRY_RUN_ID_TAG, ""))
        if again is None:
            return dg.DagsterRunStatus.QUEUED  # about to be
        run = again
    return run.status
